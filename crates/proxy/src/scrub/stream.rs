//! Scrubbing a byte stream that arrives in chunks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use super::{Cut, MIN_VALUE_BYTES, Scrubber, cover};

/// How long bytes that are too few to tell anything ([`MIN_VALUE_BYTES`]) are held when the stream pauses after them.
///
/// A gRPC message may end in a byte with which a value begins, and the peer may wait for the answer to just this
/// message: holding for ever would be a deadlock.
pub const SHORT_HOLD: Duration = Duration::from_millis(20);

/// How long the beginning of a value is held when the stream pauses within it; then it leaves masked.
pub const LONG_HOLD: Duration = Duration::from_secs(1);

/// Masks every form of the values in one byte stream. Sans-IO.
///
/// What comes out is as long as what went in, and is the same however the input was cut into chunks, as long as
/// [`release`](Self::release) is not called. At most the longest form less one byte is held back, and only
/// while the end of what was pushed is the beginning of a form.
pub struct ScrubStream {
    scrubber: Arc<Scrubber>,
    /// The end of the input so far, from where a form may begin.
    carry: Zeroizing<Vec<u8>>,
    /// Masked bytes for the start of `carry`, where a find that began before it reaches in.
    covered: Vec<u8>,
    /// How much of `carry` has left already and is kept only to recognise what follows.
    released: usize,
}

impl ScrubStream {
    pub(super) fn new(scrubber: Arc<Scrubber>) -> Self {
        Self {
            scrubber,
            carry: Zeroizing::new(Vec::new()),
            covered: Vec::new(),
            released: 0,
        }
    }

    /// Takes the next chunk and returns what can leave; the chunk itself when nothing was found in it.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        if chunk.is_empty() {
            return chunk;
        }
        let text = if self.carry.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::with_capacity(self.carry.len() + chunk.len());
            joined.extend_from_slice(&self.carry);
            joined.extend_from_slice(&chunk);
            joined.freeze()
        };
        let scan = self.scrubber.scan(&text);
        let hold = scan.hold;
        let final_hits = scan.hits.partition_point(|hit| hit.range.start < hold);
        let hits = scan.hits.get(..final_hits).unwrap_or_default();
        // Hits from `hold` on are found again with what follows.
        self.carry.clear();
        self.carry
            .extend_from_slice(text.get(hold..).unwrap_or_default());
        let leaves = self.released.min(hold)..hold;
        self.released -= leaves.start;
        if self.covered.is_empty() && hits.is_empty() {
            return text.slice(leaves);
        }
        let mut masked = BytesMut::from(&*text);
        let mut covered = self.apply_covered(&mut masked);
        cover(&mut masked, &mut covered, hits);
        self.covered.clear();
        self.covered
            .extend_from_slice(masked.get(hold..covered).unwrap_or_default());
        masked.freeze().slice(leaves)
    }

    /// Takes the last chunk and returns all that is left, as [`push`](Self::push) and [`finish`](Self::finish) would.
    pub fn push_last(&mut self, chunk: Bytes) -> Bytes {
        if self.carry.is_empty() && self.scrubber.is_clean(&chunk) {
            return chunk;
        }
        let leaves = self.push(chunk);
        let tail = self.finish();
        if tail.is_empty() {
            return leaves;
        }
        let mut whole = BytesMut::with_capacity(leaves.len() + tail.len());
        whole.extend_from_slice(&leaves);
        whole.extend_from_slice(&tail);
        whole.freeze()
    }

    /// Ends the stream and returns what was held back. A beginning that is at least half of a value is masked, so
    /// that an echo which breaks off gives little away. The stream can be used for another one afterwards.
    pub fn finish(&mut self) -> Bytes {
        let tail = self.tail(Cut::Ended);
        self.carry.clear();
        self.covered.clear();
        self.released = 0;
        tail
    }

    /// Returns what is held back although the stream goes on, for a reader that cannot wait longer.
    ///
    /// What is returned is remembered: the rest of a value whose first bytes left this way is still masked. A
    /// beginning of [`MIN_VALUE_BYTES`] or more leaves masked.
    pub fn release(&mut self) -> Bytes {
        let tail = self.tail(Cut::Stalled);
        self.released = self.carry.len();
        tail
    }

    /// Bytes held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.carry.len() - self.released
    }

    /// How long to wait for more input before [`release`](Self::release); `None` when nothing is held back.
    #[must_use]
    pub fn release_after(&self) -> Option<Duration> {
        if self.held() == 0 {
            None
        } else if self.carry.len() < MIN_VALUE_BYTES {
            Some(SHORT_HOLD)
        } else {
            Some(LONG_HOLD)
        }
    }

    fn apply_covered(&self, text: &mut [u8]) -> usize {
        if let Some(start) = text.get_mut(..self.covered.len()) {
            start.copy_from_slice(&self.covered);
        }
        self.covered.len()
    }

    fn tail(&self, cut: Cut) -> Bytes {
        if self.held() == 0 {
            return Bytes::new();
        }
        let scan = self.scrubber.scan(&self.carry);
        let mut masked = BytesMut::from(self.carry.as_slice());
        let mut covered = self.apply_covered(&mut masked);
        cover(&mut masked, &mut covered, &scan.hits);
        self.scrubber
            .cover_partials(&mut masked, &mut covered, &scan.partials, cut);
        masked.freeze().slice(self.released..)
    }
}

impl fmt::Debug for ScrubStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubStream")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
