import { AbortedError, AgentVaultError, ApiError, NetworkError, TimeoutError, retryAfter } from "./errors.js";
import { VERSION } from "./version.js";

/** How a client reaches the server. */
export interface ClientConfig {
  /** Token of an agent, a person or a vault. Default: `AGENT_VAULT_TOKEN`. An empty one is an error. */
  token?: string | undefined;
  /** Base URL of the server. Default: `AGENT_VAULT_ADDR`, else `http://localhost:14321`. */
  address?: string | undefined;
  /** Sent with every call. */
  headers?: Record<string, string> | undefined;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Milliseconds for a whole call, its retries and the reading of the answer included. Default 30000; 0 or less: no limit. */
  timeout?: number | undefined;
  /** How often a GET is tried again after a network failure or a 429, 502, 503 or 504. Default 2. Nothing else is tried again. */
  retries?: number | undefined;
  /** Host under which a session's container finds the proxy, where it is not the host of `address`. */
  proxyHost?: string | undefined;
}

/** What every method takes last. */
export interface CallOptions {
  /** Ends the call with an `AbortedError`. */
  signal?: AbortSignal | undefined;
}

export interface Call extends CallOptions {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Answer {
  status: number;
  statusText: string;
  headers: Headers;
  text: string;
}

/** A longer wait than this is the caller's to take. */
const LONGEST_WAIT_MS = 5_000;
const RETRIED = new Set([429, 502, 503, 504]);

/** An environment variable; `undefined` where there is no environment. */
export function environment(name: string): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  return process?.env?.[name];
}

/**
 * One segment of a path. What a URL would read as "here" or "above" would name another resource than the caller means, so it
 * names none.
 */
export function segment(name: string, what: string): string {
  if (name === "" || name === "." || name === "..") {
    throw new AgentVaultError(`${JSON.stringify(name)} cannot be the name of ${what}`);
  }
  return encodeURIComponent(name);
}

/** Sends calls. Its token is out of reach of `console.log` and `JSON.stringify`. */
export class HttpClient {
  readonly #token: string;
  readonly #headers: Record<string, string>;
  readonly #config: ClientConfig;
  readonly baseUrl: string;
  readonly proxyHost: string | undefined;

  constructor(config: ClientConfig, headers: Record<string, string> = {}) {
    const token = config.token ?? environment("AGENT_VAULT_TOKEN");
    if (!token) {
      throw new AgentVaultError("A token is required: pass `token` or set AGENT_VAULT_TOKEN.");
    }
    this.#token = token;
    this.#config = config;
    this.#headers = { ...config.headers, ...headers };
    this.baseUrl = (config.address ?? (environment("AGENT_VAULT_ADDR") || "http://localhost:14321")).replace(/\/+$/, "");
    this.proxyHost = config.proxyHost;
  }

  /** The same client with further headers. */
  with(headers: Record<string, string>): HttpClient {
    return new HttpClient({ ...this.#config, token: this.#token, address: this.baseUrl }, { ...this.#headers, ...headers });
  }

  /** Sends a call and parses its answer as JSON. */
  async json<T>(call: Call): Promise<T> {
    const answer = await this.send(call);
    if (answer.status < 200 || answer.status > 299) throw this.error(answer);
    try {
      return JSON.parse(answer.text) as T;
    } catch (cause) {
      throw new AgentVaultError(`${call.method} ${call.path}: the answer is not JSON; is this the address of Agent Vault?`, { cause });
    }
  }

  error(answer: Answer): ApiError {
    return ApiError.parse(answer.status, answer.statusText, answer.text, answer.headers);
  }

  /** Sends a call; whatever its status, the answer is returned. */
  async send(call: Call): Promise<Answer> {
    const what = `${call.method} ${call.path}`;
    const limit = this.#config.timeout ?? 30_000;
    const stop = new AbortController();
    let late = false;
    const timer =
      limit > 0 && Number.isFinite(limit)
        ? setTimeout(() => {
            late = true;
            stop.abort();
          }, limit)
        : undefined;
    const abort = () => stop.abort();
    if (call.signal?.aborted) abort();
    call.signal?.addEventListener("abort", abort, { once: true });
    const ended = () =>
      late ? new TimeoutError(`${what} timed out after ${limit} ms`) : new AbortedError(`${what} was aborted`, { cause: call.signal?.reason });
    try {
      const tries = call.method === "GET" ? Math.max(0, this.#config.retries ?? 2) : 0;
      for (let attempt = 0; ; attempt++) {
        if (stop.signal.aborted) throw ended();
        let wait = 100 * 2 ** attempt * (1 + Math.random());
        try {
          const answer = await this.#once(call, stop.signal);
          if (attempt >= tries || !RETRIED.has(answer.status)) return answer;
          wait = Math.max(wait, (retryAfter(answer.headers) ?? 0) * 1000);
          if (wait > LONGEST_WAIT_MS) return answer;
        } catch (cause) {
          if (stop.signal.aborted) throw ended();
          if (attempt >= tries) throw new NetworkError(`Network error: ${what}: ${reason(cause)}`, { cause });
        }
        await pause(wait, stop.signal);
      }
    } finally {
      clearTimeout(timer);
      call.signal?.removeEventListener("abort", abort);
    }
  }

  async #once(call: Call, signal: AbortSignal): Promise<Answer> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const suffix = query.toString() ? `?${query.toString()}` : "";
    const body = call.body === undefined ? {} : { body: JSON.stringify(call.body) };
    const response = await (this.#config.fetch ?? fetch)(`${this.baseUrl}${call.path}${suffix}`, {
      method: call.method,
      headers: this.#fields(call),
      // A token goes to the address it was given for and nowhere else.
      redirect: "manual",
      signal,
      ...body,
    });
    return {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
      text: await response.text(),
    };
  }

  #fields(call: Call): Record<string, string> {
    const fields = new Headers(this.#headers);
    for (const [name, value] of Object.entries(call.headers ?? {})) fields.set(name, value);
    if (call.body !== undefined) fields.set("content-type", "application/json");
    fields.set("user-agent", `agent-vault-sdk-typescript/${VERSION}`);
    fields.set("authorization", `Bearer ${this.#token}`);
    return Object.fromEntries(fields.entries());
  }
}

/** What a failed fetch says: the reason is in its cause. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

/** Waits, or less when `signal` fires. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done, { once: true });
    if (signal.aborted) done();
  });
}
