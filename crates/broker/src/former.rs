//! Values that were replaced a while ago: an upstream may still say them, so responses are searched for them too.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use agent_vault_policy::CredentialKey;
use agent_vault_seal::{Keyring, SecretBytes};
use jiff::{SignedDuration, Timestamp};

use crate::record::{SealedCredential, credential_context};

/// How long a value is remembered after it was replaced.
pub(crate) const FORMER_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Most former values of one credential; the oldest is forgotten first.
pub(crate) const MAX_FORMER_PER_KEY: usize = 4;

/// Most former values of one vault.
pub(crate) const MAX_FORMER_PER_VAULT: usize = 256;

/// A value that a credential had, sealed as it was, or again since the data key was rotated.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    pub(crate) key: CredentialKey,
    pub(crate) stored: SealedCredential,
    /// When the first request after the change came: only requests bring the time along, and only they need it.
    since: Arc<OnceLock<Timestamp>>,
}

/// The data keys of a vault before a change to it and after it.
pub(crate) struct Rekeying<'a> {
    /// The vault.
    pub(crate) owner: String,
    pub(crate) before: &'a Keyring,
    pub(crate) now: &'a Keyring,
}

impl Rekeying<'_> {
    fn open(
        &self,
        keyring: &Keyring,
        key: &CredentialKey,
        stored: &SealedCredential,
    ) -> Option<SecretBytes> {
        let context = credential_context(&self.owner, key.as_str(), stored.version);
        keyring.open(&context, &stored.sealed).ok()
    }

    /// Whether both are one value, sealed twice: with another data key, as a rotation does.
    fn is_same(&self, key: &CredentialKey, old: &SealedCredential, new: &SealedCredential) -> bool {
        old.version == new.version
            && old.sealed.key_id() != new.sealed.key_id()
            && match (
                self.open(self.before, key, old),
                self.open(self.now, key, new),
            ) {
                (Some(old), Some(new)) => old.expose() == new.expose(),
                _ => false,
            }
    }

    /// The same value, sealed so that it opens from now on too: the key that sealed it may be about to be destroyed.
    fn renew(&self, mut former: Former) -> Former {
        let seals = Some(self.now.key_id());
        if former.stored.sealed.key_id() == seals {
            return former;
        }
        let Some(value) = self.open(self.before, &former.key, &former.stored) else {
            return former;
        };
        let context = credential_context(&self.owner, former.key.as_str(), former.stored.version);
        // Where it cannot be sealed it stays as it is, and is searched for as long as the key that sealed it is there.
        if let Ok(sealed) = self.now.seal(&context, value.expose()) {
            former.stored.sealed = sealed;
        }
        former
    }
}

impl Former {
    /// What is to be remembered once `before` gives way to `now`; `known` is what was remembered beside `before`. Newest
    /// first for each key.
    pub(crate) fn after_change(
        known: &[Self],
        before: &HashMap<CredentialKey, SealedCredential>,
        now: &HashMap<CredentialKey, SealedCredential>,
        rekeying: &Rekeying<'_>,
    ) -> Vec<Self> {
        let replaced = before
            .iter()
            .filter(|(key, old)| {
                now.get(*key).is_none_or(|new| {
                    new.sealed.as_bytes() != old.sealed.as_bytes()
                        && !rekeying.is_same(key, old, new)
                })
            })
            .map(|(key, old)| Self {
                key: key.clone(),
                stored: old.clone(),
                since: Arc::default(),
            });
        let mut counts: HashMap<CredentialKey, usize> = HashMap::new();
        replaced
            .chain(known.iter().cloned())
            .filter(|former| {
                let count = counts.entry(former.key.clone()).or_default();
                *count += 1;
                *count <= MAX_FORMER_PER_KEY
            })
            .take(MAX_FORMER_PER_VAULT)
            .map(|former| rekeying.renew(former))
            .collect()
    }

    /// Whether its time is over. The first call begins it.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(*self.since.get_or_init(|| now)) > FORMER_LIFE
    }
}
