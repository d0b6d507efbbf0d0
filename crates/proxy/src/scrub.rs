//! Stage 9: every spelling of an injected value is masked in what the upstream sends back.
//!
//! A [`Scrubber`] is built once for the values that a rule injects. It masks response headers, trailers, bodies
//! ([`ScrubBody`], which decodes a compressed body on the way) and WebSocket messages ([`ScrubStream`]).
//!
//! # What is found
//! Each value raw, JSON-escaped (the spellings of the common serializers, also JSON inside a JSON string),
//! HTML-escaped, percent- and form-encoded, base64 and base64url at any alignment, hexadecimal; across chunk borders.
//! Not found: values shorter than [`MIN_VALUE_BYTES`], values that an upstream deliberately disguises (reversed,
//! encrypted, compressed without saying so) or breaks over lines. The scrubber guards against reflection, not against
//! an upstream that conspires with the agent: such an upstream holds the credential anyway.
//!
//! # What it does to the stream
//! A mask has the length of what it covers, so `Content-Length`, WebSocket and gRPC framing stay as they are. Bytes
//! are held back only while they may be the beginning of a value, so events of a stream arrive when they were sent; a
//! chunk without a find passes without a copy.
//!
//! # Where the secrets lie
//! The spellings are kept in zeroizing memory. The search automaton holds only the first [`MIN_VALUE_BYTES`] bytes of
//! each. What hyper and TLS buffer cannot be wiped.

mod body;
mod decode;
mod encoding;
mod forms;
mod stream;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, MatchKind, StartKind};
use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

pub use self::body::ScrubBody;
pub use self::decode::DecodeError;
pub use self::encoding::{Decoding, EncodingError, decode_for_scrub, narrow_accept_encoding};
pub use self::forms::{MAX_PIECE_BYTES, MIN_VALUE_BYTES};
pub use self::stream::{LONG_HOLD, SHORT_HOLD, ScrubStream};

use self::forms::Mask;

/// How many first bytes of each form the automaton looks for. No form is shorter.
const PREFIX_BYTES: usize = MIN_VALUE_BYTES;

/// Finds and masks every spelling of a fixed set of secret values.
pub struct Scrubber {
    /// All forms, one behind the other.
    arena: Zeroizing<Vec<u8>>,
    /// Sorted by their bytes.
    forms: Vec<FormAt>,
    /// For each prefix that the automaton knows, the forms that begin with it.
    groups: Vec<Range<usize>>,
    finder: AhoCorasick,
    /// Whether any form begins with the byte.
    first_bytes: [bool; 256],
}

struct FormAt {
    range: Range<usize>,
    mask: Mask,
}

/// The search automaton could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the values to scrub are too many to search for")]
pub struct ScrubberError(#[source] aho_corasick::BuildError);

impl Scrubber {
    /// Builds a scrubber for `values`: the credentials as injected, and for `Basic` also the pair `user:password`.
    ///
    /// `None` when there is nothing to look for, because no value has [`MIN_VALUE_BYTES`]; then responses need not
    /// pass through this module at all. Takes some 10 to 100 µs and is meant to be kept for as long as the values
    /// hold.
    ///
    /// # Errors
    /// When the values are so many (billions of bytes) that they cannot be indexed. The caller must then refuse to
    /// inject.
    pub fn new(values: &[&[u8]]) -> Result<Option<Arc<Self>>, ScrubberError> {
        let all = forms::all(values);
        if all.is_empty() {
            return Ok(None);
        }
        let total = all.iter().map(|form| form.bytes.len()).sum();
        // Reserved in full: growing would leave copies behind.
        let mut arena = Zeroizing::new(Vec::with_capacity(total));
        let mut forms = Vec::with_capacity(all.len());
        let mut prefixes: Vec<[u8; PREFIX_BYTES]> = Vec::new();
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut first_bytes = [false; 256];
        for (index, form) in all.iter().enumerate() {
            let start = arena.len();
            arena.extend_from_slice(&form.bytes);
            forms.push(FormAt {
                range: start..arena.len(),
                mask: form.mask,
            });
            let Some(prefix) = form.bytes.first_chunk::<PREFIX_BYTES>() else {
                continue;
            };
            match (prefixes.last(), groups.last_mut()) {
                (Some(last), Some(group)) if last == prefix => group.end = index + 1,
                _ => {
                    prefixes.push(*prefix);
                    groups.push(index..index + 1);
                }
            }
            let [first, ..] = *prefix;
            if let Some(seen) = first_bytes.get_mut(usize::from(first)) {
                *seen = true;
            }
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .start_kind(StartKind::Unanchored)
            .build(&prefixes)
            .map_err(ScrubberError)?;
        Ok(Some(Arc::new(Self {
            arena,
            forms,
            groups,
            finder,
            first_bytes,
        })))
    }

    /// Masks header values in place; used for response headers (`Location` and any other) and for trailers.
    pub fn scrub_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let Some(masked) = self.mask(value.as_bytes()) else {
                continue;
            };
            // A mask is visible ASCII, so a valid value stays valid.
            let mut replaced =
                HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static("*"));
            replaced.set_sensitive(value.is_sensitive());
            *value = replaced;
        }
    }

    /// Returns `text`, taken as a whole, with every find masked, or `None` when there is nothing to mask.
    #[must_use]
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        if self.is_clean(text) {
            return None;
        }
        let scan = self.scan(text);
        let mut masked = text.to_vec();
        let mut covered = 0;
        cover(&mut masked, &mut covered, &scan.hits);
        self.cover_partials(&mut masked, &mut covered, &scan.partials, Cut::Ended);
        (covered > 0).then_some(masked)
    }

    /// Whether `text`, taken as a whole, has neither a value in it nor a beginning that is long enough to matter.
    fn is_clean(&self, text: &[u8]) -> bool {
        text.len() < PREFIX_BYTES || self.finder.find(text).is_none()
    }

    /// Starts scrubbing one byte stream.
    #[must_use]
    pub fn stream(self: &Arc<Self>) -> ScrubStream {
        ScrubStream::new(Arc::clone(self))
    }

    fn bytes(&self, form: &FormAt) -> &[u8] {
        self.arena.get(form.range.clone()).unwrap_or_default()
    }

    /// Finds every occurrence of every form in `text`, overlapping ones too, and what its end may be the start of.
    fn scan(&self, text: &[u8]) -> Scan {
        let mut scan = Scan {
            hits: Vec::new(),
            partials: Vec::new(),
            hold: text.len(),
        };
        let mut from = 0;
        while let Some(found) = self.finder.find(Input::new(text).range(from..)) {
            let start = found.start();
            from = start + 1;
            let rest = text.get(start..).unwrap_or_default();
            let group = self
                .groups
                .get(found.pattern().as_usize())
                .cloned()
                .and_then(|group| self.forms.get(group))
                .unwrap_or_default();
            // Sorted: of the forms that match here, the last is the longest.
            let mut longest = None;
            for form in group {
                let bytes = self.bytes(form);
                if rest.starts_with(bytes) {
                    longest = Some(form);
                } else if bytes.starts_with(rest) {
                    scan.hold = scan.hold.min(start);
                    scan.partials.push(Partial {
                        start,
                        form_len: bytes.len(),
                        mask: form.mask,
                    });
                }
            }
            if let Some(form) = longest {
                scan.hits.push(Hit {
                    range: start..start + form.range.len(),
                    mask: form.mask,
                });
            }
        }
        let short_tail = text.len().saturating_sub(PREFIX_BYTES - 1);
        for start in short_tail..text.len() {
            if scan.hold <= start {
                break;
            }
            let rest = text.get(start..).unwrap_or_default();
            if self.may_begin(rest) {
                scan.hold = start;
            }
        }
        scan
    }

    /// Whether a form begins with `rest`, which is shorter than any form.
    fn may_begin(&self, rest: &[u8]) -> bool {
        let Some(&first) = rest.first() else {
            return false;
        };
        if !self
            .first_bytes
            .get(usize::from(first))
            .copied()
            .unwrap_or(false)
        {
            return false;
        }
        let at = self.forms.partition_point(|form| self.bytes(form) < rest);
        self.forms
            .get(at)
            .is_some_and(|form| self.bytes(form).starts_with(rest))
    }

    /// Masks beginnings of values that the text breaks off in, where enough of the value is there to matter.
    fn cover_partials(&self, text: &mut [u8], covered: &mut usize, partials: &[Partial], cut: Cut) {
        for partial in partials {
            let seen = text.len() - partial.start.min(text.len());
            let matters = match cut {
                Cut::Ended => seen * 2 >= partial.form_len,
                Cut::Stalled => true,
            };
            if matters {
                let hit = Hit {
                    range: partial.start..text.len(),
                    mask: partial.mask,
                };
                cover(text, covered, std::slice::from_ref(&hit));
            }
        }
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber")
            .field("forms", &self.forms.len())
            .finish_non_exhaustive()
    }
}

/// Why a text breaks off in what may be the beginning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nothing follows. A beginning that is at least half of the value is masked: a truncated echo.
    Ended,
    /// More may follow, but cannot be waited for. Any beginning of [`MIN_VALUE_BYTES`] is masked.
    Stalled,
}

struct Scan {
    /// By start.
    hits: Vec<Hit>,
    /// Beginnings of at least [`PREFIX_BYTES`] that reach the end of the text, by start.
    partials: Vec<Partial>,
    /// Where the first beginning of any length that reaches the end of the text starts; else the text's length.
    hold: usize,
}

struct Hit {
    range: Range<usize>,
    mask: Mask,
}

struct Partial {
    start: usize,
    form_len: usize,
    mask: Mask,
}

/// Overwrites `hits`, given by ascending start, in `text`. Bytes before `covered` are already masked and are left, so
/// that of overlapping finds the first one decides; `covered` moves on.
fn cover(text: &mut [u8], covered: &mut usize, hits: &[Hit]) {
    for hit in hits {
        let from = hit.range.start.max(*covered);
        let Some(masked) = text.get_mut(from..hit.range.end) else {
            continue;
        };
        for (offset, byte) in (from - hit.range.start..).zip(masked) {
            *byte = hit.mask.byte(offset);
        }
        *covered = (*covered).max(hit.range.end);
    }
}
