// What every runtime has to do, with nothing of any runtime's own: run by server.test.mjs under each that is there.
import { AbortedError, AgentVault, ConflictError } from "../dist/esm/index.js";

function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
}

const av = new AgentVault();
const name = `smoke-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
await av.createVault({ name });
const refused = await av.createVault({ name }).catch((error) => error);
check(refused instanceof ConflictError && refused.message.includes(name), "a taken name is a ConflictError");

const vault = av.vault(name);
await vault.credentials.set({ KEY: "value-0123456789" });
const { revision } = await vault.services.set([{ name: "smoke", host: "api.example.com", auth: { type: "bearer", token: "KEY" } }]);
check((await vault.services.dryRun.clear({ ifRevision: revision })).changes.length === 1, "a dry run");
const session = await vault.sessions.create({ ttlSeconds: 300 });
console.log(session, av);

for await (const _ of vault.logs.export()) check(false, "there is no row yet");
const stop = new AbortController();
const next = vault.logs.follow({}, { signal: stop.signal }).next();
setTimeout(() => stop.abort("enough"), 100);
const ended = await next.catch((error) => error);
check(ended instanceof AbortedError && ended.cause === "enough", `an abort ends a stream, and not ${ended}`);

const lost = await new AgentVault({ address: "http://127.0.0.1:9", retries: 0 }).me().catch((error) => error);
check(lost.name === "NetworkError", `no server is a NetworkError, and not ${lost}`);
await av.deleteVault(name);
console.log("whole");
