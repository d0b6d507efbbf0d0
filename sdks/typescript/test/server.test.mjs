// The whole journey against the real server and through its proxy.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect, promisify } from "node:util";

import { AgentVault, ApiError, ConflictError, ForbiddenError, NotFoundError, StreamEndedError, VaultClient, VersionConflictError, buildProxyEnv, diffService } from "@infisical/agent-vault-sdk";
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
  assert.deepEqual(await vault.credentials.set({ DEMO_API_KEY: secret, OTHER: "other-0123456789" }), { set: ["DEMO_API_KEY", "OTHER"], warnings: [] });
  assert.deepEqual(await vault.credentials.list(), { keys: ["DEMO_API_KEY", "OTHER"] });
  const revealed = await vault.credentials.list({ reveal: true, key: "DEMO_API_KEY" });
  assert.deepEqual(revealed.keys, ["DEMO_API_KEY"]);
  assert.deepEqual(revealed.credentials.map(({ key, value }) => [key, value]), [["DEMO_API_KEY", secret]]);
  assert.deepEqual(await vault.credentials.delete(["OTHER"]), { deleted: ["OTHER"] });

  const service = { name: "demo", host: server.upstream, auth: { type: "bearer", token: "DEMO_API_KEY" } };
  assert.deepEqual(await vault.services.set([service]), { vault: "journey", upserted: ["demo"], servicesCount: 1, revision: 1 });
  assert.deepEqual((await vault.services.get("demo")).service.auth, service.auth);
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
  const { revision, ...replaced } = await vault.services.replaceAll(services);
  assert.deepEqual(replaced, { vault: "verbatim", servicesCount: 3 });
  assert.equal(revision, (await vault.services.list()).revision);
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
  assert.equal((await vault.services.clear()).cleared, true);
  assert.deepEqual(await av.deleteVault("verbatim"), { name: "verbatim", deleted: true });
});

test("who writes on old ground is told so, and dry runs show what would change", async () => {
  await av.createVault({ name: "ground" });
  const { services, credentials } = av.vault("ground");
  await credentials.set({ A: "first-0123456789", B: "second-0123456789" });
  const one = { name: "one", host: "api.example.com", auth: { type: "bearer", token: "A" } };
  const other = { name: "other", host: "api.example.org", auth: { type: "bearer", token: "B" } };
  const first = await services.set([one], { expected: { one: null } });
  await assert.rejects(services.set([one], { expected: { one: null } }), VersionConflictError);

  const { version } = await services.get("one");
  assert.equal((await services.list()).versions.one, version);
  const plan = await services.dryRun.set([{ ...one, auth: { type: "bearer", token: "B" } }, other]);
  assert.deepEqual(plan.changes.map(({ name, change }) => [name, change]), [["one", "changed"], ["other", "added"]]);
  assert.deepEqual(diffService(plan.changes[0].before, plan.changes[0].after).map(({ field }) => field), ["auth"]);
  assert.equal(plan.revision, first.revision);
  assert.equal((await services.list()).services.length, 1);

  // A write of another service makes the list another, and this service not.
  await services.set([other], { ifRevision: plan.revision });
  await assert.rejects(services.replaceAll([], { ifRevision: plan.revision }), (error) => error instanceof VersionConflictError && error.status === 412);
  assert.deepEqual((await services.dryRun.clear()).changes.map(({ change }) => change), ["removed", "removed"]);
  const off = await services.setEnabled("one", false, { ifVersion: version });
  assert.equal(off.enabled, false);
  await assert.rejects(services.remove("one", { ifVersion: version }), VersionConflictError);
  assert.deepEqual((await services.dryRun.setEnabled("one", true)).changes.map(({ after }) => after.enabled ?? true), [true]);
  assert.deepEqual((await services.dryRun.remove("one")).changes.map(({ name }) => name), ["one"]);
  const removed = await services.remove("one", { ifVersion: (await services.get("one")).version });
  assert.deepEqual([removed.removed, removed.removedHost, removed.servicesCount], ["one", "api.example.com", 1]);

  const tested = await services.test({ url: "https://api.example.org/v1?q=1", headers: { accept: "text/plain" } });
  assert.deepEqual([tested.decision, tested.service.name, tested.host, tested.path], ["inject", "other", "api.example.org", "/v1"]);
  assert.ok(tested.sets.every(({ value }) => !value.includes("second")));
  await assert.rejects(av.createVault({ name: "ground" }), ConflictError);
});

test("former values of a credential come back, and end", async () => {
  await av.createVault({ name: "versions" });
  const { credentials } = av.vault("versions");
  await credentials.set({ K: "first-0123456789" });
  await credentials.set({ K: "second-0123456789" }, { expiresAt: "2099-01-01T00:00:00Z" });
  const { versions } = await credentials.versions("K");
  assert.deepEqual(versions.map(({ current }) => current).sort(), [false, true]);
  const former = versions.find(({ current }) => !current).version;
  const { version } = await credentials.rollBack("K", former);
  assert.equal((await credentials.list({ reveal: true, key: "K" })).credentials[0].value, "first-0123456789");
  const [described] = await credentials.describe({ key: "K" });
  assert.deepEqual([described.key, described.version, described.value], ["K", version, null]);
  assert.match((await credentials.expire("K", "2099-01-01T00:00:00Z")).expiresAt, /^2099/);
  assert.equal((await credentials.expire("K", null)).expiresAt, null);
  assert.deepEqual(await credentials.deleteVersion("K", former), { deleted: former, key: "K" });
});

test("an agent proposes, a person decides, the agent hears of it", async () => {
  await av.createVault({ name: "asked" });
  const person = av.vault("asked");
  const agent = await av.agents.create({ name: "asker", vaults: [{ vault: "asked", role: "proxy" }] });
  const asker = new VaultClient({ address: server.url, token: agent.token, vault: "asked" });
  const wanted = {
    services: [{ action: "set", name: "wanted", host: "api.example.com", auth: { type: "bearer", token: "WANTED" } }],
    credentials: [{ action: "set", key: "WANTED", description: "a key", obtain: "https://example.com", obtainInstructions: "ask" }],
    message: "for a job",
    userMessage: "Please.",
  };
  const raised = await asker.proposals.create(wanted);
  assert.equal(raised.status, "pending");
  assert.ok(raised.approvalUrl.startsWith(server.url));
  assert.deepEqual((await asker.proposals.list({ status: "pending" })).map(({ id }) => id), [raised.id]);
  assert.deepEqual((await person.proposals.reviews({ status: "pending" })).map(({ id }) => id), [raised.id]);

  const review = await person.proposals.review(raised.id);
  assert.equal(review.userMessage, "Please.");
  assert.equal(review.credentials[0].obtainInstructions, "ask");
  assert.deepEqual(review.preview.flows.map(({ key, host, service }) => [key, host, service]), [["WANTED", "api.example.com", "wanted"]]);
  await assert.rejects(asker.proposals.approve(raised.id), ForbiddenError);

  const waiting = asker.proposals.wait(raised.id, { interval: 20, timeout: 60_000 });
  await person.services.set([{ name: "meanwhile", host: "api.example.org", auth: { type: "passthrough" } }]);
  const answer = { credentials: { WANTED: "wanted-0123456789" }, revision: review.preview.revision };
  await assert.rejects(person.proposals.approve(raised.id, answer), VersionConflictError);
  const { revision } = (await person.proposals.review(raised.id)).preview;
  assert.equal((await person.proposals.approve(raised.id, { ...answer, revision })).status, "applied");
  assert.equal((await waiting).status, "applied");
  assert.deepEqual((await asker.discover()).availableCredentials, ["WANTED"]);
  await assert.rejects(person.proposals.reject(raised.id), ConflictError);

  const second = await asker.proposals.create({ credentials: [{ action: "set", key: "MORE" }] });
  await person.proposals.reject(second.id, { reason: "enough" });
  const rejected = await asker.proposals.wait(second.id);
  assert.deepEqual([rejected.status, rejected.reviewNote], ["rejected", "enough"]);
});

test("the log is exported and followed, until the right to read it ends", async () => {
  await av.createVault({ name: "told" });
  const reader = await av.agents.create({ name: "log-reader", vaults: [{ vault: "told", role: "admin" }] });
  const vault = new AgentVault({ address: server.url, token: reader.token }).vault("told");
  await vault.services.set([{ name: "open", host: server.upstream, auth: { type: "passthrough" } }]);
  const session = await vault.sessions.create({ label: "told" });
  assert.equal(await throughTheProxy(session.containerConfig, "/one"), "200 200");
  const exported = [];
  for await (const row of vault.logs.export({ label: "told" })) exported.push(row);
  assert.deepEqual(exported.map(({ path, label }) => [path, label]), [["/one", "told"]]);
  const { latestId } = await vault.logs.list({ limit: 1 });
  assert.equal(latestId, exported[0].id);

  // Begins behind the first row; the rest may be there before or after it is open.
  const stop = new AbortController();
  const follow = vault.logs.follow({ label: "told", after: latestId }, { signal: stop.signal });
  const rows = [follow.next()];
  assert.equal(await throughTheProxy(session.containerConfig, "/two"), "200 200");
  assert.equal((await rows[0]).value.path, "/two");
  assert.equal(await throughTheProxy(session.containerConfig, "/three"), "200 200");
  assert.equal((await follow.next()).value.path, "/three");
  const third = follow.next();
  const hosts = await vault.logs.hosts({ limit: 10 });
  assert.equal(hosts.total, hosts.hosts.length);

  await av.vault("told").agents.remove("log-reader");
  await assert.rejects(third, (error) => error instanceof StreamEndedError || error instanceof ApiError);
  stop.abort();
});

test("the operator's side: people, invitations, settings, keys, audit, status", async () => {
  assert.equal((await av.me()).email, "owner@example.com");
  assert.equal((await av.status()).initialized, true);
  assert.equal((await av.health()).status, "ok");
  assert.equal((await av.ready()).status, "ready");
  assert.match(await av.skill(), /agent-vault/);
  assert.ok((await av.catalog()).some(({ id }) => id === "github"));
  assert.ok((await av.credentialStores()).includes("builtin"));

  const invite = await av.invites.create({ email: "guest@example.com", vaults: [{ vault: "default", role: "member" }] });
  assert.deepEqual(invite.vaults, [{ vault: "default", role: "member" }]);
  const again = await av.invites.again(invite.id);
  await av.invites.revoke(again.id);
  assert.deepEqual((await av.invites.list({ status: "pending" })).map(({ id }) => id), []);
  assert.deepEqual((await av.users.list()).map(({ email, role }) => [email, role]), [["owner@example.com", "owner"]]);
  assert.equal((await av.users.get("owner@example.com")).role, "owner");
  await assert.rejects(av.users.setRole("owner@example.com", "member"), ConflictError);

  await av.createVault({ name: "mine" });
  assert.equal((await av.vaultContext("mine")).vaultRole, "admin");
  assert.equal((await av.vault("mine").settings.set({ unmatchedHostPolicy: "deny" })).unmatchedHostPolicy, "deny");
  assert.equal((await av.vault("mine").settings.get()).unmatchedHostPolicy, "deny");
  assert.deepEqual((await av.vault("mine").users.list()).map(({ email }) => email), ["owner@example.com"]);
  assert.equal((await av.renameVault("mine", "ours")).newName, "ours");
  assert.ok((await av.listAllVaults()).some(({ name }) => name === "ours"));

  const changed = await av.settings.set({ inviteOnly: true, logsRetention: { maxRowsPerVault: 5000 } });
  assert.deepEqual([changed.inviteOnly, changed.logsRetention.maxRowsPerVault], [true, 5000]);
  assert.equal((await av.settings.get()).inviteOnly, true);
  await av.settings.set({ inviteOnly: false });
  // The test's server has its limits from the environment, which counts first.
  assert.equal((await av.settings.previewRateLimit({ profile: "strict", overrides: {} })).off, true);
  const { keyId } = await av.keys.state();
  assert.ok(keyId);

  const page = await av.audit.list({ action: "vault.rename", limit: 1 });
  assert.equal(page.records[0].actorName, "owner@example.com");
  const records = [];
  for await (const record of av.audit.all({ action: "vault", limit: 2 })) records.push(record.seq);
  assert.ok(records.length > 2 && records.every((seq, index) => index === 0 || seq < records[index - 1]));
  const lines = [];
  for await (const line of av.audit.export()) lines.push(line);
  writeFileSync(join(server.folder, "audit.jsonl"), `${lines.join("\n")}\n`);
  const verdict = await av.audit.verify();
  assert.equal(verdict.intact, true);
  // What is written like this is what the command checks, offline.
  await run(server.binary, ["audit", "verify", "--export", join(server.folder, "audit.jsonl")]);
});

test("agents come, change and go", async () => {
  await av.createVault({ name: "crew" });
  const first = await av.agents.create({ name: "worker", ttlSeconds: 3600 });
  assert.ok(first.tokenExpiresAt);
  const { agents } = av.vault("crew");
  await agents.add("worker");
  assert.deepEqual((await agents.list()).map(({ name, role }) => [name, role]), [["worker", "proxy"]]);
  const change = await agents.setRole("worker", "member");
  assert.deepEqual([change.oldRole, change.newRole], ["proxy", "member"]);
  assert.deepEqual((await av.agents.get("worker")).vaults, [{ vault: "crew", role: "member" }]);
  await agents.remove("worker");
  assert.deepEqual(await agents.list(), []);

  const second = await av.agents.rotate("worker");
  assert.notEqual(second.token, first.token);
  const old = new AgentVault({ address: server.url, token: first.token });
  await assert.rejects(old.listVaults(), (error) => error.status === 401);
  await new AgentVault({ address: server.url, token: second.token }).listVaults();
  assert.equal((await av.agents.rename("worker", "worked")).newName, "worked");
  await av.agents.rename("worked", "worker");
  assert.equal((await av.agents.setRole("worker", "member")).newRole, "member");
  await av.agents.revoke("worker");
  assert.ok((await av.agents.list()).find(({ name }) => name === "worker")?.revokedAt);
  await av.agents.delete("worker");
  await assert.rejects(av.agents.get("worker"), (error) => error instanceof ApiError && error.status === 404);
});

test("a rotation with an overlap leaves the former token good, until it is ended by its id", async () => {
  const first = await av.agents.create({ name: "overlapping", role: "member", label: "first" });
  const second = await av.agents.rotate("overlapping", { overlapSeconds: 3600, label: "second" });
  assert.ok(second.formerTokensEndAt);
  const tokens = await av.agents.tokens("overlapping");
  assert.deepEqual(tokens.map(({ label, expiresAt }) => [label, expiresAt !== null]).sort(), [["first", true], ["second", false]]);
  const former = new AgentVault({ address: server.url, token: first.token });
  assert.equal((await former.me()).agentName, "overlapping");
  await av.agents.revokeToken("overlapping", tokens.find(({ label }) => label === "first").id);
  await assert.rejects(former.me(), (error) => error.status === 401);
  assert.deepEqual((await av.agents.tokens("overlapping")).map(({ label }) => label), ["second"]);
});

test("a session has its services, its budget and its sources, and no more", async () => {
  await av.createVault({ name: "bounded" });
  const vault = av.vault("bounded");
  const auth = { type: "passthrough" };
  await vault.services.set([{ name: "mine", host: server.upstream, path: "/mine/*", auth }, { name: "other", host: server.upstream, path: "/other/*", auth }]);
  const session = await vault.sessions.create({ services: ["mine"], requestBudget: 2, sources: ["127.0.0.0/8"] });
  const config = session.containerConfig;
  assert.equal(await throughTheProxy(config, "/mine/1"), "200 200");
  const [listed] = await vault.sessions.list();
  assert.deepEqual([listed.services, listed.requestBudget, listed.requestsLeft, listed.sources], [["mine"], 2, 1, ["127.0.0.0/8"]]);
  const scoped = new VaultClient({ address: server.url, token: session.token });
  const discovered = await scoped.discover();
  assert.deepEqual([discovered.requestBudget, discovered.requestsLeft], [2, 1]);
  assert.deepEqual(discovered.services.map(({ name }) => name), ["mine"]);
  assert.equal(await throughTheProxy(config, "/mine/2"), "200 200");
  assert.equal((await vault.sessions.list())[0].requestsLeft, 0);
  assert.notEqual(await throughTheProxy(config, "/mine/3"), "200 200");

  const narrow = await vault.sessions.create({ services: ["mine"] });
  assert.notEqual(await throughTheProxy(narrow.containerConfig, "/other/1"), "200 200");
  const elsewhere = await vault.sessions.create({ sources: ["192.0.2.0/24"] });
  assert.notEqual(await throughTheProxy(elsewhere.containerConfig, "/mine/4"), "200 200");
  assert.deepEqual(server.received().map(({ path }) => path).filter((path) => /^\/(mine|other)\//.test(path)), ["/mine/1", "/mine/2"]);
  await assert.rejects(vault.sessions.create({ services: ["nothing"] }), (error) => error instanceof ApiError && error.status === 400);
});

test("a webhook is told, and says what became of it", async () => {
  await av.createVault({ name: "hooked" });
  const secrets = [];
  for (const [path, hooks] of [["/hooks/vault", av.vault("hooked").webhooks], ["/hooks/instance", av.webhooks]]) {
    const url = `https://${server.upstream}${path}`;
    const made = await hooks.create({ url, description: "a test's", events: ["limit.hit"] });
    assert.match(made.secret, /^whsec_/);
    assert.ok(!inspect(made).includes(made.secret));
    secrets.push(made.secret);
    assert.deepEqual((await hooks.list()).map(({ id, url, events, state }) => [id, url, events, state]), [[made.id, url, ["limit.hit"], "active"]]);

    const { eventId } = await hooks.test(made.id);
    let delivery;
    for (const end = Date.now() + 60_000; delivery?.status !== "delivered" && Date.now() < end; ) {
      [delivery] = await hooks.deliveries(made.id, { limit: 1 });
    }
    assert.deepEqual([delivery.eventId, delivery.event, delivery.status, delivery.responseStatus], [eventId, "webhook.test", "delivered", 200]);
    const came = server.received().filter((request) => request.path === path);
    assert.deepEqual(came.map(({ headers }) => headers["webhook-id"]), [eventId]);

    assert.equal((await hooks.change(made.id, { description: "another", enabled: false })).state, "off");
    const rotated = await hooks.rotate(made.id, { overlapSeconds: 60 });
    assert.ok(rotated.formerSecretUntil && !secrets.includes(rotated.secret));
    assert.equal((await hooks.get(made.id)).description, "another");
    await hooks.remove(made.id);
    await assert.rejects(hooks.get(made.id), NotFoundError);
    await assert.rejects(hooks.create({ url: "http://plain.example.com/" }), (error) => error instanceof ApiError && error.status === 400);
  }
});

test("a credential is connected by OAuth: a person's way is prepared, tokens are taken", async () => {
  await av.createVault({ name: "granted" });
  const { oauth, credentials } = av.vault("granted");
  const client = { authorizationUrl: "https://provider.example.com/authorize", tokenUrl: "https://provider.example.com/token", clientId: "client-7" };
  const connecting = await oauth.connect("PROVIDER", { ...client, clientSecret: "a-client-secret", scopes: "read write" });
  assert.ok(connecting.startUrl.startsWith(`${server.url}/`));
  const way = new URL(connecting.authorizationUrl);
  assert.equal(`${way.origin}${way.pathname}`, client.authorizationUrl);
  assert.deepEqual(["client_id", "scope", "redirect_uri", "code_challenge_method"].map((name) => way.searchParams.get(name)), ["client-7", "read write", `${server.url}/v1/oauth/callback`, "S256"]);
  const state = way.searchParams.get("state");
  assert.ok(state.length >= 32);
  const shown = inspect(connecting);
  assert.ok(!shown.includes(state) && !shown.includes(connecting.startUrl));
  const again = await oauth.connect("PROVIDER");
  assert.notEqual(new URL(again.authorizationUrl).searchParams.get("state"), state);

  const waiting = await oauth.status("PROVIDER", { consent: again.consent });
  assert.deepEqual([waiting.connected, waiting.consent.id, waiting.consent.status], [false, again.consent, "pending"]);
  const connected = await oauth.setTokens("GIVEN", { accessToken: "an-access-token-0123456789" });
  assert.deepEqual([connected.connected, connected.refreshable], [true, false]);
  assert.equal((await oauth.status("GIVEN")).connected, true);
  assert.equal((await credentials.describe()).length, 2);
  const [described, ...others] = await credentials.describe({ key: "GIVEN" });
  assert.deepEqual(others, []);
  assert.equal(described.type, "oauth");
  assert.ok(described.connectedAt && !JSON.stringify(described).includes("an-access-token"));
});

test("an agent asks for a credential by OAuth and names the client", async () => {
  await av.createVault({ name: "wished" });
  const agent = await av.agents.create({ name: "wisher", vaults: [{ vault: "wished", role: "proxy" }] });
  const asker = new VaultClient({ address: server.url, token: agent.token, vault: "wished" });
  const oauth = { authorizationUrl: "https://provider.example.com/authorize", tokenUrl: "https://provider.example.com/token", scopes: "read" };
  const { id } = await asker.proposals.create({ credentials: [{ action: "set", key: "BY_OAUTH", type: "oauth", oauth }] });
  const [slot] = (await av.vault("wished").proposals.review(id)).credentials;
  assert.deepEqual([slot.type, slot.oauth.authorizationUrl, slot.oauth.tokenUrl, slot.oauth.scopes], ["oauth", oauth.authorizationUrl, oauth.tokenUrl, "read"]);
});

test("a vault has its credentials from an external store, until it is disconnected", async () => {
  await av.createVault({ name: "external" });
  const { store, credentials } = av.vault("external");
  assert.equal(await store.get(), null);
  await assert.rejects(store.sync(), (error) => error instanceof ApiError && error.message.includes("no external"));
  const there = { projectId: "project-1", environment: "dev", secretPath: "/" };
  const wanted = { kind: "infisical", config: there, pollIntervalSeconds: 3600 };
  await assert.rejects(store.connect({ ...wanted, config: { ...there, projectId: "another" } }), ApiError);
  assert.equal(await store.get(), null);

  const connected = await store.connect(wanted);
  assert.deepEqual([connected.kind, connected.config, connected.pollIntervalSeconds, connected.lastSyncStatus], ["infisical", there, 3600, "ok"]);
  assert.equal((await store.get()).kind, "infisical");
  assert.deepEqual((await credentials.list()).keys, ["FROM_STORE"]);
  await assert.rejects(credentials.set({ MINE: "mine-0123456789" }), (error) => error instanceof ConflictError && error.code === "external_credential_store");
  const synced = await store.sync();
  assert.ok(synced.lastSuccessAt >= connected.lastSuccessAt);
  assert.equal((await av.listVaults()).find(({ name }) => name === "external").credentialStore.kind, "infisical");

  assert.equal((await store.disconnect()).kind, "builtin");
  assert.equal(await store.get(), null);
  await credentials.set({ MINE: "mine-0123456789" });
  assert.deepEqual((await credentials.list()).keys, ["FROM_STORE", "MINE"]);

  const made = await av.createVault({ name: "external-too", credentialStore: wanted });
  assert.deepEqual([made.credentialStore.kind, made.credentialStore.config], ["infisical", there]);
});

for (const [runtime, ...before] of [[process.execPath], ["deno", "run", "--allow-env", "--allow-net"], ["bun", "run"]]) {
  const there = await run(runtime, ["--version"]).then(() => true, () => false);
  test(`the same on ${runtime.split("/").at(-1)}, and no token in what it prints`, { skip: there ? false : "it is not installed" }, async () => {
    const env = { PATH: process.env.PATH, HOME: server.folder, AGENT_VAULT_ADDR: server.url, AGENT_VAULT_TOKEN: server.token };
    const script = new URL("smoke.mjs", import.meta.url).pathname;
    const { stdout, stderr } = await run(runtime, [...before, script], { env });
    assert.match(stdout, /whole/);
    assert.match(stdout, /\[hidden\]/);
    assert.doesNotMatch(stdout + stderr, /av_sess_|av_agt_/);
    assert.ok(!(stdout + stderr).includes(server.token));
  });
}

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
