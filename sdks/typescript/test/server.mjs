// A server of the real binary, a TLS upstream and an external store, on free ports of loopback and in a temporary folder.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const TARGET = fileURLToPath(new URL("../../../target/debug/", import.meta.url));
const PATIENCE_MS = 60_000;

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function until(what, ready) {
  const end = Date.now() + PATIENCE_MS;
  while (Date.now() < end) {
    const value = await ready();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
}

/** Registers the owner too. */
export async function start() {
  const binary = process.env.AGENT_VAULT_BIN ?? join(TARGET, "agent-vault");
  const folder = mkdtempSync(join(tmpdir(), "agent-vault-sdk-"));
  const children = [];
  const stop = async () => {
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const run = (program, args, env = {}) => {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(AGENT_VAULT|INFISICAL)_/.test(name));
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...Object.fromEntries(inherited), ...env } });
    child.output = "";
    child.stderr.on("data", (data) => (child.output += data));
    children.push(child);
    return child;
  };
  try {
    run(join(TARGET, "echo-upstream"), [
      ...["--ca-out", join(folder, "ca.pem"), "--log", join(folder, "received.jsonl")],
      ...["--addr-out", join(folder, "address")],
    ]);
    const address = await until("the upstream", () => existsSync(join(folder, "address")) && readFileSync(join(folder, "address"), "utf8").trim());
    run("python3", [fileURLToPath(new URL("../../infisical.py", import.meta.url)), join(folder, "store")]);
    const store = await until("the store", () => existsSync(join(folder, "store")) && readFileSync(join(folder, "store"), "utf8"));
    const upstream = `localhost:${address.split(":").at(-1)}`;

    for (let attempt = 0; ; attempt++) {
      const [port, proxyPort] = [await freePort(), await freePort()];
      const server = run(binary, ["server", "--port", port, "--mitm-port", proxyPort], {
        AGENT_VAULT_HOME: join(folder, "home"),
        AGENT_VAULT_DEV_MODE: "true",
        AGENT_VAULT_NETWORK_ALLOWLIST: "127.0.0.0/8,::1",
        AGENT_VAULT_UPSTREAM_CA: join(folder, "ca.pem"),
        AGENT_VAULT_RATELIMIT_PROFILE: "off",
        INFISICAL_URL: store,
        INFISICAL_UNIVERSAL_AUTH_CLIENT_ID: "client-1",
        INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET: "secret-1",
      });
      const url = `http://127.0.0.1:${port}`;
      const up = await until("the server", async () => {
        if (server.exitCode !== null) return "ended";
        const answer = await fetch(`${url}/health`).catch(() => undefined);
        return answer?.ok ? "up" : undefined;
      });
      // Another process may have taken a port in between.
      if (up === "ended") {
        if (attempt < 5) continue;
        throw new Error(`the server does not start: ${server.output}`);
      }
      const registered = await fetch(`${url}/v1/auth/register`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ email: "owner@example.com", password: "correct horse battery staple" }),
      });
      if (registered.status !== 201) throw new Error(`register: ${registered.status} ${await registered.text()}`);
      const { token } = await registered.json();
      const received = () =>
        readFileSync(join(folder, "received.jsonl"), "utf8")
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line));
      return { binary, url, proxyPort, token, upstream, folder, received, stop };
    }
  } catch (error) {
    await stop();
    throw error;
  }
}
