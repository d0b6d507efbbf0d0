import { isTransient } from "./errors.js";
import type { Call, CallOptions, HttpClient } from "./http.js";
import { backoff, pause } from "./http.js";
import type { AuditPage, AuditRecord, AuditVerdict } from "./models.js";
import { readAuditPage, readAuditVerdict } from "./readers.js";
import { at, number, orNull } from "./read.js";

/** Which records. */
export interface AuditFilter {
  /** 1 to 500. Default 50. */
  limit?: number | undefined;
  /** Only records that are older than this one. */
  before?: number | undefined;
  /** The oldest records that are newer than this one. */
  after?: number | undefined;
  /** Id, address or name. */
  actor?: string | undefined;
  /** `user`, `agent`, `scoped`, `local` or `system`. */
  actorType?: string | undefined;
  /** `noun.verb`, or a noun for all of its verbs. */
  action?: string | undefined;
  /** A part of the target. */
  target?: string | undefined;
  /** `done` or `refused`. */
  outcome?: string | undefined;
  /** The client's address. */
  source?: string | undefined;
  /** RFC 3339. */
  since?: string | undefined;
  /** RFC 3339. */
  until?: string | undefined;
}

/** The record of management actions; for instance owners. */
export class AuditResource {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /** One page, newest first; with `after` oldest first. */
  async list(filter: AuditFilter = {}, options: CallOptions = {}): Promise<AuditPage> {
    const { limit, before, after, actor, actorType, action, target, outcome, source, since, until } = filter;
    const query = { limit, before, after, actor, actor_type: actorType, action, target, outcome, source, since, until };
    return this.#http.json({ method: "GET", path: "/v1/audit", query, signal: options.signal }, readAuditPage);
  }

  /** Every record, page after page: newest first, or oldest first with `after`. */
  async *all(filter: AuditFilter = {}, options: CallOptions = {}): AsyncGenerator<AuditRecord, void, undefined> {
    const way = filter.after === undefined ? "before" : "after";
    let cursor = filter[way];
    for (;;) {
      const page = await this.list({ ...filter, [way]: cursor }, options);
      yield* page.records;
      if (page.nextCursor === null) return;
      cursor = page.nextCursor;
    }
  }

  /**
   * The whole record, oldest first, as the lines of a file that `agent-vault audit verify --export` checks: each is JSON and
   * has no line end. With `after` without its first line. Goes on where it was when the answer breaks off.
   */
  async *export(from: { after?: number | undefined; limit?: number | undefined } = {}, options: CallOptions = {}): AsyncGenerator<string, void, undefined> {
    let { after, limit } = from;
    for (let failures = 0; ; failures++) {
      const call: Call = { method: "GET", path: "/v1/audit/export", query: { after, limit }, signal: options.signal };
      try {
        for await (const line of this.#http.lines(call, { lineFeedOnly: true })) {
          const seq = this.#http.parse(call, line, at("seq", orNull(number)));
          yield line;
          if (seq !== null) after = seq;
          else after ??= 0;
          if (limit !== undefined && seq !== null) limit -= 1;
          failures = 0;
        }
        return;
      } catch (error) {
        if (failures >= this.#http.retries || !isTransient(error)) throw error;
      }
      await pause(backoff(failures, 200, 5_000), options.signal);
    }
  }

  /** Checks the whole chain of records. */
  async verify(options: CallOptions = {}): Promise<AuditVerdict> {
    return this.#http.json({ method: "GET", path: "/v1/audit/verify", signal: options.signal }, readAuditVerdict);
  }
}
