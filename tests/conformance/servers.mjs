// Runs the server scenarios of the official conformance suite twice, straight against server.mjs and with the bridge in
// between (front.mjs), and compares check by check: whatever succeeds without the bridge must succeed with it.
// The suite's client is one of the revision that it is run at; the server speaks that one, or only the other kind.
// Usage: MCP_BRIDGE_BIN=path node servers.mjs [start of a leg's name, such as "legacy client"]
// With MCP_CONFORMANCE_SERVER=url another server stands in for server.mjs, whatever it can and cannot do.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFront } from "./front.mjs";
import { suiteEntry } from "./packages.mjs";
import { startServer } from "./server.mjs";

/** How long all scenarios of one revision may take together. In milliseconds. */
const SUITE_DEADLINE = 240_000;

/** Most of what the bridges said that is shown when something is lost. In characters. */
const WORDS_SHOWN = 6_000;

const LEGS = [
  { name: "legacy client, dual-era server", spec: "2025-11-25", era: "dual" },
  { name: "legacy client, legacy server", spec: "2025-11-25", era: "legacy" },
  { name: "legacy client, modern server", spec: "2025-11-25", era: "modern" },
  { name: "legacy client, sessionless dual-era server", spec: "2025-11-25", era: "sessionless", warm: true },
  { name: "modern client, dual-era server", spec: "2026-07-28", era: "dual" },
  { name: "modern client, modern server", spec: "2026-07-28", era: "modern" },
  { name: "modern client, legacy server", spec: "2026-07-28", era: "legacy" },
];

/** For a server that is given. */
const GIVEN_LEGS = [
  { name: "legacy client, given server", spec: "2025-11-25" },
  { name: "modern client, given server", spec: "2026-07-28" },
];

/** How many scenarios each revision has in the suite: one that is new, or gone, has to be noticed. */
const SCENARIOS = { "2025-11-25": 33, "2026-07-28": 40 };

const binary = process.env.MCP_BRIDGE_BIN;
assert.ok(binary, "set MCP_BRIDGE_BIN to the bridge binary");
const suite = suiteEntry("conformance-0.2");
const expected = JSON.parse(await readFile(new URL("expected-losses.json", import.meta.url)));
const given = process.env.MCP_CONFORMANCE_SERVER;
const legs = (given === undefined ? LEGS : GIVEN_LEGS).filter(({ name }) => name.startsWith(process.argv[2] ?? ""));
const work = await mkdtemp(join(tmpdir(), "mcp-bridge-servers-"));
const unexpected = [];
const counts = { kept: 0, expected: 0 };
try {
  console.log(suite.title);
  const direct = new Map();
  for (const leg of legs) {
    if (!direct.has(leg.spec)) direct.set(leg.spec, await runDirectly(leg.spec));
    compare(leg, direct.get(leg.spec), await runBridged(leg));
  }
} finally {
  await rm(work, { recursive: true, force: true });
}
console.log(`\nservers: ${counts.kept} checks kept, ${counts.expected} lost as expected, ${unexpected.length} problems`);
for (const [about, texts] of Map.groupBy(unexpected, ({ about }) => about)) {
  console.log(`  FAIL  ${about}: ${texts[0].text}${texts.length > 1 ? ` (and ${texts.length - 1} more)` : ""}`);
}
process.exit(unexpected.length === 0 && counts.kept > 0 ? 0 : 1);

async function runDirectly(spec) {
  const server = await serverOf("dual");
  const checks = await run(server.url, spec);
  server.close();
  const failed = [...checks].filter(([, { status }]) => status !== "SUCCESS");
  console.log(`\n${spec}, without the bridge: ${checks.size - failed.length} checks succeeded`);
  for (const [key, { status, message }] of failed) {
    if (given === undefined) problem(`${spec}, without the bridge`, `${key}: ${status}, ${message}`);
    else console.log(`  note  ${key}: ${status}, ${message}`);
  }
  const scenarios = new Set([...checks.values()].map(({ scenario }) => scenario));
  if (scenarios.size !== SCENARIOS[spec]) problem(spec, `${scenarios.size} scenarios, not ${SCENARIOS[spec]}`);
  return checks;
}

function serverOf(era) {
  return given === undefined ? startServer(era) : { url: given, close: () => {} };
}

async function runBridged({ spec, era, warm = false }) {
  const store = await mkdtemp(join(work, "store-"));
  const env = { MCP_BRIDGE_CONFIG_DIR: store, MCP_REMOTE_CONFIG_DIR: store };
  const server = await serverOf(era);
  const front = await startFront(binary, server.url, env);
  // What a bridge learns about a server in the background serves the bridges after it.
  if (warm) await run(front.url, spec);
  const checks = await run(front.url, spec);
  const { ends, words } = await front.close();
  server.close();
  return { checks, ends, words };
}

/** Everything that succeeded directly is to succeed again, except what is expected to be lost; nothing else may be listed. */
function compare({ name }, direct, { checks, ends, words }) {
  console.log(`\n${name}`);
  const reasons = new Map(Object.entries(expected[name] ?? {}));
  const needed = new Set();
  const before = unexpected.length;
  for (const [key, { scenario, status }] of direct) {
    if (status !== "SUCCESS") continue;
    const bridged = checks.get(key) ?? { status: "never came" };
    const reason = reasons.get(key) ?? reasons.get(scenario);
    if (bridged.status === "SUCCESS") {
      counts.kept += 1;
    } else if (reason !== undefined) {
      counts.expected += 1;
      needed.add(reasons.has(key) ? key : scenario);
    } else {
      const said = bridged.message ? `, ${bridged.message}` : "";
      problem(`${name}: ${scenario}`, `${key.slice(scenario.length + 1)}: ${bridged.status}${said}`);
    }
  }
  for (const key of reasons.keys()) {
    if (!needed.has(key)) problem(`${name}: ${key}`, "listed as an expected loss, nothing was lost");
  }
  const badEnds = ends.filter((end) => end !== 0);
  if (badEnds.length > 0) problem(name, `${badEnds.length} of ${ends.length} bridges ended with ${badEnds[0]}`);
  if (unexpected.length > before) console.log(`--- what the bridges said\n${words.slice(-WORDS_SHOWN)}`);
}

/** Every check of every scenario, by scenario, check and which one of that name it is. Information alone is no check. */
async function run(url, spec) {
  const output = await mkdtemp(join(work, "run-"));
  const args = [suite.program, "server", "--url", url, "--suite", "all", "--spec-version", spec, "--output-dir", output];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  const timer = setTimeout(() => child.kill("SIGKILL"), SUITE_DEADLINE);
  await once(child, "close");
  clearTimeout(timer);
  const checks = new Map();
  for (const folder of (await readdir(output)).sort()) {
    const [, scenario] = /^server-(.*)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(folder);
    const times = new Map();
    for (const check of JSON.parse(await readFile(join(output, folder, "checks.json")))) {
      if (check.status === "INFO" || check.status === "SKIPPED") continue;
      const name = [check.id, check.name].join("/");
      times.set(name, (times.get(name) ?? 0) + 1);
      const key = `${scenario} ${name}${times.get(name) > 1 ? ` #${times.get(name)}` : ""}`;
      checks.set(key, { scenario, status: check.status, message: check.errorMessage });
    }
  }
  return checks;
}

function problem(about, text) {
  unexpected.push({ about, text });
  console.log(`  FAIL  ${about}: ${text}`);
}
