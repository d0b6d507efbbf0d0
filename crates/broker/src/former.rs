//! Values that were replaced a while ago: an upstream may still say them, so responses are searched for them too.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use agent_vault_policy::CredentialKey;
use jiff::{SignedDuration, Timestamp};

use crate::record::SealedCredential;

/// How long a value is remembered after it was replaced.
pub(crate) const FORMER_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// Most former values of one credential; the oldest is forgotten first.
pub(crate) const MAX_FORMER_PER_KEY: usize = 4;

/// Most former values of one vault.
pub(crate) const MAX_FORMER_PER_VAULT: usize = 256;

/// A value that a credential had, sealed as it was.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    pub(crate) key: CredentialKey,
    pub(crate) stored: SealedCredential,
    /// When the first request after the change came: only requests bring the time along, and only they need it.
    since: Arc<OnceLock<Timestamp>>,
}

impl Former {
    /// What is to be remembered once `before` gives way to `now`; `known` is what was remembered beside `before`. Newest
    /// first for each key.
    pub(crate) fn after_change(
        known: &[Self],
        before: &HashMap<CredentialKey, SealedCredential>,
        now: &HashMap<CredentialKey, SealedCredential>,
    ) -> Vec<Self> {
        let replaced = before
            .iter()
            .filter(|(key, old)| {
                now.get(*key)
                    .is_none_or(|new| new.sealed.as_bytes() != old.sealed.as_bytes())
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
            .collect()
    }

    /// Whether its time is over. The first call begins it.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(*self.since.get_or_init(|| now)) > FORMER_LIFE
    }
}
