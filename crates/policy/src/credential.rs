//! Names of credentials. Rules hold names; values never appear in a rule.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest credential key in bytes.
pub const MAX_CREDENTIAL_KEY_BYTES: usize = 128;

/// Shortest value, in bytes, that is looked for in responses.
///
/// Below it a value is not much of a secret and too likely to be an innocent part of any text: to replace every `1234`
/// would shred the agent's data and protect nothing. Whoever stores such a value is told.
pub const MIN_SCRUBBED_BYTES: usize = 8;

/// The name of a stored credential: `^[A-Z][A-Z0-9_]*$`, at most [`MAX_CREDENTIAL_KEY_BYTES`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialKey(Arc<str>);

impl CredentialKey {
    /// Checks the form.
    ///
    /// # Errors
    /// When the text is not upper snake case or too long.
    pub fn parse(text: &str) -> Result<Self, CredentialKeyError> {
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_uppercase());
        if !head || !bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            return Err(CredentialKeyError::Form);
        }
        if text.len() > MAX_CREDENTIAL_KEY_BYTES {
            return Err(CredentialKeyError::TooLong);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialKey {
    type Err = CredentialKeyError;

    fn from_str(text: &str) -> Result<Self, CredentialKeyError> {
        Self::parse(text)
    }
}

impl Borrow<str> for CredentialKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for CredentialKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CredentialKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a credential key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialKeyError {
    /// Not upper snake case.
    #[error(
        "a credential key is written in upper case, as in STRIPE_KEY: letters, digits and _, starting with a letter"
    )]
    Form,
    /// Over [`MAX_CREDENTIAL_KEY_BYTES`].
    #[error("a credential key has at most 128 characters")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form() {
        for good in ["A", "STRIPE_KEY", "A1_", "A__B"] {
            assert_eq!(CredentialKey::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "a",
            "1A",
            "_A",
            "A-B",
            "A B",
            "Ä",
            "A\n",
            &"A".repeat(129),
        ] {
            assert!(CredentialKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
