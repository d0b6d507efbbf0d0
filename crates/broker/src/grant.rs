//! Opened credentials of one rule.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use agent_vault_policy::{CredentialKey, Rule, SubstitutionError, Values};
use agent_vault_seal::SecretBytes;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::record::{OAuthState, credential_context};
use crate::source::RenewalOrder;
use crate::vault::Vault;

/// The values that one rule injects, opened. Zeroized when the vault changes and the last request lets go.
pub struct Grant {
    values: Vec<(CredentialKey, SecretBytes)>,
    former: Vec<(CredentialKey, SecretBytes)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    key_names: Arc<[String]>,
    versions: Arc<[u32]>,
    /// The first of the values to end, and when it does.
    ends: Option<(Timestamp, CredentialKey)>,
    /// Those of the values that come from an OAuth grant.
    tokens: Vec<Token>,
    companion: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// An access token among the values of a grant.
pub(crate) struct Token {
    pub(crate) key: CredentialKey,
    pub(crate) version: u32,
    pub(crate) ends: Option<Timestamp>,
    pub(crate) renewable: bool,
    renew_from: Option<Timestamp>,
    /// When a new one was asked for last, in seconds: a busy rule asks once a second, not with each request.
    asked: AtomicI64,
}

impl Token {
    fn new(key: &CredentialKey, version: u32, state: &OAuthState) -> Self {
        Self {
            key: key.clone(),
            version,
            ends: state.ends,
            renewable: state.renewable,
            renew_from: state.renew_from,
            asked: AtomicI64::new(i64::MIN),
        }
    }

    /// Whether a new one should be asked for now. At most once a second.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.renewable
            && self.renew_from.is_some_and(|from| from <= now)
            && self.asked.swap(now.as_second(), Ordering::Relaxed) != now.as_second()
    }
}

impl Grant {
    pub(crate) fn open(rule: &Rule, vault: &Vault) -> Result<Self, GrantError> {
        let owner = vault.id.to_string();
        let mut values = Vec::new();
        let mut versions = Vec::new();
        let mut tokens = Vec::new();
        let mut ends: Option<(Timestamp, CredentialKey)> = None;
        for key in rule.keys().iter().cloned() {
            let Some(stored) = vault.held(&key) else {
                return Err(GrantError::Missing { key });
            };
            if let Some(state) = &stored.oauth {
                if !state.connected {
                    return Err(GrantError::NotConnected { key });
                }
                tokens.push(Token::new(&key, stored.version, state));
            }
            versions.push(stored.version);
            if let Some(end) = stored.expires_at
                && ends.as_ref().is_none_or(|(first, _)| end < *first)
            {
                ends = Some((end, key.clone()));
            }
            let context = credential_context(&owner, key.as_str(), stored.version);
            match vault.keyring.open(&context, &stored.sealed) {
                Ok(value) => values.push((key, value)),
                Err(_) => return Err(GrantError::Unreadable { key }),
            }
        }
        let former = vault
            .former
            .iter()
            .filter(|former| rule.keys().contains(&former.key))
            // One that does not open was never injected by this process.
            .filter_map(|former| {
                let context =
                    credential_context(&owner, former.key.as_str(), former.stored.version);
                let value = vault.keyring.open(&context, &former.stored.sealed).ok()?;
                Some((former.key.clone(), value))
            })
            .collect();
        let mut grant = Self {
            values,
            former,
            headers: Vec::new(),
            key_names: rule.keys().iter().map(ToString::to_string).collect(),
            versions: versions.into(),
            ends,
            tokens,
            companion: OnceLock::new(),
        };
        grant.headers = rule
            .auth_headers(&grant)
            .map_err(GrantError::Substitution)?;
        Ok(grant)
    }

    /// The headers to set, each marked sensitive.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The keys that were opened.
    pub fn keys(&self) -> impl Iterator<Item = &CredentialKey> {
        self.values.iter().map(|(key, _)| key)
    }

    /// The names of the keys, for the log.
    #[must_use]
    pub fn key_names(&self) -> &Arc<[String]> {
        &self.key_names
    }

    /// The version of each of these keys, in the same order, for the log.
    #[must_use]
    pub fn versions(&self) -> &Arc<[u32]> {
        &self.versions
    }

    /// The key whose value has ended by `now`: then the whole grant is good no more.
    pub(crate) fn ended(&self, now: Timestamp) -> Option<&CredentialKey> {
        self.ends
            .as_ref()
            .filter(|(end, _)| *end <= now)
            .map(|(_, key)| key)
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The opened values. A caller holds them no longer than the request.
    pub fn secrets(&self) -> impl Iterator<Item = (&CredentialKey, &SecretBytes)> {
        self.values.iter().map(|(key, value)| (key, value))
    }

    /// Values that the same keys had a while ago. They are never injected, but an upstream may still say them.
    pub fn former(&self) -> impl Iterator<Item = (&CredentialKey, &SecretBytes)> {
        self.former.iter().map(|(key, value)| (key, value))
    }

    /// Something that is costly to build from these values (a search automaton), built once and kept as long as they.
    pub fn companion<T: Any + Send + Sync>(
        &self,
        build: impl FnOnce(&Self) -> T,
    ) -> Option<Arc<T>> {
        let any = self.companion.get_or_init(|| Arc::new(build(self)));
        Arc::clone(any).downcast::<T>().ok()
    }
}

impl Values for Grant {
    fn value(&self, key: &CredentialKey) -> Option<&[u8]> {
        self.values
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.expose())
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("keys", &self.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why a rule's credentials could not be used. Nothing goes out then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GrantError {
    /// The rule names a key that the vault does not hold, or whose value has ended.
    #[error("the vault holds no credential `{key}`")]
    Missing {
        /// The key.
        key: CredentialKey,
    },
    /// The sealed row does not open: it was moved, damaged, or sealed with another key.
    #[error("the credential `{key}` cannot be opened")]
    Unreadable {
        /// The key.
        key: CredentialKey,
    },
    /// A credential that comes by OAuth, and nobody has consented yet.
    #[error("the credential `{key}` is not connected")]
    NotConnected {
        /// The key.
        key: CredentialKey,
    },
    /// A token has ended, and a new one can be fetched: see [`Permit::renewed`](crate::Permit::renewed).
    #[error("the token of `{}` has ended", order.key)]
    Ended {
        /// What to fetch.
        order: RenewalOrder,
    },
    /// A token has ended, and there is no new one.
    #[error("the token of `{key}` has ended, and there is no new one")]
    NotRenewed {
        /// The key.
        key: CredentialKey,
    },
    /// The value cannot stand where the rule puts it.
    #[error(transparent)]
    Substitution(SubstitutionError),
}
