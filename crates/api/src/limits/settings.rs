//! The knobs of every tier: profile, then one environment variable per knob.

use std::num::NonZeroU32;
use std::time::Duration;

use agent_vault_broker::LimitSettings;

/// Largest rate, burst or window maximum.
const MAX_COUNT: u32 = 100_000;
/// Largest number of requests in flight.
const MAX_CONCURRENCY: u32 = 8_192;
/// Longest window.
const MAX_WINDOW: Duration = Duration::from_hours(24);

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

    /// Reads `AGENT_VAULT_RATELIMIT_PROFILE` and `AGENT_VAULT_RATELIMIT_<TIER>_<KNOB>` through `variable`.
    ///
    /// A knob of zero means "not given". A rate without a burst allows bursts of ten seconds.
    ///
    /// # Errors
    /// Names the first variable that does not read, and what it should be.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let env = Environment(&variable);
        let mut limits = Self::of(env.profile()?);
        limits.global = env.bucket("GLOBAL", limits.global)?;
        limits.global_in_flight = env
            .number("GLOBAL_CONCURRENCY", MAX_CONCURRENCY)?
            .or(limits.global_in_flight);
        limits.auth = env.window("AUTH", limits.auth)?;
        limits.authed = env.bucket("AUTHED", limits.authed)?;
        let proxy = limits
            .proxy
            .rate
            .map(|(rate, burst)| BucketKnobs { rate, burst });
        limits.proxy = LimitSettings {
            rate: env
                .bucket("PROXY", proxy)?
                .map(|knobs| (knobs.rate, knobs.burst)),
            concurrency: env
                .number("PROXY_CONCURRENCY", MAX_CONCURRENCY)?
                .or(limits.proxy.concurrency),
        };
        limits.verify_failures = env
            .number("VERIFY_FAIL_MAX", MAX_COUNT)?
            .or(limits.verify_failures);
        Ok(limits)
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
    fn profile(&self) -> Result<Profile, SettingsError> {
        let name = "AGENT_VAULT_RATELIMIT_PROFILE";
        match (self.0)(name).as_deref().map(str::trim) {
            None | Some("" | "default") => Ok(Profile::Default),
            Some("strict") => Ok(Profile::Strict),
            Some("loose") => Ok(Profile::Loose),
            Some("off") => Ok(Profile::Off),
            Some(value) => Err(SettingsError {
                name: name.to_owned(),
                value: value.to_owned(),
                expected: "give one of: default, strict, loose, off",
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

    fn bucket(
        &self,
        tier: &str,
        base: Option<BucketKnobs>,
    ) -> Result<Option<BucketKnobs>, SettingsError> {
        let rate = self
            .number(&format!("{tier}_RATE"), MAX_COUNT)?
            .and_then(NonZeroU32::new);
        let burst = self
            .number(&format!("{tier}_BURST"), MAX_COUNT)?
            .and_then(NonZeroU32::new);
        let Some(rate) = rate.or(base.map(|base| base.rate)) else {
            return Ok(None);
        };
        let wide = rate.saturating_mul(NonZeroU32::MIN.saturating_add(9));
        let burst = burst.or(base.map(|base| base.burst)).unwrap_or(wide);
        Ok(Some(BucketKnobs { rate, burst }))
    }

    fn window(
        &self,
        tier: &str,
        base: Option<WindowKnobs>,
    ) -> Result<Option<WindowKnobs>, SettingsError> {
        let max = self.number(&format!("{tier}_MAX"), MAX_COUNT)?;
        let window = match self.read(&format!("{tier}_WINDOW")) {
            None => None,
            Some((name, value)) => Some(duration(&value).ok_or(SettingsError {
                name,
                value,
                expected: "give a duration such as `90s`, `5m` or `1h30m`, at most 24h",
            })?),
        };
        let Some(max) = max.or(base.map(|base| base.max)) else {
            return Ok(None);
        };
        let window = window
            .or(base.map(|base| base.window))
            .unwrap_or(Duration::from_mins(5));
        Ok(Some(WindowKnobs { max, window }))
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

    fn read(pairs: &[(&str, &str)]) -> Result<RateLimits, SettingsError> {
        RateLimits::from_env(|name| {
            let suffix = name.strip_prefix("AGENT_VAULT_RATELIMIT_")?;
            pairs
                .iter()
                .find(|(key, _)| *key == suffix)
                .map(|(_, value)| (*value).to_owned())
        })
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
