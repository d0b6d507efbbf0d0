import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { Credential, CredentialExpiry, CredentialInForce, CredentialVersions, DeletedVersion, StoredKeys } from "./models.js";
import {
  readCredential,
  readCredentialExpiry,
  readCredentialInForce,
  readCredentialVersions,
  readDeletedVersion,
  readStoredKeys,
} from "./readers.js";
import { at, fields, list, listOrEmpty, orNull, text } from "./read.js";

export interface ListCredentialsOptions extends CallOptions {
  /** Shows values; needs the role `member`. */
  reveal?: boolean | undefined;
  /** Only this one. */
  key?: string | undefined;
}

/** A credential with its value. */
export interface RevealedCredential extends Credential {
  /** Empty where there is none. */
  value: string;
}

export interface CredentialList {
  keys: string[];
  /** Only with `reveal`. */
  credentials?: RevealedCredential[];
}

export interface SetCredentialsOptions extends CallOptions {
  /** From when on they count as absent, RFC 3339. */
  expiresAt?: string | undefined;
}

/** Credentials of a vault. */
export class CredentialsResource {
  readonly #http: HttpClient;
  readonly #vault: string | undefined;

  constructor(http: HttpClient, vault: string | undefined) {
    this.#http = http;
    this.#vault = vault;
  }

  async list(options: ListCredentialsOptions = {}): Promise<CredentialList> {
    const { keys, credentials } = await this.#list(options, options.reveal === true);
    if (!options.reveal) return { keys };
    return { keys, credentials: credentials.map((one) => Object.assign(one, { value: one.value ?? "" })) };
  }

  /** What is known of each beside its value: version, expiry, kind. Needs the role `member`. */
  async describe(options: { key?: string | undefined } & CallOptions = {}): Promise<Credential[]> {
    // The server picks one only where it reveals.
    const { credentials } = await this.#list({ signal: options.signal }, false);
    return options.key === undefined ? credentials : credentials.filter(({ key }) => key === options.key);
  }

  /** Adds or replaces, all or none. `warnings` says what there is to know of them. */
  async set(credentials: Record<string, string>, options: SetCredentialsOptions = {}): Promise<StoredKeys> {
    return this.#http.json(
      {
        method: "POST",
        path: "/v1/credentials",
        body: { vault: this.#vault, credentials, expires_at: options.expiresAt },
        signal: options.signal,
      },
      readStoredKeys,
    );
  }

  /** All or none. */
  async delete(keys: string[], options: CallOptions = {}): Promise<{ deleted: string[] }> {
    return this.#http.json(
      { method: "DELETE", path: "/v1/credentials", body: { vault: this.#vault, keys }, signal: options.signal },
      (value, path) => ({ deleted: at("deleted", list(text))(value, path) }),
    );
  }

  /** The versions that are kept, without their values. */
  async versions(key: string, options: CallOptions = {}): Promise<CredentialVersions> {
    return this.#http.json(
      { method: "GET", path: this.#one(key, "/versions"), query: { vault: this.#vault }, signal: options.signal },
      readCredentialVersions,
    );
  }

  /** Puts a former value in force, as a new version. */
  async rollBack(key: string, version: number, options: CallOptions = {}): Promise<CredentialInForce> {
    return this.#http.json(
      { method: "POST", path: this.#one(key, "/rollback"), body: { vault: this.#vault, version }, signal: options.signal },
      readCredentialInForce,
    );
  }

  /** Says from when on it counts as absent, RFC 3339; `null`: never. */
  async expire(key: string, expiresAt: string | null, options: CallOptions = {}): Promise<CredentialExpiry> {
    return this.#http.json(
      { method: "POST", path: this.#one(key, "/expiry"), body: { vault: this.#vault, expires_at: expiresAt }, signal: options.signal },
      readCredentialExpiry,
    );
  }

  /** Erases a former value. */
  async deleteVersion(key: string, version: number, options: CallOptions = {}): Promise<DeletedVersion> {
    return this.#http.json(
      { method: "DELETE", path: this.#one(key, `/versions/${version}`), query: { vault: this.#vault }, signal: options.signal },
      readDeletedVersion,
    );
  }

  async #list(options: ListCredentialsOptions, reveal: boolean): Promise<{ keys: string[]; credentials: Credential[] }> {
    return this.#http.json(
      {
        method: "GET",
        path: "/v1/credentials",
        query: { vault: this.#vault, reveal: reveal ? true : undefined, key: options.key },
        signal: options.signal,
      },
      (value, path) => {
        const of = fields(value, path);
        return { keys: of("keys", list(text)), credentials: of("credentials", orNull(listOrEmpty(readCredential))) ?? [] };
      },
    );
  }

  #one(key: string, rest: string): string {
    return `/v1/credentials/${segment(key, "a credential")}${rest}`;
  }
}
