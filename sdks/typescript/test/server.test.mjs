// The whole journey against the real server and through its proxy.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { AgentVault, ApiError, VaultClient, buildProxyEnv } from "@infisical/agent-vault-sdk";
import { start } from "./server.mjs";

const run = promisify(execFile);
let server;
let av;
before(async () => {
  server = await start();
  av = new AgentVault({ address: server.url, token: server.token });
});
after(() => server?.stop());

/** What a child in the container does: curl with nothing but the variables. */
async function throughTheProxy(config, path) {
  const certificate = join(server.folder, "session-ca.pem");
  writeFileSync(certificate, config.caCertificate);
  const env = { PATH: process.env.PATH, ...buildProxyEnv(config, certificate) };
  const url = `https://${server.upstream}${path}`;
  const format = "%{http_connect} %{http_code}";
  // The upstream is on loopback, which NO_PROXY would reach directly.
  const args = ["-sS", "--noproxy", "", "--max-time", "30", "-o", "/dev/null", "-w", format, url];
  return (await run("curl", args, { env }).catch((error) => error)).stdout;
}

test("a vault from its making to a request through the proxy, its log and the token's end", async () => {
  const made = await av.createVault({ name: "journey" });
  assert.equal(made.name, "journey");
  assert.ok(made.id && made.createdAt);
  assert.deepEqual((await av.listVaults()).filter(({ name }) => name === "journey").length, 1);

  // An agent that may mint.
  const agent = await av.agents.create({ name: "orchestrator", vaults: [{ vault: "journey", role: "admin" }] });
  const vault = new AgentVault({ address: server.url, token: agent.token }).vault("journey");

  const secret = "live-key-0123456789abcdef";
  assert.deepEqual(await vault.credentials.set({ DEMO_API_KEY: secret, OTHER: "other-0123456789" }), { set: ["DEMO_API_KEY", "OTHER"] });
  assert.deepEqual(await vault.credentials.list(), { keys: ["DEMO_API_KEY", "OTHER"] });
  assert.deepEqual(await vault.credentials.list({ reveal: true, key: "DEMO_API_KEY" }), {
    keys: ["DEMO_API_KEY"],
    credentials: [{ key: "DEMO_API_KEY", value: secret }],
  });
  assert.deepEqual(await vault.credentials.delete(["OTHER"]), { deleted: ["OTHER"] });

  const service = { name: "demo", host: server.upstream, auth: { type: "bearer", token: "DEMO_API_KEY" } };
  assert.deepEqual(await vault.services.set([service]), { vault: "journey", upserted: ["demo"], servicesCount: 1 });
  assert.deepEqual((await vault.services.get("demo")).auth, service.auth);
  assert.deepEqual((await vault.services.credentialUsage("DEMO_API_KEY")).services.map(({ name }) => name), ["demo"]);

  const session = await vault.sessions.create({ ttlSeconds: 600, label: "job 7" });
  assert.equal(session.address, server.url);
  assert.match(session.containerConfig.env.HTTPS_PROXY, new RegExp(`@127\\.0\\.0\\.1:${server.proxyPort}$`));
  assert.equal(session.containerConfig.env.NO_PROXY, "localhost,127.0.0.1,127.0.0.1");
  assert.equal(await throughTheProxy(session.containerConfig, "/v1/models"), "200 200");
  assert.deepEqual(server.received().map((request) => request.headers.authorization), [`Bearer ${secret}`]);

  const scoped = new VaultClient({ address: server.url, token: session.token });
  assert.equal(scoped.services, undefined);
  assert.deepEqual(await scoped.credentials.list(), { keys: ["DEMO_API_KEY"] });
  const discovered = await scoped.discover();
  assert.deepEqual(discovered.availableCredentials, ["DEMO_API_KEY"]);
  assert.deepEqual(discovered.services.map(({ name }) => name), ["demo"]);

  const [listed] = await vault.sessions.list();
  assert.deepEqual([listed.id, listed.label], [session.id, "job 7"]);

  // Rows are written behind the requests.
  let rows = [];
  for (const end = Date.now() + 30_000; rows.length === 0 && Date.now() < end; ) {
    rows = [];
    for await (const row of vault.logs.all({ session: session.id, limit: 1 })) rows.push(row);
  }
  assert.deepEqual(
    rows.map((row) => [row.path, row.status, row.matchedService, row.credentialKeys, row.label]),
    [["/v1/models", 200, "demo", ["DEMO_API_KEY"], "job 7"]],
  );

  await vault.sessions.revoke(session.id);
  assert.deepEqual(await vault.sessions.list(), []);
  assert.equal(await throughTheProxy(session.containerConfig, "/after"), "407 000");
  await assert.rejects(scoped.credentials.list(), (error) => error instanceof ApiError && error.status === 401);
});

test("services are listed as they were given", async () => {
  const vault = (await av.createVault({ name: "verbatim" })) && av.vault("verbatim");
  await vault.credentials.set({ A: "first", B: "second" });
  const services = [
    { name: "off", host: "api.example.com", enabled: false, auth: { type: "basic", username: "A", password: "B" } },
    { name: "open", host: "*.example.org", auth: { type: "passthrough" } },
    {
      name: "inline",
      host: "api.example.net/v1/*",
      auth: { type: "api-key", key: "A", header: "x-key", prefix: "Key " },
      substitutions: [{ key: "B", placeholder: "__b__", in: ["path", "query"] }],
    },
  ];
  assert.deepEqual(await vault.services.replaceAll(services), { vault: "verbatim", servicesCount: 3 });
  const { services: listed } = await vault.services.list();
  for (const given of services) {
    const found = listed.find(({ name }) => name === given.name);
    for (const [field, value] of Object.entries(given)) {
      if (field !== "host") assert.deepEqual(found[field], value, `${given.name} ${field}`);
    }
  }
  assert.equal((await vault.services.setEnabled("off", true)).enabled, true);
  assert.equal((await vault.services.remove("*.example.org")).removed, "open");
  assert.equal((await vault.services.removeByName("off")).servicesCount, 1);
  await assert.rejects(vault.services.removeByName("off"), (error) => error instanceof ApiError && error.status === 404);
  assert.deepEqual(await vault.services.clear(), { vault: "verbatim", cleared: true });
  assert.deepEqual(await av.deleteVault("verbatim"), { name: "verbatim", deleted: true });
});

test("agents come, change and go", async () => {
  await av.createVault({ name: "crew" });
  const first = await av.agents.create({ name: "worker", ttlSeconds: 3600 });
  assert.ok(first.tokenExpiresAt);
  const { agents } = av.vault("crew");
  await agents.add("worker");
  assert.deepEqual((await agents.list()).map(({ name, role }) => [name, role]), [["worker", "proxy"]]);
  await agents.setRole("worker", "member");
  assert.deepEqual((await av.agents.get("worker")).vaults, [{ vault: "crew", role: "member" }]);
  await agents.remove("worker");
  assert.deepEqual(await agents.list(), []);

  const second = await av.agents.rotate("worker");
  assert.notEqual(second.token, first.token);
  const old = new AgentVault({ address: server.url, token: first.token });
  await assert.rejects(old.listVaults(), (error) => error.status === 401);
  await new AgentVault({ address: server.url, token: second.token }).listVaults();
  await av.agents.revoke("worker");
  assert.ok((await av.agents.list()).find(({ name }) => name === "worker")?.revokedAt);
  await av.agents.delete("worker");
  await assert.rejects(av.agents.get("worker"), (error) => error instanceof ApiError && error.status === 404);
});

test("the examples of the README run", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const examples = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, text]) => text);
  assert.ok(examples.length > 0);
  const agent = await av.agents.create({ name: "reader", vaults: [{ vault: "default", role: "admin" }] });
  const script = join(server.folder, "example.mjs");
  const entry = new URL("../dist/esm/index.js", import.meta.url).href;
  writeFileSync(script, examples.join("\n").replace(/"@infisical\/agent-vault-sdk"/g, JSON.stringify(entry)));
  const env = { PATH: process.env.PATH, AGENT_VAULT_ADDR: server.url, AGENT_VAULT_TOKEN: agent.token };
  const { stdout } = await run(process.execPath, [script], { env, cwd: server.folder });
  assert.match(stdout, /ended/);
});
