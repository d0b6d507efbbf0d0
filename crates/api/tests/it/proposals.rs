//! What agents ask to change, and who decides.

use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{Cast, World};

const DAY: i64 = 24;

/// A bearer service for `host` with a key that the proposal brings.
fn stripe() -> Value {
    json!({
        "services": [{"action": "set", "name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}],
        "credentials": [{"action": "set", "key": "STRIPE_KEY", "description": "Secret key", "obtain": "https://dashboard.stripe.com"}],
        "message": "Read charges",
        "user_message": "I want to sum them up.",
    })
}

async fn raise(world: &World, token: &str, body: Value) -> Value {
    let raised = world.post("/v1/proposals", body).token(token).send().await;
    raised.expect(StatusCode::CREATED)
}

async fn approve(world: &World, token: &str, id: u64, body: Value) -> crate::world::Reply {
    let path = format!("/v1/admin/proposals/{id}/approve");
    world.post(&path, body).token(token).send().await
}

async fn review(world: &World, token: &str, id: u64) -> Value {
    let path = format!("/v1/admin/proposals/{id}");
    let found = world.get(&path).token(token).send().await;
    found.expect(StatusCode::OK)
}

async fn status(world: &World, token: &str, id: u64) -> String {
    let found = world
        .get(&format!("/v1/proposals/{id}"))
        .token(token)
        .send()
        .await;
    found.expect(StatusCode::OK)["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn set(world: &World, cast: &Cast, key: &str) {
    let body = json!({"vault": "default", "credentials": {key: "stored"}});
    let set = world
        .post("/v1/credentials", body)
        .token(&cast.owner)
        .send()
        .await;
    set.expect(StatusCode::OK);
}

async fn services(world: &World, cast: &Cast, list: Value) {
    let body = json!({"services": list});
    let path = "/v1/vaults/default/services";
    let put = world
        .call(Method::PUT, path)
        .json(body)
        .token(&cast.owner)
        .send()
        .await;
    put.expect(StatusCode::OK);
}

#[tokio::test]
async fn w1_a_proposal_from_asking_to_use() {
    let (world, cast) = World::cast().await;
    let raised = raise(&world, &cast.scoped, stripe()).await;
    assert_eq!(raised["id"], 1);
    assert_eq!(raised["status"], "pending");
    assert_eq!(raised["vault"], "default");
    let url = raised["approval_url"].as_str().unwrap();
    assert!(
        url.starts_with("http://127.0.0.1:14321/approve/1?token=av_appr_"),
        "{url}"
    );
    assert_eq!(status(&world, &cast.scoped, 1).await, "pending");

    let list = world.get("/v1/vaults").token(&cast.owner).send().await;
    assert_eq!(
        list.expect(StatusCode::OK)["vaults"][0]["pending_proposals"],
        1
    );
    let shown = review(&world, &cast.owner, 1).await;
    assert_eq!(shown["user_message"], "I want to sum them up.");
    assert_eq!(
        shown["credentials"][0]["obtain"],
        "https://dashboard.stripe.com"
    );
    assert!(
        shown["services_json"]
            .as_str()
            .unwrap()
            .contains("api.stripe.com")
    );
    let flow = &shown["preview"]["flows"][0];
    assert_eq!(
        (flow["key"].as_str(), flow["host"].as_str()),
        (Some("STRIPE_KEY"), Some("api.stripe.com"))
    );
    assert_eq!(
        (flow["stored"].as_bool(), flow["new"].as_bool()),
        (Some(false), Some(true))
    );

    let missing = approve(&world, &cast.owner, 1, json!({})).await;
    assert!(missing.refused(400).contains("STRIPE_KEY"));
    let empty = approve(
        &world,
        &cast.owner,
        1,
        json!({"credentials": {"STRIPE_KEY": ""}}),
    )
    .await;
    empty.refused(400);
    let done = approve(
        &world,
        &cast.owner,
        1,
        json!({"credentials": {"STRIPE_KEY": "sk-value", "EXTRA": "x"}}),
    )
    .await;
    assert_eq!(
        done.expect(StatusCode::OK),
        json!({"id": 1, "status": "applied"})
    );

    // The agent sees the end, and neither it nor anybody else the value in it.
    let found = world
        .get("/v1/proposals/1")
        .token(&cast.scoped)
        .send()
        .await;
    let found = found.expect(StatusCode::OK);
    assert_eq!(found["status"], "applied");
    assert!(found["reviewed_at"].is_string());
    assert!(!found.to_string().contains("sk-value"));
    let list = world.get("/discover").token(&cast.scoped).send().await;
    let list = list.expect(StatusCode::OK);
    assert_eq!(list["services"][0]["host"], "api.stripe.com");
    assert_eq!(list["available_credentials"], json!(["STRIPE_KEY"]));
    let audit = world.last_audit().await;
    assert_eq!(audit.action, "proposal.approve");
    assert!(!audit.detail.to_string().contains("sk-value"));
    approve(
        &world,
        &cast.owner,
        1,
        json!({"credentials": {"STRIPE_KEY": "again"}}),
    )
    .await
    .refused(409);
}

#[tokio::test]
async fn h16_m17_nobody_approves_their_own_and_services_take_an_admin() {
    let (world, cast) = World::cast().await;
    let body = json!({"credentials": [{"action": "set", "key": "OWN", "value": "offered"}]});
    raise(&world, &cast.agent_member, body.clone()).await;
    let refused = approve(&world, &cast.agent_member, 1, json!({})).await;
    assert!(refused.refused(403).contains("their own"));
    // A vault token that the agent minted is the same hands, both ways.
    let minted = world
        .post("/v1/sessions", json!({"vault": "default"}))
        .token(&cast.agent_member)
        .send()
        .await;
    let minted = minted.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    raise(&world, &minted, body).await;
    approve(&world, &cast.agent_member, 2, json!({}))
        .await
        .refused(403);
    approve(&world, &minted, 1, json!({})).await.refused(403);
    approve(&world, &cast.scoped, 1, json!({}))
        .await
        .refused(403);
    // Another agent with the role may, as may a member; services take an admin.
    approve(&world, &cast.member, 1, json!({}))
        .await
        .expect(StatusCode::OK);
    raise(&world, &cast.scoped, stripe()).await;
    let value = json!({"credentials": {"STRIPE_KEY": "v"}});
    assert!(
        approve(&world, &cast.member, 3, value.clone())
            .await
            .refused(403)
            .contains("admin")
    );
    approve(&world, &cast.agent_member, 3, value.clone())
        .await
        .refused(403);
    approve(&world, &cast.admin, 3, value)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn w21_the_preview_tells_which_stored_key_would_go_where() {
    let (world, cast) = World::cast().await;
    set(&world, &cast, "BANK_KEY").await;
    services(&world, &cast, json!([{"name": "bank", "host": "api.bank.com", "auth": {"type": "bearer", "token": "BANK_KEY"}}])).await;
    // Harmless at first sight: an existing key, another host.
    let body = json!({"services": [{"action": "set", "name": "bank", "host": "evil.example.com", "auth": {"type": "bearer", "token": "BANK_KEY"}}]});
    raise(&world, &cast.agent, body).await;
    let preview = review(&world, &cast.owner, 1).await["preview"].clone();
    let flow = &preview["flows"][0];
    assert_eq!(flow["host"], "evil.example.com");
    assert_eq!(
        (flow["stored"].as_bool(), flow["new"].as_bool()),
        (Some(true), Some(true))
    );
    let warnings = preview["warnings"].to_string();
    assert!(
        warnings.contains("BANK_KEY would go to `evil.example.com`"),
        "{warnings}"
    );
    assert!(warnings.contains("is for `api.bank.com` now"), "{warnings}");
    assert_eq!(preview["changes"][0]["before"]["host"], "api.bank.com");
    assert_eq!(preview["changes"][0]["after"]["host"], "evil.example.com");
    // What was shown is approved, or nothing.
    services(&world, &cast, json!([{"name": "bank", "host": "api2.bank.com", "auth": {"type": "bearer", "token": "BANK_KEY"}}])).await;
    let stale = approve(
        &world,
        &cast.owner,
        1,
        json!({"revision": preview["revision"]}),
    )
    .await;
    stale.refused(412);
    assert_eq!(status(&world, &cast.agent, 1).await, "pending");
}

#[tokio::test]
async fn m45_h23_an_approval_checks_again_and_leaves_nothing_half_done() {
    let (world, cast) = World::cast().await;
    set(&world, &cast, "OLD").await;
    services(
        &world,
        &cast,
        json!([{"name": "gone", "host": "gone.example.com", "auth": {"type": "passthrough"}}]),
    )
    .await;
    let body = json!({
        "services": [
            {"action": "set", "name": "new", "host": "new.example.com", "auth": {"type": "basic", "username": "OLD", "password": "FRESH"}},
            {"action": "delete", "host": "gone.example.com"},
        ],
        "credentials": [{"action": "set", "key": "FRESH", "value": "offered"}],
    });
    raise(&world, &cast.agent, body).await;
    services(&world, &cast, json!([])).await;
    let shown = review(&world, &cast.owner, 1).await;
    assert!(
        shown["preview"]["conflict"]
            .as_str()
            .unwrap()
            .contains("gone"),
        "{shown}"
    );
    approve(&world, &cast.owner, 1, json!({}))
        .await
        .refused(409);
    services(
        &world,
        &cast,
        json!([{"name": "gone", "host": "gone.example.com", "auth": {"type": "passthrough"}}]),
    )
    .await;
    let deleted = world
        .delete("/v1/credentials?vault=default&key=OLD")
        .token(&cast.owner)
        .send()
        .await;
    deleted.expect(StatusCode::OK);
    assert!(
        approve(&world, &cast.owner, 1, json!({}))
            .await
            .refused(409)
            .contains("OLD")
    );
    // Nothing of it was done.
    let found = world
        .get("/discover")
        .token(&cast.agent)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(found["available_credentials"], json!([]));
    assert_eq!(found["services"].as_array().unwrap().len(), 1);
    set(&world, &cast, "OLD").await;
    approve(&world, &cast.owner, 1, json!({}))
        .await
        .expect(StatusCode::OK);
    let found = world
        .get("/discover")
        .token(&cast.agent)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(found["available_credentials"], json!(["FRESH", "OLD"]));
    assert_eq!(found["services"][0]["name"], "new");
}

#[tokio::test]
async fn h22_an_end_is_an_end() {
    let (world, cast) = World::cast().await;
    let body = json!({"credentials": [{"action": "set", "key": "KEY", "value": "offered"}]});
    raise(&world, &cast.agent, body).await;
    let path = "/v1/admin/proposals/1/reject";
    let reason = json!({"reason": "not today"});
    let done = world
        .post(path, reason.clone())
        .token(&cast.member)
        .send()
        .await;
    assert_eq!(
        done.expect(StatusCode::OK),
        json!({"id": 1, "status": "rejected"})
    );
    world
        .post(path, reason)
        .token(&cast.member)
        .send()
        .await
        .refused(409);
    approve(&world, &cast.owner, 1, json!({}))
        .await
        .refused(409);
    let found = world
        .get("/v1/proposals/1")
        .token(&cast.agent)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(found["review_note"], "not today");
    let shown = review(&world, &cast.owner, 1).await;
    assert_eq!(shown["reviewed_by"], "member@x.io");
    assert!(shown.get("preview").is_none());
}

#[tokio::test]
async fn h21_m44_age_counts_on_every_read_and_on_approval() {
    let (world, cast) = World::cast().await;
    for number in 0..20 {
        let key = format!("KEY_{number}");
        let body = json!({"credentials": [{"action": "set", "key": key, "value": "offered"}]});
        raise(&world, &cast.agent, body).await;
    }
    let full = world
        .post("/v1/proposals", stripe())
        .token(&cast.agent)
        .send()
        .await;
    full.refused(429);
    assert_eq!(full.header("retry-after"), None);
    world.advance(SignedDuration::from_hours(7 * DAY));
    // Nobody has listed anything.
    approve(&world, &cast.owner, 1, json!({}))
        .await
        .refused(409);
    let raised = world.agent(&cast.owner, "fresh", "proxy").await;
    assert_eq!(status(&world, &raised, 1).await, "expired");
    raise(&world, &raised, stripe()).await;
    let list = world
        .get("/v1/proposals?status=expired")
        .token(&raised)
        .send()
        .await;
    assert_eq!(
        list.expect(StatusCode::OK)["proposals"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
    // The sweep takes the values; a quarter later it takes the rows, and no number comes twice.
    world.control.sweep_people().await.unwrap();
    assert!(
        world
            .store
            .proposal_values(agent_vault_store::DEFAULT_VAULT_ID, 1)
            .await
            .unwrap()
            .is_empty()
    );
    world.advance(SignedDuration::from_hours(98 * DAY));
    world.control.sweep_people().await.unwrap();
    let list = world.get("/v1/proposals").token(&raised).send().await;
    assert_eq!(
        list.expect(StatusCode::OK)["proposals"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(raise(&world, &raised, stripe()).await["id"], 22);
}

#[tokio::test]
async fn m9_m1_values_end_with_the_proposal_and_no_token_is_stored() {
    let (world, cast) = World::cast().await;
    let vault = agent_vault_store::DEFAULT_VAULT_ID;
    for key in ["ONE", "TWO"] {
        let body = json!({"credentials": [{"action": "set", "key": key, "value": "sk-offered"}]});
        raise(&world, &cast.agent, body).await;
    }
    let sealed = world.store.proposal_values(vault, 1).await.unwrap();
    assert_eq!(sealed.len(), 1);
    assert!(
        !sealed[0]
            .1
            .as_bytes()
            .windows(10)
            .any(|bytes| bytes == b"sk-offered")
    );
    for token in [&cast.agent, &cast.owner] {
        let path = if *token == cast.agent {
            "/v1/proposals/1"
        } else {
            "/v1/admin/proposals/1"
        };
        let shown = world
            .get(path)
            .token(token)
            .send()
            .await
            .expect(StatusCode::OK)
            .to_string();
        assert!(
            shown.contains("\"has_value\":true") && !shown.contains("sk-offered"),
            "{shown}"
        );
    }
    let row = world.store.proposal(vault, 1).await.unwrap().unwrap();
    assert!(!format!("{row:?}").contains("av_"), "{row:?}");
    approve(&world, &cast.owner, 1, json!({}))
        .await
        .expect(StatusCode::OK);
    world
        .post("/v1/admin/proposals/2/reject", json!({}))
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    for id in [1, 2] {
        assert!(
            world
                .store
                .proposal_values(vault, id)
                .await
                .unwrap()
                .is_empty()
        );
    }
    let revealed = world
        .get("/v1/credentials?vault=default&reveal=true&key=ONE")
        .token(&cast.owner)
        .send()
        .await;
    assert_eq!(
        revealed.expect(StatusCode::OK)["credentials"][0]["value"],
        "sk-offered"
    );
}

#[tokio::test]
async fn m18_the_role_proxy_reviews_what_waits_and_nothing_else() {
    let (world, cast) = World::cast().await;
    for key in ["ONE", "TWO"] {
        raise(
            &world,
            &cast.agent,
            json!({"credentials": [{"action": "set", "key": key, "value": "v"}]}),
        )
        .await;
    }
    approve(&world, &cast.owner, 1, json!({}))
        .await
        .expect(StatusCode::OK);
    for token in [&cast.agent, &cast.scoped] {
        let list = world
            .get("/v1/admin/proposals")
            .token(token)
            .send()
            .await
            .expect(StatusCode::OK);
        assert_eq!(list["proposals"].as_array().unwrap().len(), 1);
        world
            .get("/v1/admin/proposals/1")
            .token(token)
            .send()
            .await
            .refused(403);
        review(&world, token, 2).await;
    }
    let list = world
        .get("/v1/admin/proposals")
        .token(&cast.member)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["proposals"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_link_shows_and_decides_nothing() {
    let (world, cast) = World::cast().await;
    let raised = raise(&world, &cast.agent, stripe()).await;
    let token = raised["approval_url"]
        .as_str()
        .unwrap()
        .split("token=")
        .nth(1)
        .unwrap()
        .to_owned();
    let path = format!("/v1/proposals/approve-details?token={token}&id=1");
    let shown = world.get(&path).send().await.expect(StatusCode::OK);
    assert!(!shown["agent_name"].as_str().unwrap().is_empty());
    assert_eq!(
        (
            shown["authenticated"].as_bool(),
            shown["can_approve"].as_bool()
        ),
        (Some(false), Some(false))
    );
    assert_eq!(shown["preview"]["flows"][0]["host"], "api.stripe.com");
    // Only the cookie says who looks, and only an admin could approve services (M18).
    for (login, can) in [
        (&cast.owner, true),
        (&cast.admin, true),
        (&cast.member, false),
        (&cast.outsider, false),
    ] {
        let cookie = format!("av_session={login}");
        let shown = world
            .get(&path)
            .header("cookie", &cookie)
            .send()
            .await
            .expect(StatusCode::OK);
        assert_eq!(
            (
                shown["authenticated"].as_bool(),
                shown["can_approve"].as_bool()
            ),
            (Some(true), Some(can))
        );
    }
    world
        .get("/v1/proposals/approve-details?id=1")
        .send()
        .await
        .refused(400);
    world
        .get("/v1/proposals/approve-details?token=av_appr_0&id=1")
        .send()
        .await
        .refused(404);
    world
        .get(&path.replace("id=1", "id=2"))
        .send()
        .await
        .refused(400);
    approve(&world, &token, 1, json!({})).await.refused(401);
    let page = world.get("/approve/1?token=x").send().await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let value = json!({"credentials": {"STRIPE_KEY": "v"}});
    approve(&world, &cast.owner, 1, value)
        .await
        .expect(StatusCode::OK);
    let over = world.get(&path).send().await.expect(StatusCode::OK);
    assert_eq!(
        (over["error"].as_bool(), over["status"].as_str()),
        (Some(true), Some("applied"))
    );
    world.advance(SignedDuration::from_hours(DAY));
    world.get(&path).send().await.refused(410);
}

#[tokio::test]
async fn h15_m55_each_person_who_may_decide_gets_a_letter_of_their_own() {
    let (world, cast, mailbox) = World::with_mail().await;
    let raised = raise(&world, &cast.agent, stripe()).await;
    world.control.settle().await;
    let letters = mailbox.letters();
    let mut to: Vec<&str> = letters.iter().map(|letter| letter.to.as_str()).collect();
    to.sort_unstable();
    // Services take an admin.
    assert_eq!(to, ["admin@x.io", "owner@x.io"]);
    for letter in &letters {
        assert_eq!(letter.subject, "New proposal (#1) in vault \"default\"");
        assert!(
            letter
                .text
                .contains("http://127.0.0.1:14321/approve/1?vault=default"),
            "{}",
            letter.text
        );
        assert!(!letter.text.contains("av_appr_"));
    }
    assert!(
        raised["approval_url"]
            .as_str()
            .unwrap()
            .contains("av_appr_")
    );
    // A mail server that is down stops no agent.
    mailbox
        .broken
        .store(true, std::sync::atomic::Ordering::Release);
    raise(
        &world,
        &cast.agent,
        json!({"credentials": [{"action": "set", "key": "K"}]}),
    )
    .await;
    world.control.settle().await;
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let (world, cast) = World::cast().await;
    set(&world, &cast, "KNOWN").await;
    for (body, status, word) in [
        (json!({}), 400, "services"),
        (
            json!({"credentials": [{"action": "set", "key": "K"}], "extra": 1}),
            400,
            "extra",
        ),
        (
            json!({"services": [{"action": "set", "name": "new", "host": "api.x.com", "description": "x", "auth": {"type": "passthrough"}}]}),
            400,
            "description",
        ),
        (
            json!({"services": [{"name": "new", "host": "api.x.com"}]}),
            400,
            "action",
        ),
        (
            json!({"services": [{"action": "set", "name": "new", "host": "api.x.com", "auth": {"type": "bearer", "token": "NONE"}}]}),
            400,
            "NONE",
        ),
        (
            json!({"services": [{"action": "set", "name": "new", "host": "api.x.com", "auth": {"type": "bearer", "token": "KNOWN"}}], "credentials": [{"action": "set", "key": "UNUSED"}]}),
            400,
            "UNUSED",
        ),
        (
            json!({"services": [{"action": "set", "name": "new", "host": "api.x.com", "auth": {"type": "bearer", "token": "KNOWN"}}], "credentials": [{"action": "delete", "key": "KNOWN"}]}),
            400,
            "KNOWN",
        ),
        (
            json!({"credentials": [{"action": "delete", "key": "NONE"}]}),
            404,
            "NONE",
        ),
        (
            json!({"credentials": [{"action": "set", "key": "K", "type": "oauth", "oauth": {"scopes": "repo"}}]}),
            400,
            "credentials[0].oauth.token_url",
        ),
        (
            json!({"services": [{"action": "delete", "host": "api.none.com"}]}),
            404,
            "api.none.com",
        ),
        (
            json!({"credentials": [{"action": "set", "key": "K", "value": "line\n"}]}),
            400,
            "K",
        ),
    ] {
        let refused = world
            .post("/v1/proposals", body.clone())
            .token(&cast.agent)
            .send()
            .await;
        let message = refused.refused(status);
        assert!(message.contains(word), "{body} {message}");
    }
    let people = world
        .post("/v1/proposals", stripe())
        .header("x-vault", "default")
        .token(&cast.owner)
        .send()
        .await;
    people.refused(403);
    assert!(
        people.json()["hint"]
            .as_str()
            .unwrap()
            .contains("service add")
    );
    world
        .get("/v1/proposals/zero")
        .token(&cast.agent)
        .send()
        .await
        .refused(400);
    world
        .get("/v1/proposals/9")
        .token(&cast.agent)
        .send()
        .await
        .refused(404);
}

#[tokio::test]
async fn the_skill_is_served_to_anybody() {
    let world = World::empty().await;
    let skill = world.get("/v1/skills/cli").send().await;
    assert_eq!(skill.status, 200);
    assert_eq!(
        skill.header("content-type"),
        Some("text/markdown; charset=utf-8")
    );
}
