// Takes out of a result what differs between two runs of the same server: times, random ids, the port.

const REPLACEMENTS = [
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "<uuid>"],
  [/\b[0-9a-f]{32}\b/g, "<task id>"],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "<time>"],
  [/\b\d{1,2}:\d\d:\d\d\s[AP]M\b/g, "<time>"],
  [/"PORT": "\d+"/g, '"PORT": "<port>"'],
  // The reference server logs at a random level.
  [/\b(Debug|Info|Notice|Warning|Error|Critical|Emergency)-level message|Alert level-message/g, "<level> message"],
];

/** A copy of a JSON value with the changing parts of its strings replaced. */
export function normalise(value, key) {
  if (typeof value === "string") return normaliseString(value, key);
  if (Array.isArray(value)) return value.map((item) => normalise(item));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, normalise(item, name)]));
  }
  return value;
}

function normaliseString(text, key) {
  const readable = key === "blob" ? readableBlob(text) : text;
  return REPLACEMENTS.reduce((result, [pattern, name]) => result.replace(pattern, name), readable);
}

/** The reference server writes the time into its blobs; compressed ones have none and stay as they are. */
function readableBlob(base64) {
  const text = Buffer.from(base64, "base64").toString("utf8");
  return text.startsWith("Resource ") ? text : base64;
}
