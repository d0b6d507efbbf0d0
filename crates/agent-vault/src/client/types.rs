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
}

/// `GET /v1/vaults/{name}/services`; the entries stay as the server sent them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Services {
    pub(crate) services: Vec<serde_json::Map<String, serde_json::Value>>,
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
