//! Liveness, readiness, and what a client must know before it can log in.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome, Status};
use crate::state::ApiState;

/// Longest that a readiness check waits for the database.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// Liveness: the process serves requests. It says nothing about what it depends on, so that a database that is busy is no
/// reason to restart the process.
#[utoipa::path(get, operation_id = "status_health", path = "/health", tag = "status", security(()),
    responses((status = 200, description = "the server answers", body = Status)))]
pub(crate) async fn health() -> Answer<Status> {
    Answer::ok(Status::new("ok"))
}

/// Whether the server can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// What stands in the way; empty when it is ready.
    reasons: Vec<&'static str>,
    checks: Checks,
}

/// What readiness consists of.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checks {
    /// `ok`, `failed`, or `slow` if it did not answer within two seconds.
    database: &'static str,
    /// `listening`, `not_listening`, or `off` if it was switched off.
    proxy: &'static str,
    /// `none`, `ok`, `failing` if a refresh failed, `stale` if some vault's copies may be out of date, `unknown`. No reason not to be
    /// ready: the last copies are served.
    external_stores: &'static str,
    /// Whether the server has begun to stop.
    draining: bool,
}

/// Readiness: the database answers, the proxy listens, the server is not about to stop. 503 with the reasons if not.
#[utoipa::path(get, operation_id = "status_ready", path = "/ready", tag = "status", security(()),
    responses((status = 200, description = "the server can do its work", body = Readiness),
        (status = 503, description = "it cannot", body = Readiness)))]
pub(crate) async fn ready(State(state): State<ApiState>) -> Response {
    let info = state.info();
    let pinged = tokio::time::timeout(DATABASE_PATIENCE, state.control().ping()).await;
    let checks = Checks {
        database: match pinged {
            Ok(Ok(())) => "ok",
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "not ready: the database does not answer"
                );
                "failed"
            }
            Err(_) => "slow",
        },
        proxy: if info.proxy_is_listening() {
            "listening"
        } else if info.proxy_port == 0 {
            "off"
        } else {
            "not_listening"
        },
        external_stores: stores(&state).await,
        draining: info.closing.is_cancelled(),
    };
    let mut reasons = Vec::new();
    match checks.database {
        "ok" => {}
        "slow" => reasons.push("the database did not answer within two seconds"),
        _ => reasons.push("the database does not answer"),
    }
    if checks.proxy == "not_listening" {
        reasons.push("the proxy is not listening");
    }
    if checks.draining {
        reasons.push("the server is stopping");
    }
    let body = Readiness {
        status: if reasons.is_empty() {
            "ready"
        } else {
            "not_ready"
        },
        reasons,
        checks,
    };
    if body.reasons.is_empty() {
        Answer::ok(body).into_response()
    } else {
        Answer::with(StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}

/// How the external stores of all vaults are.
async fn stores(state: &ApiState) -> &'static str {
    let asked = tokio::time::timeout(DATABASE_PATIENCE, async {
        state.control().stores().health().await
    });
    match asked.await {
        Ok(Ok(health)) if health.vaults == 0 => "none",
        Ok(Ok(health)) if health.stale > 0 => "stale",
        Ok(Ok(health)) if health.failing > 0 => "failing",
        Ok(Ok(_)) => "ok",
        Ok(Err(_)) | Err(_) => "unknown",
    }
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
