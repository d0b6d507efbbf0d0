//! For people who look: what waits, and what it would do.

use agent_vault_control::{ControlError, ProposalView, ProposedService, VaultRef};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::number;
use super::view::{PreviewBody, ProposedServiceSchema, SlotItem, preview_body, slots};
use crate::answer::{Answer, Outcome, Stamp};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// A proposal in a reviewer's list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReviewItem {
    id: u32,
    /// `pending`, `applied`, `rejected` or `expired`.
    status: &'static str,
    message: String,
    /// `services` as text.
    services_json: String,
    /// `credentials` as text.
    credentials_json: String,
    #[schema(value_type = Vec<ProposedServiceSchema>)]
    services: Vec<ProposedService>,
    credentials: Vec<SlotItem>,
    /// Name of the agent, or label of the vault token.
    agent_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    review_note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reviewed_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reviewed_at: Option<Stamp>,
    created_at: Stamp,
    expires_at: Stamp,
}

fn review_item(view: ProposalView) -> Result<ReviewItem, ApiError> {
    let text = |error: serde_json::Error| {
        ApiError::from(ControlError::internal(
            "the proposal cannot be shown",
            error,
        ))
    };
    Ok(ReviewItem {
        id: view.id,
        status: view.status.as_str(),
        message: view.message,
        services_json: serde_json::to_string(&view.services).map_err(text)?,
        credentials_json: serde_json::to_string(&view.credentials).map_err(text)?,
        services: view.services,
        credentials: slots(view.credentials),
        agent_name: view.author,
        review_note: view.review_note,
        reviewed_by: view.reviewed_by,
        reviewed_at: view.reviewed_at.map(Stamp),
        created_at: Stamp(view.created_at),
        expires_at: Stamp(view.expires_at),
    })
}

/// Proposals to review.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReviewList {
    /// Newest first.
    proposals: Vec<ReviewItem>,
}

/// Lists the vault's proposals, for reviewers; the role `proxy` sees pending ones.
#[utoipa::path(get, operation_id = "proposals_review_list", path = "/v1/admin/proposals", tag = "proposals",
    params(("vault" = Option<String>, Query, description = "vault"),
        ("status" = Option<String>, Query, description = "`pending`, `applied`, `rejected` or `expired`")),
    responses((status = 200, description = "newest first", body = ReviewList), Refusals))]
pub(crate) async fn review_list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Outcome<ReviewList> {
    let vault = VaultRef::from_input(query.get("vault"));
    let found = state
        .control()
        .proposals()
        .review_list(caller.actor(), vault, query.get("status"))
        .await?;
    let proposals = found
        .into_iter()
        .map(review_item)
        .collect::<Result<_, _>>()?;
    Ok(Answer::ok(ReviewList { proposals }))
}

/// A proposal as a reviewer sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReviewDetail {
    #[serde(flatten)]
    item: ReviewItem,
    vault: String,
    user_message: String,
    /// Empty while nobody has decided.
    review_note: String,
    /// While it can be decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<PreviewBody>,
}

/// Shows one proposal, for reviewers, and what it would do.
#[utoipa::path(get, operation_id = "proposals_review", path = "/v1/admin/proposals/{id}", tag = "proposals",
    params(("id" = String, Path, description = "number"), ("vault" = Option<String>, Query, description = "vault")),
    responses((status = 200, description = "the proposal", body = ReviewDetail), Refusals))]
pub(crate) async fn review(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
    Segment(id): Segment<String>,
) -> Outcome<ReviewDetail> {
    let vault = VaultRef::from_input(query.get("vault"));
    let (view, preview) = state
        .control()
        .proposals()
        .review(caller.actor(), vault, number(&id)?)
        .await?;
    let (vault, user_message) = (view.vault.clone(), view.user_message.clone());
    let mut item = review_item(view)?;
    Ok(Answer::ok(ReviewDetail {
        vault,
        user_message,
        review_note: std::mem::take(&mut item.review_note),
        preview: preview.map(preview_body),
        item,
    }))
}
