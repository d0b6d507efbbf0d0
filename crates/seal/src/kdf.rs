//! Argon2id: one place for its costs, their bounds and the call.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::SealError;

/// Bytes of salt in front of every password.
pub(crate) const SALT_BYTES: usize = 16;
/// Bytes that Argon2id yields, for password hashes and key-encryption keys alike.
pub(crate) const OUTPUT_BYTES: usize = 32;

/// Largest memory cost accepted from a stored record (1 GiB): a changed record must not take the
/// machine down.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// Largest pass count accepted from a stored record.
const MAX_ITERATIONS: u32 = 64;
/// Largest lane count accepted from a stored record.
const MAX_PARALLELISM: u32 = 64;

/// Argon2id costs, stored with each hash so that they can be raised later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Costs {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
    pub(crate) parallelism: u32,
}

impl Costs {
    /// What new hashes use: 64 MiB, 3 passes, 4 lanes.
    pub(crate) const CURRENT: Self = Self {
        memory_kib: 64 * 1024,
        iterations: 3,
        parallelism: 4,
    };

    /// Derives 32 bytes from `password` and `salt`. Blocks for tens of milliseconds.
    pub(crate) fn derive(
        self,
        password: &[u8],
        salt: &[u8],
    ) -> Result<Zeroizing<[u8; OUTPUT_BYTES]>, SealError> {
        if self.memory_kib > MAX_MEMORY_KIB
            || self.iterations > MAX_ITERATIONS
            || self.parallelism > MAX_PARALLELISM
        {
            return Err(SealError::Costs);
        }
        let params = Params::new(
            self.memory_kib,
            self.iterations,
            self.parallelism,
            Some(OUTPUT_BYTES),
        )
        .map_err(|_| SealError::Costs)?;
        let mut output = Zeroizing::new([0; OUTPUT_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, salt, output.as_mut_slice())
            .map_err(|_| SealError::Crypto)?;
        Ok(output)
    }
}
