//! Responses that are not refusals.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::error::ApiError;

/// One JSON object and a line feed.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    status: StatusCode,
    body: T,
}

impl<T: Serialize> Answer<T> {
    pub(crate) fn ok(body: T) -> Self {
        Self {
            status: StatusCode::OK,
            body,
        }
    }

    pub(crate) fn with(status: StatusCode, body: T) -> Self {
        Self { status, body }
    }

    pub(crate) fn created(body: T) -> Self {
        Self {
            status: StatusCode::CREATED,
            body,
        }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match encode(&self.body) {
            Ok(text) => (self.status, [(CONTENT_TYPE, JSON)], text).into_response(),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a response could not be encoded"
                );
                ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "The response could not be encoded",
                )
                .into_response()
            }
        }
    }
}

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(crate) fn encode(body: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec(body)?;
    text.push(b'\n');
    Ok(text)
}

/// What a handler returns.
pub(crate) type Outcome<T> = Result<Answer<T>, ApiError>;

/// An instant as the contract writes it: RFC 3339, UTC, whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) Timestamp);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = Timestamp::from_second(self.0.as_second()).unwrap_or(self.0);
        serializer.collect_str(&whole)
    }
}

impl utoipa::PartialSchema for Stamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl utoipa::ToSchema for Stamp {}

/// `{"message": …}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Message {
    message: String,
}

impl Message {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// `{"status": …}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Status {
    status: &'static str,
}

impl Status {
    pub(crate) fn new(status: &'static str) -> Self {
        Self { status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_whole_seconds() {
        let stamp = Stamp("2026-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!(
            serde_json::to_string(&stamp).unwrap(),
            "\"2026-01-02T03:04:05Z\""
        );
    }
}
