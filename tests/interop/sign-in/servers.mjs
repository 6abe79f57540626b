// HTTP servers on loopback, and an MCP server that wants tokens.

import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const PLACE = "/.well-known/oauth-protected-resource";

/** Where an MCP server may be. */
const [STREAMABLE, SSE] = ["/mcp", "/sse"];

/** The system gives out higher ports by itself: to the servers of a step, and to every connection. */
const GIVEN_OUT_FROM = 32_768;
const PORT_TRIES = 100;

/** A server on a free port of 127.0.0.1. With `tls` it speaks HTTPS under the name that belongs to it. */
export class WebServer {
  #server;

  static async start(handler, tls) {
    const web = new WebServer();
    web.#server = tls === undefined ? createHttpServer(handler) : createHttpsServer(tls, handler);
    web.#server.listen(0, "127.0.0.1");
    await once(web.#server, "listening");
    const { port } = web.#server.address();
    web.origin = tls === undefined ? `http://127.0.0.1:${port}` : `https://${tls.name}:${port}`;
    return web;
  }

  async close() {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

/**
 * An MCP server with the tool `echo` on `/mcp` (Streamable HTTP) and `/sse` (HTTP+SSE).
 *
 * `check(token, resource)` says whether a token opens the door; `describe(origin)` gives the issuers and scopes of its
 * metadata, which stands behind the path, or at the root alone when `atRoot`; `more(request, response, url)` may answer
 * what is not for the MCP server.
 */
export class ProtectedServer {
  /** Requests refused with 401, requests let in. */
  refused = 0;
  admitted = 0;

  #options;
  #web;
  #transports = new Map();

  static async start({ tls, ...options }) {
    const server = new ProtectedServer();
    server.#options = options;
    server.#web = await onUsablePort((request, response) => {
      server.#answer(request, response).catch((error) => {
        console.error(error);
        response.destroy();
      });
    }, tls);
    server.origin = server.#web.origin;
    return server;
  }

  url(path = STREAMABLE) {
    return `${this.origin}${path}`;
  }

  /** Forgets every session and breaks every stream, as a new start does. */
  async forgetSessions() {
    const open = [...this.#transports.values()];
    this.#transports.clear();
    await Promise.all(open.map((transport) => transport.close()));
  }

  async close() {
    await this.forgetSessions();
    await this.#web.close();
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.origin);
    const { atRoot = false, check, describe, more } = this.#options;
    const resource = atRoot ? this.origin : `${this.origin}${url.pathname}`;
    if (url.pathname.startsWith(PLACE)) {
      const path = url.pathname.slice(PLACE.length);
      if ((path === "") !== atRoot) return send(response, 404, {});
      return send(response, 200, { resource: `${this.origin}${path}`, ...describe(this.origin) });
    }
    if (await more?.(request, response, url)) return;
    if (![STREAMABLE, SSE, "/messages"].includes(url.pathname)) return send(response, 404, {});
    const token = /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1];
    const target = url.pathname === "/messages" ? `${this.origin}${SSE}` : resource;
    if (token === undefined || !(await check(token, atRoot ? this.origin : target))) {
      this.refused += 1;
      const place = `${this.origin}${PLACE}${atRoot ? "" : url.pathname}`;
      response.setHeader("www-authenticate", `Bearer resource_metadata="${place}"`);
      return send(response, 401, { error: "invalid_token" });
    }
    this.admitted += 1;
    const body = request.method === "POST" ? JSON.parse(await readAll(request)) : undefined;
    if (url.pathname === STREAMABLE) return this.#streamable(request, response, body);
    if (request.method === "GET") return this.#openStream(response);
    const transport = this.#transports.get(url.searchParams.get("sessionId"));
    if (transport === undefined) return send(response, 404, {});
    return transport.handlePostMessage(request, response, body);
  }

  async #streamable(request, response, body) {
    const id = request.headers["mcp-session-id"];
    const known = this.#transports.get(id);
    if (known !== undefined) return known.handleRequest(request, response, body);
    if (id !== undefined) {
      const error = { code: -32001, message: "Session not found" };
      return send(response, 404, { jsonrpc: "2.0", id: null, error });
    }
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (session) => this.#transports.set(session, transport),
    });
    await echoServer().connect(transport);
    return transport.handleRequest(request, response, body);
  }

  async #openStream(response) {
    const transport = new SSEServerTransport("/messages", response);
    this.#transports.set(transport.sessionId, transport);
    await echoServer().connect(transport);
  }
}

/** Programs listen on a port that follows from the server's URL; the server's own port decides whether that one is free. */
async function onUsablePort(handler, tls) {
  for (let n = 0; n < PORT_TRIES; n += 1) {
    const web = await WebServer.start(handler, tls);
    const callbacks = [STREAMABLE, SSE].map((path) => callbackPort(`${web.origin}${path}`));
    const free = await Promise.all(callbacks.map((port) => port < GIVEN_OUT_FROM && isFree(port)));
    if (free.every(Boolean)) return web;
    await web.close();
  }
  throw new Error(`no server port with free callback ports after ${PORT_TRIES} tries`);
}

/** The port that mcp-remote and the bridge derive from a URL. */
function callbackPort(url) {
  return 3335 + (Number.parseInt(createHash("md5").update(url).digest("hex").slice(0, 4), 16) % 45_816);
}

async function isFree(port) {
  const probe = createHttpServer().listen(port, "127.0.0.1");
  const free = await once(probe, "listening").then(() => true, () => false);
  if (free) await new Promise((resolve) => probe.close(resolve));
  return free;
}

export function send(response, status, body) {
  const isPage = typeof body === "string";
  response.writeHead(status, { "content-type": isPage ? "text/html; charset=utf-8" : "application/json" });
  response.end(isPage ? body : JSON.stringify(body));
  return true;
}

export async function readAll(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return text;
}

function echoServer() {
  const server = new McpServer({ name: "protected", version: "1.0.0" });
  server.registerTool("echo", { inputSchema: { text: z.string() } }, ({ text }) => ({ content: [{ type: "text", text }] }));
  return server;
}
