//! An agent's own tokens, listed and ended one by one.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp, Status};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// A live token of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentTokenItem {
    /// Public id, for revocation and for the log's `session` filter.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    created_at: Stamp,
    /// Absent when it never ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Stamp>,
}

/// Live tokens of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentTokenList {
    tokens: Vec<AgentTokenItem>,
}

/// Lists the live tokens of an agent, newest first. More than one after a rotation with an overlap.
#[utoipa::path(get, operation_id = "agent_tokens_list", path = "/v1/agents/{name}/tokens", tag = "agents",
    params(("name" = String, Path, description = "agent")),
    responses((status = 200, description = "live tokens", body = AgentTokenList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<AgentTokenList> {
    let tokens = state
        .control()
        .agents()
        .tokens(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(AgentTokenList {
        tokens: tokens
            .into_iter()
            .map(|token| AgentTokenItem {
                id: token.id,
                label: token.label,
                created_at: Stamp(token.created_at),
                expires_at: token.expires_at.map(Stamp),
                last_used_at: token.last_used_at.map(Stamp),
            })
            .collect(),
    }))
}

/// Ends one token of an agent.
#[utoipa::path(delete, operation_id = "agent_tokens_revoke", path = "/v1/agents/{name}/tokens/{id}", tag = "agents",
    params(("name" = String, Path, description = "agent"), ("id" = String, Path, description = "public id")),
    responses((status = 200, description = "ended", body = Status), Refusals))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((name, id)): Segment<(String, String)>,
) -> Outcome<Status> {
    state
        .control()
        .agents()
        .revoke_token(caller.actor(), &name, &id)
        .await?;
    Ok(Answer::ok(Status::new("revoked")))
}
