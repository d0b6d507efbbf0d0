//! Second factors: an authenticator app, and recovery codes.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes::text;
use crate::answer::{Answer, Outcome, Status};
use crate::body::{JsonBody, SecretField};
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// Whether a second factor is asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FactorStatus {
    enabled: bool,
    /// Recovery codes that are left.
    recovery_codes: u64,
}

/// Says whether one's own account has a second factor.
#[utoipa::path(get, operation_id = "totp_get", path = "/v1/auth/totp", tag = "auth",
    responses((status = 200, description = "whether it is on", body = FactorStatus), Refusals))]
pub(crate) async fn get(State(state): State<ApiState>, caller: Caller) -> Outcome<FactorStatus> {
    let factor = state
        .control()
        .second_factors()
        .state(caller.actor())
        .await?;
    Ok(Answer::ok(FactorStatus {
        enabled: factor.enabled,
        recovery_codes: factor.recovery_codes,
    }))
}

/// The password, again.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct FactorWanted {
    #[serde(default)]
    #[schema(value_type = String)]
    current_password: SecretField,
}

/// A secret for an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FactorSecret {
    /// As people type it. Shown once.
    secret: String,
    /// As apps read it.
    otpauth_url: String,
}

/// Makes a secret for an authenticator app; it is asked for once a first code has come back.
#[utoipa::path(post, operation_id = "totp_start", path = "/v1/auth/totp", tag = "auth", request_body = FactorWanted,
    responses((status = 200, description = "the secret", body = FactorSecret), Refusals))]
pub(crate) async fn start(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<FactorWanted>,
) -> Outcome<FactorSecret> {
    caller.actor().user()?;
    required(&body.current_password)?;
    let started = state
        .control()
        .second_factors()
        .start(caller.actor(), body.current_password.0)
        .await?;
    Ok(Answer::ok(FactorSecret {
        secret: started.secret.to_string(),
        otpauth_url: started.url.to_string(),
    }))
}

/// A first code.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct FirstCode {
    /// Six digits that the app shows now.
    #[serde(default)]
    #[schema(value_type = String)]
    code: SecretField,
}

/// Codes for when the app is lost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecoveryCodes {
    /// Each good once. Shown once.
    recovery_codes: Vec<String>,
}

/// Turns the second factor on.
#[utoipa::path(post, operation_id = "totp_confirm", path = "/v1/auth/totp/confirm", tag = "auth", request_body = FirstCode,
    responses((status = 200, description = "on; codes for when the app is lost", body = RecoveryCodes), Refusals))]
pub(crate) async fn confirm(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<FirstCode>,
) -> Outcome<RecoveryCodes> {
    let codes = state
        .control()
        .second_factors()
        .confirm(caller.actor(), text(&body.code)?)
        .await?;
    Ok(Answer::ok(RecoveryCodes {
        recovery_codes: codes.iter().map(|code| code.to_string()).collect(),
    }))
}

/// The password and the factor, again.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct FactorUnwanted {
    #[serde(default)]
    #[schema(value_type = String)]
    current_password: SecretField,
    /// A code of the app, or a recovery code.
    #[schema(value_type = Option<String>)]
    totp_code: Option<SecretField>,
}

/// Turns the second factor off.
#[utoipa::path(post, operation_id = "totp_disable", path = "/v1/auth/totp/disable", tag = "auth", request_body = FactorUnwanted,
    responses((status = 200, description = "off", body = Status), Refusals))]
pub(crate) async fn disable(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<FactorUnwanted>,
) -> Outcome<Status> {
    caller.actor().user()?;
    required(&body.current_password)?;
    let factor = body.totp_code.as_ref().map(text).transpose()?;
    state
        .control()
        .second_factors()
        .disable(caller.actor(), body.current_password.0.duplicate(), factor)
        .await?;
    Ok(Answer::ok(Status::new("disabled")))
}

/// Takes the second factor of somebody away who has lost app and recovery codes.
#[utoipa::path(delete, operation_id = "users_remove_totp", path = "/v1/admin/users/{email}/totp", tag = "users",
    params(("email" = String, Path, description = "address")),
    responses((status = 200, description = "gone", body = Status), Refusals))]
pub(crate) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(email): Segment<String>,
) -> Outcome<Status> {
    state
        .control()
        .second_factors()
        .remove(caller.actor(), &email)
        .await?;
    Ok(Answer::ok(Status::new("removed")))
}

fn required(password: &SecretField) -> Result<(), ApiError> {
    if password.0.is_empty() {
        return Err(ApiError::bad_request("current_password is required"));
    }
    Ok(())
}
