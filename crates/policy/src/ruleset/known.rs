//! The placeholders that a vault is known by, to notice one that leaves for an upstream as it is.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};

use super::RuleSet;
use crate::credential::CredentialKey;
use crate::leftover::{CONVERSATION, LeftoverWatch, Leftovers, note_in_head};
use crate::service::Service;
use crate::surface::{Finder, basic_credentials};

/// All placeholders that stand for a credential of the vault, and one search for them. One that only selects a rule stands for none and
/// is to leave as it is.
#[derive(Debug)]
pub(crate) struct Known {
    placeholders: Finder,
    /// The same, and behind them what marks a conversation with a model.
    with_marks: Finder,
    /// The credential of each pattern. A placeholder has a second pattern where a form would spell it otherwise.
    keys: Vec<CredentialKey>,
    /// Of the placeholders, in bytes.
    shortest: usize,
    /// Of all patterns, in bytes.
    longest: usize,
}

impl Known {
    /// Nothing when the vault has none.
    pub(super) fn collect(
        services: &[Service],
        own_placeholders: &BTreeMap<CredentialKey, String>,
    ) -> Option<Self> {
        let mut known: BTreeMap<String, CredentialKey> = BTreeMap::new();
        let substituted = services
            .iter()
            .flat_map(|service| &service.substitutions)
            .map(|s| (s.placeholder.as_str(), &s.key));
        let own = own_placeholders
            .iter()
            .map(|(key, text)| (text.as_str(), key));
        for (text, key) in own.chain(substituted) {
            // Of the characters that a placeholder may have, browsers' and Node's encoders of forms escape this one.
            for spelt in [text.to_owned(), text.replace('~', "%7E")] {
                known.entry(spelt).or_insert_with(|| key.clone());
            }
        }
        let (texts, keys): (Vec<String>, Vec<CredentialKey>) = known.into_iter().unzip();
        let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let placeholders = Finder::build(&texts)?;
        let shortest = texts.iter().map(|text| text.len()).min().unwrap_or(0);
        texts.extend(CONVERSATION);
        Some(Self {
            placeholders,
            with_marks: Finder::build(&texts)?,
            keys,
            shortest,
            longest: texts.iter().map(|text| text.len()).max().unwrap_or(0),
        })
    }

    /// What searches for the placeholders, and for the marks of a conversation where it is not yet known to be one.
    pub(crate) fn finder(&self, with_marks: bool) -> &Finder {
        if with_marks {
            &self.with_marks
        } else {
            &self.placeholders
        }
    }

    /// The credential that a pattern stands for; nothing for a mark.
    pub(crate) fn key(&self, pattern: usize) -> Option<&CredentialKey> {
        self.keys.get(pattern)
    }

    /// Length of the longest pattern in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    fn note_all(&self, text: &[u8], found: &mut Leftovers) {
        if text.len() < self.shortest {
            return;
        }
        let mut from = 0;
        while let Some(hit) = self.placeholders.next(text, from) {
            from = hit.end;
            if let Some(key) = self.key(hit.pattern) {
                note_in_head(found, key);
            }
        }
    }

    fn note_fields(&self, fields: &HeaderMap, found: &mut Leftovers) {
        for value in fields.values() {
            self.note_all(value.as_bytes(), found);
            if let Some(inside) = basic_credentials(value.as_bytes()) {
                self.note_all(&inside, found);
            }
        }
    }
}

impl RuleSet {
    /// Whether the vault has any placeholder at all; where not, there is nothing to look for.
    #[must_use]
    pub fn knows_placeholders(&self) -> bool {
        self.known.is_some()
    }

    /// The placeholders of this vault in a target and in header values, inside Basic credentials too. To be asked about the request as
    /// it goes out: what is found there leaves unreplaced. Allocates nothing where nothing is found.
    #[must_use]
    pub fn leftovers_in_head(&self, target: &str, headers: &HeaderMap) -> Leftovers {
        let mut found = Leftovers::default();
        if let Some(known) = &self.known {
            known.note_all(target.as_bytes(), &mut found);
            known.note_fields(headers, &mut found);
        }
        found
    }

    /// A watch for a body of this type, or for the messages of a WebSocket, as they go out: what it finds leaves unreplaced. Nothing
    /// when the vault has no placeholder.
    #[must_use]
    pub fn watch(&self, content_type: Option<&HeaderValue>) -> Option<LeftoverWatch> {
        Some(LeftoverWatch::of(self.known.as_ref()?, content_type))
    }
}

impl LeftoverWatch {
    /// The placeholders in the trailers of the body.
    #[must_use]
    pub fn leftovers_in_trailers(&self, trailers: &HeaderMap) -> Leftovers {
        let mut found = Leftovers::default();
        self.known().note_fields(trailers, &mut found);
        found
    }
}
