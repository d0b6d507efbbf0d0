import { ApiError, StreamEndedError, isTransient } from "./errors.js";
import type { Call, CallOptions, HttpClient } from "./http.js";
import { backoff, pause, segment } from "./http.js";
import type { DiscoveredHosts, LogPage, LogRow } from "./models.js";
import { readDiscoveredHosts, readLogPage, readLogRow } from "./readers.js";
import { at, text } from "./read.js";
import { Events } from "./stream.js";

/** Which rows. */
export interface LogConditions {
  /** Only rows with a larger id. */
  after?: number | undefined;
  /** `2xx`, `3xx`, `4xx`, `5xx` or `err`. */
  statusBucket?: string | undefined;
  status?: number | undefined;
  /** Name of the matched service. */
  service?: string | undefined;
  ingress?: string | undefined;
  /** Public id of a session. */
  session?: string | undefined;
  /** Name of an agent or address of a person, by whom or by whose token. */
  agent?: string | undefined;
  /** What the token is called. */
  label?: string | undefined;
  host?: string | undefined;
  /** `brokered`, `passed` or `refused`. */
  decision?: string | undefined;
  /** RFC 3339. */
  since?: string | undefined;
  /** RFC 3339. */
  until?: string | undefined;
}

/** Which rows, and how many of them in a page. */
export interface LogFilter extends LogConditions {
  /** 1 to 200. Default 50. */
  limit?: number | undefined;
  /** Only rows with a smaller id: the `nextCursor` of the page before. */
  before?: number | undefined;
}

/** The server speaks every 15 seconds; after three times that it is gone. */
const SILENCE_MS = 45_000;
/** Between two connections, unless the server says otherwise, and at most. */
const FIRST_WAIT_MS = 2_000;
const LONGEST_WAIT_MS = 30_000;
/** Failures in a row after which a stream is given up: about four minutes. */
const MOST_FAILURES = 10;

/** Request log of a vault. */
export class LogsResource {
  readonly #http: HttpClient;
  readonly #vault: string;
  readonly #path: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#vault = `/v1/vaults/${segment(vault, "a vault")}`;
    this.#path = `${this.#vault}/logs`;
  }

  /** One page, newest first; with `after` oldest first. */
  async list(filter: LogFilter = {}, options: CallOptions = {}): Promise<LogPage> {
    const { limit, before } = filter;
    return this.#http.json({ ...this.#call("", filter, options), query: { ...query(filter), limit, before } }, readLogPage);
  }

  /** Every row, page after page: newest first, or oldest first with `after`. */
  async *all(filter: LogFilter = {}, options: CallOptions = {}): AsyncGenerator<LogRow, void, undefined> {
    const way = filter.after === undefined ? "before" : "after";
    let cursor = filter[way];
    for (;;) {
      const page = await this.list({ ...filter, [way]: cursor }, options);
      yield* page.logs;
      if (page.nextCursor === null) return;
      cursor = page.nextCursor;
    }
  }

  /** Every row, oldest first, in one answer. Goes on where it was when the answer breaks off. */
  async *export(filter: LogConditions = {}, options: CallOptions = {}): AsyncGenerator<LogRow, void, undefined> {
    let { after } = filter;
    for (let failures = 0; ; failures++) {
      const call = this.#call("/export", { ...filter, after }, options);
      try {
        for await (const line of this.#http.lines(call, { lineFeedOnly: true })) {
          const row = this.#http.parse(call, line, readLogRow);
          yield row;
          after = row.id;
          failures = 0;
        }
        return;
      } catch (error) {
        if (failures >= this.#http.retries || !isTransient(error)) throw error;
      }
      await pause(backoff(failures, 200, LONGEST_WAIT_MS), options.signal);
    }
  }

  /**
   * Rows as they come, after the row `after`, else from now on. A lost connection is made anew, and goes on with the row
   * behind the last one. Ends when the loop is left, with an `AbortedError` by `signal`, with a `StreamEndedError` when the
   * server says that the caller may not read on, or with the error of the tenth failure in a row.
   */
  async *follow(filter: LogConditions = {}, options: CallOptions = {}): AsyncGenerator<LogRow, void, undefined> {
    // A connection that ends before its first row has to be taken up where it began.
    let last = filter.after ?? (await this.list({ limit: 1 }, options)).latestId;
    let first = FIRST_WAIT_MS;
    for (let failures = 0; ; ) {
      const events = new Events();
      const call = { ...this.#call("/stream", { ...filter, after: undefined }, options), headers: { "last-event-id": String(last), accept: "text/event-stream" } };
      let wait = 0;
      try {
        for await (const line of this.#http.lines(call, { lineFeedOnly: false, silence: SILENCE_MS })) {
          failures = 0;
          const event = events.push(line);
          first = events.retry ?? first;
          if (event?.type === "end") {
            throw new StreamEndedError(this.#http.parse(call, event.data, at("error", text)));
          }
          if (event?.type !== "log") continue;
          const row = this.#http.parse(call, event.data, readLogRow);
          if (row.id <= last) continue;
          last = row.id;
          yield row;
        }
      } catch (error) {
        failures++;
        if (failures >= MOST_FAILURES || !isTransient(error)) throw error;
        wait = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        if (wait > LONGEST_WAIT_MS) throw error;
      }
      await pause(Math.max(wait, backoff(failures, first, LONGEST_WAIT_MS)), options.signal);
    }
  }

  /** Hosts that requests went to, and which of them sent a credential of their own. */
  async hosts(options: { limit?: number | undefined } & CallOptions = {}): Promise<DiscoveredHosts> {
    return this.#http.json(
      { method: "GET", path: `${this.#vault}/discovered-hosts`, query: { limit: options.limit }, signal: options.signal },
      readDiscoveredHosts,
    );
  }

  #call(path: string, filter: LogConditions, options: CallOptions): Call {
    return { method: "GET", path: `${this.#path}${path}`, query: query(filter), signal: options.signal };
  }
}

function query(filter: LogConditions): NonNullable<Call["query"]> {
  const { after, statusBucket, status, service, ingress, session, agent, label, host, decision, since, until } = filter;
  return { after, status_bucket: statusBucket, status, service, ingress, session, agent, label, host, decision, since, until };
}
