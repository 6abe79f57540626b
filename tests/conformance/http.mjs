// What the server and the front share: small things of HTTP, and streams that can be taken up again.

import { once } from "node:events";
import { createServer } from "node:http";

/** How long a client waits before it takes up a stream that was closed on it. In milliseconds. */
export const RETRY = 300;

/** A server at `/mcp` of a free port of this machine; requests are for `serve`, and nobody else's pages may make any. */
export async function listen(serve) {
  const server = createServer((request, response) => {
    const refused = isLocal(request.headers) ? undefined : refuse(response, 403, -32000, "not a local host");
    Promise.resolve(refused ?? serve(request, response)).catch((error) => {
      console.error(`${request.method} failed:`, error);
      response.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://localhost:${server.address().port}/mcp`, close };
}

/** What a stream said, for clients that take it up again. One per session. */
export function eventStore() {
  const events = [];
  return {
    async storeEvent(streamId, message) {
      return String(events.push({ streamId, message }) - 1);
    },
    async replayEventsAfter(lastEventId, { send }) {
      const { streamId } = events[Number(lastEventId)];
      for (const [index, event] of events.entries()) {
        const isNews = index > Number(lastEventId) && event.streamId === streamId && Object.keys(event.message).length > 0;
        if (isNews) await send(String(index), event.message);
      }
      return streamId;
    },
  };
}

function isLocal({ host, origin }) {
  const name = (address) => address.replace(/:\d+$/, "");
  const local = ["localhost", "127.0.0.1", "[::1]"];
  return local.includes(name(host ?? "")) && (origin === undefined || local.includes(name(origin.replace(/^https?:\/\//, ""))));
}

/** The JSON of a request's body; undefined where it is none. */
export async function bodyOf(request) {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) body += chunk;
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** Answers with an error, by HTTP and in JSON-RPC. */
export function refuse(response, status, code, message, id = null) {
  response.writeHead(status, { "content-type": "application/json" });
  return response.end(JSON.stringify({ jsonrpc: "2.0", id, error: { code, message } }));
}
