//! Second factors.

use agent_vault_seal::{SecretBytes, totp};
use http::StatusCode;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::World;

const PASSWORD: &str = "long enough";

/// The code that an app shows now, from the text that it was given.
fn code(world: &World, secret: &str) -> String {
    let mut bits = 0_u64;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in secret.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            _ => letter - b'2' + 26,
        };
        bits = (bits << 5) | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    let step = u64::try_from(world.now().as_second()).unwrap() / totp::STEP_SECONDS;
    totp::code_at(&SecretBytes::new(bytes), step).to_string()
}

async fn owner() -> (World, String) {
    let world = World::empty().await;
    let body = json!({"email": "a@x.io", "password": PASSWORD});
    let reply = world.post("/v1/auth/register", body).send().await;
    let token = reply.expect(StatusCode::CREATED)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    (world, token)
}

async fn enable(world: &World, token: &str) -> (String, Vec<String>) {
    let start = world
        .post("/v1/auth/totp", json!({"current_password": PASSWORD}))
        .token(token)
        .send()
        .await
        .expect(StatusCode::OK);
    let secret = start["secret"].as_str().unwrap().to_owned();
    assert!(start["otpauth_url"].as_str().unwrap().contains(&secret));
    let done = world
        .post(
            "/v1/auth/totp/confirm",
            json!({"code": code(world, &secret)}),
        )
        .token(token)
        .send()
        .await
        .expect(StatusCode::OK);
    let codes = done["recovery_codes"].as_array().unwrap();
    let codes = codes
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    (secret, codes)
}

async fn login(world: &World, password: &str, factor: Option<&str>) -> crate::world::Reply {
    let mut body = json!({"email": "a@x.io", "password": password});
    if let Some(factor) = factor {
        body["totp_code"] = json!(factor);
    }
    world.post("/v1/auth/login", body).send().await
}

async fn state(world: &World, token: &str) -> Value {
    let reply = world.get("/v1/auth/totp").token(token).send().await;
    reply.expect(StatusCode::OK)
}

#[tokio::test]
async fn a_login_wants_the_app_too_and_no_code_counts_twice() {
    let (world, token) = owner().await;
    assert_eq!(
        state(&world, &token).await,
        json!({"enabled": false, "recovery_codes": 0})
    );
    world
        .post("/v1/auth/totp", json!({"current_password": "not this"}))
        .token(&token)
        .send()
        .await
        .refused(403);
    // Begun but not confirmed: it guards nothing.
    world
        .post("/v1/auth/totp", json!({"current_password": PASSWORD}))
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    login(&world, PASSWORD, None).await.expect(StatusCode::OK);
    let (secret, _) = enable(&world, &token).await;
    assert_eq!(
        state(&world, &token).await,
        json!({"enabled": true, "recovery_codes": 10})
    );

    // The code that turned it on is spent.
    let spent = code(&world, &secret);
    assert_eq!(
        login(&world, PASSWORD, Some(&spent)).await.refused(401),
        "second_factor_required"
    );
    world.advance(SignedDuration::from_secs(30));
    let asked = login(&world, PASSWORD, None).await;
    assert_eq!(asked.refused(401), "second_factor_required");
    assert!(asked.json()["message"].is_string());
    // A wrong password tells nothing of the second factor.
    let shown = code(&world, &secret);
    let wrong = login(&world, "wrong one", Some(&shown)).await;
    assert_eq!(wrong.refused(401), "Invalid email or password");
    login(&world, PASSWORD, Some(&shown))
        .await
        .expect(StatusCode::OK);
    login(&world, PASSWORD, Some(&shown)).await.refused(401);
}

#[tokio::test]
async fn recovery_codes_count_once_each() {
    let (world, token) = owner().await;
    let (_, codes) = enable(&world, &token).await;
    assert_eq!(codes.len(), 10);
    let typed = format!(" {} ", codes[0].to_lowercase().replace('-', " "));
    login(&world, PASSWORD, Some(&typed))
        .await
        .expect(StatusCode::OK);
    login(&world, PASSWORD, Some(&codes[0])).await.refused(401);
    assert_eq!(state(&world, &token).await["recovery_codes"], 9);
}

#[tokio::test]
async fn wrong_codes_lock_for_longer_each_time() {
    let (world, token) = owner().await;
    let (secret, _) = enable(&world, &token).await;
    for _ in 0..5 {
        login(&world, PASSWORD, Some("wrong")).await.refused(401);
    }
    world.advance(SignedDuration::from_secs(31));
    let good = code(&world, &secret);
    login(&world, PASSWORD, Some(&good)).await.refused(429);
    world.advance(SignedDuration::from_secs(60));
    login(&world, PASSWORD, Some("wrong")).await.refused(401);
    world.advance(SignedDuration::from_secs(90));
    login(&world, PASSWORD, Some(&code(&world, &secret)))
        .await
        .refused(429);
    world.advance(SignedDuration::from_secs(90));
    login(&world, PASSWORD, Some(&code(&world, &secret)))
        .await
        .expect(StatusCode::OK);
    // A right one starts anew.
    world.advance(SignedDuration::from_secs(60));
    login(&world, PASSWORD, Some("wrong")).await.refused(401);
    login(&world, PASSWORD, Some(&code(&world, &secret)))
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_reset_by_mail_is_no_way_around_it() {
    let (world, token) = owner().await;
    let (_, codes) = enable(&world, &token).await;
    world
        .post("/v1/auth/forgot-password", json!({"email": "a@x.io"}))
        .send()
        .await
        .expect(StatusCode::OK);
    world.control.settle().await;
    let waiting = world.get("/v1/admin/codes").token(&token).send().await;
    let mailed = waiting.expect(StatusCode::OK)["codes"][0]["code"].clone();
    let reset = |factor: Option<&str>| {
        let mut body = json!({"email": "a@x.io", "code": mailed, "new_password": "another one"});
        if let Some(factor) = factor {
            body["totp_code"] = json!(factor);
        }
        world.post("/v1/auth/reset-password", body).send()
    };
    assert_eq!(reset(None).await.refused(401), "second_factor_required");
    login(&world, PASSWORD, Some(&codes[0]))
        .await
        .expect(StatusCode::OK);
    // The mailed code was not used up by the question.
    reset(Some(&codes[1])).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn it_is_turned_off_with_both_or_by_another_owner() {
    let (world, token) = owner().await;
    let (_, codes) = enable(&world, &token).await;
    let disable = |body: Value| {
        world
            .post("/v1/auth/totp/disable", body)
            .token(&token)
            .send()
    };
    disable(json!({"current_password": PASSWORD}))
        .await
        .refused(403);
    disable(json!({"current_password": "no", "totp_code": codes[0]}))
        .await
        .refused(403);
    disable(json!({"current_password": PASSWORD, "totp_code": codes[0]}))
        .await
        .expect(StatusCode::OK);
    login(&world, PASSWORD, None).await.expect(StatusCode::OK);
    world.advance(SignedDuration::from_secs(60));
    enable(&world, &token).await;
    let other = world
        .user("b@x.io", agent_vault_store::InstanceRole::Owner, None)
        .await;
    let path = "/v1/admin/users/a@x.io/totp";
    world
        .delete(path)
        .token(&other)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(world.last_audit().await.action, "totp.remove");
    world.delete(path).token(&other).send().await.refused(404);
    login(&world, PASSWORD, None).await.expect(StatusCode::OK);
}
