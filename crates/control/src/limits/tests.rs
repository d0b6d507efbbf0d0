//! One precedence, bounds, and the words of it.

use super::*;
use crate::ControlError;

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
        assert_eq!(duration::read(text), Some(duration));
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

/// Every knob of every tier: the variable before what is stored, that before the profile, and the lock leaves what is stored out.
#[test]
fn one_precedence_for_every_knob() {
    let knobs = [
        ("AUTH", "max", 60, 70),
        ("PROXY", "rate", 300, 400),
        ("PROXY", "burst", 300, 400),
        ("PROXY", "concurrency", 300, 400),
        ("AUTHED", "rate", 30, 40),
        ("AUTHED", "burst", 300, 400),
        ("GLOBAL", "rate", 300, 400),
        ("GLOBAL", "burst", 300, 400),
        ("GLOBAL", "concurrency", 300, 400),
        ("VERIFY_FAIL", "max", 3, 4),
    ];
    let value = |counts: &EffectiveLimits, tier: &str, knob: &str| {
        let (_, knobs, source) = counts
            .tiers
            .iter()
            .find(|(found, ..)| found.as_str() == tier)
            .unwrap();
        let number = match knob {
            "rate" => knobs.rate,
            "burst" => knobs.burst,
            "max" => knobs.max,
            _ => knobs.concurrency,
        };
        (number.unwrap(), source.as_str())
    };
    for (tier, knob, in_env, in_store) in knobs {
        let variable = format!("{tier}_{}", knob.to_uppercase());
        let env = layer(&[(&variable, &in_env.to_string())]).unwrap();
        let stored = stored(&format!(
            r#"{{"profile":"loose","overrides":{{"{tier}":{{"{knob}":{in_store}}}}}}}"#
        ))
        .unwrap();
        let counts = |env: &LimitLayer, lock| {
            let sources = LimitSources {
                env: env.clone(),
                lock,
            };
            value(&sources.effective(Some(&stored)), tier, knob)
        };
        let none = LimitLayer::default();
        let default = value(&LimitSources::default().effective(None), tier, knob).0;
        assert_eq!(counts(&env, false), (in_env, "env"), "{variable}");
        assert_eq!(counts(&none, false), (in_store, "override"), "{variable}");
        assert_eq!(counts(&env, true), (in_env, "env"), "{variable}");
        assert_eq!(counts(&none, true), (default, "default"), "{variable}");
        let profile = LimitLayer {
            profile: Some(Profile::Loose),
            ..LimitLayer::default()
        };
        assert_eq!(
            counts(&profile, true),
            (default * 2, "default"),
            "{variable}"
        );
    }
    let window = |env: &[(&str, &str)], stored: Option<&LimitLayer>| {
        let sources = LimitSources {
            env: layer(env).unwrap(),
            lock: false,
        };
        sources.effective(stored).limits.auth.unwrap().window
    };
    let minute = stored(r#"{"overrides":{"AUTH":{"window":"1m"}}}"#).unwrap();
    assert_eq!(window(&[], None), Duration::from_mins(5));
    assert_eq!(window(&[], Some(&minute)), Duration::from_mins(1));
    assert_eq!(
        window(&[("AUTH_WINDOW", "7s")], Some(&minute)),
        Duration::from_secs(7)
    );
}
