//! Services of a vault.

use std::collections::BTreeMap;

use agent_vault_control::{Conditions, Edited};
use agent_vault_policy::{Service, ServiceDraft};
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Tagged};
use crate::body::{JsonBody, null_is_absent};
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
    /// Counts the writes to the list; also the `ETag`. `If-Match` on a write refuses it if there has been another since.
    revision: u64,
    /// Each service's version by its name, for `expected` of an upsert and `If-Match` on a write of one service.
    versions: BTreeMap<String, String>,
}

/// Lists a vault's services.
#[utoipa::path(get, operation_id = "services_list", path = "/v1/vaults/{name}/services", tag = "services",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "services", body = ServiceList, headers(("ETag", description = "the revision"))), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Tagged<ServiceList>, ApiError> {
    let found = state
        .control()
        .services()
        .list(caller.actor(), &name)
        .await?;
    Ok(Tagged::new(
        found.revision,
        ServiceList {
            vault: name,
            services: found.services.iter().map(Service::to_wire).collect(),
            revision: found.revision,
            versions: found.versions(),
        },
    ))
}

/// One service.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneService {
    vault: String,
    #[schema(value_type = ServiceSchema)]
    service: serde_json::Value,
    /// Changes with the service and with nothing else; also the `ETag`.
    version: String,
}

/// Shows one service.
#[utoipa::path(get, operation_id = "services_get", path = "/v1/vaults/{name}/services/{ref}", tag = "services",
    params(("name" = String, Path, description = "vault"),
        ("ref" = String, Path, description = "name, joined host form, or bare host")),
    responses((status = 200, description = "the service", body = OneService, headers(("ETag", description = "the version"))), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((vault, reference)): Segment<(String, String)>,
) -> Result<Tagged<OneService>, ApiError> {
    let (service, version) = state
        .control()
        .services()
        .get(caller.actor(), &vault, &reference)
        .await?;
    Ok(Tagged::new(
        &version,
        OneService {
            vault,
            service: service.to_wire(),
            version: version.clone(),
        },
    ))
}

/// Services to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicesBody {
    #[schema(value_type = Vec<ServiceSchema>)]
    services: Vec<ServiceDraft>,
    /// For services by name the version that the write rests on, `null` where there was none. Refused (412) if one is another by now.
    #[serde(default, deserialize_with = "null_is_absent")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    expected: BTreeMap<String, Option<String>>,
}

/// One service that a dry run would change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlannedChange {
    name: String,
    /// `added`, `changed` or `removed`.
    change: &'static str,
    #[schema(value_type = Option<ServiceSchema>)]
    before: Option<serde_json::Value>,
    #[schema(value_type = Option<ServiceSchema>)]
    after: Option<serde_json::Value>,
}

impl PlannedChange {
    pub(crate) fn new(change: &agent_vault_control::ServiceChange) -> Self {
        Self {
            name: change.name.clone(),
            change: match (&change.before, &change.after) {
                (None, _) => "added",
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
            },
            before: change.before.as_ref().map(Service::to_wire),
            after: change.after.as_ref().map(Service::to_wire),
        }
    }
}

/// What a write would do, for `?dry_run=true`. Nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlanBody {
    vault: String,
    dry_run: bool,
    changes: Vec<PlannedChange>,
    /// How many services there would be.
    services_count: usize,
    /// The list's revision that this was made for: with it in `If-Match` the write does just this, or is refused.
    revision: u64,
}

impl PlanBody {
    fn new<T>(vault: String, edited: &Edited<T>) -> Self {
        let changes = edited.changes.iter().map(PlannedChange::new);
        Self {
            vault,
            dry_run: true,
            changes: changes.collect(),
            services_count: edited.total,
            revision: edited.revision.saturating_sub(1),
        }
    }
}

/// A write that was done, or only shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Written<T> {
    Done(T),
    Planned(PlanBody),
}

/// Answers a write: with what it did and the list's new revision, or with what it would do.
fn written<T, B>(
    vault: String,
    conditions: &Conditions,
    edited: Edited<T>,
    body: impl FnOnce(String, T, usize) -> B,
) -> Tagged<Written<B>> {
    if conditions.dry_run {
        return Tagged::untagged(Written::Planned(PlanBody::new(vault, &edited)));
    }
    let (revision, total) = (edited.revision, edited.total);
    Tagged::new(revision, Written::Done(body(vault, edited.value, total)))
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
    params(("name" = String, Path, description = "vault"), 
        ("dry_run" = Option<bool>, Query, description = "true: answer what would change, change nothing"),
        ("If-Match" = Option<String>, Header, description = "the list's ETag; 412 if the list has been written since")),
    responses((status = 200, description = "stored, or what would be", body = Written<UpsertedBody>),
        (status = 412, description = "written since by somebody else", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn upsert(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ServicesBody>,
) -> Result<Tagged<Written<UpsertedBody>>, ApiError> {
    let conditions = Conditions {
        versions: body.expected,
        ..list_conditions(&query, &headers)?
    };
    let edited = state
        .control()
        .services()
        .upsert(caller.actor(), &name, body.services, &conditions)
        .await?;
    Ok(written(
        name,
        &conditions,
        edited,
        |vault, upserted, services_count| UpsertedBody {
            vault,
            upserted,
            services_count,
        },
    ))
}

/// The result of a replacement.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplacedBody {
    vault: String,
    services_count: usize,
}

/// Replaces all services.
#[utoipa::path(put, operation_id = "services_replace", path = "/v1/vaults/{name}/services", tag = "services", request_body = ServicesBody,
    params(("name" = String, Path, description = "vault"), 
        ("dry_run" = Option<bool>, Query, description = "true: answer what would change, change nothing"),
        ("If-Match" = Option<String>, Header, description = "the list's ETag; 412 if the list has been written since")),
    responses((status = 200, description = "stored, or what would be", body = Written<ReplacedBody>),
        (status = 412, description = "written since by somebody else", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn replace(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ServicesBody>,
) -> Result<Tagged<Written<ReplacedBody>>, ApiError> {
    let conditions = Conditions {
        versions: body.expected,
        ..list_conditions(&query, &headers)?
    };
    let edited = state
        .control()
        .services()
        .replace(caller.actor(), &name, body.services, &conditions)
        .await?;
    Ok(written(
        name,
        &conditions,
        edited,
        |vault, (), services_count| ReplacedBody {
            vault,
            services_count,
        },
    ))
}

/// A vault without services.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClearedBody {
    vault: String,
    cleared: bool,
}

/// Removes all services.
#[utoipa::path(delete, operation_id = "services_clear", path = "/v1/vaults/{name}/services", tag = "services",
    params(("name" = String, Path, description = "vault"), 
        ("dry_run" = Option<bool>, Query, description = "true: answer what would change, change nothing"),
        ("If-Match" = Option<String>, Header, description = "the list's ETag; 412 if the list has been written since")),
    responses((status = 200, description = "removed, or what would be", body = Written<ClearedBody>),
        (status = 412, description = "written since by somebody else", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn clear(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Tagged<Written<ClearedBody>>, ApiError> {
    let conditions = list_conditions(&query, &headers)?;
    let edited = state
        .control()
        .services()
        .replace(caller.actor(), &name, Vec::new(), &conditions)
        .await?;
    Ok(written(name, &conditions, edited, |vault, (), _| {
        ClearedBody {
            vault,
            cleared: true,
        }
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
        ("ref" = String, Path, description = "name, joined host form, or bare host"), 
        ("dry_run" = Option<bool>, Query, description = "true: answer what would change, change nothing"),
        ("If-Match" = Option<String>, Header, description = "the service's ETag; 412 if the service has changed since")),
    responses((status = 200, description = "changed, or what would be", body = Written<ChangedService>),
        (status = 412, description = "written since by somebody else", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((vault, reference)): Segment<(String, String)>,
    query: Query,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ServiceChange>,
) -> Result<Tagged<Written<ChangedService>>, ApiError> {
    let enabled = body.enabled.ok_or_else(|| {
        ApiError::bad_request("enabled is required").hint("send `true` or `false`")
    })?;
    let conditions = service_conditions(&query, &headers)?;
    let edited = state
        .control()
        .services()
        .set_enabled(caller.actor(), &vault, &reference, enabled, &conditions)
        .await?;
    Ok(written(vault, &conditions, edited, |vault, service, _| {
        ChangedService {
            vault,
            name: service.name,
            host: service.host,
            enabled: service.enabled,
        }
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
        ("ref" = String, Path, description = "name, joined host form, or bare host"), 
        ("dry_run" = Option<bool>, Query, description = "true: answer what would change, change nothing"),
        ("If-Match" = Option<String>, Header, description = "the service's ETag; 412 if the service has changed since")),
    responses((status = 200, description = "removed, or what would be", body = Written<RemovedService>),
        (status = 412, description = "written since by somebody else", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((vault, reference)): Segment<(String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Tagged<Written<RemovedService>>, ApiError> {
    let conditions = service_conditions(&query, &headers)?;
    let edited = state
        .control()
        .services()
        .remove(caller.actor(), &vault, &reference, &conditions)
        .await?;
    Ok(written(
        vault,
        &conditions,
        edited,
        |vault, service, services_count| RemovedService {
            vault,
            removed: service.name,
            removed_host: service.host,
            services_count,
        },
    ))
}

fn list_conditions(query: &Query, headers: &HeaderMap) -> Result<Conditions, ApiError> {
    let revision = if_match(headers)?
        .map(|tag| tag.parse::<u64>().map_err(|_| wrong_tag("the list's")))
        .transpose()?;
    Ok(Conditions {
        revision,
        dry_run: dry_run(query)?,
        ..Conditions::default()
    })
}

fn service_conditions(query: &Query, headers: &HeaderMap) -> Result<Conditions, ApiError> {
    Ok(Conditions {
        version: if_match(headers)?,
        dry_run: dry_run(query)?,
        ..Conditions::default()
    })
}

fn dry_run(query: &Query) -> Result<bool, ApiError> {
    match query.get("dry_run") {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(ApiError::bad_request("dry_run is `true` or `false`")),
    }
}

/// The one strong tag of `If-Match`; `*` is no condition here, since what it asks for is checked anyway.
fn if_match(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut fields = headers.get_all(http::header::IF_MATCH).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    let one = "one";
    if fields.next().is_some() {
        return Err(wrong_tag(one));
    }
    let text = field.to_str().map_err(|_| wrong_tag(one))?.trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|tag| !tag.contains('"'))
        .ok_or_else(|| wrong_tag(one))?;
    Ok(Some(tag.to_owned()))
}

fn wrong_tag(whose: &str) -> ApiError {
    ApiError::bad_request(format!("If-Match does not hold {whose} `ETag`"))
        .hint("send back the `ETag` of the read that the change rests on, with its quotes")
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
