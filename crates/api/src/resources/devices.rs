//! Logins of devices without a browser at hand, and the page on which a person approves them.

use agent_vault_control::{DeviceView, Polled};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth;
use crate::answer::{Answer, Outcome, Stamp, Status};
use crate::body::{JsonBody, OptionalJsonBody, SecretField};
use crate::client::Client;
use crate::error::{ApiError, Refusals};
use crate::principal::Caller;
use crate::segment::Segment;
use crate::state::ApiState;

/// A device that wants to be logged in.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct DeviceWanted {
    device_label: Option<String>,
}

/// What the device does now: it shows `user_code` and polls with `device_code` (RFC 8628 section 3.2).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceStarted {
    /// For polling. Shown once.
    device_code: String,
    /// For people.
    user_code: String,
    /// Where people enter it.
    verification_uri: String,
    /// The same with the code in it.
    verification_uri_complete: String,
    /// Seconds.
    expires_in: i64,
    /// Seconds between two polls.
    interval: u32,
}

/// Begins the login of a device that a person approves elsewhere.
#[utoipa::path(post, operation_id = "devices_start", path = "/v1/auth/device", tag = "auth", security(()), request_body = Option<DeviceWanted>,
    responses((status = 200, description = "what to show and how to go on", body = DeviceStarted), Refusals))]
pub(crate) async fn start(
    State(state): State<ApiState>,
    client: Client,
    OptionalJsonBody(body): OptionalJsonBody<DeviceWanted>,
) -> Outcome<DeviceStarted> {
    let login = auth::new_login(&client, body.device_label.as_deref());
    let started = state
        .control()
        .devices()
        .start(login.device_label, login.seen)
        .await?;
    let page = format!("{}/device", state.info().base_url);
    Ok(Answer::ok(DeviceStarted {
        device_code: started.device_token.expose().to_owned(),
        verification_uri_complete: format!("{page}?code={}", started.user_code),
        verification_uri: page,
        user_code: started.user_code,
        expires_in: started.expires_in,
        interval: started.interval,
    }))
}

/// A poll.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct DevicePoll {
    #[serde(default)]
    #[schema(value_type = String)]
    device_code: SecretField,
}

/// The device's login.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceLoggedIn {
    email: String,
    /// Shown once.
    token: String,
    expires_at: Stamp,
}

/// Asks whether the login was approved: 400 with `authorization_pending`, `access_denied` or `expired_token` until it was.
#[utoipa::path(post, operation_id = "devices_poll", path = "/v1/auth/device/token", tag = "auth", security(()), request_body = DevicePoll,
    responses((status = 200, description = "the login", body = DeviceLoggedIn), Refusals))]
pub(crate) async fn poll(
    State(state): State<ApiState>,
    client: Client,
    JsonBody(body): JsonBody<DevicePoll>,
) -> Outcome<DeviceLoggedIn> {
    let device_code = super::codes::text(&body.device_code)?;
    if device_code.is_empty() {
        return Err(ApiError::bad_request("device_code is required"));
    }
    let not_yet = |code, message: &str| {
        Err(ApiError::coded(
            StatusCode::BAD_REQUEST,
            code,
            message.to_owned(),
        ))
    };
    match state
        .control()
        .devices()
        .poll(device_code, auth::seen(&client))
        .await?
    {
        Polled::Pending => not_yet(
            "authorization_pending",
            "Nobody has approved this login yet",
        ),
        Polled::Denied => not_yet("access_denied", "The login was denied"),
        Polled::Gone => not_yet("expired_token", "The login was not approved in time"),
        Polled::LoggedIn(email, login) => Ok(Answer::ok(DeviceLoggedIn {
            email,
            token: login.token.expose().to_owned(),
            expires_at: Stamp(login.expires_at),
        })),
    }
}

/// A device that waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceItem {
    user_code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    device_label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user_agent: String,
    created_at: Stamp,
    expires_at: Stamp,
}

impl From<DeviceView> for DeviceItem {
    fn from(view: DeviceView) -> Self {
        Self {
            user_code: view.user_code,
            device_label: view.device_label,
            ip: view.ip,
            user_agent: view.user_agent,
            created_at: Stamp(view.created_at),
            expires_at: Stamp(view.expires_at),
        }
    }
}

/// Shows what waits under a code.
#[utoipa::path(get, operation_id = "devices_get", path = "/v1/auth/device/{code}", tag = "auth",
    params(("code" = String, Path, description = "what the device shows")),
    responses((status = 200, description = "the device", body = DeviceItem), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(code): Segment<String>,
) -> Outcome<DeviceItem> {
    let view = state
        .control()
        .devices()
        .show(caller.actor(), &code)
        .await?;
    Ok(Answer::ok(view.into()))
}

/// Approves a device: it gets a login of whoever approves.
#[utoipa::path(post, operation_id = "devices_approve", path = "/v1/auth/device/{code}/approve", tag = "auth",
    params(("code" = String, Path, description = "what the device shows")),
    responses((status = 200, description = "approved", body = Status), Refusals))]
pub(crate) async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(code): Segment<String>,
) -> Outcome<Status> {
    let devices = state.control().devices();
    devices.approve(caller.actor(), &code).await?;
    Ok(Answer::ok(Status::new("approved")))
}

/// Turns a device away.
#[utoipa::path(post, operation_id = "devices_deny", path = "/v1/auth/device/{code}/deny", tag = "auth",
    params(("code" = String, Path, description = "what the device shows")),
    responses((status = 200, description = "denied", body = Status), Refusals))]
pub(crate) async fn deny(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(code): Segment<String>,
) -> Outcome<Status> {
    let devices = state.control().devices();
    devices.deny(caller.actor(), &code).await?;
    Ok(Answer::ok(Status::new("denied")))
}

/// The page on which a person approves a device.
pub(crate) async fn page() -> Response {
    super::page::page(include_str!("device_page.html"))
}

/// The script of that page.
pub(crate) async fn script() -> Response {
    super::page::asset(
        "text/javascript; charset=utf-8",
        include_str!("device_page.js"),
    )
}
