//! The rate limits of the instance: what the environment says, then what is stored, then a profile.
//!
//! One precedence for every knob: environment > stored setting > profile. The profile too is the environment's, where it
//! names one, else the stored one. `AGENT_VAULT_RATELIMIT_LOCK=true` leaves out what is stored. What counts is told beside
//! each tier, and a stored change counts at once, in every process.

mod duration;
mod effective;
mod environment;
mod layer;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use agent_vault_broker::LimitSettings;

pub use duration::duration_text;
pub use effective::{EffectiveLimits, LimitSource, LimitSources};
pub use environment::SettingsError;
pub use layer::{LimitLayer, TierKnobs};

/// Largest rate, burst or window maximum.
const MAX_COUNT: u32 = 100_000;
/// Largest number of requests in flight.
const MAX_CONCURRENCY: u32 = 8_192;

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
