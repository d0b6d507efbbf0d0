import type { VaultRole } from "./agents.js";
import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { CreatedInvite, Invite, RemovedUser, User, UserDetail, UserRole, VaultUser, VaultUserGrant } from "./models.js";
import {
  readCreatedInvite,
  readInvite,
  readRemovedUser,
  readUser,
  readUserDetail,
  readUserRole,
  readVaultUser,
  readVaultUserGrant,
} from "./readers.js";
import { at, list, nothing } from "./read.js";

/** People of the instance; for its owners. */
export class UsersResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async list(options: CallOptions = {}): Promise<User[]> {
    return this.#http.json({ method: "GET", path: "/v1/users", signal: options.signal }, at("users", list(readUser)));
  }

  async get(email: string, options: CallOptions = {}): Promise<UserDetail> {
    return this.#http.json({ method: "GET", path: this.#one(email), signal: options.signal }, readUserDetail);
  }

  /** `owner`, `member` or `no-access`. The last owner stays one. */
  async setRole(email: string, role: string, options: CallOptions = {}): Promise<UserRole> {
    return this.#http.json({ method: "POST", path: `${this.#one(email)}/role`, body: { role }, signal: options.signal }, readUserRole);
  }

  /** For somebody who has lost it. */
  async removeSecondFactor(email: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: `${this.#one(email)}/totp`, signal: options.signal }, nothing);
  }

  /** `agents` says what becomes of the agents that this person made. */
  async delete(email: string, options: { agents?: "keep" | "revoke" | undefined } & CallOptions = {}): Promise<RemovedUser> {
    const query = { agents: options.agents };
    return this.#http.json({ method: "DELETE", path: this.#one(email), query, signal: options.signal }, readRemovedUser);
  }

  #one(email: string): string {
    return `/v1/admin/users/${segment(email, "a person")}`;
  }
}

export interface CreateInviteOptions extends CallOptions {
  email: string;
  /** Role on the instance. Default `member`. */
  role?: string | undefined;
  vaults?: { vault: string; role?: VaultRole | undefined }[] | undefined;
}

/** Invitations to the instance. */
export class InvitesResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /** Of those that are `pending`, `accepted`, `revoked` or `expired`, or all. */
  async list(options: { status?: string | undefined } & CallOptions = {}): Promise<Invite[]> {
    return this.#http.json(
      { method: "GET", path: "/v1/users/invites", query: { status: options.status }, signal: options.signal },
      at("invites", list(readInvite)),
    );
  }

  /** Sends a letter, or gives the link where no mail goes out. */
  async create({ email, role, vaults, signal }: CreateInviteOptions): Promise<CreatedInvite> {
    const body = { email, role, vaults: vaults?.map(({ vault, role }) => ({ vault_name: vault, vault_role: role })) };
    return this.#http.json({ method: "POST", path: "/v1/users/invites", body, signal }, readCreatedInvite);
  }

  /** Sends it once more, with a new link. */
  async again(id: string, options: CallOptions = {}): Promise<CreatedInvite> {
    return this.#http.json({ method: "POST", path: `${this.#one(id)}/reinvite`, signal: options.signal }, readCreatedInvite);
  }

  async revoke(id: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#one(id), signal: options.signal }, nothing);
  }

  #one(id: string): string {
    return `/v1/users/invites/${segment(id, "an invitation")}`;
  }
}

/** People in one vault. */
export class VaultUsersResource {
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#path = `/v1/vaults/${segment(vault, "a vault")}/users`;
  }

  async list(options: CallOptions = {}): Promise<VaultUser[]> {
    return this.#http.json({ method: "GET", path: this.#path, signal: options.signal }, at("users", list(readVaultUser)));
  }

  async add(email: string, role: VaultRole, options: CallOptions = {}): Promise<VaultUserGrant> {
    return this.#http.json({ method: "POST", path: this.#path, body: { email, role }, signal: options.signal }, readVaultUserGrant);
  }

  async setRole(email: string, role: VaultRole, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "POST", path: `${this.#one(email)}/role`, body: { role }, signal: options.signal }, nothing);
  }

  async remove(email: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#one(email), signal: options.signal }, nothing);
  }

  #one(email: string): string {
    return `${this.#path}/${segment(email, "a person")}`;
  }
}
