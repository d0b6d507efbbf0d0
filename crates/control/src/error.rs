//! Why a management action did not happen: whose fault, what to tell them, and what they can do next.

use std::error::Error as StdError;

use agent_vault_seal::SealError;
use agent_vault_store::{StoreError, StoreErrorKind};

/// What class of failure it is; each plane maps it to its own form (HTTP status, exit code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input is malformed or out of bounds.
    Invalid,
    /// Nobody, or nobody known, is asking.
    Unauthenticated,
    /// Whoever asks may not do this.
    Forbidden,
    /// The thing does not exist, or not for whoever asks.
    NotFound,
    /// The thing was there and is not any more.
    Gone,
    /// The state of things forbids it: taken, last of its kind, already done.
    Conflict,
    /// What whoever asks had read has changed since.
    Stale,
    /// A business limit is reached.
    TooMany,
    /// The instance has no owner yet.
    NotInitialized,
    /// Something that we depend on does not answer; trying again may help.
    Unavailable,
    /// A server that we asked did not do what it was asked.
    Upstream,
    /// Our fault.
    Internal,
}

/// A choice that an ambiguous reference left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Service name.
    pub name: String,
    /// Host as shown to people.
    pub host: String,
}

/// A refused or failed management action.
///
/// `Display` is the public message. The cause is for our log only and is never shown to a client.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    kind: ErrorKind,
    message: String,
    code: Option<&'static str>,
    label: Option<&'static str>,
    hint: Option<String>,
    candidates: Vec<Candidate>,
    #[source]
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ControlError {
    /// An error of `kind` with its public message.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            label: None,
            hint: None,
            candidates: Vec::new(),
            cause: None,
        }
    }

    /// Malformed input.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A permission that is lacking.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }

    /// Something that is not there.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A state that forbids it.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// No token, or one that is not good.
    #[must_use]
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unauthenticated, message)
    }

    /// Our own failure, with what lies behind it.
    #[must_use]
    pub fn internal(
        message: impl Into<String>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(ErrorKind::Internal, message)
        }
    }

    /// Adds a word for programs.
    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// The word for programs, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// Adds a word for programs that stands beside the message and not before it.
    #[must_use]
    pub fn labelled(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// That word, where there is one.
    #[must_use]
    pub fn label(&self) -> Option<&'static str> {
        self.label
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the choices that were open.
    #[must_use]
    pub fn candidates(mut self, candidates: Vec<Candidate>) -> Self {
        self.candidates = candidates;
        self
    }

    /// The class of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What a client is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a client can do next.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The choices of an ambiguous reference.
    #[must_use]
    pub fn choices(&self) -> &[Candidate] {
        &self.candidates
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::Conflict => ErrorKind::Conflict,
            StoreErrorKind::NotFound => ErrorKind::NotFound,
            StoreErrorKind::Invalid => ErrorKind::Invalid,
            StoreErrorKind::Locked | StoreErrorKind::DiskFull => ErrorKind::Unavailable,
            _ => return Self::internal("the database did not do what was asked", error),
        };
        let public = Self::new(kind, error.message());
        match error.hint().map(str::to_owned) {
            Some(hint) => Self {
                cause: Some(error.into()),
                ..public
            }
            .hint(hint),
            None => Self {
                cause: Some(error.into()),
                ..public
            },
        }
    }
}

impl From<SealError> for ControlError {
    fn from(error: SealError) -> Self {
        Self::internal("a secret could not be sealed or opened", error)
    }
}
