//! What can go wrong with a key or a sealed value. No variant carries secret bytes.

/// Why a sealed value, a key or a password could not be used.
///
/// Messages are safe to show to an operator; none says more about the plaintext than that it did
/// not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The bytes are not in the sealed format: too short, or of a version that this build lacks.
    #[error("not a sealed value of a known format")]
    Format,
    /// Sealed with a data key that this keyring does not hold.
    #[error("sealed with key {key_id}, which is not in the keyring")]
    UnknownKey {
        /// The key id in the sealed value's head, as hex.
        key_id: String,
    },
    /// Authentication failed: changed bytes, or a value moved from the place it was sealed for.
    #[error("the sealed value was changed or moved, it does not open here")]
    Tampered,
    /// The password does not open the wrapped key (or its record was changed).
    #[error("wrong master password")]
    WrongPassword,
    /// Key bytes of a wrong length.
    #[error("a data key has {expected} bytes, this has {actual}")]
    KeyLength {
        /// Bytes in one key.
        expected: usize,
        /// Bytes found.
        actual: usize,
    },
    /// Argon2 costs outside of what this build accepts.
    #[error("password hashing costs out of bounds")]
    Costs,
    /// Plaintext or password longer than allowed.
    #[error("value longer than {max} bytes")]
    TooLong {
        /// The limit in bytes.
        max: usize,
    },
    /// The key has sealed as many values as random nonces safely allow: rotate it.
    #[error("the data key is used up, rotate it")]
    KeyExhausted,
    /// The expected text is not UTF-8.
    #[error("the secret is not UTF-8 text")]
    NotText,
    /// The operating system gave no randomness, or the cryptographic library refused.
    #[error("the cryptographic library failed")]
    Crypto,
}
