//! For agents: raising proposals, listing them, waiting for a decision.

use agent_vault_control::{NewProposal, NewSlot, OAuthInput, ProposedAction, ProposedService};
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::number;
use super::view::{ProposedServiceSchema, SlotItem, slots};
use crate::answer::{Answer, Outcome, Stamp};
use crate::body::{JsonBody, SecretField, null_is_absent};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::query::Query;
use crate::resources::discover;
use crate::segment::Segment;
use crate::state::ApiState;

/// A credential that is needed or goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotWanted {
    /// `set` or `delete`.
    #[schema(value_type = String)]
    action: ProposedAction,
    key: String,
    /// `static`, also when absent, or `oauth`.
    r#type: Option<String>,
    /// What it is, up to 500 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    description: String,
    /// Where a person gets one: an http or https URL, up to 500 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    obtain: String,
    /// How, up to 1000 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    obtain_instructions: String,
    /// The value, when the agent has one. Sealed on arrival, never shown.
    #[schema(value_type = Option<String>)]
    value: Option<SecretField>,
    /// The client at a provider: with `type: oauth`, and only then.
    oauth: Option<SlotClientWanted>,
}

/// A client at a provider. Its secret comes from the person who connects it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotClientWanted {
    /// Where a person consents: https. Without it, a person gives tokens by hand.
    authorization_url: Option<String>,
    /// Where tokens come from: https.
    token_url: Option<String>,
    client_id: Option<String>,
    scopes: Option<String>,
    scope_separator: Option<String>,
    disable_pkce: Option<bool>,
    /// `client_secret_post` or `client_secret_basic`.
    token_auth_method: Option<String>,
}

impl From<SlotClientWanted> for OAuthInput {
    fn from(wanted: SlotClientWanted) -> Self {
        Self {
            authorization_url: wanted.authorization_url,
            token_url: wanted.token_url,
            client_id: wanted.client_id,
            client_secret: None,
            scopes: wanted.scopes,
            scope_separator: wanted.scope_separator,
            disable_pkce: wanted.disable_pkce,
            token_auth_method: wanted.token_auth_method,
        }
    }
}

/// What an agent asks for: up to 10 services and 10 credentials, at least one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProposalWanted {
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(value_type = Option<Vec<ProposedServiceSchema>>)]
    services: Vec<ProposedService>,
    #[serde(default, deserialize_with = "null_is_absent")]
    credentials: Vec<SlotWanted>,
    /// For lists, up to 2000 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    message: String,
    /// For the person who decides, up to 5000 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    user_message: String,
}

/// A proposal that waits now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProposalRaised {
    id: u32,
    status: &'static str,
    vault: String,
    /// For the person who decides: shows the proposal for a day to whoever has it. Shown once.
    approval_url: String,
    message: String,
    expires_at: Stamp,
}

/// Raises a proposal.
#[utoipa::path(post, operation_id = "proposals_raise", path = "/v1/proposals", tag = "proposals", request_body = ProposalWanted,
    params(("X-Vault" = Option<String>, Header, description = "vault, for agents with several")),
    responses((status = 201, description = "it waits for a decision", body = ProposalRaised), Refusals))]
pub(crate) async fn raise(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    query: Query,
    JsonBody(body): JsonBody<ProposalWanted>,
) -> Outcome<ProposalRaised> {
    let vault = discover::scope(&caller, &headers, &query)?;
    let mut credentials = Vec::with_capacity(body.credentials.len());
    for slot in body.credentials {
        credentials.push(NewSlot {
            action: slot.action,
            key: slot.key,
            kind: slot.r#type,
            description: slot.description,
            obtain: slot.obtain,
            obtain_instructions: slot.obtain_instructions,
            value: slot.value.map(|value| value.0),
            oauth: slot.oauth.map(OAuthInput::from),
        });
    }
    let new = NewProposal {
        services: body.services,
        credentials,
        message: body.message,
        user_message: body.user_message,
    };
    let raised = state
        .control()
        .proposals()
        .raise(caller.actor(), vault, new, &state.info().base_url)
        .await?;
    Ok(Answer::created(ProposalRaised {
        id: raised.view.id,
        status: raised.view.status.as_str(),
        vault: raised.view.vault,
        approval_url: raised.approval_url,
        message: raised.view.message,
        expires_at: Stamp(raised.view.expires_at),
    }))
}

/// A proposal in an agent's list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProposalItem {
    id: u32,
    /// `pending`, `applied`, `rejected` or `expired`.
    status: &'static str,
    message: String,
    created_at: Stamp,
}

/// Proposals of a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProposalList {
    /// Newest first.
    proposals: Vec<ProposalItem>,
}

/// Lists the vault's proposals, for agents.
#[utoipa::path(get, operation_id = "proposals_list", path = "/v1/proposals", tag = "proposals",
    params(("X-Vault" = Option<String>, Header, description = "vault, for agents with several"),
        ("status" = Option<String>, Query, description = "`pending`, `applied`, `rejected` or `expired`")),
    responses((status = 200, description = "newest first", body = ProposalList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    query: Query,
) -> Outcome<ProposalList> {
    let vault = discover::scope(&caller, &headers, &query)?;
    let found = state
        .control()
        .proposals()
        .list(caller.actor(), vault, query.get("status"))
        .await?;
    let proposals = found
        .into_iter()
        .map(|view| ProposalItem {
            id: view.id,
            status: view.status.as_str(),
            message: view.message,
            created_at: Stamp(view.created_at),
        })
        .collect();
    Ok(Answer::ok(ProposalList { proposals }))
}

/// A proposal as an agent sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProposalDetail {
    id: u32,
    /// `pending`, `applied`, `rejected` or `expired`. On `applied` the next request is decided by it.
    status: &'static str,
    #[schema(value_type = Vec<ProposedServiceSchema>)]
    services: Vec<ProposedService>,
    credentials: Vec<SlotItem>,
    message: String,
    /// What the one who decided said.
    review_note: String,
    /// `null` while nobody has decided.
    reviewed_at: Option<Stamp>,
    created_at: Stamp,
    expires_at: Stamp,
}

/// Shows one proposal, for agents that wait for a decision: every 3 s for half a minute, then every 10 s.
#[utoipa::path(get, operation_id = "proposals_get", path = "/v1/proposals/{id}", tag = "proposals",
    params(("id" = String, Path, description = "number"),
        ("X-Vault" = Option<String>, Header, description = "vault, for agents with several")),
    responses((status = 200, description = "the proposal", body = ProposalDetail), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    query: Query,
    Segment(id): Segment<String>,
) -> Outcome<ProposalDetail> {
    let vault = discover::scope(&caller, &headers, &query)?;
    let view = state
        .control()
        .proposals()
        .get(caller.actor(), vault, number(&id)?)
        .await?;
    Ok(Answer::ok(ProposalDetail {
        id: view.id,
        status: view.status.as_str(),
        services: view.services,
        credentials: slots(view.credentials),
        message: view.message,
        review_note: view.review_note,
        reviewed_at: view.reviewed_at.map(Stamp),
        created_at: Stamp(view.created_at),
        expires_at: Stamp(view.expires_at),
    }))
}
