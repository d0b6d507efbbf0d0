//! Randomness from the operating system, through AWS-LC.

use crate::SealError;

/// Fills `bytes` with cryptographically secure randomness.
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has none to give.
pub fn fill(bytes: &mut [u8]) -> Result<(), SealError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| SealError::Crypto)
}

/// `N` random bytes.
pub(crate) fn array<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// `N` random bytes as lower-case hex (2·N characters).
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has no randomness to give.
pub fn random_hex<const N: usize>() -> Result<String, SealError> {
    Ok(hex::encode(array::<N>()?))
}

/// A public handle: 10 random bytes as 20 hex characters, used where a token's hash must not show.
///
/// # Errors
/// [`SealError::Crypto`] when the operating system has no randomness to give.
pub fn public_id() -> Result<String, SealError> {
    random_hex::<10>()
}
