//! [`KeyHome`]: where a running instance keeps its data keys, and how it puts others there.

use agent_vault_seal::{Keyring, WrapKey};
use jiff::Timestamp;

use crate::{KeyFile, MasterKey, Store, Tx, UnlockError};

/// Where the data keys are kept, with what it takes to keep other ones there.
#[derive(Debug)]
pub enum KeyHome {
    /// In the key file.
    File(KeyFile),
    /// Wrapped in the database.
    Password(WrapKey),
}

impl KeyHome {
    /// Puts a keyring in force: what it seals with counts from the commit of `tx` on. In a key file the new keys lie before that, so
    /// one that is killed in between has keys too many and none too few.
    ///
    /// # Errors
    /// [`UnlockError`]; then the former keys are in force.
    pub async fn put(
        &self,
        tx: &mut Tx,
        keyring: &Keyring,
        at: Timestamp,
    ) -> Result<(), UnlockError> {
        if let Self::File(file) = self {
            file.replace(keyring)?;
        }
        self.put_record(tx, keyring, at).await
    }

    /// Records a keyring that the key file holds already, or is to hold once `tx` is committed.
    ///
    /// # Errors
    /// [`UnlockError`]; then nothing was changed.
    pub async fn put_record(
        &self,
        tx: &mut Tx,
        keyring: &Keyring,
        at: Timestamp,
    ) -> Result<(), UnlockError> {
        let sentinel = keyring.sentinel()?;
        let record = match self {
            Self::File(_) => MasterKey::KeyFile { sentinel },
            Self::Password(wrap) => MasterKey::Password {
                sentinel,
                wrapped: wrap.wrap(keyring)?,
            },
        };
        Ok(tx.put_master_key(&record, at).await?)
    }

    /// Destroys every older key that the key file still holds, once `keyring` is in force. In the database that was the commit's
    /// work.
    ///
    /// # Errors
    /// [`UnlockError`] when the file cannot be written.
    pub fn forget_older(&self, keyring: &Keyring) -> Result<(), UnlockError> {
        match self {
            Self::File(file) => file.replace(keyring),
            Self::Password(_) => Ok(()),
        }
    }

    /// The keys that are in force now, whoever put them there.
    ///
    /// # Errors
    /// [`UnlockError`] when they cannot be had, for example since the master password has changed.
    pub async fn read(&self, store: &Store) -> Result<Keyring, UnlockError> {
        let record = store.master_key().await?;
        let keyring = match (self, &record) {
            (Self::File(file), Some(MasterKey::KeyFile { .. })) => {
                file.read()?.ok_or_else(|| UnlockError::KeyFileMissing {
                    path: file.path().to_path_buf(),
                })?
            }
            (Self::Password(wrap), Some(MasterKey::Password { wrapped, .. })) => {
                wrap.unwrap(wrapped)?
            }
            _ => return Err(UnlockError::Moved),
        };
        match record {
            Some(record) => in_force(keyring, &record),
            None => Ok(keyring),
        }
    }
}

/// The keyring, sealing with the key that the record names.
pub(crate) fn in_force(keyring: Keyring, record: &MasterKey) -> Result<Keyring, UnlockError> {
    match record.sentinel().key_id() {
        // A rotation was killed before its commit: the former key is in force still.
        Some(id) if id != keyring.key_id() => Ok(keyring.sealing_with(id).unwrap_or(keyring)),
        _ => Ok(keyring),
    }
}
