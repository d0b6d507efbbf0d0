//! User passwords as Argon2id hashes.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::kdf::{Costs, OUTPUT_BYTES, SALT_BYTES};
use crate::{SealError, random};

/// Longest password that is hashed, in bytes. Longer ones are refused before any work is done.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A user's password, hashed. Plain fields, so that a store can keep them in columns.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// Argon2id output.
    pub hash: Vec<u8>,
    /// The user's own random salt.
    pub salt: Vec<u8>,
    /// Argon2id passes.
    pub time: u32,
    /// Argon2id memory in KiB.
    pub memory: u32,
    /// Argon2id lanes.
    pub threads: u32,
}

/// Hashes `password` with a new salt and today's costs. Blocks and takes 64 MiB.
///
/// # Errors
/// [`SealError::TooLong`] above [`MAX_PASSWORD_BYTES`]; [`SealError::Crypto`].
pub fn hash_password(password: &str) -> Result<PasswordHash, SealError> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(SealError::TooLong {
            max: MAX_PASSWORD_BYTES,
        });
    }
    let costs = Costs::CURRENT;
    let salt = random::array::<SALT_BYTES>()?;
    let hash = costs.derive(password.as_bytes(), &salt)?;
    Ok(PasswordHash {
        hash: hash.to_vec(),
        salt: salt.to_vec(),
        time: costs.iterations,
        memory: costs.memory_kib,
        threads: costs.parallelism,
    })
}

/// Does the work of one verification and answers nothing, so that an unknown account takes as long
/// as a wrong password. Blocks and takes 64 MiB.
pub fn verify_dummy(password: &str) {
    if password.len() <= MAX_PASSWORD_BYTES {
        let derived = Costs::CURRENT.derive(password.as_bytes(), &[0; SALT_BYTES]);
        std::hint::black_box(derived.is_ok());
    }
}

impl PasswordHash {
    /// Whether `password` is the one that was hashed; compared in constant time. Blocks.
    ///
    /// A damaged record (bad costs, bad lengths) verifies no password.
    pub fn verify(&self, password: &str) -> bool {
        if password.len() > MAX_PASSWORD_BYTES || self.hash.len() != OUTPUT_BYTES {
            return false;
        }
        self.costs()
            .derive(password.as_bytes(), &self.salt)
            .is_ok_and(|derived| derived.as_slice().ct_eq(&self.hash).into())
    }

    /// Whether the costs are not today's: hash again at the next successful login.
    pub fn needs_rehash(&self) -> bool {
        self.costs() != Costs::CURRENT
    }

    fn costs(&self) -> Costs {
        Costs {
            memory_kib: self.memory,
            iterations: self.time,
            parallelism: self.threads,
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PasswordHash(m={} t={} p={})",
            self.memory, self.time, self.threads
        )
    }
}
