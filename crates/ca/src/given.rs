//! A certificate that the operator brings for the server's own ports.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The most certificates that a chain may hold. Real ones have two or three; a bundle of roots is a mistake.
const MAX_CHAIN: usize = 16;

/// A chain and its private key, known to belong together.
#[derive(Clone)]
pub struct GivenCertificate {
    pub(crate) certified: Arc<CertifiedKey>,
    leaf: CertificateDer<'static>,
    expires_at: Timestamp,
}

/// Why a chain and a key cannot be used. Carries no key material.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// No `CERTIFICATE` block.
    #[error("the certificate file holds no certificate in PEM")]
    NoCertificate,
    /// More certificates than a chain has.
    #[error("the certificate file holds more than 16 certificates: it is no chain")]
    TooMany,
    /// A block that cannot be read.
    #[error("certificate {number} of the certificate file cannot be read: {reason}")]
    Certificate {
        /// Its place in the file, from one.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No private key, or one that is encrypted.
    #[error("the key file holds no unencrypted private key in PEM")]
    NoKey,
    /// A key of a kind that cannot be used.
    #[error("the private key cannot be used: {reason}")]
    Key {
        /// What is wrong with it.
        reason: String,
    },
    /// Both were readable and do not belong together.
    #[error("the private key does not belong to the first certificate of the certificate file")]
    Mismatch,
}

impl GivenError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::TooMany | Self::Certificate { .. } => {
                "the file must hold the server's certificate first, then the intermediate ones, in PEM"
            }
            Self::NoKey => {
                "an encrypted key has to be decrypted first: `openssl pkey -in KEY -out FILE`"
            }
            Self::Key { .. } => {
                "use an ECDSA (P-256, P-384), Ed25519 or RSA (2048 bits or more) key"
            }
            Self::Mismatch => "give the two files that were made together",
        }
    }
}

impl GivenCertificate {
    /// Reads a chain, the server's own certificate first, and its key: PKCS#8, PKCS#1 or SEC1, not encrypted. Both are PEM.
    ///
    /// # Errors
    /// [`GivenError`]. That it has expired, or is trusted by nobody, is no error: see [`GivenCertificate::expires_at`].
    pub fn parse(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, GivenError> {
        let mut chain = Vec::new();
        for (index, block) in CertificateDer::pem_slice_iter(chain_pem).enumerate() {
            let number = index + 1;
            if number > MAX_CHAIN {
                return Err(GivenError::TooMany);
            }
            let bad = |reason: String| GivenError::Certificate { number, reason };
            let certificate = block.map_err(|error| bad(error.to_string()))?;
            X509Certificate::from_der(&certificate).map_err(|error| bad(error.to_string()))?;
            chain.push(certificate);
        }
        let leaf = chain.first().cloned().ok_or(GivenError::NoCertificate)?;
        let expires_at = {
            let bad = |reason: String| GivenError::Certificate { number: 1, reason };
            let (_, parsed) =
                X509Certificate::from_der(&leaf).map_err(|error| bad(error.to_string()))?;
            // As handshakes will read it.
            ParsedCertificate::try_from(&leaf).map_err(|error| bad(error.to_string()))?;
            Timestamp::from_second(parsed.validity().not_after.timestamp())
                .map_err(|error| bad(error.to_string()))?
        };
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| GivenError::NoKey)?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|error| {
            GivenError::Key {
                reason: error.to_string(),
            }
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(GivenError::Mismatch),
        }
        Ok(Self {
            certified: Arc::new(certified),
            leaf,
            expires_at,
        })
    }

    /// The first certificate's `notAfter`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether clients that ask for this DNS name or address accept the certificate's names.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let (Ok(leaf), Ok(name)) = (
            ParsedCertificate::try_from(&self.leaf),
            ServerName::try_from(name),
        ) else {
            return false;
        };
        verify_server_name(&leaf, &name).is_ok()
    }
}

impl fmt::Debug for GivenCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenCertificate")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
