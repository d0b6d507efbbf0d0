import { AgentVaultError } from "./errors.js";
import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { ContainerConfig } from "./proxy-env.js";

export interface CreateSessionOptions extends CallOptions {
  /** Life in seconds, 300 to 604800. Default: the server's, 24 hours. */
  ttlSeconds?: number | undefined;
  /** For the request log. */
  label?: string | undefined;
  /** Names of the only services that the token may use. Default: all of the vault. */
  services?: readonly string[] | undefined;
  /** Requests through the proxy that the token has. Default: no end. */
  requestBudget?: number | undefined;
  /** Networks (`10.20.0.0/16`) or addresses that the token may be used from. Default: anywhere. */
  sources?: readonly string[] | undefined;
  /** Host under which the container finds the proxy. Default: the client's `proxyHost`, else the host of its address. */
  proxyHost?: string | undefined;
}

/** A short-lived token for one vault. */
export interface Session {
  /** Public id: what `revoke` takes and the request log shows. */
  id: string;
  /** Shown once. */
  token: string;
  expiresAt: string;
  /** Public address of the server. */
  address: string;
  /** `null` where the server's proxy is switched off. */
  containerConfig: ContainerConfig | null;
}

export interface SessionInfo {
  id: string;
  label: string | null;
  vaultRole: string;
  createdAt: string;
  expiresAt: string | null;
  lastUsedAt: string | null;
  createdBy: { id: string; type: string; displayName: string } | null;
  /** `null` where the token may use every service of the vault. */
  services: string[] | null;
  /** `null` where there is no end to its requests. */
  requestBudget: number | null;
  requestsLeft: number | null;
  /** Empty where it may be used from anywhere. */
  sources: string[];
}

interface Ca {
  pem: string;
  port: number;
}

interface WireSession {
  id: string;
  label?: string | null;
  vault_role: string;
  created_at: string;
  expires_at?: string | null;
  last_used_at?: string | null;
  created_by?: { id: string; type: string; display_name: string } | null;
  services?: string[] | null;
  request_budget?: number | null;
  requests_left?: number | null;
  sources?: string[] | null;
}

/** Short-lived tokens of a vault. */
export class SessionsResource {
  readonly #http: HttpClient;
  readonly #vault: string;
  #ca: Ca | undefined;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#vault = vault;
  }

  /** Mints a token and says how a container uses it. */
  async create(options: CreateSessionOptions = {}): Promise<Session> {
    // First: a failure here leaves no token behind.
    const ca = await this.#authority(options);
    const minted = await this.#http.json<{ id: string; token: string; expires_at: string; av_addr?: string }>({
      method: "POST",
      path: "/v1/sessions",
      body: {
        vault: this.#vault,
        ttl_seconds: options.ttlSeconds,
        label: options.label,
        services: options.services,
        request_budget: options.requestBudget,
        sources: options.sources,
      },
      signal: options.signal,
    });
    return {
      id: minted.id,
      token: minted.token,
      expiresAt: minted.expires_at,
      address: minted.av_addr ?? "",
      containerConfig: ca ? this.#container(ca, minted.token, options.proxyHost ?? this.#http.proxyHost) : null,
    };
  }

  /** Live tokens, newest first. */
  async list(options: CallOptions = {}): Promise<SessionInfo[]> {
    const { sessions } = await this.#http.json<{ sessions: WireSession[] }>({
      method: "GET",
      path: "/v1/sessions",
      query: { vault: this.#vault },
      signal: options.signal,
    });
    return sessions.map((item) => ({
      id: item.id,
      label: item.label ?? null,
      vaultRole: item.vault_role,
      createdAt: item.created_at,
      expiresAt: item.expires_at ?? null,
      lastUsedAt: item.last_used_at ?? null,
      createdBy: item.created_by
        ? { id: item.created_by.id, type: item.created_by.type, displayName: item.created_by.display_name }
        : null,
      services: item.services ?? null,
      requestBudget: item.request_budget ?? null,
      requestsLeft: item.requests_left ?? null,
      sources: item.sources ?? [],
    }));
  }

  /** Ends a token by its public id, its open connections too. */
  async revoke(id: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({
      method: "DELETE",
      path: `/v1/sessions/${segment(id, "a session")}`,
      query: { vault: this.#vault },
      signal: options.signal,
    });
  }

  /** Only a success is kept: after a failure the next call asks again. */
  async #authority(options: CallOptions): Promise<Ca | undefined> {
    if (this.#ca) return this.#ca;
    const answer = await this.#http.send({ method: "GET", path: "/v1/mitm/ca.pem", signal: options.signal });
    if (answer.status === 404) return undefined;
    if (answer.status < 200 || answer.status > 299) throw this.#http.error(answer);
    const port = Number(answer.headers.get("x-mitm-port") ?? Number.NaN);
    this.#ca = { pem: answer.text, port: Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : 14_322 };
    return this.#ca;
  }

  #container(ca: Ca, token: string, override: string | undefined): ContainerConfig {
    const host = override === undefined ? hostOf(this.#http.baseUrl) : hostOf(`http://${override.includes(":") && !override.startsWith("[") ? `[${override}]` : override}`);
    if (host === undefined) throw new AgentVaultError(`${JSON.stringify(override)} is not the name of a host`);
    const proxy = `http://${encodeURIComponent(token)}:${encodeURIComponent(this.#vault)}@${host}:${ca.port}`;
    // Without brackets: so is an IPv6 address compared.
    const direct = ["localhost", "127.0.0.1", host.replace(/^\[|\]$/g, "")];
    return {
      env: { HTTPS_PROXY: proxy, HTTP_PROXY: proxy, NO_PROXY: direct.join(",") },
      caCertificate: ca.pem,
    };
  }
}

function hostOf(url: string): string | undefined {
  try {
    return new URL(url).hostname || undefined;
  } catch {
    return undefined;
  }
}
