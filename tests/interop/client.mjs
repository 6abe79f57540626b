// An SDK client that writes down every message it receives, and answers the server's questions in a fixed way.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTaskStore } from "@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  McpError,
  ResultSchema,
} from "@modelcontextprotocol/sdk/types.js";

/** How long one request, or one wait for a message, may take. In milliseconds. */
const DEADLINE = 30_000;

/** A legacy client with every capability the reference server asks about. */
export class RecordingClient {
  /** Every message from the other side, in the order of arrival. */
  messages = [];
  /** Input that was no JSON-RPC message, as the SDK reports it. */
  strays = [];
  /** What the person says to the next form or link; a function may throw to answer with an error. */
  elicitation = () => ({ action: "cancel" });
  roots = [{ uri: "file:///srv/one", name: "One" }];

  #waiters = new Set();
  #sdk = new Client(
    { name: "interop", title: "Interop", version: "1.0.0" },
    {
      capabilities: {
        roots: { listChanged: true },
        sampling: {},
        elicitation: { form: {}, url: {} },
        tasks: { list: {}, cancel: {}, requests: { sampling: { createMessage: {} }, elicitation: { create: {} } } },
      },
      taskStore: new InMemoryTaskStore(),
    },
  );

  async connect(transport) {
    transport.onmessage = (message) => this.#record(message);
    this.#sdk.onerror = (error) => {
      if (error.name === "SyntaxError" || error.name === "ZodError") this.strays.push(String(error));
    };
    this.#sdk.setRequestHandler(ListRootsRequestSchema, () => ({ roots: this.roots }));
    this.#sdk.setRequestHandler(ElicitRequestSchema, (request, extra) =>
      asTaskIfAsked(request, extra, () => this.elicitation(request.params)),
    );
    this.#sdk.setRequestHandler(CreateMessageRequestSchema, (request, extra) =>
      asTaskIfAsked(request, extra, () => ({
        role: "assistant",
        model: "interop-model",
        stopReason: "endTurn",
        content: { type: "text", text: `heard: ${request.params.messages[0].content.text}` },
      })),
    );
    await this.#sdk.connect(transport, { timeout: DEADLINE });
  }

  /** The result as it came, or `{ error }`. */
  async request(method, params, options = {}) {
    try {
      return await this.#sdk.request({ method, params }, ResultSchema, { timeout: DEADLINE, ...options });
    } catch (error) {
      if (!(error instanceof McpError)) throw error;
      return { error: { code: error.code, message: error.message, data: error.data } };
    }
  }

  call(name, args = {}, options) {
    return this.request("tools/call", { name, arguments: args }, options);
  }

  notify(method, params) {
    return this.#sdk.notification({ method, params });
  }

  /** The first message from position `from` on that `wanted` accepts, now or later. */
  waitFor(what, wanted, from = 0) {
    const found = this.messages.slice(from).find(wanted);
    if (found) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const waiter = (message) => {
        if (!wanted(message)) return;
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve(message);
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new Error(`no ${what} within ${DEADLINE} ms`));
      }, DEADLINE);
      this.#waiters.add(waiter);
    });
  }

  close() {
    return this.#sdk.close();
  }

  #record(message) {
    this.messages.push(structuredClone(message));
    for (const waiter of this.#waiters) waiter(message);
  }
}

/** Answers at once, or through a task that is complete before the server can poll it. */
async function asTaskIfAsked(request, extra, answer) {
  if (!request.params.task) return answer();
  const task = await extra.taskStore.createTask({ ttl: request.params.task.ttl, pollInterval: 100 });
  await extra.taskStore.storeTaskResult(task.taskId, "completed", answer());
  return { task };
}
