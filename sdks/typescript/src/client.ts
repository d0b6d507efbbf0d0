import { AgentsResource, VaultAgentsResource } from "./agents.js";
import { CredentialsResource } from "./credentials.js";
import type { CallOptions, ClientConfig } from "./http.js";
import { HttpClient, environment, segment } from "./http.js";
import { LogsResource } from "./logs.js";
import { ServicesResource } from "./services.js";
import { SessionsResource } from "./sessions.js";

export interface VaultClientConfig extends ClientConfig {
  /** Name of the vault. Default: `AGENT_VAULT_VAULT`. A vault's own token needs none for its credentials. */
  vault?: string | undefined;
}

export interface Vault {
  id: string;
  name: string;
  createdAt: string;
}

/** What a vault brokers, as its agents see it. */
export interface Discovery {
  vault: string;
  services: { name: string; host: string; enabled: boolean }[];
  availableCredentials: string[];
  /** Keys that enabled services use and the vault lacks. */
  missingCredentials: string[];
  /** What an agent's environment holds instead of each key. */
  placeholders: Record<string, string>;
}

const CONNECTION = Symbol("connection");

/** One vault. */
export class VaultClient {
  /** `undefined` where neither `vault` nor `AGENT_VAULT_VAULT` says it. */
  readonly name: string | undefined;
  readonly credentials: CredentialsResource;
  /** These need to know the vault's name. */
  readonly sessions: SessionsResource | undefined;
  readonly services: ServicesResource | undefined;
  readonly logs: LogsResource | undefined;
  readonly agents: VaultAgentsResource | undefined;
  readonly #http: HttpClient;

  constructor(config: VaultClientConfig & { [CONNECTION]?: HttpClient } = {}) {
    const name = config.vault ?? (environment("AGENT_VAULT_VAULT") || undefined);
    const connection = config[CONNECTION] ?? new HttpClient(config);
    this.#http = name === undefined ? connection : connection.with({ "x-vault": name });
    this.name = name;
    this.credentials = new CredentialsResource(this.#http, name);
    if (name !== undefined) {
      this.sessions = new SessionsResource(this.#http, name);
      this.services = new ServicesResource(this.#http, name);
      this.logs = new LogsResource(this.#http, name);
      this.agents = new VaultAgentsResource(this.#http, name);
    }
  }

  /** What the vault brokers. */
  async discover(options: CallOptions = {}): Promise<Discovery> {
    const found = await this.#http.json<{
      vault: string;
      services: Discovery["services"];
      available_credentials: string[];
      missing_credentials: string[];
      placeholders: Record<string, string>;
    }>({ method: "GET", path: "/discover", signal: options.signal });
    return {
      vault: found.vault,
      services: found.services,
      availableCredentials: found.available_credentials,
      missingCredentials: found.missing_credentials,
      placeholders: found.placeholders,
    };
  }
}

/** A vault whose name is known, so everything is there. */
export type NamedVaultClient = VaultClient & {
  readonly name: string;
  readonly sessions: SessionsResource;
  readonly services: ServicesResource;
  readonly logs: LogsResource;
  readonly agents: VaultAgentsResource;
};

/** The instance. */
export class AgentVault {
  readonly agents: AgentsResource;
  readonly #http: HttpClient;

  constructor(config: ClientConfig = {}) {
    this.#http = new HttpClient(config);
    this.agents = new AgentsResource(this.#http);
  }

  /** A client of one vault. */
  vault(name: string): NamedVaultClient {
    return new VaultClient({ vault: name, [CONNECTION]: this.#http }) as NamedVaultClient;
  }

  /** Vaults that the caller may see; `role` is `null` where it is no member. */
  async listVaults(options: CallOptions = {}): Promise<(Vault & { role: string | null })[]> {
    const { vaults } = await this.#http.json<{ vaults: { id: string; name: string; created_at: string; role?: string | null }[] }>({
      method: "GET",
      path: "/v1/vaults",
      signal: options.signal,
    });
    return vaults.map(({ id, name, created_at, role }) => ({ id, name, createdAt: created_at, role: role ?? null }));
  }

  async createVault(vault: { name: string }, options: CallOptions = {}): Promise<Vault> {
    const made = await this.#http.json<{ id: string; name: string; created_at: string }>({
      method: "POST",
      path: "/v1/vaults",
      body: { name: vault.name },
      signal: options.signal,
    });
    return { id: made.id, name: made.name, createdAt: made.created_at };
  }

  async deleteVault(name: string, options: CallOptions = {}): Promise<{ name: string; deleted: boolean }> {
    return this.#http.json({ method: "DELETE", path: `/v1/vaults/${segment(name, "a vault")}`, signal: options.signal });
  }
}
