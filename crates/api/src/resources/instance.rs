//! Settings of the instance, for owners.

use std::collections::BTreeMap;

use agent_vault_control::{
    EffectiveLimits, InstanceChange, InstanceView, LimitLayer, Profile, StoredRetention, TierKnobs,
    duration_text,
};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Answer, Outcome};
use crate::body::{JsonBody, OptionalJsonBody};
use crate::error::Refusals;
use crate::principal::Caller;
use crate::state::ApiState;

/// Settings of the instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceSettings {
    /// Domains of addresses that may have an account; empty is all.
    allowed_email_domains: Vec<String>,
    /// People come by invitation only.
    invite_only: bool,
    /// Whether mail can be sent.
    smtp_configured: bool,
    rate_limit: RateLimitBlock,
    logs_retention: RetentionBlock,
}

/// The rate limits that count.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitBlock {
    /// `default`, `strict`, `loose` or `off`.
    profile: &'static str,
    /// Whether the environment leaves out what is stored.
    locked: bool,
    /// Whether the profile is `off`.
    off: bool,
    /// By tier: AUTH, PROXY, AUTHED, GLOBAL, VERIFY_FAIL.
    tiers: BTreeMap<&'static str, TierBlock>,
}

/// The numbers of one tier.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TierBlock {
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    /// As `5m0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    /// `env`, `override` or `default`: the highest layer that gives any of them.
    source: &'static str,
}

impl From<&EffectiveLimits> for RateLimitBlock {
    fn from(limits: &EffectiveLimits) -> Self {
        Self {
            profile: limits.profile.as_str(),
            locked: limits.locked,
            off: limits.profile == Profile::Off,
            tiers: limits
                .tiers
                .iter()
                .map(|(tier, knobs, source)| {
                    let block = TierBlock {
                        rate: knobs.rate,
                        burst: knobs.burst,
                        window: knobs.window.map(duration_text),
                        max: knobs.max,
                        concurrency: knobs.concurrency,
                        source: source.as_str(),
                    };
                    (tier.as_str(), block)
                })
                .collect(),
        }
    }
}

/// How long the request log is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetentionBlock {
    /// 0 keeps rows of any age.
    max_age_hours: u32,
    /// 0 keeps all.
    max_rows_per_vault: u32,
    /// Whether the environment decides any of it.
    from_environment: bool,
}

fn shown(state: &ApiState, view: InstanceView) -> Answer<InstanceSettings> {
    let (max_age_hours, max_rows_per_vault, from_environment) =
        state.control().retention_knobs().shown(view.retention);
    Answer::ok(InstanceSettings {
        allowed_email_domains: view.entrance.allowed_domains,
        invite_only: view.entrance.invite_only,
        smtp_configured: view.smtp_configured,
        rate_limit: RateLimitBlock::from(&*view.limits),
        logs_retention: RetentionBlock {
            max_age_hours,
            max_rows_per_vault,
            from_environment,
        },
    })
}

/// Reads the settings of the instance.
#[utoipa::path(get, operation_id = "instance_get", path = "/v1/admin/settings", tag = "instance",
    responses((status = 200, description = "settings, and what counts", body = InstanceSettings), Refusals))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    caller: Caller,
) -> Outcome<InstanceSettings> {
    let view = state.control().instance().view(caller.actor()).await?;
    Ok(shown(&state, view))
}

/// Rate limits to store, in place of those that are stored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimitChange {
    /// `default`, `strict`, `loose` or `off`.
    profile: Option<String>,
    /// By tier; numbers of 0 are left to the profile.
    #[schema(value_type = std::collections::BTreeMap<String, TierChange>)]
    overrides: Option<BTreeMap<String, TierKnobs>>,
}

impl RateLimitChange {
    fn layer(self) -> Result<LimitLayer, agent_vault_control::ControlError> {
        LimitLayer::from_input(self.profile.as_deref(), self.overrides.unwrap_or_default())
    }
}

/// Numbers of one tier to store.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of `TierKnobs` for the description")]
pub(crate) struct TierChange {
    rate: Option<u32>,
    burst: Option<u32>,
    /// As `5m` or `1h30m`.
    window: Option<String>,
    max: Option<u32>,
    concurrency: Option<u32>,
}

/// How long to keep the request log.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionChange {
    /// 0 keeps rows of any age.
    max_age_hours: Option<u32>,
    /// 0 keeps all.
    max_rows_per_vault: Option<u32>,
}

/// Settings to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsWanted {
    allowed_email_domains: Option<Vec<String>>,
    invite_only: Option<bool>,
    rate_limit: Option<RateLimitChange>,
    logs_retention: Option<RetentionChange>,
}

/// Changes settings of the instance: all that is given, or nothing. Counts at once.
#[utoipa::path(put, operation_id = "instance_put", path = "/v1/admin/settings", tag = "instance", request_body = SettingsWanted,
    responses((status = 200, description = "settings, and what counts", body = InstanceSettings), Refusals))]
pub(crate) async fn put(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<SettingsWanted>,
) -> Outcome<InstanceSettings> {
    let change = InstanceChange {
        invite_only: body.invite_only,
        allowed_domains: body.allowed_email_domains,
        limits: body.rate_limit.map(RateLimitChange::layer).transpose()?,
        retention: body.logs_retention.map(|retention| StoredRetention {
            max_age_hours: retention.max_age_hours,
            max_rows_per_vault: retention.max_rows_per_vault,
        }),
    };
    let view = state
        .control()
        .instance()
        .change(caller.actor(), change)
        .await?;
    Ok(shown(&state, view))
}

/// Says what would count if these limits were stored. Stores nothing.
#[utoipa::path(post, operation_id = "instance_preview", path = "/v1/admin/settings/rate-limit/preview", tag = "instance",
    request_body = RateLimitChange,
    responses((status = 200, description = "what would count", body = RateLimitBlock), Refusals))]
pub(crate) async fn preview(
    State(state): State<ApiState>,
    caller: Caller,
    JsonBody(body): JsonBody<RateLimitChange>,
) -> Outcome<RateLimitBlock> {
    let limits = state
        .control()
        .instance()
        .preview(caller.actor(), &body.layer()?)
        .await?;
    Ok(Answer::ok(RateLimitBlock::from(&limits)))
}

/// Whom to send a test to.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct TestMailWanted {
    /// Whoever asks, unless given.
    to: Option<String>,
}

/// A test that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestMailSent {
    message: &'static str,
    to: String,
}

/// Sends a test mail.
#[utoipa::path(post, operation_id = "instance_test_mail", path = "/v1/admin/email/test", tag = "instance", request_body = Option<TestMailWanted>,
    responses((status = 200, description = "sent", body = TestMailSent),
        (status = 502, description = "the mail server did not take it", body = crate::error::ErrorBody), Refusals))]
pub(crate) async fn test_mail(
    State(state): State<ApiState>,
    caller: Caller,
    OptionalJsonBody(body): OptionalJsonBody<TestMailWanted>,
) -> Outcome<TestMailSent> {
    let to = state
        .control()
        .instance()
        .test_mail(caller.actor(), body.to.as_deref())
        .await?;
    Ok(Answer::ok(TestMailSent {
        message: "Test email sent",
        to,
    }))
}
