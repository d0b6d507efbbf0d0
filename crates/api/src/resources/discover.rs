//! What an agent may know of its vault.

use std::collections::BTreeMap;

use agent_vault_control::{Actor, VaultRef};
use axum::extract::State;
use http::{HeaderMap, HeaderName};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::state::ApiState;

const X_VAULT: HeaderName = HeaderName::from_static("x-vault");

/// A service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiscoveredService {
    name: String,
    host: String,
    enabled: bool,
}

/// What a vault brokers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiscoveredBody {
    vault: String,
    vault_role: &'static str,
    /// Public id of the token that asks, as in the request log.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    services: Vec<DiscoveredService>,
    available_credentials: Vec<String>,
    /// What an external store makes at first use: names, or `<SECRET>_*` while the fields are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    dynamic_credentials: Vec<String>,
    /// Keys that enabled services use and the vault lacks.
    missing_credentials: Vec<String>,
    /// What an agent's environment holds instead of each brokered key.
    placeholders: BTreeMap<String, String>,
    /// Requests that the token that asks was given; absent when there is no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_budget: Option<u64>,
    /// Those of them that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_left: Option<u64>,
}

/// Shows what a vault brokers, to a token that is confined to some services those alone. Vault tokens know their vault; others name it in `X-Vault` (or `vault`), and an agent with one
/// vault need not.
#[utoipa::path(get, operation_id = "discover", path = "/discover", tag = "agents",
    params(("X-Vault" = Option<String>, Header, description = "vault"),
        ("vault" = Option<String>, Query, description = "vault, where a header cannot be set")),
    responses((status = 200, description = "services, key names, placeholders", body = DiscoveredBody), Refusals))]
pub(crate) async fn discover(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    query: Query,
) -> Outcome<DiscoveredBody> {
    let vault = scope(&caller, &headers, &query)?;
    let found = state
        .control()
        .discovery()
        .discover(caller.actor(), vault)
        .await?;
    Ok(Answer::ok(DiscoveredBody {
        vault: found.vault,
        vault_role: found.role.as_str(),
        session: found.session,
        services: found
            .services
            .into_iter()
            .map(|service| DiscoveredService {
                name: service.name,
                host: service.host,
                enabled: service.enabled,
            })
            .collect(),
        available_credentials: found.available_credentials,
        dynamic_credentials: found.dynamic_credentials,
        missing_credentials: found.missing_credentials,
        placeholders: found.placeholders.into_iter().collect(),
        request_budget: found.bounds.requests,
        requests_left: found.bounds.requests_left,
    }))
}

/// The vault that a program means, by `X-Vault` or `vault`; a vault token has its own.
pub(crate) fn scope<'r>(
    caller: &Caller,
    headers: &'r HeaderMap,
    query: &'r Query,
) -> Result<VaultRef<'r>, ApiError> {
    if headers.get_all(X_VAULT).iter().nth(1).is_some() {
        return Err(ApiError::bad_request("X-Vault is given twice"));
    }
    let header = match headers.get(X_VAULT).map(http::HeaderValue::to_str) {
        Some(Err(_)) => return Err(ApiError::bad_request("X-Vault is not a vault's name")),
        Some(Ok(name)) => Some(name),
        None => None,
    };
    let named = header.or(query.get("vault"));
    Ok(match caller.actor() {
        // The header is for those who could choose.
        Actor::Scoped(_) => VaultRef::Implied,
        Actor::User(_) if named.is_none_or(str::is_empty) => {
            return Err(ApiError::forbidden("Session requires vault scope")
                .hint("name a vault in the `X-Vault` header"));
        }
        Actor::User(_) | Actor::Agent(_) | Actor::LocalOperator => VaultRef::from_input(named),
    })
}
