// What cannot work, and why. A row applies where everything it names holds: `era` is the era that the client landed on,
// `server` the kind of the server, `client` and `offered` the peers' names ("ts", "rmcp"), `bridged` whether the bridge
// is in between. A feature that works although a row says that it cannot is a failure, too: the row has to go.

const ASKING = ["sampling", "elicitation", "elicitation url", "roots", "two questions at once", "two questions in turn"];

const NO_QUESTIONS = "each POST has a server object of its own: the client's answer cannot reach the one that asked";
const NO_STREAM = "without a session and a GET stream nothing can be told outside an answer";
const FORGOTTEN = "the server forgets the level with the request that set it";

export const IMPOSSIBLE = [
  { era: "modern", feature: "ping", reason: "the modern era has no ping" },

  ...ASKING.map((feature) => ({ server: "stateless", feature, reason: NO_QUESTIONS })),
  { server: "stateless", feature: "list changes", reason: NO_STREAM },
  { server: "stateless", feature: "subscription", reason: NO_STREAM },
  { era: "legacy", server: "stateless", feature: "log level", reason: FORGOTTEN },
];

/** Why a feature cannot work in a run; undefined if it can. */
export function reasonAgainst(run, feature) {
  const applies = ({ feature: named, reason: _, ...conditions }) =>
    named === feature && Object.entries(conditions).every(([key, value]) => run[key] === value);
  return IMPOSSIBLE.find(applies)?.reason;
}
