// Runs the same scenario against the reference server twice, once connected directly and once through the bridge, and
// compares step by step. Usage: MCP_BRIDGE_BIN=path node run.mjs

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { RecordingClient } from "./client.mjs";
import { normalise } from "./normalise.mjs";
import { STEPS } from "./scenario.mjs";

/** How long a server may take to start or a process to end. In milliseconds. */
const DEADLINE = 15_000;

/** The servers, and what each of them says when a client has left properly. */
const LEGS = [
  { mode: "streamableHttp", path: "/mcp", direct: StreamableHTTPClientTransport, farewell: "session termination request" },
  { mode: "sse", path: "/sse", direct: SSEClientTransport, farewell: "Client Disconnected" },
];

const SERVER = fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"));

const bridge = process.env.MCP_BRIDGE_BIN;
if (!bridge) throw new Error("set MCP_BRIDGE_BIN to the bridge binary");
const home = await mkdtemp(join(tmpdir(), "mcp-bridge-interop-"));
let failed = 0;
try {
  for (const leg of LEGS) failed += await compareLeg(leg);
} finally {
  await rm(home, { recursive: true, force: true });
}
console.log(failed === 0 ? "interop: no difference" : `interop: ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/** Prints the table of one transport; the number of rows that failed. */
async function compareLeg(leg) {
  const [direct, bridged] = await Promise.all([
    withServer(leg, (server) => runSteps(new leg.direct(new URL(server.url)))),
    withServer(leg, (server) => runBridged(leg, server)),
  ]);
  console.log(`\nserver-everything, ${leg.mode}`);
  let bad = 0;
  for (const [who, { refused }] of Object.entries({ direct, bridged })) {
    if (refused === undefined) continue;
    bad += 1;
    console.log(`  FAIL  connect, ${who}: ${refused}`);
  }
  if (bad === 0) bad = compareSteps(direct, bridged);
  if (bad > 0) console.log(`--- stderr of the bridge, last part\n${bridged.stderr.slice(-4000)}`);
  return bad;
}

function compareSteps(direct, bridged) {
  let bad = 0;
  for (const [index, [name]] of STEPS.entries()) {
    const [expected, seen] = [direct.steps[index], bridged.steps[index]];
    const same = expected.ok && seen.ok && expected.text === seen.text;
    console.log(`  ${same ? "ok  " : "FAIL"}  ${name}`);
    if (same) continue;
    bad += 1;
    printDifference(expected, seen);
  }
  for (const [name, holds] of Object.entries(bridged.manners)) {
    console.log(`  ${holds ? "ok  " : "FAIL"}  ${name}`);
    if (!holds) bad += 1;
  }
  return bad;
}

async function runBridged(leg, server) {
  const transport = new StdioClientTransport({
    command: bridge,
    args: [server.url],
    env: { ...process.env, MCP_BRIDGE_CONFIG_DIR: home, MCP_REMOTE_CONFIG_DIR: home },
    stderr: "pipe",
  });
  let stderr = "";
  transport.stderr.on("data", (chunk) => (stderr += chunk));
  const run = await runSteps(transport);
  const manners = {
    "stdout: nothing but messages": run.strays?.length === 0,
    "exit: the server was told": run.refused === undefined && (await server.says(leg.farewell)),
  };
  return { ...run, stderr, manners };
}

/** Each step's normalised result as text; a failed step does not stop the others. */
async function runSteps(transport) {
  const client = new RecordingClient();
  try {
    await client.connect(transport);
  } catch (error) {
    return { refused: error.message };
  }
  const steps = [];
  for (const [, step] of STEPS) steps.push(await outcomeOf(step, client));
  await client.close();
  return { steps, strays: client.strays };
}

async function outcomeOf(step, client) {
  try {
    const result = await step(client);
    return { ok: true, text: JSON.stringify(normalise(result), null, 1) };
  } catch (error) {
    return { ok: false, text: `step failed: ${error.message}` };
  }
}

/** Starts a server of its own for `use`, on a free port, and ends it by its id. */
async function withServer(leg, use) {
  const port = await freePort();
  const child = spawn(process.execPath, [SERVER, leg.mode], {
    env: { PATH: process.env.PATH, PORT: String(port) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const says = (words) => eventually(() => output.includes(words) || child.exitCode !== null, () => output.includes(words));
  try {
    if (!(await says(`port ${port}`))) throw new Error(`server-everything did not start:\n${output}`);
    return await use({ says, url: `http://127.0.0.1:${port}${leg.path}` });
  } finally {
    const gone = child.exitCode === null ? once(child, "exit") : Promise.resolve();
    child.kill("SIGKILL");
    await gone;
  }
}

/** Waits until `over` holds, at most `DEADLINE`; then what `verdict` says. */
async function eventually(over, verdict) {
  const end = Date.now() + DEADLINE;
  while (!over() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  return verdict();
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

function printDifference(expected, seen) {
  if (!expected.ok || !seen.ok) {
    console.log(`        direct:  ${expected.ok ? "ok" : expected.text}`);
    console.log(`        bridged: ${seen.ok ? "ok" : seen.text}`);
    return;
  }
  const [a, b] = [expected.text.split("\n"), seen.text.split("\n")];
  const at = a.findIndex((line, index) => line !== b[index]);
  const line = at < 0 ? a.length : at;
  console.log(`        line ${line + 1}, direct:  ${(a[line] ?? "(end)").slice(0, 300)}`);
  console.log(`        line ${line + 1}, bridged: ${(b[line] ?? "(end)").slice(0, 300)}`);
}
