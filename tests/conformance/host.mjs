// A small MCP host over stdio. The conformance suite runs it as its client, `host.mjs <server-url>`; it starts the
// bridge with that URL and does what the scenario named in MCP_CONFORMANCE_SCENARIO wants a client to do.
//
// It speaks JSON-RPC itself, so that nothing between the bridge and the checks alters a message. It never repeats a
// request: whatever has to be tried again is the bridge's affair.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** How long the bridge may take for one answer, and to end. In milliseconds. */
const ANSWER_DEADLINE = 15_000;
const EXIT_DEADLINE = 5_000;

/** The newest revision that begins with `initialize`. */
const NEWEST_LEGACY = "2025-11-25";

const CAPABILITIES = { elicitation: { form: { applyDefaults: true } }, roots: {}, sampling: {} };

/** One JSON-RPC peer on the bridge's stdin and stdout. */
class Bridge {
  #pending = new Map();
  #nextId = 1;

  constructor(binary, url) {
    this.child = spawn(binary, [url], { stdio: ["pipe", "pipe", "inherit"] });
    this.child.stdin.on("error", () => {});
    this.exited = once(this.child, "exit");
    this.exited.then(() => this.#refuseAll(new Error("the bridge ended")), (error) => this.#refuseAll(error));
    createInterface({ input: this.child.stdout }).on("line", (line) => this.#receive(JSON.parse(line)));
  }

  /** The result of a request; an error answer is thrown. */
  async request(method, params) {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers();
    const timer = setTimeout(() => reject(new Error(`no answer to ${method}`)), ANSWER_DEADLINE);
    this.#pending.set(id, { resolve, reject });
    this.#send({ id, method, params });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  notify(method) {
    this.#send({ method });
  }

  async initialize() {
    const asked = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? NEWEST_LEGACY;
    const result = await this.request("initialize", {
      protocolVersion: asked > NEWEST_LEGACY ? NEWEST_LEGACY : asked,
      capabilities: CAPABILITIES,
      clientInfo: { name: "conformance-host", version: "1.0.0" },
    });
    assert.ok(result.protocolVersion <= NEWEST_LEGACY, `initialize was answered with ${result.protocolVersion}`);
    this.notify("notifications/initialized");
    return result;
  }

  /** Ends the bridge the way hosts do, by closing its stdin. */
  async close() {
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), EXIT_DEADLINE);
    const [code, signal] = await this.exited;
    clearTimeout(timer);
    assert.equal(code, 0, `the bridge ended with ${code ?? signal}`);
  }

  #send(message) {
    this.child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  #receive(message) {
    if (message.method !== undefined) {
      if (message.id !== undefined) this.#answer(message);
      return;
    }
    const waiting = this.#pending.get(message.id);
    if (message.error) waiting?.reject(new Error(`error answer: ${JSON.stringify(message.error)}`));
    else waiting?.resolve(message.result);
  }

  /** A person who agrees to everything and leaves every field at its default. */
  #answer({ id, method, params }) {
    const results = {
      ping: () => ({}),
      "roots/list": () => ({ roots: [] }),
      "elicitation/create": () => ({ action: "accept", content: agreed(params.requestedSchema?.properties ?? {}) }),
    };
    const result = results[method]?.();
    const error = { code: -32601, message: `method not found: ${method}` };
    this.#send(result ? { id, result } : { id, error });
  }

  #refuseAll(error) {
    for (const { reject } of this.#pending.values()) reject(error);
  }
}

/** Every field's default; a yes for a question without one. */
function agreed(properties) {
  const fields = Object.entries(properties).filter(([, field]) => "default" in field || field.type === "boolean");
  return Object.fromEntries(fields.map(([name, field]) => [name, field.default ?? true]));
}

/** What the client of each scenario does after `initialize`. */
const ACTIONS = {
  initialize: (bridge) => bridge.request("tools/list", {}),

  tools_call: async (bridge) => {
    await bridge.request("tools/list", {});
    const result = await bridge.request("tools/call", { name: "add_numbers", arguments: { a: 2, b: 3 } });
    assert.equal(result.content[0].text, "The sum of 2 and 3 is 5");
  },

  "elicitation-sep1034-client-defaults": (bridge) => callEveryTool(bridge),

  "sse-retry": async (bridge) => {
    const [result] = await callEveryTool(bridge);
    assert.equal(result.content[0].text, "Reconnection test completed successfully");
  },

  "request-metadata": (bridge) => bridge.request("tools/list", {}),

  "sep-2322-client-request-state": async (bridge) => {
    await bridge.request("tools/list", {});
    const text = async (name) => {
      const result = await bridge.request("tools/call", { name, arguments: {} });
      return result.content[0].text;
    };
    const answers = await Promise.all(["test_mrtr_echo_state", "test_mrtr_unrelated"].map(text));
    answers.push(await text("test_mrtr_no_state"), await text("test_mrtr_no_result_type"));
    assert.deepEqual(answers, ["echo-state-ok", "unrelated-ok", "no-state-ok", "no-result-type-test-ok"]);
  },

  "http-standard-headers": async (bridge) => {
    await callEveryTool(bridge);
    const { resources } = await bridge.request("resources/list", {});
    for (const { uri } of resources) await bridge.request("resources/read", { uri });
    const { prompts } = await bridge.request("prompts/list", {});
    for (const { name } of prompts) await bridge.request("prompts/get", { name });
  },

  "http-custom-headers": async (bridge) => {
    await bridge.request("tools/list", {});
    const { toolCalls } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT);
    for (const call of toolCalls) await bridge.request("tools/call", call);
  },

  "http-invalid-tool-headers": (bridge) => callEveryTool(bridge, { region: "us-west1", value: "x" }),

  "json-schema-ref-no-deref": (bridge) => bridge.request("tools/list", {}),

  "json-schema-2020-12-preservation": async (bridge) => {
    const { tools } = await bridge.request("tools/list", {});
    const { inputSchema } = tools.find(({ name }) => name === "json_schema_2020_12_tool");
    await bridge.request("tools/call", { name: "json_schema_echo", arguments: { schema: inputSchema } });
  },

  "sep-2640-client-no-prefetch": (bridge) => bridge.request("skills/list", {}),
  "sep-2640-client-verify-digest": readOneSkill,
  "sep-2640-client-verify-size": readOneSkill,
  "sep-2640-client-verify-frontmatter": readOneSkill,
};

async function callEveryTool(bridge, args = {}) {
  const { tools } = await bridge.request("tools/list", {});
  assert.ok(tools.length > 0, "no tools");
  const results = [];
  for (const { name } of tools) results.push(await bridge.request("tools/call", { name, arguments: args }));
  return results;
}

/** Checking the digest is the host's duty: this one reads the first file, sees that it is not what was listed, and stops. */
async function readOneSkill(bridge) {
  const { skills } = await bridge.request("skills/list", {});
  const { contents } = await bridge.request("resources/read", { uri: skills[0].uri });
  assert.ok(contents[0].text.length > 0);
}

const binary = process.env.MCP_BRIDGE_BIN;
const scenario = process.env.MCP_CONFORMANCE_SCENARIO;
const action = ACTIONS[scenario];
assert.ok(binary, "set MCP_BRIDGE_BIN to the bridge binary");
assert.ok(action, `no action for the scenario ${scenario}`);

const bridge = new Bridge(binary, process.argv[2]);
const failures = [];
await bridge
  .initialize()
  .then(() => action(bridge))
  .catch((error) => failures.push(error));
await bridge.close().catch((error) => failures.push(error));
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
