// Signs in as people do, with the bridge's own binary: before the certified authorization server oidc-provider, before
// servers as people write them, and side by side with the real mcp-remote on one folder.
// Usage: MCP_BRIDGE_BIN=path node run.mjs [start of a step's name]

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endAll } from "./program.mjs";
import { STEPS } from "./steps.mjs";

/** How long one step may take. In milliseconds. */
const STEP_DEADLINE = 90_000;

assert.ok(process.env.MCP_BRIDGE_BIN, "set MCP_BRIDGE_BIN to the bridge binary");
const [only = ""] = process.argv.slice(2);
let [passed, failed] = [0, 0];
for (const [name, step] of STEPS.filter(([name]) => name.startsWith(only))) {
  const problem = await outcomeOf(step);
  if (problem === undefined) passed += 1;
  else failed += 1;
  console.log(problem === undefined ? `  ok    ${name}` : `  FAIL  ${name}\n${indent(problem)}`);
}
console.log(`sign-in: ${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

/** Runs a step in a home of its own; what went wrong, if anything did. */
async function outcomeOf(step) {
  const home = await mkdtemp(join(tmpdir(), "mcp-bridge-sign-in-"));
  const world = { home, programs: [], servers: [] };
  const { promise: late, reject } = Promise.withResolvers();
  const timer = setTimeout(() => reject(new Error(`not done after ${STEP_DEADLINE} ms`)), STEP_DEADLINE);
  try {
    await Promise.race([step(world), late]);
    return undefined;
  } catch (error) {
    const words = world.programs.map(({ stderr }, n) => `--- stderr of program ${n + 1}, last part\n${stderr.slice(-3000)}`);
    const noted = world.servers.flatMap(({ counts }) => (counts === undefined ? [] : [JSON.stringify(counts)]));
    return [error.stack ?? String(error), ...noted, ...words].join("\n");
  } finally {
    clearTimeout(timer);
    await endAll();
    await Promise.all(world.servers.map((server) => server.close()));
    await rm(home, { recursive: true, force: true });
  }
}

function indent(text) {
  return text.replace(/^/gm, "        ");
}
