//! What `control` tells the broker: plain records, one per entity, as they stand after a committed write.

use agent_vault_policy::{CredentialKey, Service, UnmatchedPolicy};
use agent_vault_seal::{SealContext, SealKind, Sealed, TokenHash};
use jiff::Timestamp;
use uuid::Uuid;

use crate::bounds::TokenBounds;
use crate::principal::{Actor, VaultRole};

/// Everything at once: the state at start, or after another process has written to the same database.
#[derive(Debug, Default)]
pub struct Image {
    /// Every vault.
    pub vaults: Vec<VaultRecord>,
    /// Every agent, revoked ones included.
    pub agents: Vec<AgentRecord>,
    /// Every session that has not expired.
    pub sessions: Vec<SessionRecord>,
}

/// One vault with its rules and sealed credentials.
#[derive(Debug)]
pub struct VaultRecord {
    /// Identity; survives a rename.
    pub id: Uuid,
    /// The name that a proxy URL's password field gives.
    pub name: String,
    /// Services in stored order, or why they could not be read: then every request of the vault is refused.
    pub services: Result<Vec<Service>, String>,
    /// What happens to a request that no service matches.
    pub unmatched: UnmatchedPolicy,
    /// Sealed values by key.
    pub credentials: Vec<(CredentialKey, SealedCredential)>,
    /// The stand-in for each brokered key that `run` puts into an agent's environment.
    pub placeholders: Vec<(CredentialKey, String)>,
}

/// A sealed value and the version that its associated data names.
#[derive(Debug, Clone)]
pub struct SealedCredential {
    /// The sealed bytes.
    pub sealed: Sealed,
    /// Version of the credential, part of the seal's context.
    pub version: u32,
    /// From when on it counts as absent.
    pub expires_at: Option<Timestamp>,
    /// What is known of it besides, when it comes from an OAuth grant.
    pub oauth: Option<OAuthState>,
}

/// The state of a credential that comes from an OAuth grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OAuthState {
    /// Whether there is an access token at all.
    pub connected: bool,
    /// When the access token ends, where that is known.
    pub ends: Option<Timestamp>,
    /// From when on a new one is fetched beside the traffic.
    pub renew_from: Option<Timestamp>,
    /// Whether one can be fetched: there is a refresh token that was not refused.
    pub renewable: bool,
}

/// The associated data of a credential's seal: a row moved to another vault, key or version does not open.
#[must_use]
pub fn credential_context<'a>(vault: &'a str, key: &'a str, version: u32) -> SealContext<'a> {
    SealContext {
        kind: SealKind::Credential,
        owner: vault,
        name: key,
        version,
    }
}

/// An agent and the vaults that it was granted.
#[derive(Debug, Clone)]
pub struct AgentRecord {
    /// Identity; survives a rename and a token rotation.
    pub id: Uuid,
    /// The agent's name, as rules and the log give it.
    pub name: String,
    /// False once revoked: its tokens open nothing.
    pub active: bool,
    /// Vault and role, one per vault.
    pub grants: Vec<(Uuid, VaultRole)>,
}

/// A token that is live, known by its hash only.
#[derive(Debug, Clone)]
pub struct SessionRecord {
    /// SHA-256 of the token.
    pub token: TokenHash,
    /// The handle that may be shown and logged.
    pub public_id: String,
    /// End of life; `None` never ends.
    pub expires_at: Option<Timestamp>,
    /// What the holder called it.
    pub label: Option<String>,
    /// Whose it is.
    pub kind: SessionKind,
    /// What it is confined to besides.
    pub bounds: TokenBounds,
}

/// Whose token a session is.
#[derive(Debug, Clone)]
pub enum SessionKind {
    /// A person's login: manages, never proxies.
    User,
    /// Bound to one vault.
    Scoped {
        /// The only vault that it opens.
        vault: Uuid,
        /// Role within it.
        role: VaultRole,
        /// Who minted it.
        minted_by: Option<Actor>,
    },
    /// An agent's own token.
    Agent {
        /// The agent.
        agent: Uuid,
    },
}
