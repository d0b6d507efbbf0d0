//! Getting the data key: at the first start it is made, at every other it is found; and moving it
//! between key file and master password. The one place that decides the order of these steps.
//!
//! | step | killed after it | next start |
//! |---|---|---|
//! | key file written | file, no record | uses the file, writes the record |
//! | record written | both | opens |
//!
//! Setting a master password writes the record and then removes the key file; a start that opens
//! by password removes a leftover file with the same key. Removing the password writes the file first, then the record.

use std::path::PathBuf;

use agent_vault_seal::{Keyring, SealError, SecretBytes, WrapKey};
use jiff::Timestamp;

use crate::key_home::in_force;
use crate::{AuditEntry, KeyFile, KeyHome, MasterKey, Store, StoreError};

/// Where the data key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// In the key file.
    KeyFile,
    /// Wrapped with the master password.
    Password,
}

/// An unlocked instance.
#[derive(Debug)]
pub struct Unlocked {
    /// The data keys.
    pub keyring: Keyring,
    /// Where they are kept.
    pub home: KeyHome,
    /// How they are protected there.
    pub protection: Protection,
    /// Whether this call made them.
    pub created: bool,
    /// A password was given although the instance has none. Tell the operator: it protects nothing.
    pub password_unused: bool,
}

/// Why the data key could not be had. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// The instance has a master password and none was given.
    #[error("this instance is protected by a master password")]
    PasswordRequired,
    /// The given password is wrong.
    #[error("wrong master password")]
    WrongPassword,
    /// An empty password protects nothing.
    #[error("the master password is empty")]
    EmptyPassword,
    /// The database names a key file that is not there.
    #[error("the key file `{}` is missing", path.display())]
    KeyFileMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key file cannot be read or holds no key.
    #[error("cannot read the key file `{}`: {reason}", path.display())]
    KeyFileUnreadable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key file cannot be written.
    #[error("cannot write the key file `{}`: {source}", path.display())]
    KeyFileUnwritable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file belongs to another database.
    #[error("the key file `{}` belongs to another database", path.display())]
    KeyFileForeign {
        /// Where it is.
        path: PathBuf,
    },
    /// Another process has set or taken away the master password.
    #[error("the master password was set or taken away by another process")]
    Moved,
    /// The key work was stopped, because the runtime is shutting down.
    #[error("unlocking was interrupted")]
    Interrupted,
    /// The record or the key does not work.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnlockError {
    /// What the operator can do, if anything.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::PasswordRequired => {
                Some("give it in `AGENT_VAULT_MASTER_PASSWORD` or with `--password-stdin`")
            }
            Self::WrongPassword => Some("nothing was changed; try again with the right one"),
            Self::EmptyPassword => {
                Some("leave it out to keep the key in a file, or give at least one character")
            }
            Self::KeyFileMissing { .. } | Self::KeyFileUnreadable { .. } => Some(
                "restore the key file from a backup; without it the stored credentials cannot be opened",
            ),
            Self::KeyFileUnwritable { .. } => Some(crate::error::hint::NOT_WRITABLE),
            Self::KeyFileForeign { .. } => {
                Some("restore database and key file from the same backup")
            }
            Self::Store(error) => error.hint(),
            Self::Moved => Some("start again"),
            Self::Interrupted | Self::Seal(_) => None,
        }
    }
}

impl Store {
    /// Opens the data key, or makes it at the first start: wrapped with `password` if one is given,
    /// else in the key file. Concurrent first starts end up with one key.
    ///
    /// Argon2 runs on a blocking thread.
    ///
    /// # Errors
    /// [`UnlockError`]; then nothing was changed.
    pub async fn unlock(
        &self,
        password: Option<SecretBytes>,
        now: Timestamp,
    ) -> Result<Unlocked, UnlockError> {
        if password.as_ref().is_some_and(SecretBytes::is_empty) {
            return Err(UnlockError::EmptyPassword);
        }
        let (record, created) = match self.master_key().await? {
            Some(record) => (record, false),
            None => {
                let record = self
                    .make_record(password.as_ref().map(SecretBytes::duplicate))
                    .await?;
                self.store_first(record, now).await?
            }
        };
        let key_file = self.key_file();
        match record {
            MasterKey::KeyFile { sentinel } => {
                let keyring = key_file
                    .read()?
                    .ok_or_else(|| UnlockError::KeyFileMissing {
                        path: key_file.path().to_path_buf(),
                    })?;
                keyring
                    .check_sentinel(&sentinel)
                    .map_err(|_| UnlockError::KeyFileForeign {
                        path: key_file.path().to_path_buf(),
                    })?;
                tidy(&key_file, KeyFile::remove_temporaries);
                Ok(Unlocked {
                    keyring: in_force(keyring, &MasterKey::KeyFile { sentinel })?,
                    home: KeyHome::File(key_file),
                    protection: Protection::KeyFile,
                    created,
                    password_unused: password.is_some(),
                })
            }
            MasterKey::Password { sentinel, wrapped } => {
                let password = password.ok_or(UnlockError::PasswordRequired)?;
                let (keyring, wrap) = blocking(move || {
                    let wrap = WrapKey::of(&wrapped, &password)?;
                    match wrap.unwrap(&wrapped) {
                        Err(SealError::WrongPassword) => Err(UnlockError::WrongPassword),
                        other => Ok((other?, wrap)),
                    }
                })
                .await?;
                keyring.check_sentinel(&sentinel)?;
                remove_duplicate(&key_file, &keyring)?;
                Ok(Unlocked {
                    keyring,
                    home: KeyHome::Password(wrap),
                    protection: Protection::Password,
                    created,
                    password_unused: false,
                })
            }
        }
    }

    /// Protects the data key with a master password, or with a new one, and removes every copy of it
    /// that is protected otherwise. Only the wrap changes; no value is sealed again. For a stopped
    /// server.
    ///
    /// # Errors
    /// [`UnlockError`].
    pub async fn protect_with_password(
        &self,
        keyring: Keyring,
        password: SecretBytes,
        entry: &AuditEntry,
    ) -> Result<(), UnlockError> {
        if password.is_empty() {
            return Err(UnlockError::EmptyPassword);
        }
        let record = blocking(move || {
            Ok(MasterKey::Password {
                sentinel: keyring.sentinel()?,
                wrapped: keyring.wrap(&password)?,
            })
        })
        .await?;
        let mut tx = self.begin().await?;
        tx.put_master_key(&record, entry.at).await?;
        tx.commit(entry).await?;
        self.key_file().remove()?;
        // The WAL still holds the former record.
        self.truncate_wal().await?;
        Ok(())
    }

    /// Takes the master password away and keeps the data key in the key file. For a stopped server.
    ///
    /// # Errors
    /// [`UnlockError`].
    pub async fn protect_with_key_file(
        &self,
        keyring: &Keyring,
        entry: &AuditEntry,
    ) -> Result<(), UnlockError> {
        let record = MasterKey::KeyFile {
            sentinel: keyring.sentinel()?,
        };
        self.key_file().replace(keyring)?;
        let mut tx = self.begin().await?;
        tx.put_master_key(&record, entry.at).await?;
        tx.commit(entry).await?;
        self.truncate_wal().await?;
        Ok(())
    }

    async fn make_record(&self, password: Option<SecretBytes>) -> Result<MasterKey, UnlockError> {
        let key_file = self.key_file();
        blocking(move || match password {
            Some(password) => {
                // A first start without a password may have been killed before it was recorded, or
                // somebody restored the key file and not yet its database: take that key over, so
                // that no key is ever lost here.
                let keyring = match key_file.read() {
                    Ok(Some(keyring)) => keyring,
                    Ok(None) | Err(UnlockError::KeyFileUnreadable { .. }) => Keyring::generate()?,
                    Err(error) => return Err(error),
                };
                Ok(MasterKey::Password {
                    sentinel: keyring.sentinel()?,
                    wrapped: keyring.wrap(&password)?,
                })
            }
            None => {
                let keyring = match key_file.read_or_create(|| Ok(Keyring::generate()?)) {
                    // No record means that nothing was ever sealed: a file that holds no key is junk.
                    Err(UnlockError::KeyFileUnreadable { .. }) => {
                        let keyring = Keyring::generate()?;
                        key_file.replace(&keyring)?;
                        keyring
                    }
                    other => other?,
                };
                Ok(MasterKey::KeyFile {
                    sentinel: keyring.sentinel()?,
                })
            }
        })
        .await
    }

    /// Stores the record of a first start, unless another process was faster; answers what counts.
    async fn store_first(
        &self,
        record: MasterKey,
        now: Timestamp,
    ) -> Result<(MasterKey, bool), UnlockError> {
        let mut tx = self.begin().await?;
        if let Some(existing) = tx.master_key().await? {
            tx.rollback().await?;
            return Ok((existing, false));
        }
        tx.put_master_key(&record, now).await?;
        tx.commit(&AuditEntry::system("master-key.create", "instance", now))
            .await?;
        Ok((record, true))
    }
}

/// Runs slow, blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnlockError> + Send + 'static,
) -> Result<T, UnlockError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| UnlockError::Interrupted)?
}

/// Removes a key file that holds the same key as the one that a password protects: left by a process
/// that was killed while it set the password. Any other file stays, since it may be the only copy
/// of another database's key.
fn remove_duplicate(key_file: &KeyFile, keyring: &Keyring) -> Result<(), UnlockError> {
    match key_file.read() {
        Ok(None) => Ok(()),
        Ok(Some(found)) if found.key_id() == keyring.key_id() => key_file.remove(),
        Ok(Some(_)) | Err(_) => {
            tracing::warn!(
                path = %key_file.path().display(),
                "this instance opens with its master password; the key file beside it is not its own and was left alone"
            );
            Ok(())
        }
    }
}

/// Housekeeping that may fail without harm: logged, not told.
fn tidy(key_file: &KeyFile, work: fn(&KeyFile) -> std::io::Result<()>) {
    if let Err(error) = work(key_file) {
        tracing::debug!(%error, "could not remove leftovers of the key file");
    }
}
