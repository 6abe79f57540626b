// Runs every client scenario of the official conformance suites, at every revision it applies to, with every host that
// host.mjs can be.
// The verdict is strict: no failed check, no warning, at least one success, and a host that got its answers.
// The scenarios are listed here by name: one that a suite lost, or that is new in it, fails.
// Usage: MCP_BRIDGE_BIN=path node run.mjs [start of a run's name, such as "auth/" or "legacy 2026-07-28 tools_call"]

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { suiteEntry } from "./packages.mjs";

/** How long one scenario may take, for the suite and for us around it. In milliseconds. */
const SCENARIO_DEADLINE = 60_000;
const SUITE_DEADLINE = SCENARIO_DEADLINE + 15_000;

/** The suite allows a reconnect 200 ms of delay, which a busy machine can exceed: that check alone may be tried again. */
const CLOCK_CHECK = "client-sse-retry-timing";
const CLOCK_ATTEMPTS = 4;

/** Runs at a time. Each is mostly waiting, and has servers, folders and a bridge of its own. */
const AT_A_TIME = 2;

/**
 * Whom the bridge serves, see host.mjs. The one that does not say `server/discover` differs from the other modern one in
 * its first message alone, which signing in does not look at.
 */
const HOSTS = ["legacy", "modern", "undiscovered"];
const hostsOf = (scenario) => HOSTS.filter((host) => host !== "undiscovered" || !scenario.startsWith("auth/"));

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
const HOST = fileURLToPath(new URL("host.mjs", import.meta.url));

if (!process.env.MCP_BRIDGE_BIN) throw new Error("set MCP_BRIDGE_BIN to the bridge binary");
const expected = new Map(Object.entries(JSON.parse(await readFile(new URL("expected-failures.json", import.meta.url)))));
const only = process.argv[2];
const work = await mkdtemp(join(tmpdir(), "mcp-bridge-conformance-"));
const counts = { passed: 0, expected: 0, unexpected: 0 };
const surprises = [];
try {
  for (const [suite, names] of Object.entries(SUITES)) {
    const entry = suiteEntry(suite);
    console.log(`\n${entry.title}`);
    const runs = await runsOf(entry);
    const listed = new Set(runs.map(({ scenario }) => scenario));
    for (const name of new Set(names).difference(listed)) surprise(name, "no longer in the suite");
    for (const name of listed.difference(new Set(names))) surprise(name, "new in the suite, nobody runs it");
    const wanted = runs.filter(({ name, scenario }) => only === undefined || name.startsWith(only) || scenario.startsWith(only));
    const queue = wanted.values();
    const worker = async () => {
      for (const run of queue) report(run, await settle(entry, run));
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  }
  if (only === undefined) for (const key of expected.keys()) surprise(key, "listed as an expected failure, never run");
} finally {
  await rm(work, { recursive: true, force: true });
}
console.log(`conformance: ${counts.passed} passed, ${counts.expected} failed as expected, ${counts.unexpected} unexpected`);
for (const name of surprises) console.log(`  FAIL  ${name}`);
process.exit(counts.unexpected === 0 && counts.passed > 0 ? 0 : 1);

/** One run per scenario, revision it applies to and host; extension scenarios stand outside of the revisions. */
async function runsOf({ program, version }) {
  const { stdout } = await execute([program, "list", "--client"], {});
  const lines = [...stdout.matchAll(/^\s*- (\S+) \[([^\]]+)\]$/gm)];
  if (lines.length === 0) throw new Error(`${program} lists no scenarios:\n${stdout}`);
  return lines.flatMap(([, scenario, where]) =>
    where.split(",").flatMap((spec) =>
      hostsOf(scenario).map((host) => {
        const name = `${host} ${spec} ${scenario}`;
        return { scenario, spec, host, name, key: `${version} ${name}` };
      }),
    ),
  );
}

/** The verdict on one run, after further attempts if only the clock was against it. */
async function settle(entry, run) {
  for (let attempt = 1; ; attempt += 1) {
    const verdict = await attemptOnce(entry, run);
    if (verdict.problems.length === 0 || !verdict.onlyLate || attempt === CLOCK_ATTEMPTS) return verdict;
    console.log(`  late  ${run.name}: the machine was too slow for the suite's clock, once more`);
  }
}

async function attemptOnce({ program }, { scenario, spec, host }) {
  const output = await mkdtemp(join(work, "run-"));
  const dated = /^\d/.test(spec);
  const args = [program, "client", "--command", `"${process.execPath}" "${HOST}"`, "--scenario", scenario];
  args.push("--timeout", String(SCENARIO_DEADLINE), "--output-dir", output);
  if (dated) args.push("--spec-version", spec);
  const env = { MCP_CONFORMANCE_HOST: host, MCP_BRIDGE_CONFIG_DIR: output, MCP_REMOTE_CONFIG_DIR: output };
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
function report({ key, name }, { problems, exited }) {
  const entry = expected.get(key);
  expected.delete(key);
  const { reason, only: allowed } = typeof entry === "object" ? entry : { reason: entry };
  const isAllowed = (problem) => allowed === undefined || allowed.some((start) => problem.startsWith(start));
  if (problems.length === 0 && reason === undefined) {
    counts.passed += 1;
    console.log(`  ok    ${name}`);
  } else if (problems.length > 0 && reason !== undefined && problems.every(isAllowed)) {
    counts.expected += 1;
    console.log(`  xfail ${name}: ${reason}`);
  } else if (problems.length === 0) {
    surprise(key, "passed, but is listed as an expected failure");
  } else {
    const details = exited && `\n--- host\n${exited.slice(-4000)}`;
    surprise(key, problems[0], `${problems.map((problem) => `\n        ${problem}`).join("")}${details}`);
  }
}

/** What has to be looked at: at once with everything known about it, and in the list at the end. */
function surprise(name, what, details = `: ${what}`) {
  counts.unexpected += 1;
  surprises.push(`${name}: ${what}`);
  console.log(`  FAIL  ${name}${details}`);
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
