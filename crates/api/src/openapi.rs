//! The description of the API, made from the handlers.

mod bounds;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::cookie::COOKIE_NAME;
use crate::error::ErrorBody;

/// What is not said at a handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Agent Vault",
        description = "Management API. Every refusal is JSON with `error`, and with `hint` where there is something to do next.",
        license(name = "MIT")
    ),
    components(schemas(ErrorBody)),
    modifiers(&Schemes),
    security(("token" = []), ("cookie" = []))
)]
pub(crate) struct Base;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .description(Some("login, agent token or vault token"))
                    .build(),
            ),
        );
        components.add_security_scheme(
            "cookie",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE_NAME))),
        );
    }
}

/// Completes what the handlers say by what fields may hold.
/// Beside it, bounds for which it has no field.
pub(crate) fn complete(mut document: Document) -> (Document, Vec<String>) {
    let unknown = bounds::apply(&mut document);
    (document, unknown)
}

/// Serves the document.
pub(crate) async fn serve(document: Arc<str>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], document.to_string()).into_response()
}
