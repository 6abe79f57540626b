// Runs every client scenario of the official conformance suites, with host.mjs as the client.
// The verdict is strict: no failed check, no warning, at least one success, and a host that got its answers.
// The scenarios are listed here by name: one that a suite lost, or that is new in it, fails.
// Usage: MCP_BRIDGE_BIN=path node run.mjs [start of a scenario's name, such as auth/]

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

/** Scenarios that stand in both suites. */
const SHARED = [
  "initialize",
  "tools_call",
  "elicitation-sep1034-client-defaults",
  "sse-retry",
  "auth/metadata-default",
  "auth/metadata-var1",
  "auth/metadata-var2",
  "auth/metadata-var3",
  "auth/basic-cimd",
  "auth/scope-from-www-authenticate",
  "auth/scope-from-scopes-supported",
  "auth/scope-omitted-when-undefined",
  "auth/scope-step-up",
  "auth/scope-retry-limit",
  "auth/token-endpoint-auth-basic",
  "auth/token-endpoint-auth-post",
  "auth/token-endpoint-auth-none",
  "auth/pre-registration",
  "auth/2025-03-26-oauth-metadata-backcompat",
  "auth/2025-03-26-oauth-endpoint-fallback",
  "auth/resource-mismatch",
  "auth/offline-access-scope",
  "auth/offline-access-not-supported",
  "auth/client-credentials-jwt",
  "auth/client-credentials-basic",
];

const SUITES = {
  "conformance-0.1": [...SHARED, "auth/cross-app-access-complete-flow"],
  "conformance-0.2": [
    ...SHARED,
    "request-metadata",
    "auth/authorization-server-migration",
    "auth/iss-supported",
    "auth/iss-not-advertised",
    "auth/iss-supported-missing",
    "auth/iss-wrong-issuer",
    "auth/iss-unexpected",
    "auth/iss-normalized",
    "auth/metadata-issuer-mismatch",
    "auth/enterprise-managed-authorization",
    "auth/dpop",
    "auth/dpop-nonce",
    "auth/wif-jwt-bearer",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
    "sep-2640-client-no-prefetch",
    "sep-2640-client-verify-digest",
    "sep-2640-client-verify-size",
    "sep-2640-client-verify-frontmatter",
  ],
};
const PACKAGES = createRequire(new URL("../interop/package.json", import.meta.url));
const HOST = fileURLToPath(new URL("host.mjs", import.meta.url));

if (!process.env.MCP_BRIDGE_BIN) throw new Error("set MCP_BRIDGE_BIN to the bridge binary");
const expected = new Map(Object.entries(JSON.parse(await readFile(new URL("expected-failures.json", import.meta.url)))));
const only = process.argv[2];
const work = await mkdtemp(join(tmpdir(), "mcp-bridge-conformance-"));
const counts = { passed: 0, expected: 0, unexpected: 0 };
try {
  for (const [suite, names] of Object.entries(SUITES)) {
    const entry = suiteEntry(suite);
    console.log(`\n${entry.title}`);
    const runs = await runsOf(entry);
    const listed = new Set(runs.map(({ scenario }) => scenario));
    for (const name of new Set(names).difference(listed)) surprise(`${name}: no longer in the suite`);
    for (const name of listed.difference(new Set(names))) surprise(`${name}: new in the suite, nobody runs it`);
    for (const run of runs) {
      if (only === undefined || run.scenario.startsWith(only)) await report(run, await settle(entry, run));
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
  return lines.flatMap(([, scenario, where]) =>
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

/** An expected failure is a reason, or a reason and `only`: the problems it is about, by how they begin. */
async function report({ key, spec, scenario }, { problems, exited }) {
  const entry = expected.get(key);
  expected.delete(key);
  const line = `${spec}  ${scenario}`;
  const { reason, only: allowed } = typeof entry === "object" ? entry : { reason: entry };
  const isAllowed = (problem) => allowed === undefined || allowed.some((start) => problem.startsWith(start));
  if (problems.length === 0 && reason === undefined) {
    counts.passed += 1;
    console.log(`  ok    ${line}`);
  } else if (problems.length > 0 && reason !== undefined && problems.every(isAllowed)) {
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
