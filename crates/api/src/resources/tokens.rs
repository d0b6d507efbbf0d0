//! Scoped sessions ("vault tokens").

use agent_vault_control::{NewBounds, NewToken, TokenView, VaultRef};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp, Status};
use crate::body::{JsonBody, null_is_absent};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// A token to mint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTokenBody {
    #[serde(default)]
    vault: String,
    /// Empty or `proxy`.
    #[serde(default, deserialize_with = "null_is_absent")]
    vault_role: String,
    /// 300 to 604800; a day when absent.
    ttl_seconds: Option<u64>,
    /// At most 100 characters. Shown in lists and on each row of the request log.
    label: Option<String>,
    /// Names of services, 1 to 200: the token may use no others. All services when absent.
    services: Option<Vec<String>>,
    /// Requests through the proxy that the token has, 1 to 1000000000. No end when absent.
    request_budget: Option<u64>,
    /// Networks (`10.20.0.0/16`) or addresses, 1 to 32, that the token may be used from. Anywhere when absent.
    sources: Option<Vec<String>>,
}

/// A token that was minted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MintedTokenBody {
    /// Public id, for revocation and for the log's `session` filter.
    id: String,
    /// Shown once.
    token: String,
    expires_at: Stamp,
    /// Address of this server.
    av_addr: String,
}

/// Mints a token for one vault, with the role `proxy`.
#[utoipa::path(post, operation_id = "tokens_mint", path = "/v1/sessions", tag = "tokens", request_body = NewTokenBody,
    responses((status = 200, description = "the token", body = MintedTokenBody), Refusals))]
pub(crate) async fn mint(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<NewTokenBody>,
) -> Outcome<MintedTokenBody> {
    if body.vault.is_empty() {
        return Err(ApiError::bad_request("vault is required"));
    }
    if !matches!(body.vault_role.as_str(), "" | "proxy") {
        return Err(ApiError::bad_request("vault_role must be `proxy`")
            .hint("tokens of other roles are not minted; use an agent"));
    }
    let new = NewToken {
        ttl_seconds: body.ttl_seconds,
        label: body.label,
        bounds: NewBounds {
            services: body.services,
            requests: body.request_budget,
            sources: body.sources,
        },
    };
    let vault = VaultRef::Named(&body.vault);
    let minted = state
        .control()
        .tokens()
        .mint(caller.actor(), vault, new)
        .await?;
    Ok(Answer::ok(MintedTokenBody {
        id: minted.id,
        token: minted.token.expose().to_owned(),
        expires_at: Stamp(minted.expires_at),
        av_addr: state.info().base_url.clone(),
    }))
}

/// Who minted a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MinterBody {
    id: String,
    /// `user` or `agent`.
    r#type: &'static str,
    display_name: String,
}

/// A live token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenItem {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    vault_role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<MinterBody>,
    created_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Stamp>,
    /// By a request through the proxy or to this API.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Stamp>,
    /// Services that it may use; absent when it may use all.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<String>>,
    /// Requests that it was given; absent when there is no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_budget: Option<u64>,
    /// Those of them that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_left: Option<u64>,
    /// Networks that it may be used from; absent when it may be used anywhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
}

/// Live tokens of a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenList {
    sessions: Vec<TokenItem>,
}

/// Lists the live tokens of a vault, newest first.
#[utoipa::path(get, operation_id = "tokens_list", path = "/v1/sessions", tag = "tokens",
    params(("vault" = String, Query, description = "vault")),
    responses((status = 200, description = "live tokens", body = TokenList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Query,
) -> Outcome<TokenList> {
    let vault = VaultRef::Named(query.required("vault")?);
    let tokens = state.control().tokens().list(caller.actor(), vault).await?;
    Ok(Answer::ok(TokenList {
        sessions: tokens.into_iter().map(item).collect(),
    }))
}

/// Ends a token.
#[utoipa::path(delete, operation_id = "tokens_revoke", path = "/v1/sessions/{id}", tag = "tokens",
    params(("id" = String, Path, description = "public id"), ("vault" = String, Query, description = "vault")),
    responses((status = 200, description = "ended", body = Status), Refusals))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment<String>,
    query: Query,
) -> Outcome<Status> {
    let vault = VaultRef::Named(query.required("vault")?);
    state
        .control()
        .tokens()
        .revoke(caller.actor(), vault, &id)
        .await?;
    Ok(Answer::ok(Status::new("revoked")))
}

fn item(view: TokenView) -> TokenItem {
    TokenItem {
        id: view.id,
        label: view.label,
        vault_role: view.role.as_str(),
        created_by: view.created_by.map(|minter| MinterBody {
            id: minter.id,
            r#type: minter.kind.as_str(),
            display_name: minter.display_name,
        }),
        created_at: Stamp(view.created_at),
        expires_at: view.expires_at.map(Stamp),
        last_used_at: view.last_used_at.map(Stamp),
        services: view.bounds.services,
        request_budget: view.bounds.requests,
        requests_left: view.bounds.requests_left,
        sources: view.bounds.sources,
    }
}
