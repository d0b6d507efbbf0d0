// Made of docs/openapi.json by sdks/models.py: how an answer of the server becomes what models.ts says.
import type {
  Agent,
  AgentDetail,
  AgentToken,
  AuditPage,
  AuditRecord,
  AuditVerdict,
  ConsideredRule,
  CreatedAgent,
  CreatedInvite,
  Credential,
  CredentialEffect,
  CredentialExpiry,
  CredentialFlow,
  CredentialInForce,
  CredentialVersion,
  CredentialVersions,
  Decision,
  DeletedVault,
  DeletedVersion,
  DiscoveredHost,
  DiscoveredHosts,
  DiscoveredService,
  Discovery,
  Identity,
  InstanceSettings,
  InstanceVault,
  Invite,
  JoinedVault,
  KeyState,
  LogPage,
  LogRetention,
  LogRow,
  MatchedService,
  MintedToken,
  Minter,
  OAuthConnected,
  OAuthConnecting,
  OAuthConsent,
  OAuthState,
  Proposal,
  ProposalDetail,
  ProposalPreview,
  ProposalReview,
  ProposalToReview,
  ProposedCredential,
  ProposedOAuthClient,
  RaisedProposal,
  RateLimitTier,
  RateLimits,
  Readiness,
  ReadinessChecks,
  RemovedUser,
  Renamed,
  ReplacedPlaceholder,
  RoleChange,
  RotatedAgent,
  ServerStatus,
  ServiceChange,
  ServiceList,
  ServicePlan,
  ServiceRef,
  ServiceRemoved,
  ServiceSwitched,
  ServiceTemplate,
  ServiceTest,
  ServicesCleared,
  ServicesReplaced,
  ServicesSet,
  SessionInfo,
  StorePlace,
  StoreState,
  StoreSummary,
  StoredKeys,
  TestHeader,
  TestMailSent,
  User,
  UserDetail,
  UserRole,
  Vault,
  VaultAgent,
  VaultContext,
  VaultGrant,
  VaultPolicy,
  VaultRoleChange,
  VaultSettings,
  VaultSummary,
  VaultUser,
  VaultUserGrant,
  VersionedService,
  Webhook,
  WebhookDelivery,
  WebhookWithSecret,
} from "./models.js";
import { fields, flag, hide, list, listOrEmpty, map, mapOrEmpty, number, orNull, text, verbatim } from "./read.js";
import type { ProposedService, Service } from "./service.js";

export function readAgent(value: unknown, path: string): Agent {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    lastUsedAt: of("last_used_at", orNull(text)),
    name: of("name", text),
    revokedAt: of("revoked_at", orNull(text)),
    role: of("role", text),
    status: of("status", text),
    tokenExpiresAt: of("token_expires_at", orNull(text)),
    vaults: of("vaults", list(readVaultGrant)),
  };
}

export function readAgentDetail(value: unknown, path: string): AgentDetail {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    lastUsedAt: of("last_used_at", orNull(text)),
    name: of("name", text),
    revokedAt: of("revoked_at", orNull(text)),
    role: of("role", text),
    status: of("status", text),
    tokenExpiresAt: of("token_expires_at", orNull(text)),
    vaults: of("vaults", list(readVaultGrant)),
    activeTokens: of("active_tokens", number),
    createdBy: of("created_by", text),
    updatedAt: of("updated_at", text),
  };
}

export function readAgentToken(value: unknown, path: string): AgentToken {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    expiresAt: of("expires_at", orNull(text)),
    id: of("id", text),
    label: of("label", orNull(text)),
    lastUsedAt: of("last_used_at", orNull(text)),
  };
}

export function readAuditPage(value: unknown, path: string): AuditPage {
  const of = fields(value, path);
  return {
    nextCursor: of("next_cursor", orNull(number)),
    records: of("records", list(readAuditRecord)),
  };
}

export function readAuditRecord(value: unknown, path: string): AuditRecord {
  const of = fields(value, path);
  return {
    action: of("action", text),
    actorId: of("actor_id", text),
    actorName: of("actor_name", text),
    actorType: of("actor_type", text),
    at: of("at", text),
    detail: of("detail", verbatim<Record<string, unknown>>),
    hash: of("hash", text),
    outcome: of("outcome", text),
    seq: of("seq", number),
    source: of("source", text),
    target: of("target", text),
  };
}

export function readAuditVerdict(value: unknown, path: string): AuditVerdict {
  const of = fields(value, path);
  return {
    cutThrough: of("cut_through", number),
    firstBroken: of("first_broken", orNull(number)),
    head: of("head", orNull(text)),
    intact: of("intact", flag),
    records: of("records", number),
  };
}

export function readConsideredRule(value: unknown, path: string): ConsideredRule {
  const of = fields(value, path);
  return {
    enabled: of("enabled", flag),
    host: of("host", text),
    name: of("name", text),
    standing: of("standing", text),
    why: of("why", text),
  };
}

export function readCreatedAgent(value: unknown, path: string): CreatedAgent {
  const of = fields(value, path);
  return hide({
    token: of("av_agent_token", text),
    createdAt: of("created_at", text),
    name: of("name", text),
    role: of("role", text),
    tokenExpiresAt: of("token_expires_at", orNull(text)),
    vaults: of("vaults", list(readVaultGrant)),
  }, "token");
}

export function readCreatedInvite(value: unknown, path: string): CreatedInvite {
  const of = fields(value, path);
  return hide({
    email: of("email", text),
    emailError: of("email_error", orNull(text)),
    emailSent: of("email_sent", flag),
    expiresAt: of("expires_at", text),
    id: of("id", text),
    inviteLink: of("invite_link", orNull(text)),
    role: of("role", text),
    vaults: of("vaults", list(readVaultGrant)),
  }, "inviteLink");
}

export function readCredential(value: unknown, path: string): Credential {
  const of = fields(value, path);
  return hide({
    accessToken: of("access_token", orNull(text)),
    authorizationUrl: of("authorization_url", orNull(text)),
    clientId: of("client_id", orNull(text)),
    clientSecret: of("client_secret", orNull(text)),
    connectedAt: of("connected_at", orNull(text)),
    lastRefreshError: of("last_refresh_error", orNull(text)),
    lastRefreshedAt: of("last_refreshed_at", orNull(text)),
    refreshToken: of("refresh_token", orNull(text)),
    scopes: of("scopes", orNull(text)),
    tokenAuthMethod: of("token_auth_method", orNull(text)),
    tokenExpiresAt: of("token_expires_at", orNull(text)),
    tokenUrl: of("token_url", orNull(text)),
    expiresAt: of("expires_at", orNull(text)),
    key: of("key", text),
    type: of("type", text),
    unavailable: of("unavailable", orNull(flag)),
    value: of("value", orNull(text)),
    version: of("version", orNull(number)),
  }, "value");
}

export function readCredentialEffect(value: unknown, path: string): CredentialEffect {
  const of = fields(value, path);
  return {
    action: of("action", text),
    exists: of("exists", flag),
    key: of("key", text),
    needsValue: of("needs_value", flag),
    usedBy: of("used_by", list(text)),
  };
}

export function readCredentialExpiry(value: unknown, path: string): CredentialExpiry {
  const of = fields(value, path);
  return {
    expiresAt: of("expires_at", orNull(text)),
    key: of("key", text),
  };
}

export function readCredentialFlow(value: unknown, path: string): CredentialFlow {
  const of = fields(value, path);
  return {
    host: of("host", text),
    key: of("key", text),
    new: of("new", flag),
    service: of("service", text),
    stored: of("stored", flag),
  };
}

export function readCredentialInForce(value: unknown, path: string): CredentialInForce {
  const of = fields(value, path);
  return {
    key: of("key", text),
    version: of("version", number),
  };
}

export function readCredentialVersion(value: unknown, path: string): CredentialVersion {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    current: of("current", flag),
    expiresAt: of("expires_at", orNull(text)),
    restoredFrom: of("restored_from", orNull(number)),
    version: of("version", number),
  };
}

export function readCredentialVersions(value: unknown, path: string): CredentialVersions {
  const of = fields(value, path);
  return {
    key: of("key", text),
    versions: of("versions", list(readCredentialVersion)),
  };
}

export function readDecision(value: unknown, path: string): Decision {
  const of = fields(value, path);
  return {
    id: of("id", number),
    status: of("status", text),
  };
}

export function readDeletedVault(value: unknown, path: string): DeletedVault {
  const of = fields(value, path);
  return {
    deleted: of("deleted", flag),
    name: of("name", text),
  };
}

export function readDeletedVersion(value: unknown, path: string): DeletedVersion {
  const of = fields(value, path);
  return {
    deleted: of("deleted", number),
    key: of("key", text),
  };
}

export function readDiscoveredHost(value: unknown, path: string): DiscoveredHost {
  const of = fields(value, path);
  return {
    authHeader: of("auth_header", orNull(text)),
    authScheme: of("auth_scheme", orNull(text)),
    host: of("host", text),
    lastSeen: of("last_seen", text),
    requestCount: of("request_count", number),
  };
}

export function readDiscoveredHosts(value: unknown, path: string): DiscoveredHosts {
  const of = fields(value, path);
  return {
    hosts: of("hosts", list(readDiscoveredHost)),
    total: of("total", number),
  };
}

export function readDiscoveredService(value: unknown, path: string): DiscoveredService {
  const of = fields(value, path);
  return {
    enabled: of("enabled", flag),
    host: of("host", text),
    name: of("name", text),
  };
}

export function readDiscovery(value: unknown, path: string): Discovery {
  const of = fields(value, path);
  return {
    availableCredentials: of("available_credentials", list(text)),
    dynamicCredentials: of("dynamic_credentials", listOrEmpty(text)),
    missingCredentials: of("missing_credentials", list(text)),
    placeholders: of("placeholders", map(text)),
    requestBudget: of("request_budget", orNull(number)),
    requestsLeft: of("requests_left", orNull(number)),
    services: of("services", list(readDiscoveredService)),
    session: of("session", orNull(text)),
    vault: of("vault", text),
    vaultRole: of("vault_role", text),
  };
}

export function readIdentity(value: unknown, path: string): Identity {
  const of = fields(value, path);
  return {
    agentName: of("agent_name", orNull(text)),
    email: of("email", orNull(text)),
    isOwner: of("is_owner", flag),
    role: of("role", text),
    type: of("type", text),
  };
}

export function readInstanceSettings(value: unknown, path: string): InstanceSettings {
  const of = fields(value, path);
  return {
    allowedEmailDomains: of("allowed_email_domains", list(text)),
    inviteOnly: of("invite_only", flag),
    logsRetention: of("logs_retention", readLogRetention),
    rateLimit: of("rate_limit", readRateLimits),
    smtpConfigured: of("smtp_configured", flag),
  };
}

export function readInstanceVault(value: unknown, path: string): InstanceVault {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    id: of("id", text),
    isDefault: of("is_default", flag),
    name: of("name", text),
  };
}

export function readInvite(value: unknown, path: string): Invite {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    createdBy: of("created_by", text),
    createdByName: of("created_by_name", text),
    email: of("email", text),
    expiresAt: of("expires_at", text),
    id: of("id", text),
    role: of("role", text),
    status: of("status", text),
    token: of("token", text),
    vaults: of("vaults", list(readVaultGrant)),
  };
}

export function readJoinedVault(value: unknown, path: string): JoinedVault {
  const of = fields(value, path);
  return {
    joined: of("joined", flag),
    role: of("role", text),
    vault: of("vault", text),
  };
}

export function readKeyState(value: unknown, path: string): KeyState {
  const of = fields(value, path);
  return {
    keyId: of("key_id", text),
    masterPassword: of("master_password", flag),
    remaining: of("remaining", number),
    rotating: of("rotating", flag),
  };
}

export function readLogPage(value: unknown, path: string): LogPage {
  const of = fields(value, path);
  return {
    latestId: of("latest_id", number),
    logs: of("logs", list(readLogRow)),
    nextCursor: of("next_cursor", orNull(number)),
  };
}

export function readLogRetention(value: unknown, path: string): LogRetention {
  const of = fields(value, path);
  return {
    fromEnvironment: of("from_environment", flag),
    maxAgeHours: of("max_age_hours", number),
    maxRowsPerVault: of("max_rows_per_vault", number),
  };
}

export function readLogRow(value: unknown, path: string): LogRow {
  const of = fields(value, path);
  return {
    actorId: of("actor_id", text),
    actorName: of("actor_name", text),
    actorType: of("actor_type", text),
    createdAt: of("created_at", text),
    credentialKeys: of("credential_keys", list(text)),
    credentialVersions: of("credential_versions", list(number)),
    decision: of("decision", text),
    errorCode: of("error_code", text),
    host: of("host", text),
    id: of("id", number),
    ingress: of("ingress", text),
    label: of("label", text),
    latencyMs: of("latency_ms", number),
    matchedService: of("matched_service", text),
    method: of("method", text),
    path: of("path", text),
    scrubs: of("scrubs", number),
    session: of("session", text),
    status: of("status", number),
    warnings: of("warnings", list(text)),
  };
}

export function readMatchedService(value: unknown, path: string): MatchedService {
  const of = fields(value, path);
  return {
    enabled: of("enabled", flag),
    host: of("host", text),
    name: of("name", text),
  };
}

export function readMintedToken(value: unknown, path: string): MintedToken {
  const of = fields(value, path);
  return hide({
    address: of("av_addr", text),
    expiresAt: of("expires_at", text),
    id: of("id", text),
    token: of("token", text),
  }, "token");
}

export function readMinter(value: unknown, path: string): Minter {
  const of = fields(value, path);
  return {
    displayName: of("display_name", text),
    id: of("id", text),
    type: of("type", text),
  };
}

export function readOAuthConnected(value: unknown, path: string): OAuthConnected {
  const of = fields(value, path);
  return {
    connected: of("connected", flag),
    connectedAt: of("connected_at", text),
    expiresAt: of("expires_at", orNull(text)),
    refreshable: of("refreshable", flag),
  };
}

export function readOAuthConnecting(value: unknown, path: string): OAuthConnecting {
  const of = fields(value, path);
  return hide({
    authorizationUrl: of("authorization_url", text),
    consent: of("consent", text),
    expiresAt: of("expires_at", text),
    startUrl: of("start_url", text),
  }, "authorizationUrl", "startUrl");
}

export function readOAuthConsent(value: unknown, path: string): OAuthConsent {
  const of = fields(value, path);
  return {
    error: of("error", orNull(text)),
    id: of("id", text),
    status: of("status", text),
  };
}

export function readOAuthState(value: unknown, path: string): OAuthState {
  const of = fields(value, path);
  return {
    connected: of("connected", flag),
    connectedAt: of("connected_at", orNull(text)),
    consent: of("consent", orNull(readOAuthConsent)),
    expiresAt: of("expires_at", orNull(text)),
    lastError: of("last_error", orNull(text)),
  };
}

export function readProposal(value: unknown, path: string): Proposal {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    id: of("id", number),
    message: of("message", text),
    status: of("status", text),
  };
}

export function readProposalDetail(value: unknown, path: string): ProposalDetail {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    credentials: of("credentials", list(readProposedCredential)),
    expiresAt: of("expires_at", text),
    id: of("id", number),
    message: of("message", text),
    reviewNote: of("review_note", text),
    reviewedAt: of("reviewed_at", orNull(text)),
    services: of("services", list(verbatim<ProposedService>)),
    status: of("status", text),
  };
}

export function readProposalPreview(value: unknown, path: string): ProposalPreview {
  const of = fields(value, path);
  return {
    changes: of("changes", list(readServiceChange)),
    conflict: of("conflict", orNull(text)),
    credentials: of("credentials", list(readCredentialEffect)),
    flows: of("flows", list(readCredentialFlow)),
    revision: of("revision", orNull(number)),
    warnings: of("warnings", list(text)),
  };
}

export function readProposalReview(value: unknown, path: string): ProposalReview {
  const of = fields(value, path);
  return {
    agentName: of("agent_name", text),
    createdAt: of("created_at", text),
    credentials: of("credentials", list(readProposedCredential)),
    expiresAt: of("expires_at", text),
    id: of("id", number),
    message: of("message", text),
    reviewNote: of("review_note", text),
    reviewedAt: of("reviewed_at", orNull(text)),
    reviewedBy: of("reviewed_by", orNull(text)),
    services: of("services", list(verbatim<ProposedService>)),
    status: of("status", text),
    preview: of("preview", orNull(readProposalPreview)),
    userMessage: of("user_message", text),
    vault: of("vault", text),
  };
}

export function readProposalToReview(value: unknown, path: string): ProposalToReview {
  const of = fields(value, path);
  return {
    agentName: of("agent_name", text),
    createdAt: of("created_at", text),
    credentials: of("credentials", list(readProposedCredential)),
    expiresAt: of("expires_at", text),
    id: of("id", number),
    message: of("message", text),
    reviewNote: of("review_note", orNull(text)),
    reviewedAt: of("reviewed_at", orNull(text)),
    reviewedBy: of("reviewed_by", orNull(text)),
    services: of("services", list(verbatim<ProposedService>)),
    status: of("status", text),
  };
}

export function readProposedCredential(value: unknown, path: string): ProposedCredential {
  const of = fields(value, path);
  return {
    action: of("action", text),
    description: of("description", orNull(text)),
    hasValue: of("has_value", orNull(flag)),
    key: of("key", text),
    oauth: of("oauth", orNull(readProposedOAuthClient)),
    obtain: of("obtain", orNull(text)),
    obtainInstructions: of("obtain_instructions", orNull(text)),
    type: of("type", text),
  };
}

export function readProposedOAuthClient(value: unknown, path: string): ProposedOAuthClient {
  const of = fields(value, path);
  return {
    authorizationUrl: of("authorization_url", orNull(text)),
    clientId: of("client_id", orNull(text)),
    disablePkce: of("disable_pkce", flag),
    scopeSeparator: of("scope_separator", text),
    scopes: of("scopes", orNull(text)),
    tokenAuthMethod: of("token_auth_method", text),
    tokenUrl: of("token_url", text),
  };
}

export function readRaisedProposal(value: unknown, path: string): RaisedProposal {
  const of = fields(value, path);
  return hide({
    approvalUrl: of("approval_url", text),
    expiresAt: of("expires_at", text),
    id: of("id", number),
    message: of("message", text),
    status: of("status", text),
    vault: of("vault", text),
  }, "approvalUrl");
}

export function readRateLimitTier(value: unknown, path: string): RateLimitTier {
  const of = fields(value, path);
  return {
    burst: of("burst", orNull(number)),
    concurrency: of("concurrency", orNull(number)),
    max: of("max", orNull(number)),
    rate: of("rate", orNull(number)),
    source: of("source", text),
    window: of("window", orNull(text)),
  };
}

export function readRateLimits(value: unknown, path: string): RateLimits {
  const of = fields(value, path);
  return {
    locked: of("locked", flag),
    off: of("off", flag),
    profile: of("profile", text),
    tiers: of("tiers", map(readRateLimitTier)),
  };
}

export function readReadiness(value: unknown, path: string): Readiness {
  const of = fields(value, path);
  return {
    checks: of("checks", readReadinessChecks),
    reasons: of("reasons", list(text)),
    status: of("status", text),
  };
}

export function readReadinessChecks(value: unknown, path: string): ReadinessChecks {
  const of = fields(value, path);
  return {
    database: of("database", text),
    draining: of("draining", flag),
    externalStores: of("external_stores", text),
    proxy: of("proxy", text),
  };
}

export function readRemovedUser(value: unknown, path: string): RemovedUser {
  const of = fields(value, path);
  return {
    agentsRevoked: of("agents_revoked", listOrEmpty(text)),
    email: of("email", text),
    status: of("status", text),
  };
}

export function readRenamed(value: unknown, path: string): Renamed {
  const of = fields(value, path);
  return {
    message: of("message", text),
    newName: of("new_name", text),
    oldName: of("old_name", text),
  };
}

export function readReplacedPlaceholder(value: unknown, path: string): ReplacedPlaceholder {
  const of = fields(value, path);
  return {
    surfaces: of("in", list(text)),
    key: of("key", text),
    placeholder: of("placeholder", text),
  };
}

export function readRoleChange(value: unknown, path: string): RoleChange {
  const of = fields(value, path);
  return {
    agent: of("agent", text),
    newRole: of("new_role", text),
    oldRole: of("old_role", text),
  };
}

export function readRotatedAgent(value: unknown, path: string): RotatedAgent {
  const of = fields(value, path);
  return hide({
    token: of("av_agent_token", text),
    formerTokensEndAt: of("former_tokens_end_at", orNull(text)),
    name: of("name", text),
    reactivated: of("reactivated", flag),
    rotatedAt: of("rotated_at", text),
    tokenExpiresAt: of("token_expires_at", orNull(text)),
  }, "token");
}

export function readServerStatus(value: unknown, path: string): ServerStatus {
  const of = fields(value, path);
  return {
    allowedEmailDomains: of("allowed_email_domains", listOrEmpty(text)),
    baseUrl: of("base_url", orNull(text)),
    initialized: of("initialized", flag),
    inviteOnly: of("invite_only", orNull(flag)),
    needsFirstUser: of("needs_first_user", flag),
    version: of("version", text),
  };
}

export function readServiceChange(value: unknown, path: string): ServiceChange {
  const of = fields(value, path);
  return {
    after: of("after", orNull(verbatim<Service>)),
    before: of("before", orNull(verbatim<Service>)),
    change: of("change", text),
    name: of("name", text),
  };
}

export function readServiceList(value: unknown, path: string): ServiceList {
  const of = fields(value, path);
  return {
    revision: of("revision", number),
    services: of("services", list(verbatim<Service>)),
    vault: of("vault", text),
    versions: of("versions", map(text)),
  };
}

export function readServicePlan(value: unknown, path: string): ServicePlan {
  const of = fields(value, path);
  return {
    changes: of("changes", list(readServiceChange)),
    dryRun: of("dry_run", flag),
    revision: of("revision", number),
    servicesCount: of("services_count", number),
    vault: of("vault", text),
  };
}

export function readServiceRef(value: unknown, path: string): ServiceRef {
  const of = fields(value, path);
  return {
    host: of("host", text),
    name: of("name", text),
  };
}

export function readServiceRemoved(value: unknown, path: string): ServiceRemoved {
  const of = fields(value, path);
  return {
    removed: of("removed", text),
    removedHost: of("removed_host", text),
    servicesCount: of("services_count", number),
    vault: of("vault", text),
    revision: of("revision", orNull(number)),
  };
}

export function readServiceSwitched(value: unknown, path: string): ServiceSwitched {
  const of = fields(value, path);
  return {
    enabled: of("enabled", flag),
    host: of("host", text),
    name: of("name", text),
    vault: of("vault", text),
    revision: of("revision", orNull(number)),
  };
}

export function readServiceTemplate(value: unknown, path: string): ServiceTemplate {
  const of = fields(value, path);
  return {
    authType: of("auth_type", text),
    description: of("description", text),
    header: of("header", orNull(text)),
    headers: of("headers", mapOrEmpty(text)),
    host: of("host", text),
    id: of("id", text),
    name: of("name", text),
    prefix: of("prefix", orNull(text)),
    substitutions: of("substitutions", listOrEmpty(verbatim<Record<string, unknown>>)),
    suggestedCredentialKey: of("suggested_credential_key", text),
  };
}

export function readServiceTest(value: unknown, path: string): ServiceTest {
  const of = fields(value, path);
  return {
    code: of("code", orNull(text)),
    considered: of("considered", list(readConsideredRule)),
    decision: of("decision", text),
    elsewhere: of("elsewhere", number),
    hint: of("hint", orNull(text)),
    host: of("host", text),
    missing: of("missing", list(text)),
    path: of("path", text),
    replaces: of("replaces", list(readReplacedPlaceholder)),
    service: of("service", orNull(readMatchedService)),
    sets: of("sets", list(readTestHeader)),
    summary: of("summary", text),
    vault: of("vault", text),
  };
}

export function readServicesCleared(value: unknown, path: string): ServicesCleared {
  const of = fields(value, path);
  return {
    cleared: of("cleared", flag),
    vault: of("vault", text),
    revision: of("revision", orNull(number)),
  };
}

export function readServicesReplaced(value: unknown, path: string): ServicesReplaced {
  const of = fields(value, path);
  return {
    servicesCount: of("services_count", number),
    vault: of("vault", text),
    revision: of("revision", orNull(number)),
  };
}

export function readServicesSet(value: unknown, path: string): ServicesSet {
  const of = fields(value, path);
  return {
    servicesCount: of("services_count", number),
    upserted: of("upserted", list(text)),
    vault: of("vault", text),
    revision: of("revision", orNull(number)),
  };
}

export function readSessionInfo(value: unknown, path: string): SessionInfo {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    createdBy: of("created_by", orNull(readMinter)),
    expiresAt: of("expires_at", orNull(text)),
    id: of("id", text),
    label: of("label", orNull(text)),
    lastUsedAt: of("last_used_at", orNull(text)),
    requestBudget: of("request_budget", orNull(number)),
    requestsLeft: of("requests_left", orNull(number)),
    services: of("services", orNull(list(text))),
    sources: of("sources", listOrEmpty(text)),
    vaultRole: of("vault_role", text),
  };
}

export function readStorePlace(value: unknown, path: string): StorePlace {
  const of = fields(value, path);
  return {
    environment: of("environment", orNull(text)),
    projectId: of("project_id", orNull(text)),
    secretPath: of("secret_path", orNull(text)),
  };
}

export function readStoreState(value: unknown, path: string): StoreState {
  const of = fields(value, path);
  return {
    config: of("config", orNull(readStorePlace)),
    kind: of("kind", text),
    lastSuccessAt: of("last_success_at", orNull(text)),
    lastSyncError: of("last_sync_error", orNull(text)),
    lastSyncStatus: of("last_sync_status", orNull(text)),
    lastSyncedAt: of("last_synced_at", orNull(text)),
    pollIntervalSeconds: of("poll_interval_seconds", orNull(number)),
    stale: of("stale", orNull(flag)),
  };
}

export function readStoreSummary(value: unknown, path: string): StoreSummary {
  const of = fields(value, path);
  return {
    kind: of("kind", text),
    lastSyncStatus: of("last_sync_status", orNull(text)),
    lastSyncedAt: of("last_synced_at", orNull(text)),
  };
}

export function readStoredKeys(value: unknown, path: string): StoredKeys {
  const of = fields(value, path);
  return {
    set: of("set", list(text)),
    warnings: of("warnings", listOrEmpty(text)),
  };
}

export function readTestHeader(value: unknown, path: string): TestHeader {
  const of = fields(value, path);
  return {
    name: of("name", text),
    value: of("value", text),
  };
}

export function readTestMailSent(value: unknown, path: string): TestMailSent {
  const of = fields(value, path);
  return {
    message: of("message", text),
    to: of("to", text),
  };
}

export function readUser(value: unknown, path: string): User {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    email: of("email", text),
    id: of("id", text),
    role: of("role", text),
    vaults: of("vaults", orNull(list(readVaultGrant))),
  };
}

export function readUserDetail(value: unknown, path: string): UserDetail {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    email: of("email", text),
    id: of("id", text),
    role: of("role", text),
    vaults: of("vaults", list(text)),
  };
}

export function readUserRole(value: unknown, path: string): UserRole {
  const of = fields(value, path);
  return {
    email: of("email", text),
    role: of("role", text),
  };
}

export function readVault(value: unknown, path: string): Vault {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    credentialStore: of("credential_store", orNull(readStoreState)),
    id: of("id", text),
    name: of("name", text),
  };
}

export function readVaultAgent(value: unknown, path: string): VaultAgent {
  const of = fields(value, path);
  return {
    agentId: of("agent_id", text),
    name: of("name", text),
    status: of("status", text),
    role: of("vault_role", text),
  };
}

export function readVaultContext(value: unknown, path: string): VaultContext {
  const of = fields(value, path);
  return {
    credentialStore: of("credential_store", orNull(readStoreState)),
    vaultName: of("vault_name", text),
    vaultRole: of("vault_role", text),
  };
}

export function readVaultGrant(value: unknown, path: string): VaultGrant {
  const of = fields(value, path);
  return {
    vault: of("vault_name", text),
    role: of("vault_role", text),
  };
}

export function readVaultPolicy(value: unknown, path: string): VaultPolicy {
  const of = fields(value, path);
  return {
    unmatchedHostPolicy: of("unmatched_host_policy", text),
  };
}

export function readVaultRoleChange(value: unknown, path: string): VaultRoleChange {
  const of = fields(value, path);
  return {
    newRole: of("new_role", text),
    oldRole: of("old_role", text),
  };
}

export function readVaultSettings(value: unknown, path: string): VaultSettings {
  const of = fields(value, path);
  return {
    infisicalAvailable: of("infisical_available", flag),
    unmatchedHostPolicy: of("unmatched_host_policy", text),
  };
}

export function readVaultSummary(value: unknown, path: string): VaultSummary {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    credentialStore: of("credential_store", orNull(readStoreSummary)),
    id: of("id", text),
    membership: of("membership", text),
    name: of("name", text),
    pendingProposals: of("pending_proposals", number),
    role: of("role", orNull(text)),
  };
}

export function readVaultUser(value: unknown, path: string): VaultUser {
  const of = fields(value, path);
  return {
    email: of("email", text),
    role: of("role", text),
    status: of("status", text),
  };
}

export function readVaultUserGrant(value: unknown, path: string): VaultUserGrant {
  const of = fields(value, path);
  return {
    email: of("email", text),
    role: of("role", text),
  };
}

export function readVersionedService(value: unknown, path: string): VersionedService {
  const of = fields(value, path);
  return {
    service: of("service", verbatim<Service>),
    vault: of("vault", text),
    version: of("version", text),
  };
}

export function readWebhook(value: unknown, path: string): Webhook {
  const of = fields(value, path);
  return {
    createdAt: of("created_at", text),
    deliveredAt: of("delivered_at", orNull(text)),
    description: of("description", text),
    dropped: of("dropped", number),
    events: of("events", list(text)),
    failingSince: of("failing_since", orNull(text)),
    failures: of("failures", number),
    formerSecretUntil: of("former_secret_until", orNull(text)),
    id: of("id", text),
    lastError: of("last_error", text),
    parkedAt: of("parked_at", orNull(text)),
    pending: of("pending", number),
    state: of("state", text),
    updatedAt: of("updated_at", text),
    url: of("url", text),
  };
}

export function readWebhookDelivery(value: unknown, path: string): WebhookDelivery {
  const of = fields(value, path);
  return {
    attempts: of("attempts", number),
    createdAt: of("created_at", text),
    endedAt: of("ended_at", orNull(text)),
    error: of("error", text),
    event: of("event", text),
    eventId: of("event_id", text),
    nextAttemptAt: of("next_attempt_at", orNull(text)),
    responseStatus: of("response_status", orNull(number)),
    status: of("status", text),
  };
}

export function readWebhookWithSecret(value: unknown, path: string): WebhookWithSecret {
  const of = fields(value, path);
  return hide({
    createdAt: of("created_at", text),
    deliveredAt: of("delivered_at", orNull(text)),
    description: of("description", text),
    dropped: of("dropped", number),
    events: of("events", list(text)),
    failingSince: of("failing_since", orNull(text)),
    failures: of("failures", number),
    formerSecretUntil: of("former_secret_until", orNull(text)),
    id: of("id", text),
    lastError: of("last_error", text),
    parkedAt: of("parked_at", orNull(text)),
    pending: of("pending", number),
    state: of("state", text),
    updatedAt: of("updated_at", text),
    url: of("url", text),
    secret: of("secret", text),
  }, "secret");
}
