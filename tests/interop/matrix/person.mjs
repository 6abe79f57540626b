// Who answers the questions of the servers: the same person, model and folders behind every client.

export const INFO = { name: "matrix-client", version: "1.0.0" };
export const CAPABILITIES = { roots: {}, sampling: {}, elicitation: { form: {}, url: {} } };
export const ROOTS = [{ uri: "file:///srv/one", name: "One" }, { uri: "file:///srv/two%20words" }];

export class Person {
  /** What is said to the next forms and links: "accept", "decline". */
  mood = "accept";
  /** The parameters of every question, in order. */
  heard = [];

  elicit(params) {
    this.heard.push(params);
    if (this.mood !== "accept") return { action: this.mood };
    if (params.mode === "url") return { action: "accept" };
    const content = {};
    if (params.requestedSchema.properties.name) content.name = "Ada";
    if (params.requestedSchema.properties.size) content.size = "M";
    return { action: "accept", content };
  }

  sample(params) {
    this.heard.push(params);
    const said = [params.messages[0].content].flat()[0].text;
    return { role: "assistant", model: "matrix-model", stopReason: "endTurn", content: { type: "text", text: `heard ${said}` } };
  }

  roots() {
    return { roots: ROOTS };
  }
}
