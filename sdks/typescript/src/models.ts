// Made of docs/openapi.json by sdks/models.py: what the server answers.
import type { ProposedService, Service } from "./service.js";

/** An agent in the directory. */
export interface Agent {
  createdAt: string;
  /** When its token was last used, by a request through the proxy or to this API. */
  lastUsedAt: string | null;
  name: string;
  revokedAt: string | null;
  role: string;
  /** `active` or `revoked`. */
  status: string;
  tokenExpiresAt: string | null;
  vaults: VaultGrant[];
}

/** One agent. */
export interface AgentDetail {
  createdAt: string;
  /** When its token was last used, by a request through the proxy or to this API. */
  lastUsedAt: string | null;
  name: string;
  revokedAt: string | null;
  role: string;
  /** `active` or `revoked`. */
  status: string;
  tokenExpiresAt: string | null;
  vaults: VaultGrant[];
  activeTokens: number;
  /** Id of the actor that made it. */
  createdBy: string;
  updatedAt: string;
}

/** A live token of an agent. */
export interface AgentToken {
  createdAt: string;
  /** Absent when it never ends. */
  expiresAt: string | null;
  /** Public id, for revocation and for the log's `session` filter. */
  id: string;
  label: string | null;
  lastUsedAt: string | null;
}

/** A page of records. */
export interface AuditPage {
  /** For `before`, or for `after` where that was given; null at the end. */
  nextCursor: number | null;
  /** Newest first; with `after`, oldest first. */
  records: AuditRecord[];
}

/** One action. */
export interface AuditRecord {
  /** `noun.verb`. */
  action: string;
  actorId: string;
  /** What the actor was called then. */
  actorName: string;
  /** `user`, `agent`, `scoped`, `local` or `system`. */
  actorType: string;
  /** RFC 3339, UTC, to the millisecond. */
  at: string;
  /** More: what was there before and after, names, numbers; never a secret. */
  detail: Record<string, unknown>;
  /** The hash of this record and, through the one before, of all that are older. */
  hash: string;
  /** `done` or `refused`. */
  outcome: string;
  seq: number;
  /** The client's address; empty on the server's own machine. */
  source: string;
  target: string;
}

/** What checking found. */
export interface AuditVerdict {
  /** The last record that retention has cut off the beginning; 0 when none was. */
  cutThrough: number;
  /** The first record that was changed, removed or slipped in. */
  firstBroken: number | null;
  /** The newest record's hash. Kept elsewhere, it later proves that nothing was cut off the end. */
  head: string | null;
  intact: boolean;
  /** How many records were checked; 0 when the chain is broken. */
  records: number;
}

/** How a service for the host stands to the request. */
export interface ConsideredRule {
  enabled: boolean;
  host: string;
  name: string;
  /** `chosen`, `refuses`, `undecided`, `other_port`, `other_path`, `other_agent`, `other_account` or `less_specific`. */
  standing: string;
  why: string;
}

/** An agent that was made. */
export interface CreatedAgent {
  /** Shown once. */
  token: string;
  createdAt: string;
  name: string;
  role: string;
  tokenExpiresAt: string | null;
  vaults: VaultGrant[];
}

/** A new invitation. */
export interface CreatedInvite {
  email: string;
  /** Why the mail failed. */
  emailError: string | null;
  emailSent: boolean;
  expiresAt: string;
  /** For revoking it and sending it again. */
  id: string;
  /** Only where no mail went out: to be handed on. Shown once. */
  inviteLink: string | null;
  role: string;
  vaults: VaultGrant[];
}

/** A credential. */
export interface Credential {
  accessToken: string | null;
  authorizationUrl: string | null;
  clientId: string | null;
  clientSecret: string | null;
  /** Since when it has a token; absent while it is not connected. */
  connectedAt: string | null;
  lastRefreshError: string | null;
  lastRefreshedAt: string | null;
  refreshToken: string | null;
  scopes: string | null;
  tokenAuthMethod: string | null;
  /** When the token ends, where that is known. */
  tokenExpiresAt: string | null;
  tokenUrl: string | null;
  /** From when on it counts as absent. */
  expiresAt: string | null;
  key: string;
  /** `static`, `oauth`, or `dynamic`: made by an external store at first use. */
  type: string;
  /** Present and true where the external store refuses to make it. */
  unavailable: boolean | null;
  /** Only when revealed, and not empty. */
  value: string | null;
  /** The version that is served, as request log rows give it; none of what is made on demand. */
  version: number | null;
}

/** What happens to a credential. */
export interface CredentialEffect {
  /** `set` or `delete`. */
  action: string;
  /** Whether the vault has it now. */
  exists: boolean;
  key: string;
  /** Whether the approval must bring a value. */
  needsValue: boolean;
  /** Services that use it after. */
  usedBy: string[];
}

/** When a credential ends. */
export interface CredentialExpiry {
  expiresAt: string | null;
  key: string;
}

/** A key that would go to a host. */
export interface CredentialFlow {
  host: string;
  key: string;
  /** Whether it does not go there now. */
  new: boolean;
  service: string;
  /** Whether it is the value that the vault has now. */
  stored: boolean;
}

/** The version in force. */
export interface CredentialInForce {
  key: string;
  version: number;
}

/** One value that a credential has or had. */
export interface CredentialVersion {
  createdAt: string;
  /** Whether it is the one that is served. */
  current: boolean;
  /** From when on it counts as absent. */
  expiresAt: string | null;
  /** The version that it was brought back from. */
  restoredFrom: number | null;
  version: number;
}

/** The values that are kept of a credential. */
export interface CredentialVersions {
  key: string;
  /** The newest first. */
  versions: CredentialVersion[];
}

/** What became of a proposal. */
export interface Decision {
  id: number;
  /** `applied` or `rejected`. */
  status: string;
}

/** A vault that is gone. */
export interface DeletedVault {
  deleted: boolean;
  name: string;
}

/** The version that was deleted. */
export interface DeletedVersion {
  deleted: number;
  key: string;
}

/** A host that no service covers. */
export interface DiscoveredHost {
  authHeader: string | null;
  authScheme: string | null;
  host: string;
  lastSeen: string;
  requestCount: number;
}

/** Hosts that no service covers. */
export interface DiscoveredHosts {
  hosts: DiscoveredHost[];
  total: number;
}

/** A service. */
export interface DiscoveredService {
  enabled: boolean;
  host: string;
  name: string;
}

/** What a vault brokers. */
export interface Discovery {
  availableCredentials: string[];
  /** What an external store makes at first use: names, or `<SECRET>_*` while the fields are not known. */
  dynamicCredentials: string[];
  /** Keys that enabled services use and the vault lacks. */
  missingCredentials: string[];
  /** What an agent's environment holds instead of each brokered key. */
  placeholders: Record<string, string>;
  /** Requests that the token that asks was given; absent when there is no end. */
  requestBudget: number | null;
  /** Those of them that are left. */
  requestsLeft: number | null;
  services: DiscoveredService[];
  /** Public id of the token that asks, as in the request log. */
  session: string | null;
  vault: string;
  vaultRole: string;
}

/** Who asks. */
export interface Identity {
  agentName: string | null;
  email: string | null;
  isOwner: boolean;
  role: string;
  /** `user`, `agent` or `local`. */
  type: string;
}

/** Settings of the instance. */
export interface InstanceSettings {
  /** Domains of addresses that may have an account; empty is all. */
  allowedEmailDomains: string[];
  /** People come by invitation only. */
  inviteOnly: boolean;
  logsRetention: LogRetention;
  rateLimit: RateLimits;
  /** Whether mail can be sent. */
  smtpConfigured: boolean;
}

/** A vault of the instance. */
export interface InstanceVault {
  createdAt: string;
  id: string;
  isDefault: boolean;
  name: string;
}

/** An invitation in a list. */
export interface Invite {
  createdAt: string;
  /** Id of who invited. */
  createdBy: string;
  /** The same as people read it. */
  createdByName: string;
  email: string;
  expiresAt: string;
  id: string;
  role: string;
  /** `pending`, `accepted`, `revoked` or `expired`. */
  status: string;
  /** The same as `id`: what the routes of one invitation take. The link's own token is stored nowhere. */
  token: string;
  vaults: VaultGrant[];
}

/** A vault that was joined. */
export interface JoinedVault {
  joined: boolean;
  role: string;
  vault: string;
}

/** What may be told of the data key. */
export interface KeyState {
  /** Names the key in force, and tells nothing of it. */
  keyId: string;
  /** Whether a master password protects it. */
  masterPassword: boolean;
  /** Values that older keys sealed and that are to be sealed again. */
  remaining: number;
  /** Whether older keys are still there. */
  rotating: boolean;
}

/** A page of the log. */
export interface LogPage {
  /** For `after`. */
  latestId: number;
  /** Newest first. */
  logs: LogRow[];
  /** For `before`; null at the end and when following. */
  nextCursor: number | null;
}

/** How long the request log is kept. */
export interface LogRetention {
  /** Whether the environment decides any of it. */
  fromEnvironment: boolean;
  /** 0 keeps rows of any age. */
  maxAgeHours: number;
  /** 0 keeps all. */
  maxRowsPerVault: number;
}

/** One request. */
export interface LogRow {
  actorId: string;
  actorName: string;
  /** Who sent it, or who minted the token that did: `user`, `agent` or empty. */
  actorType: string;
  createdAt: string;
  credentialKeys: string[];
  /** The version of each, in the same order; empty when none was opened. */
  credentialVersions: number[];
  /** What policy said. */
  decision: string;
  errorCode: string;
  host: string;
  id: number;
  ingress: string;
  /** What the token is called. */
  label: string;
  latencyMs: number;
  matchedService: string;
  method: string;
  path: string;
  /** How often an injected value was found in the answer, and replaced. */
  scrubs: number;
  /** Public id of the token. */
  session: string;
  /** What the client got; 0 when it got nothing. */
  status: number;
  /** What the operator should know about it. */
  warnings: string[];
}

/** A service by what people call it. */
export interface MatchedService {
  enabled: boolean;
  host: string;
  name: string;
}

/** A token that was minted. */
export interface MintedToken {
  /** Address of this server. */
  address: string;
  expiresAt: string;
  /** Public id, for revocation and for the log's `session` filter. */
  id: string;
  /** Shown once. */
  token: string;
}

/** Who minted a token. */
export interface Minter {
  displayName: string;
  id: string;
  /** `user` or `agent`. */
  type: string;
}

/** What an upload came to. */
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
  /** Public id of the consent. */
  consent: string;
  /** Until when a person may come back. */
  expiresAt: string;
  /** A page for any browser, which leads to the provider's. */
  startUrl: string;
}

/** How a consent is. */
export interface OAuthConsent {
  /** Why it came to nothing. */
  error: string | null;
  id: string;
  /** `pending`, `used`, `done` or `failed`. */
  status: string;
}

/** How a credential's grant is. */
export interface OAuthState {
  /** Whether it has a token. */
  connected: boolean;
  connectedAt: string | null;
  /** The consent that was asked about, or the newest, for as long as it is kept. */
  consent: OAuthConsent | null;
  /** When the token ends, where that is known. */
  expiresAt: string | null;
  /** What went wrong last. */
  lastError: string | null;
}

/** A proposal in an agent's list. */
export interface Proposal {
  createdAt: string;
  id: number;
  message: string;
  /** `pending`, `applied`, `rejected` or `expired`. */
  status: string;
}

/** A proposal as an agent sees it. */
export interface ProposalDetail {
  createdAt: string;
  credentials: ProposedCredential[];
  expiresAt: string;
  id: number;
  message: string;
  /** What the one who decided said. */
  reviewNote: string;
  /** `null` while nobody has decided. */
  reviewedAt: string | null;
  services: ProposedService[];
  /** `pending`, `applied`, `rejected` or `expired`. On `applied` the next request is decided by it. */
  status: string;
}

/** What a proposal would do now. */
export interface ProposalPreview {
  changes: ServiceChange[];
  /** Why the proposal does not fit the vault any more; then it cannot be approved. */
  conflict: string | null;
  credentials: CredentialEffect[];
  /** Which keys the changed services would send where. */
  flows: CredentialFlow[];
  /** With it in an approval, the approval does just this, or is refused (412). */
  revision: number | null;
  /** What deserves a second look. */
  warnings: string[];
}

/** A proposal as a reviewer sees it. */
export interface ProposalReview {
  /** Name of the agent, or label of the vault token. */
  agentName: string;
  createdAt: string;
  credentials: ProposedCredential[];
  expiresAt: string;
  id: number;
  message: string;
  /** Empty while nobody has decided. */
  reviewNote: string;
  reviewedAt: string | null;
  reviewedBy: string | null;
  services: ProposedService[];
  /** `pending`, `applied`, `rejected` or `expired`. */
  status: string;
  /** While it can be decided. */
  preview: ProposalPreview | null;
  userMessage: string;
  vault: string;
}

/** A proposal in a reviewer's list. */
export interface ProposalToReview {
  /** Name of the agent, or label of the vault token. */
  agentName: string;
  createdAt: string;
  credentials: ProposedCredential[];
  expiresAt: string;
  id: number;
  message: string;
  reviewNote: string | null;
  reviewedAt: string | null;
  reviewedBy: string | null;
  services: ProposedService[];
  /** `pending`, `applied`, `rejected` or `expired`. */
  status: string;
}

/** A credential of a proposal. Never a value. */
export interface ProposedCredential {
  /** `set` or `delete`. */
  action: string;
  description: string | null;
  /** Whether the agent gave a value. */
  hasValue: boolean | null;
  key: string;
  /** The client at a provider, for `oauth`. */
  oauth: ProposedOAuthClient | null;
  obtain: string | null;
  obtainInstructions: string | null;
  type: string;
}

/** The client that an `oauth` credential of a proposal names. */
export interface ProposedOAuthClient {
  /** Where a person consents; absent where tokens are given by hand. */
  authorizationUrl: string | null;
  /** Absent where the person says. */
  clientId: string | null;
  disablePkce: boolean;
  scopeSeparator: string;
  scopes: string | null;
  tokenAuthMethod: string;
  tokenUrl: string;
}

/** A proposal that waits now. */
export interface RaisedProposal {
  /** For the person who decides: shows the proposal for a day to whoever has it. Shown once. */
  approvalUrl: string;
  expiresAt: string;
  id: number;
  message: string;
  status: string;
  vault: string;
}

/** The numbers of one tier. */
export interface RateLimitTier {
  burst: number | null;
  concurrency: number | null;
  max: number | null;
  rate: number | null;
  /** `env`, `override` or `default`: the highest layer that gives any of them. */
  source: string;
  /** As `5m0s`. */
  window: string | null;
}

/** The rate limits that count. */
export interface RateLimits {
  /** Whether the environment leaves out what is stored. */
  locked: boolean;
  /** Whether the profile is `off`. */
  off: boolean;
  /** `default`, `strict`, `loose` or `off`. */
  profile: string;
  /** By tier: AUTH, PROXY, AUTHED, GLOBAL, VERIFY_FAIL. */
  tiers: Record<string, RateLimitTier>;
}

/** Whether the server can do its work. */
export interface Readiness {
  checks: ReadinessChecks;
  /** What stands in the way; empty when it is ready. */
  reasons: string[];
  /** `ready` or `not_ready`. */
  status: string;
}

/** What readiness consists of. */
export interface ReadinessChecks {
  /** `ok`, `failed`, or `slow` if it did not answer within two seconds. */
  database: string;
  /** Whether the server has begun to stop. */
  draining: boolean;
  /**
   * `none`, `ok`, `failing` if a refresh failed, `stale` if some vault's copies may be out of date, `unknown`. No reason not to be
   * ready: the last copies are served.
   */
  externalStores: string;
  /** `listening`, `not_listening`, or `off` if it was switched off. */
  proxy: string;
}

/** A person who is gone. */
export interface RemovedUser {
  /** Agents that the person had made, whose tokens ended therefore. */
  agentsRevoked: string[];
  email: string;
  status: string;
}

/** A new name. */
export interface Renamed {
  message: string;
  newName: string;
  oldName: string;
}

/** A placeholder that would be replaced. */
export interface ReplacedPlaceholder {
  surfaces: string[];
  key: string;
  placeholder: string;
}

/** A role that was given. */
export interface RoleChange {
  agent: string;
  newRole: string;
  oldRole: string;
}

/** A token that replaces all others. */
export interface RotatedAgent {
  /** Shown once. */
  token: string;
  /** Until when the former tokens are good at most; absent when they have ended. */
  formerTokensEndAt: string | null;
  name: string;
  /** Whether a revoked agent became active by this; only owners can do that. */
  reactivated: boolean;
  rotatedAt: string;
  tokenExpiresAt: string | null;
}

/** State of the instance. */
export interface ServerStatus {
  /** Domains of addresses that may have an account, where not all may. */
  allowedEmailDomains: string[];
  /** Address that people use, when one is set. */
  baseUrl: string | null;
  /** Whether an owner exists. */
  initialized: boolean;
  /** Present and true where people come by invitation only. */
  inviteOnly: boolean | null;
  /** The opposite. */
  needsFirstUser: boolean;
  /** Version of the server. */
  version: string;
}

/** One service that a dry run would change. */
export interface ServiceChange {
  after: Service | null;
  before: Service | null;
  /** `added`, `changed` or `removed`. */
  change: string;
  name: string;
}

/** Services of a vault. */
export interface ServiceList {
  /** Counts the writes to the list; also the `ETag`. `If-Match` on a write refuses it if there has been another since. */
  revision: number;
  /** In stored order. */
  services: Service[];
  vault: string;
  /** Each service's version by its name, for `expected` of an upsert and `If-Match` on a write of one service. */
  versions: Record<string, string>;
}

/** What a write would do, for `?dry_run=true`. Nothing was changed. */
export interface ServicePlan {
  changes: ServiceChange[];
  dryRun: boolean;
  /** The list's revision that this was made for: with it in `If-Match` the write does just this, or is refused. */
  revision: number;
  /** How many services there would be. */
  servicesCount: number;
  vault: string;
}

/** A service by what people call it. */
export interface ServiceRef {
  host: string;
  name: string;
}

/** A service that was removed. */
export interface ServiceRemoved {
  removed: string;
  removedHost: string;
  servicesCount: number;
  vault: string;
  /** The list's revision after this write, for the next one that rests on it. */
  revision: number | null;
}

/** A service that was enabled or disabled. */
export interface ServiceSwitched {
  enabled: boolean;
  host: string;
  name: string;
  vault: string;
  /** The list's revision after this write, for the next one that rests on it. */
  revision: number | null;
}

/** A template. */
export interface ServiceTemplate {
  authType: string;
  description: string;
  header: string | null;
  headers: Record<string, string>;
  host: string;
  id: string;
  name: string;
  prefix: string | null;
  substitutions: Record<string, unknown>[];
  suggestedCredentialKey: string;
}

/** What the proxy would do. */
export interface ServiceTest {
  /** Why it would be refused, as in the request log. */
  code: string | null;
  /** Every service for this host. */
  considered: ConsideredRule[];
  /** `inject`, `forward` or `deny`. */
  decision: string;
  /** How many services are for other hosts. */
  elsewhere: number;
  hint: string | null;
  /** The request's host, with its port where that is not the scheme's. */
  host: string;
  /** Credentials that it names and the vault lacks. */
  missing: string[];
  /** The path as rules see it. */
  path: string;
  /** Placeholders that it replaces. */
  replaces: ReplacedPlaceholder[];
  /** The service that decides. */
  service: MatchedService | null;
  /** Fields that it sets, `{{ KEY }}` standing for values. */
  sets: TestHeader[];
  summary: string;
  vault: string;
}

/** A vault without services. */
export interface ServicesCleared {
  cleared: boolean;
  vault: string;
  /** The list's revision after this write, for the next one that rests on it. */
  revision: number | null;
}

/** The result of a replacement. */
export interface ServicesReplaced {
  servicesCount: number;
  vault: string;
  /** The list's revision after this write, for the next one that rests on it. */
  revision: number | null;
}

/** The result of an upsert. */
export interface ServicesSet {
  servicesCount: number;
  upserted: string[];
  vault: string;
  /** The list's revision after this write, for the next one that rests on it. */
  revision: number | null;
}

/** A live token. */
export interface SessionInfo {
  createdAt: string;
  createdBy: Minter | null;
  expiresAt: string | null;
  id: string;
  label: string | null;
  /** By a request through the proxy or to this API. */
  lastUsedAt: string | null;
  /** Requests that it was given; absent when there is no end. */
  requestBudget: number | null;
  /** Those of them that are left. */
  requestsLeft: number | null;
  /** Services that it may use; absent when it may use all. */
  services: string[] | null;
  /** Networks that it may be used from; absent when it may be used anywhere. */
  sources: string[];
  vaultRole: string;
}

/** Where in Infisical a vault's secrets are. All three are needed. */
export interface StorePlace {
  /** The environment's slug. */
  environment: string | null;
  projectId: string | null;
  /** The folder; begins with `/`. */
  secretPath: string | null;
}

/** A vault's external store. */
export interface StoreState {
  /** For vault admins and instance owners. */
  config: StorePlace | null;
  /** `builtin` or `infisical`. */
  kind: string;
  /** When the last refresh ended that went well. */
  lastSuccessAt: string | null;
  /** Why the last one failed; for vault admins and instance owners. */
  lastSyncError: string | null;
  /** How the last refresh ended: `ok` or `error`. */
  lastSyncStatus: string | null;
  /** When the last refresh ended. */
  lastSyncedAt: string | null;
  pollIntervalSeconds: number | null;
  /** True once refreshes have failed for so long that the values may be out of date. */
  stale: boolean | null;
}

/** A vault's store in a list of vaults. */
export interface StoreSummary {
  kind: string;
  lastSyncStatus: string | null;
  lastSyncedAt: string | null;
}

/** Names that were stored. */
export interface StoredKeys {
  set: string[];
  /** What the operator should know of them; absent when there is nothing. */
  warnings: string[];
}

/** A header field. */
export interface TestHeader {
  name: string;
  value: string;
}

/** A test that was sent. */
export interface TestMailSent {
  message: string;
  to: string;
}

/** A person in the directory. */
export interface User {
  createdAt: string;
  email: string;
  /** Stands in paths in the place of the address. */
  id: string;
  role: string;
  /** For owners only. */
  vaults: VaultGrant[] | null;
}

/** A person. */
export interface UserDetail {
  createdAt: string;
  email: string;
  id: string;
  role: string;
  /** Names of the vaults that they have a role in. */
  vaults: string[];
}

/** A person's role. */
export interface UserRole {
  email: string;
  role: string;
}

/** A vault that was made. */
export interface Vault {
  createdAt: string;
  /** Present where its credentials come from an external store. */
  credentialStore: StoreState | null;
  id: string;
  name: string;
}

/** An agent in a vault. */
export interface VaultAgent {
  agentId: string;
  name: string;
  /** `active` or `revoked`. */
  status: string;
  role: string;
}

/** One's role in a vault. */
export interface VaultContext {
  /** Present where its credentials come from an external store. */
  credentialStore: StoreState | null;
  vaultName: string;
  vaultRole: string;
}

/** A vault and a role there. */
export interface VaultGrant {
  vault: string;
  role: string;
}

/** Settings as they are now. */
export interface VaultPolicy {
  unmatchedHostPolicy: string;
}

/** A role that was given. */
export interface VaultRoleChange {
  newRole: string;
  oldRole: string;
}

/** Settings. */
export interface VaultSettings {
  /** Whether one may connect the vault to Infisical here. */
  infisicalAvailable: boolean;
  /** `passthrough` or `deny`. */
  unmatchedHostPolicy: string;
}

/** A vault in one's list. */
export interface VaultSummary {
  createdAt: string;
  /** Present where its credentials come from an external store. */
  credentialStore: StoreSummary | null;
  id: string;
  /** `explicit` by a grant, `implicit` for owners without one. */
  membership: string;
  name: string;
  /** That wait for a decision; 0 for owners who have not joined. */
  pendingProposals: number;
  /** Absent for owners who have not joined. */
  role: string | null;
}

/** A person in a vault. */
export interface VaultUser {
  email: string;
  role: string;
  /** `active` or `pending`. */
  status: string;
}

/** A person who was added. */
export interface VaultUserGrant {
  email: string;
  role: string;
}

/** One service. */
export interface VersionedService {
  service: Service;
  vault: string;
  /** Changes with the service and with nothing else; also the `ETag`. */
  version: string;
}

/** A webhook. */
export interface Webhook {
  createdAt: string;
  /** When it last took something. */
  deliveredAt: string | null;
  description: string;
  /** Events that found its queue full. */
  dropped: number;
  /** Empty for all. */
  events: string[];
  failingSince: string | null;
  /** Failed attempts since the last good one. */
  failures: number;
  /** Until when the former secret signs too. */
  formerSecretUntil: string | null;
  id: string;
  /** Why the last attempt failed; empty after a good one. */
  lastError: string;
  parkedAt: string | null;
  /** What waits to be sent. */
  pending: number;
  /** `active`; `parked` when it did not answer for long; `off`. */
  state: string;
  updatedAt: string;
  url: string;
}

/** An event for a webhook. */
export interface WebhookDelivery {
  attempts: number;
  createdAt: string;
  endedAt: string | null;
  /** Why the last attempt failed; empty when it did not. */
  error: string;
  event: string;
  eventId: string;
  /** While it is pending. */
  nextAttemptAt: string | null;
  /** Status of the last answer, if there was one. */
  responseStatus: number | null;
  /** `pending`, `delivered` or `failed`. */
  status: string;
}

/** A webhook and its signing secret, which is shown this once. */
export interface WebhookWithSecret {
  createdAt: string;
  /** When it last took something. */
  deliveredAt: string | null;
  description: string;
  /** Events that found its queue full. */
  dropped: number;
  /** Empty for all. */
  events: string[];
  failingSince: string | null;
  /** Failed attempts since the last good one. */
  failures: number;
  /** Until when the former secret signs too. */
  formerSecretUntil: string | null;
  id: string;
  /** Why the last attempt failed; empty after a good one. */
  lastError: string;
  parkedAt: string | null;
  /** What waits to be sent. */
  pending: number;
  /** `active`; `parked` when it did not answer for long; `off`. */
  state: string;
  updatedAt: string;
  url: string;
  /** `whsec_` and base64. Shown once. */
  secret: string;
}
