// Services as the server and service files write them: sent and answered unchanged.

/** How the credential is put on a request; each value names a credential's key. */
export type ServiceAuth =
  | { type: "bearer"; token: string }
  | { type: "basic"; username: string; password?: string | undefined }
  | { type: "api-key"; key: string; header?: string | undefined; prefix?: string | undefined }
  | { type: "custom"; headers: Record<string, string> }
  | { type: "passthrough" };

export interface Substitution {
  key: string;
  placeholder: string;
  in?: ("path" | "query" | "header" | "body" | "websocket")[] | undefined;
  /** Where `in` has `header`: only these. */
  headers?: string[] | undefined;
}

/** Which of several services of one host a request gets. */
export interface ServiceSelect {
  agents?: string[] | undefined;
  placeholder?: string | undefined;
}

/** How responses are searched for what was injected. */
export interface ServiceScrub {
  /** Default: true. */
  enabled?: boolean | undefined;
  /** What becomes of a response that cannot be searched. Default: `refuse`. */
  undecodable?: "refuse" | "pass" | undefined;
}

export interface Service {
  /** Required for a new service. */
  name?: string | undefined;
  /** Host, with a port or a path if need be. */
  host: string;
  port?: number | undefined;
  path?: string | undefined;
  enabled?: boolean | undefined;
  require_tls?: boolean | undefined;
  select?: ServiceSelect | undefined;
  scrub?: ServiceScrub | undefined;
  auth: ServiceAuth;
  substitutions?: Substitution[] | undefined;
}

/** A change to a service that a proposal asks for. */
export interface ProposedService {
  action: "set" | "delete";
  /** Without one a `set` adopts the service with the same host, port and path, and a `delete` goes by host. */
  name?: string | undefined;
  /** Required for `set`. */
  host?: string | undefined;
  port?: number | undefined;
  path?: string | undefined;
  /** Alone, with `host`: enables or disables a known service. */
  enabled?: boolean | undefined;
  require_tls?: boolean | undefined;
  select?: ServiceSelect | undefined;
  auth?: ServiceAuth | undefined;
  substitutions?: Substitution[] | undefined;
}

/** A field of a service that differs. */
export interface FieldChange {
  field: string;
  before: unknown;
  after: unknown;
}

/** What differs between two forms of a service, by its fields; `null` and `undefined` are no service. */
export function diffService(before: Service | null | undefined, after: Service | null | undefined): FieldChange[] {
  const [one, other] = [(before ?? {}) as Record<string, unknown>, (after ?? {}) as Record<string, unknown>];
  return [...new Set([...Object.keys(one), ...Object.keys(other)])]
    .filter((field) => plain(one[field]) !== plain(other[field]))
    .map((field) => ({ field, before: one[field], after: other[field] }));
}

/** The same text for equal values, whatever the order of their fields. */
function plain(value: unknown): string | undefined {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
