// What the client does by itself, with a `fetch` of the test's.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { inspect } from "node:util";

import * as esm from "@infisical/agent-vault-sdk";

const { AbortedError, AgentVault, AgentVaultError, ApiError, ConflictError, ForbiddenError, NetworkError, NotFoundError } = esm;
const { RateLimitedError, StreamEndedError, TimeoutError, UnauthorizedError, VersionConflictError, VaultClient, VERSION } = esm;
const { buildProxyEnv, diffService } = esm;
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

  // With a 429 nothing was done.
  const made = { id: "i", name: "a", created_at: "t" };
  const limited = scripted(json(429, { error: "rate_limited" }), json(201, made));
  assert.equal((await client(limited.fetch).createVault({ name: "a" })).id, "i");
  assert.equal(limited.seen.length, 2);
  const unsent = scripted(new TypeError("fetch failed"));
  await assert.rejects(client(unsent.fetch).createVault({ name: "a" }), NetworkError);
  assert.equal(unsent.seen.length, 1);

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
    assert.equal(String(error), "ConflictError: which? (say the name)");
    return error instanceof ConflictError;
  });
  const kinds = { 401: UnauthorizedError, 403: ForbiddenError, 404: NotFoundError, 412: VersionConflictError, 429: RateLimitedError };
  for (const [status, Kind] of Object.entries(kinds)) {
    await assert.rejects(client(scripted(json(Number(status), {})).fetch, { retries: 0 }).createVault({ name: "a" }), Kind);
  }
  const page = new Response("<html>", { status: 500, statusText: "Internal Server Error" });
  await assert.rejects(client(scripted(page).fetch).listVaults(), { code: "unknown", message: "Internal Server Error" });
  await assert.rejects(client(scripted(new Response("hello")).fetch).listVaults(), (error) => {
    // What is wrong with an answer is said without a part of it.
    return /is not JSON/.test(error.message) && error.cause === undefined && !/hello/.test(inspect(error));
  });
  const other = scripted(json(200, { vaults: [{ id: 7, name: "secret" }] }));
  await assert.rejects(client(other.fetch).listVaults(), (error) => {
    return /`vaults\[0\]\.created_at` is not text|`vaults\[0\]\.id` is not text/.test(error.message) && !/secret/.test(inspect(error));
  });
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

test("secrets show nowhere: not in errors, not in what is printed", async () => {
  for (const token of ["secret\n", "secret token", "secr\u00e9t", "\0secret"]) {
    assert.throws(() => new AgentVault({ token }), (error) => error instanceof AgentVaultError && !/secr/.test(inspect(error)));
  }
  for (const address of ["http://user:secret@vault.test", "secret", "ftp://secret", "http://vault.test?secret", "http://vault.test#secret"]) {
    assert.throws(() => new AgentVault({ token: TOKEN, address }), (error) => error instanceof AgentVaultError && !/secret/.test(inspect(error)));
  }
  assert.throws(() => new AgentVault({ token: TOKEN, headers: { "x-a": "secret\n\0" } }), (error) => /x-a/.test(error.message) && !/secret/.test(inspect(error)));

  // Another server may answer with what it was sent.
  const echo = scripted((init) => json(400, { error: "bad", message: init.headers.authorization, hint: TOKEN }));
  const echoed = await client(echo.fetch).listVaults().catch((error) => error);
  assert.equal(echoed.message, "Bearer [token]");
  assert.doesNotMatch(inspect(echoed, { depth: 20, showHidden: true }), new RegExp(TOKEN));

  const minted = { id: "i", token: "hidden-token", expires_at: "t", av_addr: "http://x" };
  const session = await client(scripted(new Response("PEM"), json(200, minted)).fetch).vault("v").sessions.create();
  const made = { name: "a", role: "member", av_agent_token: "hidden-token", created_at: "t", vaults: [] };
  const agent = await client(scripted(json(201, made)).fetch).agents.create({ name: "a" });
  const revealed = { keys: ["K"], credentials: [{ key: "K", type: "static", value: "hidden-token", version: 1 }] };
  const found = await client(scripted(json(200, revealed)).fetch).vault("v").credentials.list({ reveal: true });
  for (const shown of [session, agent, found]) {
    assert.doesNotMatch(inspect(shown, { depth: 20 }), /hidden-token/);
    assert.match(inspect(shown, { depth: 20 }), /\[hidden\]/);
    assert.match(JSON.stringify(shown), /hidden-token/);
  }
  assert.equal(session.token, "hidden-token");
});

const vaultList = (...services) => ({ vault: "v", services, revision: 3, versions: {} });

test("writes say what they rest on, and dry runs what they would do", async () => {
  const set = { vault: "v", upserted: ["n"], services_count: 1 };
  const first = scripted(json(200, vaultList()), json(200, set, { etag: '"4"' }), json(412, { error: "stale", message: "changed" }));
  const { services } = client(first.fetch).vault("v");
  const { revision } = await services.list();
  const one = { name: "n", host: "h", auth: { type: "passthrough" } };
  const done = await services.set([one], { ifRevision: revision, expected: { n: null } });
  assert.deepEqual(done, { vault: "v", upserted: ["n"], servicesCount: 1, revision: 4 });
  assert.deepEqual(JSON.parse(first.seen[1].body), { services: [one], expected: { n: null } });
  await assert.rejects(services.remove("n", { ifVersion: "abc" }), VersionConflictError);
  assert.deepEqual(first.seen.map(({ headers }) => headers["if-match"]), [undefined, '"3"', '"abc"']);

  const before = { ...one, enabled: true };
  const plan = { vault: "v", dry_run: true, services_count: 1, revision: 3, changes: [{ name: "n", change: "changed", before, after: { ...one, host: "g" } }] };
  const dry = scripted(json(200, plan));
  const planned = await client(dry.fetch).vault("v").services.dryRun.replaceAll([one]);
  assert.match(dry.seen[0].url, /\?dry_run=true$/);
  const [change] = planned.changes;
  assert.deepEqual(diffService(change.before, change.after), [
    { field: "host", before: "h", after: "g" },
    { field: "enabled", before: true, after: undefined },
  ]);
  assert.deepEqual(diffService({ host: "h", auth: { type: "bearer", token: "K" } }, { auth: { token: "K", type: "bearer" }, host: "h" }), []);
  assert.equal(diffService(null, one).length, 3);
});

/** An answer that gives these pieces, then ends or breaks. */
function pieces(parts, broken) {
  return () => {
    const chunks = parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : part));
    return new Response(
      new ReadableStream({
        pull(stream) {
          if (chunks.length > 0) stream.enqueue(chunks.shift());
          else if (broken) stream.error(new TypeError("terminated"));
          else stream.close();
        },
      }),
    );
  };
}
const row = (id) => ({
  ...{ id, created_at: "t", method: "GET", host: "h", path: "/\u2028", status: 200, latency_ms: 1, ingress: "mitm", decision: "brokered" },
  ...{ matched_service: "s", credential_keys: [], credential_versions: [], actor_type: "agent", actor_id: "a", actor_name: "a", session: "i" },
  ...{ label: "l", error_code: "", warnings: [], scrubs: 0 },
});
const line = (id) => `${JSON.stringify(row(id))}\n`;
const event = (id) => `id: ${id}\nevent: log\ndata: ${JSON.stringify(row(id))}\n\n`;

test("an export that breaks off goes on behind its last row, and a cut one is not taken for whole", async () => {
  const bytes = new TextEncoder().encode(line(1) + line(2));
  const split = [...bytes].map((byte) => Uint8Array.of(byte));
  const { fetch, seen } = scripted(pieces([...split, '{"id":3'], false), pieces([line(3)], true), pieces([line(4)], false));
  const ids = [];
  for await (const { id, path } of client(fetch).vault("v").logs.export({ host: "h" })) ids.push([id, path]);
  assert.deepEqual(ids, [1, 2, 3, 4].map((id) => [id, "/\u2028"]));
  assert.deepEqual(seen.map(({ url }) => new URL(url).search), ["?host=h", "?after=2&host=h", "?after=3&host=h"]);

  const never = scripted(pieces(["{"], false));
  await assert.rejects(async () => {
    for await (const _ of client(never.fetch, { retries: 1 }).vault("v").logs.export()) assert.fail();
  }, (error) => error instanceof NetworkError && /broke off/.test(error.message));
  assert.equal(never.seen.length, 2);
});

test("an audit export gives lines as they came, and goes on after a break", async () => {
  const { fetch, seen } = scripted(pieces(['{"head": 1}\n{"seq":1, "x": 1}\n'], true), pieces(['{"seq":2}\n'], false));
  const lines = [];
  for await (const text of client(fetch).audit.export({ limit: 2 })) lines.push(text);
  assert.deepEqual(lines, ['{"head": 1}', '{"seq":1, "x": 1}', '{"seq":2}']);
  assert.deepEqual(seen.map(({ url }) => new URL(url).search), ["?limit=2", "?after=1&limit=1"]);
});

test("a stream goes on after every kind of break, without a gap and without a row twice", async () => {
  const page = { logs: [], latest_id: 5 };
  const { fetch, seen } = scripted(
    json(200, page),
    pieces(["retry: 1\n\n:\n\n"], true),
    json(503, { error: "busy" }),
    pieces([`retry: 1\r\n\r\n${event(6).slice(0, 30)}`, event(6).slice(30), event(7).replaceAll("\n", "\r\n"), "id: 8\nevent: log\nda"], false),
    new TypeError("fetch failed"),
    pieces([event(7), event(8), 'event: end\ndata: {"error":"not a member"}\n\n'], false),
  );
  const ids = [];
  await assert.rejects(async () => {
    for await (const { id } of client(fetch).vault("v").logs.follow({ host: "h" })) ids.push(id);
  }, (error) => error instanceof StreamEndedError && error.message === "not a member");
  assert.deepEqual(ids, [6, 7, 8]);
  assert.deepEqual(seen.map(({ headers }) => headers["last-event-id"]), [undefined, "5", "5", "5", "7", "7"]);
  assert.ok(seen.slice(1).every(({ url }) => url.endsWith("/logs/stream?host=h")));
});

test("a stream ends by its signal, by leaving the loop, and by a refusal", async () => {
  let cancelled = 0;
  const open = () =>
    new Response(
      new ReadableStream({
        start: (stream) => stream.enqueue(new TextEncoder().encode(event(1))),
        cancel: () => void cancelled++,
      }),
    );
  const left = client(scripted(open).fetch).vault("v").logs.follow({ after: 0 });
  for await (const { id } of left) {
    assert.equal(id, 1);
    break;
  }
  assert.equal(cancelled, 1);

  const endless = (init) =>
    new Response(new ReadableStream({ start: (stream) => init.signal.addEventListener("abort", () => stream.error(init.signal.reason)) }));
  const stop = new AbortController();
  const follow = client(scripted(endless).fetch).vault("v").logs.follow({ after: 0 }, { signal: stop.signal });
  const next = follow.next();
  stop.abort("enough");
  await assert.rejects(next, (error) => error instanceof AbortedError && error.cause === "enough");

  const refused = scripted(json(403, { error: "forbidden" }));
  await assert.rejects(client(refused.fetch).vault("v").logs.follow({ after: 0 }).next(), ForbiddenError);
  assert.equal(refused.seen.length, 1);
});

const proposal = (status) => ({ id: 1, status, message: "", created_at: "t", expires_at: "t", review_note: "", services: [], credentials: [] });

test("a wait for a decision outlasts failures that pass, and no others; it ends by time and by signal", async () => {
  const { fetch, seen } = scripted(json(200, proposal("pending")), json(503, {}), new TypeError("fetch failed"), json(200, proposal("applied")));
  const { proposals } = client(fetch, { retries: 0 }).vault("v");
  assert.equal((await proposals.wait(1, { interval: 10 })).status, "applied");
  assert.equal(seen.length, 4);
  await assert.rejects(client(scripted(json(404, {})).fetch).vault("v").proposals.wait(1), NotFoundError);
  const pending = client(scripted(json(200, proposal("pending"))).fetch).vault("v").proposals;
  await assert.rejects(pending.wait(1, { interval: 10, timeout: 30 }), TimeoutError);
  const stop = new AbortController();
  const waiting = pending.wait(1, { signal: stop.signal });
  stop.abort("enough");
  await assert.rejects(waiting, AbortedError);
});

test("pages follow each other until there is none, in both directions", async () => {
  const page = (id, next) => json(200, { logs: [row(id)], next_cursor: next, latest_id: 9 });
  for (const [filter, way] of [[{}, "before"], [{ after: 1 }, "after"]]) {
    const { fetch, seen } = scripted(page(3, 3), page(2, null));
    const ids = [];
    for await (const { id } of client(fetch).vault("v").logs.all(filter)) ids.push(id);
    assert.deepEqual(ids, [3, 2]);
    assert.equal(new URL(seen[1].url).searchParams.get(way), "3");
  }
});

test("a name is one segment of the path", async () => {
  const { fetch, seen } = scripted(json(200, { name: "n", deleted: true, vault: "v", removed: "r", removed_host: "h", services_count: 0 }));
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
