//! [`StoreError`]: what went wrong with the database, and what the operator can do about it.

use std::fmt;
use std::path::Path;

use crate::dialect;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What kind of failure it was. Callers match on this, never on text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Folder or file cannot be created or written.
    NotWritable,
    /// Not a database of ours, or one that fails its integrity check, or a row that makes no sense.
    Damaged,
    /// Written by a newer version of the program.
    NewerSchema,
    /// Another process or task held the database for too long. Trying again can help.
    Locked,
    /// No space left. Trying again can help once there is.
    DiskFull,
    /// A name or key is taken, or the row changed under the caller.
    Conflict,
    /// The row to change, or the one it refers to, does not exist.
    NotFound,
    /// The caller broke a rule of the store: too long, out of range.
    Invalid,
    /// The database failed in another way.
    Internal,
}

/// A failed store operation: a message that is safe to show an operator, and a hint where there is
/// something to do. Neither ever contains stored values.
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    hint: Option<&'static str>,
    source: Option<Source>,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Conflict, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::NotFound, message)
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Damaged, message).with_hint(hint::DAMAGED)
    }

    pub(crate) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An input/output failure on a file of ours, told apart by its cause.
    pub(crate) fn file(doing: &str, path: &Path, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, hint) = match error.kind() {
            Io::PermissionDenied
            | Io::ReadOnlyFilesystem
            | Io::NotADirectory
            | Io::IsADirectory
            | Io::NotFound => (StoreErrorKind::NotWritable, Some(hint::NOT_WRITABLE)),
            Io::StorageFull | Io::QuotaExceeded => {
                (StoreErrorKind::DiskFull, Some(hint::DISK_FULL))
            }
            _ => (StoreErrorKind::Internal, None),
        };
        Self {
            kind,
            message: format!("cannot {doing} `{}`: {error}", path.display()),
            hint,
            source: Some(error.into()),
        }
    }

    /// Puts the database's path in front of a message that lacks it.
    pub(crate) fn at(mut self, path: &Path) -> Self {
        self.message = format!("database `{}`: {}", path.display(), self.message);
        self
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// One line, no trailing period.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the operator can do, if anything.
    pub fn hint(&self) -> Option<&str> {
        self.hint
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Locked)
    }
}

/// The hints, together so that they read alike.
pub(crate) mod hint {
    pub(crate) const NOT_WRITABLE: &str =
        "check the owner and the permissions of the data folder, or choose another one";
    pub(crate) const DISK_FULL: &str = "free some space on that disk and try again";
    pub(crate) const DAMAGED: &str =
        "stop every process that uses it and restore the data folder from a backup";
    pub(crate) const NEWER: &str =
        "upgrade agent-vault, or use the version that last opened this data folder";
    pub(crate) const LOCKED: &str =
        "another process is using the database; wait for it or stop it, then try again";
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({:?}: {})", self.kind, self.message)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use StoreErrorKind::{
            Conflict, Damaged, DiskFull, Internal, Locked, NotFound, NotWritable,
        };
        let kind = dialect::classify(&error);
        let (message, hint) = match kind {
            NotWritable => ("it cannot be written", Some(hint::NOT_WRITABLE)),
            Damaged => ("it is damaged or not a database", Some(hint::DAMAGED)),
            Locked => ("it is locked by another process", Some(hint::LOCKED)),
            DiskFull => ("the disk is full", Some(hint::DISK_FULL)),
            Conflict => ("that already exists", None),
            NotFound => ("what it refers to does not exist", None),
            _ => ("the database failed", None),
        };
        let message = if kind == Internal {
            format!("{message}: {error}")
        } else {
            message.to_owned()
        };
        Self {
            kind,
            message,
            hint,
            source: Some(error.into()),
        }
    }
}
