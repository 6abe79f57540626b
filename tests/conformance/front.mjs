// An HTTP server in front of bridges, for scenarios that only speak HTTP: what they send goes to a bridge's stdin, and what
// the bridge says goes back. Each session is a bridge of its own; requests without a session share one, as the requests
// of one host do.
//
// What a pipe does not have stays here: sessions, streams, status codes, and headers that must agree with the body.

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { RETRY, bodyOf, eventStore, listen, refuse } from "./http.mjs";
import { importPackage } from "./packages.mjs";

const { NodeStreamableHTTPServerTransport } = await importPackage("@modelcontextprotocol/node");

/** How long a bridge may take to end. In milliseconds. */
const EXIT_DEADLINE = 10_000;

/** The newest revision with sessions. */
const NEWEST_LEGACY = "2025-11-25";

const META = "io.modelcontextprotocol/";
const HEADER_MISMATCH = -32020;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
/** Errors that HTTP has a status for; the others are answers like any. */
const STATUS = new Map([
  [METHOD_NOT_FOUND, 404],
  [HEADER_MISMATCH, 400],
  [-32021, 400],
  [-32022, 400],
]);

/**
 * Bridges from `binary` to `url`. The front has a `url` of its own; `close` ends its bridges and returns how they ended
 * (0 is well) and what they said on stderr.
 */
export async function startFront(binary, url, env) {
  const bridges = [];
  const sessions = new Map();
  let shared;
  const start = (hear) => {
    const bridge = new Bridge(binary, url, env, hear);
    bridges.push(bridge);
    return bridge;
  };
  const http = await listen(serve);
  return { url: http.url, close };

  async function close() {
    http.close();
    const ends = await Promise.all(bridges.map((bridge) => bridge.end()));
    return { ends, words: bridges.map(({ words }) => words).join("") };
  }

  async function serve(request, response) {
    const body = request.method === "POST" ? await bodyOf(request) : undefined;
    const known = request.headers["mcp-session-id"];
    if (known !== undefined) {
      const transport = sessions.get(known);
      return transport ? transport.handleRequest(request, response, body) : refuse(response, 404, -32001, "no such session");
    }
    if (isSessionless(request.headers, body)) {
      shared ??= new Requests(start);
      return shared.serve(request, response, body);
    }
    if (body?.method !== "initialize") return refuse(response, 400, -32000, "no session", body?.id);
    const transport = await openSession(start, sessions);
    return transport.handleRequest(request, response, body);
  }
}

/** Whether a POST without a session is one of the revisions that have none. */
function isSessionless(headers, body) {
  const version = headers["mcp-protocol-version"];
  return body?.params?._meta?.[`${META}protocolVersion`] !== undefined || (version !== undefined && version > NEWEST_LEGACY);
}

/** One bridge process. */
class Bridge {
  words = "";
  #child;
  #exited;

  constructor(binary, url, env, hear) {
    this.#child = spawn(binary, [url], { env: { ...process.env, ...env }, stdio: "pipe" });
    this.#child.stderr.setEncoding("utf8").on("data", (text) => (this.words += text));
    this.#child.stdin.on("error", () => {});
    this.#exited = once(this.#child, "exit");
    createInterface({ input: this.#child.stdout }).on("line", (line) => hear(JSON.parse(line)));
  }

  say(message) {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  /** Ends it by closing its stdin; what it ended with. */
  async end() {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), EXIT_DEADLINE);
    const [code, signal] = await this.#exited;
    clearTimeout(timer);
    return code ?? signal;
  }
}

/** A session with a bridge of its own. The reference SDK's transport does the streams. */
async function openSession(start, sessions) {
  const open = new Map();
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    eventStore: eventStore(),
    retryInterval: RETRY,
    onsessioninitialized: (id) => void sessions.set(id, transport),
  });
  const bridge = start((message) => {
    const isAnswer = message.method === undefined;
    if (isAnswer) open.delete(message.id);
    const relatedRequestId = isAnswer ? undefined : streamOf(message, open);
    transport.send(message, { relatedRequestId }).catch((error) => console.error("a session's stream failed:", error));
  });
  transport.onmessage = (message) => {
    if (message.method !== undefined && message.id !== undefined) open.set(message.id, message);
    bridge.say(message);
  };
  transport.onclose = () => {
    sessions.delete(transport.sessionId);
    bridge.end();
  };
  await transport.start();
  return transport;
}

/**
 * The open request whose stream a message belongs on. A pipe does not say which it is unless there is progress on it; the
 * newest it is then, or none, which is the session's own stream.
 */
function streamOf({ method, params }, open) {
  const newestFirst = [...open].reverse();
  if (method === "notifications/progress") {
    return newestFirst.find(([, asked]) => asked.params?._meta?.progressToken === params.progressToken)?.[0];
  }
  const isAboutCall = method === "notifications/message" || !method.startsWith("notifications/");
  return isAboutCall ? newestFirst[0]?.[0] : undefined;
}

/** Requests without a session: they share one bridge, on which their ids must differ. */
class Requests {
  #bridge;
  #nextId = 1;
  /** The open requests by their ids on the pipe: what they said, and where their answers go. */
  #asked = new Map();
  #responses = new Map();
  /** The headers that each tool has for its arguments: by tool, then argument. */
  #mirrored = new Map();

  constructor(start) {
    this.#bridge = start((message) => this.#hear(message));
  }

  serve(request, response, body) {
    const problem = this.#problemOf(request.headers, body);
    if (problem) return refuse(response, problem.status, problem.code, problem.message, body.id);
    if (body.id === undefined) {
      this.#bridge.say(body);
      return response.writeHead(202).end();
    }
    const id = this.#nextId++;
    this.#asked.set(id, body);
    this.#responses.set(id, response);
    response.on("close", () => {
      this.#responses.delete(id);
      if (this.#asked.delete(id)) this.#bridge.say({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: id } });
    });
    this.#bridge.say({ ...body, id });
  }

  #hear(message) {
    if (message.method === undefined) return this.#answer(message);
    const subscription = message.params?._meta?.[`${META}subscriptionId`];
    const id = subscription === undefined ? streamOf(message, this.#asked) : Number(subscription);
    const response = this.#responses.get(id);
    if (response === undefined) return;
    const said = structuredClone(message);
    if (subscription !== undefined) said.params._meta[`${META}subscriptionId`] = this.#asked.get(id).id;
    sendEvent(response, said);
  }

  #answer(message) {
    const asked = this.#asked.get(message.id);
    const response = this.#responses.get(message.id);
    if (asked === undefined) return;
    this.#asked.delete(message.id);
    if (asked.method === "tools/list") this.#learn(message.result?.tools ?? []);
    const answer = { ...message, id: asked.id };
    if (response.headersSent) {
      sendEvent(response, answer);
      response.end();
    } else {
      response.writeHead(STATUS.get(message.error?.code) ?? 200, { "content-type": "application/json" });
      response.end(JSON.stringify(answer));
    }
  }

  #learn(tools) {
    for (const { name, inputSchema } of tools) {
      const mirrored = Object.entries(inputSchema?.properties ?? {}).filter(([, { "x-mcp-header": header }]) => header);
      this.#mirrored.set(name, mirrored.map(([argument, { "x-mcp-header": header }]) => [argument, `mcp-param-${header.toLowerCase()}`]));
    }
  }

  /** Why a request is no request at all, by HTTP. */
  #problemOf(headers, { method, params }) {
    const meta = params?._meta;
    const version = headers["mcp-protocol-version"];
    const mismatch = (message) => ({ status: 400, code: HEADER_MISMATCH, message });
    if (meta?.[`${META}protocolVersion`] === undefined || meta[`${META}clientCapabilities`] === undefined) {
      return { status: 400, code: INVALID_PARAMS, message: "_meta is not complete" };
    }
    if (version !== meta[`${META}protocolVersion`]) return mismatch("MCP-Protocol-Version is not that of the body");
    if (headers["mcp-method"]?.trim() !== method) return mismatch("Mcp-Method is not that of the body");
    const name = { "tools/call": params.name, "prompts/get": params.name, "resources/read": params.uri }[method];
    if (name !== undefined && plain(headers["mcp-name"]?.trim()) !== name) return mismatch("Mcp-Name is not that of the body");
    const mirrored = method === "tools/call" ? (this.#mirrored.get(name) ?? []) : [];
    const isDifferent = ([argument, header]) => plain(headers[header]) !== params.arguments?.[argument]?.toString();
    if (mirrored.some(isDifferent)) return mismatch("an Mcp-Param header is not that of the body");
    // On a pipe this begins a conversation of the older kind; by HTTP the headers have said that this is none.
    if (method === "initialize") return { status: 404, code: METHOD_NOT_FOUND, message: "no such method" };
    return undefined;
  }
}

/** The value of a header that may be in Base64; undefined where it is broken. */
function plain(value) {
  const encoded = /^=\?base64\?(.*)\?=$/.exec(value ?? "")?.[1];
  if (encoded === undefined) return value;
  const bytes = Buffer.from(encoded, "base64");
  return bytes.toString("base64") === encoded ? bytes.toString("utf8") : undefined;
}

function sendEvent(response, message) {
  if (!response.headersSent) response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
}
