//! External credential stores of vaults.

use agent_vault_broker::StorePlace;
use agent_vault_control::{StoreChoice, StoreView};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp};
use crate::body::JsonBody;
use crate::error::{ErrorBody, Refusals};
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// Where a vault's credentials come from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreWish {
    /// `builtin` or `infisical`.
    #[serde(default)]
    kind: String,
    /// Where in the store; for `infisical`.
    config: Option<Place>,
    /// Seconds between two refreshes: 10 to 604800, 60 without it.
    poll_interval_seconds: Option<u32>,
}

/// Where in Infisical a vault's secrets are. All three are needed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    #[serde(default)]
    project_id: String,
    /// The environment's slug.
    #[serde(default)]
    environment: String,
    /// The folder; begins with `/`.
    #[serde(default)]
    secret_path: String,
}

impl StoreWish {
    pub(crate) fn into_choice(self) -> StoreChoice {
        StoreChoice {
            kind: self.kind,
            place: self.config.map(|place| StorePlace {
                project_id: place.project_id,
                environment: place.environment,
                secret_path: place.secret_path,
            }),
            poll_interval_seconds: self.poll_interval_seconds,
        }
    }
}

/// A vault's external store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreDetail {
    /// `builtin` or `infisical`.
    kind: &'static str,
    /// For vault admins and instance owners.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_interval_seconds: Option<u32>,
    /// How the last refresh ended: `ok` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sync_status: Option<&'static str>,
    /// When the last refresh ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_synced_at: Option<Stamp>,
    /// When the last refresh ended that went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success_at: Option<Stamp>,
    /// Why the last one failed; for vault admins and instance owners.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sync_error: Option<String>,
    /// True once refreshes have failed for so long that the values may be out of date.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<bool>,
}

impl StoreDetail {
    fn builtin() -> Self {
        Self {
            kind: "builtin",
            config: None,
            poll_interval_seconds: None,
            last_sync_status: None,
            last_synced_at: None,
            last_success_at: None,
            last_sync_error: None,
            stale: None,
        }
    }

    /// What is known of a store.
    pub(crate) fn of(view: StoreView) -> Self {
        Self {
            kind: view.kind,
            config: view.place.map(|place| Place {
                project_id: place.project_id,
                environment: place.environment,
                secret_path: place.secret_path,
            }),
            poll_interval_seconds: Some(view.poll_interval_seconds),
            last_sync_status: view.last_sync_status,
            last_synced_at: view.last_synced_at.map(Stamp),
            last_success_at: view.last_success_at.map(Stamp),
            last_sync_error: view.last_sync_error,
            stale: Some(view.stale),
        }
    }
}

/// A vault's store in a list of vaults.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreSummary {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sync_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_synced_at: Option<Stamp>,
}

impl StoreSummary {
    /// The short form.
    pub(crate) fn of(view: &StoreView) -> Self {
        Self {
            kind: view.kind,
            last_sync_status: view.last_sync_status,
            last_synced_at: view.last_synced_at.map(Stamp),
        }
    }
}

/// A vault's store as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreAnswer {
    credential_store: StoreDetail,
}

/// Switches where a vault's credentials come from. To Infisical: what was typed in is replaced by what is there. Back: the last
/// copies stay as the vault's own.
#[utoipa::path(patch, operation_id = "stores_choose", path = "/v1/vaults/{name}/credential-store", tag = "vaults", request_body = StoreWish,
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "the store", body = StoreAnswer),
        (status = 502, description = "nothing can be fetched from there", body = ErrorBody), Refusals))]
pub(crate) async fn choose(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<StoreWish>,
) -> Outcome<StoreAnswer> {
    let view = state
        .control()
        .stores()
        .choose(caller.actor(), &name, body.into_choice())
        .await?;
    Ok(Answer::ok(StoreAnswer {
        credential_store: view.map_or_else(StoreDetail::builtin, StoreDetail::of),
    }))
}

/// Fetches a vault's credentials from its external store, now.
#[utoipa::path(post, operation_id = "stores_sync", path = "/v1/vaults/{name}/sync", tag = "vaults",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "the store", body = StoreAnswer),
        (status = 502, description = "nothing can be fetched from there", body = ErrorBody), Refusals))]
pub(crate) async fn sync(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<StoreAnswer> {
    let view = state.control().stores().sync(caller.actor(), &name).await?;
    Ok(Answer::ok(StoreAnswer {
        credential_store: StoreDetail::of(view),
    }))
}

/// Kinds of credential store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreKinds {
    available: Vec<&'static str>,
}

/// Lists the kinds of credential store that one may choose.
#[utoipa::path(get, operation_id = "vaults_store_kinds", path = "/v1/instance/credential-stores", tag = "vaults",
    responses((status = 200, description = "kinds", body = StoreKinds), Refusals))]
pub(crate) async fn kinds(State(state): State<ApiState>, caller: Caller) -> Outcome<StoreKinds> {
    let available = state.control().stores().available(caller.actor()).await?;
    Ok(Answer::ok(StoreKinds { available }))
}
