// What the client does by itself, with a `fetch` of the test's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { inspect } from "node:util";

import * as esm from "@infisical/agent-vault-sdk";

const { AbortedError, AgentVault, AgentVaultError, ApiError, NetworkError, TimeoutError, VaultClient, buildProxyEnv, VERSION } = esm;
const TOKEN = "av_agt_secret-token";

/** A `fetch` that gives these answers in turn, and the requests that it saw. */
function scripted(...answers) {
  const seen = [];
  const fetch = async (url, init) => {
    seen.push({ url, ...init });
    const answer = answers[Math.min(seen.length, answers.length) - 1];
    if (answer instanceof Error) throw answer;
    return typeof answer === "function" ? answer(init) : answer.clone();
  };
  return { fetch, seen };
}
const json = (status, body, headers) => new Response(JSON.stringify(body), { status, headers });
const client = (fetch, more) => new AgentVault({ token: TOKEN, address: "http://vault.test/", fetch, ...more });

test("both module formats have the same exports", () => {
  const cjs = createRequire(import.meta.url)("@infisical/agent-vault-sdk");
  assert.deepEqual(Object.keys(cjs).sort(), Object.keys(esm).sort());
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  assert.equal(VERSION, version);
});

test("token and address come from arguments, then from the environment", async () => {
  const saved = { ...process.env };
  try {
    delete process.env.AGENT_VAULT_TOKEN;
    assert.throws(() => new AgentVault(), AgentVaultError);
    process.env.AGENT_VAULT_TOKEN = "from-environment";
    process.env.AGENT_VAULT_ADDR = "http://from.environment//";
    process.env.AGENT_VAULT_VAULT = "chosen";
    assert.throws(() => new AgentVault({ token: "" }), /token is required/);
    const { fetch, seen } = scripted(json(200, { vaults: [], keys: [] }));
    await new AgentVault({ fetch }).listVaults();
    await client(fetch).listVaults();
    const vault = new VaultClient({ fetch });
    assert.equal(vault.name, "chosen");
    await vault.credentials.list();
    assert.deepEqual(
      seen.map(({ url, headers }) => [url, headers.authorization, headers["x-vault"], headers["content-type"]]),
      [
        ["http://from.environment/v1/vaults", "Bearer from-environment", undefined, undefined],
        ["http://vault.test/v1/vaults", `Bearer ${TOKEN}`, undefined, undefined],
        ["http://from.environment/v1/credentials?vault=chosen", "Bearer from-environment", "chosen", undefined],
      ],
    );
  } finally {
    process.env = saved;
  }
});

test("only reads are tried again, and waits that the server wants longer are the caller's", async () => {
  const busy = json(503, { error: "busy" });
  const first = scripted(new TypeError("fetch failed"), busy, json(200, { vaults: [] }));
  assert.deepEqual(await client(first.fetch).listVaults(), []);
  assert.equal(first.seen.length, 3);

  const write = scripted(busy);
  await assert.rejects(client(write.fetch).createVault({ name: "a" }), (error) => error.status === 503);
  assert.equal(write.seen.length, 1);

  const later = scripted(json(429, { error: "rate_limited" }, { "retry-after": "60" }));
  await assert.rejects(client(later.fetch).listVaults(), (error) => error.retryAfterSeconds === 60);
  assert.equal(later.seen.length, 1);
});

test("errors are typed", async () => {
  const cause = Object.assign(new TypeError("fetch failed"), { cause: new Error("connect ECONNREFUSED") });
  await assert.rejects(client(scripted(cause).fetch, { retries: 0 }).listVaults(), (error) => {
    return error instanceof NetworkError && error.cause === cause && /ECONNREFUSED/.test(error.message);
  });
  const candidates = [{ name: "a", host: "x" }];
  const body = { error: "ambiguous", message: "which?", hint: "say the name", candidates };
  await assert.rejects(client(scripted(json(409, body)).fetch).vault("v").services.remove("x"), (error) => {
    assert.ok(error instanceof ApiError && error instanceof AgentVaultError);
    assert.deepEqual([error.status, error.code, error.message, error.hint], [409, "ambiguous", "which?", "say the name"]);
    assert.deepEqual(error.candidates, candidates);
    return true;
  });
  const page = new Response("<html>", { status: 500, statusText: "Internal Server Error" });
  await assert.rejects(client(scripted(page).fetch).listVaults(), { code: "unknown", message: "Internal Server Error" });
  await assert.rejects(client(scripted(new Response("hello")).fetch).listVaults(), /not JSON/);
});

test("time limit and signal hold while the body is read", async () => {
  const endless = (init) =>
    new Response(new ReadableStream({ start: (stream) => init.signal.addEventListener("abort", () => stream.error(new Error("cut"))) }));
  await assert.rejects(client(scripted(endless).fetch, { timeout: 30 }).listVaults(), (error) => {
    return error instanceof TimeoutError && /timed out after 30 ms/.test(error.message) && /GET \/v1\/vaults/.test(error.message);
  });
  const stop = new AbortController();
  const call = client(scripted(endless).fetch).listVaults({ signal: stop.signal });
  stop.abort("enough");
  await assert.rejects(call, (error) => error instanceof AbortedError && error.cause === "enough");
  const none = scripted(json(200, { vaults: [] }));
  await assert.rejects(client(none.fetch).listVaults({ signal: AbortSignal.abort() }), AbortedError);
  assert.equal(none.seen.length, 0);
});

test("the token shows nowhere", async () => {
  const av = client(scripted(json(401, { error: "unauthorized" })).fetch);
  const error = await av.vault("v").credentials.list().catch((error) => error);
  for (const shown of [av, av.vault("v"), error]) {
    assert.doesNotMatch(inspect(shown, { depth: 20, showHidden: true }), new RegExp(TOKEN));
    assert.doesNotMatch(JSON.stringify(shown), new RegExp(TOKEN));
  }
});

test("a name is one segment of the path", async () => {
  const { fetch, seen } = scripted(json(200, {}));
  const av = client(fetch);
  await av.deleteVault("a b/c");
  await av.vault("v").services.remove("*.example.com");
  assert.deepEqual(seen.map(({ url }) => new URL(url).pathname), ["/v1/vaults/a%20b%2Fc", "/v1/vaults/v/services/*.example.com"]);
  for (const name of ["", ".", ".."]) {
    await assert.rejects(av.deleteVault(name), AgentVaultError);
    await assert.rejects(av.vault("v").services.remove(name), AgentVaultError);
  }
  assert.equal(seen.length, 2);
});

test("a failed read of the CA leaves no token and is not remembered; 404 says that the proxy is off", async () => {
  const minted = { id: "i", token: "a/b", expires_at: "t", av_addr: "http://x" };
  const pem = () => new Response("PEM", { headers: { "x-mitm-port": "15000" } });
  const { fetch, seen } = scripted(json(500, { error: "internal" }), new Response("", { status: 404 }), json(200, minted), pem, json(200, minted), json(200, minted));
  const { sessions } = client(fetch, { address: "http://[::1]:14321" }).vault("v w");
  await assert.rejects(sessions.create(), (error) => error.status === 500);
  assert.equal(seen.length, 1);
  assert.equal((await sessions.create()).containerConfig, null);
  const { containerConfig } = await sessions.create();
  const proxy = "http://a%2Fb:v%20w@[::1]:15000";
  assert.deepEqual(containerConfig, { env: { HTTPS_PROXY: proxy, HTTP_PROXY: proxy, NO_PROXY: "localhost,127.0.0.1,::1" }, caCertificate: "PEM" });
  const elsewhere = await sessions.create({ proxyHost: "host.docker.internal" });
  assert.match(elsewhere.containerConfig.env.HTTPS_PROXY, /@host\.docker\.internal:15000$/);
  assert.equal(elsewhere.containerConfig.env.NO_PROXY, "localhost,127.0.0.1,host.docker.internal");
  assert.equal(seen.length, 6);
});

test("the child's environment", () => {
  const config = { env: { HTTPS_PROXY: "p", HTTP_PROXY: "p", NO_PROXY: "n" }, caCertificate: "PEM" };
  const env = buildProxyEnv(config, "/ca.pem");
  assert.deepEqual(Object.entries(env), [
    ["HTTPS_PROXY", "p"],
    ["HTTP_PROXY", "p"],
    ["NO_PROXY", "n"],
    ["NODE_USE_ENV_PROXY", "1"],
    ["OPENCLAW_PROXY_URL", "p"],
    ...["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "DENO_CERT"].map((name) => [name, "/ca.pem"]),
  ]);
  // Every spelling that `agent-vault run` knows.
  const source = readFileSync(new URL("../../../crates/agent-vault/src/run/environment.rs", import.meta.url), "utf8");
  const wanted = ["PROXY", "NO_PROXY", "BUNDLE"].flatMap((list) => {
    const [, body] = source.match(new RegExp(`\\nconst ${list}: &\\[&str\\] = &\\[(.*?)\\];`, "s"));
    return [...body.matchAll(/"(\w+)"/g)].map(([, name]) => name);
  });
  const all = buildProxyEnv(config, "/ca.pem", { everyRuntime: true });
  assert.deepEqual(Object.keys(all).sort(), [...wanted, "NODE_USE_ENV_PROXY"].sort());
});
