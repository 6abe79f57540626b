// A small MCP host over stdio. The conformance suite runs it as its client, `host.mjs <server-url>`; it starts the
// bridge with that URL and does what the scenario named in MCP_CONFORMANCE_SCENARIO wants a client to do.
//
// MCP_CONFORMANCE_HOST says which host it is:
//   legacy        begins with `initialize`, and answers what the server asks while a call is open;
//   modern        begins with `server/discover`, and answers `input_required` results by repeating the call;
//   undiscovered  is modern too, but begins with the first thing that it needs.
//
// It is the person too: it follows the sign-in links that the bridge prints.
// It speaks JSON-RPC itself, so that nothing between the bridge and the checks alters a message. Beside the
// rounds of `input_required` it never repeats a request: whatever has to be tried again is the bridge's affair.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Person, linksIn } from "../interop/sign-in/person.mjs";

/** How long the bridge may take for one answer, and to end. In milliseconds. */
const ANSWER_DEADLINE = 15_000;
const EXIT_DEADLINE = 5_000;

/** The newest revision that begins with `initialize`, and the one without it. */
const NEWEST_LEGACY = "2025-11-25";
const MODERN = "2026-07-28";

/** Most times that one call may ask for more. */
const ROUNDS = 5;

const CAPABILITIES = { elicitation: { form: { applyDefaults: true } }, roots: {}, sampling: {} };
const CLIENT_INFO = { name: "conformance-host", version: "1.0.0" };

/** One JSON-RPC peer on the bridge's stdin and stdout. */
class Bridge {
  #pending = new Map();
  #nextId = 1;
  #words = "";
  #followed = new Set();
  #person = new Person();
  #host;
  #revision;
  /** What every request says about its sender, at revisions without `initialize`. */
  #meta;

  constructor(binary, url, options, host) {
    this.#host = host;
    const revision = revisionOf(host);
    this.#revision = revision;
    if (revision === MODERN) {
      this.#meta = {
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
        "io.modelcontextprotocol/clientCapabilities": CAPABILITIES,
      };
    }
    this.child = spawn(binary, [url, ...options], { stdio: "pipe" });
    this.child.stderr.setEncoding("utf8").on("data", (text) => this.#hear(text));
    this.child.stdin.on("error", () => {});
    this.exited = once(this.child, "exit");
    this.exited.then(() => this.#refuseAll(new Error("the bridge ended")), (error) => this.#refuseAll(error));
    createInterface({ input: this.child.stdout }).on("line", (line) => this.#receive(JSON.parse(line)));
  }

  /** The complete result of a request; an error answer is thrown. */
  async request(method, params) {
    let result = await this.#ask(method, params);
    if (this.#meta === undefined) {
      assert.notEqual(result.resultType, "input_required", `a host that began with initialize was sent ${method}'s input_required`);
      return result;
    }
    for (let round = 0; result.resultType === "input_required"; round += 1) {
      assert.ok(round < ROUNDS, `${method} asked for more in ${ROUNDS} answers`);
      result = await this.#ask(method, { ...params, ...answersTo(result) });
    }
    assert.equal(result.resultType ?? "complete", "complete", `${method} was answered with resultType ${result.resultType}`);
    return result;
  }

  /** The next result of a request, complete or not. */
  async #ask(method, params) {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers();
    const timer = setTimeout(() => reject(new Error(`no answer to ${method}`)), ANSWER_DEADLINE);
    this.#pending.set(id, { resolve, reject });
    this.#send({ id, method, params: this.#meta === undefined ? params : { ...params, _meta: this.#meta } });
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

  /** The first words: `initialize`, or `server/discover` where a host without it has any. */
  async open() {
    if (this.#host === "undiscovered") return;
    if (this.#meta !== undefined) {
      const { supportedVersions } = await this.request("server/discover", {});
      assert.ok(supportedVersions.includes(this.#revision), `the server speaks ${supportedVersions}`);
      return;
    }
    const result = await this.request("initialize", {
      protocolVersion: this.#revision,
      capabilities: CAPABILITIES,
      clientInfo: CLIENT_INFO,
    });
    assert.ok(result.protocolVersion <= NEWEST_LEGACY, `initialize was answered with ${result.protocolVersion}`);
    this.notify("notifications/initialized");
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

  /** Passes stderr on, and opens every sign-in link that is complete. */
  #hear(text) {
    process.stderr.write(text);
    this.#words += text;
    const complete = this.#words.slice(0, this.#words.lastIndexOf("\n") + 1);
    for (const link of linksIn(complete).filter((link) => !this.#followed.has(link))) {
      this.#followed.add(link);
      this.#person.open(link).catch((error) => console.error(`following ${link}: ${error}`));
    }
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

  /** Nobody may ask a host of the revision without `initialize` by a request of its own. */
  #answer({ id, method, params }) {
    const result = method === "ping" ? {} : agree({ method, params });
    const error = { code: -32601, message: `method not found: ${method}` };
    if (this.#meta !== undefined) this.#refuseAll(new Error(`the bridge sent the request ${method}`));
    this.#send(result && this.#meta === undefined ? { id, result } : { id, error });
  }

  #refuseAll(error) {
    for (const { reject } of this.#pending.values()) reject(error);
  }
}

/** What the repeated call says beside what the first one said. */
function answersTo({ inputRequests, requestState }) {
  const said = {};
  if (requestState !== undefined) said.requestState = requestState;
  if (inputRequests !== undefined) {
    const answers = Object.entries(inputRequests).map(([key, asked]) => [key, agree(asked)]);
    said.inputResponses = Object.fromEntries(answers);
  }
  return said;
}

/** A person who agrees to everything and leaves every field at its default. */
function agree({ method, params }) {
  switch (method) {
    case "roots/list":
      return { roots: [] };
    case "elicitation/create":
      return { action: "accept", content: agreed(params.requestedSchema?.properties ?? {}) };
    case "sampling/createMessage":
      return { role: "assistant", content: { type: "text", text: "Yes." }, model: CLIENT_INFO.name, stopReason: "endTurn" };
    default:
      return undefined;
  }
}

/** Every field's default; a yes for a question without one. */
function agreed(properties) {
  const fields = Object.entries(properties).filter(([, field]) => "default" in field || field.type === "boolean");
  return Object.fromEntries(fields.map(([name, field]) => [name, field.default ?? true]));
}

/** What the client of each scenario does after its first words. */
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

/** Scenarios whose server must not get as far as a token, or gives one that is never enough. */
const REFUSED = new Set([
  "auth/scope-retry-limit",
  "auth/resource-mismatch",
  "auth/metadata-issuer-mismatch",
  "auth/iss-supported-missing",
  "auth/iss-wrong-issuer",
  "auth/iss-unexpected",
  "auth/iss-normalized",
]);

/** The document that the suite knows as a client's metadata. It is never fetched. */
const CLIENT_METADATA_URL = "https://conformance-test.local/client-metadata.json";

/** What the scenarios of sign-in tell the bridge beside the URL; the others need nothing. */
const SIGN_IN = {
  "auth/basic-cimd": () => ["--client-metadata-url", CLIENT_METADATA_URL],

  "auth/pre-registration": ({ client_id, client_secret }) => clientInfo({ client_id, client_secret }),

  "auth/client-credentials-basic": ({ client_id, client_secret }) => [
    "--client-credentials",
    ...clientInfo({ client_id, client_secret }),
  ],

  "auth/client-credentials-jwt": ({ client_id, private_key_pem, signing_algorithm }) => [
    "--client-credentials",
    ...clientInfo({
      client_id,
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: signing_algorithm,
      private_key_pem,
    }),
  ],

  "auth/enterprise-managed-authorization": enterprise,
  "auth/cross-app-access-complete-flow": enterprise,

  "auth/wif-jwt-bearer": ({ valid_jwt }) => ["--workload-jwt", file("workload.jwt", valid_jwt)],
};

function enterprise({ client_id, client_secret, idp_client_id, idp_id_token, idp_issuer, idp_token_endpoint }) {
  const idp = { issuer: idp_issuer, token_endpoint: idp_token_endpoint, client_id: idp_client_id, id_token: idp_id_token };
  return ["--enterprise-idp", file("idp.json", JSON.stringify(idp)), ...clientInfo({ client_id, client_secret })];
}

function clientInfo(info) {
  return ["--static-oauth-client-info", file("client.json", JSON.stringify(info))];
}

/** Secrets reach the bridge by file, as `@path`. */
function file(name, content) {
  const path = join(mkdtempSync(join(process.env.MCP_BRIDGE_CONFIG_DIR, "given-")), name);
  writeFileSync(path, content, { mode: 0o600 });
  return `@${path}`;
}

/** The bridge's options for a scenario. */
function optionsOf(scenario, host) {
  // A server that has to see no `initialize` before the bridge has looked for what it speaks.
  if (scenario === "request-metadata" && host === "legacy") return ["--protocol", "modern"];
  if (!scenario.startsWith("auth/")) return [];
  const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
  return ["--no-browser", ...(SIGN_IN[scenario]?.(context) ?? [])];
}

/** The revision that a host speaks: a legacy one that of the scenario, as far as it can. */
function revisionOf(host) {
  if (host !== "legacy") return MODERN;
  const asked = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? NEWEST_LEGACY;
  return asked > NEWEST_LEGACY ? NEWEST_LEGACY : asked;
}

/** Signing in succeeds, and both requests are answered. */
async function useTool(bridge) {
  const { tools } = await bridge.request("tools/list", {});
  assert.deepEqual(tools.map(({ name }) => name), ["test-tool"]);
  const result = await bridge.request("tools/call", { name: "test-tool", arguments: {} });
  assert.equal(result.content[0].text, "test");
}

/** The host gets an error, and gets it in time. */
async function beRefused(opened, bridge) {
  const answer = opened.then(() => bridge.request("tools/list", {}));
  await assert.rejects(answer, /error answer/, "a token that must not exist was used");
}

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
const host = process.env.MCP_CONFORMANCE_HOST;
const action = ACTIONS[scenario] ?? (scenario?.startsWith("auth/") ? useTool : undefined);
assert.ok(binary, "set MCP_BRIDGE_BIN to the bridge binary");
assert.ok(action, `no action for the scenario ${scenario}`);
assert.ok(["legacy", "modern", "undiscovered"].includes(host), "set MCP_CONFORMANCE_HOST to legacy, modern or undiscovered");

const bridge = new Bridge(binary, process.argv[2], optionsOf(scenario, host), host);
const failures = [];
const opened = bridge.open();
const outcome = REFUSED.has(scenario) ? beRefused(opened, bridge) : opened.then(() => action(bridge));
await outcome.catch((error) => failures.push(error));
await bridge.close().catch((error) => failures.push(error));
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
