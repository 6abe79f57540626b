// A client built on SDK v2: modern only, or `auto`, which is legacy where the probe says so.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { CAPABILITIES, INFO, Person } from "./person.mjs";
import { Recorder } from "./recorder.mjs";

const LOG_LEVEL = "io.modelcontextprotocol/logLevel";

export class ModernHost {
  person = new Person();
  recorder = new Recorder();
  /** Change notices that reached the application: "tools", or a resource URI. */
  changes = [];

  #client;
  #logLevel;

  /** `kind` is "modern" or "auto". */
  constructor(kind) {
    const mode = kind === "auto" ? "auto" : { pin: "2026-07-28" };
    this.#client = new Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
  }

  async connect(command, args) {
    const client = this.#client;
    client.setRequestHandler("elicitation/create", ({ params }) => this.person.elicit(params));
    client.setRequestHandler("sampling/createMessage", ({ params }) => this.person.sample(params));
    client.setRequestHandler("roots/list", () => this.person.roots());
    client.setNotificationHandler("notifications/tools/list_changed", () => void this.changes.push("tools"));
    client.setNotificationHandler("notifications/resources/updated", ({ params }) => void this.changes.push(params.uri));
    const transport = new StdioClientTransport({ command, args, env: process.env, stderr: "inherit" });
    this.recorder.attach(transport);
    await client.connect(transport);
  }

  get sdk() {
    return this.#client;
  }

  get era() {
    return this.#client.getProtocolEra();
  }

  call(name, args = {}, options = {}) {
    const meta = this.#logLevel && { _meta: { [LOG_LEVEL]: this.#logLevel } };
    return this.#client.callTool({ name, arguments: args, ...meta }, options);
  }

  /** The least severe level of the logs that are wanted from now on. */
  async wantLogs(level) {
    if (this.era === "modern") this.#logLevel = level;
    else await this.#client.setLoggingLevel(level);
  }

  async watchTools() {
    if (this.era === "modern") await this.#listen({ toolsListChanged: true });
  }

  async watchResource(uri) {
    if (this.era === "modern") await this.#listen({ resourceSubscriptions: [uri] });
    else await this.#client.subscribeResource({ uri });
  }

  async #listen(filter) {
    const { honoredFilter } = await this.#client.listen(filter);
    const refused = Object.keys(filter).filter((key) => JSON.stringify(honoredFilter[key]) !== JSON.stringify(filter[key]));
    if (refused.length > 0) throw new Error(`not acknowledged: ${refused}`);
  }

  async ping() {
    await this.#client.ping();
  }

  close() {
    return this.#client.close();
  }
}
