//! A statement that the holder of a Google service account's key signs: a JWT with RS256 (RFC 7515, RFC 7518 section 3.3).

use std::fmt;

use agent_vault_broker::{StoreFailure, StoreFault};
use agent_vault_seal::SecretBytes;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::api::Secret;

/// How long a statement is good, in seconds.
const STATEMENT_LIFE: i64 = 300;
/// Clocks that run behind by this many seconds see it begin too.
const CLOCK_SLACK: i64 = 10;

/// The key of a Google service account.
pub struct GoogleKey {
    email: String,
    id: String,
    pair: KeyPair,
}

impl fmt::Debug for GoogleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoogleKey")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// Why a key file is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GoogleKeyError {
    /// Not the JSON that Google gives.
    #[error("is not the JSON key file of a Google service account")]
    Form,
    /// The key in it is no RSA key in PKCS#8.
    #[error("holds no RSA key in PKCS#8")]
    Key,
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key_id: String,
    private_key: Secret,
}

impl GoogleKey {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`GoogleKeyError`]; nothing of the file is in it.
    pub fn from_json(file: &[u8]) -> Result<Self, GoogleKeyError> {
        let file: KeyFile = serde_json::from_slice(file).map_err(|_| GoogleKeyError::Form)?;
        let pem = file
            .private_key
            .0
            .expose_str()
            .map_err(|_| GoogleKeyError::Form)?;
        let mut text = Zeroizing::new(String::with_capacity(pem.len()));
        for line in pem.lines().map(str::trim) {
            if !line.starts_with("-----") {
                text.push_str(line);
            }
        }
        let der = Zeroizing::new(
            STANDARD
                .decode(text.as_bytes())
                .map_err(|_| GoogleKeyError::Key)?,
        );
        let pair = KeyPair::from_pkcs8(&der).map_err(|_| GoogleKeyError::Key)?;
        Ok(Self {
            email: file.client_email,
            id: file.private_key_id,
            pair,
        })
    }

    /// Says to `audience` who holds the key.
    pub(super) fn statement(
        &self,
        audience: &str,
        now: Timestamp,
    ) -> Result<SecretBytes, StoreFailure> {
        let failed =
            || StoreFailure::new(StoreFault::Login, "the login's statement cannot be signed");
        let head = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": self.id});
        let claims = serde_json::json!({
            "iss": self.email,
            "sub": self.email,
            "aud": audience,
            "iat": now.as_second().saturating_sub(CLOCK_SLACK),
            "exp": now.as_second().saturating_add(STATEMENT_LIFE),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let said = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                said.as_bytes(),
                &mut signature,
            )
            .map_err(|_| failed())?;
        Ok(SecretBytes::from(format!(
            "{said}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_statement_verifies_with_the_public_key() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = pair.as_der().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        let file = json!({"type": "service_account", "client_email": "a@p.iam", "private_key_id": "k1", "private_key": pem});
        let key = GoogleKey::from_json(file.to_string().as_bytes()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let statement = key.statement("identity", now).unwrap();
        let text = statement.expose_str().unwrap();
        let (said, signature) = text.rsplit_once('.').unwrap();
        let (head, claims) = said.split_once('.').unwrap();
        let read = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(read(head)["kid"], "k1");
        assert_eq!(read(claims)["sub"], "a@p.iam");
        assert_eq!(read(claims)["aud"], "identity");
        assert_eq!(read(claims)["exp"], 300);
        let public =
            ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        public.verify_sig(said.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn what_is_no_key_file() {
        assert_eq!(
            GoogleKey::from_json(b"{}").unwrap_err(),
            GoogleKeyError::Form
        );
        let file = json!({"client_email": "a", "private_key_id": "k", "private_key": "-----BEGIN\nAAAA\n"});
        assert_eq!(
            GoogleKey::from_json(file.to_string().as_bytes()).unwrap_err(),
            GoogleKeyError::Key
        );
    }
}
