//! People after the first owner: registration, codes by mail, a new password, devices.

use agent_vault_store::{CodePurpose, InstanceRole, VaultRole};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{ELSEWHERE, Letter, Mailbox, World};

const PASSWORD: &str = "long enough";

async fn register(world: &World, email: &str) -> crate::world::Reply {
    let body = json!({"email": email, "password": PASSWORD});
    let reply = world
        .post("/v1/auth/register", body)
        .peer(ELSEWHERE)
        .send()
        .await;
    world.control.settle().await;
    reply
}

async fn ask(world: &World, path: &str, email: &str) -> Value {
    let reply = world.post(path, json!({"email": email})).send().await;
    world.control.settle().await;
    reply.expect(StatusCode::OK)
}

fn last(mailbox: &Mailbox) -> Letter {
    mailbox.letters().pop().unwrap()
}

fn without_email(answer: &Value) -> Value {
    let mut answer = answer.clone();
    answer.as_object_mut().unwrap().remove("email");
    answer
}

#[tokio::test]
async fn h8_m22_registration_tells_nothing_and_a_code_lets_in() {
    let (world, _, mailbox) = World::with_mail().await;
    let new = register(&world, "New@x.io")
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(new["email"], "new@x.io");
    assert_eq!(new["requires_verification"], true);
    assert_eq!(new["email_sent"], true);
    assert!(new.get("token").is_none() && new.get("authenticated").is_none());
    let letter = last(&mailbox);
    assert_eq!(
        (letter.to.as_str(), letter.subject.as_str()),
        ("new@x.io", "Agent Vault verification code")
    );
    // Known and confirmed, known and waiting, new: one answer.
    let known = register(&world, "owner@x.io")
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(mailbox.letters().len(), 1);
    let waiting = register(&world, "new@x.io")
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(mailbox.letters().len(), 2);
    assert_eq!(without_email(&known), without_email(&new));
    assert_eq!(without_email(&waiting), without_email(&new));

    // Not before the address is confirmed.
    let login = json!({"email": "new@x.io", "password": PASSWORD});
    world
        .post("/v1/auth/login", login.clone())
        .send()
        .await
        .refused(401);
    let verify = |email: &str, code: &str| {
        let body = json!({"email": email, "code": code, "device_label": "desk"});
        world.post("/v1/auth/verify", body).send()
    };
    let wrong = verify("new@x.io", "000000x").await.refused(400);
    for (email, code) in [
        ("owner@x.io", "123456"),
        ("nobody@x.io", "123456"),
        ("?", "1"),
    ] {
        assert_eq!(verify(email, code).await.refused(400), wrong);
    }
    let done = verify("new@x.io", &letter.code()).await;
    let cookie = done.header("set-cookie").unwrap().to_owned();
    let done = done.expect(StatusCode::OK);
    assert_eq!(done["authenticated"], true);
    assert!(cookie.contains(done["token"].as_str().unwrap()));
    let me = world
        .get("/v1/auth/me")
        .token(done["token"].as_str().unwrap())
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(me["role"], "member");
    // Each code counts once.
    verify("new@x.io", &letter.code()).await.refused(400);
    world
        .post("/v1/auth/login", login)
        .send()
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn the_password_of_a_second_registration_does_not_count() {
    let (world, _, mailbox) = World::with_mail().await;
    register(&world, "new@x.io").await;
    let body = json!({"email": "new@x.io", "password": "of somebody else"});
    world.post("/v1/auth/register", body).send().await;
    world.control.settle().await;
    let body = json!({"email": "new@x.io", "code": last(&mailbox).code()});
    world
        .post("/v1/auth/verify", body)
        .send()
        .await
        .expect(StatusCode::OK);
    let body = json!({"email": "new@x.io", "password": "of somebody else"});
    world.post("/v1/auth/login", body).send().await.refused(401);
}

#[tokio::test]
async fn h6_m23_guesses_are_counted_in_the_database_and_a_new_code_starts_anew() {
    let (world, _, mailbox) = World::with_mail().await;
    register(&world, "new@x.io").await;
    let first = last(&mailbox).code();
    let wrong = if first == "000000" {
        "000001"
    } else {
        "000000"
    };
    let verify = |code: String| {
        let body = json!({"email": "new@x.io", "code": code});
        world.post("/v1/auth/verify", body).send()
    };
    let user = world
        .store
        .user_by_email("new@x.io")
        .await
        .unwrap()
        .unwrap();
    // Another process would find the same count.
    for _ in 0..100 {
        let left = world
            .store
            .spend_code_guess(user.id, CodePurpose::Verify, 100, world.now())
            .await
            .unwrap();
        assert!(left.len() <= 1);
    }
    verify(first).await.refused(400);
    ask(&world, "/v1/auth/resend-verification", "new@x.io").await;
    verify(wrong.to_owned()).await.refused(400);
    verify(last(&mailbox).code()).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn three_codes_live_and_run_out() {
    let (world, _, mailbox) = World::with_mail().await;
    register(&world, "new@x.io").await;
    let answer = ask(&world, "/v1/auth/resend-verification", "new@x.io").await;
    for _ in 0..3 {
        ask(&world, "/v1/auth/resend-verification", "new@x.io").await;
    }
    assert_eq!(mailbox.letters().len(), 3);
    for unknown in ["nobody@x.io", "owner@x.io", "no address"] {
        let same = ask(&world, "/v1/auth/resend-verification", unknown).await;
        assert_eq!(same, answer);
    }
    assert_eq!(mailbox.letters().len(), 3);
    world.advance(SignedDuration::from_mins(16));
    let body = json!({"email": "new@x.io", "code": last(&mailbox).code()});
    world
        .post("/v1/auth/verify", body)
        .send()
        .await
        .refused(400);
    ask(&world, "/v1/auth/resend-verification", "new@x.io").await;
    assert_eq!(mailbox.letters().len(), 4);
}

#[tokio::test]
async fn h10_m7_codes_are_sealed_and_wait_for_an_owner_where_no_mail_goes_out() {
    let (world, cast) = World::cast().await;
    let answer = register(&world, "new@x.io")
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(answer["email_sent"], false);
    let codes = world
        .get("/v1/admin/codes")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(world.last_audit().await.action, "code.reveal");
    let code = &codes["codes"][0];
    assert_eq!(
        (&code["email"], &code["purpose"]),
        (&json!("new@x.io"), &json!("verify"))
    );
    let code = code["code"].as_str().unwrap();
    let user = world
        .store
        .user_by_email("new@x.io")
        .await
        .unwrap()
        .unwrap();
    let rows = world
        .store
        .email_codes(user.id, CodePurpose::Verify, world.now())
        .await
        .unwrap();
    let sealed = rows[0].sealed.as_bytes();
    assert!(!sealed.windows(6).any(|window| window == code.as_bytes()));
    let body = json!({"email": "new@x.io", "code": code});
    world
        .post("/v1/auth/verify", body)
        .send()
        .await
        .expect(StatusCode::OK);
    // What a mail took away is shown to nobody.
    let (world, cast, _) = World::with_mail().await;
    register(&world, "new@x.io").await;
    let codes = world
        .get("/v1/admin/codes")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(codes, json!({"codes": []}));
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_and_everything_under_the_old_one_ends() {
    let (world, cast, mailbox) = World::with_mail().await;
    let answer = ask(&world, "/v1/auth/forgot-password", "owner@x.io").await;
    for unknown in ["nobody@x.io", "no address"] {
        let same = ask(&world, "/v1/auth/forgot-password", unknown).await;
        assert_eq!(same, answer);
    }
    assert_eq!(mailbox.letters().len(), 1);
    let letter = last(&mailbox);
    assert_eq!(letter.subject, "Agent Vault password reset code");
    assert!(world.proxies(&cast.scoped, "default"));
    let reset = |email: &str, code: &str, password: &str| {
        let body = json!({"email": email, "code": code, "new_password": password});
        world.post("/v1/auth/reset-password", body).send()
    };
    reset("owner@x.io", &letter.code(), "short")
        .await
        .refused(400);
    let wrong = reset("owner@x.io", "nope", "another one")
        .await
        .refused(400);
    assert_eq!(
        reset("nobody@x.io", &letter.code(), "another one")
            .await
            .refused(400),
        wrong
    );
    let done = reset("owner@x.io", &letter.code(), "another one").await;
    assert!(done.header("set-cookie").is_some());
    let token = done.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .get("/v1/auth/me")
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    world
        .get("/v1/auth/me")
        .token(&cast.owner)
        .send()
        .await
        .refused(401);
    // H3: vault tokens that the old logins minted.
    assert!(!world.proxies(&cast.scoped, "default"));
    reset("owner@x.io", &letter.code(), "a third one")
        .await
        .refused(400);
    let login = json!({"email": "owner@x.io", "password": "another one"});
    world
        .post("/v1/auth/login", login)
        .send()
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn one_code_at_two_places_counts_once() {
    let (world, _, mailbox) = World::with_mail().await;
    ask(&world, "/v1/auth/forgot-password", "owner@x.io").await;
    let code = last(&mailbox).code();
    let reset = |password: &str| {
        let body = json!({"email": "owner@x.io", "code": code, "new_password": password});
        world.post("/v1/auth/reset-password", body).send()
    };
    let (a, b) = tokio::join!(reset("the first one"), reset("the second one"));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
}

#[tokio::test]
async fn accounts_that_nobody_confirms_go_and_free_their_address() {
    let (world, _, mailbox) = World::with_mail().await;
    register(&world, "squatter@x.io").await;
    world.advance(SignedDuration::from_hours(6 * 24));
    world.control.sweep_people().await.unwrap();
    assert!(
        world
            .store
            .user_by_email("squatter@x.io")
            .await
            .unwrap()
            .is_some()
    );
    world.advance(SignedDuration::from_hours(2 * 24));
    world.control.sweep_people().await.unwrap();
    assert!(
        world
            .store
            .user_by_email("squatter@x.io")
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(world.last_audit().await.action, "user.unconfirmed");
    assert_eq!(mailbox.letters().len(), 1);
}

#[tokio::test]
async fn a_device_is_let_in_by_a_person_elsewhere() {
    let (world, cast) = World::cast().await;
    let start = || async {
        let reply = world
            .post("/v1/auth/device", json!({"device_label": "far box"}))
            .peer(ELSEWHERE)
            .header("User-Agent", "cli/1")
            .send()
            .await;
        reply.expect(StatusCode::OK)
    };
    let poll = |started: &Value| {
        let body = json!({"device_code": started["device_code"]});
        world.post("/v1/auth/device/token", body).send()
    };
    let started = start().await;
    let code = started["user_code"].as_str().unwrap().to_owned();
    assert_eq!(started["verification_uri"], "http://127.0.0.1:14321/device");
    assert_eq!(poll(&started).await.refused(400), "authorization_pending");
    // The code alone opens nothing.
    let guess = world
        .post("/v1/auth/device/token", json!({"device_code": code}))
        .send()
        .await;
    assert_eq!(guess.refused(400), "expired_token");
    let path = format!("/v1/auth/device/{}", code.to_lowercase());
    let shown = world
        .get(&path)
        .token(&cast.member)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(shown["device_label"], "far box");
    assert_eq!(shown["ip"], "203.0.113.9");
    world
        .call(Method::POST, &format!("{path}/approve"))
        .token(&cast.agent)
        .send()
        .await
        .refused(403);
    world
        .call(Method::POST, &format!("{path}/approve"))
        .token(&cast.member)
        .send()
        .await
        .expect(StatusCode::OK);
    let done = poll(&started).await.expect(StatusCode::OK);
    assert_eq!(done["email"], "member@x.io");
    let token = done["token"].as_str().unwrap();
    let me = world.get("/v1/auth/me").token(token).send().await;
    assert_eq!(me.expect(StatusCode::OK)["email"], "member@x.io");
    // One login, once.
    assert_eq!(poll(&started).await.refused(400), "expired_token");

    let denied = start().await;
    let path = format!(
        "/v1/auth/device/{}/deny",
        denied["user_code"].as_str().unwrap()
    );
    world
        .call(Method::POST, &path)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(poll(&denied).await.refused(400), "access_denied");

    let late = start().await;
    world.advance(SignedDuration::from_mins(11));
    assert_eq!(poll(&late).await.refused(400), "expired_token");
    world.control.sweep_people().await.unwrap();
    let page = world.get("/device").send().await;
    assert!(page.text.contains("/device.js") && !page.text.contains("onclick"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let script = world.get("/device.js").send().await;
    assert!(
        script
            .header("content-type")
            .unwrap()
            .starts_with("text/javascript")
    );
}

#[tokio::test]
async fn a_password_change_ends_what_a_device_waits_for() {
    let (world, _, mailbox) = World::with_mail().await;
    let started = world
        .post("/v1/auth/device", json!({}))
        .send()
        .await
        .expect(StatusCode::OK);
    let member = world
        .user("late@x.io", InstanceRole::Member, Some(VaultRole::Member))
        .await;
    let path = format!(
        "/v1/auth/device/{}/approve",
        started["user_code"].as_str().unwrap()
    );
    world
        .call(Method::POST, &path)
        .token(&member)
        .send()
        .await
        .expect(StatusCode::OK);
    ask(&world, "/v1/auth/forgot-password", "late@x.io").await;
    let body =
        json!({"email": "late@x.io", "code": last(&mailbox).code(), "new_password": PASSWORD});
    world
        .post("/v1/auth/reset-password", body)
        .send()
        .await
        .expect(StatusCode::OK);
    let body = json!({"device_code": started["device_code"]});
    let poll = world.post("/v1/auth/device/token", body).send().await;
    assert_eq!(poll.refused(400), "expired_token");
}
