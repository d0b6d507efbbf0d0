//! One layer of limits, and the one that is stored: its bounds and its form.

use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effective::LimitSources;
use super::{MAX_CONCURRENCY, MAX_COUNT, Profile, Tier};
use crate::error::ControlError;

/// What a stored setting may not go below, or nobody could log in to mend it.
const MIN_AUTH_MAX: u32 = 5;
const MIN_GLOBAL_CONCURRENCY: u32 = 32;
const MIN_GLOBAL_RATE: u32 = 100;

/// The knobs of one tier as one layer gives them; zero and absent both leave a knob to the next layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierKnobs {
    /// Per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// At once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Length of a window.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "window")]
    pub window: Option<Duration>,
    /// Units per window, or guesses per code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// At the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl TierKnobs {
    pub(super) fn is_given(self) -> bool {
        self != Self::default()
    }

    /// Each knob from here, or else from `next`.
    pub(super) fn or(self, next: Self) -> Self {
        Self {
            rate: self.rate.or(next.rate),
            burst: self.burst.or(next.burst),
            window: self.window.or(next.window),
            max: self.max.or(next.max),
            concurrency: self.concurrency.or(next.concurrency),
        }
    }

    /// Zeros mean "as the next layer says".
    fn without_zeros(self) -> Self {
        let given = |knob: Option<u32>| knob.filter(|number| *number > 0);
        Self {
            rate: given(self.rate),
            burst: given(self.burst),
            max: given(self.max),
            concurrency: given(self.concurrency),
            window: self.window.filter(|window| !window.is_zero()),
        }
    }
}

/// A window's length in JSON: text such as `5m0s`; empty is absent.
mod window {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        window: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match window {
            Some(window) => {
                serializer.serialize_str(&crate::limits::duration::duration_text(*window))
            }
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("" | "0" | "0s") => Ok(None),
            Some(text) => crate::limits::duration::read(text)
                .map(Some)
                .ok_or_else(|| de::Error::custom(crate::limits::duration::EXPECTED)),
        }
    }
}

/// One layer of limits: the environment's, or what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitLayer {
    /// The profile that it names.
    pub profile: Option<Profile>,
    /// The knobs that it gives.
    pub tiers: BTreeMap<Tier, TierKnobs>,
}

/// What is stored, as JSON has it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLayer {
    #[serde(default)]
    profile: Option<String>,
    #[serde(default)]
    overrides: BTreeMap<String, TierKnobs>,
}

impl LimitLayer {
    /// Puts a layer together from what a client sent: a profile and overrides by tier.
    ///
    /// # Errors
    /// `Invalid`, with the field, its bounds and an example.
    pub fn from_input(
        profile: Option<&str>,
        overrides: BTreeMap<String, TierKnobs>,
    ) -> Result<Self, ControlError> {
        let profile = match profile.filter(|word| !word.is_empty()) {
            None => None,
            Some(word) => Some(Profile::from_str(word).map_err(|expected| {
                ControlError::invalid(format!("rate_limit.profile: {expected}"))
                    .hint("for example `strict`, which halves what `default` allows")
            })?),
        };
        let mut tiers = BTreeMap::new();
        for (name, knobs) in overrides {
            let tier = Tier::ALL
                .into_iter()
                .find(|tier| tier.as_str() == name)
                .ok_or_else(|| {
                    ControlError::invalid(format!(
                        "rate_limit.overrides: there is no tier `{}`",
                        crate::access::shown(&name)
                    ))
                    .hint("tiers are AUTH, PROXY, AUTHED, GLOBAL and VERIFY_FAIL")
                })?;
            check(tier, knobs)?;
            let knobs = knobs.without_zeros();
            if knobs.is_given() {
                tiers.insert(tier, knobs);
            }
        }
        let layer = Self { profile, tiers };
        layer.check_floors()?;
        Ok(layer)
    }

    /// Reads what [`LimitLayer::to_json`] wrote.
    pub(crate) fn from_json(text: &str) -> Result<Self, ControlError> {
        let stored: StoredLayer = serde_json::from_str(text)
            .map_err(|error| ControlError::internal("the stored rate limits do not read", error))?;
        Self::from_input(stored.profile.as_deref(), stored.overrides)
    }

    pub(crate) fn to_json(&self) -> Result<String, ControlError> {
        let stored = StoredLayer {
            profile: self.profile.map(|profile| profile.as_str().to_owned()),
            overrides: self
                .tiers
                .iter()
                .map(|(tier, knobs)| (tier.as_str().to_owned(), *knobs))
                .collect(),
        };
        serde_json::to_string(&stored)
            .map_err(|error| ControlError::internal("the rate limits cannot be written", error))
    }

    pub(super) fn knobs(&self, tier: Tier) -> TierKnobs {
        self.tiers.get(&tier).copied().unwrap_or_default()
    }

    /// The environment may go below; what is stored may not, or a slip would lock everybody out.
    fn check_floors(&self) -> Result<(), ControlError> {
        let limits = LimitSources::default().effective(Some(self)).limits;
        let low = |what: &str, floor: u32| {
            Err(
                ControlError::invalid(format!("rate_limit: {what} must be at least {floor}"))
                    .hint("lower values would lock everybody out; the environment may set them"),
            )
        };
        if limits.auth.is_some_and(|auth| auth.max < MIN_AUTH_MAX) {
            return low("AUTH.max", MIN_AUTH_MAX);
        }
        if limits
            .global_in_flight
            .is_some_and(|places| places < MIN_GLOBAL_CONCURRENCY)
        {
            return low("GLOBAL.concurrency", MIN_GLOBAL_CONCURRENCY);
        }
        if limits
            .global
            .is_some_and(|global| global.rate.get() < MIN_GLOBAL_RATE)
        {
            return low("GLOBAL.rate", MIN_GLOBAL_RATE);
        }
        Ok(())
    }
}

fn check(tier: Tier, knobs: TierKnobs) -> Result<(), ControlError> {
    let bounds = [
        ("rate", knobs.rate, MAX_COUNT),
        ("burst", knobs.burst, MAX_COUNT),
        ("max", knobs.max, MAX_COUNT),
        ("concurrency", knobs.concurrency, MAX_CONCURRENCY),
    ];
    for (knob, number, max) in bounds {
        if number.is_some_and(|number| number > max) {
            return Err(ControlError::invalid(format!(
                "rate_limit.overrides.{}.{knob} must be a whole number from 0 to {max}",
                tier.as_str()
            ))
            .hint("0 leaves it to the profile"));
        }
    }
    Ok(())
}
