import type { CallOptions, HttpClient } from "./http.js";

export interface ListCredentialsOptions extends CallOptions {
  /** Shows values; needs the role `member`. */
  reveal?: boolean | undefined;
  /** Only this one. */
  key?: string | undefined;
}

export interface Credential {
  key: string;
  value: string;
}

export interface CredentialList {
  keys: string[];
  /** Only with `reveal`. */
  credentials?: Credential[];
}

export interface SetCredentialsOptions extends CallOptions {
  /** RFC 3339. */
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
    const found = await this.#http.json<{ keys: string[]; credentials?: { key: string; value?: string | null }[] | null }>({
      method: "GET",
      path: "/v1/credentials",
      query: { vault: this.#vault, reveal: options.reveal ? true : undefined, key: options.key },
      signal: options.signal,
    });
    if (!options.reveal || !found.credentials) return { keys: found.keys };
    return { keys: found.keys, credentials: found.credentials.map(({ key, value }) => ({ key, value: value ?? "" })) };
  }

  /** Adds or replaces, all or none. `warnings` is there when there is something to know of them. */
  async set(
    credentials: Record<string, string>,
    options: SetCredentialsOptions = {},
  ): Promise<{ set: string[]; warnings?: string[] }> {
    return this.#http.json({
      method: "POST",
      path: "/v1/credentials",
      body: { vault: this.#vault, credentials, expires_at: options.expiresAt },
      signal: options.signal,
    });
  }

  /** All or none. */
  async delete(keys: string[], options: CallOptions = {}): Promise<{ deleted: string[] }> {
    return this.#http.json({
      method: "DELETE",
      path: "/v1/credentials",
      body: { vault: this.#vault, keys },
      signal: options.signal,
    });
  }
}
