//! Sealing something long under a passphrase, in chunks: a backup.
//!
//! `head(36) ‖ chunk …`, where the head is `salt(16) ‖ memory(4) ‖ passes(4) ‖ lanes(4) ‖ prefix(8)` and each chunk is a
//! ciphertext of at most 64 KiB with its tag. The nonce of a chunk is the prefix, then a counter of which the highest bit says
//! that this is the last one (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár). So chunks can be neither
//! changed, left out, reordered nor cut off, and each is good before the next is read. The whole head, and what the caller binds
//! to it, is associated data of every chunk.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::kdf::{Costs, SALT_BYTES};
use crate::password::MAX_PASSWORD_BYTES;
use crate::sealed::{NONCE_BYTES, TAG_BYTES};
use crate::{SealError, SecretBytes, random};

/// Plaintext bytes of each chunk but the last, which has fewer or as many.
pub const STREAM_CHUNK_BYTES: usize = 64 * 1024;
const PREFIX_BYTES: usize = 8;
/// Bytes in front of the first chunk.
pub const STREAM_HEAD_BYTES: usize = SALT_BYTES + 12 + PREFIX_BYTES;
/// Marks the last chunk in its nonce.
const LAST: u32 = 1 << 31;

struct Stream {
    key: LessSafeKey,
    head: [u8; STREAM_HEAD_BYTES],
    bound: Vec<u8>,
    counter: u32,
}

impl Stream {
    fn new(
        head: [u8; STREAM_HEAD_BYTES],
        passphrase: &SecretBytes,
        bound: &[u8],
    ) -> Result<Self, SealError> {
        if passphrase.len() > MAX_PASSWORD_BYTES {
            return Err(SealError::TooLong {
                max: MAX_PASSWORD_BYTES,
            });
        }
        let (salt, rest) = head.split_at(SALT_BYTES);
        let (numbers, _) = rest.as_chunks::<4>();
        let [memory_kib, iterations, parallelism, ..] = numbers else {
            return Err(SealError::Format);
        };
        let costs = Costs {
            memory_kib: u32::from_be_bytes(*memory_kib),
            iterations: u32::from_be_bytes(*iterations),
            parallelism: u32::from_be_bytes(*parallelism),
        };
        let key = costs.derive(passphrase.expose(), salt)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| SealError::Crypto)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            head,
            bound: bound.to_vec(),
            counter: 0,
        })
    }

    /// The nonce of the next chunk, and what it is bound to.
    fn next(&mut self, last: bool) -> Result<(Nonce, Vec<u8>), SealError> {
        let counter = self.counter;
        self.counter = counter
            .checked_add(1)
            .filter(|next| next & LAST == 0)
            .ok_or(SealError::KeyExhausted)?;
        let marked = if last { counter | LAST } else { counter };
        let mut nonce = [0; NONCE_BYTES];
        let (prefix, number) = nonce.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(
            self.head
                .last_chunk::<PREFIX_BYTES>()
                .ok_or(SealError::Format)?,
        );
        number.copy_from_slice(&marked.to_be_bytes());
        let mut data = b"agent-vault stream v1".to_vec();
        data.extend_from_slice(&self.head);
        data.extend_from_slice(&self.bound);
        Ok((Nonce::assume_unique_for_key(nonce), data))
    }
}

/// Seals chunk by chunk.
pub struct StreamSealer(Stream);

impl StreamSealer {
    /// Begins under a passphrase and a new salt. `bound` must be given again for opening. Blocks.
    ///
    /// # Errors
    /// [`SealError::TooLong`] for a passphrase that is too long; [`SealError::Crypto`].
    pub fn new(passphrase: &SecretBytes, bound: &[u8]) -> Result<Self, SealError> {
        let costs = Costs::CURRENT;
        let mut head = Vec::with_capacity(STREAM_HEAD_BYTES);
        head.extend_from_slice(&random::array::<SALT_BYTES>()?);
        for cost in [costs.memory_kib, costs.iterations, costs.parallelism] {
            head.extend_from_slice(&cost.to_be_bytes());
        }
        head.extend_from_slice(&random::array::<PREFIX_BYTES>()?);
        let head = head.try_into().map_err(|_| SealError::Format)?;
        Ok(Self(Stream::new(head, passphrase, bound)?))
    }

    /// What stands in front of the first chunk.
    pub fn head(&self) -> &[u8; STREAM_HEAD_BYTES] {
        &self.0.head
    }

    /// Seals the next chunk: exactly [`STREAM_CHUNK_BYTES`], or fewer if it is the `last`.
    ///
    /// # Errors
    /// [`SealError::KeyExhausted`] beyond 2^31 chunks; [`SealError::Format`] for another size.
    pub fn seal(&mut self, chunk: &[u8], last: bool) -> Result<Vec<u8>, SealError> {
        if chunk.len() > STREAM_CHUNK_BYTES || (!last && chunk.len() < STREAM_CHUNK_BYTES) {
            return Err(SealError::Format);
        }
        let (nonce, data) = self.0.next(last)?;
        let mut buffer = Zeroizing::new(Vec::with_capacity(chunk.len() + TAG_BYTES));
        buffer.extend_from_slice(chunk);
        self.0
            .key
            .seal_in_place_append_tag(nonce, Aad::from(data), &mut *buffer)
            .map_err(|_| SealError::Crypto)?;
        Ok(std::mem::take(&mut *buffer))
    }
}

/// Opens chunk by chunk.
pub struct StreamOpener(Stream);

impl StreamOpener {
    /// Begins with the head that [`StreamSealer::head`] gave. Blocks.
    ///
    /// # Errors
    /// [`SealError::Costs`] for costs that no build of ours wrote; [`SealError::TooLong`].
    pub fn new(
        head: [u8; STREAM_HEAD_BYTES],
        passphrase: &SecretBytes,
        bound: &[u8],
    ) -> Result<Self, SealError> {
        Ok(Self(Stream::new(head, passphrase, bound)?))
    }

    /// Bytes of a sealed chunk that is not the last.
    pub const SEALED_CHUNK_BYTES: usize = STREAM_CHUNK_BYTES + TAG_BYTES;

    /// Opens the next chunk. The caller knows the last one by the end of its input.
    ///
    /// # Errors
    /// [`SealError::Tampered`] for a wrong passphrase, a changed chunk, one that is missing, or an end that is none.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<SecretBytes, SealError> {
        let (nonce, data) = self.0.next(last)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self
            .0
            .key
            .open_in_place(nonce, Aad::from(data), &mut buffer)
            .map_err(|_| SealError::Tampered)?
            .len();
        buffer.truncate(length);
        Ok(SecretBytes::from(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    #[test]
    fn chunks_open_in_their_order_whole_and_with_their_passphrase_alone() {
        let mut sealer = StreamSealer::new(&secret("passphrase"), b"bound").unwrap();
        let head = *sealer.head();
        let first = sealer.seal(&[1; STREAM_CHUNK_BYTES], false).unwrap();
        let second = sealer.seal(&[2; STREAM_CHUNK_BYTES], false).unwrap();
        let last = sealer.seal(b"end", true).unwrap();
        assert_eq!(first.len(), StreamOpener::SEALED_CHUNK_BYTES);
        assert!(
            StreamSealer::new(&secret("p"), b"")
                .unwrap()
                .seal(b"short", false)
                .is_err()
        );
        let open = |passphrase: &str, bound: &[u8], chunks: &[(&[u8], bool)]| {
            let mut opener = StreamOpener::new(head, &secret(passphrase), bound).unwrap();
            chunks
                .iter()
                .all(|(chunk, last)| opener.open(chunk, *last).is_ok())
        };
        assert!(open(
            "passphrase",
            b"bound",
            &[(&first, false), (&second, false), (&last, true)]
        ));
        assert!(!open("another", b"bound", &[(&first, false)]));
        assert!(!open("passphrase", b"other", &[(&first, false)]));
        assert!(!open("passphrase", b"bound", &[(&second, false)]));
        assert!(!open(
            "passphrase",
            b"bound",
            &[(&first, false), (&last, true)]
        ));
        // Cut off after the second chunk.
        assert!(!open(
            "passphrase",
            b"bound",
            &[(&first, false), (&second, true)]
        ));
    }
}
