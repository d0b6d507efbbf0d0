//! JSON request bodies: objects, bounded in size and time, exact names, no key twice.

use std::fmt;
use std::time::Duration;

use agent_vault_seal::SecretBytes;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};

use crate::error::ApiError;

/// Largest request body.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Longest time that a whole request body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body.
///
/// Decoded whatever the `Content-Type` says (cookie-authenticated requests are checked for that elsewhere).
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A JSON body that may be left out; then every field has its default.
#[derive(Debug)]
pub(crate) struct OptionalJsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let bytes = read(request.into_body())
            .await
            .map_err(IntoResponse::into_response)?;
        parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let bytes = read(request.into_body())
            .await
            .map_err(IntoResponse::into_response)?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self).map_err(IntoResponse::into_response)
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect())
            .await
            .map_err(|_| {
                ApiError::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "The request body did not arrive in time",
                )
            })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request body is larger than 1 MiB",
        )
        .hint("split the request into smaller ones")),
        Err(_) => Err(ApiError::bad_request("The request body was cut short")),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let invalid = |error: serde_json::Error| malformed("", &error);
    if bytes.trim_ascii().is_empty() {
        return Err(
            ApiError::bad_request("Invalid request body: it is empty").hint("send a JSON object")
        );
    }
    let mut names = serde_json::Deserializer::from_slice(bytes);
    OnceOnly.deserialize(&mut names).map_err(invalid)?;
    names.end().map_err(invalid)?;
    // Read by position, the items of an array would pass for fields.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(
            ApiError::bad_request("Invalid request body: it must be a JSON object")
                .hint("`/docs` shows the fields of every body, with an example"),
        );
    }
    let mut document = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." {
            String::new()
        } else {
            format!("`{path}`: ")
        };
        malformed(&at, &error.into_inner())
    })
}

/// The refusal of a body. It does not repeat what was sent: that may be a secret in the wrong place.
fn malformed(at: &str, error: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!(
        "Invalid request body: {at}{}",
        without_text(&error.to_string())
    ))
    .hint("`/docs` shows the fields of every body, with an example")
}

/// Longest account of what is wrong with a body, in characters.
const MAX_ACCOUNT_CHARS: usize = 300;

/// The account without the text of a string that stands where none belongs.
fn without_text(account: &str) -> String {
    const BEFORE: &str = "string \"";
    const AFTER: &str = "\", expected";
    let told = match (account.find(BEFORE), account.rfind(AFTER)) {
        (Some(start), Some(end)) if start < end => {
            let head = account.get(..start).unwrap_or_default();
            let tail = account.get(end + 1..).unwrap_or_default();
            format!("{head}string{tail}")
        }
        _ => account.to_owned(),
    };
    told.chars().take(MAX_ACCOUNT_CHARS).collect()
}

/// Walks a document and refuses a key that occurs twice in one object.
///
/// Parsers disagree on which of the two counts, so a reviewer and the server may see different requests.
struct OnceOnly;

impl<'de> DeserializeSeed<'de> for OnceOnly {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OnceOnly {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            entries.next_value_seed(Self)?;
            if let Some(twice) = seen.replace(key) {
                let shown: String = twice.chars().take(64).collect();
                return Err(de::Error::custom(format_args!("`{shown}` is given twice")));
            }
        }
        Ok(())
    }
}

/// A field that may be left out, for which `null` says the same: with `#[serde(default, deserialize_with = "…")]`.
pub(crate) fn null_is_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A string of a body that is a secret: wiped on drop, never printed.
#[derive(Debug)]
pub(crate) struct SecretField(pub(crate) SecretBytes);

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = SecretField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<SecretField, E> {
                Ok(SecretField(SecretBytes::new(text.as_bytes().to_vec())))
            }

            fn visit_string<E>(self, text: String) -> Result<SecretField, E> {
                Ok(SecretField(SecretBytes::from(text)))
            }
        }
        deserializer.deserialize_string(Text)
    }
}

/// An object whose values are secrets, in the order of the document.
#[derive(Debug, Default)]
pub(crate) struct SecretFields(pub(crate) Vec<(String, SecretBytes)>);

impl<'de> Deserialize<'de> for SecretFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = SecretFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut entries: A,
            ) -> Result<SecretFields, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, SecretField(value))) =
                    entries.next_entry::<String, SecretField>()?
                {
                    fields.push((key, value));
                }
                Ok(SecretFields(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Default for SecretField {
    fn default() -> Self {
        Self(SecretBytes::new(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!(
            "{:?}",
            parse::<serde_json::Value>(text.as_bytes()).unwrap_err()
        )
    }

    #[test]
    fn a_key_given_twice_is_named() {
        assert!(error(r#"{"a":{"role":1,"role":2}}"#).contains("`role` is given twice"));
        assert!(error(r#"{"b":[{"c":0,"\u0063":1}]}"#).contains("`c` is given twice"));
        assert!(parse::<serde_json::Value>(br#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
    }

    #[test]
    fn empty_deep_and_trailing_documents_are_refused() {
        assert!(error("  ").contains("it is empty"));
        assert!(error("{} {}").contains("trailing"));
        assert!(error(&"[".repeat(100_000)).contains("recursion limit"));
        assert!(error("{\"a\":").contains("EOF"));
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        #[derive(Debug, Deserialize)]
        struct Numbers {
            #[expect(dead_code, reason = "only its type matters")]
            all: Vec<u32>,
        }
        let refused = parse::<Numbers>(br#"{"all":["sk-secret\", expected"]}"#).unwrap_err();
        let text = format!("{refused:?}");
        assert!(!text.contains("sk-secret"), "{text}");
        assert!(
            text.contains("`all[0]`: invalid type: string, expected u32"),
            "{text}"
        );
        let long = format!("{{\"{}\":1}}", "x".repeat(5000));
        assert!(parse::<Numbers>(long.as_bytes()).is_err());
        assert_eq!(without_text(&"y".repeat(5000)).len(), MAX_ACCOUNT_CHARS);
    }

    #[test]
    fn names_are_exact() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            #[expect(dead_code, reason = "only the name matters")]
            name: String,
        }
        assert!(parse::<Named>(br#"{"name":"x"}"#).is_ok());
        assert!(parse::<Named>(br#"{"Name":"x"}"#).is_err());
    }

    #[test]
    fn only_an_object_is_a_body() {
        #[derive(Debug, Deserialize)]
        struct Named {
            name: String,
        }
        let named: Named = parse(b" \n\t{\"name\":\"x\"} ").unwrap();
        assert_eq!(named.name, "x");
        for other in [r#"["x"]"#, " [[]]", "\"x\"", "1", "null", "true"] {
            let refused = format!("{:?}", parse::<Named>(other.as_bytes()).unwrap_err());
            assert!(refused.contains("must be a JSON object"), "{refused}");
        }
    }
}
