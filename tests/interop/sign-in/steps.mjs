// The steps, each in a world of its own: what a person does, what the programs must answer, and how often anybody was
// asked to sign in.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { privateAuthority } from "./certificates.mjs";
import { OwnServer } from "./own-server.mjs";
import { Person } from "./person.mjs";
import { Program, patientPerson } from "./program.mjs";
import { Authority, MACHINE } from "./provider.mjs";
import { NameProxy } from "./proxy.mjs";
import { ProtectedServer } from "./servers.mjs";

/** The life of a token that runs out during a step, and how long it is used then. In seconds. */
const SHORT_LIFE = 2;
const SHORT_USE = 8;

const SECOND = 1000;

/** `[name, (world) => …]`. */
export const STEPS = [
  ["oidc-provider: register, sign in, call", registerAndCall],
  ["oidc-provider: a restart needs nobody", restartWithoutSignIn],
  ["oidc-provider: tokens of two seconds are refreshed, every refresh token once", shortTokens],
  ["oidc-provider: several programs at once, one sign-in", severalAtOnce],
  ["oidc-provider: device flow", deviceFlow],
  ["oidc-provider: client credentials", clientCredentials],
  ["oidc-provider: logout revokes, the next start signs in again", logout],
  ["set-up a: private CA, name and scope as configured", setUpA],
  ["set-up b: consent page, metadata at the root alone, Streamable HTTP", (world) => setUpB(world, "/mcp")],
  ["set-up b: consent page, metadata at the root alone, HTTP+SSE", (world) => setUpB(world, "/sse")],
  ["set-up c: expiry without refresh token, one new sign-in", expiryWithoutRefresh],
  ["set-up c: restart forgets registrations, one new sign-in", restartForgetsRegistrations],
  ["mcp-remote first, then the bridge: oidc-provider", (world) => sideBySide(world, certified, mcpRemote, bridge)],
  ["mcp-remote first, then the bridge: own server", (world) => sideBySide(world, own, mcpRemote, bridge)],
  ["the bridge first, then mcp-remote: oidc-provider", (world) => sideBySide(world, certified, bridge, mcpRemote)],
  ["the bridge first, then mcp-remote: own server", (world) => sideBySide(world, own, bridge, mcpRemote)],
  ["mcp-remote's expired token is refreshed by the bridge", (world) => refreshOther(world, mcpRemote, bridge)],
  ["the bridge's expired token is refreshed by mcp-remote", (world) => refreshOther(world, bridge, mcpRemote)],
];

async function registerAndCall(world) {
  const { authority, url } = await certified(world);
  const program = await bridge(world, url);
  await program.echo("hello");
  assert.deepEqual([authority.counts.registered, authority.counts.signedIn, program.links.length], [1, 1, 1]);
  assert.deepEqual(authority.counts.errors, []);
  await program.close();
}

async function restartWithoutSignIn(world) {
  const { authority, url } = await certified(world);
  await use(await bridge(world, url));
  await use(await bridge(world, url));
  assert.deepEqual([authority.counts.registered, authority.counts.signedIn], [1, 1]);
}

async function shortTokens(world) {
  const { authority, url } = await certified(world);
  authority.life = SHORT_LIFE;
  const program = await bridge(world, url);
  await keepCalling([program], SHORT_USE);
  await program.close();
  await use(await bridge(world, url));
  const { signedIn, refreshed, familiesRevoked } = authority.counts;
  assert.deepEqual({ signedIn, familiesRevoked }, { signedIn: 1, familiesRevoked: 0 });
  assert.ok(refreshed >= SHORT_USE / SHORT_LIFE / 2, `refreshed ${refreshed} times`);
}

async function severalAtOnce(world) {
  const { authority, url } = await certified(world);
  authority.life = SHORT_LIFE;
  const programs = await Promise.all(Array.from({ length: 4 }, () => bridge(world, url)));
  await keepCalling(programs, SHORT_USE);
  const { registered, signedIn, familiesRevoked } = authority.counts;
  assert.deepEqual({ registered, signedIn, familiesRevoked }, { registered: 1, signedIn: 1, familiesRevoked: 0 });
  await Promise.all(programs.map((program) => program.close()));
}

async function deviceFlow(world) {
  const { authority, url } = await certified(world);
  const program = start(world, Program.bridge, [url, "--device-code"], new Person());
  const ready = program.initialize();
  const [page] = await program.waitStderr(new RegExp(`${authority.issuer}/device\\b`));
  const [code] = await program.waitStderr(/\b[A-Z]{4}-[A-Z]{4}\b/);
  await new Person().open(`${page}?user_code=${code}`);
  await ready;
  await program.echo("from a television");
  await program.close();
  await use(await bridge(world, url, ["--device-code"]));
  const { registered, signedIn, errors } = authority.counts;
  const strange = errors.filter((error) => !/authorization_pending|slow_down/.test(error));
  assert.deepEqual({ registered, signedIn, strange }, { registered: 1, signedIn: 1, strange: [] });
}

async function clientCredentials(world) {
  const { authority, url } = await certified(world);
  const info = join(world.home, "client.json");
  await writeFile(info, JSON.stringify(MACHINE), { mode: 0o600 });
  const program = await bridge(world, url, ["--client-credentials", "--static-oauth-client-info", `@${info}`]);
  await program.echo("nobody is here");
  const { registered, signedIn, errors } = authority.counts;
  assert.deepEqual({ registered, signedIn, errors }, { registered: 0, signedIn: 0, errors: [] });
  assert.deepEqual(program.links, []);
  await program.close();
}

async function logout(world) {
  const { authority, url } = await certified(world);
  await use(await bridge(world, url));
  const command = start(world, Program.bridge, ["logout", url]);
  assert.equal(await command.ended(), 0);
  assert.ok(authority.counts.revoked > 0, "nothing was revoked");
  await use(await bridge(world, url));
  assert.equal(authority.counts.signedIn, 2);
}

async function setUpA(world) {
  const tls = privateAuthority("mcp.demo.example");
  const ca = join(world.home, "example.ca.crt");
  await writeFile(ca, tls.ca);
  const proxy = keep(world, await NameProxy.start(tls.name));
  const { authority, url, scopes } = await certified(world, tls);
  const person = new Person({ ca: tls.ca, hosts: { [tls.name]: "127.0.0.1" } });
  const metadata = '{ "client_name": "Claude (curity-demo)", "scope": "stocks/read" }';
  const words = [url, "--static-oauth-client-metadata", metadata, "--no-browser"];
  const env = { NODE_EXTRA_CA_CERTS: ca, HTTPS_PROXY: proxy.url };
  const program = start(world, Program.bridge, words, person, env);
  await use(program);
  const [client] = authority.clients;
  assert.deepEqual([client.client_name, client.scope], ["Claude (curity-demo)", "stocks/read"]);
  assert.deepEqual([...scopes], ["stocks/read"]);
  assert.deepEqual([authority.counts.registered, authority.counts.signedIn], [1, 1]);
  assert.ok(proxy.tunnels > 0);
}

async function setUpB(world, path) {
  const server = keep(world, await OwnServer.start({ atRoot: true }));
  const url = server.mcp.url(path);
  const program = await bridge(world, url);
  await program.echo("through the consent page");
  await program.close();
  await use(await bridge(world, url));
  assert.deepEqual([server.counts.registered, server.counts.consents], [1, 1]);
}

async function expiryWithoutRefresh(world) {
  const server = keep(world, await OwnServer.start({ refreshTokens: false }));
  const program = await bridge(world, server.mcp.url());
  await program.echo("before");
  server.expire();
  await Promise.all([program.echo("after"), program.echo("after, too")]);
  await program.echo("later");
  assert.deepEqual([server.counts.consents, program.links.length], [2, 2]);
  await program.close();
}

async function restartForgetsRegistrations(world) {
  const server = keep(world, await OwnServer.start({ refreshTokens: false }));
  const program = await bridge(world, server.mcp.url());
  await program.echo("before");
  await server.restart();
  await program.echo("after");
  await program.echo("later");
  assert.deepEqual([server.counts.registered, server.counts.consents, program.links.length], [2, 2, 2]);
  await program.close();
}

/** Signs in with one program; the other needs nobody, and the first does not either when it comes back. */
async function sideBySide(world, serve, first, second) {
  const { url, signIns } = await serve(world);
  for (const open of [first, second, first]) await use(await open(world, url));
  assert.equal(signIns(), 1, "sign-ins");
}

/** One program signs in, its token runs out, the other one refreshes it, and the first goes on with that. */
async function refreshOther(world, first, second) {
  const { authority, url } = await certified(world);
  authority.life = SHORT_LIFE;
  await use(await first(world, url));
  await sleep((SHORT_LIFE + 1) * SECOND);
  await use(await second(world, url));
  authority.life = 3600;
  await sleep((SHORT_LIFE + 1) * SECOND);
  await use(await first(world, url));
  const { registered, signedIn, familiesRevoked } = authority.counts;
  assert.deepEqual({ registered, signedIn, familiesRevoked }, { registered: 1, signedIn: 1, familiesRevoked: 0 });
  assert.ok(authority.counts.refreshed >= 2);
}

/** oidc-provider, and an MCP server that takes its tokens. */
async function certified(world, tls) {
  const authority = keep(world, await Authority.start({ tls }));
  const scopes = new Set();
  const mcp = keep(
    world,
    await ProtectedServer.start({
      tls,
      check: async (token, resource) => {
        const good = await authority.check(token, resource);
        if (good) scopes.add(await authority.scopeOf(token));
        return good;
      },
      describe: () => ({ authorization_servers: [authority.issuer], scopes_supported: ["stocks/read"] }),
    }),
  );
  return { authority, scopes, url: mcp.url(), signIns: () => authority.counts.signedIn };
}

/** A server that somebody wrote on their own. */
async function own(world) {
  const server = keep(world, await OwnServer.start());
  return { url: server.mcp.url(), signIns: () => server.counts.consents };
}

/** The bridge without a browser, with a person who follows its link; initialized. */
async function bridge(world, url, options = []) {
  const program = start(world, Program.bridge, [url, "--no-browser", ...options], new Person());
  await program.initialize();
  return program;
}

/** mcp-remote with a patient person; initialized. */
async function mcpRemote(world, url) {
  const program = start(world, Program.mcpRemote, [url], patientPerson());
  await program.initialize();
  return program;
}

function start(world, make, words, person, env) {
  const program = make(words, { home: world.home, person, env });
  world.programs.push(program);
  return program;
}

/** One conversation to its end. */
async function use(program) {
  if (!program.initialized) await program.initialize();
  await program.echo("once");
  await program.close();
}

/** Calls on every program, one call after the other, for some seconds. */
async function keepCalling(programs, seconds) {
  const end = Date.now() + seconds * SECOND;
  const calls = programs.map(async (program) => {
    for (let n = 0; Date.now() < end; n += 1) {
      await program.echo(`call ${n}`);
      await sleep(200);
    }
  });
  await Promise.all(calls);
}

function keep(world, server) {
  world.servers.push(server);
  return server;
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
