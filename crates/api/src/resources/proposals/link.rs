//! For whoever has the link: what it shows, and the page behind it.

use agent_vault_control::{ProposalStatus, ProposedService};
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::page as pages;
use super::number;
use super::view::{PreviewBody, ProposedServiceSchema, SlotItem, preview_body, slots};
use crate::answer::{Answer, Outcome, Stamp};
use crate::client::Client;
use crate::error::Refusals;
use crate::principal;
use crate::query::Query;
use crate::state::ApiState;

/// What an approval link shows while the proposal can be decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkDetail {
    proposal_id: u32,
    vault: String,
    status: &'static str,
    user_message: String,
    message: String,
    #[schema(value_type = Vec<ProposedServiceSchema>)]
    services: Vec<ProposedService>,
    credentials: Vec<SlotItem>,
    created_at: Stamp,
    expires_at: Stamp,
    agent_name: String,
    /// Whether the browser is logged in.
    authenticated: bool,
    /// Whether that login may approve it.
    can_approve: bool,
    user_email: String,
    preview: PreviewBody,
}

/// What an approval link shows afterwards.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkOver {
    /// Always true.
    error: bool,
    status: &'static str,
    error_title: &'static str,
    error_message: String,
}

/// What an approval link shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum LinkBody {
    Open(Box<LinkDetail>),
    Over(LinkOver),
}

/// Shows the proposal that an approval link is for. The link lets nobody decide: that takes a login. One that is decided
/// answers 200 with `error: true`, as clients expect.
#[utoipa::path(get, operation_id = "proposals_link", path = "/v1/proposals/approve-details", tag = "proposals", security(()),
    params(("token" = String, Query, description = "from the link"), ("id" = Option<String>, Query, description = "number, from the link")),
    responses((status = 200, description = "the proposal", body = LinkBody), (status = 410, description = "the link has run out", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn link(
    State(state): State<ApiState>,
    client: Client,
    headers: HeaderMap,
    query: Query,
) -> Outcome<LinkBody> {
    let token = query.required("token")?;
    let id = query.get("id").map(number).transpose()?;
    let viewer = principal::viewer(&state, &headers, &client).await;
    let found = state
        .control()
        .proposals()
        .by_link(token, id, viewer.as_ref())
        .await?;
    let view = found.view;
    let over = |error_title, said: &str| {
        let mut error_message = said.to_owned();
        if !view.review_note.is_empty() {
            error_message.push_str(": ");
            error_message.push_str(&view.review_note);
        }
        LinkBody::Over(LinkOver {
            error: true,
            status: view.status.as_str(),
            error_title,
            error_message,
        })
    };
    let body = match view.status {
        ProposalStatus::Applied => over("Proposal applied", "This proposal was approved"),
        ProposalStatus::Rejected => over("Proposal rejected", "This proposal was turned down"),
        ProposalStatus::Expired => over(
            "Proposal expired",
            "Nobody decided on this proposal in time",
        ),
        ProposalStatus::Pending => LinkBody::Open(Box::new(LinkDetail {
            proposal_id: view.id,
            status: view.status.as_str(),
            created_at: Stamp(view.created_at),
            expires_at: Stamp(view.expires_at),
            authenticated: viewer.is_some(),
            can_approve: found.can_approve,
            user_email: viewer
                .and_then(|viewer| viewer.user().ok().map(|user| user.email.clone()))
                .unwrap_or_default(),
            preview: preview_body(found.preview),
            vault: view.vault,
            user_message: view.user_message,
            message: view.message,
            services: view.services,
            credentials: slots(view.credentials),
            agent_name: view.author,
        })),
    };
    Ok(Answer::ok(body))
}

/// The page on which a person decides. Its script is a file of its own, as the content policy asks.
pub(crate) async fn page() -> Response {
    pages::page(include_str!("../approve_page.html"))
}

/// The script of that page.
pub(crate) async fn script() -> Response {
    pages::asset(
        "text/javascript; charset=utf-8",
        include_str!("../approve_page.js"),
    )
}
