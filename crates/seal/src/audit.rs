//! The hash that chains management records: each covers the one before.

use aws_lc_rs::digest::{Context, SHA256};

/// What the first record of a chain follows.
pub const GENESIS: [u8; 32] = [0; 32];

/// The hash of a record, given the hash of the record before it and the record's own bytes.
///
/// `canonical` must be an unambiguous encoding of the whole record (see [`Canonical`]); changing,
/// removing or reordering any record then breaks every hash after it.
pub fn chain_hash(previous: &[u8; 32], canonical: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"agent-vault audit record v1");
    context.update(previous);
    context.update(&(canonical.len() as u64).to_be_bytes());
    context.update(canonical);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Builds a record's canonical bytes: numbers at fixed width, text behind its length.
#[derive(Debug, Default)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    /// No fields yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, value: &str) -> Self {
        self.0
            .extend_from_slice(&(value.len() as u64).to_be_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// The bytes to hash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
