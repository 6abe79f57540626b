// A headless Chromium from npm, pinned like everything else, for the tests that look at a page in a real browser.
// Usage: node chromium.mjs unpack FOLDER      makes FOLDER/chromium, a program that knows --dump-dom
//        node chromium.mjs run FOLDER ARGS…   what that program does
//
// The package's build has no --dump-dom of its own: the page is read over the DevTools protocol, on the pipes 3 and 4.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [what, folder, ...args] = process.argv.slice(2);

async function unpack() {
  await mkdir(folder, { recursive: true });
  // The package unpacks to the temporary folder, and its libraries only where it believes to be on such a machine.
  Object.assign(process.env, { TMPDIR: folder, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs22.x" });
  const packages = createRequire(new URL("../tests/interop/package.json", import.meta.url));
  const { default: chromium } = await import(pathToFileURL(packages.resolve("@sparticuz/chromium")));
  await chromium.executablePath();
  const bin = join(folder, "bin");
  await mkdir(bin, { recursive: true });
  const script = join(bin, "chromium");
  const words = [process.execPath, fileURLToPath(import.meta.url), "run", folder].map((word) => `'${word}'`);
  await writeFile(script, `#!/bin/sh\nexec ${words.join(" ")} "$@"\n`);
  await chmod(script, 0o755);
  console.log(script);
}

async function run() {
  const url = args.findLast((word) => !word.startsWith("-"));
  const flags = args.filter((word) => word !== url && word !== "--dump-dom");
  const browser = spawn(join(folder, "chromium"), [...flags, "--remote-debugging-pipe"], {
    env: { ...process.env, LD_LIBRARY_PATH: join(folder, "al2023/lib"), FONTCONFIG_PATH: join(folder, "fonts") },
    stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"],
  });
  const ended = once(browser, "exit");
  const devTools = new DevTools(browser.stdio[3], browser.stdio[4]);
  const { targetId } = await devTools.ask("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await devTools.ask("Target.attachToTarget", { targetId, flatten: true });
  await devTools.ask("Page.enable", {}, sessionId);
  const loaded = devTools.event("Page.loadEventFired");
  await devTools.ask("Page.navigate", { url }, sessionId);
  await loaded;
  const expression = "document.documentElement.outerHTML";
  const { result } = await devTools.ask("Runtime.evaluate", { expression }, sessionId);
  console.log(result.value);
  await devTools.ask("Browser.close", {});
  await ended;
}

/** The DevTools protocol: JSON messages, each followed by a zero byte. */
class DevTools {
  #answers = new Map();
  #events = new Map();
  #lastId = 0;
  #input;

  constructor(input, output) {
    this.#input = input;
    input.on("error", () => {});
    let text = "";
    output.setEncoding("utf8").on("data", (chunk) => {
      const messages = (text + chunk).split("\0");
      text = messages.pop();
      for (const message of messages) this.#hear(JSON.parse(message));
    });
  }

  ask(method, params, sessionId) {
    const id = (this.#lastId += 1);
    this.#input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
  }

  event(method) {
    return new Promise((resolve) => this.#events.set(method, resolve));
  }

  #hear({ id, method, params, result, error }) {
    if (id === undefined) return this.#events.get(method)?.(params);
    const { resolve, reject } = this.#answers.get(id);
    return error === undefined ? resolve(result) : reject(new Error(JSON.stringify(error)));
  }
}

await { unpack, run }[what]();
