//! Stage 9: every spelling of an injected value is replaced in what the upstream sends back.
//!
//! A [`Scrubber`] is built once for the values that a rule injects. A [`Search`] is its use for one exchange, and counts.
//! It edits response headers, trailers, bodies ([`ScrubBody`], which decodes a compressed body on the way) and WebSocket
//! messages ([`ScrubStream`]).
//!
//! # What is found
//! Each value raw, JSON-escaped (the spellings of the common serializers, also JSON inside a JSON string),
//! HTML-escaped, percent- and form-encoded, base64 and base64url at any alignment, hexadecimal; across chunk borders.
//! Not found: values shorter than [`MIN_VALUE_BYTES`], values that an upstream deliberately disguises (reversed,
//! encrypted, compressed without saying so) or breaks over lines. The scrubber guards against reflection, not against
//! an upstream that conspires with the agent: such an upstream holds the credential anyway.
//!
//! # What it does to the stream
//! A find is replaced by its [`Label`], written as the find was. Where the length may not change ([`Fit::Same`]) the label
//! is cut or filled up with `*`; base64 digits always keep their number. Bytes are held back only while they may be the
//! beginning of a value, so events of a stream arrive when they were sent; a chunk without a find passes without a copy.
//!
//! # Where the secrets lie
//! The spellings are kept in zeroizing memory. The search automaton holds only the first [`MIN_VALUE_BYTES`] bytes of
//! each. What hyper and TLS buffer cannot be wiped.

mod body;
mod decode;
mod encoding;
mod forms;
mod inspect;
mod label;
mod search;
mod stream;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, MatchKind, StartKind};
use zeroize::Zeroizing;

pub use self::body::{MAX_SETTLED_BYTES, SETTLE_WAIT, ScrubBody, Settled};
pub use self::decode::DecodeError;
pub use self::encoding::{
    Decoding, EncodingError, body_changed, counts_bytes, decode_for_scrub, narrow_accept_encoding,
};
pub use self::forms::{MAX_PIECE_BYTES, MIN_VALUE_BYTES};
pub(crate) use self::inspect::Inspection;
pub use self::label::{Fit, Label};
pub use self::search::Search;
pub use self::stream::{LONG_HOLD, SHORT_HOLD, ScrubStream};

use self::forms::Spelling;

/// How many first bytes of each form the automaton looks for. No form is shorter.
const PREFIX_BYTES: usize = MIN_VALUE_BYTES;

/// A value to look for, and what stands in its place.
#[derive(Clone)]
pub struct Secret<'v> {
    /// The value as injected.
    pub value: &'v [u8],
    /// What an agent sees instead.
    pub label: Label,
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Finds and replaces every spelling of a fixed set of secret values.
pub struct Scrubber {
    /// All forms, one behind the other.
    arena: Zeroizing<Vec<u8>>,
    /// Sorted by their bytes.
    forms: Vec<FormAt>,
    /// For each prefix that the automaton knows, the forms that begin with it.
    groups: Vec<Range<usize>>,
    /// One for each secret.
    labels: Vec<Label>,
    finder: AhoCorasick,
    /// Whether any form begins with the byte.
    first_bytes: [bool; 256],
    beginnings: Beginnings,
}

struct FormAt {
    range: Range<usize>,
    spelling: Spelling,
    value_len: usize,
    secret: usize,
}

/// The search automaton could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the values to scrub are too many to search for")]
pub struct ScrubberError(#[source] aho_corasick::BuildError);

impl Scrubber {
    /// Builds a scrubber for `secrets`: the credentials as injected, and for `Basic` also the pair `user:password`. Of two
    /// with the same value the first one's label is used.
    ///
    /// `None` when there is nothing to look for, because no value has [`MIN_VALUE_BYTES`]; then responses need not
    /// pass through this module at all. Takes some 10 to 100 µs and is meant to be kept for as long as the values
    /// hold.
    ///
    /// # Errors
    /// When the values are so many (billions of bytes) that they cannot be indexed. The caller must then refuse to
    /// inject.
    pub fn new(secrets: &[Secret<'_>]) -> Result<Option<Arc<Self>>, ScrubberError> {
        let all = forms::all(secrets.iter().map(|secret| secret.value));
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
        let mut beginnings = Beginnings::default();
        for (index, form) in all.iter().enumerate() {
            let start = arena.len();
            arena.extend_from_slice(&form.bytes);
            forms.push(FormAt {
                range: start..arena.len(),
                spelling: form.spelling,
                value_len: form.value_len,
                secret: form.secret,
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
            beginnings.add(prefix);
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
        let mut scrubber = Self {
            arena,
            forms,
            groups,
            labels: Vec::new(),
            finder,
            first_bytes,
            beginnings,
        };
        // No label brings a value back: a key may be called like its value.
        let clean = |label: &Label| scrubber.scan(label.as_str().as_bytes()).hits.is_empty();
        let labels = secrets
            .iter()
            .map(|secret| {
                [secret.label.clone(), Label::nameless()]
                    .into_iter()
                    .find(clean)
                    .unwrap_or_else(Label::stars)
            })
            .collect();
        scrubber.labels = labels;
        Ok(Some(Arc::new(scrubber)))
    }

    /// Starts the use of the scrubber for one exchange.
    #[must_use]
    pub fn search(self: &Arc<Self>) -> Search {
        Search::new(Arc::clone(self))
    }

    /// Returns `text`, taken as a whole, with every find replaced, and how many there were; or `None` when there was none.
    fn replace(&self, text: &[u8], fit: Fit) -> Option<(Vec<u8>, u32)> {
        if self.is_clean(text) {
            return None;
        }
        let scan = self.scan(text);
        let hits = self.with_partials(scan, text.len(), Cut::Ended);
        let mut progress = Progress::default();
        let mut out = Vec::with_capacity(text.len());
        self.render(text, text.len(), &hits, fit, &mut progress, &mut out);
        (progress.finds > 0).then_some((out, progress.finds))
    }

    /// Whether `text`, taken as a whole, has neither a value in it nor a beginning that is long enough to matter.
    fn is_clean(&self, text: &[u8]) -> bool {
        text.len() < PREFIX_BYTES
            || text.len() <= SHORT_TEXT && !self.beginnings.may_be_in(text)
            || self.finder.find(text).is_none()
    }

    /// The bytes of the form at `index`.
    fn form(&self, index: usize) -> &[u8] {
        self.forms.get(index).map_or(&[], |form| self.bytes(form))
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
                .unwrap_or_default();
            // Sorted: of the forms that match here, the last is the longest.
            let mut longest = None;
            for index in group {
                let bytes = self.form(index);
                if rest.starts_with(bytes) {
                    longest = Some(index);
                } else if bytes.starts_with(rest) {
                    scan.hold = scan.hold.min(start);
                    scan.partials.push(Hit {
                        range: start..text.len(),
                        form: index,
                    });
                }
            }
            if let Some(form) = longest {
                scan.hits.push(Hit {
                    range: start..start + self.form(form).len(),
                    form,
                });
            }
        }
        let short_tail = text.len().saturating_sub(PREFIX_BYTES - 1);
        for start in short_tail..text.len() {
            let rest = text.get(start..).unwrap_or_default();
            if let Some(form) = self.shortest_beginning(rest) {
                scan.hold = scan.hold.min(start);
                scan.partials.push(Hit {
                    range: start..text.len(),
                    form,
                });
            }
        }
        scan
    }

    /// The shortest of the forms that begin with `rest`, which is shorter than any form.
    fn shortest_beginning(&self, rest: &[u8]) -> Option<usize> {
        let &first = rest.first()?;
        if !self
            .first_bytes
            .get(usize::from(first))
            .copied()
            .unwrap_or(false)
        {
            return None;
        }
        let from = self.forms.partition_point(|form| self.bytes(form) < rest);
        (from..self.forms.len())
            .take_while(|index| self.form(*index).starts_with(rest))
            .min_by_key(|index| self.form(*index).len())
    }

    /// The hits of a text that breaks off, together with those beginnings of values which matter, by start.
    fn with_partials(&self, scan: Scan, len: usize, cut: Cut) -> Vec<Hit> {
        let Scan {
            mut hits, partials, ..
        } = scan;
        hits.extend(
            partials
                .into_iter()
                .filter(|partial| self.matters(partial, len, cut)),
        );
        // Stable: a value that is there comes before one that may begin at the same place.
        hits.sort_by_key(|hit| hit.range.start);
        hits
    }

    /// Whether a beginning at the end of a text of `len` bytes is enough of the value to be replaced.
    fn matters(&self, partial: &Hit, len: usize, cut: Cut) -> bool {
        let seen = len.saturating_sub(partial.range.start);
        let half = seen * 2 >= self.form(partial.form).len();
        match cut {
            Cut::Ended => seen >= PREFIX_BYTES && half,
            Cut::Stalled => seen >= PREFIX_BYTES || half,
        }
    }

    /// Appends `text` up to `upto` to `out`, with `hits`, given by ascending start, replaced. Of finds that overlap the
    /// first one's label stands for all.
    fn render(
        &self,
        text: &[u8],
        upto: usize,
        hits: &[Hit],
        fit: Fit,
        progress: &mut Progress,
        out: &mut Vec<u8>,
    ) {
        for hit in hits {
            let Range { start, end } = hit.range;
            let Some(form) = self.forms.get(hit.form) else {
                continue;
            };
            let begins = start >= progress.replaced;
            if begins {
                out.extend_from_slice(text.get(progress.left..start).unwrap_or_default());
                progress.finds = progress.finds.saturating_add(1);
            }
            if end > progress.left {
                let already = progress.left.saturating_sub(start);
                let free = matches!(form.spelling, Spelling::Plain | Spelling::Percent)
                    && fit == Fit::Free;
                let same = || {
                    let mut same = self.label_of(form, Fit::Same);
                    same.truncate(end - start);
                    same
                };
                let label = match (begins, free) {
                    (true, true) => self.label_of(form, Fit::Free),
                    (true, false) if already == 0 && end - start == form.range.len() => {
                        self.label_of(form, fit)
                    }
                    // Digits keep their places, so that those behind them still decode.
                    (_, false) => same().split_off(already.min(end - start)),
                    (false, true) => Vec::new(),
                };
                out.extend_from_slice(&label);
            }
            progress.left = progress.left.max(end);
            progress.replaced = progress.replaced.max(end);
        }
        if progress.left < upto {
            out.extend_from_slice(text.get(progress.left..upto).unwrap_or_default());
            progress.left = upto;
        }
    }

    fn label_of(&self, form: &FormAt, fit: Fit) -> Vec<u8> {
        self.labels.get(form.secret).map_or_else(
            || vec![b'*'; form.range.len()],
            |label| label.replace(form.spelling, form.range.len(), form.value_len, fit),
        )
    }
}

/// Which bytes any prefix has at each of its places: tells of most short texts that no value can be in them, for less than
/// it takes the automaton to begin.
struct Beginnings([u8; 256]);

/// Texts up to this many bytes are looked at with [`Beginnings`] first.
const SHORT_TEXT: usize = 96;

impl Default for Beginnings {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Beginnings {
    fn add(&mut self, prefix: &[u8; PREFIX_BYTES]) {
        for (at, byte) in prefix.iter().enumerate() {
            if let Some(places) = self.0.get_mut(usize::from(*byte)) {
                *places |= 1 << at;
            }
        }
    }

    /// False only if no prefix is anywhere in `text`.
    fn may_be_in(&self, text: &[u8]) -> bool {
        // Bit `n` says that the last `n + 1` bytes are what prefixes have at their first places.
        let mut matched = 0_u8;
        text.iter().any(|byte| {
            let places = self.0.get(usize::from(*byte)).copied().unwrap_or(u8::MAX);
            matched = (matched << 1 | 1) & places;
            matched & LAST_PLACE != 0
        })
    }
}

/// The bit of a prefix's last byte.
const LAST_PLACE: u8 = 1 << (PREFIX_BYTES - 1);

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
    /// Nothing follows. [`MIN_VALUE_BYTES`] that are at least half of the value are replaced: a truncated echo.
    Ended,
    /// More may follow, but cannot be waited for. Any beginning of [`MIN_VALUE_BYTES`], or of half of the value, is
    /// replaced.
    Stalled,
}

struct Scan {
    /// By start.
    hits: Vec<Hit>,
    /// Beginnings of values that reach the end of the text; of those shorter than [`PREFIX_BYTES`], the shortest value.
    partials: Vec<Hit>,
    /// Where the first beginning of any length that reaches the end of the text starts; else the text's length.
    hold: usize,
}

/// A place where the form with this number is, or where the text breaks off in it.
struct Hit {
    range: Range<usize>,
    form: usize,
}

/// How far a text was rendered.
#[derive(Debug, Default)]
struct Progress {
    /// What is before this place has left.
    left: usize,
    /// The last find that was replaced ends here.
    replaced: usize,
    /// Finds that were replaced; those that overlap count once.
    finds: u32,
}
