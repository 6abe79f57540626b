// A server that is everything at once, as people write it themselves: MCP, authorization, its own consent page. Clients
// and tokens live in memory and are gone after a restart.

import { createHash, randomUUID } from "node:crypto";
import { ProtectedServer, readAll, send } from "./servers.mjs";

export class OwnServer {
  counts = { registered: 0, consents: 0, refreshed: 0, unknownClients: 0 };
  /** How long an access token lives from now on. In seconds. */
  life;

  #refreshTokens;
  #clients = new Map();
  #codes = new Map();
  #access = new Map();
  #refresh = new Map();

  static async start({ atRoot = false, refreshTokens = true, life = 3600 } = {}) {
    const own = new OwnServer();
    own.life = life;
    own.#refreshTokens = refreshTokens;
    own.mcp = await ProtectedServer.start({
      atRoot,
      check: (token, resource) => own.#check(token, resource),
      describe: (origin) => ({ authorization_servers: [origin] }),
      more: (request, response, url) => own.#answer(request, response, url),
    });
    return own;
  }

  /** Starts again: registrations, tokens and sessions are forgotten. */
  async restart() {
    for (const memory of [this.#clients, this.#codes, this.#access, this.#refresh]) memory.clear();
    await this.mcp.forgetSessions();
  }

  /** Ends every access token. */
  expire() {
    this.#access.clear();
  }

  close() {
    return this.mcp.close();
  }

  #check(token, resource) {
    const found = this.#access.get(token);
    return found !== undefined && found.until > Date.now() && found.resource === resource;
  }

  async #answer(request, response, url) {
    const { origin } = this.mcp;
    switch (`${request.method} ${url.pathname}`) {
      case "GET /.well-known/oauth-authorization-server":
        return send(response, 200, {
          issuer: origin,
          authorization_endpoint: `${origin}/authorize`,
          token_endpoint: `${origin}/token`,
          registration_endpoint: `${origin}/register`,
          response_types_supported: ["code"],
          grant_types_supported: ["authorization_code", ...(this.#refreshTokens ? ["refresh_token"] : [])],
          code_challenge_methods_supported: ["S256"],
          token_endpoint_auth_methods_supported: ["none"],
        });
      case "POST /register":
        return this.#register(response, JSON.parse(await readAll(request)));
      case "GET /authorize":
        return this.#ask(response, url.searchParams);
      case "POST /consent":
        return this.#consent(response, new URLSearchParams(await readAll(request)));
      case "POST /token":
        return this.#token(response, Object.fromEntries(new URLSearchParams(await readAll(request))));
      default:
        return false;
    }
  }

  #register(response, asked) {
    const client_id = randomUUID();
    this.#clients.set(client_id, asked.redirect_uris);
    this.counts.registered += 1;
    return send(response, 201, { ...asked, client_id, token_endpoint_auth_method: "none" });
  }

  #ask(response, query) {
    if (!this.#clients.get(query.get("client_id"))?.includes(query.get("redirect_uri"))) {
      this.counts.unknownClients += 1;
      return send(response, 400, "<!doctype html><title>Unknown client</title><p>This client is not registered.</p>");
    }
    const fields = [...query].map(([name, value]) => `<input type="hidden" name="${name}" value="${escape(value)}">`);
    const form = `<form method="post" action="/consent">${fields.join("")}<button>Allow</button></form>`;
    return send(response, 200, `<!doctype html><title>Allow?</title>${form}`);
  }

  #consent(response, form) {
    const code = randomUUID();
    this.#codes.set(code, Object.fromEntries(form));
    this.counts.consents += 1;
    const target = new URL(form.get("redirect_uri"));
    target.searchParams.set("code", code);
    target.searchParams.set("state", form.get("state"));
    response.writeHead(302, { location: target.href }).end();
    return true;
  }

  #token(response, form) {
    if (!this.#clients.has(form.client_id)) return send(response, 400, { error: "invalid_client" });
    if (form.grant_type === "refresh_token") {
      const resource = this.#refresh.get(form.refresh_token);
      if (resource === undefined || resource !== form.resource) return send(response, 400, { error: "invalid_grant" });
      this.#refresh.delete(form.refresh_token);
      this.counts.refreshed += 1;
      return this.#issue(response, resource);
    }
    const asked = this.#codes.get(form.code);
    this.#codes.delete(form.code);
    const challenge = createHash("sha256").update(form.code_verifier ?? "").digest("base64url");
    const fits =
      asked !== undefined &&
      asked.client_id === form.client_id &&
      asked.redirect_uri === form.redirect_uri &&
      asked.code_challenge === challenge &&
      asked.resource === form.resource;
    return fits ? this.#issue(response, asked.resource) : send(response, 400, { error: "invalid_grant" });
  }

  #issue(response, resource) {
    const access_token = randomUUID();
    this.#access.set(access_token, { resource, until: Date.now() + this.life * 1000 });
    const answer = { access_token, token_type: "Bearer", expires_in: this.life };
    if (this.#refreshTokens) {
      answer.refresh_token = randomUUID();
      this.#refresh.set(answer.refresh_token, resource);
    }
    return send(response, 200, answer);
  }
}

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}
