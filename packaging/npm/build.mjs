// Makes the npm packages: one with the launcher, one with the program for each system.
// Usage: node build.mjs VERSION PROGRAMS OUTPUT [SYSTEM...]
//
// PROGRAMS holds SYSTEM/mcp-bridge, or SYSTEM/mcp-bridge.exe for Windows. Each package becomes a folder of OUTPUT, which
// must not exist. Without SYSTEM, the programs of all systems have to be there.

import { chmod, copyFile, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Systems by npm's names. Those for Linux are linked statically and run with every C library. */
const SYSTEMS = ["darwin-arm64", "darwin-x64", "linux-arm64", "linux-x64", "win32-arm64", "win32-x64"];

const HERE = dirname(fileURLToPath(import.meta.url));

const [version, programs, output, ...wanted] = process.argv.slice(2);
const systems = wanted.length > 0 ? wanted : SYSTEMS;
if (output === undefined) fail("usage: node build.mjs VERSION PROGRAMS OUTPUT [SYSTEM...]");
if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version)) fail(`${version} is no version`);
const unknown = systems.find((system) => !SYSTEMS.includes(system));
if (unknown !== undefined) fail(`${unknown} is none of ${SYSTEMS.join(", ")}`);

await mkdir(output);
for (const system of systems) await programPackage(system);
await launcherPackage();

async function programPackage(system) {
  const [platform, processor] = system.split("-");
  const program = platform === "win32" ? "mcp-bridge.exe" : "mcp-bridge";
  const folder = await packageFolder(`mcp-bridge-${system}`, {
    description: `The program of the package mcp-bridge for ${system}`,
    os: [platform],
    cpu: [processor],
    files: ["bin"],
    preferUnplugged: true,
  });
  const target = join(folder, "bin", program);
  await mkdir(dirname(target));
  await copyFile(join(programs, system, program), target);
  await chmod(target, 0o755);
}

async function launcherPackage() {
  const folder = await packageFolder("mcp-bridge", {
    description: "Connects stdio MCP clients to remote MCP servers",
    keywords: ["mcp", "mcp-remote", "bridge", "stdio", "model context protocol"],
    bin: { "mcp-bridge": "mcp-bridge.js" },
    files: ["mcp-bridge.js"],
    optionalDependencies: Object.fromEntries(systems.map((system) => [`mcp-bridge-${system}`, version])),
  });
  await copyFile(join(HERE, "README.md"), join(folder, "README.md"));
  await copyFile(join(HERE, "mcp-bridge.js"), join(folder, "mcp-bridge.js"));
  await chmod(join(folder, "mcp-bridge.js"), 0o755);
}

/** A folder with a package.json and the licence. */
async function packageFolder(name, members) {
  const folder = join(output, name);
  await mkdir(folder);
  const repository = process.env.REPOSITORY_URL;
  const described = { name, version, license: "MIT", ...(repository && { repository }), engines: { node: ">=16" }, ...members };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(described, undefined, 2)}\n`);
  await copyFile(join(HERE, "../../LICENSE"), join(folder, "LICENSE"));
  return folder;
}

function fail(words) {
  console.error(`build.mjs: ${words}`);
  process.exit(2);
}
