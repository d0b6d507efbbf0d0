// Every method, held to docs/openapi.json both ways: what it sends is described there and everything described is sent, what it
// reads is there and everything there is read. The rest is in left_out.json.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { AgentVault } from "@infisical/agent-vault-sdk";

const parse = JSON.parse;
const read = (path) => parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const document = read("../../../docs/openapi.json");
const leftOut = read("../../left_out.json");

function resolve(schema) {
  return schema?.$ref ? resolve(document.components.schemas[schema.$ref.split("/").at(-1)]) : schema;
}

/** The schema without its alternative `null`, and of several alternatives the first, or the last for a dry run. */
function main(schema, dry = false) {
  const found = resolve(schema);
  const choices = (found?.oneOf ?? found?.anyOf ?? []).filter((one) => one.type !== "null");
  return choices.length > 0 ? main(choices.at(dry ? -1 : 0)) : found;
}

/** Every property, those of `allOf` too. */
function properties(schema) {
  const found = main(schema);
  const own = { ...found?.properties };
  for (const part of found?.allOf ?? []) Object.assign(own, properties(part));
  return own;
}

/** A value of the schema in which everything is set. */
function example(schema, dry) {
  const found = main(schema, dry);
  if (found.enum) return found.enum[0];
  const type = [found.type].flat().find((one) => one !== "null");
  if (type === "array") return [example(found.items)];
  if (type === "integer" || type === "number") return 1;
  if (type === "boolean") return true;
  if (type === "string") return "text";
  const object = Object.fromEntries(Object.entries(properties(found)).map(([name, value]) => [name, example(value)]));
  if (Object.keys(object).length === 0 && found.additionalProperties) return { key: example(found.additionalProperties) };
  return object;
}

/** Where `value` has something. */
function paths(value, path) {
  if (Array.isArray(value)) return value.flatMap((one) => paths(one, `${path}[]`));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, one]) => [`${path}${name}`, ...paths(one, `${path}${name}.`)]);
}

/** Where a value of the schema may have something. */
function places(schema, path) {
  const found = main(schema);
  if (found.items) return places(found.items, `${path}[]`);
  if (found.additionalProperties && Object.keys(properties(found)).length === 0) return places(found.additionalProperties, `${path}{}`);
  return Object.entries(properties(found)).flatMap(([name, one]) => [`${path}.${name}`, ...places(one, `${path}.${name}`)]);
}

/** Everything in `value` is described by `schema`, and everything required is there. Notes what is there in `sent`. */
function fits(value, schema, where) {
  const found = main(schema);
  if (Array.isArray(value)) {
    for (const item of value) fits(item, found.items, `${where}[]`);
  } else if (typeof value === "object" && value !== null) {
    const known = properties(schema);
    if (Object.keys(known).length === 0) {
      for (const item of Object.values(value)) if (found.additionalProperties) fits(item, found.additionalProperties, `${where}{}`);
      return;
    }
    for (const [name, inner] of Object.entries(value)) {
      assert.ok(known[name], `${where}.${name} is not described`);
      sent.add(`${where}.${name}`);
      fits(inner, known[name], `${where}.${name}`);
    }
    for (const name of found.required ?? []) assert.ok(name in value, `${where}.${name} is required`);
  } else if (value !== null) {
    const types = [found.type].flat();
    const type = Number.isInteger(value) ? "integer" : typeof value;
    assert.ok(types.includes(type), `${where}: ${type}, not ${types}`);
  } else {
    const nullable = [resolve(schema).type].flat().includes("null") || resolve(schema).oneOf?.some((one) => one.type === "null");
    assert.ok(nullable, `${where}: null is not described`);
  }
}

function operation(method, path) {
  const literal = (template) => template.split("/").filter((part) => !part.startsWith("{")).length;
  const [found] = Object.entries(document.paths)
    .filter(([template, methods]) => methods[method] && new RegExp(`^${template.replace(/\{\w+\}/g, "[^/]+")}$`).test(path))
    .sort(([one], [other]) => literal(other) - literal(one));
  assert.ok(found, `${method} ${path} is not described`);
  return found[1][method];
}

const every = Object.values(document.paths).flatMap((methods) => Object.values(methods));

const used = new Set();
const sent = new Set();
const seen = new Set();
const answered = new Set();
/** The call that is going on. */
let current;

/** The same value; what is read of it is in `seen`. */
function watched(value, path) {
  if (typeof value !== "object" || value === null) return value;
  return new Proxy(value, {
    get(target, name, receiver) {
      if (typeof name !== "string" || !Object.hasOwn(target, name) || name === "length") return Reflect.get(target, name, receiver);
      if (Array.isArray(target)) return watched(target[name], `${path}[]`);
      seen.add(`${path}${name}`);
      return watched(target[name], `${path}${name}.`);
    },
  });
}
// So an array's part of a path is as in `paths`.
const tidy = (path) => path.replaceAll(".[]", "[]").replaceAll("[]", "[].").replaceAll("[]..", "[].").replace(/\.$/, "");

async function answer(url, init) {
  const { pathname, searchParams } = new URL(url);
  const described = operation(init.method.toLowerCase(), pathname);
  const what = described.operationId;
  current = what;
  used.add(what);
  const query = (described.parameters ?? []).filter((one) => one.in === "query");
  for (const [name, value] of searchParams) {
    const parameter = query.find((one) => one.name === name);
    assert.ok(parameter, `${what}: ?${name} is not described`);
    if ([parameter.schema.type].flat().includes("integer")) assert.match(value, /^\d+$/, `${what}: ?${name}`);
    sent.add(`${what}?${name}`);
  }
  for (const { name, required } of query) assert.ok(!required || searchParams.has(name), `${what}: ?${name} is required`);
  for (const { name } of (described.parameters ?? []).filter((one) => one.in === "header")) {
    if (init.headers[name.toLowerCase()] !== undefined) sent.add(`${what}:${name}`);
  }
  if (init.body !== undefined) fits(parse(init.body), described.requestBody.content["application/json"].schema, what);
  else assert.ok(!described.requestBody?.required, `${what}: a body is required`);
  const [status, good] = Object.entries(described.responses).find(([code]) => code.startsWith("2"));
  const headers = { etag: '"7"' };
  const row = example({ $ref: "#/components/schemas/LogItem" });
  if (what === "logs_stream") {
    for (const path of paths(row, "")) answered.add(`${what} -> ${path}`);
    return new Response(`retry: 1\n\nid: 9\nevent: log\ndata: ${JSON.stringify({ ...row, id: 9 })}\n\n`, { headers });
  }
  if (what === "logs_export") {
    for (const path of paths(row, "")) answered.add(`${what} -> ${path}`);
    return new Response(`${JSON.stringify(row)}\n`, { headers });
  }
  if (what === "audit_export") return new Response('{"head":1}\n{"seq":1}\n', { headers });
  const schema = good.content?.["application/json"]?.schema;
  const value = schema && example(schema, searchParams.has("dry_run"));
  for (const path of paths(value, "")) answered.add(`${what} -> ${path}`);
  return new Response(schema ? JSON.stringify(value) : "PEM", { status: Number(status), headers });
}

/** Says which are in one alone; and so what has to be added to the package or to left_out.json, or taken from there. */
function differ(one, other, rule) {
  const [first, second] = [[...one].sort(), [...other].sort()];
  const alone = [...first.filter((name) => !second.includes(name)), ...second.filter((name) => !first.includes(name))];
  assert.deepEqual(alone, [], rule);
  assert.equal(first.length, second.length, `${rule}: something is there twice`);
}

function nothingMissing(value, where) {
  assert.notEqual(value, undefined, where);
  assert.ok(!Number.isNaN(value), where);
  if (typeof value === "object" && value !== null) for (const [name, inner] of Object.entries(value)) nothingMissing(inner, `${where}.${name}`);
}

/** All that a generator gives; of an endless one, one. */
async function all(generator, most = 10) {
  const found = [];
  for await (const one of generator) {
    found.push(one);
    if (found.length === most) break;
  }
  return found;
}

test("models.ts and readers.ts are what docs/openapi.json makes them", () => {
  execFileSync("python3", [fileURLToPath(new URL("../../models.py", import.meta.url)), "--check"], { stdio: "pipe" });
});

test("the package and the description of the API agree", async () => {
  const av = new AgentVault({ token: "t", address: "http://vault.test", fetch: answer });
  const vault = av.vault("v");
  const service = {
    ...{ name: "n", host: "h", port: 1, path: "/p", enabled: true, require_tls: true, scrub: { enabled: true, undecodable: "pass" } },
    select: { agents: ["a"], placeholder: "p" },
    auth: { type: "api-key", key: "K", header: "h", prefix: "p" },
    substitutions: [{ key: "K", placeholder: "p", in: ["header"], headers: ["h"] }],
  };
  const auths = [
    { type: "bearer", token: "K" },
    { type: "basic", username: "K", password: "K" },
    { type: "custom", headers: { h: "{{ K }}" } },
    { type: "passthrough" },
  ];
  const services = [service, ...auths.map((auth) => ({ host: "h", auth }))];
  const { scrub: _, ...proposable } = service;
  const proposed = [{ action: "set", ...proposable }, ...auths.map((auth) => ({ action: "set", host: "h", auth }))];
  const conditions = {
    ...{ after: 1, statusBucket: "2xx", status: 200, service: "s", ingress: "i", session: "s" },
    ...{ agent: "a", label: "l", host: "h", decision: "d", since: "t", until: "t" },
  };
  const audit = {
    ...{ limit: 1, before: 1, after: 1, actor: "a", actorType: "user", action: "a", target: "t", outcome: "done", source: "s" },
    ...{ since: "t", until: "t" },
  };
  const rateLimit = { profile: "default", overrides: { auth: { burst: 1, concurrency: 1, max: 1, rate: 1, window: "5m" } } };
  const slot = { action: "set", key: "K", description: "d", obtain: "https://o", obtainInstructions: "o", value: "v", type: "static" };
  slot.oauth = {
    ...{ tokenUrl: "https://t", authorizationUrl: "https://a", clientId: "c", scopes: "a b", scopeSeparator: " " },
    ...{ tokenAuthMethod: "client_secret_post", disablePkce: true },
  };
  const store = { kind: "infisical", config: { projectId: "p", environment: "e", secretPath: "/" }, pollIntervalSeconds: 60 };
  const client = { tokenUrl: "https://t", clientId: "c", clientSecret: "s", scopes: "a b", scopeSeparator: " ", tokenAuthMethod: "none" };
  const rests = { ifRevision: 7, expected: { n: "1", m: null } };
  JSON.parse = (text) => watched(parse(text), `${current} -> `);
  try {
    const results = {
      listVaults: await av.listVaults(),
      listAllVaults: await av.listAllVaults(),
      createVault: await av.createVault({ name: "v", credentialStore: store }),
      deleteVault: await av.deleteVault("v"),
      renameVault: await av.renameVault("v", "w"),
      joinVault: await av.joinVault("v"),
      context: await av.vaultContext("v"),
      stores: await av.credentialStores(),
      catalog: await av.catalog(),
      me: await av.me(),
      status: await av.status(),
      health: await av.health(),
      ready: await av.ready(),
      skill: await av.skill(),
      agents: await av.agents.list(),
      agent: await av.agents.get("a"),
      createAgent: await av.agents.create({ name: "a", role: "member", vaults: [{ vault: "v", role: "proxy" }], ttlSeconds: 300, label: "l" }),
      rotate: await av.agents.rotate("a", { ttlSeconds: 300, overlapSeconds: 60, label: "l" }),
      renameAgent: await av.agents.rename("a", "b"),
      agentRole: await av.agents.setRole("a", "member"),
      users: await av.users.list(),
      user: await av.users.get("a@b"),
      userRole: await av.users.setRole("a@b", "owner"),
      deleteUser: await av.users.delete("a@b", { agents: "keep" }),
      invites: await av.invites.list({ status: "pending" }),
      invite: await av.invites.create({ email: "a@b", role: "member", vaults: [{ vault: "v", role: "proxy" }] }),
      again: await av.invites.again("i"),
      audit: await av.audit.list(audit),
      auditLines: await all(av.audit.export({ after: 1, limit: 2 })),
      verdict: await av.audit.verify(),
      settings: await av.settings.get(),
      setSettings: await av.settings.set({
        ...{ inviteOnly: true, allowedEmailDomains: ["b"], rateLimit },
        logsRetention: { maxAgeHours: 1, maxRowsPerVault: 1 },
      }),
      preview: await av.settings.previewRateLimit(rateLimit),
      testMail: await av.settings.testMail({ to: "a@b" }),
      keys: await av.keys.state(),
      rotateKeys: await av.keys.rotate(),
      discover: await vault.discover(),
      vaultSettings: await vault.settings.get(),
      setVaultSettings: await vault.settings.set({ unmatchedHostPolicy: "deny" }),
      sessions: await vault.sessions.list(),
      session: await vault.sessions.create({
        ...{ ttlSeconds: 300, label: "l", services: ["s"], requestBudget: 1, sources: ["10.0.0.0/8"] },
      }),
      credentials: await vault.credentials.list({ reveal: true, key: "K" }),
      described: await vault.credentials.describe(),
      setCredentials: await vault.credentials.set({ K: "v" }, { expiresAt: "t" }),
      deleteCredentials: await vault.credentials.delete(["K"]),
      versions: await vault.credentials.versions("K"),
      rollBack: await vault.credentials.rollBack("K", 1),
      expire: await vault.credentials.expire("K", "t"),
      expireNever: await vault.credentials.expire("K", null),
      deleteVersion: await vault.credentials.deleteVersion("K", 1),
      services: await vault.services.list(),
      service: await vault.services.get("s"),
      setServices: await vault.services.set(services, rests),
      replaceServices: await vault.services.replaceAll(services, rests),
      setEnabled: await vault.services.setEnabled("s", false, { ifVersion: "7" }),
      removeService: await vault.services.remove("s", { ifVersion: "7" }),
      clearServices: await vault.services.clear({ ifRevision: 7 }),
      planSet: await vault.services.dryRun.set(services, rests),
      planReplace: await vault.services.dryRun.replaceAll(services, rests),
      planEnabled: await vault.services.dryRun.setEnabled("s", false, { ifVersion: "7" }),
      planRemove: await vault.services.dryRun.remove("s", { ifVersion: "7" }),
      planClear: await vault.services.dryRun.clear({ ifRevision: 7 }),
      usage: await vault.services.credentialUsage("K"),
      testService: await vault.services.test({ url: "https://h/", agent: "a", headers: { h: "v" } }),
      vaultAgents: await vault.agents.list(),
      vaultAgentRole: await vault.agents.setRole("a", "member"),
      vaultUsers: await vault.users.list(),
      addVaultUser: await vault.users.add("a@b", "proxy"),
      proposals: await vault.proposals.list({ status: "pending" }),
      proposal: await vault.proposals.get(1),
      raised: await vault.proposals.create({ services: proposed, credentials: [slot], message: "m", userMessage: "u" }),
      waited: await vault.proposals.wait(1),
      reviews: await vault.proposals.reviews({ status: "pending" }),
      review: await vault.proposals.review(1),
      approved: await vault.proposals.approve(1, { credentials: { K: "v" }, revision: 7 }),
      rejected: await vault.proposals.reject(1, { reason: "r" }),
      logs: await vault.logs.list({ limit: 1, before: 1, ...conditions }),
      exported: await all(vault.logs.export(conditions)),
      followed: await all(vault.logs.follow({ ...conditions, after: 1 }), 1),
      hosts: await vault.logs.hosts({ limit: 1 }),
      agentTokens: await av.agents.tokens("a"),
      connecting: await vault.oauth.connect("K", { ...client, authorizationUrl: "https://a", disablePkce: true }),
      oauth: await vault.oauth.status("K", { consent: "c" }),
      connected: await vault.oauth.setTokens("K", { ...client, accessToken: "a", refreshToken: "r" }),
      store: await vault.store.get(),
      connectedStore: await vault.store.connect(store),
      disconnected: await vault.store.disconnect(),
      synced: await vault.store.sync(),
    };
    for (const hooks of [vault.webhooks, av.webhooks]) {
      results[`hooks${results.hooks ? 2 : ""}`] = [
        await hooks.list(),
        await hooks.get("h"),
        await hooks.create({ url: "https://h", description: "d", events: ["limit.hit"] }),
        await hooks.change("h", { url: "https://h", description: "d", events: [], enabled: true }),
        await hooks.rotate("h", { overlapSeconds: 60 }),
        await hooks.test("h"),
        await hooks.deliveries("h", { limit: 1 }),
      ];
      await hooks.remove("h");
    }
    nothingMissing(results, "results");
    JSON.stringify(results);
    await av.agents.revokeToken("a", "id");
    await av.leaveVault("v");
    await av.agents.revoke("a");
    await av.agents.delete("a");
    await av.users.removeSecondFactor("a@b");
    await av.invites.revoke("i");
    await vault.agents.add("a", "proxy");
    await vault.agents.remove("a");
    await vault.users.setRole("a@b", "member");
    await vault.users.remove("a@b");
    await vault.sessions.revoke("id");
  } finally {
    JSON.parse = parse;
  }

  const without = Object.values(leftOut).flat();
  const of = (names, kind) => [...names].filter((name) => kind === (name.includes(" -> ") ? "answer" : /[.?:]/.test(name) ? "field" : "operation"));
  differ([...used, ...of(without, "operation")], every.map((one) => one.operationId), "each operation is either used or left out on purpose");

  const described = every
    .filter((one) => used.has(one.operationId))
    .flatMap((one) => [
      ...(one.parameters ?? []).filter((parameter) => parameter.in !== "path").map((parameter) => `${one.operationId}${parameter.in === "query" ? "?" : ":"}${parameter.name}`),
      ...(one.requestBody ? places(one.requestBody.content["application/json"].schema, one.operationId) : []),
    ]);
  differ([...sent, ...of(without, "field")], new Set(described), "each field is either sent or left out on purpose");

  const reads = new Set([...seen].map(tidy));
  const there = new Set([...answered].map(tidy));
  const unread = [...there].filter((path) => !reads.has(path));
  differ(unread, of(without, "answer"), "each field of an answer is either read or left out on purpose");
});
