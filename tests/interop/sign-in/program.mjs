// A program on stdio as a host starts it: the bridge, or mcp-remote. The person behind it follows its sign-in links.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Person, linksIn } from "./person.mjs";

/** How long one answer, the words one waits for, and the end may take. In milliseconds. */
const ANSWER_DEADLINE = 30_000;
const EXIT_DEADLINE = 8_000;
const PAUSE = 20;

const MCP_REMOTE = join(dirname(fileURLToPath(import.meta.resolve("mcp-remote/package.json"))), "dist/proxy.js");

/** Programs that still run; none must be left behind. */
const running = new Set();

export class Program {
  /** Every sign-in link that was opened, in order. */
  links = [];
  stderr = "";
  /** Whether it was asked to initialize. */
  initialized = false;

  #child;
  #person;
  #pending = new Map();
  #nextId = 1;
  /** Commands such as logout speak to people. */
  #isBridge;

  /** The bridge. Without `person`, nobody follows its links. */
  static bridge(words, { home, person, env = {} }) {
    return new Program(process.env.MCP_BRIDGE_BIN, words, home, person, env);
  }

  /** mcp-remote on the same folder. It finds no browser to open. */
  static mcpRemote(words, { home, person, env = {} }) {
    return new Program(process.execPath, [MCP_REMOTE, ...words], home, person, env);
  }

  constructor(command, words, home, person, env) {
    this.#person = person;
    this.#isBridge = words.some((word) => word === MCP_REMOTE) || /^https?:/.test(words[0]);
    this.#child = spawn(command, words, {
      env: { HOME: home, USERPROFILE: home, PATH: home, MCP_REMOTE_CONFIG_DIR: join(home, "auth"), ...env },
      stdio: "pipe",
    });
    running.add(this.#child);
    this.#child.stdin.on("error", () => {});
    this.exited = once(this.#child, "exit").finally(() => running.delete(this.#child));
    const ended = () => this.#refuseAll(new Error("the program ended"));
    this.exited.then(ended, ended);
    this.#child.stderr.setEncoding("utf8").on("data", (text) => this.#hear(text));
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#receive(line));
  }

  /** The result of a request; an error answer is thrown. */
  async request(method, params = {}) {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers();
    const timer = setTimeout(() => reject(new Error(`no answer to ${method}`)), ANSWER_DEADLINE);
    this.#pending.set(id, { resolve, reject });
    this.#write({ id, method, params });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  async initialize() {
    this.initialized = true;
    const result = await this.request("initialize", {
      protocolVersion: "2025-11-25",
      capabilities: {},
      clientInfo: { name: "sign-in", version: "1.0.0" },
    });
    this.#write({ method: "notifications/initialized" });
    return result;
  }

  /** Calls the tool `echo`; it has to answer. */
  async echo(text) {
    const result = await this.request("tools/call", { name: "echo", arguments: { text } });
    assert.deepEqual([result.isError ?? false, result.content[0].text], [false, text]);
  }

  /** Waits until stderr matches. */
  async waitStderr(pattern) {
    const end = Date.now() + ANSWER_DEADLINE;
    for (;;) {
      const found = pattern.exec(this.stderr);
      if (found !== null) return found;
      if (Date.now() > end) throw new Error(`stderr never matched ${pattern}`);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  /** Waits for an end by itself: its exit code, or the signal that ended it. */
  async ended() {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), ANSWER_DEADLINE);
    const [code, signal] = await this.exited;
    clearTimeout(timer);
    return code ?? signal;
  }

  /** Ends it the way hosts do: stdin is closed, then SIGTERM. */
  async close() {
    this.#child.stdin.end();
    const signals = ["SIGTERM", "SIGKILL"];
    const timers = signals.map((signal, n) => setTimeout(() => this.#child.kill(signal), (n + 1) * EXIT_DEADLINE));
    await this.exited;
    timers.forEach(clearTimeout);
  }

  #write(message) {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  #hear(text) {
    this.stderr += text;
    const complete = this.stderr.slice(0, this.stderr.lastIndexOf("\n") + 1);
    for (const link of linksIn(complete).filter((link) => !this.links.includes(link))) {
      this.links.push(link);
      this.#person?.open(link).catch((error) => (this.stderr += `(the person could not open ${link}: ${error})\n`));
    }
  }

  #receive(line) {
    if (!this.#isBridge) return;
    const message = JSON.parse(line);
    if (message.method !== undefined) return;
    const waiting = this.#pending.get(message.id);
    if (message.error) waiting?.reject(new Error(`error answer: ${JSON.stringify(message.error)}`));
    else waiting?.resolve(message.result);
  }

  #refuseAll(error) {
    for (const { reject } of this.#pending.values()) reject(error);
  }
}

/** Ends, by their ids, programs that a failed step left behind. */
export async function endAll() {
  const left = [...running];
  await Promise.all(
    left.map((child) => {
      const gone = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
      child.kill("SIGKILL");
      return gone;
    }),
  );
}

/** A person who waits for programs that open the browser before they listen. */
export function patientPerson(options) {
  return new Person({ ...options, patient: true });
}
