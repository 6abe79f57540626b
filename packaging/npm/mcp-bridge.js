#!/usr/bin/env node
// Hands over to the program for this system, which npm installs beside this package. Nothing is downloaded here.
"use strict";

const { spawn } = require("node:child_process");
const { accessSync, constants } = require("node:fs");

const SYSTEM = `${process.platform}-${process.arch}`;
const PACKAGE = `mcp-bridge-${SYSTEM}`;
const NAME = process.platform === "win32" ? "mcp-bridge.exe" : "mcp-bridge";

/** The signals that ask a program to end. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"];

const program = find();
if (program !== undefined) handOver(program, process.argv.slice(2));

/** The path of the program. Without one, says what is missing. */
function find() {
  try {
    const path = require.resolve(`${PACKAGE}/bin/${NAME}`);
    accessSync(path, constants.X_OK);
    return path;
  } catch (error) {
    const supported = Object.keys(require("./package.json").optionalDependencies);
    const next = supported.includes(PACKAGE)
      ? `npm has not installed the package ${PACKAGE}: install without --omit=optional and without --no-optional`
      : `there is no program for ${SYSTEM}; it can be built with cargo`;
    process.stderr.write(`mcp-bridge: ${next} (${error.code})\n`);
    process.exitCode = 1;
    return undefined;
  }
}

function handOver(path, words) {
  // The program takes the place of this process where Node.js can do that (since 22.15, not on Windows).
  if (typeof process.execve === "function" && process.platform !== "win32") {
    process.execve(path, [path, ...words], process.env);
  }
  const child = spawn(path, words, { stdio: "inherit", windowsHide: true });
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(`mcp-bridge: ${path} cannot be started: ${error.message}\n`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exitCode = code;
      return;
    }
    // Whoever waits for this process learns of the signal as well.
    for (const name of SIGNALS) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}
