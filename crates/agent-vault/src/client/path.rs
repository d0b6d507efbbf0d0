//! Request targets: literal parts from us, segments and values escaped.

use std::fmt::{self, Write as _};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path with an optional query.
#[derive(Debug, Clone)]
pub(crate) struct ApiPath {
    text: String,
    has_query: bool,
}

impl ApiPath {
    /// A literal start.
    pub(crate) fn new(literal: &'static str) -> ApiPath {
        ApiPath {
            text: literal.to_owned(),
            has_query: false,
        }
    }

    /// One more segment, escaped so that it stays one.
    #[must_use]
    pub(crate) fn segment(mut self, value: &str) -> ApiPath {
        // A lone dot segment would be folded away by any URL parser.
        let escaped = match value {
            "." => String::from("%2E"),
            ".." => String::from("%2E%2E"),
            _ => utf8_percent_encode(value, ESCAPED).to_string(),
        };
        self.text.push('/');
        self.text.push_str(&escaped);
        self
    }

    /// More literal text, starting with a slash.
    #[must_use]
    pub(crate) fn literal(mut self, literal: &'static str) -> ApiPath {
        self.text.push_str(literal);
        self
    }

    /// One query parameter.
    #[must_use]
    pub(crate) fn query(mut self, name: &str, value: impl fmt::Display) -> ApiPath {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        let _ = write!(
            self.text,
            "{name}={}",
            utf8_percent_encode(&value.to_string(), ESCAPED)
        );
        self
    }

    /// A query parameter that may be absent.
    #[must_use]
    pub(crate) fn query_if(self, name: &str, value: Option<impl fmt::Display>) -> ApiPath {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Whether a segment is empty: the path then names another resource than meant, or none.
    pub(crate) fn lacks_a_name(&self) -> bool {
        let path = self.text.split('?').next().unwrap_or_default();
        path.contains("//") || path.ends_with('/')
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<&'static str> for ApiPath {
    fn from(literal: &'static str) -> ApiPath {
        ApiPath::new(literal)
    }
}

#[cfg(test)]
mod tests {
    use super::ApiPath;

    #[test]
    fn segments_and_values_are_escaped() {
        let path = ApiPath::new("/v1/vaults")
            .segment("a/b c")
            .literal("/logs")
            .query("after", 7)
            .query_if("service", Some("x&y"))
            .query_if("before", None::<u8>);
        assert_eq!(
            path.as_str(),
            "/v1/vaults/a%2Fb%20c/logs?after=7&service=x%26y"
        );
        assert_eq!(
            ApiPath::new("/v1/vaults").segment("..").as_str(),
            "/v1/vaults/%2E%2E"
        );
        for (name, lacks) in [("", true), ("/", false), ("x", false)] {
            let last = ApiPath::new("/v1/agents").segment(name).query("q", "//");
            assert_eq!(last.lacks_a_name(), lacks, "{name}");
            let middle = ApiPath::new("/v1/agents").segment(name).literal("/role");
            assert_eq!(middle.lacks_a_name(), lacks, "{name}");
        }
    }
}
