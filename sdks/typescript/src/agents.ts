import type { Call, CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { Agent, AgentDetail, AgentToken, CreatedAgent, Renamed, RoleChange, RotatedAgent, VaultAgent, VaultRoleChange } from "./models.js";
import { readAgent, readAgentDetail, readAgentToken, readCreatedAgent, readRenamed, readRoleChange, readRotatedAgent, readVaultAgent, readVaultRoleChange } from "./readers.js";
import { at, list, nothing } from "./read.js";

export type VaultRole = "proxy" | "member" | "admin";

export interface CreateAgentOptions extends CallOptions {
  name: string;
  /** Role on the instance: `no-access` (the default), `member` or `owner`. */
  role?: string | undefined;
  /** Vaults it may use from the start. */
  vaults?: { vault: string; role?: VaultRole | undefined }[] | undefined;
  /** Life of its token in seconds. Default: without end. */
  ttlSeconds?: number | undefined;
  /** What its token is called in lists and logs. */
  label?: string | undefined;
}

export interface RotateAgentOptions extends CallOptions {
  /** Life of the new token in seconds. Default: without end. */
  ttlSeconds?: number | undefined;
  /** For how long the former tokens stay good, 0 to 604800. Default: they end at once. */
  overlapSeconds?: number | undefined;
  /** What the new token is called in lists and logs. */
  label?: string | undefined;
}

/** Agents of the instance. */
export class AgentsResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async list(options: CallOptions = {}): Promise<Agent[]> {
    return this.#http.json({ method: "GET", path: "/v1/agents", signal: options.signal }, at("agents", list(readAgent)));
  }

  async get(name: string, options: CallOptions = {}): Promise<AgentDetail> {
    return this.#http.json({ method: "GET", path: this.#one(name), signal: options.signal }, readAgentDetail);
  }

  /** Its token is shown once. */
  async create(options: CreateAgentOptions): Promise<CreatedAgent> {
    const { name, role, ttlSeconds, label, signal } = options;
    const vaults = options.vaults?.map(({ vault, role }) => ({ vault_name: vault, vault_role: role }));
    const body = { name, role, vaults, ttl_seconds: ttlSeconds, label };
    return this.#http.json({ method: "POST", path: "/v1/agents", body, signal }, readCreatedAgent);
  }

  /** Replaces its tokens by a new one, shown once; at once, or with an overlap. */
  async rotate(name: string, options: RotateAgentOptions = {}): Promise<RotatedAgent> {
    const { ttlSeconds: ttl_seconds, overlapSeconds: overlap_seconds, label } = options;
    return this.#http.json(this.#post(name, "rotate", options, { ttl_seconds, overlap_seconds, label }), readRotatedAgent);
  }

  /** Its live tokens, newest first: more than one after a rotation with an overlap. */
  async tokens(name: string, options: CallOptions = {}): Promise<AgentToken[]> {
    return this.#http.json({ method: "GET", path: `${this.#one(name)}/tokens`, signal: options.signal }, at("tokens", list(readAgentToken)));
  }

  /** Ends one of its tokens by its public id. */
  async revokeToken(name: string, id: string, options: CallOptions = {}): Promise<void> {
    const path = `${this.#one(name)}/tokens/${segment(id, "a token")}`;
    await this.#http.json({ method: "DELETE", path, signal: options.signal }, nothing);
  }

  async rename(name: string, newName: string, options: CallOptions = {}): Promise<Renamed> {
    return this.#http.json(this.#post(name, "rename", options, { name: newName }), readRenamed);
  }

  /** Its role on the instance: `no-access`, `member` or `owner`. */
  async setRole(name: string, role: string, options: CallOptions = {}): Promise<RoleChange> {
    return this.#http.json(this.#post(name, "role", options, { role }), readRoleChange);
  }

  /** Ends its tokens; its name stays taken. */
  async revoke(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#one(name), signal: options.signal }, nothing);
  }

  /** Deletes it; its name becomes free. */
  async delete(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json(this.#post(name, "delete", options), nothing);
  }

  #post(name: string, what: string, { signal }: CallOptions, body?: unknown): Call {
    return { method: "POST", path: `${this.#one(name)}/${what}`, body, signal };
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

  async list(options: CallOptions = {}): Promise<VaultAgent[]> {
    return this.#http.json({ method: "GET", path: this.#path, signal: options.signal }, at("agents", list(readVaultAgent)));
  }

  async add(name: string, role: VaultRole = "proxy", options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "POST", path: this.#path, body: { name, role }, signal: options.signal }, nothing);
  }

  async setRole(name: string, role: VaultRole, options: CallOptions = {}): Promise<VaultRoleChange> {
    return this.#http.json({ method: "POST", path: `${this.#one(name)}/role`, body: { role }, signal: options.signal }, readVaultRoleChange);
  }

  /** The vault's tokens that it minted end too. */
  async remove(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#one(name), signal: options.signal }, nothing);
  }

  #one(name: string): string {
    return `${this.#path}/${segment(name, "an agent")}`;
  }
}
