//! Secrets: the types that hold them, the keys that seal them, and the hashes that stand for them.
//!
//! * [`SecretBytes`]: the only type in which a plaintext secret travels.
//! * [`Keyring`]: data keys, one subkey per purpose; [`Sealed`] values open only in the place that
//!   their [`SealContext`] names.
//! * [`WrappedKey`]: a keyring locked with the master password (Argon2id).
//! * [`Token`] and [`TokenHash`]: bearer tokens, and what the database keeps instead of them.
//! * [`PasswordHash`]: user passwords.
//! * [`placeholder`]: what an agent's environment holds instead of a key.
//! * [`totp`]: codes of authenticator apps, and other short codes.
//! * [`audit`]: the hash that chains management records.
//!
//! Nothing here reads a clock, a file or a socket. Randomness comes from the operating system
//! through AWS-LC. Argon2 calls block for tens of milliseconds and use 64 MiB: run them off the
//! async threads and few at a time.

pub mod audit;
mod error;
mod fingerprint;
mod kdf;
mod keyring;
mod password;
pub mod placeholder;
mod random;
mod sealed;
mod secret;
mod signature;
mod stream;
mod token;
pub mod totp;
mod wrap;

pub use error::SealError;
pub use fingerprint::fingerprint;
pub use keyring::{KEY_BYTES, KeyId, Keyring, MAX_KEYS};
pub use password::{MAX_PASSWORD_BYTES, PasswordHash, hash_password, verify_dummy};
pub use random::{fill, public_id, random_hex};
pub use sealed::{MAX_PLAINTEXT_BYTES, SealContext, SealKind, Sealed};
pub use secret::SecretBytes;
pub use signature::{hmac_sha256, signing_secret};
pub use stream::{STREAM_CHUNK_BYTES, STREAM_HEAD_BYTES, StreamOpener, StreamSealer};
pub use token::{Token, TokenHash, TokenKind};
pub use wrap::{WrapKey, WrappedKey};
