// What every client of the matrix does with the offer (offer.mjs), and the one JSON line that it prints for each feature:
// {"feature": NAME, "ok": true|false, "detail": TEXT}, or {"feature": NAME, "skipped": REASON} where the era has no such
// thing. The first line is "connect", whose detail is the era that the connection landed on: "legacy" or "modern".

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { COUNTER, LINK, PIXEL } from "./offer.mjs";
import { ROOTS } from "./person.mjs";

/** How long one feature may take. In milliseconds. */
const DEADLINE = 20_000;

/** How many calls run at the same time. */
const CROWD = 10;

const CHECKS = {
  tools,
  "tool results": toolResults,
  resources,
  prompts,
  completion,
  progress,
  logging,
  "log level": logLevel,
  sampling,
  elicitation,
  "elicitation url": elicitationUrl,
  roots,
  "two questions at once": questionsAtOnce,
  "two questions in turn": questionsInTurn,
  cancellation,
  "list changes": listChanges,
  subscription,
  concurrency,
  ping,
};

/** The names of the features, in the order in which they run. */
export const FEATURES = Object.keys(CHECKS);

/** Thrown by a feature that the era does not have. */
class Skipped extends Error {}

/** True if the client could connect; its lines say the rest. */
export async function runFeatures(host, command, args) {
  const connected = await outcome("connect", async () => {
    await host.connect(command, args);
    return host.era;
  });
  print(connected);
  if (!connected.ok) return false;
  for (const [name, feature] of Object.entries(CHECKS)) print(await outcome(name, () => feature(host)));
  await Promise.race([host.close(), late()]).catch(() => {});
  return true;
}

async function outcome(feature, run) {
  try {
    return { feature, ok: true, detail: (await Promise.race([run(), late()])) ?? "" };
  } catch (error) {
    if (error instanceof Skipped) return { feature, skipped: error.message };
    return { feature, ok: false, detail: `${error.code ?? ""} ${error.message}`.trim() };
  }
}

async function tools(host) {
  const { tools } = await host.sdk.listTools();
  const names = tools.map((tool) => tool.name);
  for (const name of ["echo", "weather", "wait", "touch"]) assert.ok(names.includes(name), `no tool ${name}`);
  for (const text of ["hello", 'ü 世界 🦀 \u2028 \u0001 \\ " \r\n </script>', "x".repeat(300_000)]) {
    assert.equal(await said(host, "echo", { text }), text);
  }
  return `${names.length} tools`;
}

async function toolResults(host) {
  const weather = { city: "Köln, Süd", degrees: 21.5 };
  const result = await host.call("weather", { city: weather.city });
  assert.deepEqual(result.structuredContent, weather);
  assert.deepEqual(JSON.parse(result.content[0].text), weather);
  const failure = await host.call("fail");
  assert.equal(failure.isError, true);
  assert.equal(failure.content[0].text, "failed on purpose");
  await rejected(host.call("no-such-tool"), -32_602);
}

async function resources(host) {
  const { resources } = await host.sdk.listResources();
  assert.deepEqual(resources.map(({ uri }) => uri).sort(), ["matrix://counter", "matrix://greeting", "matrix://pixel"]);
  const { resourceTemplates } = await host.sdk.listResourceTemplates();
  assert.deepEqual(resourceTemplates.map(({ uriTemplate }) => uriTemplate), ["matrix://item/{id}"]);
  assert.equal((await contents(host, "matrix://greeting")).text, "hello");
  assert.equal((await contents(host, "matrix://pixel")).blob, PIXEL);
  assert.equal((await contents(host, "matrix://item/7")).text, "item 7");
  // The code as it came: SDK v2 shows an application the same one in both eras.
  await assert.rejects(host.sdk.readResource({ uri: "matrix://nothing" }));
  const { error } = host.recorder.messages.findLast((message) => "error" in message);
  assert.equal(error.code, host.era === "modern" ? -32_602 : -32_002, error.message);
  assert.equal(error.data?.uri, "matrix://nothing");
}

async function prompts(host) {
  const { prompts } = await host.sdk.listPrompts();
  assert.deepEqual(prompts.map(({ name }) => name), ["greet"]);
  const { messages } = await host.sdk.getPrompt({ name: "greet", arguments: { name: "Zoë" } });
  assert.deepEqual(messages, [{ role: "user", content: { type: "text", text: "Please greet Zoë" } }]);
  await rejected(host.sdk.getPrompt({ name: "greet", arguments: {} }), -32_602);
}

async function completion(host) {
  const ask = async (ref, name, value) => (await host.sdk.complete({ ref, argument: { name, value } })).completion.values;
  assert.deepEqual(await ask({ type: "ref/prompt", name: "greet" }, "name", "A"), ["Ada", "Alan"]);
  assert.deepEqual(await ask({ type: "ref/resource", uri: "matrix://item/{id}" }, "id", "1"), ["1", "10"]);
}

/** Counted on the wire: the SDKs can lose the last report when the answer is right behind it. */
async function progress(host) {
  const from = host.recorder.messages.length;
  assert.equal(await said(host, "count", { to: 5 }, { onprogress: () => {} }), "counted to 5");
  const answer = host.recorder.messages.findIndex((message, at) => at >= from && "result" in message);
  const reports = host.recorder.messages.slice(from, answer).filter(({ method }) => method === "notifications/progress");
  assert.deepEqual(reports.map(({ params }) => params.progress), [1, 2, 3, 4, 5]);
  assert.deepEqual([...new Set(reports.map(({ params }) => params.total))], [5]);
  assert.equal(reports[4].params.message, "step 5");
  assert.equal(new Set(reports.map(({ params }) => params.progressToken)).size, 1);
}

async function logging(host) {
  const from = host.recorder.messages.length;
  await host.wantLogs("debug");
  assert.equal(await said(host, "chat"), "logged");
  const logs = () => host.recorder.notifications("notifications/message", from);
  await host.recorder.until("two logs", () => logs().length >= 2);
  assert.deepEqual(logs().map(({ params }) => [params.level, params.data]), [["info", "first"], ["error", "second"]]);
}

async function logLevel(host) {
  const from = host.recorder.messages.length;
  await host.wantLogs("error");
  assert.equal(await said(host, "chat"), "logged");
  const logs = () => host.recorder.notifications("notifications/message", from).map(({ params }) => params.level);
  await host.recorder.until("the error", () => logs().includes("error"));
  assert.deepEqual(logs(), ["error"]);
}

async function sampling(host) {
  assert.equal(await said(host, "ask-model", { prompt: "Grüße" }), "matrix-model said: heard Grüße");
}

async function elicitation(host) {
  assert.equal(await said(host, "ask-form"), "accept M");
  assert.equal(host.person.heard.at(-1).message, "Which size?");
  assert.equal(await unwilling(host, () => said(host, "ask-form")), "decline");
}

async function elicitationUrl(host) {
  assert.equal(await said(host, "ask-link"), "accept");
  const { mode, url } = host.person.heard.at(-1);
  assert.deepEqual({ mode, url }, { mode: "url", url: LINK });
  assert.equal(await unwilling(host, () => said(host, "ask-link")), "decline");
}

async function roots(host) {
  assert.deepEqual(JSON.parse(await said(host, "list-roots")), ROOTS.map(({ uri }) => uri));
}

async function questionsAtOnce(host) {
  assert.equal(await said(host, "ask-both"), "M, heard both");
}

async function questionsInTurn(host) {
  const from = host.person.heard.length;
  assert.equal(await said(host, "ask-twice"), "Ada, M");
  const messages = host.person.heard.slice(from).map(({ message }) => message);
  assert.deepEqual(messages, ["What is your name?", "Which size, Ada?"]);
}

async function cancellation(host) {
  const label = randomUUID();
  const abort = new AbortController();
  const from = host.recorder.messages.length;
  const call = host.call("wait", { label }, { signal: abort.signal, onprogress: () => {} });
  const ended = call.then((result) => `answered ${JSON.stringify(result)}`, () => "rejected");
  await host.recorder.until("report of the start", () => host.recorder.notifications("notifications/progress", from).length > 0);
  abort.abort("no longer wanted");
  assert.equal(await ended, "rejected");
  assert.equal(await said(host, "was-cancelled", { label }), "yes");
}

async function listChanges(host) {
  await host.watchTools();
  await host.sdk.listTools();
  const from = host.changes.length;
  const name = `added-${randomUUID()}`;
  assert.equal(await said(host, "add-tool", { name }), "added");
  await host.recorder.until("list change", () => host.changes.slice(from).includes("tools"));
  const { tools } = await host.sdk.listTools();
  assert.ok(tools.some((tool) => tool.name === name), "the new tool is not in the list");
  assert.equal(await said(host, name, { text: "new" }), "new");
}

async function subscription(host) {
  await host.watchResource(COUNTER);
  const before = Number((await contents(host, COUNTER)).text);
  const from = host.changes.length;
  assert.equal(await said(host, "touch"), "touched");
  await host.recorder.until("update", () => host.changes.slice(from).includes(COUNTER));
  assert.equal(Number((await contents(host, COUNTER)).text), before + 1);
}

async function concurrency(host) {
  const label = randomUUID();
  const calls = Array.from({ length: CROWD }, () => said(host, "meet", { size: CROWD, label }));
  assert.deepEqual(await Promise.all(calls), Array(CROWD).fill("met"));
}

async function ping(host) {
  if (host.era === "modern") throw new Skipped("the modern era has no ping");
  await host.ping();
}

/** The text of the one block that a tool answers with. */
async function said(host, name, args, options) {
  const result = await host.call(name, args, options);
  assert.ok(!result.isError, `${name} failed: ${result.content?.[0]?.text}`);
  assert.equal(result.content.length, 1);
  return result.content[0].text;
}

async function contents(host, uri) {
  const { contents } = await host.sdk.readResource({ uri });
  assert.equal(contents[0].uri, uri);
  return contents[0];
}

async function rejected(pending, code) {
  const error = await pending.then((result) => assert.fail(`no error: ${JSON.stringify(result)}`), (reason) => reason);
  assert.equal(error.code, code, error.message);
}

async function unwilling(host, act) {
  host.person.mood = "decline";
  try {
    return await act();
  } finally {
    host.person.mood = "accept";
  }
}

function late() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done within ${DEADLINE} ms`)), DEADLINE).unref();
  });
}

function print(line) {
  console.log(JSON.stringify(line));
}
