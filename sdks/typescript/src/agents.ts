import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";

export type VaultRole = "proxy" | "member" | "admin";

export interface VaultGrant {
  vault: string;
  role: string;
}

export interface Agent {
  name: string;
  /** Role on the instance. */
  role: string;
  status: string;
  vaults: VaultGrant[];
  createdAt: string;
  lastUsedAt: string | null;
  revokedAt: string | null;
  tokenExpiresAt: string | null;
}

export interface CreateAgentOptions extends CallOptions {
  name: string;
  /** Role on the instance. Default: the server's. */
  role?: string | undefined;
  /** Vaults it may use from the start. */
  vaults?: { vault: string; role?: VaultRole }[] | undefined;
  /** Life of its token in seconds. Default: without end. */
  ttlSeconds?: number | undefined;
}

export interface AgentToken {
  name: string;
  /** Shown once. */
  token: string;
  tokenExpiresAt: string | null;
}

interface WireAgent {
  name: string;
  role: string;
  status: string;
  vaults: { vault_name: string; vault_role: string }[];
  created_at: string;
  last_used_at?: string | null;
  revoked_at?: string | null;
  token_expires_at?: string | null;
}

function agent(wire: WireAgent): Agent {
  return {
    name: wire.name,
    role: wire.role,
    status: wire.status,
    vaults: wire.vaults.map((grant) => ({ vault: grant.vault_name, role: grant.vault_role })),
    createdAt: wire.created_at,
    lastUsedAt: wire.last_used_at ?? null,
    revokedAt: wire.revoked_at ?? null,
    tokenExpiresAt: wire.token_expires_at ?? null,
  };
}

/** Agents of the instance. */
export class AgentsResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async list(options: CallOptions = {}): Promise<Agent[]> {
    const { agents } = await this.#http.json<{ agents: WireAgent[] }>({ method: "GET", path: "/v1/agents", signal: options.signal });
    return agents.map(agent);
  }

  async get(name: string, options: CallOptions = {}): Promise<Agent> {
    return agent(await this.#http.json<WireAgent>({ method: "GET", path: this.#one(name), signal: options.signal }));
  }

  async create(options: CreateAgentOptions): Promise<AgentToken> {
    const vaults = options.vaults?.map(({ vault, role }) => ({ vault_name: vault, vault_role: role }));
    return this.#token({
      method: "POST",
      path: "/v1/agents",
      body: { name: options.name, role: options.role, vaults, ttl_seconds: options.ttlSeconds },
      signal: options.signal,
    });
  }

  /** Replaces its tokens by a new one. */
  async rotate(name: string, options: CallOptions & { ttlSeconds?: number | undefined } = {}): Promise<AgentToken> {
    return this.#token({
      method: "POST",
      path: `${this.#one(name)}/rotate`,
      body: { ttl_seconds: options.ttlSeconds },
      signal: options.signal,
    });
  }

  /** Ends its tokens; its name stays taken. */
  async revoke(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#one(name), signal: options.signal });
  }

  /** Deletes it; its name becomes free. */
  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "POST", path: `${this.#one(name)}/delete`, signal: options.signal });
  }

  async #token(call: Parameters<HttpClient["json"]>[0]): Promise<AgentToken> {
    const made = await this.#http.json<{ name: string; av_agent_token: string; token_expires_at?: string | null }>(call);
    return { name: made.name, token: made.av_agent_token, tokenExpiresAt: made.token_expires_at ?? null };
  }

  #one(name: string): string {
    return `/v1/agents/${segment(name, "an agent")}`;
  }
}

/** Agents in one vault. */
export class VaultAgentsResource {
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#path = `/v1/vaults/${segment(vault, "a vault")}/agents`;
  }

  async list(options: CallOptions = {}): Promise<{ name: string; status: string; role: string }[]> {
    const { agents } = await this.#http.json<{ agents: { name: string; status: string; vault_role: string }[] }>({
      method: "GET",
      path: this.#path,
      signal: options.signal,
    });
    return agents.map(({ name, status, vault_role }) => ({ name, status, role: vault_role }));
  }

  async add(name: string, role: VaultRole = "proxy", options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "POST", path: this.#path, body: { name, role }, signal: options.signal });
  }

  async setRole(name: string, role: VaultRole, options: CallOptions = {}): Promise<void> {
    await this.#http.json({
      method: "POST",
      path: `${this.#path}/${segment(name, "an agent")}/role`,
      body: { role },
      signal: options.signal,
    });
  }

  /** The vault's tokens that it minted end too. */
  async remove(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: `${this.#path}/${segment(name, "an agent")}`, signal: options.signal });
  }
}
