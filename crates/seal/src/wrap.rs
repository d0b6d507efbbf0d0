//! The data keys locked with the master password.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::kdf::{Costs, SALT_BYTES};
use crate::password::MAX_PASSWORD_BYTES;
use crate::sealed::{NONCE_BYTES, TAG_BYTES};
use crate::{KEY_BYTES, Keyring, SealError, SecretBytes, random};

/// A keyring encrypted under a key that Argon2id makes from the master password.
///
/// Plain fields, so that a store can keep them in columns. All of them are authenticated: a
/// changed salt or cost does not open.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Random salt of this wrap.
    pub salt: Vec<u8>,
    /// Argon2id memory in KiB.
    pub memory_kib: u32,
    /// Argon2id passes.
    pub iterations: u32,
    /// Argon2id lanes.
    pub parallelism: u32,
    /// `nonce(12) ‖ ciphertext ‖ tag(16)`.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "WrappedKey(m={} t={} p={})",
            self.memory_kib, self.iterations, self.parallelism
        )
    }
}

impl Keyring {
    /// Locks this keyring with `password`, under a new salt and today's costs. Blocks.
    ///
    /// # Errors
    /// [`SealError::TooLong`] above [`MAX_PASSWORD_BYTES`]; [`SealError::Crypto`].
    pub fn wrap(&self, password: &SecretBytes) -> Result<WrappedKey, SealError> {
        let costs = Costs::CURRENT;
        let salt = random::array::<SALT_BYTES>()?;
        let kek = key_encryption_key(costs, password, &salt)?;
        let exported = self.export();
        let mut body = Zeroizing::new(Vec::with_capacity(exported.len() + TAG_BYTES));
        body.extend_from_slice(exported.expose());
        let nonce = kek
            .seal_in_place_append_tag(Aad::from(associated_data(costs, &salt)), &mut *body)
            .map_err(|_| SealError::Crypto)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&body);
        Ok(WrappedKey {
            salt: salt.to_vec(),
            memory_kib: costs.memory_kib,
            iterations: costs.iterations,
            parallelism: costs.parallelism,
            sealed,
        })
    }

    /// Opens a wrapped keyring. Blocks.
    ///
    /// # Errors
    /// [`SealError::WrongPassword`] when it does not open, be it the password or a changed record;
    /// [`SealError::Costs`] for costs that no build of ours wrote; [`SealError::Format`].
    pub fn unwrap(wrapped: &WrappedKey, password: &SecretBytes) -> Result<Self, SealError> {
        let costs = Costs {
            memory_kib: wrapped.memory_kib,
            iterations: wrapped.iterations,
            parallelism: wrapped.parallelism,
        };
        let (nonce, body) = wrapped
            .sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Format)?;
        if body.len() < KEY_BYTES + TAG_BYTES {
            return Err(SealError::Format);
        }
        let kek = key_encryption_key(costs, password, &wrapped.salt)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let length = kek
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(costs, &wrapped.salt)),
                &mut buffer,
            )
            .map_err(|_| SealError::WrongPassword)?
            .len();
        buffer.truncate(length);
        Self::from_dek(SecretBytes::from(buffer))
    }
}

fn key_encryption_key(
    costs: Costs,
    password: &SecretBytes,
    salt: &[u8],
) -> Result<RandomizedNonceKey, SealError> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(SealError::TooLong {
            max: MAX_PASSWORD_BYTES,
        });
    }
    let kek = costs.derive(password.expose(), salt)?;
    RandomizedNonceKey::new(&AES_256_GCM, kek.as_slice()).map_err(|_| SealError::Crypto)
}

fn associated_data(costs: Costs, salt: &[u8]) -> Vec<u8> {
    let mut data = b"agent-vault wrapped key v1".to_vec();
    for cost in [costs.memory_kib, costs.iterations, costs.parallelism] {
        data.extend_from_slice(&cost.to_be_bytes());
    }
    data.extend_from_slice(salt);
    data
}
