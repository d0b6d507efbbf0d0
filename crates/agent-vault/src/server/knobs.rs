//! Settings that other crates read by the name of their variable.

use agent_vault_control::RetentionKnobs;

use crate::config::{KnobValue, Origin, RateLimits, ServerConfig, Setting};

/// A rate limit's text by the name of its variable, as `agent_vault_api::RateLimits::from_env` asks for it.
pub(super) fn text(limits: &RateLimits, variable: &str) -> Option<String> {
    if variable == "AGENT_VAULT_RATELIMIT_PROFILE" {
        return Some(limits.profile.value.to_string());
    }
    limits
        .knobs
        .iter()
        .find(|(tier, knob, _)| variable == format!("AGENT_VAULT_RATELIMIT_{tier}_{knob}"))
        .map(|(_, _, setting)| match setting.value {
            KnobValue::Window(window) => format!("{}ms", window.as_millis()),
            other => other.to_string(),
        })
}

/// How long the request log is kept; only what somebody set beats the stored setting.
pub(super) fn retention(config: &ServerConfig) -> RetentionKnobs {
    RetentionKnobs {
        max_age_hours: given(&config.logs_max_age_hours),
        max_rows_per_vault: given(&config.logs_max_rows_per_vault),
        lock: config.logs_retention_lock.value,
    }
}

fn given(setting: &Setting<u64>) -> Option<u32> {
    (setting.origin != Origin::Default).then(|| u32::try_from(setting.value).unwrap_or(u32::MAX))
}
