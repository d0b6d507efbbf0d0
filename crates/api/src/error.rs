//! The one place where a failure becomes a response.
//!
//! Shapes: `{"error": text, "hint"?: text}` for nearly everything, `{"error": code, "message": text}` for the two coded
//! errors (`not_initialized`, `too_many_requests`), `candidates` beside `error` for an ambiguous reference,
//! `code` beside `error` for external credential stores.

use std::time::Duration;

use agent_vault_control::{ControlError, ErrorKind};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{JSON, encode};
use crate::limits::Exceeded;

/// A response that refuses.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    retry_after: Option<Duration>,
}

/// Body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What happened; a machine code where `message` is present.
    error: String,
    /// The text, where `error` is a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// A word for programs, where `error` is text: of external credential stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// The choices of an ambiguous reference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<CandidateBody>,
}

/// One choice of an ambiguous reference.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CandidateBody {
    /// Service name.
    name: String,
    /// Host, as lists show it.
    host: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                error: error.into(),
                message: None,
                hint: None,
                code: None,
                candidates: Vec::new(),
            },
            retry_after: None,
        }
    }

    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn forbidden(error: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    /// A coded error: `error` is for programs, `message` for people.
    pub(crate) fn coded(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(status, code);
        error.body.message = Some(message.into());
        error
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        let mut error = Self::coded(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            exceeded.message,
        );
        error.retry_after = Some(exceeded.retry_after);
        error
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Gone => StatusCode::GONE,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Stale => StatusCode::PRECONDITION_FAILED,
            ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::NotInitialized => return not_initialized(),
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Upstream => StatusCode::BAD_GATEWAY,
            ErrorKind::Internal => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "management action failed"
                );
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut response = match error.code() {
            Some(code) => Self::coded(status, code, error.message()),
            None => Self::new(status, error.message()),
        };
        response.body.code = error.label();
        response.body.hint = error.hint_text().map(str::to_owned);
        response.body.candidates = error
            .choices()
            .iter()
            .map(|choice| CandidateBody {
                name: choice.name.clone(),
                host: choice.host.clone(),
            })
            .collect();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.retry_after = Some(Duration::from_secs(1));
        }
        response
    }
}

/// The instance has no owner yet.
pub(crate) fn not_initialized() -> ApiError {
    ApiError::coded(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_initialized",
        "This instance has no owner yet",
    )
    .hint("create the owner account with `agent-vault auth register`")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // Strings and lists of strings always encode.
        let text = encode(&self.body).unwrap_or_default();
        let mut response = (self.status, [(CONTENT_TYPE, JSON)], text).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// The refusals that any route can give, for the API description.
pub(crate) struct Refusals;

impl utoipa::IntoResponses for Refusals {
    fn responses()
    -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
        [
            ("400", "the request is malformed"),
            ("401", "no token, or one that is not good"),
            ("403", "not allowed"),
            ("404", "not there, or not for this caller"),
            ("409", "the state of things forbids it"),
            ("408", "the body did not arrive in time"),
            ("413", "the body is larger than 1 MiB"),
            (
                "415",
                "the body is not declared as JSON, which a request with the cookie has to do",
            ),
            (
                "429",
                "too many requests; `Retry-After` says how long to wait",
            ),
            (
                "503",
                "the instance has no owner yet, or something it needs does not answer",
            ),
        ]
        .into_iter()
        .map(|(status, description)| {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ErrorBody")))
                .build();
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/json", content)
                .build();
            (status.to_owned(), RefOr::T(response))
        })
        .collect()
    }
}
