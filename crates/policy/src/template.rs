//! Header templates: literal text with `{{ KEY }}` references.

use std::fmt;

use crate::credential::{CredentialKey, CredentialKeyError};
use crate::header_field::validate_header_safe;

/// Longest template in bytes.
const MAX_TEMPLATE_BYTES: usize = 4096;

/// The value of a custom header: literal text with references to credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    Literal(String),
    Key(CredentialKey),
}

impl Template {
    /// Parses `text with {{ KEY }}`; spaces inside the braces are optional.
    ///
    /// # Errors
    /// On an unclosed or malformed reference, on control characters, and over 4096 bytes.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLong);
        }
        validate_header_safe(text.as_bytes())
            .map_err(|unsafe_byte| TemplateError::Unsafe(unsafe_byte.to_string()))?;
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(TemplateError::Unclosed)?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let name = name.trim();
            let key = CredentialKey::parse(name)?;
            pieces.push(Piece::Key(key));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The referenced credentials in order, repetitions included.
    pub fn keys(&self) -> impl Iterator<Item = &CredentialKey> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Key(key) => Some(key),
            Piece::Literal(_) => None,
        })
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// Over 4096 bytes.
    #[error("a header template has at most 4096 bytes")]
    TooLong,
    /// `{{` without `}}`.
    #[error("`{{{{` without `}}}}`")]
    Unclosed,
    /// The reference is not a credential key. What was written is not repeated: it may be a secret in the wrong place.
    #[error("`{{{{ }}}}` holds the name of a stored credential: {0}")]
    Key(#[from] CredentialKeyError),
    /// A byte that no header value may hold.
    #[error("{0}")]
    Unsafe(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        Template::parse(text)
            .unwrap()
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn references() {
        assert_eq!(keys("Token token={{ A }}"), ["A"]);
        assert_eq!(keys("{{A}}{{  B_1}}x{{A }}"), ["A", "B_1", "A"]);
        assert!(keys("no reference, } { single braces }}").is_empty());
    }

    #[test]
    fn refused() {
        let long = "a".repeat(5000);
        for bad in [
            "{{",
            "{{ A",
            "{{}}",
            "{{ a }}",
            "{{ A B }}",
            "{{ {{ A }} }}",
            "a\r\nb",
            "a\0",
            &long,
        ] {
            assert!(Template::parse(bad).is_err(), "{bad:?}");
        }
    }
}
