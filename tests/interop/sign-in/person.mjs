// The person with a browser: opens a sign-in link, goes where the pages lead, fills in every form and agrees.

import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

/** Most pages that one sign-in may have, and how long each may take. In milliseconds. */
const PAGES = 20;
const PAGE_DEADLINE = 10_000;

/** How long a patient person waits for somebody to listen, and between two looks. In milliseconds. */
const PATIENCE = 10_000;
const PAUSE = 100;

/** The different sign-in links in a text, in order. */
export function linksIn(text) {
  const words = text.split(/[\s<>"']+/).filter((word) => /:\/\/.*[?&]response_type=code\b/.test(word));
  return [...new Set(words)];
}

/**
 * One browser with its cookies. `ca` is trusted and nothing else is; `hosts` maps names to addresses. A patient person
 * loads a page again while nobody listens there: mcp-remote may open the browser before it listens.
 */
export class Person {
  #cookies = new Map();
  #ca;
  #hosts;
  #patient;

  constructor({ ca, hosts = {}, patient = false } = {}) {
    this.#ca = ca;
    this.#hosts = hosts;
    this.#patient = patient;
  }

  /** Follows a link to its end; every page on the way, the last one last. */
  async open(link) {
    const pages = [];
    let next = { method: "GET", url: new URL(link) };
    while (next !== undefined) {
      if (pages.length === PAGES) throw new Error(`no end after ${PAGES} pages: ${pages.map(({ url }) => url).join(" ")}`);
      const page = await this.#loadPatiently(next);
      pages.push(page);
      next = nextStep(page);
    }
    return pages;
  }

  async #loadPatiently(step) {
    const end = Date.now() + (this.#patient ? PATIENCE : 0);
    for (;;) {
      try {
        return await this.#load(step);
      } catch (error) {
        if (error.code !== "ECONNREFUSED" || Date.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }

  async #load({ method, url, form }) {
    const body = form === undefined ? undefined : new URLSearchParams(form).toString();
    const headers = { accept: "text/html", "sec-fetch-mode": "navigate", connection: "close" };
    const cookies = this.#cookies.get(url.host);
    if (cookies !== undefined) headers.cookie = [...cookies].map((pair) => pair.join("=")).join("; ");
    if (body !== undefined) {
      Object.assign(headers, { "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) });
    }
    const ask = url.protocol === "https:" ? httpsRequest : httpRequest;
    const options = { method, headers, ca: this.#ca, signal: AbortSignal.timeout(PAGE_DEADLINE) };
    const address = this.#hosts[url.hostname];
    if (address !== undefined) {
      const answer = { address, family: 4 };
      options.lookup = (_name, { all }, done) => (all ? done(null, [answer]) : done(null, answer.address, answer.family));
    }
    return new Promise((resolve, reject) => {
      const request = ask(url, options, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
        response.on("error", reject);
        response.on("end", () => {
          this.#remember(url.host, response.headers["set-cookie"] ?? []);
          resolve({ url: url.href, status: response.statusCode, location: response.headers.location, body: text });
        });
      });
      request.on("error", reject).end(body);
    });
  }

  #remember(host, lines) {
    const cookies = this.#cookies.get(host) ?? new Map();
    for (const line of lines) {
      const [, name, value] = /^([^=;]+)=([^;]*)/.exec(line);
      if (value === "") cookies.delete(name);
      else cookies.set(name, value);
    }
    this.#cookies.set(host, cookies);
  }
}

/** Where a page leads: a redirect, or its first form filled in; nowhere at the end. */
function nextStep({ url, status, location, body }) {
  if (status >= 300 && status < 400 && location !== undefined) return { method: "GET", url: new URL(location, url) };
  const form = /<form\b([^>]*)>([\s\S]*?)<\/form>/i.exec(body);
  if (status !== 200 || form === null) return undefined;
  const [, head, fields] = form;
  const values = [...fields.matchAll(/<(?:input|button)\b([^>]*)>/gi)].map(([, input]) => {
    const type = attribute(input, "type");
    const given = attribute(input, "value");
    return [attribute(input, "name"), given ?? (type === "password" ? "a password" : "person")];
  });
  const action = attribute(head, "action");
  return {
    method: (attribute(head, "method") ?? "get").toUpperCase(),
    url: new URL(action ?? "", url),
    form: values.filter(([name]) => name !== undefined),
  };
}

function attribute(text, name) {
  const found = new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, "i").exec(text);
  return (found?.[1] ?? found?.[2])?.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&amp;", "&");
}
