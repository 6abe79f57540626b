// Every message that reached a client, as it came over the wire, and waiting for what follows from one.

/** How long one wait may take, and the pause between two looks. In milliseconds. */
const DEADLINE = 10_000;
const PAUSE = 10;

export class Recorder {
  messages = [];

  /** Records what `transport` receives. Before the SDK connects it: the SDK calls the handler that was there first. */
  attach(transport) {
    transport.onmessage = (message) => this.messages.push(structuredClone(message));
  }

  /** The notifications of a method from position `from` on. */
  notifications(method, from = 0) {
    return this.messages.slice(from).filter((message) => message.method === method);
  }

  /** Waits until `holds()`. */
  async until(what, holds) {
    for (const end = Date.now() + DEADLINE; !holds(); ) {
      if (Date.now() > end) throw new Error(`no ${what} within ${DEADLINE} ms`);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}
