import type { CallOptions, HttpClient } from "./http.js";
import type { InstanceSettings, KeyState, RateLimits, TestMailSent } from "./models.js";
import { readInstanceSettings, readKeyState, readRateLimits, readTestMailSent } from "./readers.js";

/** Numbers of one tier to store; 0 is left to the profile. */
export interface TierChange {
  burst?: number | undefined;
  concurrency?: number | undefined;
  max?: number | undefined;
  rate?: number | undefined;
  /** As `5m` or `1h30m`. */
  window?: string | undefined;
}

/** Rate limits to store, in place of those that are stored. */
export interface RateLimitChange {
  /** `default`, `strict`, `loose` or `off`. */
  profile?: string | undefined;
  /** By tier. */
  overrides: Record<string, TierChange>;
}

/** Settings to change; what is absent stays. */
export interface InstanceSettingsChange {
  inviteOnly?: boolean | undefined;
  allowedEmailDomains?: string[] | undefined;
  logsRetention?: { maxAgeHours?: number | undefined; maxRowsPerVault?: number | undefined } | undefined;
  rateLimit?: RateLimitChange | undefined;
}

/** Settings of the instance; for its owners. */
export class InstanceSettingsResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async get(options: CallOptions = {}): Promise<InstanceSettings> {
    return this.#http.json({ method: "GET", path: "/v1/admin/settings", signal: options.signal }, readInstanceSettings);
  }

  /** All that is given, or nothing. Counts at once. */
  async set(change: InstanceSettingsChange, options: CallOptions = {}): Promise<InstanceSettings> {
    const { inviteOnly, allowedEmailDomains, logsRetention, rateLimit } = change;
    const body = {
      invite_only: inviteOnly,
      allowed_email_domains: allowedEmailDomains,
      logs_retention: logsRetention && { max_age_hours: logsRetention.maxAgeHours, max_rows_per_vault: logsRetention.maxRowsPerVault },
      rate_limit: rateLimit,
    };
    return this.#http.json({ method: "PUT", path: "/v1/admin/settings", body, signal: options.signal }, readInstanceSettings);
  }

  /** What would count if these limits were stored. */
  async previewRateLimit(change: RateLimitChange, options: CallOptions = {}): Promise<RateLimits> {
    return this.#http.json({ method: "POST", path: "/v1/admin/settings/rate-limit/preview", body: change, signal: options.signal }, readRateLimits);
  }

  /** Sends a letter, by default to the caller. */
  async testMail(options: { to?: string | undefined } & CallOptions = {}): Promise<TestMailSent> {
    return this.#http.json({ method: "POST", path: "/v1/admin/email/test", body: { to: options.to }, signal: options.signal }, readTestMailSent);
  }
}

/** The key that seals what is stored; for instance owners. */
export class KeysResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  async state(options: CallOptions = {}): Promise<KeyState> {
    return this.#http.json({ method: "GET", path: "/v1/instance/keys", signal: options.signal }, readKeyState);
  }

  /** Makes a new key and seals everything anew behind the answer; `state` says how far that is. */
  async rotate(options: CallOptions = {}): Promise<KeyState> {
    return this.#http.json({ method: "POST", path: "/v1/instance/keys/rotate", signal: options.signal }, readKeyState);
  }
}
