//! Names that people give to vaults, agents and services.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::glob::PathGlob;
use crate::host_pattern::HostPattern;

const MIN_BYTES: usize = 3;
const MAX_BYTES: usize = 64;

/// A name: 3 to 64 of `[a-z0-9-]`, no hyphen at an edge, no two in a row.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slug(Arc<str>);

impl Slug {
    /// Checks the form.
    ///
    /// # Errors
    /// When the text is not a slug.
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        if text.len() < MIN_BYTES || text.len() > MAX_BYTES {
            return Err(SlugError::Length);
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(SlugError::Character);
        }
        if text.starts_with('-') || text.ends_with('-') || text.contains("--") {
            return Err(SlugError::Hyphen);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        Self::parse(text)
    }
}

impl Borrow<str> for Slug {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlugError {
    /// Not 3 to 64 characters.
    #[error("a name has 3 to 64 characters")]
    Length,
    /// Something else than `[a-z0-9-]`.
    #[error("a name consists of lower-case letters, digits and hyphens")]
    Character,
    /// A hyphen at an edge, or two in a row.
    #[error("a name neither starts nor ends with a hyphen, nor has two in a row")]
    Hyphen,
}

/// Makes a name for a rule without one: from host, port and path, unlike every name in `taken`.
#[must_use]
pub fn slug_from(
    host: &HostPattern,
    port: Option<u16>,
    path: Option<&PathGlob>,
    taken: &HashSet<Slug>,
) -> Slug {
    let mut text = host.to_string();
    if let Some(port) = port {
        text.push('-');
        text.push_str(&port.to_string());
    }
    if let Some(path) = path {
        text.push_str(path.as_str());
    }
    let base = squeeze(&text);
    let mut number = 1u64;
    loop {
        let candidate = if number == 1 {
            base.clone()
        } else {
            numbered(&base, number)
        };
        let slug = Slug(Arc::from(candidate));
        if !taken.contains(&slug) {
            return slug;
        }
        number = number.saturating_add(1);
    }
}

/// Lower-cases, turns every other character into a hyphen, collapses, trims, and makes the length fit.
fn squeeze(text: &str) -> String {
    let mut base = String::with_capacity(MAX_BYTES);
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        };
        if c == '-' && (base.is_empty() || base.ends_with('-')) {
            continue;
        }
        if base.len() == MAX_BYTES {
            break;
        }
        base.push(c);
    }
    base.truncate(base.trim_end_matches('-').len());
    match base.len() {
        0 => "svc".to_owned(),
        1 | 2 => format!("{base}-svc"),
        _ => base,
    }
}

fn numbered(base: &str, number: u64) -> String {
    let suffix = format!("-{number}");
    let room = MAX_BYTES.saturating_sub(suffix.len());
    let head: String = base.chars().take(room).collect();
    format!("{}{suffix}", head.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form() {
        for good in ["abc", "a-b", "a1b2", &"a".repeat(64)] {
            assert!(Slug::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            "a--b",
            "a b",
            &"a".repeat(65),
        ] {
            assert!(Slug::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn squeezes_and_numbers() {
        assert_eq!(squeeze("*.Example.com/v1/*"), "example-com-v1");
        assert_eq!(squeeze("***"), "svc");
        assert_eq!(squeeze("a"), "a-svc");
        let long = "a".repeat(80);
        assert_eq!(squeeze(&long).len(), 64);
        assert_eq!(
            numbered(&squeeze(&long), 12),
            format!("{}-12", "a".repeat(61))
        );
        assert_eq!(numbered("abc", 2), "abc-2");
    }

    #[test]
    fn avoids_taken() {
        let host = HostPattern::parse("api.example.com", false).unwrap();
        let mut taken = HashSet::new();
        for expected in ["api-example-com", "api-example-com-2", "api-example-com-3"] {
            let slug = slug_from(&host, None, None, &taken);
            assert_eq!(slug.as_str(), expected);
            assert!(Slug::parse(slug.as_str()).is_ok());
            taken.insert(slug);
        }
        assert_eq!(
            slug_from(&host, Some(8443), None, &taken).as_str(),
            "api-example-com-8443"
        );
    }
}
