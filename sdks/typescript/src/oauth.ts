import type { CallOptions, HttpClient } from "./http.js";
import type { OAuthConnected, OAuthConnecting, OAuthState } from "./models.js";
import { readOAuthConnected, readOAuthConnecting, readOAuthState } from "./readers.js";

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
