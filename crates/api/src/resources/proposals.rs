//! What agents ask to change, and the decisions on it.

use agent_vault_control::{
    Approval, ControlError, NewProposal, NewSlot, OAuthInput, Preview, ProposalStatus,
    ProposalView, ProposedAction, ProposedService, Slot, SlotOAuth, VaultRef,
};
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::discover;
use super::services::PlannedChange;
use crate::answer::{Answer, Outcome, Stamp};
use crate::body::{JsonBody, OptionalJsonBody, SecretField, SecretFields, null_is_absent};
use crate::client::Client;
use crate::error::{ApiError, Refusals};
use crate::principal::{self, Caller};
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// A change to a service: a service with `action`.
#[derive(ToSchema)]
#[schema(as = ProposedService)]
#[expect(
    dead_code,
    reason = "describes what the control plane reads and writes"
)]
pub(crate) struct ProposedServiceSchema {
    /// `set` or `delete`.
    action: String,
    /// Slug. Without one a `set` adopts the service with the same host, port and path, and a `delete` goes by host.
    name: Option<String>,
    /// `host[:port][/path]`. Required for `set`.
    host: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    /// Alone (with `host`): enables or disables a known service.
    enabled: Option<bool>,
    auth: Option<super::services::AuthSchema>,
    substitutions: Option<Vec<super::services::SubstitutionSchema>>,
    require_tls: Option<bool>,
    select: Option<super::services::SelectSchema>,
}

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

/// A credential of a proposal. Never a value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotItem {
    /// `set` or `delete`.
    action: &'static str,
    key: String,
    r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    obtain: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    obtain_instructions: String,
    /// Whether the agent gave a value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_value: bool,
    /// The client at a provider, for `oauth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth: Option<SlotClient>,
}

/// The client that an `oauth` credential of a proposal names.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotClient {
    /// Where a person consents; absent where tokens are given by hand.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    authorization_url: String,
    token_url: String,
    /// Absent where the person says.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    client_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    scopes: String,
    scope_separator: String,
    disable_pkce: bool,
    token_auth_method: String,
}

impl From<SlotOAuth> for SlotClient {
    fn from(slot: SlotOAuth) -> Self {
        Self {
            authorization_url: slot.authorization_url,
            token_url: slot.token_url,
            client_id: slot.client_id,
            scopes: slot.scopes,
            scope_separator: slot.scope_separator,
            disable_pkce: slot.disable_pkce,
            token_auth_method: slot.token_auth_method,
        }
    }
}

fn slots(slots: Vec<Slot>) -> Vec<SlotItem> {
    slots
        .into_iter()
        .map(|slot| SlotItem {
            action: slot.action.as_str(),
            key: slot.key,
            r#type: slot.kind,
            description: slot.description,
            obtain: slot.obtain,
            obtain_instructions: slot.obtain_instructions,
            has_value: slot.has_value,
            oauth: slot.oauth.map(SlotClient::from),
        })
        .collect()
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

/// A key that would go to a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowItem {
    key: String,
    host: String,
    service: String,
    /// Whether it is the value that the vault has now.
    stored: bool,
    /// Whether it does not go there now.
    new: bool,
}

/// What happens to a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SlotEffect {
    key: String,
    /// `set` or `delete`.
    action: &'static str,
    /// Whether the vault has it now.
    exists: bool,
    /// Whether the approval must bring a value.
    needs_value: bool,
    /// Services that use it after.
    used_by: Vec<String>,
}

/// What a proposal would do now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewBody {
    changes: Vec<PlannedChange>,
    /// Which keys the changed services would send where.
    flows: Vec<FlowItem>,
    credentials: Vec<SlotEffect>,
    /// What deserves a second look.
    warnings: Vec<String>,
    /// With it in an approval, the approval does just this, or is refused (412).
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    /// Why the proposal does not fit the vault any more; then it cannot be approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<String>,
}

fn preview_body(preview: Result<Preview, ControlError>) -> PreviewBody {
    match preview {
        Ok(preview) => PreviewBody {
            changes: preview.changes.iter().map(PlannedChange::new).collect(),
            flows: preview
                .flows
                .into_iter()
                .map(|flow| FlowItem {
                    key: flow.key,
                    host: flow.host,
                    service: flow.service,
                    stored: flow.stored,
                    new: flow.new,
                })
                .collect(),
            credentials: preview
                .credentials
                .into_iter()
                .map(|slot| SlotEffect {
                    key: slot.key,
                    action: slot.action.as_str(),
                    exists: slot.exists,
                    needs_value: slot.needs_value,
                    used_by: slot.used_by,
                })
                .collect(),
            warnings: preview.warnings,
            revision: Some(preview.revision),
            conflict: None,
        },
        Err(error) => PreviewBody {
            changes: Vec::new(),
            flows: Vec::new(),
            credentials: Vec::new(),
            warnings: Vec::new(),
            revision: None,
            conflict: Some(error.message().to_owned()),
        },
    }
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

/// A yes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalBody {
    vault: Option<String>,
    /// Values by key. One that is given wins over the agent's own.
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    credentials: SecretFields,
    /// `preview.revision` of what was seen. Refused (412) when the services have changed since.
    revision: Option<u64>,
}

/// What became of a proposal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decided {
    id: u32,
    /// `applied` or `rejected`.
    status: &'static str,
}

/// Does what a proposal asks for, all or nothing.
#[utoipa::path(post, operation_id = "proposals_approve", path = "/v1/admin/proposals/{id}/approve", tag = "proposals", request_body = Option<ApprovalBody>,
    params(("id" = String, Path, description = "number")),
    responses((status = 200, description = "done", body = Decided), Refusals))]
pub(crate) async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment<String>,
    OptionalJsonBody(body): OptionalJsonBody<ApprovalBody>,
) -> Outcome<Decided> {
    let id = number(&id)?;
    let approval = Approval {
        values: body.credentials.0,
        revision: body.revision,
    };
    state
        .control()
        .proposals()
        .approve(
            caller.actor(),
            VaultRef::from_input(body.vault.as_deref()),
            id,
            approval,
        )
        .await?;
    Ok(Answer::ok(Decided {
        id,
        status: ProposalStatus::Applied.as_str(),
    }))
}

/// A no.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectionBody {
    vault: Option<String>,
    /// The agent sees it. Up to 2000 bytes.
    #[serde(default, deserialize_with = "null_is_absent")]
    reason: String,
}

/// Turns a proposal down.
#[utoipa::path(post, operation_id = "proposals_reject", path = "/v1/admin/proposals/{id}/reject", tag = "proposals", request_body = Option<RejectionBody>,
    params(("id" = String, Path, description = "number")),
    responses((status = 200, description = "turned down", body = Decided), Refusals))]
pub(crate) async fn reject(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment<String>,
    OptionalJsonBody(body): OptionalJsonBody<RejectionBody>,
) -> Outcome<Decided> {
    let id = number(&id)?;
    state
        .control()
        .proposals()
        .reject(
            caller.actor(),
            VaultRef::from_input(body.vault.as_deref()),
            id,
            &body.reason,
        )
        .await?;
    Ok(Answer::ok(Decided {
        id,
        status: ProposalStatus::Rejected.as_str(),
    }))
}

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
    (
        [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Html(include_str!("approve_page.html")),
    )
        .into_response()
}

/// The script of that page.
pub(crate) async fn script() -> Response {
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    ([(CONTENT_TYPE, kind)], include_str!("approve_page.js")).into_response()
}

fn number(text: &str) -> Result<u32, ApiError> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            ApiError::bad_request("id: must be a proposal's number").hint("for example `1`")
        })
}
