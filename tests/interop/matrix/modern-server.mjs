// The offer served with SDK v2: stdio, and one HTTP endpoint that is modern only or speaks both eras.

import { createServer } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, fromJsonSchema, inputRequired, McpServer } from "@modelcontextprotocol/server";
import { serveStdio as serve } from "@modelcontextprotocol/server/stdio";
import { CAPABILITIES, INFO, Offer, Questions } from "./offer.mjs";

/** In front of every state; whoever does not return it byte for byte is refused. */
const SEAL = 'seal \u2028 ü 🦀 \\ " </> %2F + ';

export function serveStdio() {
  const offer = new Offer();
  const servers = new Set();
  offer.publish = {
    toolsChanged: () => servers.forEach((server) => server.sendToolListChanged()),
    resourceUpdated: (uri) => servers.forEach((server) => server.sendResourceUpdated({ uri })),
  };
  serve(
    ({ era }) => {
      const product = build(offer, era);
      servers.add(product.server);
      return product;
    },
    { legacy: "reject" },
  );
}

/** The HTTP server of a kind, not yet listening. */
export function modernServer(kind) {
  const offer = new Offer();
  const legacy = { modern: "reject", dual: "stateless" }[kind];
  const handler = createMcpHandler(({ era }) => build(offer, era), { legacy, onerror: console.error });
  offer.publish = handler.notify;
  return createServer(toNodeHandler(handler));
}

function build(offer, era) {
  const product = new McpServer(INFO, { capabilities: CAPABILITIES });
  const { server } = product;
  const handlers = offer.handlers();
  // Registered for one thing: the SDK then compares a call's Mcp-Param-City header with its body.
  const { inputSchema } = handlers["tools/list"]().tools.find(({ name }) => name === "weather");
  product.registerTool("weather", { inputSchema: fromJsonSchema(inputSchema) }, () => ({ content: [] }));
  for (const [method, handler] of Object.entries(handlers)) {
    server.setRequestHandler(method, async ({ params }, { mcpReq }) => {
      const answers = { ...opened(mcpReq.requestState()), ...mcpReq.inputResponses };
      try {
        return await handler(params ?? {}, context(era, mcpReq, answers));
      } catch (error) {
        if (!(error instanceof Questions)) throw error;
        return inputRequired({ inputRequests: error.requests, requestState: SEAL + JSON.stringify(answers) });
      }
    });
  }
  if (era === "legacy") {
    server.setRequestHandler("resources/subscribe", () => ({}));
    server.setRequestHandler("resources/unsubscribe", () => ({}));
  }
  return product;
}

function opened(state) {
  if (state === undefined) return {};
  if (!state.startsWith(SEAL)) throw Object.assign(new Error("the request state was changed"), { code: -32_602 });
  return JSON.parse(state.slice(SEAL.length));
}

function context(era, mcpReq, answers) {
  return {
    era,
    signal: mcpReq.signal,
    ask: async (questions) => {
      const open = Object.entries(questions).filter(([key]) => !(key in answers));
      if (open.length > 0) throw new Questions(Object.fromEntries(open));
      return answers;
    },
    progress: async (progress, total, message) => {
      const progressToken = mcpReq._meta?.progressToken;
      if (progressToken === undefined) return;
      const params = { progressToken, progress, total, message };
      await mcpReq.notify({ method: "notifications/progress", params });
    },
    log: (level, data) => mcpReq.log(level, data),
  };
}
