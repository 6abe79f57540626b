// Builds the npm packages from the bridge's binary, installs them from their tarballs, and starts the bridge through npx
// as people do. Usage: MCP_BRIDGE_BIN=path node run.mjs

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

/** How long one program may run, and one answer take. In milliseconds. */
const DEADLINE = 60_000;

const BRIDGE = process.env.MCP_BRIDGE_BIN;
assert.ok(BRIDGE, "set MCP_BRIDGE_BIN to the bridge binary");
const PACKAGING = fileURLToPath(new URL("../../../packaging/npm/", import.meta.url));
const SYSTEM = `${process.platform}-${process.arch}`;

/** Node.js as it is, and one that cannot replace a process: the launcher has a way for each. */
const MANNERS = { "in place of node": "", "beside node": "delete process.execve;" };

const home = await mkdtemp(join(tmpdir(), "mcp-bridge-npm-"));
const app = join(home, "app");
await mkdir(app);
let failed = 0;
try {
  await step("packages are built and installed", install);
  for (const [manner, preamble] of Object.entries(MANNERS)) {
    const preload = join(home, `${manner}.cjs`);
    await writeFile(preload, preamble);
    const env = { ...clean(), NODE_OPTIONS: `--require "${preload}"` };
    await step(`a conversation, ${manner}`, () => converse(env));
    await step(`exit codes and signals, ${manner}`, () => end(env));
  }
  await step("a package that is missing is named", missing);
} finally {
  await rm(home, { recursive: true, force: true });
}
console.log(failed === 0 ? "npm: all passed" : `npm: ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function step(name, act) {
  const problem = await act().then(() => undefined, (error) => error);
  console.log(problem === undefined ? `  ok    ${name}` : `  FAIL  ${name}\n${problem.stack}\n${problem.stderr ?? ""}`);
  if (problem !== undefined) failed += 1;
}

async function install() {
  const programs = join(home, "programs");
  await mkdir(join(programs, SYSTEM), { recursive: true });
  await copyFile(BRIDGE, join(programs, SYSTEM, "mcp-bridge"));
  const packages = join(home, "packages");
  await run(process.execPath, [join(PACKAGING, "build.mjs"), "1.2.3", programs, packages, SYSTEM]);
  const folders = (await readdir(packages)).map((name) => join(packages, name));
  await run("npm", ["pack", "--pack-destination", home, ...folders]);
  const tarballs = (await readdir(home)).filter((name) => name.endsWith(".tgz")).map((name) => join(home, name));
  assert.equal(tarballs.length, 2);
  await writeFile(join(app, "package.json"), "{}");
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", ...tarballs]);
}

async function converse(env) {
  const remote = createServer(answer);
  remote.listen(0, "127.0.0.1");
  await once(remote, "listening");
  const url = `http://127.0.0.1:${remote.address().port}/mcp`;
  const transport = new StdioClientTransport({ command: "npx", args: ["--no-install", "mcp-bridge", url], env, cwd: app });
  const client = new Client({ name: "npm", version: "1.0.0" });
  try {
    await client.connect(transport, { timeout: DEADLINE });
    assert.equal(client.getServerVersion().name, "remote");
  } finally {
    await client.close();
    remote.close();
    remote.closeAllConnections();
  }
}

async function end(env) {
  const launcher = join(app, "node_modules/.bin/mcp-bridge");
  const { stdout } = await run(launcher, ["--version"], env);
  assert.match(stdout, /^mcp-bridge \d/);
  await assert.rejects(run(launcher, ["--no-such-option"], env), (error) => error.code === 2);
  const child = spawn(launcher, ["http://127.0.0.1:9/mcp"], { env, cwd: app, stdio: ["pipe", "ignore", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE);
  const exited = once(child, "exit");
  // Once it speaks, it handles signals.
  child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: {} })}\n`);
  await Promise.race([once(child.stderr, "data"), exited]);
  child.kill("SIGTERM");
  assert.deepEqual(await exited, [0, null]);
  clearTimeout(timer);
}

async function missing() {
  await rm(join(app, `node_modules/mcp-bridge-${SYSTEM}`), { recursive: true });
  await assert.rejects(run(join(app, "node_modules/.bin/mcp-bridge"), ["--version"]), (error) => {
    assert.match(error.stderr, new RegExp(`mcp-bridge-${SYSTEM}`));
    return error.code === 1;
  });
}

function run(program, words, env = clean()) {
  return promisify(execFile)(program, words, { cwd: app, env, timeout: DEADLINE }).catch((error) => {
    if (error.code !== "ENOENT" || program !== "npm") throw error;
    throw new Error("npm is missing", { cause: error });
  });
}

/** No settings and no sign-ins of the person who runs this; this very Node.js. */
function clean() {
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter);
  return { PATH: path, HOME: home, USERPROFILE: home, npm_config_update_notifier: "false" };
}

/** A server that can be asked to initialize. */
async function answer(request, response) {
  if (request.method !== "POST") return void response.writeHead(405).end();
  const { id, method, params } = await new Response(request).json();
  if (id === undefined) return void response.writeHead(202).end();
  const result = { protocolVersion: params.protocolVersion, capabilities: {}, serverInfo: { name: "remote", version: "1" } };
  const known = method === "initialize" ? { result } : { error: { code: -32601, message: "method not found" } };
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ jsonrpc: "2.0", id, ...known }));
}
