//! The WebSocket surface: text messages from the client, fragment by fragment.

use std::ops::Deref;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::encode::Encoding;
use super::{Entries, Found, SubstitutionError, Values};
use crate::ruleset::Rule;

impl Rule {
    /// Whether the rule replaces anything in WebSocket messages. Where it does not, frames need no look.
    #[must_use]
    pub fn needs_websocket(&self) -> bool {
        self.surfaces.websocket.is_some()
    }

    /// A rewriter for one connection, with the values of now. Nothing when the rule has no such surface.
    ///
    /// # Errors
    /// When a credential is missing or not UTF-8, which a text message has to be.
    pub fn websocket_rewriter(
        &self,
        values: &dyn Values,
    ) -> Result<Option<WebsocketRewriter>, SubstitutionError> {
        let Some(entries) = &self.surfaces.websocket else {
            return Ok(None);
        };
        let mut replacements = Vec::with_capacity(entries.keys.len());
        for key in &entries.keys {
            let value = values
                .value(key)
                .ok_or_else(|| SubstitutionError::MissingCredential { key: key.clone() })?;
            if std::str::from_utf8(value).is_err() {
                return Err(SubstitutionError::NotText { key: key.clone() });
            }
            replacements.push(Replacement {
                raw: Encoding::Raw.encode(value),
                json: Encoding::JsonMinimal.encode(value),
            });
        }
        Ok(Some(WebsocketRewriter {
            longest: entries
                .placeholders
                .iter()
                .map(|placeholder| placeholder.len())
                .max()
                .unwrap_or(0),
            entries: Arc::clone(entries),
            replacements,
            carry: Vec::new(),
            form: Form::Unknown,
        }))
    }
}

/// Rewrites the payload of one text message after the other. Sans I/O: the caller unmasks, strips the frame, feeds, and frames anew.
///
/// A placeholder that is split across fragments is found: at most its length less one byte is held back until the next fragment.
/// Where the message is JSON (its first character that is not space is `{`, `[` or `"`) values are escaped as in a JSON string.
pub struct WebsocketRewriter {
    entries: Arc<Entries>,
    replacements: Vec<Replacement>,
    longest: usize,
    /// The end of what was fed so far, when it may be the start of a placeholder. Never a secret: it is what the client sent.
    carry: Vec<u8>,
    form: Form,
}

/// A value in both forms, at the position of its placeholder.
struct Replacement {
    raw: Zeroizing<Vec<u8>>,
    json: Zeroizing<Vec<u8>>,
}

/// What the current message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    Json,
    Text,
}

/// What becomes of a fed piece.
#[derive(Debug, PartialEq, Eq)]
pub enum Fed<'c> {
    /// The very bytes that were fed.
    Same(&'c [u8]),
    /// Other bytes.
    Rewritten(Zeroizing<Vec<u8>>),
}

impl Deref for Fed<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Same(bytes) => bytes,
            Self::Rewritten(bytes) => bytes,
        }
    }
}

impl WebsocketRewriter {
    /// Takes the next piece of the current text message and gives back what to send for it. `last` ends the message: nothing is held
    /// back then, and the next piece starts a new one.
    pub fn feed<'c>(&mut self, chunk: &'c [u8], last: bool) -> Fed<'c> {
        if self.form == Form::Unknown {
            self.form = match chunk.iter().find(|b| !b.is_ascii_whitespace()) {
                None => Form::Unknown,
                Some(b'{' | b'[' | b'"') => Form::Json,
                Some(_) => Form::Text,
            };
        }
        let fed = self.rewrite(chunk, last);
        if last {
            self.form = Form::Unknown;
        }
        fed
    }

    /// Bytes held back at this moment.
    #[must_use]
    pub fn held(&self) -> usize {
        self.carry.len()
    }

    fn rewrite<'c>(&mut self, chunk: &'c [u8], last: bool) -> Fed<'c> {
        if self.carry.is_empty() {
            let hold = self.hold_from(chunk, 0, last);
            if hold == chunk.len() && self.entries.finder.next(chunk, 0).is_none() {
                return Fed::Same(chunk);
            }
            return Fed::Rewritten(self.replace(chunk, last));
        }
        let mut joined = std::mem::take(&mut self.carry);
        joined.extend_from_slice(chunk);
        Fed::Rewritten(self.replace(&joined, last))
    }

    /// Replaces what is certain in `input` and carries the rest.
    fn replace(&mut self, input: &[u8], last: bool) -> Zeroizing<Vec<u8>> {
        let (found, hold) = self.certain(input, last);
        let mut length = hold;
        for found in &found {
            length = length
                .saturating_sub(found.end.saturating_sub(found.start))
                .saturating_add(self.replacement(*found).len());
        }
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        let mut done = 0;
        for found in found {
            out.extend_from_slice(input.get(done..found.start).unwrap_or_default());
            out.extend_from_slice(self.replacement(found));
            done = found.end;
        }
        out.extend_from_slice(input.get(done..hold).unwrap_or_default());
        self.carry = input.get(hold..).unwrap_or_default().to_vec();
        out
    }

    /// The occurrences that no later byte can change, and where the part begins that later bytes may still complete.
    fn certain(&self, input: &[u8], last: bool) -> (Vec<Found>, usize) {
        let mut certain = Vec::new();
        let mut from = 0;
        let mut hold = self.hold_from(input, from, last);
        while let Some(found) = self.entries.finder.next(input, from) {
            if found.start >= hold {
                break;
            }
            certain.push(found);
            from = found.end;
            if hold < from {
                hold = self.hold_from(input, from, last);
            }
        }
        (certain, hold)
    }

    /// The first position at or after `from` whose rest is the proper start of a placeholder; the end of the input when there is none.
    fn hold_from(&self, input: &[u8], from: usize, last: bool) -> usize {
        if last {
            return input.len();
        }
        let mut position = from.max(input.len().saturating_sub(self.longest.saturating_sub(1)));
        while let Some(rest) = input.get(position..).filter(|rest| !rest.is_empty()) {
            let starts = |placeholder: &[u8]| {
                placeholder.len() > rest.len() && placeholder.starts_with(rest)
            };
            if self
                .entries
                .placeholders
                .iter()
                .any(|placeholder| starts(placeholder))
            {
                return position;
            }
            position = position.saturating_add(1);
        }
        input.len()
    }

    fn replacement(&self, found: Found) -> &[u8] {
        self.replacements
            .get(found.pattern)
            .map_or(&[], |replacement| match self.form {
                Form::Json => &replacement.json,
                Form::Text | Form::Unknown => &replacement.raw,
            })
    }
}

impl std::fmt::Debug for WebsocketRewriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebsocketRewriter")
            .field("form", &self.form)
            .field("held", &self.carry.len())
            .finish_non_exhaustive()
    }
}
