//! What counts: each knob from the first layer that gives it.

use std::num::NonZeroU32;
use std::time::Duration;

use agent_vault_broker::LimitSettings;

use super::layer::{LimitLayer, TierKnobs};
use super::{BucketKnobs, Profile, RateLimits, Tier, WindowKnobs};

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
