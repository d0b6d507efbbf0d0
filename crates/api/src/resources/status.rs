//! Liveness, and what a client must know before it can log in.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Status};
use crate::state::ApiState;

/// Liveness.
#[utoipa::path(get, operation_id = "status_health", path = "/health", tag = "status", security(()),
    responses((status = 200, description = "the server answers", body = Status)))]
pub(crate) async fn health() -> Answer<Status> {
    Answer::ok(Status::new("ok"))
}

/// State of the instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceStatus {
    /// Whether an owner exists.
    initialized: bool,
    /// The opposite.
    needs_first_user: bool,
    /// Domains of addresses that may have an account, where not all may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_email_domains: Vec<String>,
    /// Present and true where people come by invitation only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invite_only: bool,
    /// Address that people use, when one is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<String>,
    /// Version of the server.
    version: String,
}

/// Whether the instance has an owner.
#[utoipa::path(get, operation_id = "status", path = "/v1/status", tag = "status", security(()),
    responses((status = 200, description = "state of the instance", body = InstanceStatus), crate::error::Refusals))]
pub(crate) async fn status(State(state): State<ApiState>) -> Outcome<InstanceStatus> {
    let initialized = state.control().is_initialized().await?;
    let info = state.info();
    let entrance = state.control().instance().entrance();
    Ok(Answer::ok(InstanceStatus {
        allowed_email_domains: entrance.allowed_domains,
        invite_only: entrance.invite_only,
        initialized,
        needs_first_user: !initialized,
        base_url: info.base_url_is_explicit.then(|| info.base_url.clone()),
        version: info.version.clone(),
    }))
}
