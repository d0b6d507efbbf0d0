//! Rate limits of the management plane: tiers, knobs and bounded state.
//!
//! | tier | algorithm | key |
//! |---|---|---|
//! | GLOBAL | token bucket, and a cap on requests in flight | the server |
//! | AUTH | sliding window | client address; at login also the e-mail |
//! | AUTHED | token bucket | user, agent or scoped session |
//!
//! The PROXY tier is enforced in the data plane; its knobs are read here with the others.

mod bucket;
mod global;
mod live;
mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use agent_vault_control::{BucketKnobs, RateLimits, WindowKnobs};

use bucket::Buckets;
use global::Global;
pub(crate) use global::InFlight;
pub(crate) use live::Live;
use window::Windows;

/// How many times wider the window of one e-mail over all addresses is than that of one e-mail from one address.
///
/// One address exhausts its own window long before the wide one, so it cannot lock anybody else out (H7); guessing from
/// many addresses still ends.
const EMAIL_WINDOW_FACTOR: u32 = 10;

/// What the limiter has to say about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
}

/// A refusal, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) limit: u32,
    pub(crate) retry_after: Duration,
    pub(crate) message: &'static str,
}

pub(crate) const TIER_MESSAGE: &str = "Too many requests, try again later";
const LOGIN_MESSAGE: &str = "Too many login attempts, try again later";

/// Every limiter of the management plane.
#[derive(Debug)]
pub(crate) struct Limits {
    settings: RateLimits,
    global: Arc<Global>,
    auth: Option<Arc<Auth>>,
    authed: Option<Arc<Buckets>>,
}

#[derive(Debug)]
struct Auth {
    by_address: Windows<String>,
    by_email: Windows<String>,
    by_email_anywhere: Windows<String>,
}

impl Limits {
    pub(crate) fn new(settings: &RateLimits) -> Self {
        Self {
            settings: *settings,
            global: Arc::new(Global::new(settings.global, settings.global_in_flight)),
            auth: settings.auth.map(|knobs| {
                Arc::new(Auth {
                    by_address: Windows::new(knobs),
                    by_email: Windows::new(knobs),
                    by_email_anywhere: Windows::new(WindowKnobs {
                        max: knobs.max.saturating_mul(EMAIL_WINDOW_FACTOR),
                        ..knobs
                    }),
                })
            }),
            authed: settings.authed.map(|knobs| Arc::new(Buckets::new(knobs))),
        }
    }

    /// The same with other settings; what has been counted stays where a tier's numbers are as before.
    fn changed(&self, settings: &RateLimits) -> Self {
        let mut next = Self::new(settings);
        let before = &self.settings;
        if (before.global, before.global_in_flight) == (settings.global, settings.global_in_flight)
        {
            next.global = Arc::clone(&self.global);
        }
        if before.auth == settings.auth {
            next.auth.clone_from(&self.auth);
        }
        if before.authed == settings.authed {
            next.authed.clone_from(&self.authed);
        }
        next
    }

    /// The GLOBAL tier. The returned place is held until the response has been made.
    pub(crate) async fn enter(&self) -> Result<InFlight, Exceeded> {
        self.global.enter().await
    }

    /// The AUTH tier for one client address.
    pub(crate) fn address(
        &self,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Option<Allowance>, Exceeded> {
        let Some(auth) = &self.auth else {
            return Ok(None);
        };
        auth.by_address
            .take(address_key(address), now, TIER_MESSAGE)
            .map(Some)
    }

    /// The AUTH tier for one client address and one link.
    pub(crate) fn link(
        &self,
        address: Option<IpAddr>,
        link: &str,
        now: Instant,
    ) -> Result<Option<Allowance>, Exceeded> {
        let Some(auth) = &self.auth else {
            return Ok(None);
        };
        let pair = format!("{} {link}", address_key(address));
        auth.by_address.take(pair, now, TIER_MESSAGE).map(Some)
    }

    /// The e-mail part of the AUTH tier, for logins.
    pub(crate) fn login(
        &self,
        address: Option<IpAddr>,
        email: &str,
        now: Instant,
    ) -> Result<(), Exceeded> {
        let Some(auth) = &self.auth else {
            return Ok(());
        };
        let email = email_key(email);
        let pair = format!("{} {email}", address_key(address));
        auth.by_email.take(pair, now, LOGIN_MESSAGE)?;
        auth.by_email_anywhere.take(email, now, LOGIN_MESSAGE)?;
        Ok(())
    }

    /// The AUTHED tier for one actor or scoped session.
    pub(crate) fn actor(&self, key: String) -> Result<Option<Allowance>, Exceeded> {
        self.authed
            .as_ref()
            .map(|buckets| buckets.take(key))
            .transpose()
    }
}

/// Longest part of an e-mail that distinguishes windows; keys stay small whatever is sent.
const MAX_EMAIL_KEY_CHARS: usize = 254;

fn email_key(email: &str) -> String {
    email
        .trim()
        .to_lowercase()
        .chars()
        .take(MAX_EMAIL_KEY_CHARS)
        .collect()
}

/// One IPv6 customer owns a /64, so that is what counts as one address.
fn address_key(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => "local".to_owned(),
        Some(IpAddr::V4(v4)) => v4.to_string(),
        Some(IpAddr::V6(v6)) => format!("{:x}/64", v6.to_bits() >> 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max: u32) -> Limits {
        let knobs = WindowKnobs {
            max,
            window: Duration::from_mins(5),
        };
        Limits::new(&RateLimits {
            auth: Some(knobs),
            ..RateLimits::off()
        })
    }

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn one_address_cannot_lock_an_email_for_others() {
        let limits = limits(5);
        let now = Instant::now();
        for _ in 0..5 {
            limits.login(ip(1), "Ada@x.io ", now).unwrap();
        }
        assert!(limits.login(ip(1), "ada@x.io", now).is_err());
        assert!(limits.login(ip(2), "ada@x.io", now).is_ok());
    }

    #[test]
    fn guessing_one_email_from_many_addresses_ends() {
        let limits = limits(5);
        let now = Instant::now();
        let tried = (0..=255)
            .take_while(|last| limits.login(ip(*last), "ada@x.io", now).is_ok())
            .count();
        assert_eq!(tried, 50);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let key = |text: &str| address_key(Some(text.parse().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }
}
