//! Settings of a vault.

use agent_vault_control::{UnmatchedPolicy, unmatched_name};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::body::JsonBody;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// Settings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultSettings {
    /// `passthrough` or `deny`.
    unmatched_host_policy: &'static str,
    /// Whether one may connect the vault to Infisical here.
    infisical_available: bool,
}

/// Reads a vault's settings.
#[utoipa::path(get, operation_id = "settings_get", path = "/v1/vaults/{name}/settings", tag = "vaults",
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "settings", body = VaultSettings), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Outcome<VaultSettings> {
    let policy = state
        .control()
        .settings()
        .unmatched(caller.actor(), &name)
        .await?;
    Ok(Answer::ok(VaultSettings {
        unmatched_host_policy: unmatched_name(policy),
        infisical_available: state.control().stores().may_connect(caller.actor()).await?,
    }))
}

/// Settings to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsChange {
    /// `passthrough` or `deny`; empty goes back to the default.
    unmatched_host_policy: Option<String>,
}

/// Settings as they are now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedSettings {
    unmatched_host_policy: &'static str,
}

/// Changes a vault's settings.
#[utoipa::path(patch, operation_id = "settings_patch", path = "/v1/vaults/{name}/settings", tag = "vaults", request_body = SettingsChange,
    params(("name" = String, Path, description = "vault")),
    responses((status = 200, description = "settings", body = ChangedSettings), Refusals))]
pub(crate) async fn patch(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment<String>,
    JsonBody(body): JsonBody<SettingsChange>,
) -> Outcome<ChangedSettings> {
    let settings = state.control().settings();
    let policy = match body.unmatched_host_policy.as_deref() {
        None => settings.changeable(caller.actor(), &name).await?,
        Some(word) => {
            settings
                .set_unmatched(caller.actor(), &name, policy(word)?)
                .await?
        }
    };
    Ok(Answer::ok(ChangedSettings {
        unmatched_host_policy: unmatched_name(policy),
    }))
}

fn policy(word: &str) -> Result<Option<UnmatchedPolicy>, ApiError> {
    match word {
        "" => Ok(None),
        "passthrough" => Ok(Some(UnmatchedPolicy::Passthrough)),
        "deny" => Ok(Some(UnmatchedPolicy::Deny)),
        _ => Err(
            ApiError::bad_request("unmatched_host_policy must be `passthrough` or `deny`")
                .hint("for example `deny`; an empty text goes back to the default"),
        ),
    }
}
