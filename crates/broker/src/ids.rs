//! Tables by keys that are random already: token hashes and identities, which this program makes itself.
//!
//! Nobody else chooses such a key, so it needs no hash that withstands a chosen one, and each request looks three of
//! them up.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by random keys.
pub(crate) type ById<K, V> = HashMap<K, V, BuildHasherDefault<OfRandom>>;

/// Folds a key's bytes together.
#[derive(Debug, Default)]
pub(crate) struct OfRandom(u64);

/// The fraction of the golden ratio: an odd number with its bits well spread.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for OfRandom {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(piece) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // Both halves of the product together, so that no bit stays where it was.
        let product = u128::from(self.0.rotate_left(23) ^ word) * u128::from(SPREAD);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::hash::BuildHasher as _;
    use uuid::Uuid;

    /// A table looks at both ends of a hash.
    #[test]
    fn keys_are_spread_at_both_ends() {
        let build = BuildHasherDefault::<OfRandom>::default();
        let hashes: Vec<u64> = (0..256_u128)
            .map(|number| build.hash_one(Uuid::from_u128(number << 64 | 7)))
            .collect();
        let low: BTreeSet<u64> = hashes.iter().map(|hash| hash % 1024).collect();
        let high: BTreeSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(low.len() > 128, "{}", low.len());
        assert!(high.len() > 32, "{}", high.len());
    }
}
