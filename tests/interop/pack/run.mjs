// Packs extensions for Claude Desktop, lets the official MCPB tool judge and unpack them, and starts the program inside
// with the command that the official library makes of the manifest. Usage: MCP_BRIDGE_BIN=path node run.mjs

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { getMcpConfigForManifest } from "@anthropic-ai/mcpb";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { CallToolRequestSchema } from "@modelcontextprotocol/sdk/types.js";

/** How long one program may run, and one answer take. In milliseconds. */
const DEADLINE = 30_000;

const MCPB = join(dirname(fileURLToPath(import.meta.resolve("@anthropic-ai/mcpb"))), "cli/cli.js");
const BRIDGE = process.env.MCP_BRIDGE_BIN;
assert.ok(BRIDGE, "set MCP_BRIDGE_BIN to the bridge binary");

const home = await mkdtemp(join(tmpdir(), "mcp-bridge-pack-"));
const remote = await startRemote();
const headers = join(home, "headers.txt");
await writeFile(headers, "X-From-File: yes\n");

/** What is packed, what the person answers, what the server has to see. */
const CASES = [
  { name: "an address alone", options: [], answers: {}, seen: {} },
  {
    name: "a token that is asked for",
    options: ["--header", "Authorization: Bearer ${EXAMPLE_TOKEN}", "--name", "A wiki"],
    answers: { EXAMPLE_TOKEN: "of-the-person" },
    seen: { authorization: "Bearer of-the-person" },
  },
  {
    name: "a file and a choice that are asked for",
    options: ["--header-file", "elsewhere", "--resource", "https://${TENANT}.example.com/", "--log-file", "${HOME}/a.log"],
    answers: { header_file: headers, TENANT: "one" },
    seen: { "x-from-file": "yes" },
  },
];

let failed = 0;
try {
  for (const one of CASES) {
    const problem = await check(one).then(() => undefined, (error) => error);
    console.log(problem === undefined ? `  ok    ${one.name}` : `  FAIL  ${one.name}\n${problem.stack}`);
    if (problem !== undefined) failed += 1;
  }
} finally {
  remote.close();
  await rm(home, { recursive: true, force: true });
}
console.log(`pack: ${CASES.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function check({ name, options, answers, seen }) {
  const folder = join(home, name);
  const [bundle, again] = [`${folder}.mcpb`, `${folder} again.mcpb`];
  await pack(bundle, options);
  await pack(again, options);
  assert.ok((await readFile(bundle)).equals(await readFile(again)), "the same command gives the same bytes");

  console.log(indent(await mcpb("info", bundle)));
  await mcpb("unpack", bundle, folder);
  assert.match(await mcpb("validate", folder), /passes/);
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  const entryPoint = join(folder, manifest.server.entry_point);
  assert.equal((await stat(entryPoint)).mode & 0o777, 0o755);
  assert.deepEqual(Object.keys(manifest.user_config ?? {}).sort(), Object.keys(answers).sort());

  if (Object.keys(answers).length > 0) {
    assert.equal(await command(manifest, folder, {}), undefined, "without answers it is not started");
  }
  const config = await command(manifest, folder, answers);
  await converse(config, seen);
  // Claude Desktop for macOS leaves files the right to read and write alone (modelcontextprotocol/mcpb, issue 294).
  await chmod(entryPoint, 0o600);
  await converse(config, seen);
}

function pack(output, options) {
  return run(BRIDGE, ["pack", remote.url, ...options, "--output", output]);
}

function mcpb(...words) {
  return run(process.execPath, [MCPB, ...words]);
}

async function run(program, words) {
  const { stdout } = await promisify(execFile)(program, words, { timeout: DEADLINE, env: { HOME: home, USERPROFILE: home } });
  return stdout;
}

/** What a client starts; nothing while an answer is missing. */
function command(manifest, extensionPath, userConfig) {
  return getMcpConfigForManifest({
    manifest,
    extensionPath,
    userConfig,
    systemDirs: { HOME: home, DESKTOP: home, DOCUMENTS: home, DOWNLOADS: home },
    pathSeparator: sep,
  });
}

/** Starts the command as a client does, and calls the tool. */
async function converse({ command, args, env }, seen) {
  assert.ok(!args.some((arg) => arg.includes("of-the-person")), "no answer that is secret is in the list of processes");
  const transport = new StdioClientTransport({
    command,
    args,
    env: { ...env, HOME: home, USERPROFILE: home, MCP_BRIDGE_CONFIG_DIR: join(home, "auth") },
    stderr: "pipe",
  });
  let stderr = "";
  transport.stderr.on("data", (chunk) => (stderr += chunk));
  const client = new Client({ name: "pack", version: "1.0.0" });
  remote.seen = undefined;
  try {
    await client.connect(transport, { timeout: DEADLINE });
    const result = await client.callTool({ name: "echo", arguments: { text: "hello" } }, undefined, { timeout: DEADLINE });
    assert.equal(result.content[0].text, "hello");
    for (const [name, value] of Object.entries(seen)) assert.equal(remote.seen[name], value, name);
  } catch (error) {
    throw new Error(`${error.message}\n--- stderr of the program\n${stderr.slice(-3000)}`, { cause: error });
  } finally {
    await client.close();
  }
}

/** A server with one tool, which notes the headers of the last request with a body. */
async function startRemote() {
  const remote = { seen: undefined };
  const server = createServer(async (request, response) => {
    if (request.method !== "POST") return void response.writeHead(405).end();
    remote.seen = request.headers;
    const mcp = new Server({ name: "remote", version: "1.0.0" }, { capabilities: { tools: {} } });
    mcp.setRequestHandler(CallToolRequestSchema, ({ params }) => ({
      content: [{ type: "text", text: params.arguments.text }],
    }));
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    response.on("close", () => void mcp.close());
    await mcp.connect(transport);
    await transport.handleRequest(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  remote.url = `http://127.0.0.1:${server.address().port}/mcp`;
  remote.close = () => {
    server.close();
    server.closeAllConnections();
  };
  return remote;
}

function indent(text) {
  return text.trim().replace(/^/gm, "        ");
}
