// The offer served with SDK v1: stdio, Streamable HTTP with and without sessions, HTTP+SSE.

import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as types from "@modelcontextprotocol/sdk/types.js";
import { CAPABILITIES, INFO, Offer } from "./offer.mjs";

const REQUESTS = {
  "tools/list": types.ListToolsRequestSchema,
  "tools/call": types.CallToolRequestSchema,
  "resources/list": types.ListResourcesRequestSchema,
  "resources/templates/list": types.ListResourceTemplatesRequestSchema,
  "resources/read": types.ReadResourceRequestSchema,
  "prompts/list": types.ListPromptsRequestSchema,
  "prompts/get": types.GetPromptRequestSchema,
  "completion/complete": types.CompleteRequestSchema,
};

const ANSWERS = {
  "elicitation/create": types.ElicitResultSchema,
  "sampling/createMessage": types.CreateMessageResultSchema,
  "roots/list": types.ListRootsResultSchema,
};

/** One server program: the offer, and the sessions that hear of its changes. */
class Program {
  #offer = new Offer();
  #sessions = new Map();

  constructor() {
    this.#offer.publish = {
      toolsChanged: () => this.#tell(() => true, (server) => server.sendToolListChanged()),
      resourceUpdated: (uri) => this.#tell((uris) => uris.has(uri), (server) => server.sendResourceUpdated({ uri })),
    };
  }

  /** Connects a server object of its own to `transport`; it hears of changes until the transport closes. */
  async connect(transport) {
    const server = new Server(INFO, { capabilities: CAPABILITIES, enforceStrictCapabilities: true });
    const uris = new Set();
    for (const [method, handler] of Object.entries(this.#offer.handlers())) {
      server.setRequestHandler(REQUESTS[method], ({ params }, extra) => handler(params ?? {}, context(server, extra)));
    }
    server.setRequestHandler(types.SubscribeRequestSchema, ({ params }) => (uris.add(params.uri), {}));
    server.setRequestHandler(types.UnsubscribeRequestSchema, ({ params }) => (uris.delete(params.uri), {}));
    this.#sessions.set(server, uris);
    server.onclose = () => this.#sessions.delete(server);
    await server.connect(transport);
    return server;
  }

  #tell(wants, send) {
    for (const [server, uris] of this.#sessions) if (wants(uris)) send(server).catch(() => {});
  }
}

function context(server, extra) {
  return {
    era: "legacy",
    signal: extra.signal,
    ask: async (questions) => {
      const asked = Object.entries(questions).map(async ([key, { method, params }]) => {
        const request = { method, params: params?.mode === "url" ? { ...params, elicitationId: randomUUID() } : params };
        return [key, await extra.sendRequest(request, ANSWERS[method])];
      });
      return Object.fromEntries(await Promise.all(asked));
    },
    progress: async (progress, total, message) => {
      const progressToken = extra._meta?.progressToken;
      if (progressToken === undefined) return;
      const params = { progressToken, progress, total, message };
      await extra.sendNotification({ method: "notifications/progress", params });
    },
    log: async (level, data) => {
      if (server.isMessageIgnored(level, extra.sessionId)) return;
      await extra.sendNotification({ method: "notifications/message", params: { level, data } });
    },
  };
}

export async function serveStdio() {
  await new Program().connect(new StdioServerTransport());
}

/** The HTTP server of a kind, not yet listening. */
export function legacyServer(kind) {
  const program = new Program();
  const serve = { stateful, stateless, sse }[kind](program);
  return createServer((request, response) => {
    serve(request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
}

/** The router that the SDK documents: the session id leads to the transport, `initialize` opens a new one. */
function stateful(program) {
  const transports = new Map();
  return async (request, response) => {
    const body = request.method === "POST" ? await json(request) : undefined;
    const known = transports.get(request.headers["mcp-session-id"]);
    if (known) return known.handleRequest(request, response, body);
    if (!types.isInitializeRequest(body)) return refuse(response, 400, "Bad Request: No valid session ID provided");
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => transports.set(id, transport),
      onsessionclosed: (id) => transports.delete(id),
    });
    await program.connect(transport);
    return transport.handleRequest(request, response, body);
  };
}

/** A server object for each POST, and nothing else. */
function stateless(program) {
  return async (request, response) => {
    if (request.method !== "POST") return refuse(response, 405, "Method not allowed.");
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    const server = await program.connect(transport);
    response.on("close", () => server.close());
    return transport.handleRequest(request, response);
  };
}

function sse(program) {
  const transports = new Map();
  return async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (request.method === "GET" && url.pathname === "/sse") {
      const transport = new SSEServerTransport("/messages", response);
      transports.set(transport.sessionId, transport);
      response.on("close", () => transports.delete(transport.sessionId));
      return program.connect(transport);
    }
    const transport = transports.get(url.searchParams.get("sessionId"));
    if (request.method === "POST" && transport) return transport.handlePostMessage(request, response);
    response.writeHead(404).end();
  };
}

function refuse(response, status, message) {
  const body = { jsonrpc: "2.0", error: { code: -32_000, message }, id: null };
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
