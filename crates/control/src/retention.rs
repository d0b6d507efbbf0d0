//! How long the request log is kept, and the task that keeps it so.

use std::time::Duration;

use agent_vault_store::Retention;
use tokio_util::sync::CancellationToken;

use crate::Control;
use crate::error::ControlError;

/// Time between two sweeps; the first is at the start.
const INTERVAL: Duration = Duration::from_mins(15);
/// Longest age that can be asked for, in hours: a century.
pub(crate) const MAX_AGE_HOURS: u32 = 876_000;
/// Sessions that one purge removes; a sweep purges until fewer are left.
const PURGE_BATCH: u64 = 1000;
/// Purges in one sweep.
const MAX_PURGES: usize = 100;

/// What the environment says. A knob that is given wins over the stored setting, which wins over the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionKnobs {
    /// `AGENT_VAULT_LOGS_MAX_AGE_HOURS`; 0 lifts the limit.
    pub max_age_hours: Option<u32>,
    /// `AGENT_VAULT_LOGS_MAX_ROWS_PER_VAULT`; 0 lifts the limit.
    pub max_rows_per_vault: Option<u32>,
    /// `AGENT_VAULT_LOGS_RETENTION_LOCK=true`: the stored setting does not count.
    pub lock: bool,
}

/// A knob that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is `{value}`: {expected}")]
pub struct RetentionError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl RetentionKnobs {
    /// Reads the knobs through `variable`.
    ///
    /// # Errors
    /// Names the first variable that does not read.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RetentionError> {
        let number = |name: &'static str, max: u32| match variable(name) {
            Some(value) if !value.trim().is_empty() => value
                .trim()
                .parse::<u32>()
                .ok()
                .filter(|number| *number <= max)
                .map(Some)
                .ok_or(RetentionError {
                    name,
                    value,
                    expected: "give a whole number, 0 for no limit",
                }),
            Some(_) | None => Ok(None),
        };
        Ok(Self {
            max_age_hours: number("AGENT_VAULT_LOGS_MAX_AGE_HOURS", MAX_AGE_HOURS)?,
            max_rows_per_vault: number("AGENT_VAULT_LOGS_MAX_ROWS_PER_VAULT", u32::MAX)?,
            lock: variable("AGENT_VAULT_LOGS_RETENTION_LOCK").is_some_and(|value| value == "true"),
        })
    }
}

/// What is stored; what is absent is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredRetention {
    /// Oldest age in hours; 0 lifts the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_hours: Option<u32>,
    /// Most rows of each vault; 0 lifts the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows_per_vault: Option<u32>,
}

impl StoredRetention {
    pub(crate) const KEY: &str = "logs_retention";

    pub(crate) fn read(stored: Option<&str>) -> Self {
        let Some(text) = stored else {
            return Self::default();
        };
        serde_json::from_str(text)
            .inspect_err(|error| {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the stored log retention does not read; it is left out"
                );
            })
            .unwrap_or_default()
    }

    pub(crate) fn to_json(self) -> Result<String, ControlError> {
        serde_json::to_string(&self)
            .map_err(|error| ControlError::internal("the retention cannot be written", error))
    }

    pub(crate) fn check(self) -> Result<(), ControlError> {
        if self
            .max_age_hours
            .is_some_and(|hours| hours > MAX_AGE_HOURS)
        {
            return Err(ControlError::invalid(format!(
                "logs_retention.max_age_hours must be a whole number from 0 to {MAX_AGE_HOURS}"
            ))
            .hint("0 keeps rows of any age; 168 is a week"));
        }
        Ok(())
    }
}

impl RetentionKnobs {
    /// What counts when `stored` is stored.
    pub(crate) fn over(self, stored: StoredRetention) -> Retention {
        let stored = if self.lock {
            StoredRetention::default()
        } else {
            stored
        };
        let base = Retention::default();
        Retention {
            max_age_hours: self
                .max_age_hours
                .or(stored.max_age_hours)
                .unwrap_or(base.max_age_hours)
                .min(MAX_AGE_HOURS),
            max_rows_per_vault: self
                .max_rows_per_vault
                .or(stored.max_rows_per_vault)
                .unwrap_or(base.max_rows_per_vault),
        }
    }
}

impl Control {
    /// Sweeps the request log and ended sessions, at once and every 15 minutes, until cancelled.
    ///
    /// A sweep that fails is reported and tried again at the next turn.
    pub async fn keep_retention(&self, knobs: RetentionKnobs, cancelled: CancellationToken) {
        let mut turns = tokio::time::interval(INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return,
                _ = turns.tick() => {}
            }
            tokio::select! {
                () = cancelled.cancelled() => return,
                swept = self.sweep(knobs) => match swept {
                    Ok(0) => {}
                    Ok(rows) => tracing::debug!(rows, "trimmed the request log"),
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "trimming the request log failed"
                    ),
                },
            }
        }
    }

    /// One sweep; answers how many log rows went.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn sweep(&self, knobs: RetentionKnobs) -> Result<u64, ControlError> {
        let now = self.now();
        let stored = self.store().instance_setting(StoredRetention::KEY).await?;
        let retention = knobs.over(StoredRetention::read(stored.as_deref()));
        let rows = self.store().trim_logs(retention, now).await?;
        for _ in 0..MAX_PURGES {
            if self.store().purge_expired_sessions(now).await? < PURGE_BATCH {
                break;
            }
        }
        // The broker refuses ended tokens anyway; this gives their memory back.
        self.broker()
            .drop_sessions(|session| session.expires_at.is_some_and(|end| end < now));
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_read_or_are_named() {
        let read = |age: &str, lock: &str| {
            RetentionKnobs::from_env(|name| match name {
                "AGENT_VAULT_LOGS_MAX_AGE_HOURS" => Some(age.to_owned()),
                "AGENT_VAULT_LOGS_RETENTION_LOCK" => Some(lock.to_owned()),
                _ => None,
            })
        };
        assert_eq!(
            read("24", "true"),
            Ok(RetentionKnobs {
                max_age_hours: Some(24),
                max_rows_per_vault: None,
                lock: true
            })
        );
        assert_eq!(
            read("0", "1").map(|knobs| (knobs.max_age_hours, knobs.lock)),
            Ok((Some(0), false))
        );
        assert_eq!(read(" ", "").map(|knobs| knobs.max_age_hours), Ok(None));
        let error = read("-1", "").unwrap_err();
        assert!(error.to_string().contains("AGENT_VAULT_LOGS_MAX_AGE_HOURS"));
    }
}
