// The certified authorization server, npm oidc-provider, set up as strictly as it goes: PKCE always, rotation of refresh
// tokens with detection of reuse, resource indicators, registration, the device flow, client credentials, revocation.

import Provider from "oidc-provider";
import { WebServer } from "./servers.mjs";

/** The one client that nobody registers. */
export const MACHINE = { client_id: "machine", client_secret: "a secret: with % and +" };

/** What is only for development is what this is for: no need to say so at every start. */
for (const method of ["info", "warn"]) {
  const say = console[method].bind(console);
  console[method] = (...words) => (String(words[0]).startsWith("oidc-provider ") ? undefined : say(...words));
}

export class Authority {
  /** How long an access token lives from now on. In seconds. */
  life = 3600;
  counts = { registered: 0, signedIn: 0, refreshed: 0, revoked: 0, familiesRevoked: 0, errors: [] };
  /** Clients as they registered, in order. */
  clients = [];

  #provider;
  #web;

  static async start({ tls, scope = "stocks/read" } = {}) {
    const authority = new Authority();
    let answer;
    authority.#web = await WebServer.start((request, response) => answer(request, response), tls);
    authority.issuer = authority.#web.origin;
    authority.#provider = new Provider(authority.issuer, {
      clients: [
        {
          ...MACHINE,
          grant_types: ["client_credentials"],
          redirect_uris: [],
          response_types: [],
          token_endpoint_auth_method: "client_secret_basic",
        },
      ],
      clientAuthMethods: ["none", "client_secret_basic", "client_secret_post"],
      cookies: { keys: ["a key for cookies"] },
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: true },
        deviceFlow: { enabled: true },
        registration: { enabled: true },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => [],
          getResourceServerInfo: (_ctx, resource) => ({
            scope,
            audience: resource,
            accessTokenFormat: "opaque",
            accessTokenTTL: authority.life,
          }),
        },
        revocation: { enabled: true },
      },
      issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
      pkce: { required: () => true },
      rotateRefreshToken: true,
      scopes: ["openid", "offline_access", "profile", "email", scope],
      ttl: { Session: 3600, Grant: 3600, Interaction: 3600, IdToken: 3600, RefreshToken: 3600 },
    });
    authority.#listen();
    answer = authority.#provider.callback();
    return authority;
  }

  /** Whether a token is alive, and for this resource. */
  async check(token, resource) {
    const { AccessToken, ClientCredentials } = this.#provider;
    const found = (await AccessToken.find(token)) ?? (await ClientCredentials.find(token));
    return found?.isValid === true && found.aud === resource;
  }

  /** The scope of a live token. */
  async scopeOf(token) {
    return (await this.#provider.AccessToken.find(token))?.scope;
  }

  close() {
    return this.#web.close();
  }

  #listen() {
    const { counts, clients } = this;
    this.#provider.on("registration_create.success", (_ctx, client) => {
      counts.registered += 1;
      clients.push(client.metadata());
    });
    this.#provider.on("authorization.success", () => (counts.signedIn += 1));
    this.#provider.on("grant.success", (ctx) => {
      if (ctx.oidc.params.grant_type === "refresh_token") counts.refreshed += 1;
    });
    this.#provider.on("grant.revoked", () => (counts.familiesRevoked += 1));
    for (const kind of ["access_token", "refresh_token"]) {
      this.#provider.on(`${kind}.destroyed`, () => (counts.revoked += 1));
    }
    const kinds = ["authorization", "grant", "registration_create", "revocation", "device_authorization"];
    for (const event of [...kinds.map((kind) => `${kind}.error`), "server_error"]) {
      this.#provider.on(event, (_ctx, error) => {
        const text = error.error_detail ?? error.error_description ?? error.message;
        counts.errors.push(`${event}: ${error.error ?? ""} ${text}`);
      });
    }
  }
}
