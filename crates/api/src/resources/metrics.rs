//! Counts for a monitoring system.
//!
//! They hold no name, but they tell how much every vault is used, so agents may not read them: an instance owner may, and
//! whoever has the scrape token, which opens nothing else.

use agent_vault_seal::TokenHash;
use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use crate::error::ApiError;
use crate::principal::{Caller, Carrier, presented};
use crate::state::ApiState;

/// Marks a request that carries the scrape token. Only [`recognize`] makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scraper(());

/// Lets the scrape token in, before anybody looks for a login behind it.
pub(crate) async fn recognize(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(expected) = &state.info().metrics_token
        && let Some((token, Carrier::Bearer)) = presented(request.headers())
        && TokenHash::of(&token) == *expected
    {
        request.extensions_mut().insert(Scraper(()));
    }
    next.run(request).await
}

/// Counts and gauges as OpenMetrics text, for Prometheus and its kin. Needs an instance owner's token, or the one that
/// `AGENT_VAULT_METRICS_TOKEN` sets. Labels are from closed lists: no host, vault, agent or path is in them.
#[utoipa::path(get, operation_id = "metrics", path = "/metrics", tag = "status",
    responses((status = 200, description = "the counts", body = String, content_type = "application/openmetrics-text"),
        crate::error::Refusals))]
pub(crate) async fn read(
    State(state): State<ApiState>,
    scraper: Option<Extension<Scraper>>,
    caller: Option<Extension<Caller>>,
) -> Result<Response, ApiError> {
    if scraper.is_none() {
        let Some(Extension(caller)) = caller else {
            return Err(crate::principal::unauthenticated());
        };
        state.control().may_oversee(caller.actor()).await?;
    }
    let Some(exposition) = &state.info().metrics else {
        return Err(
            ApiError::new(StatusCode::NOT_FOUND, "This process counts nothing")
                .hint("ask the server, not a command's own vault"),
        );
    };
    let text =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(CONTENT_TYPE, text)], exposition().await).into_response())
}
