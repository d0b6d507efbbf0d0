import type { CallOptions, HttpClient } from "./http.js";
import { segment } from "./http.js";

/** Which rows; newest first. */
export interface LogFilter {
  limit?: number | undefined;
  /** Only rows with a smaller id: the `nextCursor` of the page before. */
  before?: number | undefined;
  /** Only rows with a larger id. */
  after?: number | undefined;
  /** `2xx`, `3xx`, `4xx`, `5xx` or `err`. */
  statusBucket?: string | undefined;
  status?: number | undefined;
  service?: string | undefined;
  ingress?: string | undefined;
  /** Public id of a session. */
  session?: string | undefined;
  agent?: string | undefined;
  label?: string | undefined;
  host?: string | undefined;
  decision?: string | undefined;
  /** RFC 3339. */
  since?: string | undefined;
  /** RFC 3339. */
  until?: string | undefined;
}

/** One request through the proxy. Never a value of a credential. */
export interface LogRow {
  id: number;
  createdAt: string;
  method: string;
  host: string;
  path: string;
  status: number;
  latencyMs: number;
  ingress: string;
  decision: string;
  matchedService: string;
  credentialKeys: string[];
  actorType: string;
  actorId: string;
  actorName: string;
  session: string;
  label: string;
  errorCode: string;
  warnings: string[];
}

export interface LogPage {
  logs: LogRow[];
  /** `before` of the next page; `null` on the last. */
  nextCursor: number | null;
  latestId: number;
}

interface WireRow {
  id: number;
  created_at: string;
  method: string;
  host: string;
  path: string;
  status: number;
  latency_ms: number;
  ingress: string;
  decision: string;
  matched_service: string;
  credential_keys: string[];
  actor_type: string;
  actor_id: string;
  actor_name: string;
  session: string;
  label: string;
  error_code: string;
  warnings: string[];
}

/** Request log of a vault. */
export class LogsResource {
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(http: HttpClient, vault: string) {
    this.#http = http;
    this.#path = `/v1/vaults/${segment(vault, "a vault")}/logs`;
  }

  /** One page. */
  async list(filter: LogFilter = {}, options: CallOptions = {}): Promise<LogPage> {
    const { statusBucket, ...rest } = filter;
    const page = await this.#http.json<{ logs: WireRow[]; next_cursor?: number | null; latest_id: number }>({
      method: "GET",
      path: this.#path,
      query: { ...rest, status_bucket: statusBucket },
      signal: options.signal,
    });
    return { logs: page.logs.map(row), nextCursor: page.next_cursor ?? null, latestId: page.latest_id };
  }

  /** Every row, page after page. */
  async *all(filter: LogFilter = {}, options: CallOptions = {}): AsyncGenerator<LogRow, void, undefined> {
    let before = filter.before;
    for (;;) {
      const page = await this.list({ ...filter, before }, options);
      yield* page.logs;
      if (page.nextCursor === null) return;
      before = page.nextCursor;
    }
  }
}

function row(wire: WireRow): LogRow {
  return {
    id: wire.id,
    createdAt: wire.created_at,
    method: wire.method,
    host: wire.host,
    path: wire.path,
    status: wire.status,
    latencyMs: wire.latency_ms,
    ingress: wire.ingress,
    decision: wire.decision,
    matchedService: wire.matched_service,
    credentialKeys: wire.credential_keys,
    actorType: wire.actor_type,
    actorId: wire.actor_id,
    actorName: wire.actor_name,
    session: wire.session,
    label: wire.label,
    errorCode: wire.error_code,
    warnings: wire.warnings,
  };
}
