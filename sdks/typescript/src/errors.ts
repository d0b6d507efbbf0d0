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

/** No answer came, or it broke off: `cause` is what the runtime said. */
export class NetworkError extends AgentVaultError {
  override name = "NetworkError";
}

/** The server has ended a stream because the caller may not read it any more. */
export class StreamEndedError extends AgentVaultError {
  override name = "StreamEndedError";
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

  /** With the hint. */
  override toString(): string {
    return `${this.name}: ${this.message}${this.hint === undefined ? "" : ` (${this.hint})`}`;
  }

  /** Reads an answer's body; what is no error of the server's leaves the status line. */
  static parse(status: number, statusText: string, body: string, headers: Headers): ApiError {
    const Kind = KINDS[status] ?? ApiError;
    const plain = { code: "unknown", message: statusText || `HTTP status ${status}` };
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return new Kind(status, plain, headers);
    }
    if (typeof value !== "object" || value === null) return new Kind(status, plain, headers);
    const { error, message, code: word, hint, candidates } = value as Record<string, unknown>;
    const said = typeof error === "string" ? error : undefined;
    const code = typeof word === "string" ? word : said;
    const text = typeof message === "string" ? message : said;
    return new Kind(
      status,
      {
        code: code ?? plain.code,
        message: text ?? plain.message,
        hint: typeof hint === "string" ? hint : undefined,
        candidates: Array.isArray(candidates) ? candidates.filter(isCandidate) : undefined,
      },
      headers,
    );
  }
}

/** 401: no token, or one that is not good any more. */
export class UnauthorizedError extends ApiError {
  override name = "UnauthorizedError";
}

/** 403: the token's holder may not. */
export class ForbiddenError extends ApiError {
  override name = "ForbiddenError";
}

/** 404: not there, or not for this token. */
export class NotFoundError extends ApiError {
  override name = "NotFoundError";
}

/** 409: the state of things forbids it; the name is taken, say, or means several (`candidates`). */
export class ConflictError extends ApiError {
  override name = "ConflictError";
}

/** 412: what the write rests on has changed since it was read. Read again, look, write again. Nothing was changed. */
export class VersionConflictError extends ApiError {
  override name = "VersionConflictError";
}

/** 429: too many requests, or too many of a kind; see `retryAfterSeconds`. */
export class RateLimitedError extends ApiError {
  override name = "RateLimitedError";
}

const KINDS: Record<number, typeof ApiError> = {
  401: UnauthorizedError,
  403: ForbiddenError,
  404: NotFoundError,
  409: ConflictError,
  412: VersionConflictError,
  429: RateLimitedError,
};

const RETRIED = new Set([429, 502, 503, 504]);

/** Whether an answer of this status may be another one soon. */
export function isPassing(status: number): boolean {
  return RETRIED.has(status);
}

/** Whether the same read may succeed soon. */
export function isTransient(error: unknown): boolean {
  return error instanceof NetworkError || error instanceof TimeoutError || (error instanceof ApiError && isPassing(error.status));
}

export function retryAfter(headers: Headers): number | undefined {
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined;
}

function isCandidate(value: unknown): value is Candidate {
  const found = value as Partial<Candidate> | null;
  return typeof found === "object" && typeof found?.name === "string" && typeof found.host === "string";
}
