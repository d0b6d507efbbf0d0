//! Signatures over what we send, for receivers who share a secret with us.

use aws_lc_rs::hmac;

use crate::{SealError, SecretBytes, random};

/// Bytes of a signing secret: HMAC-SHA-256 gains nothing from more (RFC 2104 section 3).
const SECRET_BYTES: usize = 32;

/// A new signing secret.
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has no randomness to give.
pub fn signing_secret() -> Result<SecretBytes, SealError> {
    Ok(SecretBytes::new(random::array::<SECRET_BYTES>()?.to_vec()))
}

/// HMAC-SHA-256 (RFC 2104) of `message` under `secret`.
pub fn hmac_sha256(secret: &SecretBytes, message: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let tag = hmac::sign(&key, message);
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_test_case_2() {
        let secret = SecretBytes::new(b"Jefe".to_vec());
        assert_eq!(
            hex::encode(hmac_sha256(&secret, b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn each_secret_is_another() {
        let (one, other) = (signing_secret().unwrap(), signing_secret().unwrap());
        assert_eq!(one.len(), SECRET_BYTES);
        assert!(!one.constant_time_eq(other.expose()));
    }
}
