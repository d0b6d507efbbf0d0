import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";

/** How the credential is put on a request; each value names a credential's key. */
export type ServiceAuth =
  | { type: "bearer"; token: string }
  | { type: "basic"; username: string; password?: string }
  | { type: "api-key"; key: string; header?: string; prefix?: string }
  | { type: "custom"; headers: Record<string, string> }
  | { type: "passthrough" };

export interface Substitution {
  key: string;
  placeholder: string;
  in?: ("path" | "query" | "header" | "body" | "websocket")[];
  /** Where `in` has `header`: only these. */
  headers?: string[];
}

export interface Service {
  /** Required for a new service. */
  name?: string;
  /** Host, with a port or a path if need be. */
  host: string;
  port?: number;
  path?: string;
  enabled?: boolean;
  require_tls?: boolean;
  select?: { agents?: string[]; placeholder?: string };
  auth: ServiceAuth;
  substitutions?: Substitution[];
}

/** Services of a vault. */
export class ServicesResource {
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#path = `/v1/vaults/${segment(vault, "a vault")}/services`;
  }

  async list(options: CallOptions = {}): Promise<{ vault: string; services: Service[] }> {
    return this.#http.json({ method: "GET", path: this.#path, signal: options.signal });
  }

  /** One service, by name or host. */
  async get(reference: string, options: CallOptions = {}): Promise<Service> {
    const { service } = await this.#http.json<{ service: Service }>({ method: "GET", path: this.#one(reference), signal: options.signal });
    return service;
  }

  /** Adds services, or replaces those of the same names. */
  async set(services: Service[], options: CallOptions = {}): Promise<{ vault: string; upserted: string[]; servicesCount: number }> {
    const done = await this.#http.json<{ vault: string; upserted: string[]; services_count: number }>({
      method: "POST",
      path: this.#path,
      body: { services },
      signal: options.signal,
    });
    return { vault: done.vault, upserted: done.upserted, servicesCount: done.services_count };
  }

  /** Makes these the only services. */
  async replaceAll(services: Service[], options: CallOptions = {}): Promise<{ vault: string; servicesCount: number }> {
    const done = await this.#http.json<{ vault: string; services_count: number }>({
      method: "PUT",
      path: this.#path,
      body: { services },
      signal: options.signal,
    });
    return { vault: done.vault, servicesCount: done.services_count };
  }

  async setEnabled(reference: string, enabled: boolean, options: CallOptions = {}): Promise<{ name: string; host: string; enabled: boolean }> {
    const done = await this.#http.json<{ name: string; host: string; enabled: boolean }>({
      method: "PATCH",
      path: this.#one(reference),
      body: { enabled },
      signal: options.signal,
    });
    return { name: done.name, host: done.host, enabled: done.enabled };
  }

  /** By host, or by name. Where several share the host: `ApiError` 409, with `candidates`. */
  async remove(
    reference: string,
    options: CallOptions = {},
  ): Promise<{ vault: string; removed: string; removedHost?: string; servicesCount: number }> {
    const done = await this.#http.json<{ vault: string; removed: string; removed_host?: string; services_count: number }>({
      method: "DELETE",
      path: this.#one(reference),
      signal: options.signal,
    });
    const host = done.removed_host === undefined ? {} : { removedHost: done.removed_host };
    return { vault: done.vault, removed: done.removed, ...host, servicesCount: done.services_count };
  }

  async removeByName(name: string, options: CallOptions = {}): ReturnType<ServicesResource["remove"]> {
    return this.remove(name, options);
  }

  /** Removes every service. */
  async clear(options: CallOptions = {}): Promise<{ vault: string; cleared: boolean }> {
    return this.#http.json({ method: "DELETE", path: this.#path, signal: options.signal });
  }

  /** Which services use a credential. */
  async credentialUsage(key: string, options: CallOptions = {}): Promise<{ services: { name?: string; host: string }[] }> {
    return this.#http.json({ method: "GET", path: `${this.#path}/credential-usage`, query: { key }, signal: options.signal });
  }

  #one(reference: string): string {
    return `${this.#path}/${segment(reference, "a service")}`;
  }
}
