import { AgentVaultError } from "./errors.js";
import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { MintedToken, SessionInfo } from "./models.js";
import { readMintedToken, readSessionInfo } from "./readers.js";
import type { ContainerConfig } from "./proxy-env.js";
import { at, hide, list, nothing } from "./read.js";

export interface CreateSessionOptions extends CallOptions {
  /** Life in seconds, 300 to 604800. Default: the server's, 24 hours. */
  ttlSeconds?: number | undefined;
  /** For lists and the request log, at most 100 characters. */
  label?: string | undefined;
  /** Names of services, 1 to 200: the token may use no others. Default: all. */
  services?: string[] | undefined;
  /** Requests through the proxy that the token has. Default: without end. */
  requestBudget?: number | undefined;
  /** Networks (`10.20.0.0/16`) or addresses, 1 to 32, that it may be used from. Default: anywhere. */
  sources?: string[] | undefined;
  /** Host under which the container finds the proxy. Default: the client's `proxyHost`, else the host of its address. */
  proxyHost?: string | undefined;
}

/** A short-lived token for one vault. `id` is what `revoke` takes and the request log shows. */
export interface Session extends MintedToken {
  /** `null` where the server's proxy is switched off. */
  containerConfig: ContainerConfig | null;
}

interface Ca {
  pem: string;
  port: number;
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
    const host = options.proxyHost ?? this.#http.proxyHost;
    const proxy = hostOf(host === undefined ? this.#http.baseUrl : `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}`);
    if (proxy === undefined) throw new AgentVaultError(`${JSON.stringify(host)} is not the name of a host`);
    const minted = await this.#http.json(
      {
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
      },
      readMintedToken,
    );
    return hide({ ...minted, containerConfig: ca ? this.#container(ca, minted.token, proxy) : null }, "token");
  }

  /** Live tokens, newest first. */
  async list(options: CallOptions = {}): Promise<SessionInfo[]> {
    return this.#http.json(
      { method: "GET", path: "/v1/sessions", query: { vault: this.#vault }, signal: options.signal },
      at("sessions", list(readSessionInfo)),
    );
  }

  /** Ends a token by its public id, its open connections too. */
  async revoke(id: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json(
      { method: "DELETE", path: `/v1/sessions/${segment(id, "a session")}`, query: { vault: this.#vault }, signal: options.signal },
      nothing,
    );
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

  #container(ca: Ca, token: string, host: string): ContainerConfig {
    const proxy = `http://${encodeURIComponent(token)}:${encodeURIComponent(this.#vault)}@${host}:${ca.port}`;
    // Without brackets: so is an IPv6 address compared.
    const direct = ["localhost", "127.0.0.1", host.replace(/^\[|\]$/g, "")];
    const env = hide({ HTTPS_PROXY: proxy, HTTP_PROXY: proxy, NO_PROXY: direct.join(",") }, "HTTPS_PROXY", "HTTP_PROXY");
    return { env, caCertificate: ca.pem };
  }
}

/** The host that is all of this URL beside scheme, port and path. */
function hostOf(url: string): string | undefined {
  try {
    const { hostname, username, password } = new URL(url);
    return username || password ? undefined : hostname || undefined;
  } catch {
    return undefined;
  }
}
