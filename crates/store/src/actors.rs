//! Who acts, and how much they may: the words that the tables share.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A word that is not in its closed set. Callers must fail closed on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}")]
pub struct UnknownName {
    /// Which set of words it is.
    pub what: &'static str,
}

/// Declares a closed set of words, stored and shown as text.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word, as stored and as shown in the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(crate::UnknownName { what: $what }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What kind of principal holds grants and tokens.
    ActorKind("actor type") {
        /// A person.
        User = "user",
        /// A program.
        Agent = "agent",
    }
}

words! {
    /// Rights over the instance. Ordered: `NoAccess < Member < Owner`.
    InstanceRole("instance role") {
        /// Only what grants give.
        NoAccess = "no-access",
        /// May create vaults and agents.
        Member = "member",
        /// May administer the instance.
        Owner = "owner",
    }
}

words! {
    /// Rights in one vault. Ordered: `Proxy < Member < Admin`.
    VaultRole("vault role") {
        /// Send requests through the proxy.
        Proxy = "proxy",
        /// Also see and change credentials.
        Member = "member",
        /// Also change services and members.
        Admin = "admin",
    }
}

/// One user or agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ActorRef {
    /// Which of the two it is.
    pub kind: ActorKind,
    /// Its id.
    pub id: Uuid,
}

impl ActorRef {
    /// The user with this id.
    pub fn user(id: Uuid) -> Self {
        Self {
            kind: ActorKind::User,
            id,
        }
    }

    /// The agent with this id.
    pub fn agent(id: Uuid) -> Self {
        Self {
            kind: ActorKind::Agent,
            id,
        }
    }

    /// Joins the two nullable columns that name an actor.
    pub(crate) fn from_columns(kind: Option<&str>, id: Option<&str>) -> Option<Self> {
        Some(Self {
            kind: ActorKind::from_str(kind?).ok()?,
            id: Uuid::try_parse(id?).ok()?,
        })
    }
}

impl fmt::Display for ActorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}
