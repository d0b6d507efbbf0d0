// Every method, held to docs/openapi.json: what it sends is described there, and what it reads is there to be read.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { AgentVault } from "@infisical/agent-vault-sdk";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const document = read("../../../docs/openapi.json");
const leftOut = read("../../left_out.json");

function resolve(schema) {
  return schema?.$ref ? resolve(document.components.schemas[schema.$ref.split("/").at(-1)]) : schema;
}

/** The schema without its alternative `null`, and of several alternatives the first. */
function main(schema) {
  const found = resolve(schema);
  const [first] = (found?.oneOf ?? found?.anyOf ?? []).filter((one) => one.type !== "null");
  return first ? main(first) : found;
}

/** Every property, those of `allOf` too. */
function properties(schema) {
  const found = main(schema);
  const own = { ...found?.properties };
  for (const part of found?.allOf ?? []) Object.assign(own, properties(part));
  return own;
}

/** A value of the schema in which everything is set, so that a name which is not in it reads as `undefined`. */
function example(schema) {
  const found = main(schema);
  if (found.enum) return found.enum[0];
  const type = [found.type].flat().find((one) => one !== "null");
  if (type === "array") return [example(found.items)];
  if (type === "integer" || type === "number") return 1;
  if (type === "boolean") return true;
  if (type === "string") return "text";
  const object = Object.fromEntries(Object.entries(properties(schema)).map(([name, value]) => [name, example(value)]));
  if (Object.keys(object).length === 0 && found.additionalProperties) return { key: example(found.additionalProperties) };
  return object;
}

function operation(method, path) {
  const literal = (template) => template.split("/").filter((part) => !part.startsWith("{")).length;
  const [found] = Object.entries(document.paths)
    .filter(([template, methods]) => methods[method] && new RegExp(`^${template.replace(/\{\w+\}/g, "[^/]+")}$`).test(path))
    .sort(([one], [other]) => literal(other) - literal(one));
  assert.ok(found, `${method} ${path} is not described`);
  return found[1][method];
}

/** Everything in `value` is described by `schema`, and everything required is there. */
function fits(value, schema, where) {
  const found = main(schema);
  if (Array.isArray(value)) {
    for (const item of value) fits(item, found.items, `${where}[]`);
  } else if (typeof value === "object" && value !== null) {
    const known = properties(schema);
    if (Object.keys(known).length === 0) return;
    for (const [name, inner] of Object.entries(value)) {
      assert.ok(known[name], `${where}.${name} is not described`);
      fits(inner, known[name], `${where}.${name}`);
    }
    for (const name of found.required ?? []) assert.ok(name in value, `${where}.${name} is required`);
  } else {
    const types = [found.type].flat();
    const type = Number.isInteger(value) ? "integer" : typeof value;
    assert.ok(types.includes(type), `${where}: ${type}, not ${types}`);
  }
}

const used = new Set();

async function answer(url, init) {
  const { pathname, searchParams } = new URL(url);
  const described = operation(init.method.toLowerCase(), pathname);
  const what = described.operationId;
  used.add(what);
  const parameters = (described.parameters ?? []).filter((one) => one.in === "query");
  for (const name of searchParams.keys()) {
    assert.ok(parameters.some((one) => one.name === name), `${what}: ?${name} is not described`);
  }
  for (const { name, required } of parameters) assert.ok(!required || searchParams.has(name), `${what}: ?${name} is required`);
  if (init.body !== undefined) fits(JSON.parse(init.body), described.requestBody.content["application/json"].schema, what);
  else assert.ok(!described.requestBody?.required, `${what}: a body is required`);
  const [status, good] = Object.entries(described.responses).find(([code]) => code.startsWith("2"));
  const schema = good.content?.["application/json"]?.schema;
  return new Response(schema ? JSON.stringify(example(schema)) : "PEM", { status: Number(status) });
}

function nothingMissing(value, where) {
  assert.notEqual(value, undefined, `${where} reads what is not described`);
  if (typeof value === "object" && value !== null) {
    for (const [name, inner] of Object.entries(value)) nothingMissing(inner, `${where}.${name}`);
  }
}

test("the package and the description of the API agree", async () => {
  const av = new AgentVault({ token: "t", address: "http://vault.test", fetch: answer });
  const vault = av.vault("v");
  const service = {
    name: "n",
    host: "h",
    port: 1,
    path: "/p",
    enabled: true,
    require_tls: true,
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
  const filter = {
    ...{ limit: 1, before: 1, after: 1, statusBucket: "2xx", status: 200, service: "s", ingress: "i", session: "s" },
    ...{ agent: "a", label: "l", host: "h", decision: "d", since: "t", until: "t" },
  };
  const results = {
    listVaults: await av.listVaults(),
    createVault: await av.createVault({ name: "v" }),
    deleteVault: await av.deleteVault("v"),
    agents: await av.agents.list(),
    agent: await av.agents.get("a"),
    createAgent: await av.agents.create({ name: "a", role: "member", vaults: [{ vault: "v", role: "proxy" }], ttlSeconds: 300 }),
    rotate: await av.agents.rotate("a", { ttlSeconds: 300 }),
    discover: await vault.discover(),
    sessions: await vault.sessions.list(),
    session: await vault.sessions.create({ ttlSeconds: 300, label: "l" }),
    credentials: await vault.credentials.list({ reveal: true, key: "K" }),
    setCredentials: await vault.credentials.set({ K: "v" }, { expiresAt: "t" }),
    deleteCredentials: await vault.credentials.delete(["K"]),
    services: await vault.services.list(),
    service: await vault.services.get("s"),
    setServices: await vault.services.set([service, ...auths.map((auth) => ({ host: "h", auth }))]),
    replaceServices: await vault.services.replaceAll([service]),
    setEnabled: await vault.services.setEnabled("s", false),
    removeService: await vault.services.remove("s"),
    clearServices: await vault.services.clear(),
    usage: await vault.services.credentialUsage("K"),
    vaultAgents: await vault.agents.list(),
    logs: await vault.logs.list(filter),
  };
  nothingMissing(results, "results");
  await av.agents.revoke("a");
  await av.agents.delete("a");
  await vault.agents.add("a", "proxy");
  await vault.agents.setRole("a", "member");
  await vault.agents.remove("a");
  await vault.sessions.revoke("id");

  const all = Object.values(document.paths).flatMap((methods) => Object.values(methods).map((one) => one.operationId));
  const without = Object.values(leftOut).flat();
  if (process.env.SHOW) console.log(all.filter((name) => !used.has(name)).join(" "));
  assert.deepEqual([...used, ...without].sort(), all.sort(), "each operation is either used or left out on purpose");
});
