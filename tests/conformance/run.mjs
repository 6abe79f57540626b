// Runs every client scenario of the official conformance suites that needs no sign-in, with host.mjs as the client.
// The verdict is strict: no failed check, no warning, at least one success, and a host that got its answers.
// Usage: MCP_BRIDGE_BIN=path node run.mjs [scenario]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** How long one scenario may take, for the suite and for us around it. In milliseconds. */
const SCENARIO_DEADLINE = 60_000;
const SUITE_DEADLINE = SCENARIO_DEADLINE + 15_000;

/** The suite allows a reconnect 200 ms of delay, which a busy machine can exceed: that check alone may be tried again. */
const CLOCK_CHECK = "client-sse-retry-timing";
const CLOCK_ATTEMPTS = 4;

const SUITES = ["conformance-0.1", "conformance-0.2"];
const PACKAGES = createRequire(new URL("../interop/package.json", import.meta.url));
const HOST = fileURLToPath(new URL("host.mjs", import.meta.url));

if (!process.env.MCP_BRIDGE_BIN) throw new Error("set MCP_BRIDGE_BIN to the bridge binary");
const expected = new Map(Object.entries(JSON.parse(await readFile(new URL("expected-failures.json", import.meta.url)))));
const only = process.argv[2];
const work = await mkdtemp(join(tmpdir(), "mcp-bridge-conformance-"));
const counts = { passed: 0, expected: 0, unexpected: 0 };
try {
  for (const suite of SUITES) {
    const entry = suiteEntry(suite);
    console.log(`\n${entry.title}`);
    for (const run of await runsOf(entry)) {
      if (only === undefined || run.scenario === only) await report(run, await settle(entry, run));
    }
  }
  if (only === undefined) for (const key of expected.keys()) surprise(`${key}: listed as an expected failure, never run`);
} finally {
  await rm(work, { recursive: true, force: true });
}
console.log(`conformance: ${counts.passed} passed, ${counts.expected} failed as expected, ${counts.unexpected} unexpected`);
process.exit(counts.unexpected === 0 && counts.passed > 0 ? 0 : 1);

/** Where a suite's program is, and its version. */
function suiteEntry(suite) {
  const manifest = PACKAGES.resolve(`${suite}/package.json`);
  const { name, version, bin } = PACKAGES(manifest);
  return { program: join(dirname(manifest), bin.conformance), version, title: `${name} ${version}` };
}

/** One run per scenario and revision it applies to; extension scenarios stand outside of the revisions and run once. */
async function runsOf({ program, version }) {
  const { stdout } = await execute([program, "list", "--client"], {});
  const lines = [...stdout.matchAll(/^\s*- (\S+) \[([^\]]+)\]$/gm)];
  if (lines.length === 0) throw new Error(`${program} lists no scenarios:\n${stdout}`);
  return lines
    .filter(([, scenario]) => !scenario.startsWith("auth/"))
    .flatMap(([, scenario, where]) =>
      where.split(",").map((spec) => ({ scenario, spec, key: `${version} ${spec} ${scenario}` })),
    );
}

/** The verdict on one run, after further attempts if only the clock was against it. */
async function settle(entry, run) {
  for (let attempt = 1; ; attempt += 1) {
    const verdict = await attemptOnce(entry, run);
    if (verdict.problems.length === 0 || !verdict.onlyLate || attempt === CLOCK_ATTEMPTS) return verdict;
    console.log(`  late  ${run.spec}  ${run.scenario}: the machine was too slow for the suite's clock, once more`);
  }
}

async function attemptOnce({ program }, { scenario, spec }) {
  const output = await mkdtemp(join(work, "run-"));
  const dated = /^\d/.test(spec);
  const args = [program, "client", "--command", `"${process.execPath}" "${HOST}"`, "--scenario", scenario];
  args.push("--timeout", String(SCENARIO_DEADLINE), "--output-dir", output);
  if (dated) args.push("--spec-version", spec);
  const env = { MCP_BRIDGE_CONFIG_DIR: output, MCP_REMOTE_CONFIG_DIR: output };
  if (dated) env.MCP_CONFORMANCE_PROTOCOL_VERSION = spec;
  const suite = await execute(args, env);
  const checks = await readChecks(output);
  const bad = checks.filter(({ status }) => status === "FAILURE" || status === "WARNING");
  const problems = bad.map((check) => `${check.id}: ${check.errorMessage ?? check.description}`);
  if (!checks.some(({ status }) => status === "SUCCESS")) problems.push("no check succeeded");
  const exited = /Client exited with code [\s\S]*?(?=\nResults saved to )/.exec(suite.stderr)?.[0] ?? "";
  const timedOut = /Client timed out/.test(suite.stderr);
  if (exited || timedOut || (suite.code !== 0 && bad.length === 0)) problems.push("the host did not get its answers");
  const onlyLate = problems.length === 1 && bad[0]?.id === CLOCK_CHECK && bad[0].details?.tooEarly === false;
  return { problems, onlyLate, exited };
}

async function readChecks(output) {
  const entries = await readdir(output, { recursive: true });
  const found = entries.find((name) => name.endsWith("checks.json"));
  return found === undefined ? [] : JSON.parse(await readFile(join(output, found)));
}

async function report({ key, spec, scenario }, { problems, exited }) {
  const reason = expected.get(key);
  expected.delete(key);
  const line = `${spec}  ${scenario}`;
  if (problems.length === 0 && reason === undefined) {
    counts.passed += 1;
    console.log(`  ok    ${line}`);
  } else if (problems.length > 0 && reason !== undefined) {
    counts.expected += 1;
    console.log(`  xfail ${line}: ${reason}`);
  } else if (problems.length === 0) {
    surprise(`${line}: passed, but is listed as an expected failure (${key})`);
  } else {
    surprise(`${line}\n        ${problems.join("\n        ")}${exited && `\n--- host\n${exited.slice(-4000)}`}`);
  }
}

function surprise(text) {
  counts.unexpected += 1;
  console.log(`  FAIL  ${text}`);
}

/** Runs the suite's program; ends it by its id when it takes too long. */
async function execute(args, env) {
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (chunk) => (output[name] += chunk));
  const timer = setTimeout(() => child.kill("SIGKILL"), SUITE_DEADLINE);
  const [code] = await once(child, "close");
  clearTimeout(timer);
  return { ...output, code };
}
