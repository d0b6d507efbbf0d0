//! What an external store of secrets is asked, and what it answers. No sockets here: whoever keeps rows asks through
//! [`SecretStore`], and whoever may dial answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use agent_vault_seal::SecretBytes;
use jiff::Timestamp;

/// Where in a store a vault's secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlace {
    /// The project's id.
    pub project_id: String,
    /// The environment's slug.
    pub environment: String,
    /// The folder; begins with `/`.
    pub secret_path: String,
}

/// What is in one place of a store.
pub struct StoreSnapshot {
    /// Names and values, in no order.
    pub secrets: Vec<(String, SecretBytes)>,
    /// Names of secrets that are made on demand; `None` where the store does not say.
    pub dynamic: Option<Vec<String>>,
}

impl fmt::Debug for StoreSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSnapshot")
            .field("secrets", &self.secrets.len())
            .field("dynamic", &self.dynamic)
            .finish()
    }
}

/// A secret that was made on demand.
pub struct StoreLease {
    /// What the store calls it.
    pub id: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Names and values of its fields.
    pub fields: Vec<(String, SecretBytes)>,
}

impl fmt::Debug for StoreLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreLease")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What class of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFault {
    /// It does not answer, or not what it should. It may in a while.
    Unreachable,
    /// It does not know who we are: the login is refused.
    Login,
    /// It does not let us do this.
    Refused,
    /// It has no such thing.
    Absent,
}

/// Why a store did not do what it was asked. In our words: a secret may be among the store's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreFailure {
    /// What class of failure it is.
    pub fault: StoreFault,
    /// What happened, for the operator.
    pub message: String,
}

impl StoreFailure {
    /// One of a class.
    #[must_use]
    pub fn new(fault: StoreFault, message: impl Into<String>) -> Self {
        Self {
            fault,
            message: message.into(),
        }
    }
}

/// An answer of a store on its way.
pub type FromStore<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreFailure>> + Send + 'a>>;

/// An external store of secrets. Bounded in time and size by itself.
pub trait SecretStore: Send + Sync {
    /// Reads everything at a place, with the names of what is made on demand there.
    fn snapshot<'a>(&'a self, at: &'a StorePlace) -> FromStore<'a, StoreSnapshot>;
    /// Reads the names of what is made on demand at a place.
    fn dynamic_names<'a>(&'a self, at: &'a StorePlace) -> FromStore<'a, Vec<String>>;
    /// Has a secret made.
    fn lease<'a>(&'a self, at: &'a StorePlace, name: &'a str) -> FromStore<'a, StoreLease>;
    /// Has a lease last longer; answers when it ends now. The values stay.
    fn renew<'a>(&'a self, at: &'a StorePlace, lease: &'a str) -> FromStore<'a, Option<Timestamp>>;
    /// Gives a lease back. One that is gone already is `Absent`.
    fn revoke<'a>(&'a self, at: &'a StorePlace, lease: &'a str) -> FromStore<'a, ()>;
}
