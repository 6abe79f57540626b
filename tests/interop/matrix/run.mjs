// The whole matrix: every client with every server through the bridge, twice, the second time with what the bridge
// remembers of the first; and every client once without the bridge, so that a fault of a peer is told from one of the
// bridge. Usage: MCP_BRIDGE_BIN=path [RMCP_PEER_BIN=path] [MATRIX_JOBS=n] node run.mjs [client] [server]
// `client` and `server` choose the names that contain them; "=name" is exactly that name.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { FEATURES } from "./features.mjs";
import { reasonAgainst } from "./impossible.mjs";
import { CLIENTS, SERVERS, stdioServer } from "./peers.mjs";

/** How long one client may take with all features, and a server to start. In milliseconds. */
const RUN_DEADLINE = 180_000;
const START_DEADLINE = 15_000;

/** Room for "rmcp-legacy > rmcp-stateless, first". In characters. */
const NAME_WIDTH = 36;

/** How much of the standard error of a failed run is shown. In characters. */
const TAIL = 3_000;

const bridge = process.env.MCP_BRIDGE_BIN;
if (!bridge) throw new Error("set MCP_BRIDGE_BIN to the bridge binary");
const [clientName, serverName] = process.argv.slice(2);
const clients = CLIENTS.filter(chosen(clientName));
const servers = SERVERS.filter(chosen(serverName));
if (clients.length * servers.length === 0) throw new Error("no such cell");

const jobs = [
  ...clients.map((client) => () => runDirectly(client)),
  ...clients.flatMap((client) => servers.map((server) => () => runCell(client, server))),
];
console.log("features, from left to right: connect,", FEATURES.join(", "));
console.log('"." works   "-" cannot (impossible.mjs)   "F" fails   "!" works although it cannot\n');
const runs = await several(Number(process.env.MATRIX_JOBS ?? 2), jobs);
process.exit(report(runs.flat()) ? 0 : 1);

function chosen(pattern = "") {
  return ({ name }) => (pattern.startsWith("=") ? name === pattern.slice(1) : name.includes(pattern));
}

/** The results of `jobs` in order, `width` at a time. */
async function several(width, jobs) {
  const results = [];
  const queue = jobs.entries();
  const work = async () => {
    for (const [index, job] of queue) results[index] = await job();
  };
  await Promise.all(Array.from({ length: width }, work));
  return results;
}

async function runDirectly(client) {
  return [await runClient({ name: `${client.name}, direct`, bridged: false }, client, stdioServer(client.kind), {})];
}

async function runCell(client, server) {
  const home = await mkdtemp(join(tmpdir(), "mcp-bridge-matrix-"));
  const child = spawn(server.command[0], server.command.slice(1), { stdio: ["pipe", "pipe", "pipe"] });
  const serverStderr = tail(child.stderr);
  const cell = { bridged: true, server: server.kind, offered: server.peer };
  try {
    const url = await urlOf(child, serverStderr);
    const env = { MCP_BRIDGE_CONFIG_DIR: home, MCP_REMOTE_CONFIG_DIR: home };
    const runs = [];
    for (const memory of ["first", "again"]) {
      const name = `${client.name} > ${server.name}, ${memory}`;
      runs.push(await runClient({ name, ...cell }, client, [bridge, url], env, serverStderr));
    }
    return runs;
  } finally {
    await end(child);
    await rm(home, { recursive: true, force: true });
  }
}

/** What the server's first line says. */
async function urlOf(child, stderr) {
  const timer = setTimeout(() => child.kill("SIGKILL"), START_DEADLINE);
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), "line"), once(child, "close")]);
  clearTimeout(timer);
  if (typeof line !== "string") throw new Error(`the server did not start:\n${stderr()}`);
  return JSON.parse(line).url;
}

/** Runs one client to its end; the run with an outcome for every feature, and what was said beside. */
async function runClient(run, client, command, env, serverStderr = () => "") {
  const [program, ...args] = [...client.command, ...command];
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const stderr = tail(child.stderr);
  const timer = setTimeout(() => child.kill("SIGKILL"), RUN_DEADLINE);
  const outcomes = new Map();
  for await (const line of createInterface({ input: child.stdout })) {
    const outcome = parsed(line);
    outcomes.set(outcome.feature, outcomes.has(outcome.feature) ? { ok: false, detail: "reported twice" } : outcome);
  }
  clearTimeout(timer);
  const landed = outcomes.get("connect") ?? { ok: false, detail: "not reported" };
  const facts = { ...run, client: client.peer, era: landed.ok ? landed.detail : undefined };
  const cells = ["connect", ...FEATURES].map((feature) => judge(facts, feature, outcomes.get(feature), landed));
  const unknown = [...outcomes.keys()].filter((feature) => feature !== "connect" && !FEATURES.includes(feature));
  for (const feature of unknown) cells.push({ feature, mark: "F", detail: "not a line that the matrix knows" });
  console.log(`${run.name.padEnd(NAME_WIDTH)}  ${cells.map(({ mark }) => mark).join(" ")}  ${facts.era ?? ""}`);
  return { ...facts, cells, stderr: `--- client and bridge\n${stderr()}\n--- server\n${serverStderr()}` };
}

/** An outcome, or the line itself as the name of one that nobody knows. */
function parsed(line) {
  const stray = { feature: line.slice(0, 80) };
  try {
    const outcome = JSON.parse(line);
    return typeof outcome?.feature === "string" ? outcome : stray;
  } catch {
    return stray;
  }
}

/** The mark of a feature in a run: "." works, "-" cannot and does not, "F" fails, "!" works although it cannot. */
function judge(run, feature, outcome, landed) {
  if (feature !== "connect" && !landed.ok) return { feature, mark: " " };
  const reason = reasonAgainst(run, feature);
  if (outcome?.ok) return { feature, mark: reason ? "!" : ".", detail: reason && `works, but: ${reason}` };
  const detail = outcome?.detail ?? (outcome?.skipped ? `skipped: ${outcome.skipped}` : "not reported");
  return { feature, mark: reason ? "-" : "F", detail, reason };
}

/** Prints what failed; true if nothing did. */
function report(runs) {
  let bad = 0;
  for (const run of runs) {
    const failures = run.cells.filter(({ mark }) => "F!".includes(mark));
    if (failures.length === 0) continue;
    bad += failures.length;
    console.log(`\n${run.name}`);
    for (const { mark, feature, detail } of failures) console.log(`  ${mark} ${feature}: ${String(detail).slice(0, 300)}`);
    console.log(indent(run.stderr));
  }
  console.log(bad === 0 ? "\nmatrix: as it should be" : `\nmatrix: ${bad} failed`);
  return bad === 0;
}

/** The last part of what comes from a stream, on request. */
function tail(stream) {
  let text = "";
  stream.on("data", (chunk) => (text = (text + chunk).slice(-TAIL)));
  return () => text;
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.stdin.end();
  const timer = setTimeout(() => child.kill("SIGKILL"), 2_000);
  await gone;
  clearTimeout(timer);
}

function indent(text) {
  return text.replace(/^/gm, "      ");
}
