//! Former values of a credential.

use agent_vault_control::{VaultRef, VersionView};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::body::JsonBody;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::query::Query;
use crate::resources::credentials::instant;
use crate::segment::Segment;
use crate::state::ApiState;

/// One value that a credential has or had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionItem {
    version: u32,
    /// Whether it is the one that is served.
    current: bool,
    created_at: Stamp,
    /// From when on it counts as absent.
    expires_at: Option<Stamp>,
    /// The version that it was brought back from.
    restored_from: Option<u32>,
}

/// The values that are kept of a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionList {
    key: String,
    /// The newest first.
    versions: Vec<VersionItem>,
}

/// Lists the values that are kept of a credential; never the values themselves.
#[utoipa::path(get, operation_id = "credential_versions_list", path = "/v1/credentials/{key}/versions", tag = "credentials",
    params(("key" = String, Path, description = "credential"),
        ("vault" = Option<String>, Query, description = "vault")),
    responses((status = 200, description = "versions", body = VersionList), Refusals))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(key): Segment<String>,
    query: Query,
) -> Outcome<VersionList> {
    let vault = VaultRef::from_input(query.get("vault"));
    let versions = state
        .control()
        .credentials()
        .versions(caller.actor(), vault, &key)
        .await?;
    let versions = versions.into_iter().map(item).collect();
    Ok(Answer::ok(VersionList { key, versions }))
}

fn item(view: VersionView) -> VersionItem {
    VersionItem {
        version: view.version,
        current: view.current,
        created_at: Stamp(view.created_at),
        expires_at: view.expires_at.map(Stamp),
        restored_from: view.restored_from,
    }
}

/// Which version to bring back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollBack {
    vault: Option<String>,
    version: u32,
}

/// The version in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InForce {
    key: String,
    version: u32,
}

/// Puts a former value in force again, as a new version.
#[utoipa::path(post, operation_id = "credential_versions_roll_back", path = "/v1/credentials/{key}/rollback", tag = "credentials",
    request_body = RollBack, params(("key" = String, Path, description = "credential")),
    responses((status = 200, description = "in force", body = InForce), Refusals))]
pub(crate) async fn roll_back(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(key): Segment<String>,
    JsonBody(body): JsonBody<RollBack>,
) -> Outcome<InForce> {
    let vault = VaultRef::from_input(body.vault.as_deref());
    let version = state
        .control()
        .credentials()
        .roll_back(caller.actor(), vault, &key, body.version)
        .await?;
    Ok(Answer::ok(InForce { key, version }))
}

/// When a credential ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expiry {
    vault: Option<String>,
    /// From when on it counts as absent, RFC 3339; null for never.
    expires_at: Option<String>,
}

/// When a credential ends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExpirySet {
    key: String,
    expires_at: Option<Stamp>,
}

/// Sets from when on a credential counts as absent, or takes that away.
#[utoipa::path(post, operation_id = "credential_versions_expire", path = "/v1/credentials/{key}/expiry", tag = "credentials",
    request_body = Expiry, params(("key" = String, Path, description = "credential")),
    responses((status = 200, description = "set", body = ExpirySet), Refusals))]
pub(crate) async fn expire(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(key): Segment<String>,
    JsonBody(body): JsonBody<Expiry>,
) -> Outcome<ExpirySet> {
    let vault = VaultRef::from_input(body.vault.as_deref());
    let expires_at = body.expires_at.as_deref().map(instant).transpose()?;
    state
        .control()
        .credentials()
        .set_expiry(caller.actor(), vault, &key, expires_at)
        .await?;
    let expires_at = expires_at.map(Stamp);
    Ok(Answer::ok(ExpirySet { key, expires_at }))
}

/// The version that was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedVersion {
    key: String,
    deleted: u32,
}

/// Deletes a former value for good.
#[utoipa::path(delete, operation_id = "credential_versions_delete", path = "/v1/credentials/{key}/versions/{version}", tag = "credentials",
    params(("key" = String, Path, description = "credential"),
        ("version" = u32, Path, description = "version, not the one in force"),
        ("vault" = Option<String>, Query, description = "vault")),
    responses((status = 200, description = "deleted", body = DeletedVersion), Refusals))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    caller: Caller,
    Segment((key, version)): Segment<(String, String)>,
    query: Query,
) -> Outcome<DeletedVersion> {
    let version = version
        .parse::<u32>()
        .map_err(|_| ApiError::bad_request("version must be a whole number, such as `3`"))?;
    let vault = VaultRef::from_input(query.get("vault"));
    state
        .control()
        .credentials()
        .delete_version(caller.actor(), vault, &key, version)
        .await?;
    Ok(Answer::ok(DeletedVersion {
        key,
        deleted: version,
    }))
}
