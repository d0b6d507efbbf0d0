//! Rate limits as clients see them.

use std::num::NonZeroU32;
use std::time::Duration;

use agent_vault_api::{BucketKnobs, RateLimits, WindowKnobs};
use agent_vault_control::{LimitLayer, LimitSources};
use agent_vault_store::{InstanceRole, VaultRole};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{ELSEWHERE, World};

fn window(max: u32) -> Option<WindowKnobs> {
    Some(WindowKnobs {
        max,
        window: Duration::from_mins(5),
    })
}

fn bucket(burst: u32) -> Option<BucketKnobs> {
    Some(BucketKnobs {
        rate: NonZeroU32::MIN,
        burst: NonZeroU32::new(burst).unwrap(),
    })
}

#[tokio::test]
async fn the_auth_tier_counts_by_address() {
    let world = World::with(
        RateLimits {
            auth: window(3),
            ..RateLimits::off()
        },
        |_| {},
    )
    .await;
    let attempt = |peer: &str| {
        world
            .post("/v1/auth/register", json!({"email": "nobody"}))
            .peer(peer)
            .send()
    };
    for left in ["2", "1", "0"] {
        let reply = attempt(ELSEWHERE).await;
        reply.refused(400);
        assert_eq!(reply.header("x-ratelimit-limit"), Some("3"));
        assert_eq!(reply.header("x-ratelimit-remaining"), Some(left));
    }
    let refused = attempt(ELSEWHERE).await;
    assert_eq!(refused.refused(429), "too_many_requests");
    assert_eq!(
        refused.json()["message"],
        "Too many requests, try again later"
    );
    assert_eq!(refused.header("retry-after"), Some("300"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(refused.header("x-frame-options"), Some("DENY"));
    attempt("198.51.100.7:1").await.refused(400);
}

#[tokio::test]
async fn h7_one_address_does_not_lock_an_email_for_others() {
    let world = World::with(
        RateLimits {
            auth: window(3),
            ..RateLimits::off()
        },
        |_| {},
    )
    .await;
    world
        .user("victim@x.io", InstanceRole::Owner, Some(VaultRole::Admin))
        .await;
    let attempt = |peer: &str| {
        world
            .post(
                "/v1/auth/login",
                json!({"email": "Victim@x.io ", "password": "x"}),
            )
            .peer(peer)
            .send()
    };
    for _ in 0..3 {
        attempt(ELSEWHERE).await.refused(401);
    }
    attempt(ELSEWHERE).await.refused(429);
    attempt("198.51.100.7:1").await.refused(401);
}

#[tokio::test]
async fn the_authed_tier_counts_by_principal() {
    let world = World::with(
        RateLimits {
            authed: bucket(4),
            ..RateLimits::off()
        },
        |_| {},
    )
    .await;
    let owner = world
        .user("o@x.io", InstanceRole::Owner, Some(VaultRole::Admin))
        .await;
    let first = world
        .post("/v1/sessions", json!({"vault": "default"}))
        .token(&owner)
        .send()
        .await;
    assert_eq!(first.header("x-ratelimit-limit"), Some("4"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("3"));
    let second = world
        .post("/v1/sessions", json!({"vault": "default"}))
        .token(&owner)
        .send()
        .await;
    let token = |reply: &crate::world::Reply| reply.json()["token"].as_str().unwrap().to_owned();
    let (one, two) = (token(&first), token(&second));
    let mut refused = false;
    for _ in 0..8 {
        refused |=
            world.get("/discover").token(&one).send().await.status == StatusCode::TOO_MANY_REQUESTS;
    }
    assert!(refused);
    // H2: each scoped session has its own bucket.
    world
        .get("/discover")
        .token(&two)
        .send()
        .await
        .expect(StatusCode::OK);
    // The local operator is not counted.
    let local = world.local_token.clone();
    for _ in 0..8 {
        world
            .get("/v1/vaults")
            .token(&local)
            .in_process()
            .send()
            .await
            .expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn the_global_tier_is_for_the_whole_server() {
    let world = World::with(
        RateLimits {
            global: bucket(2),
            ..RateLimits::off()
        },
        |_| {},
    )
    .await;
    let mut refused = None;
    for _ in 0..10 {
        let reply = world.get("/health").send().await;
        if reply.status != StatusCode::OK {
            refused = Some(reply);
        }
    }
    let refused = refused.unwrap();
    refused.refused(429);
    assert_eq!(refused.json()["message"], "Server busy, try again shortly");
    assert!(refused.header("x-ratelimit-limit").is_none());
}

/// One request that a tier counts; whether it was let in.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Auth,
    Authed,
    Global,
    Proxy,
}

async fn is_let_in(world: &World, cast: &crate::world::Cast, what: Counted) -> bool {
    let status = match what {
        Counted::Auth => {
            let out = world.call(Method::POST, "/v1/auth/logout");
            out.peer(ELSEWHERE).send().await.status
        }
        Counted::Authed => {
            let me = world.get("/v1/auth/me").token(&cast.member);
            me.send().await.status
        }
        Counted::Global => world.get("/v1/status").send().await.status,
        Counted::Proxy => {
            let broker = world.control.broker();
            let principal = broker.authenticate(&cast.agent, None, world.now()).unwrap();
            return principal.limits().admit().await.is_ok();
        }
    };
    status != StatusCode::TOO_MANY_REQUESTS
}

/// How many of many requests in a row are let in.
async fn let_in(world: &World, cast: &crate::world::Cast, what: Counted) -> u32 {
    for count in 0..12 {
        if !is_let_in(world, cast, what).await {
            return count;
        }
    }
    12
}

/// Each tier on its own, as the environment gives it: a variable that names it refuses, one that names another does not.
#[tokio::test]
async fn each_tier_refuses_by_its_own_variable() {
    let tiers = [
        (Counted::Auth, vec![("AUTH_MAX", "5")], 5),
        (
            Counted::Authed,
            vec![("AUTHED_RATE", "1"), ("AUTHED_BURST", "3")],
            3,
        ),
        (
            Counted::Global,
            vec![("GLOBAL_RATE", "1"), ("GLOBAL_BURST", "6")],
            6,
        ),
        (
            Counted::Proxy,
            vec![("PROXY_RATE", "1"), ("PROXY_BURST", "4")],
            4,
        ),
    ];
    for (named, variables, limit) in &tiers {
        let env = LimitLayer::from_env(|name| {
            let suffix = name.strip_prefix("AGENT_VAULT_RATELIMIT_")?;
            let given = variables.iter().find(|(knob, _)| *knob == suffix);
            match (suffix, given) {
                ("PROFILE", _) => Some("off".to_owned()),
                (_, given) => given.map(|(_, value)| (*value).to_owned()),
            }
        })
        .unwrap();
        let (world, cast) = World::live(LimitSources { env, lock: false }).await;
        for (what, ..) in &tiers {
            if matches!(named, Counted::Global) && !matches!(what, Counted::Global | Counted::Proxy)
            {
                continue;
            }
            let count = let_in(&world, &cast, *what).await;
            let same = format!("{named:?}") == format!("{what:?}");
            if !same {
                assert_eq!(count, 12, "{named:?} {what:?}");
            } else if matches!(what, Counted::Auth) {
                assert_eq!(count, *limit, "{named:?}");
            } else if matches!(what, Counted::Global) {
                // What made the instance has counted too.
                assert!(count < 12, "{named:?} {count}");
            } else {
                // A bucket fills while it is emptied.
                assert!((*limit..12).contains(&count), "{named:?} {count}");
            }
        }
    }
}

/// What is stored counts with the next request, and no longer once it is taken back; in the data plane too, on connections that are
/// open.
#[tokio::test]
async fn what_is_stored_counts_at_once_in_every_tier() {
    let (world, cast) = World::live(LimitSources::default()).await;
    let put = async |body: Value| {
        world
            .call(Method::PUT, "/v1/admin/settings")
            .json(json!({"rate_limit": body}))
            .token(&cast.owner)
            .send()
            .await
            .expect(StatusCode::OK);
    };
    let broker = world.control.broker();
    let open = broker.authenticate(&cast.agent, None, world.now()).unwrap();
    for (what, overrides) in [
        (Counted::Auth, json!({"AUTH": {"max": 5}})),
        (Counted::Authed, json!({"AUTHED": {"rate": 1, "burst": 3}})),
        (Counted::Proxy, json!({"PROXY": {"rate": 1, "burst": 3}})),
    ] {
        put(json!({"profile": "off"})).await;
        assert_eq!(let_in(&world, &cast, what).await, 12, "{what:?}");
        put(json!({"profile": "off", "overrides": overrides})).await;
        assert!(let_in(&world, &cast, what).await < 12, "{what:?}");
        if matches!(what, Counted::Proxy) {
            assert!(open.limits().admit().await.is_err());
        }
        put(json!({"profile": "off"})).await;
        assert_eq!(let_in(&world, &cast, what).await, 12, "{what:?}");
        if matches!(what, Counted::Proxy) {
            assert!(open.limits().admit().await.is_ok());
        }
    }
    // The server's own tier has floors, so it takes more than a few: all of these at once.
    put(json!({"profile": "off", "overrides": {"GLOBAL": {"rate": 100, "burst": 1}}})).await;
    let mut refused = false;
    for _ in 0..2_000 {
        refused = !is_let_in(&world, &cast, Counted::Global).await;
        if refused {
            break;
        }
    }
    assert!(refused);
}

/// Behind a proxy that is trusted, clients are counted and not the proxy; a client cannot name itself another.
#[tokio::test]
async fn the_auth_tier_counts_clients_behind_a_trusted_proxy() {
    let world = World::with(
        RateLimits {
            auth: window(3),
            ..RateLimits::off()
        },
        |info| info.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()],
    )
    .await;
    world.user("o@x.io", InstanceRole::Owner, None).await;
    let logout = |peer: &str, forwarded: &str| {
        world
            .call(Method::POST, "/v1/auth/logout")
            .peer(peer)
            .header("x-forwarded-for", forwarded)
            .send()
    };
    let proxy = "192.0.2.1:4711";
    for n in 0..3 {
        // What stands before the last element, the client has written.
        let forwarded = format!("10.9.9.{n}, 198.51.100.7");
        logout(proxy, &forwarded).await.expect(StatusCode::OK);
    }
    logout(proxy, "198.51.100.7").await.refused(429);
    logout(proxy, "198.51.100.8").await.expect(StatusCode::OK);
    // A peer that nobody trusts is counted itself, whatever it says.
    for n in 0..3 {
        logout("203.0.113.5:1", &format!("10.0.0.{n}"))
            .await
            .expect(StatusCode::OK);
    }
    logout("203.0.113.5:1", "10.0.0.99").await.refused(429);
}

/// The tier of guesses tells nobody that it is spent: the right code is as wrong as any other then.
#[tokio::test]
async fn the_verify_fail_tier_counts_guesses_at_a_code() {
    for (max, wrong_guesses, status) in [(2, 1, 200), (2, 2, 400), (3, 2, 200), (3, 3, 400)] {
        let env = LimitLayer::from_env(|name| match name {
            "AGENT_VAULT_RATELIMIT_PROFILE" => Some("off".to_owned()),
            "AGENT_VAULT_RATELIMIT_VERIFY_FAIL_MAX" => Some(max.to_string()),
            _ => None,
        })
        .unwrap();
        let (world, cast) = World::live(LimitSources { env, lock: false }).await;
        let forgot = json!({"email": "member@x.io"});
        let asked = world.post("/v1/auth/forgot-password", forgot).send().await;
        asked.expect(StatusCode::OK);
        world.control.settle().await;
        let codes = world.get("/v1/admin/codes").token(&cast.owner).send().await;
        let code = codes.expect(StatusCode::OK)["codes"][0]["code"].clone();
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let reset = |code: &str| {
            let body = json!({"email": "member@x.io", "code": code, "new_password": "long enough"});
            world.post("/v1/auth/reset-password", body).send()
        };
        for _ in 0..wrong_guesses {
            reset(wrong).await.refused(400);
        }
        let right = reset(code.as_str().unwrap()).await;
        assert_eq!(
            right.status.as_u16(),
            status,
            "{max} {wrong_guesses} {}",
            right.text
        );
    }
}
