//! The data keys locked with the master password.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::kdf::{Costs, OUTPUT_BYTES, SALT_BYTES};
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

/// The key that a master password makes, ready to lock other keyrings. Who has it can open every [`WrappedKey`] of the same salt.
pub struct WrapKey {
    key: Zeroizing<[u8; OUTPUT_BYTES]>,
    salt: Vec<u8>,
    costs: Costs,
}

impl fmt::Debug for WrapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrapKey([redacted])")
    }
}

impl WrapKey {
    /// Makes it from a password, under a new salt and today's costs. Blocks.
    ///
    /// # Errors
    /// [`SealError::TooLong`] above [`MAX_PASSWORD_BYTES`]; [`SealError::Crypto`].
    pub fn new(password: &SecretBytes) -> Result<Self, SealError> {
        let salt = random::array::<SALT_BYTES>()?;
        Self::derive(Costs::CURRENT, password, &salt)
    }

    /// Makes it as it was for a wrapped keyring. Blocks.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`SealError::Costs`] for costs that no build of ours wrote.
    pub fn of(wrapped: &WrappedKey, password: &SecretBytes) -> Result<Self, SealError> {
        Self::derive(wrapped.costs(), password, &wrapped.salt)
    }

    fn derive(costs: Costs, password: &SecretBytes, salt: &[u8]) -> Result<Self, SealError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(SealError::TooLong {
                max: MAX_PASSWORD_BYTES,
            });
        }
        Ok(Self {
            key: costs.derive(password.expose(), salt)?,
            salt: salt.to_vec(),
            costs,
        })
    }

    /// Locks a keyring.
    ///
    /// # Errors
    /// [`SealError::Crypto`].
    pub fn wrap(&self, keyring: &Keyring) -> Result<WrappedKey, SealError> {
        let exported = keyring.export();
        let mut body = Zeroizing::new(Vec::with_capacity(exported.len() + TAG_BYTES));
        body.extend_from_slice(exported.expose());
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(
                Aad::from(associated_data(self.costs, &self.salt)),
                &mut *body,
            )
            .map_err(|_| SealError::Crypto)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&body);
        Ok(WrappedKey {
            salt: self.salt.clone(),
            memory_kib: self.costs.memory_kib,
            iterations: self.costs.iterations,
            parallelism: self.costs.parallelism,
            sealed,
        })
    }

    /// Opens a wrapped keyring.
    ///
    /// # Errors
    /// [`SealError::WrongPassword`] when it does not open, be it the password or a changed record; [`SealError::Format`].
    pub fn unwrap(&self, wrapped: &WrappedKey) -> Result<Keyring, SealError> {
        let (nonce, body) = wrapped
            .sealed
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Format)?;
        if body.len() < KEY_BYTES + TAG_BYTES {
            return Err(SealError::Format);
        }
        let mut buffer = Zeroizing::new(body.to_vec());
        let length = self
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(wrapped.costs(), &wrapped.salt)),
                &mut buffer,
            )
            .map_err(|_| SealError::WrongPassword)?
            .len();
        buffer.truncate(length);
        Keyring::from_dek(SecretBytes::from(buffer))
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, SealError> {
        RandomizedNonceKey::new(&AES_256_GCM, self.key.as_slice()).map_err(|_| SealError::Crypto)
    }
}

impl WrappedKey {
    fn costs(&self) -> Costs {
        Costs {
            memory_kib: self.memory_kib,
            iterations: self.iterations,
            parallelism: self.parallelism,
        }
    }
}

impl Keyring {
    /// Locks this keyring with `password`, under a new salt and today's costs. Blocks.
    ///
    /// # Errors
    /// [`SealError::TooLong`] above [`MAX_PASSWORD_BYTES`]; [`SealError::Crypto`].
    pub fn wrap(&self, password: &SecretBytes) -> Result<WrappedKey, SealError> {
        WrapKey::new(password)?.wrap(self)
    }

    /// Opens a wrapped keyring. Blocks.
    ///
    /// # Errors
    /// [`SealError::WrongPassword`] when it does not open, be it the password or a changed record;
    /// [`SealError::Costs`] for costs that no build of ours wrote; [`SealError::Format`].
    pub fn unwrap(wrapped: &WrappedKey, password: &SecretBytes) -> Result<Self, SealError> {
        if wrapped.sealed.len() < NONCE_BYTES + KEY_BYTES + TAG_BYTES {
            return Err(SealError::Format);
        }
        WrapKey::of(wrapped, password)?.unwrap(wrapped)
    }
}

fn associated_data(costs: Costs, salt: &[u8]) -> Vec<u8> {
    let mut data = b"agent-vault wrapped key v1".to_vec();
    for cost in [costs.memory_kib, costs.iterations, costs.parallelism] {
        data.extend_from_slice(&cost.to_be_bytes());
    }
    data.extend_from_slice(salt);
    data
}
