//! A layer of limits from the environment: one variable for each knob.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use super::layer::{LimitLayer, TierKnobs};
use super::{MAX_CONCURRENCY, MAX_COUNT, Profile, Tier, duration};

/// A knob that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is `{value}`: {expected}")]
pub struct SettingsError {
    name: String,
    value: String,
    expected: &'static str,
}

impl LimitLayer {
    /// Reads `AGENT_VAULT_RATELIMIT_PROFILE` and `AGENT_VAULT_RATELIMIT_<TIER>_<KNOB>` through `variable`.
    ///
    /// # Errors
    /// Names the first variable that does not read, and what it should be.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let env = Environment(&variable);
        let mut tiers = BTreeMap::new();
        for tier in Tier::ALL {
            let name = tier.as_str();
            let knobs = TierKnobs {
                rate: env.number(&format!("{name}_RATE"), MAX_COUNT)?,
                burst: env.number(&format!("{name}_BURST"), MAX_COUNT)?,
                window: env.duration(&format!("{name}_WINDOW"))?,
                max: env.number(&format!("{name}_MAX"), MAX_COUNT)?,
                concurrency: env.number(&format!("{name}_CONCURRENCY"), MAX_CONCURRENCY)?,
            };
            if knobs.is_given() {
                tiers.insert(tier, knobs);
            }
        }
        Ok(Self {
            profile: env.profile()?,
            tiers,
        })
    }
}

struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    fn profile(&self) -> Result<Option<Profile>, SettingsError> {
        let Some((name, value)) = self.read("PROFILE") else {
            return Ok(None);
        };
        match Profile::from_str(&value) {
            Ok(profile) => Ok(Some(profile)),
            Err(expected) => Err(SettingsError {
                name,
                value,
                expected,
            }),
        }
    }

    fn read(&self, knob: &str) -> Option<(String, String)> {
        let name = format!("AGENT_VAULT_RATELIMIT_{knob}");
        let value = (self.0)(&name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (name, value.to_owned()))
    }

    fn number(&self, knob: &str, max: u32) -> Result<Option<u32>, SettingsError> {
        let Some((name, value)) = self.read(knob) else {
            return Ok(None);
        };
        match value.parse::<u32>() {
            Ok(0) => Ok(None),
            Ok(number) if number <= max => Ok(Some(number)),
            Ok(_) | Err(_) => Err(SettingsError {
                name,
                value,
                expected: if max == MAX_CONCURRENCY {
                    "give a whole number from 0 to 8192"
                } else {
                    "give a whole number from 0 to 100000"
                },
            }),
        }
    }

    fn duration(&self, knob: &str) -> Result<Option<Duration>, SettingsError> {
        let Some((name, value)) = self.read(knob) else {
            return Ok(None);
        };
        duration::read(&value).map(Some).ok_or(SettingsError {
            name,
            value,
            expected: duration::EXPECTED,
        })
    }
}
