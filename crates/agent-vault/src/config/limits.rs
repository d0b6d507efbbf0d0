//! The rate limits' settings.

use std::cell::RefCell;
use std::fmt;

use agent_vault_control::{LimitLayer, LimitSources};

use super::layers::{Layers, Origin, Setting};
use super::values::{self, Parsed};
use crate::env_vars as vars;
use crate::error::{CliError, Result};

/// A set of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateProfile {
    Default,
    Strict,
    Loose,
    Off,
}

impl fmt::Display for RateProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RateProfile::Default => "default",
            RateProfile::Strict => "strict",
            RateProfile::Loose => "loose",
            RateProfile::Off => "off",
        })
    }
}

/// Rate limits as set from outside the database.
#[derive(Debug, Clone)]
pub(crate) struct RateLimits {
    /// The set to start from.
    pub(crate) profile: Setting<RateProfile>,
    /// The stored setting is ignored.
    pub(crate) lock: Setting<bool>,
    /// What beats the stored setting: the profile, and each single limit.
    pub(crate) limits: LimitSources,
    /// The variables that set a single limit, with their text.
    pub(crate) knobs: Vec<(String, String)>,
}

fn profile_named(text: &str) -> Parsed<RateProfile> {
    match text.trim() {
        "default" => Ok(RateProfile::Default),
        "strict" => Ok(RateProfile::Strict),
        "loose" => Ok(RateProfile::Loose),
        "off" => Ok(RateProfile::Off),
        _ => Err(format!(
            "`{text}` is none of `default`, `strict`, `loose`, `off`"
        )),
    }
}

/// The limits as the API reads them, so that what is shown is what is held to.
pub(super) fn rate_limits(layers: &Layers<'_>) -> Result<RateLimits> {
    let profile = layers.plain(
        "ratelimit_profile",
        &vars::RATELIMIT_PROFILE,
        profile_named,
        || RateProfile::Default,
    )?;
    let lock = layers.plain(
        "ratelimit_lock",
        &vars::RATELIMIT_LOCK,
        values::boolean,
        || false,
    )?;
    let knobs = RefCell::new(Vec::new());
    let variable = |name: &str| {
        if name == vars::RATELIMIT_PROFILE.name {
            return (profile.origin != Origin::Default).then(|| profile.value.to_string());
        }
        let text = layers.env.raw(name)?.to_string_lossy().into_owned();
        if !text.trim().is_empty() {
            knobs.borrow_mut().push((name.to_owned(), text.clone()));
        }
        Some(text)
    };
    let limits = LimitSources {
        env: LimitLayer::from_env(variable)
            .map_err(|error| CliError::new(format!("environment variable {error}")))?,
        lock: lock.value,
    };
    Ok(RateLimits {
        profile,
        lock,
        limits,
        knobs: knobs.into_inner(),
    })
}
