//! Watching a body that nobody looks into for a placeholder that is a whole value of it.
//!
//! A placeholder inside a longer text is somebody's prose about it: a transcript, a log, a document. Where it is the whole of a JSON
//! string, of a form field or of a multipart text part, it was meant to be replaced. The body is read as it streams by: nothing is held
//! back, and only so much of its end is copied as the next piece may need to judge what crosses from one into the other.

mod shape;

use std::sync::Arc;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use zeroize::Zeroizing;

use super::body::is_uncompressed;
use crate::ruleset::{Known, KnownPlaceholder};
use shape::{Around, Margins, Shape};

/// Looks for the first placeholder of a vault that is a whole value of one body. Sans I/O: the caller feeds what it sends.
///
/// How the body is cut into pieces makes no difference. The memory is that of twice the longest placeholder and what is looked at around
/// one: below 4 KiB.
pub struct BodyWatch {
    known: Arc<Known>,
    shape: Shape,
    /// The end of what was fed so far. Zeroed, for a body may hold what was put in for other placeholders.
    tail: Zeroizing<Vec<u8>>,
    /// Whether something was fed that is no longer in the tail.
    cut: bool,
    /// Nothing is looked for any more.
    over: bool,
}

impl BodyWatch {
    pub(crate) fn of(known: &Arc<Known>, headers: &HeaderMap) -> Option<Self> {
        let uncompressed = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .all(|value| value.to_str().is_ok_and(is_uncompressed));
        if !uncompressed {
            return None;
        }
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        Some(Self {
            known: Arc::clone(known),
            shape: Shape::of(content_type)?,
            tail: Zeroizing::default(),
            cut: false,
            over: false,
        })
    }

    /// Takes the next piece of the body. `last` says that the body ends with it; the end may also be told by an empty piece. Gives back
    /// the first placeholder that is a whole value, once; what follows it is not looked at.
    pub fn feed(&mut self, piece: &[u8], last: bool) -> Option<&KnownPlaceholder> {
        if self.over {
            return None;
        }
        let pattern = self
            .settle(piece)
            .and_then(|piece| self.search(piece, last));
        if last || pattern.is_some() {
            self.over = true;
        }
        if self.over {
            self.tail = Zeroizing::default();
        }
        pattern.and_then(|pattern| self.known.of_pattern(pattern))
    }

    /// Whether there is anything left to look for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What there is to search of a piece, once it is clear what the body is.
    fn settle<'p>(&mut self, piece: &'p [u8]) -> Option<&'p [u8]> {
        let Shape::Open { form } = self.shape else {
            return Some(piece);
        };
        let start = piece.iter().position(|b| !b.is_ascii_whitespace())?;
        let begun = piece.get(start..)?;
        match begun.first() {
            Some(b'{') => self.shape = Shape::Json,
            // Lines of a log start so too.
            Some(b'[') if form => self.shape = Shape::Json,
            _ if form => self.shape = Shape::Form,
            _ => {
                self.over = true;
                return None;
            }
        }
        Some(begun)
    }

    fn search(&mut self, piece: &[u8], last: bool) -> Option<usize> {
        let margins = self.shape.margins();
        let reach = margins
            .before
            .saturating_add(self.known.longest())
            .saturating_add(margins.after);
        let carried = self.tail.len();
        let mut span = Span {
            begins: carried == 0 && !self.cut,
            ends: last,
            seen: 0,
            from: 0,
        };
        if carried > 0 {
            // What crosses from the tail into the piece, with all that stands around it.
            let (head, rest) = piece
                .split_at_checked(reach)
                .unwrap_or((piece, Default::default()));
            self.tail.extend_from_slice(head);
            let crossing = Span {
                begins: !self.cut,
                ends: last && rest.is_empty(),
                seen: carried,
                from: 0,
            };
            let found = self.judge(&self.tail, margins, crossing);
            if found.is_some() {
                return found;
            }
            if rest.is_empty() {
                let excess = self.tail.len().saturating_sub(reach);
                self.cut |= excess > 0;
                self.tail.drain(..excess);
                return None;
            }
            span.from = margins.before;
        }
        let found = self.judge(piece, margins, span);
        if found.is_none() && !last {
            self.carry(piece, reach);
        }
        found
    }

    /// The first occurrence in a span that is a whole value, of those that can be judged now and could not be before.
    fn judge(&self, text: &[u8], margins: Margins, span: Span) -> Option<usize> {
        let mut from = 0;
        while let Some(found) = self.known.finder().next(text, from) {
            from = found.end;
            let needed = found.end.saturating_add(margins.after);
            if needed > text.len() && !span.ends {
                return None;
            }
            if needed <= span.seen || found.start < span.from {
                continue;
            }
            let earliest = found.start.saturating_sub(margins.before);
            let around = Around {
                before: text.get(earliest..found.start).unwrap_or_default(),
                begins: span.begins && earliest == 0,
                after: text
                    .get(found.end..needed.min(text.len()))
                    .unwrap_or_default(),
            };
            // One that only selects a rule stands for nothing.
            if self.shape.is_whole(&around)
                && self
                    .known
                    .of_pattern(found.pattern)
                    .is_some_and(|known| known.key.is_some())
            {
                return Some(found.pattern);
            }
        }
        None
    }

    /// Keeps the end of a piece that makes all before it needless.
    fn carry(&mut self, piece: &[u8], reach: usize) {
        let excess = piece.len().saturating_sub(reach);
        if self.tail.capacity() == 0 {
            // Room for the next piece's beginning too, so that the buffer never moves.
            self.tail.reserve_exact(reach.saturating_mul(2));
        }
        self.cut |= excess > 0 || !self.tail.is_empty();
        self.tail.clear();
        self.tail
            .extend_from_slice(piece.get(excess..).unwrap_or_default());
    }
}

/// What is known of a text that is searched.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// It starts where the body starts.
    begins: bool,
    /// It ends where the body ends.
    ends: bool,
    /// So many bytes of it were there before: what they were enough to judge is judged.
    seen: usize,
    /// What starts before this position is judged elsewhere.
    from: usize,
}

impl std::fmt::Debug for BodyWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyWatch")
            .field("shape", &self.shape)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
