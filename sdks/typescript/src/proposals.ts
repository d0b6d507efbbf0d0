import { TimeoutError, isTransient } from "./errors.js";
import type { CallOptions, HttpClient } from "./http.js";
import { pause } from "./http.js";
import type { Decision, Proposal, ProposalDetail, ProposalReview, ProposalToReview, RaisedProposal } from "./models.js";
import { readDecision, readProposal, readProposalDetail, readProposalReview, readProposalToReview, readRaisedProposal } from "./readers.js";
import { at, list } from "./read.js";
import type { ProposedService } from "./service.js";

/** `pending` until somebody decides or nobody has for long. */
export type ProposalStatus = "pending" | "applied" | "rejected" | "expired";

/** A client at a provider. Its secret comes from the person who connects it. */
export interface OAuthSlot {
  /** Where tokens come from: https. */
  tokenUrl?: string | undefined;
  /** Where a person consents: https. Without it, a person gives tokens by hand. */
  authorizationUrl?: string | undefined;
  clientId?: string | undefined;
  /** As the provider wants them. */
  scopes?: string | undefined;
  /** What stands between scopes; a space when absent. */
  scopeSeparator?: string | undefined;
  /** `client_secret_post` or `client_secret_basic`. */
  tokenAuthMethod?: string | undefined;
  /** Leaves PKCE (RFC 7636) out. */
  disablePkce?: boolean | undefined;
}

/** A credential that is needed, or goes. */
export interface CredentialSlot {
  action: "set" | "delete";
  key: string;
  /** What it is, up to 500 bytes. */
  description?: string | undefined;
  /** Where a person gets one: an http or https URL, up to 500 bytes. */
  obtain?: string | undefined;
  /** How, up to 1000 bytes. */
  obtainInstructions?: string | undefined;
  /** The value, when the agent has one. Sealed on arrival, never shown. */
  value?: string | undefined;
  /** `static` (the default) or `oauth`. */
  type?: string | undefined;
  /** With `type: "oauth"`, and only then. */
  oauth?: OAuthSlot | undefined;
}

/** What an agent asks for: up to 10 services and 10 credentials, at least one. */
export interface ProposalRequest {
  services?: ProposedService[] | undefined;
  credentials?: CredentialSlot[] | undefined;
  /** For lists, up to 2000 bytes. */
  message?: string | undefined;
  /** For the person who decides, up to 5000 bytes. */
  userMessage?: string | undefined;
}

export interface WaitOptions extends CallOptions {
  /** Milliseconds until a `TimeoutError`. Default: 600000, ten minutes; 0 or less: until it has expired by itself. */
  timeout?: number | undefined;
  /** Milliseconds between the first two looks; then more, up to 15 seconds. Default 1000. */
  interval?: number | undefined;
}

export interface ApproveOptions extends CallOptions {
  /** Values by key. One that is given wins over the agent's own. */
  credentials?: Record<string, string> | undefined;
  /** `preview.revision` of what was seen. If the services have changed since: `VersionConflictError`. */
  revision?: number | undefined;
}

const LONGEST_INTERVAL_MS = 15_000;

/** What agents ask to change, and the decisions on it. */
export class ProposalsResource {
  readonly #http: HttpClient;
  readonly #vault: string | undefined;

  constructor(http: HttpClient, vault: string | undefined) {
    this.#http = http;
    this.#vault = vault;
  }

  /** Asks. `approvalUrl` is for the person who decides. */
  async create(request: ProposalRequest, options: CallOptions = {}): Promise<RaisedProposal> {
    const credentials = request.credentials?.map(slotBody);
    const body = { services: request.services, credentials, message: request.message, user_message: request.userMessage };
    return this.#http.json({ method: "POST", path: "/v1/proposals", body, signal: options.signal }, readRaisedProposal);
  }

  /** The caller's own, and for people all, without what is in them. */
  async list(options: { status?: ProposalStatus | undefined } & CallOptions = {}): Promise<Proposal[]> {
    return this.#http.json(
      { method: "GET", path: "/v1/proposals", query: { status: options.status }, signal: options.signal },
      at("proposals", list(readProposal)),
    );
  }

  /** What became of one. */
  async get(id: number, options: CallOptions = {}): Promise<ProposalDetail> {
    return this.#http.json({ method: "GET", path: `/v1/proposals/${id}`, signal: options.signal }, readProposalDetail);
  }

  /** Looks again and again, less and less often, until it is not `pending` any more. Failures that pass are waited out. */
  async wait(id: number, options: WaitOptions = {}): Promise<ProposalDetail> {
    const limit = options.timeout ?? 600_000;
    const end = limit > 0 ? Date.now() + limit : Number.POSITIVE_INFINITY;
    let interval = Math.max(10, options.interval ?? 1000);
    for (;;) {
      try {
        const found = await this.get(id, options);
        if (found.status !== "pending") return found;
      } catch (error) {
        if (!isTransient(error)) throw error;
      }
      const left = end - Date.now();
      if (left <= 0) throw new TimeoutError(`nobody has decided on proposal ${id} within ${limit} ms`);
      await pause(Math.min(left, interval * (0.8 + Math.random() * 0.4)), options.signal);
      interval = Math.min(LONGEST_INTERVAL_MS, interval * 1.5);
    }
  }

  /** For those who decide: the vault's proposals and what is in them. */
  async reviews(options: { status?: ProposalStatus | undefined } & CallOptions = {}): Promise<ProposalToReview[]> {
    return this.#http.json(
      { method: "GET", path: "/v1/admin/proposals", query: { vault: this.#vault, status: options.status }, signal: options.signal },
      at("proposals", list(readProposalToReview)),
    );
  }

  /** For those who decide: one, with a preview of what it would do: which key would go to which host, and what would change. */
  async review(id: number, options: CallOptions = {}): Promise<ProposalReview> {
    return this.#http.json(
      { method: "GET", path: `/v1/admin/proposals/${id}`, query: { vault: this.#vault }, signal: options.signal },
      readProposalReview,
    );
  }

  /** Carries it out, whole or not at all. Nobody approves what came from their own hands. */
  async approve(id: number, options: ApproveOptions = {}): Promise<Decision> {
    const body = { vault: this.#vault, credentials: options.credentials, revision: options.revision };
    return this.#http.json({ method: "POST", path: `/v1/admin/proposals/${id}/approve`, body, signal: options.signal }, readDecision);
  }

  async reject(id: number, options: { reason?: string | undefined } & CallOptions = {}): Promise<Decision> {
    const body = { vault: this.#vault, reason: options.reason };
    return this.#http.json({ method: "POST", path: `/v1/admin/proposals/${id}/reject`, body, signal: options.signal }, readDecision);
  }
}

/** As it is sent. */
function slotBody({ obtainInstructions, oauth, ...rest }: CredentialSlot): Record<string, unknown> {
  const client = oauth && {
    token_url: oauth.tokenUrl,
    authorization_url: oauth.authorizationUrl,
    client_id: oauth.clientId,
    scopes: oauth.scopes,
    scope_separator: oauth.scopeSeparator,
    token_auth_method: oauth.tokenAuthMethod,
    disable_pkce: oauth.disablePkce,
  };
  return { ...rest, obtain_instructions: obtainInstructions, oauth: client };
}
