//! The parts of the API's answers that commands read. Unknown members are ignored, absent ones default, so that a newer
//! or older server still works.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /v1/status`.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    #[serde(default)]
    pub(crate) initialized: bool,
}

/// A login, a registration, a changed password.
#[derive(Deserialize)]
pub(crate) struct Authenticated {
    #[serde(default)]
    pub(crate) token: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) role: Option<String>,
}

/// `GET /v1/auth/me`, `GET /v1/admin/users/me`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Me {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) email: String,
    pub(crate) agent_name: String,
    pub(crate) role: String,
    pub(crate) vaults: Vec<String>,
    pub(crate) created_at: String,
}

/// One of `GET /v1/auth/sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Login {
    pub(crate) id: String,
    pub(crate) device_label: String,
    pub(crate) last_ip: String,
    pub(crate) last_used_at: String,
    pub(crate) expires_at: String,
    pub(crate) current: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Logins {
    pub(crate) sessions: Vec<Login>,
}

/// One of `GET /v1/vaults`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Vault {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) created_at: String,
    /// Where its credentials come from, if not from itself.
    pub(crate) credential_store: Option<VaultStore>,
}

/// A vault's external store.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VaultStore {
    pub(crate) kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Vaults {
    pub(crate) vaults: Vec<Vault>,
}

/// `POST /v1/credentials`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StoredKeys {
    pub(crate) warnings: Vec<String>,
}

/// `GET /v1/credentials`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Credentials {
    pub(crate) keys: Vec<String>,
    pub(crate) credentials: Option<Vec<Credential>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    pub(crate) key: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) value: Option<String>,
    pub(crate) expires_at: Option<String>,
}

/// `GET /v1/credentials/{key}/versions`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CredentialVersions {
    pub(crate) versions: Vec<CredentialVersion>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CredentialVersion {
    pub(crate) version: u32,
    pub(crate) current: bool,
    pub(crate) created_at: String,
    pub(crate) expires_at: Option<String>,
    pub(crate) restored_from: Option<u32>,
}

/// `GET /v1/vaults/{name}/services`; the entries stay as the server sent them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Services {
    pub(crate) services: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Each service's version; another server sends none.
    pub(crate) versions: BTreeMap<String, String>,
}

/// What a write of services would change: the answer to `?dry_run=true`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<PlannedChange>,
    pub(crate) services_count: usize,
    /// The revision that it was made for.
    pub(crate) revision: u64,
}

/// One service of a plan.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PlannedChange {
    pub(crate) name: String,
    pub(crate) before: Option<serde_json::Map<String, serde_json::Value>>,
    pub(crate) after: Option<serde_json::Map<String, serde_json::Value>>,
}

/// `GET /discover`. `placeholders` and `session` are ours; another server leaves them out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Discovery {
    pub(crate) vault: String,
    pub(crate) services: Vec<DiscoveredService>,
    pub(crate) available_credentials: Vec<String>,
    pub(crate) placeholders: BTreeMap<String, String>,
    pub(crate) session: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DiscoveredService {
    pub(crate) name: String,
    pub(crate) host: String,
    /// Ours: absent means enabled.
    pub(crate) enabled: Option<bool>,
    /// Ours: the credential keys that the service uses.
    pub(crate) credential_keys: Option<Vec<String>>,
}

/// `POST /v1/sessions`. `id` is ours.
#[derive(Deserialize)]
pub(crate) struct Minted {
    pub(crate) token: String,
    #[serde(default)]
    pub(crate) id: Option<String>,
}

/// One of `GET /v1/sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScopedSession {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) vault_role: String,
    pub(crate) created_by: Option<CreatedBy>,
    pub(crate) created_at: String,
    pub(crate) expires_at: String,
    pub(crate) last_used_at: String,
    pub(crate) services: Option<Vec<String>>,
    pub(crate) request_budget: Option<u64>,
    pub(crate) requests_left: Option<u64>,
    pub(crate) sources: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CreatedBy {
    pub(crate) display_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ScopedSessions {
    pub(crate) sessions: Vec<ScopedSession>,
}

/// An agent of the instance.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) status: String,
    pub(crate) vaults: Vec<AgentVault>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    pub(crate) revoked_at: String,
    pub(crate) last_used_at: String,
    pub(crate) active_tokens: Option<u64>,
    pub(crate) av_agent_token: Option<String>,
    pub(crate) former_tokens_end_at: String,
}

/// A live token of an agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AgentToken {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) created_at: String,
    pub(crate) expires_at: String,
    pub(crate) last_used_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AgentTokens {
    pub(crate) tokens: Vec<AgentToken>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AgentVault {
    pub(crate) vault_name: String,
    pub(crate) vault_role: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Agents {
    pub(crate) agents: Vec<Agent>,
}

/// An agent as a vault sees it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VaultAgent {
    pub(crate) name: String,
    pub(crate) vault_role: String,
    pub(crate) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VaultAgents {
    pub(crate) agents: Vec<VaultAgent>,
}

/// One row of the request log. `decision`, `label`, `scrubs`, `session` and `warnings` are ours.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogRow {
    pub(crate) id: i64,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) matched_service: String,
    pub(crate) credential_keys: Vec<String>,
    pub(crate) credential_versions: Vec<u32>,
    pub(crate) status: u16,
    pub(crate) latency_ms: i64,
    pub(crate) error_code: String,
    pub(crate) actor_name: String,
    pub(crate) created_at: String,
    pub(crate) decision: String,
    pub(crate) label: Option<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) scrubs: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Logs {
    pub(crate) logs: Vec<LogRow>,
    pub(crate) next_cursor: Option<i64>,
    pub(crate) latest_id: i64,
}

/// A host that no service covers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DiscoveredHost {
    pub(crate) host: String,
    pub(crate) request_count: u64,
    pub(crate) last_seen: String,
    pub(crate) auth_scheme: String,
    pub(crate) auth_header: String,
}

/// `GET /v1/vaults/{name}/discovered-hosts`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DiscoveredHosts {
    pub(crate) hosts: Vec<DiscoveredHost>,
    pub(crate) total: u64,
}

/// A template of the catalogue.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CatalogEntry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) auth_type: String,
    pub(crate) suggested_credential_key: String,
    pub(crate) substitutions: Vec<serde_json::Value>,
}

/// `GET /v1/service-catalog`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Catalog {
    pub(crate) services: Vec<CatalogEntry>,
}

/// `POST /v1/auth/forgot-password`, `POST /v1/auth/resend-verification`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CodeAsked {
    pub(crate) message: String,
    pub(crate) email_sent: bool,
}

/// `POST /v1/auth/device`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeviceStarted {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) expires_in: u64,
    pub(crate) interval: u64,
}

/// `POST /v1/auth/device/token`.
#[derive(Deserialize)]
pub(crate) struct DeviceLoggedIn {
    pub(crate) email: String,
    pub(crate) token: String,
}

/// `GET /v1/auth/device/{code}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WaitingDevice {
    pub(crate) user_code: String,
    pub(crate) device_label: String,
    pub(crate) ip: String,
    pub(crate) user_agent: String,
    pub(crate) expires_at: String,
}

/// `GET /v1/auth/totp`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FactorStatus {
    pub(crate) enabled: bool,
    pub(crate) recovery_codes: u64,
}

/// `POST /v1/auth/totp`.
#[derive(Deserialize)]
pub(crate) struct FactorSecret {
    pub(crate) secret: String,
    pub(crate) otpauth_url: String,
}

/// `POST /v1/auth/totp/confirm`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RecoveryCodes {
    pub(crate) recovery_codes: Vec<String>,
}

/// A vault and a role there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VaultRole {
    pub(crate) vault_name: String,
    pub(crate) vault_role: String,
}

/// One of `GET /v1/users`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct User {
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) created_at: String,
    pub(crate) vaults: Option<Vec<VaultRole>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Users {
    pub(crate) users: Vec<User>,
}

/// `DELETE /v1/admin/users/{email}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RemovedUser {
    pub(crate) agents_revoked: Vec<String>,
}

/// `POST /v1/users/invites`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct InviteMade {
    pub(crate) email: String,
    pub(crate) invite_link: Option<String>,
    pub(crate) email_error: Option<String>,
    pub(crate) expires_at: String,
}

/// One of `GET /v1/users/invites`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Invite {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) status: String,
    pub(crate) created_by_name: String,
    pub(crate) vaults: Vec<VaultRole>,
    pub(crate) created_at: String,
    pub(crate) expires_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Invites {
    pub(crate) invites: Vec<Invite>,
}

/// `GET /v1/users/invites/{token}/details`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InviteFound {
    pub(crate) email: String,
    pub(crate) needs_account: bool,
    pub(crate) error: bool,
    pub(crate) error_message: String,
}

/// `POST /v1/users/invites/{token}/accept`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InviteAccepted {
    pub(crate) email: String,
    pub(crate) message: String,
}

/// `GET /v1/admin/codes`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WaitingCodes {
    pub(crate) codes: Vec<WaitingCode>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WaitingCode {
    pub(crate) email: String,
    pub(crate) purpose: String,
    pub(crate) code: String,
    pub(crate) expires_at: String,
}

/// `POST /v1/admin/email/test`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TestMailSent {
    pub(crate) to: String,
}

/// `GET /v1/admin/settings`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InstanceSettings {
    pub(crate) allowed_email_domains: Vec<String>,
    pub(crate) invite_only: bool,
    pub(crate) smtp_configured: bool,
    pub(crate) rate_limit: RateLimits,
    pub(crate) logs_retention: LogRetention,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RateLimits {
    pub(crate) profile: String,
    pub(crate) locked: bool,
    pub(crate) tiers: BTreeMap<String, RateTier>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RateTier {
    pub(crate) rate: Option<u32>,
    pub(crate) burst: Option<u32>,
    pub(crate) max: Option<u32>,
    pub(crate) window: Option<String>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogRetention {
    pub(crate) max_age_hours: u32,
    pub(crate) max_rows_per_vault: u32,
    pub(crate) from_environment: bool,
}

/// `GET /v1/vaults/{name}/users`; older servers send `null` for nobody.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VaultUsers {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) users: Vec<VaultUser>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VaultUser {
    pub(crate) email: String,
    pub(crate) status: String,
    pub(crate) role: String,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<VaultUser>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A credential of a proposal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProposalSlot {
    pub(crate) action: String,
    pub(crate) key: String,
    pub(crate) description: String,
    pub(crate) obtain: String,
    pub(crate) obtain_instructions: String,
    pub(crate) has_value: bool,
    pub(crate) oauth: Option<ProposalClient>,
}

/// The client at a provider that a proposal's credential comes from.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProposalClient {
    pub(crate) authorization_url: String,
    pub(crate) token_url: String,
    pub(crate) scopes: String,
}

/// `POST /v1/credentials/oauth/connect`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OAuthConnecting {
    pub(crate) start_url: String,
    pub(crate) consent: String,
}

/// How a consent is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OAuthConsent {
    pub(crate) status: String,
    pub(crate) error: Option<String>,
}

/// `GET /v1/credentials/oauth/status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OAuthState {
    pub(crate) connected: bool,
    pub(crate) connected_at: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) last_error: Option<String>,
    pub(crate) consent: Option<OAuthConsent>,
}

/// `POST /v1/credentials/oauth/tokens`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OAuthConnected {
    pub(crate) expires_at: Option<String>,
    pub(crate) refreshable: bool,
}

/// A key that a proposal would send to a host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct KeyFlow {
    pub(crate) key: String,
    pub(crate) host: String,
    pub(crate) service: String,
    pub(crate) stored: bool,
    pub(crate) new: bool,
}

/// What a proposal would do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProposalPreview {
    pub(crate) changes: Vec<PlannedChange>,
    pub(crate) flows: Vec<KeyFlow>,
    pub(crate) warnings: Vec<String>,
    pub(crate) revision: Option<u64>,
    pub(crate) conflict: Option<String>,
}

/// A proposal, as agents and as reviewers see it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Proposal {
    pub(crate) id: u32,
    pub(crate) status: String,
    pub(crate) agent_name: String,
    pub(crate) message: String,
    pub(crate) user_message: String,
    pub(crate) services: Vec<serde_json::Map<String, serde_json::Value>>,
    pub(crate) credentials: Vec<ProposalSlot>,
    pub(crate) review_note: String,
    pub(crate) reviewed_by: String,
    pub(crate) created_at: String,
    pub(crate) preview: Option<ProposalPreview>,
}

/// Proposals of a vault.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProposalPage {
    pub(crate) proposals: Vec<Proposal>,
}
