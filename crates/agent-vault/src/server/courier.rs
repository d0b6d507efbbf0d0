//! The way to webhooks: what `control` wants told, posted through the only outbound door.
//!
//! The same rules as for agents' requests: guarded addresses, verified TLS, no redirect followed. Of the answer the head is read, and
//! a little of the body so that the connection can be kept.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_control::{Courier, Delivering, Parcel, Receipt};
use agent_vault_policy::Scheme;
use agent_vault_upstream::{Body, BodyError, Route, Upstream, UpstreamError};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};

/// What is read of an answer's body before its connection is closed instead.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How we introduce ourselves.
const AGENT: &str = concat!("agent-vault/", env!("CARGO_PKG_VERSION"));

/// Posts parcels.
pub(super) struct OutboundCourier(pub(super) Arc<Upstream>);

impl Courier for OutboundCourier {
    fn deliver(&self, parcel: Parcel) -> Delivering<'_> {
        Box::pin(async move { self.post(parcel).await.map_err(|error| said(&error)) })
    }
}

impl OutboundCourier {
    async fn post(&self, parcel: Parcel) -> Result<Receipt, Undelivered> {
        // An endpoint's connections are its own: none of an agent's, none of another endpoint's.
        let route = Route::new(
            parcel.endpoint,
            Scheme::Https,
            parcel.url.authority().clone(),
        )?;
        let length = HeaderValue::from(parcel.body.len());
        let body: Body = Full::new(Bytes::from(parcel.body))
            .map_err(|never| -> BodyError { match never {} })
            .boxed_unsync();
        let request = Request::builder()
            .method(Method::POST)
            .uri(parcel.url.target())
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_LENGTH, length)
            .header(USER_AGENT, AGENT)
            .header("webhook-id", parcel.id)
            .header("webhook-timestamp", parcel.timestamp)
            .header("webhook-signature", parcel.signature)
            .body(body)?;
        let answer = self.0.send(&Arc::new(route), request, &()).await?;
        let (head, body) = answer.response.into_parts();
        let receipt = Receipt {
            status: head.status.as_u16(),
            retry_after: retry_after(&head.headers),
        };
        if Limited::new(body, MAX_ANSWER_BYTES).collect().await.is_ok() {
            answer.lease.finish();
        }
        Ok(receipt)
    }
}

/// A number of seconds (RFC 9110 section 10.2.3); the form with a date is left out.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// The reason, with what to do about it.
fn said(error: &Undelivered) -> String {
    match error {
        Undelivered::Upstream(upstream) => match upstream.hint() {
            Some(hint) => format!("{upstream} ({hint})"),
            None => upstream.to_string(),
        },
        Undelivered::Request(_) => error.to_string(),
    }
}
