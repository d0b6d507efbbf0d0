//! The rate limits of the instance: what the environment says, then what is stored, then a profile.
//!
//! One precedence for every knob: environment > stored setting > profile. The profile too is the environment's, where it
//! names one, else the stored one. `AGENT_VAULT_RATELIMIT_LOCK=true` leaves out what is stored. What counts is told beside
//! each tier, and a stored change counts at once, in every process.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use agent_vault_broker::LimitSettings;
use serde::{Deserialize, Serialize};

use crate::error::ControlError;

/// Largest rate, burst or window maximum.
const MAX_COUNT: u32 = 100_000;
/// Largest number of requests in flight.
const MAX_CONCURRENCY: u32 = 8_192;
/// Longest window.
const MAX_WINDOW: Duration = Duration::from_hours(24);
/// What a stored setting may not go below, or nobody could log in to mend it.
const MIN_AUTH_MAX: u32 = 5;
const MIN_GLOBAL_CONCURRENCY: u32 = 32;
const MIN_GLOBAL_RATE: u32 = 100;

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketKnobs {
    /// Tokens per second.
    pub rate: NonZeroU32,
    /// Tokens that a full bucket holds.
    pub burst: NonZeroU32,
}

/// A sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowKnobs {
    /// Units per window.
    pub max: u32,
    /// Length of the window.
    pub window: Duration,
}

/// A preset that scales rates, bursts, maxima and concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// As documented.
    #[default]
    Default,
    /// Half.
    Strict,
    /// Double.
    Loose,
    /// No limits, except where a knob is given.
    Off,
}

impl Profile {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Loose => "loose",
            Self::Off => "off",
        }
    }
}

impl FromStr for Profile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            "loose" => Ok(Self::Loose),
            "off" => Ok(Self::Off),
            _ => Err("give one of: default, strict, loose, off"),
        }
    }
}

/// What is limited together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Account routes without a login.
    Auth,
    /// Proxied requests.
    Proxy,
    /// Routes with a login or token.
    Authed,
    /// Everything.
    Global,
    /// Guesses at codes.
    VerifyFail,
}

impl Tier {
    /// Every tier, as lists show them.
    pub const ALL: [Self; 5] = [
        Self::Auth,
        Self::Proxy,
        Self::Authed,
        Self::Global,
        Self::VerifyFail,
    ];

    /// The word for it, in settings and in names of variables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "AUTH",
            Self::Proxy => "PROXY",
            Self::Authed => "AUTHED",
            Self::Global => "GLOBAL",
            Self::VerifyFail => "VERIFY_FAIL",
        }
    }
}

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
    fn is_given(self) -> bool {
        self != Self::default()
    }

    /// Each knob from here, or else from `next`.
    fn or(self, next: Self) -> Self {
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
            Some(window) => serializer.serialize_str(&super::duration_text(*window)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("" | "0" | "0s") => Ok(None),
            Some(text) => super::duration(text)
                .map(Some)
                .ok_or_else(|| de::Error::custom(super::EXPECTED_DURATION)),
        }
    }
}

const EXPECTED_DURATION: &str = "give a duration such as `90s`, `5m` or `1h30m`, at most 24h";

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

    fn knobs(&self, tier: Tier) -> TierKnobs {
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

/// Where limits come from, apart from what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitSources {
    /// What the environment says.
    pub env: LimitLayer,
    /// Leaves out what is stored.
    pub lock: bool,
}

impl LimitSources {
    /// What counts, when `stored` is stored.
    #[must_use]
    pub fn effective(&self, stored: Option<&LimitLayer>) -> EffectiveLimits {
        let none = LimitLayer::default();
        let stored = stored.filter(|_| !self.lock).unwrap_or(&none);
        let profile = self.env.profile.or(stored.profile).unwrap_or_default();
        let base = RateLimits::of(profile);
        let knobs = |tier| self.env.knobs(tier).or(stored.knobs(tier));
        let (auth, proxy, authed, global, verify) = (
            knobs(Tier::Auth),
            knobs(Tier::Proxy),
            knobs(Tier::Authed),
            knobs(Tier::Global),
            knobs(Tier::VerifyFail),
        );
        let base_proxy = base
            .proxy
            .rate
            .map(|(rate, burst)| BucketKnobs { rate, burst });
        let limits = RateLimits {
            global: bucket(global, base.global),
            global_in_flight: global.concurrency.or(base.global_in_flight),
            auth: window_of(auth, base.auth),
            authed: bucket(authed, base.authed),
            proxy: LimitSettings {
                rate: bucket(proxy, base_proxy).map(|knobs| (knobs.rate, knobs.burst)),
                concurrency: proxy.concurrency.or(base.proxy.concurrency),
            },
            verify_failures: verify.max.or(base.verify_failures),
        };
        let tiers = Tier::ALL
            .into_iter()
            .map(|tier| {
                let source = if self.env.knobs(tier).is_given() {
                    LimitSource::Environment
                } else if stored.knobs(tier).is_given() {
                    LimitSource::Stored
                } else {
                    LimitSource::Profile
                };
                (tier, limits.knobs(tier), source)
            })
            .collect();
        EffectiveLimits {
            profile,
            locked: self.lock,
            limits,
            tiers,
        }
    }
}

/// Where a tier's numbers come from; the highest layer that gives any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    /// A variable of the environment.
    Environment,
    /// The stored setting.
    Stored,
    /// The profile.
    Profile,
}

impl LimitSource {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "env",
            Self::Stored => "override",
            Self::Profile => "default",
        }
    }
}

/// The limits that count, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveLimits {
    /// The profile that they start from.
    pub profile: Profile,
    /// Whether what is stored is left out.
    pub locked: bool,
    /// The limits.
    pub limits: RateLimits,
    /// The numbers of each tier, and the highest layer that they come from.
    pub tiers: Vec<(Tier, TierKnobs, LimitSource)>,
}

fn bucket(knobs: TierKnobs, base: Option<BucketKnobs>) -> Option<BucketKnobs> {
    let given = |knob: Option<u32>| knob.and_then(NonZeroU32::new);
    let rate = given(knobs.rate).or(base.map(|base| base.rate))?;
    let wide = rate.saturating_mul(NonZeroU32::MIN.saturating_add(9));
    let burst = given(knobs.burst)
        .or(base.map(|base| base.burst))
        .unwrap_or(wide);
    Some(BucketKnobs { rate, burst })
}

fn window_of(knobs: TierKnobs, base: Option<WindowKnobs>) -> Option<WindowKnobs> {
    let max = knobs.max.or(base.map(|base| base.max))?;
    let window = knobs
        .window
        .or(base.map(|base| base.window))
        .unwrap_or(Duration::from_mins(5));
    Some(WindowKnobs { max, window })
}

/// Every tier's limits. `None` switches a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests per second to the whole server.
    pub global: Option<BucketKnobs>,
    /// Requests in flight in the whole server.
    pub global_in_flight: Option<u32>,
    /// Unauthenticated account routes, per address and per e-mail.
    pub auth: Option<WindowKnobs>,
    /// Authenticated routes, per actor.
    pub authed: Option<BucketKnobs>,
    /// Proxied requests, per actor and vault.
    pub proxy: LimitSettings,
    /// Wrong verification codes per e-mail.
    pub verify_failures: Option<u32>,
}

/// A knob that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is `{value}`: {expected}")]
pub struct SettingsError {
    name: String,
    value: String,
    expected: &'static str,
}

impl RateLimits {
    /// No limits at all.
    #[must_use]
    pub fn off() -> Self {
        Self {
            global: None,
            global_in_flight: None,
            auth: None,
            authed: None,
            proxy: LimitSettings {
                rate: None,
                concurrency: None,
            },
            verify_failures: None,
        }
    }

    /// The limits of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        let Some(scale) = Scale::of(profile) else {
            return Self::off();
        };
        Self {
            global: Some(scale.bucket(2_000, 4_000)),
            global_in_flight: Some(scale.count(512)),
            auth: Some(WindowKnobs {
                max: scale.count(50),
                window: Duration::from_mins(5),
            }),
            authed: Some(scale.bucket(10, 240)),
            proxy: LimitSettings {
                // A package manager asks for hundreds of files in a second or two; that is not abuse.
                rate: Some((scale.non_zero(200), scale.non_zero(2_000))),
                concurrency: Some(scale.count(256)),
            },
            verify_failures: Some(scale.count(10)),
        }
    }

    /// The numbers of one tier.
    fn knobs(&self, tier: Tier) -> TierKnobs {
        let bucket = |knobs: Option<BucketKnobs>, concurrency| TierKnobs {
            rate: knobs.map(|knobs| knobs.rate.get()),
            burst: knobs.map(|knobs| knobs.burst.get()),
            concurrency,
            ..TierKnobs::default()
        };
        match tier {
            Tier::Auth => TierKnobs {
                max: self.auth.map(|auth| auth.max),
                window: self.auth.map(|auth| auth.window),
                ..TierKnobs::default()
            },
            Tier::Proxy => bucket(
                self.proxy
                    .rate
                    .map(|(rate, burst)| BucketKnobs { rate, burst }),
                self.proxy.concurrency,
            ),
            Tier::Authed => bucket(self.authed, None),
            Tier::Global => bucket(self.global, self.global_in_flight),
            Tier::VerifyFail => TierKnobs {
                max: self.verify_failures,
                ..TierKnobs::default()
            },
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::of(Profile::Default)
    }
}

/// Numerator and denominator of a profile.
#[derive(Clone, Copy)]
struct Scale(u32, u32);

impl Scale {
    fn of(profile: Profile) -> Option<Self> {
        match profile {
            Profile::Default => Some(Self(1, 1)),
            Profile::Strict => Some(Self(1, 2)),
            Profile::Loose => Some(Self(2, 1)),
            Profile::Off => None,
        }
    }

    fn count(self, base: u32) -> u32 {
        (base * self.0 / self.1).max(1)
    }

    fn non_zero(self, base: u32) -> NonZeroU32 {
        NonZeroU32::new(self.count(base)).unwrap_or(NonZeroU32::MIN)
    }

    fn bucket(self, rate: u32, burst: u32) -> BucketKnobs {
        BucketKnobs {
            rate: self.non_zero(rate),
            burst: self.non_zero(burst),
        }
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
        duration(&value).map(Some).ok_or(SettingsError {
            name,
            value,
            expected: EXPECTED_DURATION,
        })
    }
}

/// A duration as clients of the original read it: `5m0s`, `1h30m0s`, `1.5s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    struct Seconds(Duration);
    impl fmt::Display for Seconds {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (seconds, millis) = (self.0.as_secs() % 60, self.0.subsec_millis());
            if millis == 0 {
                return write!(f, "{seconds}s");
            }
            let fraction = format!("{millis:03}");
            write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
        }
    }
    let minutes = duration.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, 0) => Seconds(duration).to_string(),
        (0, minutes) => format!("{minutes}m{}", Seconds(duration)),
        (hours, minutes) => format!("{hours}h{minutes}m{}", Seconds(duration)),
    }
}

/// Reads `1h30m`, `90s`, `1500ms`; more than zero, at most [`MAX_WINDOW`].
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let one = match unit {
            "h" => Duration::from_hours(1),
            "m" => Duration::from_mins(1),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = tail;
    }
    (!total.is_zero() && total <= MAX_WINDOW).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(pairs: &[(&str, &str)]) -> Result<LimitLayer, SettingsError> {
        LimitLayer::from_env(|name| {
            let suffix = name.strip_prefix("AGENT_VAULT_RATELIMIT_")?;
            pairs
                .iter()
                .find(|(key, _)| *key == suffix)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn read(pairs: &[(&str, &str)]) -> Result<RateLimits, SettingsError> {
        let sources = LimitSources {
            env: layer(pairs)?,
            lock: false,
        };
        Ok(sources.effective(None).limits)
    }

    fn stored(text: &str) -> Result<LimitLayer, ControlError> {
        LimitLayer::from_json(text)
    }

    #[test]
    fn the_environment_counts_before_what_is_stored_and_that_before_the_profile() {
        let sources = LimitSources {
            env: layer(&[("AUTH_MAX", "7")]).unwrap(),
            lock: false,
        };
        let layer = stored(
            r#"{"profile":"loose","overrides":{"AUTH":{"max":9,"window":"1m0s"},"GLOBAL":{"rate":300,"burst":0}}}"#,
        )
        .unwrap();
        let counts = sources.effective(Some(&layer));
        assert_eq!(counts.profile, Profile::Loose);
        assert_eq!(
            counts.limits.auth,
            Some(WindowKnobs {
                max: 7,
                window: Duration::from_mins(1)
            })
        );
        let global = counts.limits.global.unwrap();
        assert_eq!((global.rate.get(), global.burst.get()), (300, 8_000));
        let source = |tier| {
            counts
                .tiers
                .iter()
                .find(|(found, ..)| *found == tier)
                .map(|(.., source)| source.as_str())
        };
        assert_eq!(source(Tier::Auth), Some("env"));
        assert_eq!(source(Tier::Global), Some("override"));
        assert_eq!(source(Tier::Proxy), Some("default"));
        let locked = LimitSources {
            lock: true,
            ..sources.clone()
        };
        assert_eq!(locked.effective(Some(&layer)), {
            let mut alone = sources.effective(None);
            alone.locked = true;
            alone
        });
        let strict = LimitSources {
            env: LimitLayer {
                profile: Some(Profile::Strict),
                ..LimitLayer::default()
            },
            lock: false,
        };
        assert_eq!(strict.effective(Some(&layer)).profile, Profile::Strict);
        assert_eq!(stored(&layer.to_json().unwrap()).unwrap(), layer);
    }

    #[test]
    fn what_is_stored_locks_nobody_out() {
        for bad in [
            r#"{"overrides":{"AUTH":{"max":4}}}"#,
            r#"{"overrides":{"GLOBAL":{"rate":99}}}"#,
            r#"{"overrides":{"GLOBAL":{"concurrency":31}}}"#,
            r#"{"overrides":{"GLOBAL":{"concurrency":9000}}}"#,
            r#"{"overrides":{"AUTH":{"max":100001}}}"#,
            r#"{"overrides":{"FAST":{"max":10}}}"#,
            r#"{"profile":"fast"}"#,
        ] {
            let refused = stored(bad).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Invalid, "{bad}");
        }
        for bad in [
            r#"{"overrides":{"AUTH":{"max":-1}}}"#,
            r#"{"overrides":{"AUTH":{"window":"soon"}}}"#,
            r#"{"overrides":{"AUTH":{"maximum":10}}}"#,
        ] {
            assert!(stored(bad).is_err(), "{bad}");
        }
        stored(r#"{"overrides":{"AUTH":{"max":5,"window":"0s"}},"profile":"off"}"#).unwrap();
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for (millis, text) in [
            (300_000, "5m0s"),
            (90_000, "1m30s"),
            (5_400_000, "1h30m0s"),
            (86_400_000, "24h0m0s"),
            (7_000, "7s"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(duration_text(duration), text);
            assert_eq!(super::duration(text), Some(duration));
        }
        assert_eq!(duration_text(Duration::from_millis(1_500)), "1.5s");
    }

    #[test]
    fn profiles_scale() {
        assert_eq!(read(&[]).unwrap(), RateLimits::default());
        let strict = read(&[("PROFILE", "strict")]).unwrap();
        assert_eq!(strict.auth.unwrap().max, 25);
        assert_eq!(strict.auth.unwrap().window, Duration::from_mins(5));
        assert_eq!(
            read(&[("PROFILE", "loose")])
                .unwrap()
                .authed
                .unwrap()
                .burst
                .get(),
            480
        );
        assert_eq!(read(&[("PROFILE", "off")]).unwrap(), RateLimits::off());
    }

    #[test]
    fn one_knob_at_a_time() {
        let limits = read(&[
            ("AUTH_WINDOW", "1m30s"),
            ("AUTH_MAX", "7"),
            ("PROXY_RATE", "0"),
        ])
        .unwrap();
        assert_eq!(
            limits.auth,
            Some(WindowKnobs {
                max: 7,
                window: Duration::from_secs(90)
            })
        );
        assert_eq!(limits.proxy, RateLimits::default().proxy);
        let only = read(&[("PROFILE", "off"), ("AUTHED_RATE", "3")]).unwrap();
        assert_eq!(only.authed.unwrap().burst.get(), 30);
        assert_eq!(only.auth, None);
    }

    #[test]
    fn what_does_not_read_is_named() {
        for (key, value) in [
            ("PROFILE", "fast"),
            ("AUTH_MAX", "-1"),
            ("AUTH_MAX", "100001"),
            ("AUTH_WINDOW", "5"),
            ("AUTH_WINDOW", "5 minutes"),
            ("AUTH_WINDOW", "0s"),
            ("AUTH_WINDOW", "25h"),
            ("GLOBAL_CONCURRENCY", "9000"),
            ("AUTHED_RATE", "ten"),
        ] {
            let error = read(&[(key, value)]).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains(&format!("AGENT_VAULT_RATELIMIT_{key}")),
                "{error}"
            );
        }
    }
}
