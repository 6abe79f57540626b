// The peers of the matrix that are built on the TypeScript SDKs, v1 for the legacy era and v2 for the modern one.
//
//   node typescript.mjs server stateful|stateless|sse|modern|dual   serves HTTP until stdin ends; prints {"url": …}
//   node typescript.mjs stdio legacy|modern                         serves stdin and stdout
//   node typescript.mjs client legacy|modern|auto -- COMMAND ARGS…  runs the features; prints one JSON line for each

import { once } from "node:events";
import { runFeatures } from "./features.mjs";
import { LegacyHost } from "./legacy-host.mjs";
import { legacyServer, serveStdio as serveLegacyStdio } from "./legacy-server.mjs";
import { ModernHost } from "./modern-host.mjs";
import { modernServer, serveStdio as serveModernStdio } from "./modern-server.mjs";

const [role, kind, separator, command, ...args] = process.argv.slice(2);

if (role === "server") {
  const server = kind === "modern" || kind === "dual" ? modernServer(kind) : legacyServer(kind);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const path = kind === "sse" ? "/sse" : "/mcp";
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}${path}` }));
  process.stdin.resume();
  await once(process.stdin, "end");
  process.exit(0);
} else if (role === "stdio") {
  await { legacy: serveLegacyStdio, modern: serveModernStdio }[kind]();
} else if (role === "client" && separator === "--" && command) {
  const host = kind === "legacy" ? new LegacyHost() : new ModernHost(kind);
  process.exit((await runFeatures(host, command, args)) ? 0 : 1);
} else {
  throw new Error("usage: server KIND | stdio ERA | client ERA -- COMMAND ARGS…");
}
