import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { StoreState } from "./models.js";
import { at, orNull } from "./read.js";
import { readStoreState } from "./readers.js";

/** Where a vault's credentials come from. */
export interface CredentialStore {
  /** One of `credentialStores()`: `builtin`, the vault's own, or `infisical`. */
  kind: string;
  /** Where in the store; for `infisical`. */
  config?:
    | {
        projectId: string;
        /** The environment's slug. */
        environment: string;
        /** The folder; begins with `/`. */
        secretPath: string;
      }
    | undefined;
  /** Between two refreshes, 10 to 604800. Default: 60. */
  pollIntervalSeconds?: number | undefined;
}

/** As it is sent. */
export function storeBody(store: CredentialStore): Record<string, unknown> {
  const { kind, config, pollIntervalSeconds } = store;
  const place = config && { project_id: config.projectId, environment: config.environment, secret_path: config.secretPath };
  return { kind, config: place, poll_interval_seconds: pollIntervalSeconds };
}

/** The external store that a vault's credentials come from, where they do. */
export class StoreResource {
  readonly #http: HttpClient;
  readonly #vault: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#vault = `/v1/vaults/${segment(vault, "a vault")}`;
  }

  /** `null` where the vault has its credentials itself. */
  async get(options: CallOptions = {}): Promise<StoreState | null> {
    const call = { method: "GET", path: `${this.#vault}/context`, signal: options.signal } as const;
    return this.#http.json(call, at("credential_store", orNull(readStoreState)));
  }

  /** What was typed in is replaced by what is there. Fetches at once: a store that cannot be read is an error, and nothing changes. */
  async connect(store: CredentialStore, options: CallOptions = {}): Promise<StoreState> {
    return this.#choose(storeBody(store), options);
  }

  /** The last copies stay as the vault's own. */
  async disconnect(options: CallOptions = {}): Promise<StoreState> {
    return this.#choose({ kind: "builtin" }, options);
  }

  /** Fetches now. `ConflictError` while that is under way. */
  async sync(options: CallOptions = {}): Promise<StoreState> {
    const call = { method: "POST", path: `${this.#vault}/sync`, signal: options.signal } as const;
    return this.#http.json(call, at("credential_store", readStoreState));
  }

  async #choose(body: unknown, { signal }: CallOptions): Promise<StoreState> {
    return this.#http.json({ method: "PATCH", path: `${this.#vault}/credential-store`, body, signal }, at("credential_store", readStoreState));
  }
}
