//! Who asks for a management action.

use agent_vault_store::{ActorRef, InstanceRole, VaultRole};
use uuid::Uuid;

use crate::ControlError;

/// Who asks.
///
/// Roles of users and agents are not kept here: each action reads them inside its own transaction, because they may have
/// changed since the token was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person with a login.
    User(UserActor),
    /// An agent with its own token.
    Agent(AgentActor),
    /// A token bound to one vault. Not an actor of the instance.
    Scoped(ScopedActor),
    /// The person who can read the key file of this instance, working on it in-process. Audited as `local`.
    LocalOperator,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserActor {
    /// Identity.
    pub id: Uuid,
    /// E-mail address.
    pub email: String,
    /// Public id of the login that was used.
    pub session: String,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentActor {
    /// Identity.
    pub id: Uuid,
    /// Name at the time of authentication.
    pub name: String,
    /// Public id of the token that was used.
    pub session: String,
}

/// A scoped session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedActor {
    /// Public id of the session.
    pub session: String,
    /// The only vault that it opens.
    pub vault: Uuid,
    /// Role within it.
    pub role: VaultRole,
    /// What it is called.
    pub label: Option<String>,
}

impl Actor {
    /// Kind and id when this is an actor of the instance.
    #[must_use]
    pub fn identity(&self) -> Option<ActorRef> {
        match self {
            Self::User(user) => Some(ActorRef::user(user.id)),
            Self::Agent(agent) => Some(ActorRef::agent(agent.id)),
            Self::Scoped(_) | Self::LocalOperator => None,
        }
    }

    /// Public id of the token that was used; the local operator has none.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.session),
            Self::Agent(agent) => Some(&agent.session),
            Self::Scoped(scoped) => Some(&scoped.session),
            Self::LocalOperator => None,
        }
    }

    /// The user.
    ///
    /// # Errors
    /// `Forbidden` when anybody else asks.
    pub fn user(&self) -> Result<&UserActor, ControlError> {
        match self {
            Self::User(user) => Ok(user),
            Self::Agent(_) | Self::Scoped(_) | Self::LocalOperator => {
                Err(ControlError::forbidden("User session required")
                    .hint("log in with `agent-vault auth login`"))
            }
        }
    }
}

/// Reads an instance role that a client sent.
///
/// # Errors
/// Names the words that are roles.
pub fn instance_role(text: &str) -> Result<InstanceRole, ControlError> {
    text.parse().map_err(|_| {
        ControlError::invalid("role must be one of: owner, member, no-access")
            .hint("for example `member`")
    })
}

/// Reads a vault role that a client sent.
///
/// # Errors
/// Names the words that are roles.
pub fn vault_role(text: &str) -> Result<VaultRole, ControlError> {
    text.parse().map_err(|_| {
        ControlError::invalid("role must be one of: proxy, member, admin")
            .hint("for example `proxy`")
    })
}

/// Reads the vault role of a person: `proxy` is for agents only.
///
/// # Errors
/// Names the words that are roles of people.
pub fn member_role(text: &str) -> Result<VaultRole, ControlError> {
    match text.parse() {
        Ok(role @ (VaultRole::Member | VaultRole::Admin)) => Ok(role),
        Ok(VaultRole::Proxy) | Err(_) => {
            Err(ControlError::invalid("role must be one of: admin, member")
                .hint("for example `member`; `proxy` is for agents"))
        }
    }
}
