//! Putting values into a request: injected fields, and placeholders replaced on the surfaces that a rule names.
//!
//! One rule holds everywhere: each surface is passed over once, on the original input, with all placeholders of the rule at the same
//! time (leftmost, then longest). A value is never searched for placeholders, and where nothing occurs nothing is allocated.

mod body;
mod encode;
mod header;
mod multipart;
mod target;
mod websocket;

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use http::HeaderName;
use zeroize::Zeroizing;

pub(crate) use body::MediaType;
use encode::Encoding;
pub(crate) use header::{basic_credentials, injected_names};
pub use websocket::{Fed, WebsocketRewriter};

use crate::credential::CredentialKey;
use crate::header_field::HeaderUnsafe;
use crate::service::{Substitution, Surface};

/// Largest result of one replacement in bytes. Bounds what a short placeholder repeated for a long value can cost.
pub const MAX_REWRITTEN_BYTES: usize = 128 * 1024 * 1024;

/// Where the values of credentials come from, for the length of one call.
pub trait Values {
    /// The current value, or nothing when the vault has none.
    fn value(&self, key: &CredentialKey) -> Option<&[u8]>;
}

/// Why a value could not be put in. Never contains a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubstitutionError {
    /// The vault lacks the credential.
    #[error("the credential `{key}` is not in the vault")]
    MissingCredential {
        /// Its key.
        key: CredentialKey,
    },
    /// The value cannot stand in a header.
    #[error("the credential `{key}` cannot be sent in the header `{header}`: {reason}")]
    UnsafeHeader {
        /// The credential.
        key: CredentialKey,
        /// The field.
        header: String,
        /// What is wrong with the value.
        reason: HeaderUnsafe,
    },
    /// The value is empty, `.` or `..`: as a path segment it would lead to another path than the rule matched.
    #[error(
        "the credential `{key}` cannot be sent as a path segment: its value is empty or a dot segment"
    )]
    UnsafePath {
        /// The credential.
        key: CredentialKey,
    },
    /// A placeholder inside a malformed percent-escape.
    #[error("the path does not decode after replacing a placeholder")]
    PathEscape,
    /// Over [`MAX_REWRITTEN_BYTES`].
    #[error("the request would exceed {} MiB after replacing placeholders", MAX_REWRITTEN_BYTES / (1024 * 1024))]
    TooLarge,
    /// A WebSocket text message must be UTF-8 (RFC 6455 section 5.6).
    #[error("the credential `{key}` is not text, so it cannot be sent in a WebSocket text message")]
    NotText {
        /// The credential.
        key: CredentialKey,
    },
    /// With the value put in, the boundary of the multipart body would occur once more.
    #[error("a replaced placeholder would add a boundary to the multipart body")]
    Boundary,
}

impl SubstitutionError {
    /// The stable code for answers and the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingCredential { .. } => "credential_not_found",
            _ => "substitution_error",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::MissingCredential { key } => {
                format!("store it with `agent-vault vault credential set {key}`")
            }
            Self::UnsafeHeader { key, .. } | Self::UnsafePath { key } | Self::NotText { key } => {
                format!("store `{key}` again without what is named here")
            }
            Self::PathEscape => "keep placeholders apart from percent-escapes".to_owned(),
            Self::TooLarge => "send the placeholder fewer times".to_owned(),
            Self::Boundary => "let the client choose another boundary".to_owned(),
        }
    }

    /// The credential concerned.
    #[must_use]
    pub fn key(&self) -> Option<&CredentialKey> {
        match self {
            Self::MissingCredential { key }
            | Self::UnsafeHeader { key, .. }
            | Self::UnsafePath { key }
            | Self::NotText { key } => Some(key),
            Self::PathEscape | Self::TooLarge | Self::Boundary => None,
        }
    }
}

/// Searches for several texts at once.
#[derive(Debug)]
pub(crate) struct Finder {
    automaton: AhoCorasick,
}

/// One occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) pattern: usize,
}

impl Finder {
    /// Nothing when there is nothing to search for. Empty texts are left out by never being valid placeholders.
    pub(crate) fn build(texts: &[&str]) -> Option<Self> {
        if texts.is_empty() {
            return None;
        }
        // Fails only past 2^31 states; a vault's placeholders are bounded far below (services x substitutions x bytes each). Without
        // an automaton nothing would be replaced, which is the safe side.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(texts)
            .ok()?;
        Some(Self { automaton })
    }

    /// The pattern that occurs first.
    pub(crate) fn first(&self, text: &[u8]) -> Option<usize> {
        self.next(text, 0).map(|found| found.pattern)
    }

    /// The first occurrence at or after `from`.
    pub(crate) fn next(&self, text: &[u8], from: usize) -> Option<Found> {
        let rest = text.get(from..)?;
        let found = self.automaton.find(rest)?;
        Some(Found {
            start: found.start().saturating_add(from),
            end: found.end().saturating_add(from),
            pattern: found.pattern().as_usize(),
        })
    }
}

/// Refuses values that a place cannot carry.
type Check<'c> = dyn Fn(&CredentialKey, &[u8]) -> Result<(), SubstitutionError> + 'c;

/// The placeholders of one surface.
#[derive(Debug)]
pub(crate) struct Entries {
    finder: Finder,
    keys: Vec<CredentialKey>,
    placeholders: Vec<Box<[u8]>>,
}

impl Entries {
    fn compile(chosen: &[&Substitution]) -> Option<Self> {
        let texts: Vec<&str> = chosen
            .iter()
            .map(|substitution| substitution.placeholder.as_str())
            .collect();
        Some(Self {
            finder: Finder::build(&texts)?,
            keys: chosen
                .iter()
                .map(|substitution| substitution.key.clone())
                .collect(),
            placeholders: texts
                .iter()
                .map(|text| Box::from(text.as_bytes()))
                .collect(),
        })
    }

    /// One pass over the original input. Nothing when no placeholder occurs.
    fn replace(
        &self,
        input: &[u8],
        encoding: Encoding,
        values: &dyn Values,
        check: &Check<'_>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SubstitutionError> {
        let Some(first) = self.finder.next(input, 0) else {
            return Ok(None);
        };
        let mut encoded = Encoded::new(self);
        // The length is known before the buffer exists, so that no partial copy is left behind by growing.
        let mut length = input.len();
        for found in self.matches_from(input, first) {
            let value = encoded.get(found.pattern, encoding, values, check)?;
            length = length
                .saturating_sub(found.end.saturating_sub(found.start))
                .saturating_add(value.len());
            if length > MAX_REWRITTEN_BYTES.max(input.len()) {
                return Err(SubstitutionError::TooLarge);
            }
        }
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        let mut done = 0;
        for found in self.matches_from(input, first) {
            out.extend_from_slice(input.get(done..found.start).unwrap_or_default());
            out.extend_from_slice(encoded.get(found.pattern, encoding, values, check)?);
            done = found.end;
        }
        out.extend_from_slice(input.get(done..).unwrap_or_default());
        Ok(Some(out))
    }

    fn matches_from<'t>(
        &'t self,
        input: &'t [u8],
        first: Found,
    ) -> impl Iterator<Item = Found> + 't {
        std::iter::successors(Some(first), move |found| self.finder.next(input, found.end))
    }
}

/// Values of one pass, encoded once each.
struct Encoded<'e> {
    entries: &'e Entries,
    cache: Vec<Option<Zeroizing<Vec<u8>>>>,
}

impl<'e> Encoded<'e> {
    fn new(entries: &'e Entries) -> Self {
        Self {
            entries,
            cache: entries.keys.iter().map(|_| None).collect(),
        }
    }

    fn get(
        &mut self,
        pattern: usize,
        encoding: Encoding,
        values: &dyn Values,
        check: &Check<'_>,
    ) -> Result<&[u8], SubstitutionError> {
        // A pattern number comes from the finder of the same entries, so both look-ups succeed.
        let (Some(key), Some(slot)) = (self.entries.keys.get(pattern), self.cache.get_mut(pattern))
        else {
            return Ok(&[]);
        };
        let encoded = match slot.take() {
            Some(encoded) => encoded,
            None => {
                let value = values
                    .value(key)
                    .ok_or_else(|| SubstitutionError::MissingCredential { key: key.clone() })?;
                check(key, value)?;
                encoding.encode(value)
            }
        };
        Ok(slot.insert(encoded))
    }
}

/// No check beyond what the encoding does.
fn unchecked(_: &CredentialKey, _: &[u8]) -> Result<(), SubstitutionError> {
    Ok(())
}

/// All surfaces of a rule, compiled. Surfaces with the same placeholders share one automaton.
#[derive(Debug)]
pub(crate) struct RuleSurfaces {
    path: Option<Arc<Entries>>,
    query: Option<Arc<Entries>>,
    body: Option<Arc<Entries>>,
    websocket: Option<Arc<Entries>>,
    /// Entries that hold for every field.
    any_header: Option<Arc<Entries>>,
    /// Entries for fields that some substitution names, those that hold for every field included.
    named_headers: Vec<(HeaderName, Arc<Entries>)>,
}

impl RuleSurfaces {
    pub(crate) fn compile(substitutions: &[Substitution]) -> Self {
        let mut shared = Shared {
            substitutions,
            compiled: Vec::new(),
        };
        let on_header = |s: &Substitution| s.surfaces.contains(Surface::Header);
        let mut named_headers: Vec<(HeaderName, Arc<Entries>)> = Vec::new();
        for field in substitutions
            .iter()
            .filter(|s| on_header(s))
            .flat_map(|s| &s.headers)
        {
            if named_headers.iter().any(|(name, _)| name == field.name()) {
                continue;
            }
            let entries = shared
                .entries(|s| on_header(s) && (s.headers.is_empty() || s.headers.contains(field)));
            named_headers.extend(entries.map(|entries| (field.name().clone(), entries)));
        }
        Self {
            path: shared.entries(|s| s.surfaces.contains(Surface::Path)),
            query: shared.entries(|s| s.surfaces.contains(Surface::Query)),
            body: shared.entries(|s| s.surfaces.contains(Surface::Body)),
            websocket: shared.entries(|s| s.surfaces.contains(Surface::Websocket)),
            any_header: shared.entries(|s| on_header(s) && s.headers.is_empty()),
            named_headers,
        }
    }

    pub(crate) fn on_path(&self) -> bool {
        self.path.is_some()
    }
}

/// Entries by the substitutions that they are made of.
struct Shared<'s> {
    substitutions: &'s [Substitution],
    compiled: Vec<(Vec<usize>, Arc<Entries>)>,
}

impl Shared<'_> {
    fn entries(&mut self, keep: impl Fn(&Substitution) -> bool) -> Option<Arc<Entries>> {
        let chosen: Vec<(usize, &Substitution)> = self
            .substitutions
            .iter()
            .enumerate()
            .filter(|(_, substitution)| keep(substitution))
            .collect();
        let (positions, chosen): (Vec<usize>, Vec<&Substitution>) = chosen.into_iter().unzip();
        if let Some((_, entries)) = self.compiled.iter().find(|(known, _)| *known == positions) {
            return Some(Arc::clone(entries));
        }
        let entries = Arc::new(Entries::compile(&chosen)?);
        self.compiled.push((positions, Arc::clone(&entries)));
        Some(entries)
    }
}
