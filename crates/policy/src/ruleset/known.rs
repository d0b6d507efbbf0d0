//! The placeholders that a vault is known by, to notice one that leaves for an upstream as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;

use super::RuleSet;
use crate::credential::CredentialKey;
use crate::service::Service;
use crate::surface::{BodyWatch, Finder, basic_credentials};

/// A placeholder that some rule or credential of the vault is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPlaceholder {
    /// The text.
    pub text: String,
    /// The credential that it stands for, unless it only selects a rule.
    pub key: Option<CredentialKey>,
    /// The services that replace it or are chosen by it, in stored order.
    pub services: Vec<String>,
}

/// All of a vault's, and one search for them.
#[derive(Debug)]
pub(crate) struct Known {
    finder: Finder,
    placeholders: Vec<KnownPlaceholder>,
    /// Position in `placeholders` by the finder's pattern. A placeholder has a second pattern where a form would spell it otherwise.
    by_pattern: Vec<usize>,
    shortest: usize,
    longest: usize,
}

impl Known {
    /// Nothing when the vault has none.
    pub(super) fn collect(
        services: &[Service],
        own_placeholders: &BTreeMap<CredentialKey, String>,
    ) -> Option<Self> {
        let placeholders = collect(services, own_placeholders);
        let plain = placeholders.iter().map(|known| known.text.clone());
        // Of the characters that a placeholder may have, browsers' and Node's encoders of forms escape this one.
        let escaped = placeholders
            .iter()
            .enumerate()
            .filter(|(_, known)| known.text.contains('~'))
            .map(|(position, known)| (position, known.text.replace('~', "%7E")));
        let (by_pattern, texts): (Vec<usize>, Vec<String>) =
            plain.enumerate().chain(escaped).unzip();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Some(Self {
            finder: Finder::build(&texts)?,
            shortest: texts.iter().map(|text| text.len()).min().unwrap_or(0),
            longest: texts.iter().map(|text| text.len()).max().unwrap_or(0),
            placeholders,
            by_pattern,
        })
    }

    pub(crate) fn finder(&self) -> &Finder {
        &self.finder
    }

    /// The placeholder of one of the finder's patterns.
    pub(crate) fn of_pattern(&self, pattern: usize) -> Option<&KnownPlaceholder> {
        self.placeholders.get(*self.by_pattern.get(pattern)?)
    }

    /// Length of the longest pattern in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    fn first_in(&self, text: &[u8]) -> Option<&KnownPlaceholder> {
        if text.len() < self.shortest {
            return None;
        }
        self.of_pattern(self.finder.first(text)?)
    }
}

impl RuleSet {
    /// Whether the vault has any placeholder at all; where not, there is nothing to look for.
    #[must_use]
    pub fn knows_placeholders(&self) -> bool {
        self.known.is_some()
    }

    /// The first placeholder of this vault in a target or in header values, inside Basic credentials too. To be asked about the request
    /// as it goes out: what is found there leaves unreplaced.
    #[must_use]
    pub fn unreplaced_in(&self, target: &str, headers: &HeaderMap) -> Option<&KnownPlaceholder> {
        if !self.knows_placeholders() {
            return None;
        }
        self.known_placeholder_in(target.as_bytes()).or_else(|| {
            headers.values().find_map(|value| {
                self.known_placeholder_in(value.as_bytes())
                    .or_else(|| self.known_placeholder_in(&basic_credentials(value.as_bytes())?))
            })
        })
    }

    /// A watch for the body that follows a head with these fields, as it goes out: what it finds leaves unreplaced. Nothing when there
    /// is nothing to look for, or when it is a body that cannot be looked into or whose type says nothing of values.
    #[must_use]
    pub fn watch_body(&self, headers: &HeaderMap) -> Option<BodyWatch> {
        BodyWatch::of(self.known.as_ref()?, headers)
    }

    /// The first placeholder of this vault in the text. For telling people about one that leaves for an upstream unreplaced.
    #[must_use]
    pub fn known_placeholder_in(&self, text: &[u8]) -> Option<&KnownPlaceholder> {
        self.known.as_ref().map(Arc::as_ref)?.first_in(text)
    }
}

fn collect(
    services: &[Service],
    own_placeholders: &BTreeMap<CredentialKey, String>,
) -> Vec<KnownPlaceholder> {
    let mut known: BTreeMap<&str, KnownPlaceholder> = BTreeMap::new();
    for (key, text) in own_placeholders {
        known.entry(text).or_insert_with(|| KnownPlaceholder {
            text: text.clone(),
            key: Some(key.clone()),
            services: Vec::new(),
        });
    }
    for service in services {
        let substitutions = service
            .substitutions
            .iter()
            .map(|s| (s.placeholder.as_str(), Some(&s.key)));
        let selecting = service
            .select
            .placeholder
            .iter()
            .map(|text| (text.as_str(), None));
        for (text, key) in substitutions.chain(selecting) {
            let entry = known.entry(text).or_insert_with(|| KnownPlaceholder {
                text: text.to_owned(),
                key: None,
                services: Vec::new(),
            });
            if entry.key.is_none() {
                entry.key = key.cloned();
            }
            let name = service.name.to_string();
            if entry.services.last() != Some(&name) {
                entry.services.push(name);
            }
        }
    }
    known.into_values().collect()
}
