//! Settings of the instance.

use std::sync::atomic::Ordering;

use agent_vault_control::{LimitLayer, LimitSources};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{ELSEWHERE, World};

async fn put(world: &World, by: &str, body: Value) -> crate::world::Reply {
    world
        .call(Method::PUT, "/v1/admin/settings")
        .json(body)
        .token(by)
        .send()
        .await
}

async fn get(world: &World, by: &str) -> Value {
    let reply = world.get("/v1/admin/settings").token(by).send().await;
    reply.expect(StatusCode::OK)
}

#[tokio::test]
async fn who_may_come_in() {
    let (world, cast) = World::cast().await;
    let settings = get(&world, &cast.owner).await;
    assert_eq!(settings["allowed_email_domains"], json!([]));
    assert_eq!(settings["invite_only"], false);
    assert_eq!(settings["smtp_configured"], false);
    let status = world.get("/v1/status").send().await.expect(StatusCode::OK);
    assert!(status.get("invite_only").is_none() && status.get("allowed_email_domains").is_none());

    let changed = put(
        &world,
        &cast.owner,
        json!({"allowed_email_domains": [" Good.Example ", "good.example"], "invite_only": true}),
    )
    .await;
    assert_eq!(
        changed.expect(StatusCode::OK)["allowed_email_domains"],
        json!(["good.example"])
    );
    let status = world.get("/v1/status").send().await.expect(StatusCode::OK);
    assert_eq!(status["invite_only"], true);
    assert_eq!(status["allowed_email_domains"], json!(["good.example"]));
    let register = |email: &str| {
        let body = json!({"email": email, "password": "long enough"});
        world.post("/v1/auth/register", body).peer(ELSEWHERE).send()
    };
    assert!(
        register("a@bad.example")
            .await
            .refused(403)
            .contains("good.example")
    );
    assert!(
        register("a@good.example")
            .await
            .refused(403)
            .contains("invitation")
    );
    let invite = |email: &str| {
        world
            .post("/v1/users/invites", json!({"email": email}))
            .token(&cast.owner)
            .send()
    };
    invite("a@bad.example").await.refused(403);
    invite("a@good.example").await.expect(StatusCode::CREATED);
    put(
        &world,
        &cast.owner,
        json!({"allowed_email_domains": [], "invite_only": false}),
    )
    .await
    .expect(StatusCode::OK);
    register("a@bad.example").await.expect(StatusCode::CREATED);
    world.control.settle().await;
}

#[tokio::test]
async fn h33_all_or_nothing_and_what_is_wrong_is_named() {
    let (world, cast) = World::cast().await;
    let before = get(&world, &cast.owner).await;
    for (body, named) in [
        (
            json!({"invite_only": true, "allowed_email_domains": ["no dot"]}),
            "no dot",
        ),
        (
            json!({"invite_only": true, "allowed_email_domains": ["https://x.example/"]}),
            "https",
        ),
        (
            json!({"invite_only": true, "allowed_email_domains": ["."]}),
            "allowed_email_domains",
        ),
        (
            json!({"invite_only": true, "allowed_email_domains": ["x..example"]}),
            "x..example",
        ),
        (
            json!({"invite_only": true, "rate_limit": {"profile": "fast"}}),
            "profile",
        ),
        (
            json!({"invite_only": true, "rate_limit": {"overrides": {"AUTH": {"max": 4}}}}),
            "AUTH.max",
        ),
        (
            json!({"invite_only": true, "rate_limit": {"overrides": {"AUTH": {"rate": 100001}}}}),
            "AUTH.rate",
        ),
        (
            json!({"invite_only": true, "rate_limit": {"overrides": {"AUTH": {"window": "5 minutes"}}}}),
            "window",
        ),
        (
            json!({"invite_only": true, "rate_limit": {"overrides": {"FAST": {}}}}),
            "FAST",
        ),
        (
            json!({"invite_only": true, "logs_retention": {"max_age_hours": 900_000}}),
            "max_age_hours",
        ),
        (
            json!({"invite_only": true, "invite_olny": true}),
            "invite_olny",
        ),
    ] {
        let refused = put(&world, &cast.owner, body.clone()).await.refused(400);
        assert!(refused.contains(named), "{body}: {refused}");
        assert_eq!(get(&world, &cast.owner).await, before, "{body}");
    }
    // Preview holds to the same rules.
    let preview = |body: Value| {
        world
            .post("/v1/admin/settings/rate-limit/preview", body)
            .token(&cast.owner)
            .send()
    };
    preview(json!({"overrides": {"GLOBAL": {"rate": 99}}}))
        .await
        .refused(400);
    let shown = preview(json!({"overrides": {"AUTH": {"max": 7, "window": "1m"}}})).await;
    let shown = shown.expect(StatusCode::OK);
    assert_eq!(
        shown["tiers"]["AUTH"],
        json!({"max": 7, "window": "1m0s", "source": "override"})
    );
    assert_eq!(get(&world, &cast.owner).await, before);
}

#[tokio::test]
async fn m52_the_retention_of_the_request_log_is_stored_and_shown() {
    let (world, cast) = World::cast().await;
    let retention = get(&world, &cast.owner).await["logs_retention"].clone();
    assert_eq!(retention["max_age_hours"], 168);
    let body = json!({"logs_retention": {"max_age_hours": 24, "max_rows_per_vault": 500}});
    put(&world, &cast.owner, body).await.expect(StatusCode::OK);
    let retention = get(&world, &cast.owner).await["logs_retention"].clone();
    assert_eq!(
        retention,
        json!({"max_age_hours": 24, "max_rows_per_vault": 500, "from_environment": false})
    );
    let record = world.last_audit().await;
    assert_eq!(record.action, "instance.settings");
    assert!(record.detail.contains("logs_retention_before"));
}

#[tokio::test]
async fn m51_stored_limits_count_at_once() {
    let (world, cast) = World::live(LimitSources::default()).await;
    let reply = world.get("/v1/auth/me").token(&cast.member).send().await;
    assert_eq!(reply.header("x-ratelimit-limit"), Some("240"));
    let body = json!({"rate_limit": {"overrides": {"AUTHED": {"rate": 1, "burst": 2}, "AUTH": {"max": 5}}}});
    let shown = put(&world, &cast.owner, body).await.expect(StatusCode::OK);
    assert_eq!(
        shown["rate_limit"]["tiers"]["AUTHED"],
        json!({"rate": 1, "burst": 2, "source": "override"})
    );
    let me = || world.get("/v1/auth/me").token(&cast.member).send();
    assert_eq!(me().await.header("x-ratelimit-limit"), Some("2"));
    me().await.expect(StatusCode::OK);
    assert_eq!(me().await.refused(429), "too_many_requests");
    let logout = || {
        world
            .call(Method::POST, "/v1/auth/logout")
            .peer(ELSEWHERE)
            .send()
    };
    for _ in 0..5 {
        logout().await.expect(StatusCode::OK);
    }
    logout().await.refused(429);
    assert_eq!(world.control.limits().limits.auth.unwrap().max, 5);
    // Off and on again: nothing was left unbuilt.
    let owner = |body: Value| put(&world, &cast.owner, body);
    let off = owner(json!({"rate_limit": {"profile": "off"}})).await;
    assert_eq!(off.expect(StatusCode::OK)["rate_limit"]["off"], true);
    logout().await.expect(StatusCode::OK);
    assert_eq!(me().await.header("x-ratelimit-limit"), None);
    owner(json!({"rate_limit": {"profile": "default"}}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(me().await.header("x-ratelimit-limit"), Some("240"));
}

#[tokio::test]
async fn the_environment_counts_first_and_can_lock() {
    let env = LimitLayer::from_env(|name| {
        (name == "AGENT_VAULT_RATELIMIT_AUTHED_BURST").then(|| "7".to_owned())
    })
    .unwrap();
    let (world, cast) = World::live(LimitSources {
        env: env.clone(),
        lock: false,
    })
    .await;
    let body = json!({"rate_limit": {"overrides": {"AUTHED": {"burst": 9}}}});
    let shown = put(&world, &cast.owner, body.clone())
        .await
        .expect(StatusCode::OK);
    assert_eq!(shown["rate_limit"]["tiers"]["AUTHED"]["burst"], 7);
    assert_eq!(shown["rate_limit"]["tiers"]["AUTHED"]["source"], "env");
    let (world, cast) = World::live(LimitSources { env, lock: true }).await;
    put(&world, &cast.owner, body.clone()).await.refused(409);
    let preview = world
        .post(
            "/v1/admin/settings/rate-limit/preview",
            body["rate_limit"].clone(),
        )
        .token(&cast.owner)
        .send()
        .await;
    preview.refused(409);
    assert_eq!(get(&world, &cast.owner).await["rate_limit"]["locked"], true);
}

#[tokio::test]
async fn a_test_mail() {
    let (world, cast) = World::cast().await;
    assert!(
        world
            .post("/v1/admin/email/test", json!({}))
            .token(&cast.owner)
            .send()
            .await
            .refused(400)
            .contains("not set up")
    );
    let (mailing, cast, mailbox) = World::with_mail().await;
    let test = |body: Value| {
        mailing
            .post("/v1/admin/email/test", body)
            .token(&cast.owner)
            .send()
    };
    assert_eq!(
        test(json!({})).await.expect(StatusCode::OK)["to"],
        "owner@x.io"
    );
    assert_eq!(
        test(json!({"to": "Other@x.io"}))
            .await
            .expect(StatusCode::OK)["to"],
        "other@x.io"
    );
    test(json!({"to": "a@x.io\r\nBcc: b@y.io"}))
        .await
        .refused(400);
    assert_eq!(mailbox.letters().len(), 2);
    mailbox.broken.store(true, Ordering::Release);
    assert!(test(json!({})).await.refused(502).contains("on fire"));
}
