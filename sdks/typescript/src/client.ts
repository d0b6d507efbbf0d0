import { AgentsResource, VaultAgentsResource } from "./agents.js";
import { AuditResource } from "./audit.js";
import { CredentialsResource } from "./credentials.js";
import type { CallOptions, ClientConfig } from "./http.js";
import { HttpClient, environment, segment } from "./http.js";
import { InstanceSettingsResource, KeysResource } from "./instance.js";
import { LogsResource } from "./logs.js";
import type {
  DeletedVault,
  Discovery,
  Identity,
  InstanceVault,
  JoinedVault,
  Readiness,
  Renamed,
  ServerStatus,
  ServiceTemplate,
  Vault,
  VaultContext,
  VaultPolicy,
  VaultSettings,
  VaultSummary,
} from "./models.js";
import {
  readDeletedVault,
  readDiscovery,
  readIdentity,
  readInstanceVault,
  readJoinedVault,
  readReadiness,
  readRenamed,
  readServerStatus,
  readServiceTemplate,
  readVault,
  readVaultContext,
  readVaultPolicy,
  readVaultSettings,
  readVaultSummary,
} from "./readers.js";
import { OAuthResource } from "./oauth.js";
import { ProposalsResource } from "./proposals.js";
import { at, list, nothing, text } from "./read.js";
import { ServicesResource } from "./services.js";
import { SessionsResource } from "./sessions.js";
import type { CredentialStore } from "./stores.js";
import { StoreResource, storeBody } from "./stores.js";
import { InvitesResource, UsersResource, VaultUsersResource } from "./users.js";
import { WebhooksResource } from "./webhooks.js";

export interface VaultClientConfig extends ClientConfig {
  /** Name of the vault. Default: `AGENT_VAULT_VAULT`. A vault's own token needs none for credentials and proposals. */
  vault?: string | undefined;
}

/** Settings of one vault. */
export class VaultSettingsResource {
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#path = `/v1/vaults/${segment(vault, "a vault")}/settings`;
  }

  async get(options: CallOptions = {}): Promise<VaultSettings> {
    return this.#http.json({ method: "GET", path: this.#path, signal: options.signal }, readVaultSettings);
  }

  /** `deny`, `passthrough`, or what the server has for vaults without a setting of their own. */
  async set(change: { unmatchedHostPolicy?: string | undefined }, options: CallOptions = {}): Promise<VaultPolicy> {
    const body = { unmatched_host_policy: change.unmatchedHostPolicy };
    return this.#http.json({ method: "PATCH", path: this.#path, body, signal: options.signal }, readVaultPolicy);
  }
}

const CONNECTION = Symbol("connection");

/** One vault. */
export class VaultClient {
  /** `undefined` where neither `vault` nor `AGENT_VAULT_VAULT` says it. */
  readonly name: string | undefined;
  readonly credentials: CredentialsResource;
  readonly proposals: ProposalsResource;
  readonly oauth: OAuthResource;
  /** These need to know the vault's name. */
  readonly sessions: SessionsResource | undefined;
  readonly services: ServicesResource | undefined;
  readonly logs: LogsResource | undefined;
  readonly agents: VaultAgentsResource | undefined;
  readonly users: VaultUsersResource | undefined;
  readonly settings: VaultSettingsResource | undefined;
  readonly webhooks: WebhooksResource | undefined;
  readonly store: StoreResource | undefined;
  readonly #http: HttpClient;

  constructor(config: VaultClientConfig & { [CONNECTION]?: HttpClient } = {}) {
    const name = config.vault ?? (environment("AGENT_VAULT_VAULT") || undefined);
    const connection = config[CONNECTION] ?? new HttpClient(config);
    this.#http = name === undefined ? connection : connection.with({ "x-vault": name });
    this.name = name;
    this.credentials = new CredentialsResource(this.#http, name);
    this.proposals = new ProposalsResource(this.#http, name);
    this.oauth = new OAuthResource(this.#http, name);
    if (name !== undefined) {
      this.sessions = new SessionsResource(this.#http, name);
      this.services = new ServicesResource(this.#http, name);
      this.logs = new LogsResource(this.#http, name);
      this.agents = new VaultAgentsResource(this.#http, name);
      this.users = new VaultUsersResource(this.#http, name);
      this.settings = new VaultSettingsResource(this.#http, name);
      this.webhooks = new WebhooksResource(this.#http, `/v1/vaults/${segment(name, "a vault")}/webhooks`);
      this.store = new StoreResource(this.#http, name);
    }
  }

  /** What the vault brokers. */
  async discover(options: CallOptions = {}): Promise<Discovery> {
    return this.#http.json({ method: "GET", path: "/discover", signal: options.signal }, readDiscovery);
  }
}

/** A vault whose name is known, so everything is there. */
export type NamedVaultClient = VaultClient & {
  readonly name: string;
  readonly sessions: SessionsResource;
  readonly services: ServicesResource;
  readonly logs: LogsResource;
  readonly agents: VaultAgentsResource;
  readonly users: VaultUsersResource;
  readonly settings: VaultSettingsResource;
  readonly webhooks: WebhooksResource;
  readonly store: StoreResource;
};

/** The instance. */
export class AgentVault {
  readonly agents: AgentsResource;
  readonly users: UsersResource;
  readonly invites: InvitesResource;
  readonly audit: AuditResource;
  readonly settings: InstanceSettingsResource;
  readonly keys: KeysResource;
  readonly webhooks: WebhooksResource;
  readonly #http: HttpClient;

  constructor(config: ClientConfig = {}) {
    this.#http = new HttpClient(config);
    this.agents = new AgentsResource(this.#http);
    this.users = new UsersResource(this.#http);
    this.invites = new InvitesResource(this.#http);
    this.audit = new AuditResource(this.#http);
    this.settings = new InstanceSettingsResource(this.#http);
    this.keys = new KeysResource(this.#http);
    this.webhooks = new WebhooksResource(this.#http, "/v1/instance/webhooks");
  }

  /** A client of one vault. */
  vault(name: string): NamedVaultClient {
    return new VaultClient({ vault: name, [CONNECTION]: this.#http }) as NamedVaultClient;
  }

  /** Vaults that the caller may see; `role` is `null` where it is no member. */
  async listVaults(options: CallOptions = {}): Promise<VaultSummary[]> {
    return this.#http.json({ method: "GET", path: "/v1/vaults", signal: options.signal }, at("vaults", list(readVaultSummary)));
  }

  /** Every vault, for instance owners. */
  async listAllVaults(options: CallOptions = {}): Promise<InstanceVault[]> {
    return this.#http.json({ method: "GET", path: "/v1/admin/vaults", signal: options.signal }, at("vaults", list(readInstanceVault)));
  }

  async createVault(vault: { name: string; credentialStore?: CredentialStore | undefined }, options: CallOptions = {}): Promise<Vault> {
    const body = { name: vault.name, credential_store: vault.credentialStore && storeBody(vault.credentialStore) };
    return this.#http.json({ method: "POST", path: "/v1/vaults", body, signal: options.signal }, readVault);
  }

  async deleteVault(name: string, options: CallOptions = {}): Promise<DeletedVault> {
    return this.#http.json({ method: "DELETE", path: this.#vault(name), signal: options.signal }, readDeletedVault);
  }

  async renameVault(name: string, newName: string, options: CallOptions = {}): Promise<Renamed> {
    return this.#http.json({ method: "POST", path: `${this.#vault(name)}/rename`, body: { name: newName }, signal: options.signal }, readRenamed);
  }

  /** Makes an owner of the instance admin of a vault. */
  async joinVault(name: string, options: CallOptions = {}): Promise<JoinedVault> {
    return this.#http.json({ method: "POST", path: `${this.#vault(name)}/join`, signal: options.signal }, readJoinedVault);
  }

  async leaveVault(name: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "POST", path: `${this.#vault(name)}/leave`, signal: options.signal }, nothing);
  }

  /** The caller's role in a vault. */
  async vaultContext(name: string, options: CallOptions = {}): Promise<VaultContext> {
    return this.#http.json({ method: "GET", path: `${this.#vault(name)}/context`, signal: options.signal }, readVaultContext);
  }

  /** Kinds of stores that a new vault may have its credentials from. */
  async credentialStores(options: CallOptions = {}): Promise<string[]> {
    return this.#http.json({ method: "GET", path: "/v1/instance/credential-stores", signal: options.signal }, at("available", list(text)));
  }

  /** Templates of services. */
  async catalog(options: CallOptions = {}): Promise<ServiceTemplate[]> {
    return this.#http.json({ method: "GET", path: "/v1/service-catalog", signal: options.signal }, at("services", list(readServiceTemplate)));
  }

  /** Who the token's holder is. */
  async me(options: CallOptions = {}): Promise<Identity> {
    return this.#http.json({ method: "GET", path: "/v1/auth/me", signal: options.signal }, readIdentity);
  }

  async status(options: CallOptions = {}): Promise<ServerStatus> {
    return this.#http.json({ method: "GET", path: "/v1/status", signal: options.signal }, readServerStatus);
  }

  /** Whether the server is there at all. */
  async health(options: CallOptions = {}): Promise<{ status: string }> {
    return this.#http.json({ method: "GET", path: "/health", signal: options.signal }, (value, path) => ({ status: at("status", text)(value, path) }));
  }

  /** Whether it can serve; `reasons` says why not. */
  async ready(options: CallOptions = {}): Promise<Readiness> {
    const call = { method: "GET", path: "/ready", signal: options.signal } as const;
    const answer = await this.#http.send(call);
    if (answer.status !== 200 && answer.status !== 503) throw this.#http.error(answer);
    return this.#http.parse(call, answer.text, readReadiness);
  }

  /** What an agent is taught of Agent Vault, as Markdown. */
  async skill(options: CallOptions = {}): Promise<string> {
    const answer = await this.#http.send({ method: "GET", path: "/v1/skills/cli", signal: options.signal });
    if (answer.status !== 200) throw this.#http.error(answer);
    return answer.text;
  }

  #vault(name: string): string {
    return `/v1/vaults/${segment(name, "a vault")}`;
  }
}
