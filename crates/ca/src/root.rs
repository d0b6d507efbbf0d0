//! The root certificate and the key behind it.

use std::fmt;
use std::time::Duration;

use agent_vault_seal::SecretBytes;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::CaError;
use crate::key::{P256Key, random_serial};
use crate::validity::Validity;

/// How long a new root is valid: ten years.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// What has to be kept of a new root. The certificate is public, the key is to be sealed.
#[derive(Debug)]
pub struct RootMaterial {
    /// The certificate, one PEM block.
    pub cert_pem: String,
    /// The private key in PKCS#8 DER.
    pub key_der: SecretBytes,
}

/// A root that can sign leaves.
///
/// P-256, `CN=Agent Vault Root CA <key id>`: the short key id keeps two roots apart, because verifiers look an issuer up
/// by name, and two of one name give a bad signature where "unknown issuer" would be the truth.
pub struct RootCa {
    cert_pem: String,
    cert_der: CertificateDer<'static>,
    not_after: Timestamp,
    issuer: Issuer<'static, P256Key>,
}

impl RootCa {
    /// Makes a new root, valid from two hours before `now` for [`ROOT_LIFETIME`].
    ///
    /// # Errors
    /// [`CaError::Clock`] when no certificate can carry `now`, [`CaError::Crypto`] when the provider fails.
    pub fn generate(now: Timestamp) -> Result<(Self, RootMaterial), CaError> {
        let key = P256Key::generate()?;
        let key_der = SecretBytes::new(key.to_pkcs8()?.as_ref().to_vec());

        let mut params = CertificateParams::default();
        Validity::around(now, ROOT_LIFETIME, None)?.apply(&mut params);
        params.serial_number = Some(random_serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let mut subject = DistinguishedName::new();
        let short_id: String = params
            .key_identifier(&key)
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        subject.push(
            DnType::CommonName,
            format!("Agent Vault Root CA {short_id}"),
        );
        params.distinguished_name = subject;

        let cert_pem = params.self_signed(&key)?.pem();
        let material = RootMaterial {
            cert_pem: cert_pem.clone(),
            key_der,
        };
        Ok((Self::assemble(&cert_pem, key)?, material))
    }

    /// Loads a root that was kept: the certificate as PEM, the key as PKCS#8 or SEC1 DER.
    ///
    /// # Errors
    /// [`CaError::RootCertificate`] when the PEM does not hold exactly one certificate that may sign others,
    /// [`CaError::RootKey`] when the key cannot be read, [`CaError::KeyMismatch`] when the two do not belong together.
    /// An expired root loads; issuing from it fails.
    pub fn load(cert_pem: &str, key_der: &SecretBytes) -> Result<Self, CaError> {
        Self::assemble(cert_pem, P256Key::from_der(key_der.expose())?)
    }

    /// The certificate, one PEM block, for clients to trust.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The certificate in DER.
    #[must_use]
    pub fn cert_der(&self) -> &CertificateDer<'static> {
        &self.cert_der
    }

    /// The end of the root's validity, after which no client accepts a leaf.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.not_after
    }

    /// What a leaf is signed with.
    pub(crate) fn issuer(&self) -> &Issuer<'static, P256Key> {
        &self.issuer
    }

    fn assemble(cert_pem: &str, key: P256Key) -> Result<Self, CaError> {
        let unusable = |reason: &str| CaError::RootCertificate {
            reason: reason.to_owned(),
        };
        let mut blocks = CertificateDer::pem_slice_iter(cert_pem.as_bytes());
        let cert_der = blocks
            .next()
            .ok_or_else(|| unusable("no certificate in the PEM text"))?
            .map_err(|error| unusable(&error.to_string()))?;
        if blocks.next().is_some() {
            return Err(unusable("more than one certificate in the PEM text"));
        }

        let (_, parsed) = X509Certificate::from_der(&cert_der)
            .map_err(|error| unusable(&format!("not an X.509 certificate ({error})")))?;
        if !parsed.is_ca() {
            return Err(unusable("it may not sign other certificates"));
        }
        if parsed.public_key().subject_public_key.as_ref() != key.public_point() {
            return Err(CaError::KeyMismatch);
        }
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|_| unusable("its end of validity is out of range"))?;

        let issuer = Issuer::from_ca_cert_der(&cert_der, key)
            .map_err(|error| unusable(&error.to_string()))?;
        Ok(Self {
            cert_pem: cert_pem.to_owned(),
            cert_der,
            not_after,
            issuer,
        })
    }
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa")
            .field("expires_at", &self.not_after)
            .finish_non_exhaustive()
    }
}
