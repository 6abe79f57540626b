// A client built on SDK v1: it opens with `initialize`.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { CAPABILITIES, INFO, Person } from "./person.mjs";
import { Recorder } from "./recorder.mjs";

export class LegacyHost {
  era = "legacy";
  person = new Person();
  recorder = new Recorder();
  /** Change notices that reached the application: "tools", or a resource URI. */
  changes = [];

  #client = new Client(INFO, { capabilities: CAPABILITIES });

  async connect(command, args) {
    const client = this.#client;
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => this.person.elicit(params));
    client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => this.person.sample(params));
    client.setRequestHandler(ListRootsRequestSchema, () => this.person.roots());
    client.setNotificationHandler(ToolListChangedNotificationSchema, () => void this.changes.push("tools"));
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void this.changes.push(params.uri));
    const transport = new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
    this.recorder.attach(transport);
    await client.connect(transport);
  }

  get sdk() {
    return this.#client;
  }

  call(name, args = {}, options = {}) {
    return this.#client.callTool({ name, arguments: args }, CallToolResultSchema, options);
  }

  /** The least severe level of the logs that are wanted from now on. */
  async wantLogs(level) {
    await this.#client.setLoggingLevel(level);
  }

  /** Legacy servers tell of changed tools unasked. */
  async watchTools() {}

  async watchResource(uri) {
    await this.#client.subscribeResource({ uri });
  }

  async ping() {
    await this.#client.ping();
  }

  close() {
    return this.#client.close();
  }
}
