//! The body surface.

use zeroize::Zeroizing;

use super::encode::Encoding;
use super::multipart;
use super::{SubstitutionError, Values, unchecked};
use crate::ruleset::Rule;

impl Rule {
    /// Whether the rule replaces anything in bodies, whatever their type.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.surfaces.body.is_some()
    }

    /// Whether a body of this kind has to be read whole before it is sent. Bodies that cannot be looked into stream through untouched:
    /// see [`Rule::body_obstacle`].
    #[must_use]
    pub fn needs_body_of(
        &self,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> bool {
        self.needs_body() && self.body_obstacle(content_type, content_encoding).is_none()
    }

    /// Why placeholders in a body of this kind go out as they are although the rule names the body: it is compressed, or its messages
    /// carry their lengths, as those of gRPC do. For telling people.
    #[must_use]
    pub fn body_obstacle(
        &self,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Option<&'static str> {
        if !self.needs_body() {
            return None;
        }
        if !is_uncompressed(content_encoding.unwrap_or_default()) {
            return Some("the request body is compressed");
        }
        match MediaType::parse(content_type) {
            MediaType::Framed => Some("the request body is a stream of messages with lengths"),
            MediaType::Multipart { boundary: None } => Some("the multipart body names no boundary"),
            _ => None,
        }
    }

    /// Replaces placeholders in a whole, uncompressed body, each value encoded for the type. Nothing when the body stays as it is.
    ///
    /// # Errors
    /// When a credential is missing, the result is too large, or a value contains the boundary of a multipart body.
    pub fn rewrite_body(
        &self,
        content_type: Option<&str>,
        body: &[u8],
        values: &dyn Values,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SubstitutionError> {
        let Some(entries) = &self.surfaces.body else {
            return Ok(None);
        };
        match MediaType::parse(content_type) {
            MediaType::Form => entries.replace(body, Encoding::Form, values, &unchecked),
            MediaType::Json => entries.replace(body, Encoding::Json, values, &unchecked),
            MediaType::Multipart {
                boundary: Some(boundary),
            } => multipart::rewrite(entries, &boundary, body, values),
            MediaType::Multipart { boundary: None } | MediaType::Framed => Ok(None),
            MediaType::Text | MediaType::Other => {
                entries.replace(body, Encoding::Raw, values, &unchecked)
            }
        }
    }
}

/// Whether a `Content-Encoding` leaves the body readable.
fn is_uncompressed(content_encoding: &str) -> bool {
    content_encoding
        .split(',')
        .map(str::trim)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
}

/// What a body's type means for replacing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MediaType {
    Form,
    Json,
    Multipart {
        boundary: Option<Vec<u8>>,
    },
    /// Messages with lengths in front: gRPC.
    Framed,
    Text,
    Other,
}

impl MediaType {
    /// Parses leniently: what cannot be parsed counts as other.
    pub(crate) fn parse(content_type: Option<&str>) -> Self {
        let Some(text) = content_type else {
            return Self::Other;
        };
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim().to_ascii_lowercase();
        let Some((kind, subtype)) = essence.split_once('/') else {
            return Self::Other;
        };
        match (kind, subtype) {
            ("application", "x-www-form-urlencoded") => Self::Form,
            ("application", "json") => Self::Json,
            ("application", "grpc") => Self::Framed,
            ("application", subtype)
                if ["grpc+", "grpc-", "connect+"]
                    .iter()
                    .any(|framed| subtype.starts_with(framed)) =>
            {
                Self::Framed
            }
            ("application", "ndjson" | "x-ndjson" | "jsonl" | "jsonlines" | "json-seq")
            | ("text", "json") => Self::Json,
            ("application", subtype) if subtype.ends_with("+json") => Self::Json,
            ("multipart", _) => Self::Multipart {
                boundary: boundary(parameters),
            },
            ("text", _) => Self::Text,
            _ => Self::Other,
        }
    }
}

/// The `boundary` parameter (RFC 2046 section 5.1.1), quoted or not.
fn boundary(parameters: &str) -> Option<Vec<u8>> {
    let mut rest = parameters.trim_start_matches([' ', '\t', ';']);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = parameter_value(after)?;
        if name.trim().eq_ignore_ascii_case("boundary") {
            let fits = !value.is_empty()
                && value.len() <= 70
                && value.iter().all(|b| (0x20..0x7f).contains(b))
                && value.last() != Some(&b' ');
            return fits.then_some(value);
        }
        rest = after.trim_start_matches([' ', '\t', ';']);
    }
    None
}

/// A token or a quoted string, and what stands behind it.
pub(super) fn parameter_value(text: &str) -> Option<(Vec<u8>, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return Some((value.trim_end().as_bytes().to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut escaped = false;
    for (index, b) in quoted.bytes().enumerate() {
        match b {
            _ if escaped => {
                value.push(b);
                escaped = false;
            }
            b'\\' => escaped = true,
            b'"' => {
                return Some((
                    value,
                    quoted.get(index.saturating_add(1)..).unwrap_or_default(),
                ));
            }
            _ => value.push(b),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        let multipart = |boundary: Option<&str>| MediaType::Multipart {
            boundary: boundary.map(|b| b.as_bytes().to_vec()),
        };
        for (text, expected) in [
            ("application/json", MediaType::Json),
            ("Application/JSON; charset=utf-8", MediaType::Json),
            ("application/vnd.api+json", MediaType::Json),
            (
                "application/x-www-form-urlencoded;charset=utf-8",
                MediaType::Form,
            ),
            ("application/grpc", MediaType::Framed),
            ("application/grpc+proto", MediaType::Framed),
            ("application/grpc-web-text", MediaType::Framed),
            ("application/connect+json", MediaType::Framed),
            ("application/x-ndjson", MediaType::Json),
            ("text/plain", MediaType::Text),
            ("text/json+x", MediaType::Text),
            ("application/xml", MediaType::Other),
            ("", MediaType::Other),
            ("json", MediaType::Other),
            ("multipart/form-data; boundary=abc", multipart(Some("abc"))),
            (
                "multipart/form-data; x=\"a;boundary=no\"; Boundary=\"a b\\\"c\"; y=1",
                multipart(Some("a b\"c")),
            ),
            ("multipart/form-data", multipart(None)),
            ("multipart/form-data; boundary=", multipart(None)),
            ("multipart/form-data; boundary=\"a", multipart(None)),
            ("multipart/mixed; boundary=ä", multipart(None)),
        ] {
            assert_eq!(MediaType::parse(Some(text)), expected, "{text}");
        }
        assert_eq!(MediaType::parse(None), MediaType::Other);
    }
}
