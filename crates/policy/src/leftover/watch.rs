//! Watching a body, or the messages of a WebSocket, as they stream by.
//!
//! The search goes from left to right and never back, so how the bytes are cut into pieces makes no difference: what cannot be judged
//! before the next piece is copied, together with what stands right before it, and searched again with that.

use std::sync::Arc;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::grammar::{AFTER, Around, BEFORE, Grammar};
use super::{Leftovers, Standing};
use crate::ruleset::Known;

/// Looks for the placeholders of a vault in one body, or in one message after the other. Sans I/O: the caller feeds what it sends.
///
/// The memory is that of twice the longest placeholder and what is looked at around one: below 2 KiB, and none for a body in one piece.
pub struct LeftoverWatch {
    known: Arc<Known>,
    content_type: Option<HeaderValue>,
    /// The first byte that is no space.
    first: Option<u8>,
    grammar: Option<Grammar>,
    /// The end of what was fed so far. Zeroed, for a body may hold what was put in for other placeholders.
    tail: Zeroizing<Vec<u8>>,
    /// Where in the tail the search goes on.
    resume: usize,
    /// Something was fed that is no longer in the tail.
    cut: bool,
    /// It is a conversation with a model.
    conversation: bool,
    found: Leftovers,
    /// Nothing is looked for any more.
    over: bool,
}

impl LeftoverWatch {
    pub(crate) fn of(known: &Arc<Known>, content_type: Option<&HeaderValue>) -> Self {
        Self {
            known: Arc::clone(known),
            content_type: content_type.cloned(),
            first: None,
            grammar: None,
            tail: Zeroizing::default(),
            resume: 0,
            cut: false,
            conversation: false,
            found: Leftovers::default(),
            over: false,
        }
    }

    /// Takes the next piece. `last` says that the body or message ends with it; that may also be told by an empty piece. True when
    /// [`leftovers`](Self::leftovers) are others now.
    pub fn feed(&mut self, piece: &[u8], last: bool) -> bool {
        if self.over {
            return false;
        }
        if self.first.is_none() {
            self.first = piece.iter().find(|b| !b.is_ascii_whitespace()).copied();
        }
        let mut changed = false;
        let mut from = 0;
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            let carried = tail.len();
            let (head, rest) = piece
                .split_at_checked(self.reach())
                .unwrap_or((piece, Default::default()));
            tail.extend_from_slice(head);
            let ends = last && rest.is_empty();
            let resume = self.search(&tail, self.resume, ends, &mut changed);
            if rest.is_empty() {
                self.keep(tail, resume);
                return self.settled(last, changed);
            }
            // The head reaches so far that the search has come out of the tail, with what it looks at before an occurrence.
            from = resume.saturating_sub(carried);
            self.cut = true;
            tail.clear();
            self.tail = tail;
        }
        let resume = self.search(piece, from, last, &mut changed);
        if !last && !piece.is_empty() {
            let kept = resume.saturating_sub(BEFORE);
            let mut tail = std::mem::take(&mut self.tail);
            if tail.capacity() == 0 {
                // Room for the next piece's beginning too, so that the buffer never moves.
                tail.reserve_exact(self.reach().saturating_mul(2));
            }
            tail.extend_from_slice(piece.get(kept..).unwrap_or_default());
            self.cut |= kept > 0;
            self.resume = resume.saturating_sub(kept);
            self.tail = tail;
        }
        self.settled(last, changed)
    }

    /// What was found so far.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        if self.conversation {
            self.found.quoted()
        } else {
            self.found.clone()
        }
    }

    /// Begins anew: the next piece is the first of another message.
    pub fn restart(&mut self) {
        self.first = None;
        self.grammar = None;
        self.tail.clear();
        self.resume = 0;
        self.cut = false;
        self.conversation = false;
        self.found = Leftovers::default();
        self.over = false;
    }

    /// Whether there is nothing left to look for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// What one occurrence and all that is looked at around it may take.
    fn reach(&self) -> usize {
        self.known
            .longest()
            .saturating_add(BEFORE)
            .saturating_add(AFTER)
    }

    fn keep(&mut self, tail: Zeroizing<Vec<u8>>, resume: usize) {
        let mut tail = tail;
        let gone = resume.saturating_sub(BEFORE).min(tail.len());
        tail.drain(..gone);
        self.cut |= gone > 0;
        self.resume = resume.saturating_sub(gone);
        self.tail = tail;
    }

    fn settled(&mut self, last: bool, changed: bool) -> bool {
        self.over = last || self.found.has_more();
        if self.over {
            self.tail.clear();
        }
        changed
    }

    /// Notes every occurrence from `from` on that can be judged. Gives back where to go on.
    fn search(&mut self, text: &[u8], from: usize, ends: bool, changed: &mut bool) -> usize {
        let known = Arc::clone(&self.known);
        let certain = known.longest().saturating_add(AFTER);
        let mut from = from;
        while let Some(hit) = known.finder(!self.conversation).next(text, from) {
            // A longer one may begin here, and what follows is looked at.
            if !ends && hit.start.saturating_add(certain) > text.len() {
                return hit.start;
            }
            let Some(key) = known.key(hit.pattern) else {
                // Searched again from here, for the placeholders alone.
                self.conversation = true;
                *changed |= self.found.any_sent();
                from = hit.start;
                continue;
            };
            let around = Around {
                before: text
                    .get(hit.start.saturating_sub(BEFORE)..hit.start)
                    .unwrap_or_default(),
                found: text.get(hit.start..hit.end).unwrap_or_default(),
                after: text
                    .get(hit.end..hit.end.saturating_add(AFTER).min(text.len()))
                    .unwrap_or_default(),
            };
            let standing = if self.grammar().is_value(&around) {
                Standing::Sent
            } else {
                Standing::Quoted
            };
            *changed |= self.found.note(key, standing);
            if self.found.has_more() {
                return text.len();
            }
            from = hit.end;
        }
        if ends {
            return text.len();
        }
        // What begins before this would have been found whole.
        from.max(text.len().saturating_sub(known.longest().saturating_sub(1)))
    }

    fn grammar(&mut self) -> Grammar {
        let content_type = self
            .content_type
            .as_ref()
            .and_then(|value| value.to_str().ok());
        *self
            .grammar
            .get_or_insert_with(|| Grammar::of(content_type, self.first))
    }
}

impl std::fmt::Debug for LeftoverWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeftoverWatch")
            .field("content_type", &self.content_type)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
