//! Rate limits as clients see them.

use std::num::NonZeroU32;
use std::time::Duration;

use agent_vault_api::{BucketKnobs, RateLimits, WindowKnobs};
use agent_vault_store::{InstanceRole, VaultRole};
use http::StatusCode;
use serde_json::json;

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
