import { AbortedError, AgentVaultError, ApiError, NetworkError, TimeoutError, isPassing, retryAfter } from "./errors.js";
import type { Reader } from "./read.js";
import { Mismatch } from "./read.js";
import { Lines } from "./stream.js";
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
  /**
   * Milliseconds for a whole call, its retries and the reading of the answer included; of a stream, for each silence.
   * Default 30000; 0 or less: no limit.
   */
  timeout?: number | undefined;
  /**
   * How often a GET is tried again after a network failure or a 429, 502, 503 or 504. Default 2. Of the rest only a 429, with
   * which nothing was done, is tried again.
   */
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
  /** Name under which the answer's `ETag`, a number, joins its body. */
  etag?: string;
}

export interface Answer {
  status: number;
  statusText: string;
  headers: Headers;
  text: string;
}

/** A longer wait than this is the caller's to take. */
const LONGEST_WAIT_MS = 5_000;
/** What can stand in a header and is no blank. */
const TOKEN = /^[\x21-\x7e]+$/;

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

/** Milliseconds to wait before try `attempt` (from 0), more each time and never in step with other clients. */
export function backoff(attempt: number, first: number, most: number): number {
  return Math.min(most, first * 2 ** Math.min(attempt, 30)) * (0.5 + Math.random() / 2);
}

/** Sends calls. Its token is out of reach of `console.log` and `JSON.stringify`. */
export class HttpClient {
  readonly #token: string;
  readonly #headers: Record<string, string>;
  readonly #config: ClientConfig;
  readonly baseUrl: string;
  readonly proxyHost: string | undefined;
  readonly retries: number;

  constructor(config: ClientConfig, headers: Record<string, string> = {}) {
    const token = config.token ?? environment("AGENT_VAULT_TOKEN");
    if (!token) {
      throw new AgentVaultError("A token is required: pass `token` or set AGENT_VAULT_TOKEN.");
    }
    // Here and not by `fetch`, whose message would show it.
    if (!TOKEN.test(token)) {
      throw new AgentVaultError("The token has characters that no token has; is there a line break or a blank at its end?");
    }
    this.#token = token;
    this.#config = config;
    this.#headers = { ...config.headers, ...headers };
    this.baseUrl = checkedAddress(config.address ?? (environment("AGENT_VAULT_ADDR") || "http://localhost:14321"));
    this.proxyHost = config.proxyHost;
    this.retries = Math.max(0, config.retries ?? 2);
    fieldsOf(this.#headers);
  }

  /** The same client with further headers. */
  with(headers: Record<string, string>): HttpClient {
    return new HttpClient({ ...this.#config, token: this.#token, address: this.baseUrl }, { ...this.#headers, ...headers });
  }

  /** Sends a call and reads its answer, which is JSON. */
  async json<T>(call: Call, read: Reader<T>): Promise<T> {
    const answer = await this.send(call);
    if (answer.status < 200 || answer.status > 299) throw this.error(answer);
    const tag = call.etag === undefined ? undefined : Number(/^"(\d+)"$/.exec(answer.headers.get("etag") ?? "")?.[1] ?? Number.NaN);
    return this.parse(call, answer.text, (value, path) => {
      if (call.etag === undefined || !Number.isFinite(tag) || typeof value !== "object" || value === null) return read(value, path);
      return read(Object.assign(value, { [call.etag]: tag }), path);
    });
  }

  /** Reads JSON. What is wrong with it is said without showing it. */
  parse<T>(call: Call, body: string, read: Reader<T>): T {
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      throw new AgentVaultError(`${call.method} ${call.path}: the answer is not JSON; is this the address of Agent Vault?`);
    }
    try {
      return read(value, "");
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      throw new AgentVaultError(`${call.method} ${call.path}: the answer is not as described: ${error.message}; is the server of this version?`);
    }
  }

  /** An answer that is no success. Were the token in it, it would not be in the error. */
  error(answer: Answer): ApiError {
    return ApiError.parse(answer.status, answer.statusText, answer.text.replaceAll(this.#token, "[token]"), answer.headers);
  }

  /** Sends a call; whatever its status, the answer is returned. */
  async send(call: Call): Promise<Answer> {
    const limits = new Limits(call, this.#config.timeout ?? 30_000);
    limits.arm();
    try {
      for (let attempt = 0; ; attempt++) {
        if (limits.signal.aborted) throw limits.ended();
        let wait = backoff(attempt, 200, LONGEST_WAIT_MS);
        try {
          const response = await this.#fetch(call, limits.signal);
          const { status, statusText, headers } = response;
          const answer = { status, statusText, headers, text: await response.text() };
          const again = status === 429 || (call.method === "GET" && isPassing(status));
          if (attempt >= this.retries || !again) return answer;
          wait = Math.max(wait, (retryAfter(headers) ?? 0) * 1000);
          if (wait > LONGEST_WAIT_MS) return answer;
        } catch (cause) {
          if (limits.signal.aborted) throw limits.ended();
          if (cause instanceof AgentVaultError) throw cause;
          if (call.method !== "GET" || attempt >= this.retries) throw lost(call, cause);
        }
        await pause(wait, limits.signal);
      }
    } finally {
      limits.release();
    }
  }

  /**
   * Opens an answer that goes on, once, and gives it line by line. The time limit holds until its head is there, then
   * `silence` for each wait. Ends with a `NetworkError` when the answer breaks off; leaving the loop closes it.
   */
  async *lines(call: Call, { silence, lineFeedOnly }: { silence?: number; lineFeedOnly: boolean }): AsyncGenerator<string, void, undefined> {
    const limits = new Limits(call, this.#config.timeout ?? 30_000);
    limits.arm();
    const lines = new Lines(lineFeedOnly);
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    try {
      if (limits.signal.aborted) throw limits.ended();
      const response = await this.#fetch(call, limits.signal);
      if (!response.ok) {
        const { status, statusText, headers } = response;
        throw this.error({ status, statusText, headers, text: await response.text() });
      }
      reader = response.body?.getReader();
      while (reader) {
        limits.arm(silence);
        const { done, value } = await reader.read();
        limits.disarm();
        if (done) break;
        yield* lines.push(value);
      }
      if (lineFeedOnly && !lines.whole) throw new Error("the answer broke off");
    } catch (cause) {
      if (limits.signal.aborted) throw limits.ended();
      throw cause instanceof AgentVaultError ? cause : lost(call, cause);
    } finally {
      limits.release();
      limits.stop();
      await reader?.cancel().catch(() => undefined);
    }
  }

  async #fetch(call: Call, signal: AbortSignal): Promise<Response> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const suffix = query.toString() ? `?${query.toString()}` : "";
    const body = call.body === undefined ? {} : { body: JSON.stringify(call.body) };
    return (this.#config.fetch ?? fetch)(`${this.baseUrl}${call.path}${suffix}`, {
      method: call.method,
      headers: this.#fields(call),
      // A token goes to the address it was given for and nowhere else.
      redirect: "manual",
      signal,
      ...body,
    });
  }

  #fields(call: Call): Record<string, string> {
    const fields = fieldsOf({ ...this.#headers });
    for (const [name, value] of fieldsOf(call.headers ?? {})) fields.set(name, value);
    if (call.body !== undefined) fields.set("content-type", "application/json");
    fields.set("user-agent", `agent-vault-sdk-typescript/${VERSION}`);
    fields.set("authorization", `Bearer ${this.#token}`);
    return Object.fromEntries(fields.entries());
  }
}

/** When a call ends: by its time limit or by its caller. */
class Limits {
  readonly #stop = new AbortController();
  readonly #what: string;
  readonly #callers: AbortSignal | undefined;
  readonly #limit: number;
  readonly #abort = () => this.#stop.abort();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #late: number | undefined;

  constructor(call: Call, limit: number) {
    this.#what = `${call.method} ${call.path}`;
    this.#callers = call.signal;
    this.#limit = limit;
    if (this.#callers?.aborted) this.#abort();
    this.#callers?.addEventListener("abort", this.#abort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Starts the clock anew. */
  arm(limit: number = this.#limit): void {
    this.disarm();
    if (!(limit > 0) || !Number.isFinite(limit)) return;
    this.#timer = setTimeout(() => {
      this.#late = limit;
      this.#stop.abort();
    }, limit);
  }

  disarm(): void {
    clearTimeout(this.#timer);
  }

  stop(): void {
    this.#stop.abort();
  }

  release(): void {
    this.disarm();
    this.#callers?.removeEventListener("abort", this.#abort);
  }

  ended(): AgentVaultError {
    if (this.#late !== undefined) return new TimeoutError(`${this.#what} timed out after ${this.#late} ms`);
    return new AbortedError(`${this.#what} was aborted`, { cause: this.#callers?.reason });
  }
}

/** Waits, or less when `signal` fires. */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done, { once: true });
    if (signal?.aborted) done();
  });
}

function lost(call: Call, cause: unknown): NetworkError {
  return new NetworkError(`Network error: ${call.method} ${call.path}: ${reason(cause)}`, { cause });
}

/** What a failed fetch says: the reason is in its cause. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

/** The address without a slash at its end. What is wrong with it is said without showing it: it might hold a password. */
function checkedAddress(address: string): string {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new AgentVaultError("The address is not a URL as `http://localhost:14321`.");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new AgentVaultError("The address is neither `http:` nor `https:`.");
  if (url.username || url.password) throw new AgentVaultError("The address holds a user or a password; a client has its token.");
  if (url.search || url.hash) throw new AgentVaultError("The address ends before `?` and `#`.");
  return address.replace(/\/+$/, "");
}

function fieldsOf(headers: Record<string, string>): Headers {
  const fields = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    try {
      fields.set(name, value);
    } catch {
      throw new AgentVaultError(`The header ${JSON.stringify(name)} cannot be sent: its name or value has characters that none may have.`);
    }
  }
  return fields;
}
