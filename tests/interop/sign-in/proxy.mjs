// An HTTP proxy that knows one name the system does not: CONNECT to it leads to this machine.

import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:net";

export class NameProxy {
  /** Tunnels opened so far. */
  tunnels = 0;

  #server = createServer((_request, response) => response.writeHead(405).end());
  #sockets = new Set();

  static async start(name) {
    const proxy = new NameProxy();
    proxy.#server.on("connect", (request, socket) => proxy.#tunnel(name, request, socket));
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
    return proxy;
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  #tunnel(name, request, socket) {
    const [host, port] = request.url.split(":");
    if (host !== name) return socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    this.tunnels += 1;
    const target = connect(Number(port), "127.0.0.1", () => socket.write("HTTP/1.1 200 Connection established\r\n\r\n"));
    for (const [from, to] of [[socket, target], [target, socket]]) {
      this.#sockets.add(from);
      from.on("error", () => to.destroy()).on("close", () => this.#sockets.delete(from));
      from.pipe(to);
    }
    return undefined;
  }
}
