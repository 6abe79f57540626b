// The server that the suite's server scenarios want: their tools, resources and prompts, by the names that they use.
// It is built on the reference SDK, which does the protocol. Everything that asks the client for something is written
// once: the SDK sends `input_required` results at the revision that has them, and requests of its own before.

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { RETRY, bodyOf, eventStore, listen, refuse } from "./http.mjs";
import { importPackage } from "./packages.mjs";

const sdk = await importPackage("@modelcontextprotocol/server");
const { NodeStreamableHTTPServerTransport, toNodeHandler } = await importPackage("@modelcontextprotocol/node");
const { McpServer, ResourceTemplate, acceptedContent, fromJsonSchema, inputRequired } = sdk;

/** The pause between two signs of life of a tool, and before a result on a closed stream. In milliseconds. */
const STEP = 50;

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";
const WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";

/** Keywords of JSON Schema that only survive where nobody takes a schema apart. */
const EVERY_KEYWORD = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  $defs: {
    address: { $anchor: "addressDef", type: "object", properties: { street: { type: "string" }, city: { type: "string" } } },
  },
  properties: {
    name: { type: "string" },
    address: { $ref: "#/$defs/address" },
    contactMethod: { type: "string", enum: ["phone", "email"] },
    phone: { type: "string" },
    email: { type: "string" },
  },
  allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
  if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
  then: { required: ["phone"] },
  else: { required: ["email"] },
  additionalProperties: false,
};

/** Every kind of field with a default, and every way to write a choice. */
const DEFAULTS = {
  name: { type: "string", default: "John Doe" },
  age: { type: "integer", default: 30 },
  score: { type: "number", default: 95.5 },
  status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
  verified: { type: "boolean", default: true },
};
const titled = (...titles) => titles.map((title, index) => ({ const: `value${index + 1}`, title }));
const OPTIONS = ["option1", "option2", "option3"];
const CHOICES = {
  untitledSingle: { type: "string", enum: OPTIONS },
  titledSingle: { type: "string", oneOf: titled("First", "Second", "Third") },
  legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["One", "Two", "Three"] },
  untitledMulti: { type: "array", minItems: 1, maxItems: 3, items: { type: "string", enum: OPTIONS } },
  titledMulti: { type: "array", minItems: 1, maxItems: 3, items: { anyOf: titled("First", "Second", "Third") } },
};

const text = (said) => ({ type: "text", text: said });
const saying = (said) => ({ content: [text(said)] });
const schema = (properties, required = []) => ({ type: "object", properties, required });
const form = (message, properties, required) =>
  inputRequired.elicit({ message, requestedSchema: schema(properties, required) });
const nameForm = () => form("What is your name?", { name: { type: "string" } }, ["name"]);
const okForm = () => form("Please confirm", { ok: { type: "boolean" } }, ["ok"]);
const sample = (words) => inputRequired.createMessage({ messages: [{ role: "user", content: text(words) }], maxTokens: 50 });
const ask = (inputRequests, requestState) => inputRequired({ inputRequests, ...(requestState && { requestState }) });

/** What a client answered, whatever its action was, as the suite wants to read it. */
function elicited(answer) {
  return saying(`Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`);
}

/**
 * A server that speaks
 *   legacy       the revisions with `initialize`, in sessions;
 *   modern       the one without, and refuses the others;
 *   dual         all of them, the older ones in sessions;
 *   sessionless  all of them, the older ones without sessions, so that it cannot ask their clients anything.
 */
export async function startServer(era) {
  assert.ok(["legacy", "modern", "dual", "sessionless"].includes(era));
  const codec = sdk.createRequestStateCodec({ key: new Uint8Array(randomBytes(32)) });
  const sessions = new Map();
  const modern = sdk.createMcpHandler(() => build(), {
    legacy: era === "modern" ? "reject" : "stateless",
    onerror: () => {},
  });
  const serveModern = toNodeHandler(modern);

  return listen(serve);

  async function serve(request, response) {
    const body = request.method === "POST" ? await bodyOf(request) : undefined;
    const hasSessions = era === "legacy" || era === "dual";
    const isModern = body !== undefined && classify(request, body) !== "legacy";
    if (!hasSessions || (era === "dual" && isModern)) return serveModern(request, response, body);
    const known = request.headers["mcp-session-id"];
    if (known !== undefined) {
      const session = sessions.get(known);
      return session ? session.transport.handleRequest(request, response, body) : refuse(response, 404, -32001, "no such session");
    }
    if (body?.method !== "initialize") return refuse(response, 400, -32000, "no session");
    const transport = await openSession();
    return transport.handleRequest(request, response, body);
  }

  async function openSession() {
    const server = build();
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      eventStore: eventStore(),
      retryInterval: RETRY,
      onsessioninitialized: (id) => void sessions.set(id, { server, transport }),
    });
    transport.onclose = () => void sessions.delete(transport.sessionId);
    await server.connect(transport);
    return transport;
  }

  function build() {
    const server = new McpServer(
      { name: "conformance-server", version: "1.0.0" },
      {
        capabilities: {
          tools: { listChanged: true },
          resources: { subscribe: true, listChanged: true },
          prompts: { listChanged: true },
          logging: {},
          completions: {},
        },
        requestState: { verify: codec.verify },
      },
    );
    const tool = (name, run, properties) => {
      const inputSchema = fromJsonSchema(properties?.$schema ? properties : { type: "object", properties: properties ?? {} });
      server.registerTool(name, { description: `For the scenarios: ${name}`, inputSchema }, run);
    };
    plainTools(tool);
    talkingTools(tool);
    askingTools(tool, codec, () => server.server.getClientCapabilities());
    tool("test_reconnection", async (_args, ctx) => {
      sessions.get(ctx.sessionId)?.transport.closeSSEStream(ctx.mcpReq.id);
      await sleep(2 * STEP);
      return saying("The result of a call whose stream was closed");
    });
    tool("test_trigger_tool_change", () => {
      modern.notify.toolsChanged();
      for (const session of sessions.values()) session.server.sendToolListChanged();
      return saying("tools changed");
    });
    tool("test_trigger_prompt_change", () => {
      modern.notify.promptsChanged();
      for (const session of sessions.values()) session.server.sendPromptListChanged();
      return saying("prompts changed");
    });
    addResources(server);
    addPrompts(server);
    server.server.setRequestHandler("completion/complete", () => ({ completion: { values: [], total: 0, hasMore: false } }));
    return server;
  }
}

function plainTools(tool) {
  const image = { type: "image", data: PNG, mimeType: "image/png" };
  const resource = (uri, mimeType, words) => ({ type: "resource", resource: { uri, mimeType, text: words } });
  tool("test_simple_text", () => saying("This is a simple text response for testing."));
  tool("test_image_content", () => ({ content: [image] }));
  tool("test_audio_content", () => ({ content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }] }));
  tool("test_embedded_resource", () => ({ content: [resource("test://embedded-resource", "text/plain", "embedded")] }));
  tool("test_multiple_content_types", () => ({
    content: [text("several"), image, resource("test://mixed-content-resource", "application/json", '{"test":"data"}')],
  }));
  tool("test_error_handling", () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  tool("json_schema_2020_12_tool", (args) => saying(JSON.stringify(args)), EVERY_KEYWORD);
  tool("test_streaming_elicitation", () => saying("nothing but this result"));
  tool("test_x_mcp_header", ({ region }) => saying(`region=${region}`), {
    region: { type: "string", "x-mcp-header": "Region" },
  });
}

function talkingTools(tool) {
  tool("test_tool_with_logging", async (_args, ctx) => {
    for (const said of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await ctx.mcpReq.log("info", said);
      await sleep(STEP);
    }
    return saying("logged");
  });
  tool("test_logging_tool", async (_args, ctx) => {
    await ctx.mcpReq.log("info", "for those who asked for a level");
    return saying("logged");
  });
  tool("test_tool_with_progress", async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      const params = { progressToken, progress, total: 100, message: `${progress} of 100` };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
      await sleep(STEP);
    }
    return saying(String(progressToken));
  });
}

/** Tools whose first answer is a question. `inSession` is what the client of a session can be asked. */
function askingTools(tool, codec, inSession) {
  const answer = (ctx, key) => ctx.mcpReq.inputResponses?.[key];
  const accepted = (ctx, key) => acceptedContent(ctx.mcpReq.inputResponses, key);
  const mint = (payload) => codec.mint({ ...payload, nonce: randomUUID() });

  tool(
    "test_sampling",
    ({ prompt }, ctx) => {
      const answered = answer(ctx, "words");
      return answered ? saying(`LLM response: ${answered.content.text}`) : ask({ words: sample(prompt) });
    },
    { prompt: { type: "string" } },
  );
  tool(
    "test_elicitation",
    ({ message }, ctx) => {
      const answered = answer(ctx, "said");
      if (answered === undefined) return ask({ said: form(message, { response: { type: "string" } }, ["response"]) });
      return saying(`User response: action=${answered.action}, content=${JSON.stringify(answered.content ?? {})}`);
    },
    { message: { type: "string" } },
  );
  for (const [name, fields] of [["test_elicitation_sep1034_defaults", DEFAULTS], ["test_elicitation_sep1330_enums", CHOICES]]) {
    tool(name, (_args, ctx) => {
      const answered = answer(ctx, "filled");
      return answered ? elicited(answered) : ask({ filled: form("Please fill in", fields) });
    });
  }
  tool("test_missing_capability", (_args, ctx) => (answer(ctx, "words") ? saying("sampled") : ask({ words: sample("Say pong") })));

  tool("test_input_required_result_elicitation", (_args, ctx) => {
    const name = accepted(ctx, "user_name")?.name;
    return typeof name === "string" ? saying(`Hello, ${name}!`) : ask({ user_name: nameForm() });
  });
  tool("test_input_required_result_sampling", (_args, ctx) => {
    const said = answer(ctx, "capital")?.content?.text;
    return said === undefined ? ask({ capital: sample("What is the capital of France?") }) : saying(`Sampled: ${said}`);
  });
  tool("test_input_required_result_list_roots", (_args, ctx) => {
    const roots = answer(ctx, "roots")?.roots;
    return Array.isArray(roots) ? saying(`Found ${roots.length} roots`) : ask({ roots: inputRequired.listRoots() });
  });
  tool("test_input_required_result_request_state", async (_args, ctx) => {
    const kept = ctx.mcpReq.requestState();
    if (kept?.kind === "kept" && accepted(ctx, "confirm")) return saying("state-ok");
    return ask({ confirm: okForm() }, await mint({ kind: "kept" }));
  });
  tool("test_input_required_result_multiple_inputs", async (_args, ctx) => {
    const name = accepted(ctx, "user_name")?.name;
    const greeting = answer(ctx, "greeting")?.content?.text;
    const roots = answer(ctx, "roots")?.roots;
    if (name && greeting && roots) return saying(`${greeting} ${name}, ${roots.length} roots`);
    const asked = { user_name: nameForm(), greeting: sample("Generate a greeting"), roots: inputRequired.listRoots() };
    return ask(asked, await mint({ kind: "several" }));
  });
  tool("test_input_required_result_multi_round", async (_args, ctx) => {
    const { round = 0, name } = ctx.mcpReq.requestState() ?? {};
    if (round === 0) return ask({ step1: nameForm() }, await mint({ round: 1 }));
    if (round === 1) {
      const state = await mint({ round: 2, name: accepted(ctx, "step1")?.name });
      return ask({ step2: form("Which colour?", { color: { type: "string" } }, ["color"]) }, state);
    }
    return saying(`Multi-round complete: ${name} likes ${accepted(ctx, "step2")?.color}`);
  });
  tool("test_input_required_result_tampered_state", async (_args, ctx) => {
    if (ctx.mcpReq.requestState() && accepted(ctx, "confirm")) return saying("integrity-ok");
    return ask({ confirm: okForm() }, await mint({ kind: "sealed" }));
  });
  tool("test_input_required_result_capabilities", (_args, ctx) => {
    if (ctx.mcpReq.inputResponses !== undefined) return saying("asked for what the client has");
    const has = ctx.mcpReq.envelope?.[sdk.CLIENT_CAPABILITIES_META_KEY] ?? inSession() ?? {};
    const asked = {
      ...(has.elicitation && { user_name: nameForm() }),
      ...(has.sampling && { greeting: sample("Generate a greeting") }),
      ...(has.roots && { roots: inputRequired.listRoots() }),
    };
    return Object.keys(asked).length === 0 ? saying("nothing to ask") : ask(asked);
  });
}

function addResources(server) {
  const add = (name, uri, mimeType, content) =>
    server.registerResource(name, uri, { description: `For the scenarios: ${name}`, mimeType }, () => ({
      contents: [{ uri, mimeType, ...content }],
    }));
  add("static-text", "test://static-text", "text/plain", { text: "This is the content of the static text resource." });
  add("static-binary", "test://static-binary", "image/png", { blob: PNG });
  add("watched", "test://watched-resource", "text/plain", { text: "Watched resource content" });
  const template = new ResourceTemplate("test://template/{id}/data", { list: undefined });
  const mimeType = "application/json";
  server.registerResource("template", template, { mimeType }, (uri, { id }) => ({
    contents: [{ uri: uri.href, mimeType, text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }],
  }));
  for (const method of ["resources/subscribe", "resources/unsubscribe"]) server.server.setRequestHandler(method, () => ({}));
}

function addPrompts(server) {
  const user = (content) => ({ role: "user", content });
  const add = (name, run, required) => {
    const strings = Object.fromEntries((required ?? []).map((key) => [key, { type: "string" }]));
    const argsSchema = required && fromJsonSchema(schema(strings, required));
    server.registerPrompt(name, { description: `For the scenarios: ${name}`, ...(argsSchema && { argsSchema }) }, run);
  };
  add("test_simple_prompt", () => ({ messages: [user(text("This is a simple prompt for testing."))] }));
  add(
    "test_prompt_with_arguments",
    ({ arg1, arg2 }) => ({ messages: [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))] }),
    ["arg1", "arg2"],
  );
  add(
    "test_prompt_with_embedded_resource",
    ({ resourceUri: uri }) => ({
      messages: [
        user({ type: "resource", resource: { uri, mimeType: "text/plain", text: "Embedded resource content for testing." } }),
        user(text("Please process the embedded resource above.")),
      ],
    }),
    ["resourceUri"],
  );
  add("test_prompt_with_image", () => ({
    messages: [user({ type: "image", data: PNG, mimeType: "image/png" }), user(text("Please analyze the image above."))],
  }));
  add("test_input_required_result_prompt", (ctx) => {
    const context = acceptedContent(ctx.mcpReq.inputResponses, "user_context")?.context;
    if (context !== undefined) return { messages: [user(text(`Prompt with context: ${context}`))] };
    return ask({ user_context: form("Which context?", { context: { type: "string" } }, ["context"]) });
  });
}

function classify(request, body) {
  const inbound = sdk.classifyInboundRequest({
    httpMethod: request.method,
    protocolVersionHeader: request.headers["mcp-protocol-version"],
    mcpMethodHeader: request.headers["mcp-method"],
    body,
  });
  return inbound.kind;
}
