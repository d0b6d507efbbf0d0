//! Logins.

use agent_vault_store::{InstanceRole, VaultRole};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::json;

use crate::world::{ELSEWHERE, World};

async fn registered() -> (World, String) {
    let world = World::empty().await;
    let body =
        json!({"email": "a@x.io", "password": "long enough", "device_label": " my\u{7} box "});
    let reply = world.post("/v1/auth/register", body).send().await;
    let token = reply.expect(StatusCode::CREATED)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    (world, token)
}

#[tokio::test]
async fn login_and_its_refusals_look_alike() {
    let (world, _) = registered().await;
    let login = |email: &str, password: &str| {
        world
            .post(
                "/v1/auth/login",
                json!({"email": email, "password": password}),
            )
            .send()
    };
    let good = login("A@x.io", "long enough").await;
    let body = good.expect(StatusCode::OK);
    assert!(body["token"].as_str().unwrap().starts_with("av_sess_"));
    assert!(
        good.header("set-cookie")
            .unwrap()
            .starts_with("av_session=av_sess_")
    );
    assert_eq!(world.last_audit().await.action, "session.login");

    let mut texts = Vec::new();
    for (email, password) in [
        ("a@x.io", "wrong"),
        ("b@x.io", "long enough"),
        ("not an address", "x"),
    ] {
        let reply = login(email, password).await;
        assert_eq!(reply.refused(401), "Invalid email or password");
        texts.push(reply.text);
        let record = world.last_audit().await;
        assert_eq!(
            (record.action.as_str(), record.target.as_str()),
            ("session.login", format!("user:{email}").as_str())
        );
        assert!(record.detail.contains("refused"));
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]));
    for body in [
        json!({}),
        json!({"email": "a@x.io"}),
        json!({"password": "x"}),
    ] {
        world.post("/v1/auth/login", body).send().await.refused(400);
    }
}

#[tokio::test]
async fn own_sessions_are_listed_and_revoked() {
    let (world, first) = registered().await;
    let login = json!({"email": "a@x.io", "password": "long enough", "device_label": "phone"});
    let second = world
        .post("/v1/auth/login", login)
        .header("User-Agent", "test/1")
        .peer(ELSEWHERE)
        .send()
        .await;
    let second = second.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();

    let list = world
        .get("/v1/auth/sessions")
        .token(&first)
        .send()
        .await
        .expect(StatusCode::OK);
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let phone = sessions
        .iter()
        .find(|session| session["device_label"] == "phone")
        .unwrap();
    assert_eq!(phone["last_ip"], "203.0.113.9");
    assert_eq!(phone["last_user_agent"], "test/1");
    assert_eq!(phone["current"], false);
    let laptop = sessions
        .iter()
        .find(|session| session["device_label"] == "my box")
        .unwrap();
    assert_eq!(laptop["current"], true);

    let path = format!("/v1/auth/sessions/{}", phone["id"].as_str().unwrap());
    let gone = world
        .delete(&path)
        .token(&first)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(gone, json!({"status": "revoked", "current": false}));
    world
        .get("/v1/auth/me")
        .token(&second)
        .send()
        .await
        .refused(401);
    world.delete(&path).token(&first).send().await.refused(404);
    let own = format!("/v1/auth/sessions/{}", laptop["id"].as_str().unwrap());
    let reply = world.delete(&own).token(&first).send().await;
    assert_eq!(reply.expect(StatusCode::OK)["current"], true);
    assert!(reply.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn logins_end_idle_and_absolutely() {
    let (world, token) = registered().await;
    let me = || world.get("/v1/auth/me").token(&token).send();
    world.advance(SignedDuration::from_hours(29 * 24));
    me().await.expect(StatusCode::OK);
    world.advance(SignedDuration::from_hours(29 * 24));
    me().await.expect(StatusCode::OK);
    world.advance(SignedDuration::from_hours(30 * 24 + 1));
    assert_eq!(me().await.refused(401), "Session expired");
}

#[tokio::test]
async fn logout_and_the_agents_own_token() {
    let (world, owner) = registered().await;
    let agent = world.agent(&owner, "bot", "proxy").await;
    for token in [&agent, "av_sess_unknown"] {
        let reply = world
            .call(Method::POST, "/v1/auth/logout")
            .token(token)
            .send()
            .await;
        assert_eq!(reply.expect(StatusCode::OK), json!({"status": "ok"}));
    }
    // H12: an agent cannot destroy its own standing token.
    assert!(world.proxies(&agent, "default"));
    let reply = world
        .call(Method::POST, "/v1/auth/logout")
        .token(&owner)
        .send()
        .await;
    assert!(
        reply
            .header("set-cookie")
            .unwrap()
            .starts_with("av_session=;")
    );
    assert_eq!(world.last_audit().await.action, "session.logout");
    world
        .get("/v1/auth/me")
        .token(&owner)
        .send()
        .await
        .refused(401);
}

#[tokio::test]
async fn a_password_change_ends_logins_and_minted_tokens() {
    let (world, token) = registered().await;
    let minted = world
        .post("/v1/sessions", json!({"vault": "default"}))
        .token(&token)
        .send()
        .await;
    let scoped = minted.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(world.proxies(&scoped, "default"));
    let change = |current: &str, new: &str| {
        world
            .post(
                "/v1/auth/change-password",
                json!({"current_password": current, "new_password": new}),
            )
            .token(&token)
            .send()
    };
    // H40: not a 401, which clients take for an expired session.
    change("wrong", "another one").await.refused(403);
    change("long enough", "short").await.refused(400);
    let reply = change("long enough", "another one").await;
    let fresh = reply.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .get("/v1/auth/me")
        .token(&token)
        .send()
        .await
        .refused(401);
    assert!(!world.proxies(&scoped, "default"));
    let list = world
        .get("/v1/auth/sessions")
        .token(&fresh)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(list["sessions"][0]["device_label"], "my box");
    let login = json!({"email": "a@x.io", "password": "another one"});
    world
        .post("/v1/auth/login", login)
        .send()
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn accounts_delete_themselves_but_owners_do_not() {
    let (world, owner) = registered().await;
    world
        .delete("/v1/auth/account")
        .token(&owner)
        .send()
        .await
        .refused(409);
    let member = world
        .user("m@x.io", InstanceRole::Member, Some(VaultRole::Member))
        .await;
    let minted = world
        .post("/v1/sessions", json!({"vault": "default"}))
        .token(&member)
        .send()
        .await;
    let scoped = minted.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let gone = world
        .delete("/v1/auth/account")
        .token(&member)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(gone, json!({"status": "deleted", "email": "m@x.io"}));
    assert!(!world.proxies(&scoped, "default"));
    world
        .get("/v1/auth/me")
        .token(&member)
        .send()
        .await
        .refused(401);
}

#[tokio::test]
async fn a_bad_bearer_is_not_retried_with_the_cookie() {
    let (world, token) = registered().await;
    let cookie = format!("other=1; av_session={token}");
    let with_cookie = world
        .get("/v1/auth/me")
        .header("Cookie", &cookie)
        .send()
        .await;
    with_cookie.expect(StatusCode::OK);
    let both = world
        .get("/v1/auth/me")
        .header("Cookie", &cookie)
        .token("av_sess_bad")
        .send()
        .await;
    assert_eq!(both.refused(401), "Invalid or expired session");
    assert_eq!(
        world.get("/v1/auth/me").send().await.refused(401),
        "Authorization required"
    );
}

#[tokio::test]
async fn the_local_token_counts_in_process_only() {
    let (world, _) = registered().await;
    let local = world.local_token.clone();
    let me = world
        .get("/v1/auth/me")
        .token(&local)
        .in_process()
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        me,
        json!({"type": "local", "role": "owner", "is_owner": true})
    );
    world
        .get("/v1/auth/me")
        .token(&local)
        .send()
        .await
        .refused(401);
    let set = world
        .post("/v1/credentials", json!({"credentials": {"KEY": "v"}}))
        .token(&local)
        .in_process()
        .send()
        .await;
    set.expect(StatusCode::OK);
    assert_eq!(world.last_audit().await.actor_type.as_str(), "local");
}
