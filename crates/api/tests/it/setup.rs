//! The first owner (H4), and what works before there is one.

use agent_vault_api::RateLimits;
use http::StatusCode;
use serde_json::json;

use crate::world::{ELSEWHERE, World};

const NEW_OWNER: &str = r#"{"email":"Ada@X.io","password":"long enough"}"#;

#[tokio::test]
async fn before_there_is_an_owner() {
    let world = World::empty().await;
    let status = world.get("/v1/status").send().await.expect(StatusCode::OK);
    assert_eq!(status["initialized"], false);
    assert_eq!(status["needs_first_user"], true);
    for path in ["/v1/vaults", "/v1/auth/me", "/discover"] {
        let reply = world.get(path).token("av_sess_x").send().await;
        assert_eq!(reply.refused(503), "not_initialized");
        assert!(reply.json()["message"].is_string() && reply.json()["hint"].is_string());
    }
    world.get("/health").send().await.expect(StatusCode::OK);
    // W44: static, and what a newcomer looks into first.
    world
        .get("/v1/service-catalog")
        .send()
        .await
        .expect(StatusCode::OK);
    world
        .get("/v1/mitm/ca.pem")
        .send()
        .await
        .expect(StatusCode::OK);
    // The local operator needs no owner.
    let local = world.local_token.clone();
    world
        .get("/v1/vaults")
        .token(&local)
        .in_process()
        .send()
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_plain_post_from_this_machine_makes_the_owner() {
    let world = World::empty().await;
    let reply = world
        .call(http::Method::POST, "/v1/auth/register")
        .raw(NEW_OWNER)
        .send()
        .await;
    let body = reply.expect(StatusCode::CREATED);
    assert_eq!(body["email"], "ada@x.io");
    assert_eq!(body["role"], "owner");
    assert_eq!(body["authenticated"], true);
    assert_eq!(body["requires_verification"], false);
    assert_eq!(body["expires_at"], "2027-03-01T12:00:00Z");
    let token = body["token"].as_str().unwrap();
    let cookie = reply.header("set-cookie").unwrap();
    assert_eq!(
        cookie,
        format!("av_session={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000")
    );
    let me = world
        .get("/v1/auth/me")
        .token(token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        me,
        json!({"type": "user", "email": "ada@x.io", "role": "owner", "is_owner": true})
    );
    let context = world
        .get("/v1/vaults/default/context")
        .token(token)
        .send()
        .await;
    assert_eq!(context.expect(StatusCode::OK)["vault_role"], "admin");

    let again = world
        .call(http::Method::POST, "/v1/auth/register")
        .raw(NEW_OWNER)
        .send()
        .await;
    // Whoever comes later is no owner, and not in yet.
    let again = again.expect(StatusCode::CREATED);
    assert_eq!(again["requires_verification"], true);
    assert!(again.get("token").is_none());
    world.control.settle().await;
}

#[tokio::test]
async fn h4_from_elsewhere_the_setup_token_is_needed() {
    let world = World::empty().await;
    let register = |body: serde_json::Value| world.post("/v1/auth/register", body).peer(ELSEWHERE);
    let owner = json!({"email": "a@x.io", "password": "long enough"});
    assert!(
        register(owner.clone())
            .send()
            .await
            .refused(403)
            .contains("setup token")
    );
    let mut wrong = owner.clone();
    wrong["setup_token"] = json!("av_uinv_wrong");
    register(wrong).send().await.refused(403);
    let record = world.last_audit().await;
    assert_eq!(record.action, "user.register");
    assert!(record.detail.contains("setup token is wrong"));
    // Claiming to be near does not help, and a reverse proxy on this machine is not this machine.
    let near = register(owner.clone())
        .header("X-Forwarded-For", "127.0.0.1")
        .send()
        .await;
    near.refused(403);
    for header in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"] {
        let proxied = world
            .post("/v1/auth/register", owner.clone())
            .header(header, "x")
            .send()
            .await;
        proxied.refused(403);
    }
    let mut right = owner;
    right["setup_token"] = json!(world.control.setup_token());
    register(right).send().await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn h4_a_page_in_the_operators_browser_cannot_claim_the_instance() {
    let world = World::empty().await;
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:3000"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let reply = world
            .call(http::Method::POST, "/v1/auth/register")
            .raw(NEW_OWNER)
            .header(name, value)
            .send()
            .await;
        assert!(
            reply.refused(403).contains("Cross-origin"),
            "{name}: {value}"
        );
    }
    let rebound = world
        .call(http::Method::POST, "/v1/auth/register")
        .raw(NEW_OWNER)
        .header("Host", "evil.example:14321")
        .header("Origin", "http://evil.example:14321")
        .send()
        .await;
    assert!(rebound.refused(403).contains("host name"));
    // Neither does a token that means nothing lift the checks.
    for (name, value) in [("Host", "evil.example"), ("Origin", "https://evil.example")] {
        let reply = world
            .call(http::Method::POST, "/v1/auth/register")
            .raw(NEW_OWNER)
            .token("x")
            .header(name, value)
            .send()
            .await;
        reply.refused(403);
    }
    let own = world
        .call(http::Method::POST, "/v1/auth/register")
        .raw(NEW_OWNER)
        .header("Origin", "http://127.0.0.1:14321")
        .header("Sec-Fetch-Site", "same-origin")
        .send()
        .await;
    own.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_public_base_url_makes_loopback_peers_remote() {
    let world = World::with(RateLimits::off(), |info| {
        info.base_url = "https://vault.example".to_owned();
        info.base_url_is_explicit = true;
    })
    .await;
    let register = || {
        world
            .call(http::Method::POST, "/v1/auth/register")
            .raw(NEW_OWNER)
    };
    register().send().await.refused(403);
    let status = world.get("/v1/status").send().await.expect(StatusCode::OK);
    assert_eq!(status["base_url"], "https://vault.example");

    let open = World::with(RateLimits::off(), |info| info.allow_remote_setup = true).await;
    let reply = open
        .call(http::Method::POST, "/v1/auth/register")
        .raw(NEW_OWNER)
        .peer(ELSEWHERE)
        .header("Host", "vault.example")
        .send()
        .await;
    reply.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn two_first_owners_at_once_make_one() {
    let world = World::empty().await;
    let register = |email: &str| {
        world
            .post(
                "/v1/auth/register",
                json!({"email": email, "password": "long enough"}),
            )
            .send()
    };
    let (one, two) = tokio::join!(register("one@x.io"), register("two@x.io"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403]);
    assert_eq!(world.store.user_count().await.unwrap(), 1);
}

#[tokio::test]
async fn bad_registrations() {
    let world = World::empty().await;
    for body in [
        json!({"email": "nobody", "password": "long enough"}),
        json!({"email": "Ada <a@x.io>", "password": "long enough"}),
        json!({"email": "a@x.io", "password": "short"}),
        json!({"email": "a@x.io", "password": "x".repeat(2000)}),
        json!({"email": format!("{}@x.io", "a".repeat(5000)), "password": "long enough"}),
        json!({}),
    ] {
        world
            .post("/v1/auth/register", body)
            .send()
            .await
            .refused(400);
    }
    assert_eq!(world.store.user_count().await.unwrap(), 0);
}
