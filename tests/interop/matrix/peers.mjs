// The programs that are clients and servers of the matrix. Each has one interface:
//
//   PROGRAM server KIND               binds 127.0.0.1 port 0, prints {"url": …} on stdout, ends when stdin ends
//   PROGRAM client ERA -- COMMAND …   starts COMMAND as its stdio server, runs the features (features.mjs), exits 0 if it
//                                     could connect
//
// KIND is stateful, stateless, sse, modern or dual; ERA is legacy, modern or auto. The offer of every server is that of
// offer.mjs. Programs in other languages come in by the environment.

import { fileURLToPath } from "node:url";

const TYPESCRIPT = [process.execPath, fileURLToPath(new URL("typescript.mjs", import.meta.url))];

const PROGRAMS = [
  {
    name: "ts",
    program: TYPESCRIPT,
    clients: ["legacy", "modern", "auto"],
    servers: ["stateful", "stateless", "sse", "modern", "dual"],
  },
  {
    name: "rmcp",
    program: process.env.RMCP_PEER_BIN && [process.env.RMCP_PEER_BIN],
    clients: ["legacy", "modern", "auto"],
    servers: ["stateful", "stateless", "modern", "dual"],
  },
].filter(({ program }) => program);

/** `{ name, peer, kind, command }` for every client; `kind` is its era, and the stdio server follows the command. */
export const CLIENTS = PROGRAMS.flatMap(({ name, program, clients }) =>
  clients.map((kind) => ({ name: `${name}-${kind}`, peer: name, kind, command: [...program, "client", kind, "--"] })),
);

/** `{ name, peer, kind, command }` for every server. */
export const SERVERS = PROGRAMS.flatMap(({ name, program, servers }) =>
  servers.map((kind) => ({ name: `${name}-${kind}`, peer: name, kind, command: [...program, "server", kind] })),
);

/** The stdio server that a client of a kind meets without the bridge in between. */
export function stdioServer(kind) {
  return [...TYPESCRIPT, "stdio", kind === "legacy" ? "legacy" : "modern"];
}
