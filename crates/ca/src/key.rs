//! A P-256 key that signs certificates.
//!
//! `rcgen`'s own key type keeps the private key's encoding in an ordinary buffer for as long as it lives. This one keeps
//! it inside the provider, which cleanses its memory when it is freed.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::CaError;

/// A P-256 key pair whose private half never leaves the provider, except by [`P256Key::to_pkcs8`].
pub(crate) struct P256Key(EcdsaKeyPair);

impl P256Key {
    /// Makes a fresh key.
    pub(crate) fn generate() -> Result<Self, CaError> {
        Ok(Self(EcdsaKeyPair::generate(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
        )?))
    }

    /// Reads a private key in PKCS#8 (RFC 5958) or SEC1 (RFC 5915) encoding.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, CaError> {
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map(Self)
            .map_err(|_| CaError::RootKey)
    }

    /// The private key in PKCS#8; the returned buffer wipes itself.
    pub(crate) fn to_pkcs8(&self) -> Result<aws_lc_rs::pkcs8::Document, CaError> {
        Ok(self.0.to_pkcs8v1()?)
    }

    /// The public key as an uncompressed point.
    pub(crate) fn public_point(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl rcgen::PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.public_point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.0
            .sign(&random, message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| rcgen::Error::RingUnspecified)
    }
}

/// A random serial number of 127 bits: positive, never zero, 16 bytes long (RFC 5280, section 4.1.2.2).
pub(crate) fn random_serial() -> Result<rcgen::SerialNumber, CaError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(rcgen::SerialNumber::from_slice(&bytes))
}
