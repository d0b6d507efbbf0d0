//! Who is asking: principals, roles, and why one was refused.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use agent_vault_seal::TokenHash;
use uuid::Uuid;

use crate::bounds::Bounds;
use crate::limits::ScopeLimits;

/// A role within a vault, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VaultRole {
    /// May send requests and see names.
    Proxy,
    /// May also manage credentials and tokens.
    Member,
    /// May also manage rules, members and settings.
    Admin,
}

impl VaultRole {
    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }

    /// Reads the contract's word; anything else is not a role.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "proxy" => Some(Self::Proxy),
            "member" => Some(Self::Member),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// Person or agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorKind {
    /// A person.
    User,
    /// An agent.
    Agent,
}

impl ActorKind {
    /// The contract's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
        }
    }
}

/// Who stands behind a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Person or agent.
    pub kind: ActorKind,
    /// Identity.
    pub id: Uuid,
    /// E-mail address or agent name.
    pub name: Arc<str>,
}

/// A proxy client whose token was found good for one vault.
///
/// Only [`crate::Broker::authenticate`] makes one. It proves nothing about *now*: each request presents it to
/// [`crate::Broker::admit`].
#[derive(Debug, Clone)]
pub struct Principal {
    pub(crate) token: TokenHash,
    pub(crate) session: Arc<str>,
    pub(crate) actor: Option<Actor>,
    pub(crate) vault: Uuid,
    pub(crate) role: VaultRole,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) limits: Arc<ScopeLimits>,
    pub(crate) bounds: Option<Arc<Bounds>>,
}

impl Principal {
    /// The session's public handle.
    #[must_use]
    pub fn session(&self) -> &Arc<str> {
        &self.session
    }

    /// Who stands behind the token: the agent, or whoever minted a scoped session.
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// The agent's name when an agent stands behind the token; rules may select on it.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.actor
            .as_ref()
            .filter(|actor| actor.kind == ActorKind::Agent)
            .map(|actor| &*actor.name)
    }

    /// The vault that the requests are for.
    #[must_use]
    pub fn vault(&self) -> Uuid {
        self.vault
    }

    /// Role in that vault; any role may send requests.
    #[must_use]
    pub fn role(&self) -> VaultRole {
        self.role
    }

    /// Whether the token may be used from this address.
    #[must_use]
    pub fn may_come_from(&self, address: IpAddr) -> bool {
        self.bounds
            .as_ref()
            .is_none_or(|bounds| bounds.may_come_from(address))
    }

    /// The session's label.
    #[must_use]
    pub fn label(&self) -> Option<&Arc<str>> {
        self.label.as_ref()
    }

    /// The rate and concurrency limits that this principal shares with itself on other connections.
    #[must_use]
    pub fn limits(&self) -> &Arc<ScopeLimits> {
        &self.limits
    }
}

/// Why a token opened nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthRefusal {
    /// Unknown, revoked or expired.
    Invalid,
    /// The token names no vault and nothing else does: a login session, or an agent without grants.
    NoVault,
    /// The agent has several grants and the client chose none.
    Ambiguous {
        /// Names of the vaults that it may choose from.
        vaults: Vec<String>,
    },
    /// The vault that the client named is not one that this token opens; whether it exists is not told.
    Denied,
    /// A scoped session was presented with the name of another vault.
    Mismatch,
}

impl fmt::Display for AuthRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the proxy token is unknown, revoked or expired",
            Self::NoVault => "the token is not bound to a vault and none was chosen",
            Self::Ambiguous { .. } => "the agent may use several vaults and none was chosen",
            Self::Denied => "the token does not open that vault",
            Self::Mismatch => "the token is bound to another vault than the one named",
        })
    }
}
