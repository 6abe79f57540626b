// What every server of the matrix offers, in every language, under the same names:
//
//   tool               arguments         what it does and says (one text block unless said otherwise)
//   echo               {text}            `text`
//   weather            {city}            structured content {city, degrees: 21.5} and its JSON; `city` is also a header (x-mcp-header: City)
//   fail               {}                isError, "failed on purpose"
//   count              {to}              progress 1, 2 … `to` of `to`, message "step N"; "counted to N"
//   chat               {}                log "info" with data "first", log "error" with data "second"; "logged"
//   ask-model          {prompt}          sampling; "MODEL said: TEXT"
//   ask-form           {}                a form "Which size?" {size: S|M|L}; "accept M", "decline", "cancel"
//   ask-link           {}                a link, LINK below; "accept", "decline", "cancel"
//   ask-both           {}                the form of ask-form and sampling at the same time; "M, TEXT"
//   ask-twice          {}                a form "What is your name?" {name}, then one "Which size, NAME?" {size}; "NAME, M"
//   list-roots         {}                JSON of the list of the client's root URIs
//   meet               {size, label}     answers "met" once `size` calls with this label are running at the same time
//   wait               {label}           one progress report, then runs until cancelled, 20 s at most; "waited"
//   was-cancelled      {label}           "yes" as soon as a `wait` with this label was cancelled, "no" after 5 s
//   add-tool           {name}            a tool `name` like echo joins the list, list change sent; "added"
//   touch              {}                matrix://counter changes by one, update sent; "touched"
//
// Resources matrix://greeting (text "hello"), matrix://pixel (blob PIXEL), matrix://counter (text, a number), template
// matrix://item/{id} (text "item ID"). Prompt greet {name}: user "Please greet NAME". Completion of greet's name among
// NAMES and of the template's id among IDS, by prefix. A tool that cannot ask answers isError.

export const LINK = "https://example.com/consent?a=1&b=%20two";
export const PIXEL = "iVBORw0KGgo=";
export const NAMES = ["Ada", "Alan", "Grace"];
export const IDS = ["1", "10", "2"];
export const COUNTER = "matrix://counter";

/** How long `meet` and `wait` last at most, and how long `was-cancelled` looks. In milliseconds. */
const MEET = 10_000;
const WAIT = 20_000;
const LOOK = 5_000;

const TEXT = { type: "object", properties: { text: { type: "string" } }, required: ["text"] };
const NOTHING = { type: "object", properties: {} };
const SIZE = { type: "object", properties: { size: { type: "string", enum: ["S", "M", "L"] } }, required: ["size"] };
const NAME = { type: "object", properties: { name: { type: "string", minLength: 1 } }, required: ["name"] };
const LABEL = { type: "object", properties: { label: { type: "string" } }, required: ["label"] };

export const INFO = { name: "matrix", version: "1.0.0" };
export const CAPABILITIES = {
  tools: { listChanged: true },
  resources: { subscribe: true },
  prompts: {},
  completions: {},
  logging: {},
};

/** An error of the protocol; both SDKs take `code` and `data` from it. */
class Refusal extends Error {
  constructor(code, message, data) {
    super(message);
    Object.assign(this, { code, data });
  }
}

/** Thrown through a handler of the modern era, whose answer is then the questions. */
export class Questions extends Error {
  constructor(requests) {
    super("input required");
    this.requests = requests;
  }
}

/**
 * The state of one server program. Handlers get the parameters and a context of the SDK's adapter: `era`, `signal`,
 * `ask(questions)`, `progress(done, total, message)`, `log(level, data)`.
 */
export class Offer {
  /** What the adapter sends to everybody who listens. */
  publish = { toolsChanged() {}, resourceUpdated() {} };

  #counter = 0;
  #meetings = new Map();
  #cancelled = new Set();
  #tools = new Map(Object.entries(this.#builtIn()));

  handlers() {
    return {
      "tools/list": () => ({ tools: [...this.#tools].map(([name, { run, ...tool }]) => ({ name, ...tool })) }),
      "tools/call": (params, context) => this.#call(params, context),
      "resources/list": () => ({
        resources: ["greeting", "pixel", "counter"].map((name) => ({ name, uri: `matrix://${name}` })),
      }),
      "resources/templates/list": () => ({ resourceTemplates: [{ name: "item", uriTemplate: "matrix://item/{id}" }] }),
      "resources/read": ({ uri }, context) => ({ contents: [{ uri, ...this.#contents(uri, context) }] }),
      "prompts/list": () => ({
        prompts: [{ name: "greet", description: "Greets", arguments: [{ name: "name", required: true }] }],
      }),
      "prompts/get": (params) => this.#prompt(params),
      "completion/complete": ({ ref, argument }) => {
        const values = (ref.type === "ref/prompt" ? NAMES : IDS).filter((value) => value.startsWith(argument.value));
        return { completion: { values, total: values.length, hasMore: false } };
      },
    };
  }

  async #call({ name, arguments: args = {} }, context) {
    const tool = this.#tools.get(name);
    if (!tool) throw new Refusal(-32_602, `Unknown tool: ${name}`);
    try {
      const result = await tool.run(args, context);
      return typeof result === "string" ? { content: [{ type: "text", text: result }] } : result;
    } catch (error) {
      if (error instanceof Questions) throw error;
      return { content: [{ type: "text", text: error.message }], isError: true };
    }
  }

  #contents(uri, { era }) {
    if (uri === "matrix://greeting") return { mimeType: "text/plain", text: "hello" };
    if (uri === "matrix://pixel") return { mimeType: "image/png", blob: PIXEL };
    if (uri === COUNTER) return { mimeType: "text/plain", text: String(this.#counter) };
    const item = /^matrix:\/\/item\/(\w+)$/.exec(uri);
    if (item) return { mimeType: "text/plain", text: `item ${item[1]}` };
    throw new Refusal(era === "modern" ? -32_602 : -32_002, "Resource not found", { uri });
  }

  #prompt({ name, arguments: args }) {
    if (name !== "greet" || !args?.name) throw new Refusal(-32_602, "Invalid prompt or argument");
    return { messages: [{ role: "user", content: { type: "text", text: `Please greet ${args.name}` } }] };
  }

  #builtIn() {
    return {
      echo: { inputSchema: TEXT, run: ({ text }) => text },
      weather: {
        inputSchema: {
          type: "object",
          properties: { city: { type: "string", "x-mcp-header": "City" } },
          required: ["city"],
        },
        outputSchema: {
          type: "object",
          properties: { city: { type: "string" }, degrees: { type: "number" } },
          required: ["city", "degrees"],
        },
        run: ({ city }) => {
          const structuredContent = { city, degrees: 21.5 };
          return { content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent };
        },
      },
      fail: {
        inputSchema: NOTHING,
        run: () => {
          throw new Error("failed on purpose");
        },
      },
      count: {
        inputSchema: { type: "object", properties: { to: { type: "integer" } }, required: ["to"] },
        run: async ({ to }, context) => {
          for (let step = 1; step <= to; step += 1) await context.progress(step, to, `step ${step}`);
          return `counted to ${to}`;
        },
      },
      chat: {
        inputSchema: NOTHING,
        run: async (_, context) => {
          await context.log("info", "first");
          await context.log("error", "second");
          return "logged";
        },
      },
      "ask-model": {
        inputSchema: { type: "object", properties: { prompt: { type: "string" } }, required: ["prompt"] },
        run: async ({ prompt }, context) => {
          const { answer } = await context.ask({ answer: model(prompt) });
          return `${answer.model} said: ${answer.content.text}`;
        },
      },
      "ask-form": {
        inputSchema: NOTHING,
        run: async (_, context) => {
          const { size } = await context.ask({ size: form("Which size?", SIZE) });
          return size.action === "accept" ? `accept ${size.content.size}` : size.action;
        },
      },
      "ask-link": {
        inputSchema: NOTHING,
        run: async (_, context) => {
          const { consent } = await context.ask({ consent: link("Please agree", LINK) });
          return consent.action;
        },
      },
      "ask-both": {
        inputSchema: NOTHING,
        run: async (_, context) => {
          const { size, answer } = await context.ask({ size: form("Which size?", SIZE), answer: model("both") });
          return `${size.content.size}, ${answer.content.text}`;
        },
      },
      "ask-twice": {
        inputSchema: NOTHING,
        run: async (_, context) => {
          const { who } = await context.ask({ who: form("What is your name?", NAME) });
          const { size } = await context.ask({ size: form(`Which size, ${who.content.name}?`, SIZE) });
          return `${who.content.name}, ${size.content.size}`;
        },
      },
      "list-roots": {
        inputSchema: NOTHING,
        run: async (_, context) => {
          const { list } = await context.ask({ list: { method: "roots/list" } });
          return JSON.stringify(list.roots.map((root) => root.uri));
        },
      },
      meet: {
        inputSchema: {
          type: "object",
          properties: { size: { type: "integer" }, label: { type: "string" } },
          required: ["size", "label"],
        },
        run: (args) => this.#meet(args),
      },
      wait: { inputSchema: LABEL, run: (args, context) => this.#wait(args, context) },
      "was-cancelled": {
        inputSchema: LABEL,
        run: async ({ label }) => {
          for (const end = Date.now() + LOOK; Date.now() < end && !this.#cancelled.has(label); ) await sleep(20);
          return this.#cancelled.has(label) ? "yes" : "no";
        },
      },
      "add-tool": {
        inputSchema: NAME,
        run: ({ name }) => {
          this.#tools.set(name, { inputSchema: TEXT, run: ({ text }) => text });
          this.publish.toolsChanged();
          return "added";
        },
      },
      touch: {
        inputSchema: NOTHING,
        run: () => {
          this.#counter += 1;
          this.publish.resourceUpdated(COUNTER);
          return "touched";
        },
      },
    };
  }

  async #meet({ size, label }) {
    const meeting = this.#meetings.get(label) ?? { present: 0, ...Promise.withResolvers() };
    this.#meetings.set(label, meeting);
    meeting.present += 1;
    if (meeting.present >= size) meeting.resolve(true);
    const met = await Promise.race([meeting.promise, sleep(MEET)]);
    if (!met) throw new Error(`only ${meeting.present} of ${size} came`);
    return "met";
  }

  async #wait({ label }, { signal, progress }) {
    const cancelled = new Promise((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", resolve);
    }).then(() => this.#cancelled.add(label));
    await progress(1, 2, "waiting");
    await Promise.race([cancelled, sleep(WAIT)]);
    return "waited";
  }
}

function form(message, requestedSchema) {
  return { method: "elicitation/create", params: { mode: "form", message, requestedSchema } };
}

function link(message, url) {
  return { method: "elicitation/create", params: { mode: "url", message, url } };
}

function model(text) {
  const messages = [{ role: "user", content: { type: "text", text } }];
  return { method: "sampling/createMessage", params: { messages, maxTokens: 100 } };
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
}
