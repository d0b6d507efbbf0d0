//! The data key: which one is in force, and putting a new one in its place.
//!
//! A rotation begins with one commit, from which on everything is sealed with the new key; what older keys sealed is then sealed
//! again in the background, in small steps; and when nothing is left that they sealed, they are destroyed. How far it has come is
//! read off the database itself, so whoever starts next goes on with it.
//!
//! | killed | next start |
//! |---|---|
//! | before the commit | the former key is in force; the key file may hold one key too many, which seals nothing |
//! | while values are sealed again | both keys open; goes on |
//! | before the older keys are destroyed | finds nothing left to seal, destroys them |

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_vault_seal::Keyring;
use agent_vault_store::{KeyHome, ResealPass, UnlockError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::Control;
use crate::access::{self, InstanceOwner};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::write::{Publication, Write};
use agent_vault_store::AuditEntry;

/// Time before another attempt when sealing again failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Actions on the data key. For instance owners.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'c>(pub(crate) &'c Control);

/// What may be told of the data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Names the key in force, and tells nothing of it.
    pub key_id: String,
    /// Whether a master password protects it.
    pub password: bool,
    /// Whether older keys are still there, because not everything is sealed with the one in force.
    pub rotating: bool,
    /// Values that older keys sealed.
    pub remaining: u64,
}

/// What [`Control`] keeps for it.
#[derive(Debug, Default)]
pub(crate) struct KeyKeeping {
    home: OnceLock<KeyHome>,
    /// A rotation has begun.
    begun: Arc<Notify>,
}

impl Keys<'_> {
    /// Which key is in force, and how far a rotation has come.
    ///
    /// # Errors
    /// Unless an instance owner asks.
    pub async fn state(&self, actor: &Actor) -> Result<KeyState, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        self.read().await
    }

    /// Puts a new data key in force. Returns as soon as it seals; what older keys sealed follows in the background.
    ///
    /// # Errors
    /// Unless an instance owner asks; `Conflict` while a rotation is under way.
    pub async fn rotate(&self, actor: &Actor) -> Result<KeyState, ControlError> {
        let mut write = self.0.begin(actor, "key.rotate", "instance").await?;
        let outcome = begin(&mut write, actor).await;
        write.finish(outcome).await?;
        self.0.key_keeping().begun.notify_one();
        self.read().await
    }

    async fn read(&self) -> Result<KeyState, ControlError> {
        let keyring = self.0.keyring();
        let older = keyring.older_ids();
        let left = self.0.store().sealed_with(&older).await?;
        Ok(KeyState {
            key_id: keyring.key_id().to_string(),
            password: matches!(self.0.key_keeping().home.get(), Some(KeyHome::Password(_))),
            rotating: !older.is_empty(),
            remaining: left.iter().map(|(_, count)| count).sum(),
        })
    }
}

async fn begin(write: &mut Write, actor: &Actor) -> Result<(), ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let control = write.control().clone();
    let home = control.key_home()?;
    let former = control.keyring();
    if !former.older_ids().is_empty() {
        return Err(
            ControlError::conflict("A rotation of the data key is under way")
                .hint("see how far it is with `agent-vault key status`"),
        );
    }
    let next = former.rotated()?;
    write.note("before", former.key_id().to_string());
    write.note("key_id", next.key_id().to_string());
    let now = write.now();
    home.put(write.tx(), &next, now).await.map_err(unkept)?;
    write.publish(Publication::Keys(next));
    Ok(())
}

fn unkept(error: UnlockError) -> ControlError {
    ControlError::internal("the data key could not be kept", error)
        .hint("check that the data folder can be written; the key in force is the one from before")
}

impl Control {
    /// The data key.
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// Says where the data keys are kept, once. Without it they can be neither rotated nor read again.
    pub fn keep_keys_in(&self, home: KeyHome) {
        if self.key_keeping().home.set(home).is_err() {
            tracing::error!("where the data keys are kept was said twice");
        }
    }

    fn key_home(&self) -> Result<&KeyHome, ControlError> {
        self.key_keeping().home.get().ok_or_else(|| {
            ControlError::new(
                ErrorKind::Unavailable,
                "The data key of this process cannot be rotated",
            )
        })
    }

    /// Seals again what older keys have sealed, and destroys them: whatever an earlier process left, and each rotation that
    /// begins, until cancelled.
    pub async fn keep_rotating(&self, cancelled: CancellationToken) {
        let begun = Arc::clone(&self.key_keeping().begun);
        loop {
            if !self.keyring().older_ids().is_empty() && self.key_keeping().home.get().is_some() {
                let rotated = tokio::select! {
                    () = cancelled.cancelled() => return,
                    rotated = self.reseal() => rotated,
                };
                match rotated {
                    Ok(()) => tracing::info!("the former data key is destroyed"),
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "sealing with the new data key goes on in a moment"
                        );
                        tokio::select! {
                            () = cancelled.cancelled() => return,
                            () = tokio::time::sleep(PAUSE) => {}
                        }
                        continue;
                    }
                }
            }
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = begun.notified() => {}
            }
        }
    }

    /// One pass over everything that is sealed, and the end of the older keys.
    ///
    /// # Errors
    /// When the database cannot be written, or holds values that older keys sealed where this version does not look.
    pub async fn reseal(&self) -> Result<(), ControlError> {
        let keyring = self.keyring().snapshot();
        let mut pass = ResealPass::default();
        while !pass.is_over() {
            self.store().reseal_step(&keyring, &mut pass).await?;
            // Other writes come in between.
            tokio::task::yield_now().await;
        }
        self.forget_older_keys(&keyring, pass).await
    }

    async fn forget_older_keys(
        &self,
        keyring: &Keyring,
        pass: ResealPass,
    ) -> Result<(), ControlError> {
        let home = self.key_home()?;
        let mut gate = self.gate().await;
        if self.keyring().key_id() != keyring.key_id() {
            // Another process has rotated meanwhile.
            return Err(ControlError::conflict("the data key has changed"));
        }
        let older = keyring.older_ids();
        let left = self.store().sealed_with(&older).await?;
        let count: u64 = left.iter().map(|(_, count)| count).sum();
        if count > pass.unreadable {
            let tables: Vec<&str> = left.iter().map(|(table, _)| table.as_str()).collect();
            return Err(ControlError::conflict(format!(
                "{count} values are sealed with an older data key in {}; it is kept",
                tables.join(", ")
            )));
        }
        let only = keyring.without_older();
        // Another process may have come to the end before us: then there is nothing to record.
        let stored = home.read(self.store()).await.map_err(unkept)?;
        if !stored.older_ids().is_empty() {
            let now = self.now();
            let mut tx = self.store().begin().await?;
            home.put_record(&mut tx, &only, now).await.map_err(unkept)?;
            let entry = AuditEntry {
                detail: serde_json::json!({
                    "key_id": only.key_id().to_string(),
                    "resealed": pass.resealed,
                    "unreadable": pass.unreadable,
                }),
                ..AuditEntry::system("key.rotated", "instance", now)
            };
            let version = tx.commit(&entry).await?;
            home.forget_older(&only).map_err(unkept)?;
            self.published(&mut gate, version, vec![Publication::Keys(only)])
                .await?;
        } else {
            self.keyring().replace(&only);
        }
        drop(gate);
        // Overwritten rows leave no copy in the write-ahead log. Readers may hold it for a moment: then the next checkpoint does it.
        if let Err(error) = self.store().truncate_wal().await {
            tracing::debug!(%error, "the write-ahead log was not emptied");
        }
        Ok(())
    }

    /// Takes over keys that another process has put in force.
    pub(crate) async fn reload_keys(&self) -> Result<(), ControlError> {
        let Some(home) = self.key_keeping().home.get() else {
            return Ok(());
        };
        let Some(record) = self.store().master_key().await? else {
            return Ok(());
        };
        if record.sentinel().key_id() == Some(self.keyring().key_id()) {
            return Ok(());
        }
        let keyring = home.read(self.store()).await.map_err(|error| {
            ControlError::internal("the data key was changed by another process", error)
                .hint("restart this one")
        })?;
        self.keyring().replace(&keyring);
        self.key_keeping().begun.notify_one();
        Ok(())
    }
}
