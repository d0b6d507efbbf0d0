//! Registration, login, and one's own logins.

use std::time::Instant;

use agent_vault_control::{Actor, InstanceRole, NewAccount, NewLogin, Seen, label};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Stamp, Status};
use crate::body::{JsonBody, SecretField};
use crate::client::Client;
use crate::cookie;
use crate::error::{ApiError, Refusals};
use crate::principal::{self, Caller};
use crate::segment::Segment;
use crate::state::ApiState;

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Registration {
    #[serde(default)]
    email: String,
    #[serde(default)]
    #[schema(value_type = String)]
    password: SecretField,
    device_label: Option<String>,
    /// For the first owner: the token that the server printed; needed from other machines.
    setup_token: Option<String>,
}

/// The first owner, logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Registered {
    email: String,
    role: &'static str,
    requires_verification: bool,
    email_sent: bool,
    authenticated: bool,
    message: &'static str,
    /// Shown once.
    token: String,
    expires_at: Stamp,
}

/// An account that waits for its code. The same answer for an address that has an account already.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Waiting {
    email: String,
    requires_verification: bool,
    /// Whether codes go by mail here; else an owner hands them on.
    email_sent: bool,
    message: &'static str,
}

/// What a registration answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum RegistrationAnswer {
    /// The first owner.
    Owner(Registered),
    /// Anybody else.
    Waiting(Waiting),
}

/// Creates the first owner; once there is one, an account that waits for a code, where the instance lets people in.
#[utoipa::path(post, operation_id = "auth_register", path = "/v1/auth/register", tag = "auth", security(()), request_body = Registration,
    responses((status = 201, description = "the owner, logged in, or an account that waits for its code", body = RegistrationAnswer), Refusals))]
pub(crate) async fn register(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<Registration>,
) -> Result<Response, ApiError> {
    let account = state
        .control()
        .registration()
        .register(
            &body.email,
            body.password.0,
            client.setup,
            body.setup_token.as_deref(),
            new_login(&client, body.device_label.as_deref()),
        )
        .await?;
    let registered = match account {
        NewAccount::Owner(registered) => registered,
        NewAccount::Waiting { email, by_mail } => {
            let waiting = Waiting {
                email,
                requires_verification: true,
                email_sent: by_mail,
                message: if by_mail {
                    "If this address may have an account, a code is on its way to it"
                } else {
                    "If this address may have an account, ask an owner for its code"
                },
            };
            return Ok(Answer::created(RegistrationAnswer::Waiting(waiting)).into_response());
        }
    };
    let token = registered.login.token.expose().to_owned();
    let cookie = cookie::keep(&token, &client);
    let answer = Answer::created(RegistrationAnswer::Owner(Registered {
        email: registered.email,
        role: InstanceRole::Owner.as_str(),
        requires_verification: false,
        email_sent: false,
        authenticated: true,
        message: "Owner account created",
        token,
        expires_at: Stamp(registered.login.expires_at),
    }));
    Ok(with_cookie(answer, cookie))
}

/// A login attempt.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct LoginAttempt {
    #[serde(default)]
    email: String,
    #[serde(default)]
    #[schema(value_type = String)]
    password: SecretField,
    /// A code of the authenticator app or a recovery code, where the account has a second factor.
    #[schema(value_type = Option<String>)]
    totp_code: Option<SecretField>,
    device_label: Option<String>,
}

/// A session token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionToken {
    /// Shown once.
    pub(crate) token: String,
    pub(crate) expires_at: Stamp,
}

/// Logs in. With a second factor and no code of it, 401 with `second_factor_required`.
#[utoipa::path(post, operation_id = "auth_login", path = "/v1/auth/login", tag = "auth", security(()), request_body = LoginAttempt,
    responses((status = 200, description = "a session", body = SessionToken), Refusals))]
pub(crate) async fn login(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<LoginAttempt>,
) -> Result<Response, ApiError> {
    if body.email.is_empty() || body.password.0.is_empty() {
        return Err(ApiError::bad_request("Email and password are required"));
    }
    state
        .limits()
        .login(client.address, &body.email, Instant::now())?;
    let login = new_login(&client, body.device_label.as_deref());
    let factor = body
        .totp_code
        .as_ref()
        .map(super::codes::text)
        .transpose()?;
    let login = state
        .control()
        .sessions()
        .login(&body.email, body.password.0.duplicate(), factor, login)
        .await?;
    Ok(super::codes::session(&client, &login))
}

/// Drops the presented login or vault token, and the cookie.
#[utoipa::path(post, operation_id = "auth_logout", path = "/v1/auth/logout", tag = "auth", security(()),
    responses((status = 200, description = "done", body = Status), Refusals))]
pub(crate) async fn logout(
    State(state): State<ApiState>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some((token, _)) = principal::presented(&headers) {
        state.control().sessions().logout(&token).await?;
    }
    Ok(with_cookie(
        Answer::ok(Status::new("ok")),
        cookie::clear(&client),
    ))
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Identity {
    /// `user`, `agent` or `local`.
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_name: Option<String>,
    role: &'static str,
    is_owner: bool,
}

/// Says who asks. For a vault token nobody does: 401, as clients expect it here and nowhere else.
#[utoipa::path(get, operation_id = "auth_me", path = "/v1/auth/me", tag = "auth",
    responses((status = 200, description = "who asks", body = Identity), Refusals))]
pub(crate) async fn me(State(state): State<ApiState>, caller: Caller) -> Outcome<Identity> {
    let (kind, email, agent_name) = match caller.actor() {
        Actor::User(user) => ("user", Some(user.email.clone()), None),
        Actor::Agent(agent) => ("agent", None, Some(agent.name.clone())),
        Actor::Scoped(_) => {
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "Not authenticated")
                .hint("a vault token has no account"));
        }
        Actor::LocalOperator => ("local", None, None),
    };
    let role = state.control().account().role(caller.actor()).await?;
    Ok(Answer::ok(Identity {
        r#type: kind,
        email,
        agent_name,
        role: role.as_str(),
        is_owner: role == InstanceRole::Owner,
    }))
}

/// A password change.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PasswordChange {
    #[serde(default)]
    #[schema(value_type = String)]
    current_password: SecretField,
    #[serde(default)]
    #[schema(value_type = String)]
    new_password: SecretField,
}

/// Changes one's password; every login and every vault token minted by it ends, and a new login begins.
#[utoipa::path(post, operation_id = "auth_change_password", path = "/v1/auth/change-password", tag = "auth", request_body = PasswordChange,
    responses((status = 200, description = "the new session", body = SessionToken), Refusals))]
pub(crate) async fn change_password(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<PasswordChange>,
) -> Result<Response, ApiError> {
    caller.actor().user()?;
    if body.current_password.0.is_empty() || body.new_password.0.is_empty() {
        return Err(ApiError::bad_request(
            "Current and new password are required",
        ));
    }
    let login = state
        .control()
        .account()
        .change_password(
            caller.actor(),
            body.current_password.0,
            body.new_password.0,
            seen(caller.client()),
        )
        .await?;
    Ok(super::codes::session(caller.client(), &login))
}

/// An account that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedAccount {
    status: &'static str,
    email: String,
    /// Agents that the person had made, whose tokens ended therefore.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents_revoked: Vec<String>,
}

/// Deletes one's own account.
#[utoipa::path(delete, operation_id = "auth_delete_account", path = "/v1/auth/account", tag = "auth",
    responses((status = 200, description = "gone", body = DeletedAccount), Refusals))]
pub(crate) async fn delete_account(
    State(state): State<ApiState>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let removed = state.control().account().delete(caller.actor()).await?;
    let answer = Answer::ok(DeletedAccount {
        status: "deleted",
        email: removed.email,
        agents_revoked: removed.agents_revoked,
    });
    Ok(with_cookie(answer, cookie::clear(caller.client())))
}

/// One login.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoginItem {
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    device_label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    last_user_agent: String,
    created_at: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Stamp>,
    current: bool,
}

/// One's own logins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoginList {
    sessions: Vec<LoginItem>,
}

/// Lists one's own logins, last used first.
#[utoipa::path(get, operation_id = "auth_sessions", path = "/v1/auth/sessions", tag = "auth",
    responses((status = 200, description = "one's own logins", body = LoginList), Refusals))]
pub(crate) async fn sessions(State(state): State<ApiState>, caller: Caller) -> Outcome<LoginList> {
    let sessions = state.control().sessions().list(caller.actor()).await?;
    let sessions = sessions
        .into_iter()
        .map(|login| LoginItem {
            id: login.id,
            device_label: login.device_label,
            last_ip: login.last_ip,
            last_user_agent: login.last_user_agent,
            created_at: Stamp(login.created_at),
            last_used_at: login.last_used_at.map(Stamp),
            expires_at: login.expires_at.map(Stamp),
            current: login.current,
        })
        .collect();
    Ok(Answer::ok(LoginList { sessions }))
}

/// A login that ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedLogin {
    status: &'static str,
    current: bool,
}

/// Ends one of one's own logins.
#[utoipa::path(delete, operation_id = "auth_revoke_session", path = "/v1/auth/sessions/{id}", tag = "auth",
    params(("id" = String, Path, description = "public id of the login")),
    responses((status = 200, description = "ended", body = RevokedLogin), Refusals))]
pub(crate) async fn revoke_session(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment<String>,
) -> Result<Response, ApiError> {
    let current = state
        .control()
        .sessions()
        .revoke(caller.actor(), &id)
        .await?;
    let answer = Answer::ok(RevokedLogin {
        status: "revoked",
        current,
    });
    let cookie = if current {
        cookie::clear(caller.client())
    } else {
        None
    };
    Ok(with_cookie(answer, cookie))
}

pub(crate) fn with_cookie(answer: impl IntoResponse, cookie: Option<HeaderValue>) -> Response {
    let mut response = answer.into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(crate) fn new_login(client: &Client, device_label: Option<&str>) -> NewLogin {
    NewLogin {
        device_label: device_label.and_then(label::device_label),
        seen: seen(client),
    }
}

pub(crate) fn seen(client: &Client) -> Seen {
    Seen {
        address: client.address.map(|address| address.to_string()),
        user_agent: client.user_agent.clone(),
    }
}
