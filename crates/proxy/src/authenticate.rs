//! Who is asking: reads `Proxy-Authorization`, finds the principal, and slows down whoever guesses.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use agent_vault_broker::{Broker, Principal};
use agent_vault_seal::TokenHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use jiff::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::FailureLimit;
use crate::limits::MAX_FAILURE_KEYS;
use crate::respond::Refusal;

/// What a client presented.
pub(crate) struct Presented {
    pub(crate) token: Zeroizing<String>,
    pub(crate) vault: Option<String>,
}

impl Presented {
    /// `Bearer T`, `Basic b64(T)`, `Basic b64(T:)` or `Basic b64(T:VAULT)`; anything else is nothing.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(PROXY_AUTHORIZATION).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return (!rest.is_empty()).then(|| Self {
                token: Zeroizing::new(rest.to_owned()),
                vault: None,
            });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = Zeroizing::new(STANDARD.decode(rest).ok()?);
        let text = std::str::from_utf8(&decoded).ok()?;
        let (token, vault) = text.split_once(':').unwrap_or((text, ""));
        (!token.is_empty()).then(|| Self {
            token: Zeroizing::new(token.to_owned()),
            vault: (!vault.is_empty()).then(|| vault.to_owned()),
        })
    }
}

/// Finds the principal of a request, or says how to refuse it.
pub(crate) fn authenticate(
    broker: &Broker,
    failures: &FailureBudget,
    headers: &HeaderMap,
    peer: IpAddr,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    let Some(presented) = Presented::read(headers) else {
        // Who presents nothing guesses nothing: git and curl ask so first, each time, and wait for the 407.
        if headers.contains_key(PROXY_AUTHORIZATION) {
            failures.check_and_record(peer, None)?;
        }
        return Err(Refusal::credentials_required());
    };
    let vault = presented.vault.as_deref();
    authenticate_as(broker, failures, &presented.token, vault, peer, now)
}

/// Finds the principal behind a token, or says how to refuse it.
pub(crate) fn authenticate_as(
    broker: &Broker,
    failures: &FailureBudget,
    token: &str,
    vault: Option<&str>,
    peer: IpAddr,
    now: Timestamp,
) -> Result<Principal, Refusal> {
    broker.authenticate(token, vault, now).map_err(|refusal| {
        let token = TokenHash::of(token);
        match failures.check_and_record(peer, Some(token)) {
            Ok(()) => Refusal::unauthenticated(&refusal),
            Err(exhausted) => exhausted,
        }
    })
}

/// Refuses a principal that comes from where its token may not be used. Its token is good, so this is no guess, and goes on record
/// under its name: whoever lost it sees who has it.
pub(crate) fn from_its_sources(principal: &Principal, peer: IpAddr) -> Result<(), Refusal> {
    if principal.may_come_from(peer) {
        Ok(())
    } else {
        Err(Refusal::outside_sources(peer))
    }
}

/// Where a failure came from: an address, and the token that it presented.
type Source = (IpAddr, Option<TokenHash>);

/// Failed authentications per address and presented token within a sliding window. Success is never counted and never
/// blocked, and one agent's bad token does not block its neighbours behind the same address.
pub(crate) struct FailureBudget {
    limit: FailureLimit,
    seen: Mutex<HashMap<Source, VecDeque<Instant>>>,
}

impl FailureBudget {
    pub(crate) fn new(limit: FailureLimit) -> Self {
        Self {
            limit,
            seen: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a failure. Peers on this machine are exempt: container clients arrive through a local forwarder.
    pub(crate) fn check_and_record(
        &self,
        peer: IpAddr,
        token: Option<TokenHash>,
    ) -> Result<(), Refusal> {
        let Some((max, window)) = (self.limit)() else {
            return Ok(());
        };
        if peer.to_canonical().is_loopback() {
            return Ok(());
        }
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_FAILURE_KEYS {
            seen.retain(|_, times| {
                times
                    .back()
                    .is_some_and(|last| now.duration_since(*last) < window)
            });
            if seen.len() >= MAX_FAILURE_KEYS {
                return Err(Refusal::too_many_failures(window, max));
            }
        }
        let times = seen.entry((peer, token)).or_default();
        while times
            .front()
            .is_some_and(|first| now.duration_since(*first) >= window)
        {
            times.pop_front();
        }
        if times.len() >= max as usize {
            let wait = times.front().map_or(window, |first| {
                window.saturating_sub(now.duration_since(*first))
            });
            return Err(Refusal::too_many_failures(wait, max));
        }
        times.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use http::HeaderValue;

    fn read(value: &str) -> Option<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        headers.insert(PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        Presented::read(&headers).map(|found| (found.token.to_string(), found.vault))
    }

    fn three() -> FailureLimit {
        std::sync::Arc::new(|| Some((3, Duration::from_secs(300))))
    }

    #[test]
    fn every_form_of_the_contract() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let cases = [
            ("Bearer tok".to_owned(), Some(("tok", None))),
            ("bEARER   tok ".to_owned(), Some(("tok", None))),
            (basic("tok"), Some(("tok", None))),
            (basic("tok:"), Some(("tok", None))),
            (basic("tok:v"), Some(("tok", Some("v")))),
            (basic("tok:v:w"), Some(("tok", Some("v:w")))),
            (basic(":v"), None),
            ("Bearer ".to_owned(), None),
            ("Digest x".to_owned(), None),
            ("Basic !!!".to_owned(), None),
            ("Basic".to_owned(), None),
        ];
        for (value, wanted) in cases {
            let wanted = wanted.map(|(t, v)| (t.to_owned(), v.map(str::to_owned)));
            assert_eq!(read(&value), wanted, "{value}");
        }
    }

    #[test]
    fn two_fields_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(PROXY_AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        headers.append(PROXY_AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert!(Presented::read(&headers).is_none());
    }

    #[tokio::test]
    async fn s18_asking_without_a_token_is_no_failure() {
        let keyring = agent_vault_seal::Keyring::generate().unwrap();
        let limits = agent_vault_broker::LimitSettings {
            rate: None,
            concurrency: None,
        };
        let broker = Broker::new(
            std::sync::Arc::new(keyring),
            agent_vault_broker::BrokerOptions { limits },
        );
        let budget = FailureBudget::new(three());
        let far: IpAddr = "192.0.2.7".parse().unwrap();
        let status = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(PROXY_AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            authenticate(&broker, &budget, &headers, far, Timestamp::UNIX_EPOCH)
                .unwrap_err()
                .status
                .as_u16()
        };
        for _ in 0..50 {
            assert_eq!(status(None), 407);
        }
        // What is no token, and one that is not known, are each counted for themselves.
        for value in ["Basic !!!", "Bearer av_agt_unknown"] {
            let answers: Vec<u16> = (0..4).map(|_| status(Some(value))).collect();
            assert_eq!(answers, [407, 407, 407, 429], "{value}");
        }
        assert_eq!(status(None), 407);
    }

    #[tokio::test]
    async fn one_bad_token_does_not_block_another_and_loopback_is_exempt() {
        let budget = FailureBudget::new(three());
        let far: IpAddr = "192.0.2.7".parse().unwrap();
        let bad = Some(TokenHash::of("bad"));
        for _ in 0..3 {
            assert!(budget.check_and_record(far, bad).is_ok());
        }
        assert!(budget.check_and_record(far, bad).is_err());
        assert!(
            budget
                .check_and_record(far, Some(TokenHash::of("other")))
                .is_ok()
        );
        let near: IpAddr = "127.0.0.9".parse().unwrap();
        for _ in 0..10 {
            assert!(budget.check_and_record(near, bad).is_ok());
        }
    }

    #[tokio::test]
    async fn m51_a_changed_setting_counts_at_once() {
        let max = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(2));
        let now = std::sync::Arc::clone(&max);
        let budget = FailureBudget::new(std::sync::Arc::new(move || {
            match now.load(std::sync::atomic::Ordering::SeqCst) {
                0 => None,
                max => Some((max, Duration::from_secs(300))),
            }
        }));
        let far: IpAddr = "192.0.2.7".parse().unwrap();
        let is_let = || budget.check_and_record(far, None).is_ok();
        assert_eq!([is_let(), is_let(), is_let()], [true, true, false]);
        for (setting, expected) in [(3, [true, false]), (0, [true, true]), (1, [false, false])] {
            max.store(setting, std::sync::atomic::Ordering::SeqCst);
            assert_eq!([is_let(), is_let()], expected, "{setting}");
        }
    }
}
