export { AgentVault, VaultClient } from "./client.js";
export type { NamedVaultClient, VaultClientConfig, VaultSettingsResource } from "./client.js";
export {
  AbortedError,
  AgentVaultError,
  ApiError,
  ConflictError,
  ForbiddenError,
  NetworkError,
  NotFoundError,
  RateLimitedError,
  StreamEndedError,
  TimeoutError,
  UnauthorizedError,
  VersionConflictError,
} from "./errors.js";
export type { Candidate } from "./errors.js";
export type { CallOptions, ClientConfig } from "./http.js";
export { buildProxyEnv } from "./proxy-env.js";
export type { ContainerConfig, ProxyEnvOptions } from "./proxy-env.js";
export type { CreateSessionOptions, Session, SessionsResource } from "./sessions.js";
export type { CredentialList, CredentialsResource, ListCredentialsOptions, RevealedCredential, SetCredentialsOptions } from "./credentials.js";
export { diffService } from "./service.js";
export type { FieldChange, ProposedService, Service, ServiceAuth, ServiceScrub, ServiceSelect, Substitution } from "./service.js";
export type { ListConditions, ServiceConditions, ServicesDryRun, ServicesResource, SetConditions, TestRequest } from "./services.js";
export type { ApproveOptions, CredentialSlot, OAuthSlot, ProposalRequest, ProposalStatus, ProposalsResource, WaitOptions } from "./proposals.js";
export type { AgentsResource, CreateAgentOptions, RotateAgentOptions, VaultAgentsResource, VaultRole } from "./agents.js";
export type { LogConditions, LogFilter, LogsResource } from "./logs.js";
export type { AuditFilter, AuditResource } from "./audit.js";
export type { CreateInviteOptions, InvitesResource, UsersResource, VaultUsersResource } from "./users.js";
export type { InstanceSettingsChange, InstanceSettingsResource, KeysResource, RateLimitChange, TierChange } from "./instance.js";
export type { OAuthClient, OAuthConnectRequest, OAuthResource, OAuthTokens } from "./oauth.js";
export type { CredentialStore, StoreResource } from "./stores.js";
export type { WebhookChange, WebhookRequest, WebhooksResource } from "./webhooks.js";
export type * from "./models.js";
export { VERSION } from "./version.js";
