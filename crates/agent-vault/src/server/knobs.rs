//! Settings in the form in which other crates want them.

use agent_vault_control::RetentionKnobs;

use crate::config::{Origin, ServerConfig, Setting};

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
