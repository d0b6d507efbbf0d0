/** Everything that this package throws is one of these. None of them holds a token or a credential. */
export class AgentVaultError extends Error {
  override name = "AgentVaultError";
}

/** The call took longer than its `timeout`, its retries and the reading of the answer included. */
export class TimeoutError extends AgentVaultError {
  override name = "TimeoutError";
}

/** The caller's `AbortSignal` ended the call; `cause` is the signal's reason. */
export class AbortedError extends AgentVaultError {
  override name = "AbortedError";
}

/** No answer came: `cause` is what the runtime said. */
export class NetworkError extends AgentVaultError {
  override name = "NetworkError";
}

/** A service that an ambiguous reference could mean. */
export interface Candidate {
  name: string;
  host: string;
}

/** What an error answer of the server says beside its status. */
export interface ApiErrorDetails {
  code: string;
  message: string;
  hint?: string | undefined;
  candidates?: Candidate[] | undefined;
}

/** The server answered, and not with a success. */
export class ApiError extends AgentVaultError {
  override name = "ApiError";
  /** HTTP status. */
  readonly status: number;
  /** The server's word for the error, `unknown` when it gave none. */
  readonly code: string;
  /** What to do about it, where the server knows. */
  readonly hint: string | undefined;
  /** What an ambiguous reference could have meant. */
  readonly candidates: Candidate[];
  readonly headers: Headers;

  constructor(status: number, details: ApiErrorDetails, headers: Headers) {
    super(details.message);
    this.status = status;
    this.code = details.code;
    this.hint = details.hint;
    this.candidates = details.candidates ?? [];
    this.headers = headers;
  }

  /** Seconds that the server asks to wait (`Retry-After`), if it does. */
  get retryAfterSeconds(): number | undefined {
    return retryAfter(this.headers);
  }

  /** Reads an answer's body; what is no error of the server's leaves the status line. */
  static parse(status: number, statusText: string, body: string, headers: Headers): ApiError {
    const plain = { code: "unknown", message: statusText || `HTTP status ${status}` };
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return new ApiError(status, plain, headers);
    }
    if (typeof value !== "object" || value === null) return new ApiError(status, plain, headers);
    const { error, message, hint, candidates } = value as Record<string, unknown>;
    const code = typeof error === "string" ? error : undefined;
    const text = typeof message === "string" ? message : code;
    return new ApiError(
      status,
      {
        code: code ?? plain.code,
        message: text ?? plain.message,
        hint: typeof hint === "string" ? hint : undefined,
        candidates: Array.isArray(candidates) ? (candidates as Candidate[]) : undefined,
      },
      headers,
    );
  }
}

export function retryAfter(headers: Headers): number | undefined {
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
}
