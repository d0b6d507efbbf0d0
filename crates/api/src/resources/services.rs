//! Services of a vault.

use agent_vault_control::ServiceName;
use agent_vault_policy::{Service, ServiceDraft};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::body::JsonBody;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::segment::Segment;
use crate::state::ApiState;

/// A rule, for the API description: the rule language itself reads and writes it.
#[derive(ToSchema)]
#[schema(as = Service)]
#[expect(
    dead_code,
    reason = "describes what the rule language reads and writes"
)]
pub(crate) struct ServiceSchema {
    /// Slug, unique in the vault. An upsert without one adopts the name of the service with the same host, port and path.
    name: Option<String>,
    /// `host[:port][/path]`; the host may be `*.example.com`.
    host: String,
    /// Port, where it is not joined to the host. Never in responses.
    port: Option<u16>,
    /// Path pattern, where it is not joined to the host. Never in responses.
    path: Option<String>,
    /// True when absent.
    enabled: Option<bool>,
    auth: AuthSchema,
    substitutions: Option<Vec<SubstitutionSchema>>,
    /// Whether its credentials go out over TLS only; true when absent.
    require_tls: Option<bool>,
    scrub: Option<ScrubSchema>,
    select: Option<SelectSchema>,
}

/// How responses are searched for what was injected.
#[derive(ToSchema)]
#[schema(as = ServiceScrub)]
#[expect(
    dead_code,
    reason = "describes what the rule language reads and writes"
)]
pub(crate) struct ScrubSchema {
    /// Whether what is found is replaced; true when absent.
    enabled: Option<bool>,
    /// What becomes of a response that cannot be searched: `refuse`, which is meant when absent, or `pass`.
    undecodable: Option<String>,
}

/// What a rule injects: the type, and the fields of that type. Values are names of credentials.
#[derive(ToSchema)]
#[schema(as = ServiceAuth)]
#[expect(
    dead_code,
    reason = "describes what the rule language reads and writes"
)]
pub(crate) struct AuthSchema {
    /// `bearer`, `basic`, `api-key`, `custom` or `passthrough`.
    r#type: String,
    /// For `bearer`.
    token: Option<String>,
    /// For `basic`.
    username: Option<String>,
    /// For `basic`.
    password: Option<String>,
    /// For `api-key`.
    key: Option<String>,
    /// For `api-key`: name of the header, `Authorization` when absent.
    header: Option<String>,
    /// For `api-key`: literal text in front.
    prefix: Option<String>,
    /// For `custom`: name to template, as in `Token {{ KEY }}`.
    headers: Option<std::collections::HashMap<String, String>>,
}

/// A placeholder, the credential that it stands for, and where it is replaced.
#[derive(ToSchema)]
#[schema(as = ServiceSubstitution)]
#[expect(
    dead_code,
    reason = "describes what the rule language reads and writes"
)]
pub(crate) struct SubstitutionSchema {
    key: String,
    placeholder: String,
    /// `path`, `query`, `header`, `body`, `websocket`; path and query when absent.
    r#in: Option<Vec<String>>,
    /// Limits the header surface to these fields.
    headers: Option<Vec<String>>,
}

/// What chooses a rule among rules for the same host, port and path.
#[derive(ToSchema)]
#[schema(as = ServiceSelect)]
#[expect(
    dead_code,
    reason = "describes what the rule language reads and writes"
)]
pub(crate) struct SelectSchema {
    /// Names of agents.
    agents: Option<Vec<String>>,
    /// Text that the request carries.
    placeholder: Option<String>,
}

/// Services of a vault.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceList {
    vault: String,
    /// In stored order.
    #[schema(value_type = Vec<ServiceSchema>)]
    services: Vec<serde_json::Value>,
}

/// Lists a vault's services.
#[utoipa::path(get, operation_id = "services_list", path = "/v1/vaults/{name}/services", tag = "services",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "services", body = ServiceList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<ServiceList> {
    let services = state
        .control()
        .services()
        .list(caller.actor(), &name)
        .await?;
    let services = services.iter().map(Service::to_wire).collect();
    Ok(Answer::ok(ServiceList {
        vault: name,
        services,
    }))
}

/// Services to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicesBody {
    #[schema(value_type = Vec<ServiceSchema>)]
    services: Vec<ServiceDraft>,
}

/// The result of an upsert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UpsertedBody {
    vault: String,
    upserted: Vec<String>,
    services_count: usize,
}

/// Puts each service in the place of the one with its name, or at the end.
#[utoipa::path(post, operation_id = "services_upsert", path = "/v1/vaults/{name}/services", tag = "services", request_body = ServicesBody,
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "stored", body = UpsertedBody), Refusals))]
pub(crate) async fn upsert(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<ServicesBody>,
) -> Outcome<UpsertedBody> {
    let upserted = state
        .control()
        .services()
        .upsert(caller.actor(), &name, body.services)
        .await?;
    Ok(Answer::ok(UpsertedBody {
        vault: name,
        upserted: upserted.names,
        services_count: upserted.total,
    }))
}

/// The result of a replacement.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplacedBody {
    vault: String,
    services_count: usize,
}

/// Replaces all services.
#[utoipa::path(put, operation_id = "services_replace", path = "/v1/vaults/{name}/services", tag = "services", request_body = ServicesBody,
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "stored", body = ReplacedBody), Refusals))]
pub(crate) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<ServicesBody>,
) -> Outcome<ReplacedBody> {
    let services_count = state
        .control()
        .services()
        .replace(caller.actor(), &name, body.services)
        .await?;
    Ok(Answer::ok(ReplacedBody {
        vault: name,
        services_count,
    }))
}

/// A vault without services.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClearedBody {
    vault: String,
    cleared: bool,
}

/// Removes all services.
#[utoipa::path(delete, operation_id = "services_clear", path = "/v1/vaults/{name}/services", tag = "services",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "removed", body = ClearedBody), Refusals))]
pub(crate) async fn clear(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<ClearedBody> {
    state
        .control()
        .services()
        .replace(caller.actor(), &name, Vec::new())
        .await?;
    Ok(Answer::ok(ClearedBody {
        vault: name,
        cleared: true,
    }))
}

/// What to change about a service.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceChange {
    enabled: Option<bool>,
}

/// A service that was enabled or disabled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedService {
    vault: String,
    name: String,
    host: String,
    enabled: bool,
}

/// Enables or disables a service.
#[utoipa::path(patch, operation_id = "services_patch", path = "/v1/vaults/{name}/services/{ref}", tag = "services", request_body = ServiceChange,
    params(("name" = String, Path, description = "vault"),
        ("ref" = String, Path, description = "name, joined host form, or bare host")),
    responses((status = 200, description = "changed", body = ChangedService), Refusals))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((vault, reference)): Segment<(String, String)>,
    JsonBody(body): JsonBody<ServiceChange>,
) -> Outcome<ChangedService> {
    let enabled = body.enabled.ok_or_else(|| {
        ApiError::bad_request("enabled is required").hint("send `true` or `false`")
    })?;
    let changed = state
        .control()
        .services()
        .set_enabled(caller.actor(), &vault, &reference, enabled)
        .await?;
    let ServiceName {
        name,
        host,
        enabled,
    } = changed;
    Ok(Answer::ok(ChangedService {
        vault,
        name,
        host,
        enabled,
    }))
}

/// A service that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RemovedService {
    vault: String,
    removed: String,
    removed_host: String,
    services_count: usize,
}

/// Removes a service.
#[utoipa::path(delete, operation_id = "services_remove", path = "/v1/vaults/{name}/services/{ref}", tag = "services",
    params(("name" = String, Path, description = "vault"),
        ("ref" = String, Path, description = "name, joined host form, or bare host")),
    responses((status = 200, description = "removed", body = RemovedService), Refusals))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((vault, reference)): Segment<(String, String)>,
) -> Outcome<RemovedService> {
    let (removed, services_count) = state
        .control()
        .services()
        .remove(caller.actor(), &vault, &reference)
        .await?;
    Ok(Answer::ok(RemovedService {
        vault,
        removed: removed.name,
        removed_host: removed.host,
        services_count,
    }))
}

/// A service by what people call it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceRef {
    name: String,
    host: String,
}

/// Services that use a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialUsage {
    services: Vec<ServiceRef>,
}

/// Lists the services that use a credential.
#[utoipa::path(get, operation_id = "services_credential_usage", path = "/v1/vaults/{name}/services/credential-usage", tag = "services",
    params(("name" = String, Path, description = "vault"), ("key" = String, Query, description = "credential")),
    responses((status = 200, description = "services", body = CredentialUsage), Refusals))]
pub(crate) async fn credential_usage(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
) -> Outcome<CredentialUsage> {
    let key = query.required("key")?;
    let services = state
        .control()
        .services()
        .using(caller.actor(), &name, key)
        .await?;
    let services = services
        .into_iter()
        .map(|service| ServiceRef {
            name: service.name,
            host: service.host,
        })
        .collect();
    Ok(Answer::ok(CredentialUsage { services }))
}
