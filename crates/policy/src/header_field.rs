//! Names and values of injected header fields: what may be set towards an upstream, checked when a rule or a value is written.

use std::fmt;

use http::HeaderName;

/// Longest name in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Fields that the proxy computes or consumes itself. A rule that set one could change where a message ends or where it goes.
const RESERVED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-vault",
];

/// The name of an injected field: comparable without case, shown as it was written.
#[derive(Clone)]
pub struct HeaderField {
    name: HeaderName,
    written: Box<str>,
}

impl HeaderField {
    /// Checks the form (`[A-Za-z0-9-]+`) and refuses fields that belong to the message's framing or routing.
    ///
    /// # Errors
    /// On another form, and on hop-by-hop fields, `Host`, `Content-Length`, `Expect`, `Proxy-*` and the like.
    pub fn parse(text: &str) -> Result<Self, HeaderFieldError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(HeaderFieldError::Form);
        }
        Self::parse_token(text)
    }

    /// Like [`HeaderField::parse`], but takes every HTTP token (RFC 9110 section 5.6.2), so `api_key` too.
    ///
    /// # Errors
    /// As [`HeaderField::parse`].
    pub fn parse_token(text: &str) -> Result<Self, HeaderFieldError> {
        if text.len() > MAX_NAME_BYTES {
            return Err(HeaderFieldError::TooLong);
        }
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| HeaderFieldError::Form)?;
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
            return Err(HeaderFieldError::Reserved(text.to_owned()));
        }
        Ok(Self {
            name,
            written: Box::from(text),
        })
    }

    /// `Authorization`.
    #[must_use]
    pub fn authorization() -> Self {
        Self {
            name: http::header::AUTHORIZATION,
            written: Box::from("Authorization"),
        }
    }

    /// The name for comparisons and for sending.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.written
    }
}

impl PartialEq for HeaderField {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for HeaderField {}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// Why a text cannot name an injected field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFieldError {
    /// Not `[A-Za-z0-9-]+`.
    #[error("a header name consists of letters, digits and hyphens")]
    Form,
    /// Over 128 bytes.
    #[error("a header name has at most 128 characters")]
    TooLong,
    /// Framing, routing or proxy fields.
    #[error("`{0}` is set by the proxy itself and cannot be injected")]
    Reserved(String),
}

/// Checks that a value can stand in a header (RFC 9110 section 5.5): no control byte except tab.
///
/// # Errors
/// Names what is wrong in words that say nothing about the rest of the value.
pub fn validate_header_safe(value: &[u8]) -> Result<(), HeaderUnsafe> {
    let bad = value
        .iter()
        .position(|&b| (b < 0x20 && b != b'\t') || b == 0x7f);
    let Some(position) = bad else {
        return Ok(());
    };
    let tail = value.get(position..).unwrap_or_default();
    let only_line_ends = tail.iter().all(|&b| b == b'\r' || b == b'\n');
    Err(match value.get(position) {
        Some(b'\r' | b'\n') if only_line_ends => HeaderUnsafe::TrailingLineBreak,
        Some(b'\r' | b'\n') => HeaderUnsafe::LineBreak,
        Some(0) => HeaderUnsafe::Nul,
        _ => HeaderUnsafe::Control,
    })
}

/// Why a value cannot stand in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderUnsafe {
    /// Ends in CR or LF, as files and `echo` leave it.
    #[error(
        "the value ends with a line break, which a header cannot carry; store it without (for example with `printf %s` instead of `echo`)"
    )]
    TrailingLineBreak,
    /// CR or LF inside.
    #[error("the value contains a line break, which a header cannot carry")]
    LineBreak,
    /// A zero byte.
    #[error("the value contains a NUL byte, which a header cannot carry")]
    Nul,
    /// Another control byte.
    #[error("the value contains a control character, which a header cannot carry")]
    Control,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["Authorization", "x-api-key", "Cookie", "DD-API-KEY"] {
            assert_eq!(HeaderField::parse(good).unwrap().as_written(), good);
        }
        for bad in [
            "",
            "a b",
            "a_b",
            "a:b",
            "a\r\nb",
            "ä",
            "Host",
            "content-length",
            "Transfer-Encoding",
            "CONNECTION",
            "Upgrade",
            "Te",
            "Trailer",
            "Proxy-Authorization",
            "proxy-x",
            "Keep-Alive",
            &"a".repeat(129),
        ] {
            assert!(HeaderField::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values() {
        assert_eq!(validate_header_safe(b"abc\tdef \xff"), Ok(()));
        assert_eq!(validate_header_safe(b""), Ok(()));
        assert_eq!(
            validate_header_safe(b"abc\n"),
            Err(HeaderUnsafe::TrailingLineBreak)
        );
        assert_eq!(
            validate_header_safe(b"abc\r\n"),
            Err(HeaderUnsafe::TrailingLineBreak)
        );
        assert_eq!(
            validate_header_safe(b"a\nb\n"),
            Err(HeaderUnsafe::LineBreak)
        );
        assert_eq!(validate_header_safe(b"a\0b"), Err(HeaderUnsafe::Nul));
        assert_eq!(validate_header_safe(b"a\x7f"), Err(HeaderUnsafe::Control));
    }
}
