//! Codes that go by mail: confirming an address, setting a new password; and those that wait for an owner to hand them on.

use std::time::Instant;

use agent_vault_control::CodePurpose;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{self, SessionToken};
use crate::answer::{Answer, Outcome, Stamp};
use crate::body::{JsonBody, SecretField};
use crate::client::Client;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::state::ApiState;

/// A code and whose it is.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Verification {
    #[serde(default)]
    email: String,
    /// Six digits.
    #[serde(default)]
    #[schema(value_type = String)]
    code: SecretField,
    device_label: Option<String>,
}

/// A confirmed address, logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Verified {
    email: String,
    authenticated: bool,
    message: &'static str,
    /// Shown once.
    token: String,
    expires_at: Stamp,
}

/// Confirms an address with the code that went to it, and logs in.
#[utoipa::path(post, operation_id = "auth_verify", path = "/v1/auth/verify", tag = "auth", security(()), request_body = Verification,
    responses((status = 200, description = "confirmed and logged in", body = Verified), Refusals))]
pub(crate) async fn verify(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<Verification>,
) -> Result<Response, ApiError> {
    if body.email.is_empty() || body.code.0.is_empty() {
        return Err(ApiError::bad_request("Email and code are required"));
    }
    limit(&state, &client, &body.email)?;
    let login = auth::new_login(&client, body.device_label.as_deref());
    let (email, login) = state
        .control()
        .codes()
        .verify(&body.email, text(&body.code)?, login)
        .await?;
    let token = login.token.expose().to_owned();
    let cookie = crate::cookie::keep(&token, &client);
    let answer = Answer::ok(Verified {
        email,
        authenticated: true,
        message: "Email verified",
        token,
        expires_at: Stamp(login.expires_at),
    });
    Ok(auth::with_cookie(answer, cookie))
}

/// Whose code.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CodeWanted {
    #[serde(default)]
    email: String,
}

/// The same answer whether there is such an account or not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CodeAsked {
    message: &'static str,
    /// Whether codes go by mail here; else an owner hands them on.
    email_sent: bool,
}

/// Sends another code, if the address waits to be confirmed. The answer tells nothing about that.
#[utoipa::path(post, operation_id = "auth_resend_verification", path = "/v1/auth/resend-verification", tag = "auth", security(()),
    request_body = CodeWanted,
    responses((status = 200, description = "asked", body = CodeAsked), Refusals))]
pub(crate) async fn resend(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<CodeWanted>,
) -> Outcome<CodeAsked> {
    wanted(&state, &client, &body)?;
    state.control().codes().resend(&body.email)?;
    Ok(asked(
        &state,
        "If the address waits to be confirmed, a new code is on its way",
    ))
}

/// Sends a code that sets a new password, if the address has an account. The answer tells nothing about that.
#[utoipa::path(post, operation_id = "auth_forgot_password", path = "/v1/auth/forgot-password", tag = "auth", security(()),
    request_body = CodeWanted,
    responses((status = 200, description = "asked", body = CodeAsked), Refusals))]
pub(crate) async fn forgot(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<CodeWanted>,
) -> Outcome<CodeAsked> {
    wanted(&state, &client, &body)?;
    state.control().codes().forgot(&body.email)?;
    Ok(asked(
        &state,
        "If the address has an account, a code is on its way",
    ))
}

/// A new password, and the code that sets it.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PasswordReset {
    #[serde(default)]
    email: String,
    /// Six digits.
    #[serde(default)]
    #[schema(value_type = String)]
    code: SecretField,
    #[serde(default)]
    #[schema(value_type = String)]
    new_password: SecretField,
    /// A code of the authenticator app or a recovery code, where the account has a second factor.
    #[schema(value_type = Option<String>)]
    totp_code: Option<SecretField>,
    device_label: Option<String>,
}

/// A password that was set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasswordSet {
    message: &'static str,
    authenticated: bool,
    /// Shown once.
    token: String,
    expires_at: Stamp,
}

/// Sets a new password with a code; every login and every vault token minted by it ends, and a new login begins.
#[utoipa::path(post, operation_id = "auth_reset_password", path = "/v1/auth/reset-password", tag = "auth", security(()),
    request_body = PasswordReset,
    responses((status = 200, description = "set and logged in", body = PasswordSet), Refusals))]
pub(crate) async fn reset(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<PasswordReset>,
) -> Result<Response, ApiError> {
    if body.email.is_empty() || body.code.0.is_empty() || body.new_password.0.is_empty() {
        return Err(ApiError::bad_request(
            "Email, code and new password are required",
        ));
    }
    limit(&state, &client, &body.email)?;
    let login = auth::new_login(&client, body.device_label.as_deref());
    let factor = body.totp_code.as_ref().map(text).transpose()?;
    let done = state
        .control()
        .codes()
        .reset(
            &body.email,
            text(&body.code)?,
            body.new_password.0.duplicate(),
            factor,
            login,
        )
        .await?;
    let token = done.login.token.expose().to_owned();
    let cookie = crate::cookie::keep(&token, &client);
    let answer = Answer::ok(PasswordSet {
        message: "Password reset",
        authenticated: true,
        token,
        expires_at: Stamp(done.login.expires_at),
    });
    Ok(auth::with_cookie(answer, cookie))
}

/// A code that no mail took away.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingItem {
    email: String,
    /// `verify` or `reset`.
    purpose: &'static str,
    /// Six digits. Hand it to nobody but the holder of the address.
    code: String,
    expires_at: Stamp,
}

/// Codes that wait.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingList {
    codes: Vec<WaitingItem>,
}

/// Shows an owner the codes that no mail took away, to hand them on. Each look is on record.
#[utoipa::path(get, operation_id = "codes_waiting", path = "/v1/admin/codes", tag = "users",
    responses((status = 200, description = "codes, newest first", body = WaitingList), Refusals))]
pub(crate) async fn waiting(State(state): State<ApiState>, caller: Caller) -> Outcome<WaitingList> {
    let codes = state.control().codes().waiting(caller.actor()).await?;
    let codes = codes
        .into_iter()
        .map(|code| WaitingItem {
            email: code.email,
            purpose: match code.purpose {
                CodePurpose::Verify => "verify",
                CodePurpose::Reset => "reset",
            },
            code: String::from_utf8_lossy(code.code.expose()).into_owned(),
            expires_at: Stamp(code.expires_at),
        })
        .collect();
    Ok(Answer::ok(WaitingList { codes }))
}

fn wanted(state: &ApiState, client: &Client, body: &CodeWanted) -> Result<(), ApiError> {
    if body.email.is_empty() {
        return Err(ApiError::bad_request("Email is required"));
    }
    limit(state, client, &body.email)
}

fn asked(state: &ApiState, message: &'static str) -> Answer<CodeAsked> {
    Answer::ok(CodeAsked {
        message,
        email_sent: state.control().can_mail(),
    })
}

/// Counts as a login does, by address and e-mail.
fn limit(state: &ApiState, client: &Client, email: &str) -> Result<(), ApiError> {
    Ok(state
        .limits()
        .login(client.address, email, Instant::now())?)
}

pub(crate) fn text(field: &SecretField) -> Result<&str, ApiError> {
    field
        .0
        .expose_str()
        .map_err(|_| ApiError::bad_request("A code is not UTF-8"))
}

/// The new session, for routes that begin one.
pub(crate) fn session(client: &Client, login: &agent_vault_control::Login) -> Response {
    let token = login.token.expose().to_owned();
    let cookie = crate::cookie::keep(&token, client);
    auth::with_cookie(
        Answer::ok(SessionToken {
            token,
            expires_at: Stamp(login.expires_at),
        }),
        cookie,
    )
}
