// What a client does with the reference server. Every step returns the JSON that has to be the same with and without
// the bridge, and throws if the server did not do what the step is about.

import assert from "node:assert/strict";

const DOCUMENT = "demo://resource/static/document/features.md";

/** `[name, (client) => result]`, in the order in which they run on one connection. */
export const STEPS = [
  ["initialize", (c) => c.messages[0].result],
  ["ping", (c) => c.request("ping")],
  ["tools/list", (c) => everyPage(c, "tools/list", "tools")],

  ["echo", (c) => good(c.call("echo", { message: "hello" }))],
  ["echo: odd characters", (c) => good(c.call("echo", { message: 'ü 世界 🦀 \u2028 \u0001 \\ " \r\n </script>' }))],
  ["echo: 1 MiB", (c) => good(c.call("echo", { message: "0123456789abcdef".repeat(65_536) }))],
  ["get-sum", (c) => good(c.call("get-sum", { a: 0.1, b: -2e3 }))],
  ["get-env", (c) => good(c.call("get-env"))],
  ["get-tiny-image", (c) => good(c.call("get-tiny-image"))],
  ...["error", "success", "debug"].map((messageType) => [
    `get-annotated-message: ${messageType}`,
    (c) => good(c.call("get-annotated-message", { messageType, includeImage: true })),
  ]),
  ["get-resource-links", (c) => good(c.call("get-resource-links", { count: 10 }))],
  ...["Text", "Blob"].map((resourceType) => [
    `get-resource-reference: ${resourceType}`,
    (c) => good(c.call("get-resource-reference", { resourceType, resourceId: 7 })),
  ]),
  ...["New York", "Chicago", "Los Angeles"].map((location) => [
    `get-structured-content: ${location}`,
    async (c) => {
      const result = await good(c.call("get-structured-content", { location }));
      assert.ok(result.structuredContent);
      return result;
    },
  ]),
  ["gzip-file-as-resource: embedded", (c) => good(c.call("gzip-file-as-resource", gzip("resource")))],
  ["gzip-file-as-resource: link, list_changed, read", linkedResource],
  ["tools/call: unknown tool", (c) => c.call("no-such-tool")],
  ["tools/call: bad arguments", (c) => c.call("get-sum", { a: "one" })],
  ["unknown method", (c) => bad(c.request("no/such/method", { x: 1 }))],

  ["resources/list", (c) => everyPage(c, "resources/list", "resources")],
  ["resources/templates/list", (c) => everyPage(c, "resources/templates/list", "resourceTemplates")],
  ["resources/read: every listed one", readEverything],
  ["resources/read: text template", (c) => good(c.request("resources/read", { uri: "demo://resource/dynamic/text/3" }))],
  ["resources/read: blob template", (c) => good(c.request("resources/read", { uri: "demo://resource/dynamic/blob/4" }))],
  ["resources/read: unknown", (c) => bad(c.request("resources/read", { uri: "demo://resource/none" }))],

  ["prompts/list", (c) => everyPage(c, "prompts/list", "prompts")],
  ["simple-prompt", (c) => good(c.request("prompts/get", { name: "simple-prompt" }))],
  ["args-prompt", (c) => good(prompt(c, "args-prompt", { city: "Köln", state: "NRW" }))],
  ["args-prompt: argument missing", (c) => bad(prompt(c, "args-prompt", {}))],
  ["completable-prompt", (c) => good(prompt(c, "completable-prompt", { department: "Sales", name: "Eve" }))],
  ["resource-prompt: text", (c) => good(prompt(c, "resource-prompt", { resourceType: "Text", resourceId: "2" }))],
  ["resource-prompt: blob", (c) => good(prompt(c, "resource-prompt", { resourceType: "Blob", resourceId: "2" }))],
  ["completion: prompt argument", (c) => complete(c, promptRef(), { name: "department", value: "S" })],
  [
    "completion: with context",
    (c) => complete(c, promptRef(), { name: "name", value: "" }, { arguments: { department: "Sales" } }),
  ],
  [
    "completion: resource template",
    (c) =>
      complete(
        c,
        { type: "ref/resource", uri: "demo://resource/dynamic/text/{resourceId}" },
        { name: "resourceId", value: "12" },
      ),
  ],

  ["trigger-long-running-operation: no progress", (c) => good(c.call("trigger-long-running-operation", LONG))],
  ["trigger-long-running-operation: progress", progress],
  ["cancellation", cancellation],
  ["forty calls beside a slow one", concurrency],

  ["get-roots-list, roots/list_changed", roots],
  ["trigger-sampling-request", (c) => good(c.call("trigger-sampling-request", { prompt: "hi", maxTokens: 9 }))],
  ["trigger-sampling-request-async", (c) => good(c.call("trigger-sampling-request-async", { prompt: "hi" }))],
  ["trigger-elicitation-request: accept", (c) => elicited(c, () => ({ action: "accept", content: FORM }))],
  ["trigger-elicitation-request: decline", (c) => elicited(c, () => ({ action: "decline" }))],
  ["trigger-elicitation-request: cancel", (c) => elicited(c, () => ({ action: "cancel" }))],
  ["trigger-elicitation-request: client error", (c) => elicited(c, refuse)],
  [
    "trigger-elicitation-request-async",
    (c) => elicited(c, () => ({ action: "accept", content: { name: "Ada" } }), "trigger-elicitation-request-async"),
  ],
  ["trigger-url-elicitation: request", (c) => elicited(c, () => ({ action: "accept" }), LINK_TOOL, LINK)],
  ["trigger-url-elicitation: error -32042", (c) => bad(c.call(LINK_TOOL, { ...LINK, errorPath: true }))],
  [
    "trigger-url-elicitation: after the error",
    (c) => elicited(c, () => ({ action: "accept" }), LINK_TOOL, { ...LINK, errorPath: true }),
  ],

  ["simulate-research-query: task", (c) => research(c, { topic: "bridges" })],
  [
    "simulate-research-query: task that asks",
    (c) => {
      c.elicitation = () => ({ action: "accept", content: { interpretation: "historical" } });
      return research(c, { topic: "bridges", ambiguous: true });
    },
  ],
  ["tasks/cancel, tasks/list", cancelledTask],

  ["toggle-simulated-logging, logging/setLevel", logging],
  ["toggle-subscriber-updates, subscribe", subscription],
  ["every tool was called", everyToolWasCalled],
];

const LONG = { duration: 0.8, steps: 4 };
const LINK_TOOL = "trigger-url-elicitation";
const LINK = { url: "https://example.com/a?b=c&d=%20", message: "open it", elicitationId: "link-1" };
const FORM = {
  name: "Ada Lovelace",
  check: true,
  email: "ada@example.com",
  homepage: "https://example.com/ä",
  birthdate: "1815-12-10",
  integer: 41,
  number: 2.5,
  untitledMultipleSelectEnum: ["Piano", "Bass"],
};

/** Tools for which a step exists; the step names start with them. */
const COVERED = new Set(STEPS.map(([name]) => name.split(/[:, ]/, 1)[0]));

async function good(pending) {
  const result = await pending;
  assert.ok(!result.error && !result.isError, `failed: ${JSON.stringify(result)}`);
  return result;
}

async function bad(pending) {
  const result = await pending;
  assert.ok(result.error, `no error: ${JSON.stringify(result)}`);
  return result;
}

async function everyPage(client, method, field) {
  const pages = [];
  let cursor;
  do {
    const page = await good(client.request(method, cursor === undefined ? {} : { cursor }));
    pages.push(page);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  assert.ok(pages[0][field].length > 0, `${method} is empty`);
  return pages;
}

function gzip(outputType) {
  return { name: "note.txt.gz", data: "data:text/plain,a%20small%20file", outputType };
}

async function linkedResource(client) {
  const from = client.messages.length;
  const result = await good(client.call("gzip-file-as-resource", gzip("resourceLink")));
  await client.waitFor("list_changed", (m) => m.method === "notifications/resources/list_changed", from);
  return [result, await good(client.request("resources/read", { uri: result.content[0].uri }))];
}

async function readEverything(client) {
  const pages = await everyPage(client, "resources/list", "resources");
  const uris = pages.flatMap((page) => page.resources.map((resource) => resource.uri));
  return Promise.all(uris.map((uri) => good(client.request("resources/read", { uri }))));
}

function prompt(client, name, args) {
  return client.request("prompts/get", { name, arguments: args });
}

function promptRef() {
  return { type: "ref/prompt", name: "completable-prompt" };
}

async function complete(client, ref, argument, context) {
  const result = await good(client.request("completion/complete", { ref, argument, context }));
  assert.ok(result.completion.values.length > 0);
  return result;
}

/** The token is ours: the SDK's own progress callback can lose the last report when the answer is right behind it. */
function longCall(client, progressToken, args, options) {
  const params = { name: "trigger-long-running-operation", arguments: args, _meta: { progressToken } };
  return client.request("tools/call", params, options);
}

async function progress(client) {
  const from = client.messages.length;
  const result = await good(longCall(client, "token-1", LONG));
  const [answer] = newAnswers(client, from);
  const seen = client.messages.slice(from, client.messages.indexOf(answer));
  const reports = seen.filter((message) => message.params?.progressToken === "token-1");
  assert.equal(reports.length, LONG.steps, "reports before the answer");
  return { reports, result };
}

async function cancellation(client) {
  const from = client.messages.length;
  const abort = new AbortController();
  const running = longCall(client, "token-2", { duration: 1.2, steps: 3 }, { signal: abort.signal }).catch(String);
  await client.waitFor("progress", (m) => m.params?.progressToken === "token-2", from);
  abort.abort("no longer wanted");
  const outcome = await running;
  // The server's work is over when this one returns: an answer to the cancelled call would have come before.
  await good(client.call("trigger-long-running-operation", { duration: 1.6, steps: 1 }));
  assert.equal(newAnswers(client, from).length, 1, "the cancelled call was answered");
  return outcome;
}

/** Answers to requests made since position `from`; the SDK's own reconnects can replay older ones. */
function newAnswers(client, from) {
  const isAnswer = (message) => "result" in message || "error" in message;
  const before = new Set(client.messages.slice(0, from).filter(isAnswer).map((message) => message.id));
  return client.messages.slice(from).filter((message) => isAnswer(message) && !before.has(message.id));
}

async function concurrency(client) {
  const order = [];
  const slow = client.call("trigger-long-running-operation", { duration: 3, steps: 1 }).then((result) => {
    order.push("slow");
    return result;
  });
  const calls = Array.from({ length: 40 }, (_, n) => good(client.call("get-sum", { a: n, b: 1 })));
  const fast = await Promise.all(calls);
  order.push("fast");
  return { fast, slow: await good(slow), order };
}

async function roots(client) {
  const before = await good(client.call("get-roots-list"));
  client.roots = [...client.roots, { uri: "file:///srv/two%20words", name: "Two" }];
  const from = client.messages.length;
  await client.notify("notifications/roots/list_changed");
  const log = await client.waitFor(
    "log about two roots",
    (m) => m.method === "notifications/message" && String(m.params.data).startsWith("Roots updated: 2"),
    from,
  );
  return [before, log.params, await good(client.call("get-roots-list"))];
}

async function elicited(client, answer, tool = "trigger-elicitation-request", args = {}) {
  const from = client.messages.length;
  client.elicitation = answer;
  const result = await client.call(tool, args);
  const question = client.messages.slice(from).find((message) => message.method === "elicitation/create");
  assert.ok(question, "the server asked nothing");
  return { question: question.params, result };
}

function refuse() {
  throw Object.assign(new Error("nobody is there"), { code: -32_050, data: { reason: "away" } });
}

async function research(client, args) {
  const params = { name: "simulate-research-query", arguments: args, task: { ttl: 60_000 } };
  const created = await good(client.request("tools/call", params));
  const { taskId } = created.task;
  const status = await good(client.request("tasks/get", { taskId }));
  return { created, status, result: await good(client.request("tasks/result", { taskId })) };
}

async function cancelledTask(client) {
  const params = { name: "simulate-research-query", arguments: { topic: "x" }, task: { ttl: 60_000 } };
  const { task } = await good(client.request("tools/call", params));
  const cancelled = await good(client.request("tasks/cancel", { taskId: task.taskId }));
  const { tasks } = await good(client.request("tasks/list", {}));
  return { cancelled, statuses: tasks.map(({ status }) => status).sort() };
}

async function logging(client) {
  const level = await good(client.request("logging/setLevel", { level: "debug" }));
  const from = client.messages.length;
  const started = await good(client.call("toggle-simulated-logging"));
  const simulated = (m) => m.method === "notifications/message" && /level.message/.test(m.params.data);
  const message = await client.waitFor("log message", simulated, from);
  const stopped = await good(client.call("toggle-simulated-logging"));
  return { level, started, data: message.params.data, keys: Object.keys(message.params), stopped };
}

async function subscription(client) {
  const from = client.messages.length;
  const subscribed = await good(client.request("resources/subscribe", { uri: DOCUMENT }));
  const started = await good(client.call("toggle-subscriber-updates"));
  const updated = (m) => m.method === "notifications/resources/updated";
  const update = await client.waitFor("resource update", updated, from);
  const stopped = await good(client.call("toggle-subscriber-updates"));
  const unsubscribed = await good(client.request("resources/unsubscribe", { uri: DOCUMENT }));
  return { subscribed, started, update, stopped, unsubscribed };
}

async function everyToolWasCalled(client) {
  const pages = await everyPage(client, "tools/list", "tools");
  const names = pages.flatMap((page) => page.tools.map((tool) => tool.name));
  const missed = names.filter((name) => !COVERED.has(name));
  assert.deepEqual(missed, [], "tools without a step");
  return names;
}
