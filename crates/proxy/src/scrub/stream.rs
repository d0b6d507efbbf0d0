//! Scrubbing a byte stream that arrives in chunks.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use super::{Cut, Fit, Hit, Progress, Search};

/// How long bytes that are too few to tell anything (fewer than [`MIN_VALUE_BYTES`](super::MIN_VALUE_BYTES), and less than
/// half of a value) are held when the stream pauses after them.
///
/// A gRPC message may end in a byte with which a value begins, and the peer may wait for the answer to just this
/// message: holding for ever would be a deadlock.
pub const SHORT_HOLD: Duration = Duration::from_millis(20);

/// How long the beginning of a value is held when the stream pauses within it; then it leaves
/// replaced.
pub const LONG_HOLD: Duration = Duration::from_secs(1);

/// Replaces every form of the values in one byte stream. Sans-IO.
///
/// What comes out is the same however the input was cut into chunks, as long as [`release`](Self::release) is not called;
/// with [`Fit::Same`] it is as long as what went in. At most the longest form less one byte is held back, and only while
/// the end of what was pushed is the beginning of a form.
pub struct ScrubStream {
    search: Search,
    fit: Fit,
    /// The end of the input so far, from where a form may begin.
    carry: Zeroizing<Vec<u8>>,
    /// How much of `carry` has left already, as it was or replaced, and is kept only to recognise what follows; and how
    /// much of it was replaced.
    progress: Progress,
    /// What is held back is too much of a value to be let go soon.
    telling: bool,
}

impl ScrubStream {
    pub(super) fn new(search: Search, fit: Fit) -> Self {
        Self {
            search,
            fit,
            carry: Zeroizing::new(Vec::new()),
            progress: Progress::default(),
            telling: false,
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
        let scrubber = self.search.scrubber();
        let scan = scrubber.scan(&text);
        let hold = scan.hold;
        self.telling = scan
            .partials
            .iter()
            .any(|partial| scrubber.matters(partial, text.len(), Cut::Stalled));
        // Hits from `hold` on are found again with what follows.
        let hits_now = scan.hits.partition_point(|hit| hit.range.start < hold);
        let hits = scan.hits.get(..hits_now).unwrap_or_default();
        self.carry.clear();
        self.carry
            .extend_from_slice(text.get(hold..).unwrap_or_default());
        let leaves = if hits.is_empty() {
            let from = self.progress.left.min(hold);
            self.progress.left = self.progress.left.max(hold);
            text.slice(from..hold)
        } else {
            self.render(&text, hold, hits)
        };
        self.progress.left -= hold;
        self.progress.replaced = self.progress.replaced.saturating_sub(hold);
        leaves
    }

    /// Takes the last chunk and returns all that is left, as [`push`](Self::push) and [`finish`](Self::finish) would.
    pub fn push_last(&mut self, chunk: Bytes) -> Bytes {
        if self.carry.is_empty() && self.search.scrubber().is_clean(&chunk) {
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

    /// Ends the stream and returns what was held back. A beginning that is at least half of a value is replaced, so
    /// that an echo which breaks off gives little away. The stream can be used for another one afterwards.
    pub fn finish(&mut self) -> Bytes {
        let tail = self.tail(Cut::Ended);
        self.carry.clear();
        self.progress = Progress::default();
        self.telling = false;
        tail
    }

    /// Returns what is held back although the stream goes on, for a reader that cannot wait longer.
    ///
    /// What is returned is remembered: the rest of a value whose first bytes left this way is still replaced. A
    /// beginning of [`MIN_VALUE_BYTES`](super::MIN_VALUE_BYTES) or more, or of half a value, leaves replaced.
    pub fn release(&mut self) -> Bytes {
        self.tail(Cut::Stalled)
    }

    /// Bytes held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.carry.len().saturating_sub(self.progress.left)
    }

    /// How long to wait for more input before [`release`](Self::release); `None` when nothing is held back.
    #[must_use]
    pub fn release_after(&self) -> Option<Duration> {
        match (self.held(), self.telling) {
            (0, _) => None,
            (_, false) => Some(SHORT_HOLD),
            (_, true) => Some(LONG_HOLD),
        }
    }

    fn tail(&mut self, cut: Cut) -> Bytes {
        if self.held() == 0 {
            return Bytes::new();
        }
        let carry = std::mem::take(&mut self.carry);
        let scrubber = self.search.scrubber();
        let hits = scrubber.with_partials(scrubber.scan(&carry), carry.len(), cut);
        let tail = self.render(&carry, carry.len(), &hits);
        self.carry = carry;
        tail
    }

    fn render(&mut self, text: &[u8], upto: usize, hits: &[Hit]) -> Bytes {
        let mut out = Vec::with_capacity(text.len());
        self.search
            .scrubber()
            .render(text, upto, hits, self.fit, &mut self.progress, &mut out);
        self.search.count(std::mem::take(&mut self.progress.finds));
        out.into()
    }
}

impl fmt::Debug for ScrubStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubStream")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
