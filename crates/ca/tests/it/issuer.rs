//! What is kept, for how long, and what concurrency does to it.

use std::sync::{Arc, Barrier};

use agent_vault_ca::{CaError, MAX_CACHED_LEAVES};

use crate::{DAY, HOUR, NOON, at, issuer_at};

#[test]
fn one_spelling_one_leaf() {
    let issuer = issuer_at(at(NOON));
    let lower = issuer.server_config("api.example.com", at(NOON)).unwrap();
    let upper = issuer.server_config("API.Example.COM", at(NOON)).unwrap();
    assert!(Arc::ptr_eq(&lower, &upper));
    let v4 = issuer.server_config("10.0.0.1", at(NOON)).unwrap();
    let mapped = issuer.server_config("::ffff:10.0.0.1", at(NOON)).unwrap();
    assert!(Arc::ptr_eq(&v4, &mapped));
    assert_eq!(issuer.cached(), 2);
}

#[test]
fn made_anew_after_a_day_and_when_the_clock_was_set_back() {
    let issuer = issuer_at(at(NOON));
    let ask = |now| issuer.server_config("api.example.com", at(now)).unwrap();
    let first = ask(NOON);
    assert!(Arc::ptr_eq(&first, &ask(NOON + DAY - 1)));
    assert!(
        Arc::ptr_eq(&first, &ask(NOON - HOUR)),
        "within the back-dating"
    );
    let second = ask(NOON + DAY);
    assert!(!Arc::ptr_eq(&first, &second));
    let third = ask(NOON + DAY - 2 * HOUR);
    assert!(
        !Arc::ptr_eq(&second, &third),
        "set back before the leaf's beginning"
    );
    assert_eq!(issuer.cached(), 1);
}

/// S15: a client that walks through names neither grows the cache nor breaks anything.
#[test]
fn bounded() {
    let issuer = issuer_at(at(NOON));
    for n in 0..MAX_CACHED_LEAVES + 500 {
        issuer
            .server_config(&format!("h{n}.example.com"), at(NOON))
            .unwrap();
    }
    assert!(issuer.cached() <= MAX_CACHED_LEAVES);
}

#[test]
fn many_callers_get_the_same_leaf() {
    let issuer = issuer_at(at(NOON));
    let start = Barrier::new(8);
    let configs: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    issuer.server_config("api.example.com", at(NOON)).unwrap()
                })
            })
            .collect();
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        configs
            .iter()
            .all(|config| Arc::ptr_eq(config, &configs[0]))
    );
}

#[test]
fn bad_names_are_refused_and_not_kept() {
    let issuer = issuer_at(at(NOON));
    for host in [
        "",
        "*.example.com",
        "a b",
        "example.com.",
        "x/y",
        "\u{e9}.example",
    ] {
        let refused = issuer.server_config(host, at(NOON));
        assert!(matches!(refused, Err(CaError::Name { .. })), "{host:?}");
    }
    assert_eq!(issuer.cached(), 0);
}

#[test]
fn an_expired_root_signs_nothing_and_says_so() {
    let issuer = issuer_at(at(NOON));
    let refused = issuer
        .server_config("api.example.com", at(NOON + 3650 * DAY))
        .unwrap_err();
    assert!(matches!(refused, CaError::RootExpired { .. }));
    assert!(refused.hint().is_some());
    // A failure is not kept.
    assert!(issuer.server_config("api.example.com", at(NOON)).is_ok());
}
