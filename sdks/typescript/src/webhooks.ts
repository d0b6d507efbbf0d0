import type { Call, CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";
import type { Webhook, WebhookDelivery, WebhookWithSecret } from "./models.js";
import { at, list, nothing, text } from "./read.js";
import { readWebhook, readWebhookDelivery, readWebhookWithSecret } from "./readers.js";

/** A webhook to add. */
export interface WebhookRequest {
  /** Absolute https URL, up to 2048 bytes, without login and fragment. */
  url: string;
  /** Up to 200 characters. */
  description?: string | undefined;
  /** Default: all. */
  events?: string[] | undefined;
}

/** What is to change; what is absent stays. */
export interface WebhookChange {
  url?: string | undefined;
  description?: string | undefined;
  /** An empty list is all events. */
  events?: string[] | undefined;
  /** `true` switches it on, a parked one too, and sends what waits. */
  enabled?: boolean | undefined;
}

/** Webhooks of a vault, or of the instance: signed messages of what happens, to an address outside. */
export class WebhooksResource {
  readonly #http: HttpClient;
  readonly #path: string;

  /** `path` is where they are. */
  constructor(http: HttpClient, path: string) {
    this.#http = http;
    this.#path = path;
  }

  /** Oldest first. */
  async list(options: CallOptions = {}): Promise<Webhook[]> {
    return this.#http.json({ method: "GET", path: this.#path, signal: options.signal }, at("webhooks", list(readWebhook)));
  }

  async get(id: string, options: CallOptions = {}): Promise<Webhook> {
    return this.#http.json({ method: "GET", path: this.#one(id), signal: options.signal }, readWebhook);
  }

  /** Its signing secret is shown once. */
  async create(webhook: WebhookRequest, options: CallOptions = {}): Promise<WebhookWithSecret> {
    const { url, description, events } = webhook;
    return this.#http.json({ method: "POST", path: this.#path, body: { url, description, events }, signal: options.signal }, readWebhookWithSecret);
  }

  async change(id: string, change: WebhookChange, options: CallOptions = {}): Promise<Webhook> {
    const { url, description, events, enabled } = change;
    const body = { url, description, events, enabled };
    return this.#http.json({ method: "PATCH", path: this.#one(id), body, signal: options.signal }, readWebhook);
  }

  /** Removes it and what waits for it. */
  async remove(id: string, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ method: "DELETE", path: this.#one(id), signal: options.signal }, nothing);
  }

  /** Puts a new secret in force. The former one signs too for `overlapSeconds`, 0 to 604800; a day when absent. */
  async rotate(id: string, options: { overlapSeconds?: number | undefined } & CallOptions = {}): Promise<WebhookWithSecret> {
    return this.#http.json(this.#post(id, "rotate", options, { overlap_seconds: options.overlapSeconds }), readWebhookWithSecret);
  }

  /** Sends a test event; what became of it is in `deliveries` under this id. */
  async test(id: string, options: CallOptions = {}): Promise<{ eventId: string }> {
    return this.#http.json(this.#post(id, "test", options), (value, path) => ({ eventId: at("event_id", text)(value, path) }));
  }

  /** What was sent to it and what waits for it, newest first. */
  async deliveries(id: string, options: { limit?: number | undefined } & CallOptions = {}): Promise<WebhookDelivery[]> {
    return this.#http.json(
      { method: "GET", path: `${this.#one(id)}/deliveries`, query: { limit: options.limit }, signal: options.signal },
      at("deliveries", list(readWebhookDelivery)),
    );
  }

  #post(id: string, what: string, { signal }: CallOptions, body?: unknown): Call {
    return { method: "POST", path: `${this.#one(id)}/${what}`, body, signal };
  }

  #one(id: string): string {
    return `${this.#path}/${segment(id, "a webhook")}`;
  }
}
