//! Query strings: a malformed one is refused instead of read as something else, for it may choose the vault.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::error::ApiError;

/// Most parameters that are looked at.
const MAX_PARAMETERS: usize = 64;

/// The decoded parameters of a request, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The value of a parameter; empty counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name)
            .ok_or_else(|| ApiError::bad_request(format!("{name} query parameter is required")))
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pair.contains(';') {
                return Err(malformed("`;` does not separate parameters; use `&`"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(malformed("a parameter is given twice"));
            }
            parameters.push((name, decode(value)?));
            if parameters.len() > MAX_PARAMETERS {
                return Err(malformed("too many parameters"));
            }
        }
        Ok(Self(parameters))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::parse(parts.uri.query().unwrap_or_default()).map_err(IntoResponse::into_response)
    }
}

fn malformed(what: &str) -> ApiError {
    ApiError::bad_request(format!("Malformed query: {what}"))
}

/// Decodes `application/x-www-form-urlencoded` text, where a broken escape is an error.
fn decode(text: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(malformed("a `%` is not followed by two hex digits"));
                };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed("a value is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("vault=a%20b&key=&&reveal=true&x=%2B+").unwrap();
        assert_eq!(query.get("vault"), Some("a b"));
        assert_eq!(query.get("key"), None);
        assert_eq!(query.get("x"), Some("+ "));
        assert_eq!(query.get("Reveal"), None);
    }

    #[test]
    fn h49_malformed_queries_are_refused() {
        for text in [
            "vault=%zz",
            "vault=a;b",
            "vault=%",
            "vault=%f",
            "vault=%ff",
            "vault=a&vault=b",
            "v%61ult=a&vault=b",
        ] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }
}
