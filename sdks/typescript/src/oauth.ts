import type { CallOptions, HttpClient } from "./http.js";
import { fields, flag, hide, orNull, text } from "./read.js";

/** What an upload of tokens came to. */
export interface OAuthConnected {
  connected: boolean;
  connectedAt: string;
  /** When the token ends, where that is known. */
  expiresAt: string | null;
  /** Whether the next token is fetched by itself. */
  refreshable: boolean;
}

/** A consent that a person can be sent for. */
export interface OAuthConnecting {
  /** The provider's page, for the browser that made this request. */
  authorizationUrl: string;
  /** A page for any browser, which leads to the provider's. */
  startUrl: string;
  /** Public id of the consent. */
  consent: string;
  /** Until when a person may come back. */
  expiresAt: string;
}

/** How a consent is. */
export interface OAuthConsent {
  id: string;
  /** `pending`, `used`, `done` or `failed`. */
  status: string;
  /** Why it came to nothing. */
  error: string | null;
}

/** How a credential's grant is. */
export interface OAuthState {
  /** Whether it has a token. */
  connected: boolean;
  connectedAt: string | null;
  /** What went wrong last. */
  lastError: string | null;
  /** When the token ends, where that is known. */
  expiresAt: string | null;
  /** The consent that was asked about, or the newest, for as long as it is kept. */
  consent: OAuthConsent | null;
}

/** A client at a provider. */
export interface OAuthClient {
  /** Where tokens come from: https. */
  tokenUrl?: string | undefined;
  clientId?: string | undefined;
  clientSecret?: string | undefined;
  /** As the provider wants them. */
  scopes?: string | undefined;
  /** What stands between scopes; a space when absent. */
  scopeSeparator?: string | undefined;
  /** `client_secret_post`, `client_secret_basic` or `none`. */
  tokenAuthMethod?: string | undefined;
}

/** What is left out is what is stored already. */
export interface OAuthConnectRequest extends OAuthClient {
  /** Where a person consents: https. */
  authorizationUrl?: string | undefined;
  /** Leaves PKCE (RFC 7636) out. */
  disablePkce?: boolean | undefined;
}

/** Tokens that somebody has already, and the client that they were given to. */
export interface OAuthTokens extends OAuthClient {
  accessToken?: string | undefined;
  /** Used at once, to see that it works. */
  refreshToken?: string | undefined;
}

/** Credentials whose values come from a provider by OAuth. */
export class OAuthResource {
  readonly #http: HttpClient;
  readonly #vault: string | undefined;

  constructor(http: HttpClient, vault: string | undefined) {
    this.#http = http;
    this.#vault = vault;
  }

  /** Prepares a consent; `startUrl` is for the person. What works stays as it is until tokens have come back. */
  async connect(key: string, client: OAuthConnectRequest = {}, options: CallOptions = {}): Promise<OAuthConnecting> {
    const body = { ...this.#client(key, client), authorization_url: client.authorizationUrl, disable_pkce: client.disablePkce };
    return this.#http.json({ method: "POST", path: "/v1/credentials/oauth/connect", body, signal: options.signal }, readOAuthConnecting);
  }

  /** How the grant is, and the consent of this id, or the newest. */
  async status(key: string, options: { consent?: string | undefined } & CallOptions = {}): Promise<OAuthState> {
    return this.#http.json(
      {
        method: "GET",
        path: "/v1/credentials/oauth/status",
        query: { vault: this.#vault, key, consent: options.consent },
        signal: options.signal,
      },
      readOAuthState,
    );
  }

  /** Connects a credential with tokens that are there already. */
  async setTokens(key: string, tokens: OAuthTokens, options: CallOptions = {}): Promise<OAuthConnected> {
    const body = { ...this.#client(key, tokens), access_token: tokens.accessToken, refresh_token: tokens.refreshToken };
    return this.#http.json({ method: "POST", path: "/v1/credentials/oauth/tokens", body, signal: options.signal }, readOAuthConnected);
  }

  #client(key: string, client: OAuthClient): Record<string, unknown> {
    return {
      vault: this.#vault,
      key,
      token_url: client.tokenUrl,
      client_id: client.clientId,
      client_secret: client.clientSecret,
      scopes: client.scopes,
      scope_separator: client.scopeSeparator,
      token_auth_method: client.tokenAuthMethod,
    };
  }
}

function readOAuthConnected(value: unknown, path: string): OAuthConnected {
  const of = fields(value, path);
  return {
    connected: of("connected", flag),
    connectedAt: of("connected_at", text),
    expiresAt: of("expires_at", orNull(text)),
    refreshable: of("refreshable", flag),
  };
}

function readOAuthConnecting(value: unknown, path: string): OAuthConnecting {
  const of = fields(value, path);
  return hide({
    authorizationUrl: of("authorization_url", text),
    startUrl: of("start_url", text),
    consent: of("consent", text),
    expiresAt: of("expires_at", text),
  }, "authorizationUrl", "startUrl");
}

function readOAuthConsent(value: unknown, path: string): OAuthConsent {
  const of = fields(value, path);
  return {
    id: of("id", text),
    status: of("status", text),
    error: of("error", orNull(text)),
  };
}

function readOAuthState(value: unknown, path: string): OAuthState {
  const of = fields(value, path);
  return {
    connected: of("connected", flag),
    connectedAt: of("connected_at", orNull(text)),
    lastError: of("last_error", orNull(text)),
    expiresAt: of("expires_at", orNull(text)),
    consent: of("consent", orNull(readOAuthConsent)),
  };
}
