//! What can go wrong in the certificate authority.

use jiff::Timestamp;

/// Why a root could not be made or loaded, or a leaf could not be issued.
///
/// No variant carries key material or bytes of a key file.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The name cannot stand in a certificate; nobody else's request is affected.
    #[error("`{name}` cannot be put in a certificate: {reason}")]
    Name {
        /// The name as asked for, at most 64 characters of it.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The stored root certificate is not what we wrote.
    #[error("the stored root certificate is unusable: {reason}")]
    RootCertificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The stored root key cannot be read as a P-256 private key.
    #[error("the stored root key is not a P-256 private key")]
    RootKey,
    /// Certificate and key were both readable but do not belong together.
    #[error("the stored root key does not belong to the stored root certificate")]
    KeyMismatch,
    /// The root is past its end; a new one has to be made and given to the clients.
    #[error("the root certificate expired at {at}")]
    RootExpired {
        /// The root's `notAfter`.
        at: Timestamp,
    },
    /// The clock shows a time that no certificate can carry (before 1970 or after 9999).
    #[error("the clock shows {now}, which no certificate can carry")]
    Clock {
        /// What the clock showed.
        now: Timestamp,
    },
    /// Key generation, signing or the random source failed.
    #[error("the cryptographic provider failed: {0}")]
    Crypto(String),
}

impl CaError {
    /// What the operator can do about it, where something can be done.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::RootExpired { .. } => Some("make a new root and hand it to the clients again"),
            Self::Clock { .. } => Some("set the system clock"),
            Self::RootCertificate { .. } | Self::RootKey | Self::KeyMismatch => {
                Some("restore the certificate authority's record from a backup, or make a new root")
            }
            Self::Name { .. } | Self::Crypto(_) => None,
        }
    }
}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

impl From<rustls::Error> for CaError {
    fn from(error: rustls::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

impl From<aws_lc_rs::error::Unspecified> for CaError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto("the operation failed without a reason".to_owned())
    }
}
