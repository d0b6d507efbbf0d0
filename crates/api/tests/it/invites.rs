//! Invitations.

use std::sync::atomic::Ordering;

use agent_vault_store::{ActorRef, DEFAULT_VAULT_ID, VaultRole};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{Cast, World};

async fn invite(world: &World, by: &str, body: Value) -> crate::world::Reply {
    world.post("/v1/users/invites", body).token(by).send().await
}

/// The token at the end of a link.
fn token(made: &Value) -> String {
    let link = made["invite_link"].as_str().unwrap();
    assert!(link.starts_with("http://127.0.0.1:14321/invite/av_uinv_"));
    link.rsplit('/').next().unwrap().to_owned()
}

async fn accept(world: &World, token: &str, body: Value) -> crate::world::Reply {
    let path = format!("/v1/users/invites/{token}/accept");
    world.post(&path, body).send().await
}

async fn list(world: &World, by: &str) -> Vec<Value> {
    let reply = world.get("/v1/users/invites").token(by).send().await;
    let invites = reply.expect(StatusCode::OK)["invites"].clone();
    invites.as_array().unwrap().clone()
}

async fn role_in_default(world: &World, email: &str) -> Option<VaultRole> {
    let user = world.store.user_by_email(email).await.unwrap().unwrap();
    let grant = world
        .store
        .grant(ActorRef::user(user.id), DEFAULT_VAULT_ID)
        .await
        .unwrap();
    grant.map(|grant| grant.role)
}

#[tokio::test]
async fn a_link_makes_an_account_with_its_roles() {
    let (world, cast) = World::cast().await;
    let body =
        json!({"email": "New@x.io", "vaults": [{"vault_name": "default", "vault_role": "admin"}]});
    let made = invite(&world, &cast.owner, body)
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(
        (&made["email_sent"], &made["role"]),
        (&json!(false), &json!("member"))
    );
    let token = token(&made);
    let details = format!("/v1/users/invites/{token}/details");
    let found = world.get(&details).send().await.expect(StatusCode::OK);
    assert_eq!(found["email"], "new@x.io");
    assert_eq!(found["needs_account"], true);
    accept(&world, &token, json!({})).await.refused(400);
    accept(&world, &token, json!({"password": "short"}))
        .await
        .refused(400);
    let done = accept(&world, &token, json!({"password": "long enough"})).await;
    assert!(done.header("set-cookie").is_none());
    assert_eq!(done.expect(StatusCode::OK)["email"], "new@x.io");
    assert_eq!(
        role_in_default(&world, "new@x.io").await,
        Some(VaultRole::Admin)
    );
    let login = json!({"email": "new@x.io", "password": "long enough"});
    world
        .post("/v1/auth/login", login)
        .send()
        .await
        .expect(StatusCode::OK);
    let again = accept(&world, &token, json!({"password": "long enough"})).await;
    assert!(again.refused(410).contains("accepted"));
    let dead = world.get(&details).send().await.expect(StatusCode::OK);
    assert_eq!(
        (&dead["error"], &dead["error_title"]),
        (&json!(true), &json!("Already Accepted"))
    );
    world
        .get("/v1/users/invites/av_uinv_none/details")
        .send()
        .await
        .refused(404);
}

#[tokio::test]
async fn h19_m43_lists_name_what_revokes_and_it_opens_nothing() {
    let (world, cast) = World::cast().await;
    let made = invite(&world, &cast.member, json!({"email": "a@x.io"}))
        .await
        .expect(StatusCode::CREATED);
    let listed = list(&world, &cast.member).await;
    assert_eq!(listed[0]["id"], made["id"]);
    // Clients of the original take `token` from the list.
    let handle = listed[0]["token"].as_str().unwrap();
    assert_eq!(listed[0]["created_by_name"], "member@x.io");
    for what in ["details", "accept"] {
        let path = format!("/v1/users/invites/{handle}/{what}");
        let method = if what == "accept" {
            Method::POST
        } else {
            Method::GET
        };
        world.call(method, &path).send().await.refused(404);
    }
    let path = format!("/v1/users/invites/{handle}");
    world
        .delete(&path)
        .token(&cast.outsider)
        .send()
        .await
        .refused(403);
    world
        .delete(&path)
        .token(&cast.member)
        .send()
        .await
        .expect(StatusCode::OK);
    world
        .delete(&path)
        .token(&cast.member)
        .send()
        .await
        .refused(404);
    assert!(
        accept(&world, &token(&made), json!({"password": "long enough"}))
            .await
            .refused(410)
            .contains("taken back")
    );
}

#[tokio::test]
async fn h20_those_that_have_run_out_count_for_nothing() {
    let (world, cast) = World::cast().await;
    for number in 0..50 {
        let body = json!({"email": format!("n{number}@x.io")});
        invite(&world, &cast.owner, body)
            .await
            .expect(StatusCode::CREATED);
    }
    invite(&world, &cast.owner, json!({"email": "one@too.many"}))
        .await
        .refused(429);
    invite(&world, &cast.owner, json!({"email": "n1@x.io"}))
        .await
        .refused(409);
    world.advance(SignedDuration::from_hours(49));
    let made = invite(&world, &cast.owner, json!({"email": "n1@x.io"})).await;
    let made = made.expect(StatusCode::CREATED);
    let listed = list(&world, &cast.owner).await;
    assert_eq!(listed[0]["status"], "pending");
    assert_eq!(listed[1]["status"], "expired");
    // One that has run out can be sent again, unless there is a newer one.
    let old = |email: &str| {
        let found = listed
            .iter()
            .find(|item| item["email"] == email && item["status"] == "expired");
        format!(
            "/v1/users/invites/{}/reinvite",
            found.unwrap()["id"].as_str().unwrap()
        )
    };
    let again = world
        .call(Method::POST, &old("n2@x.io"))
        .token(&cast.owner)
        .send()
        .await;
    assert_ne!(again.expect(StatusCode::CREATED)["id"], made["id"]);
    world
        .call(Method::POST, &old("n1@x.io"))
        .token(&cast.owner)
        .send()
        .await
        .refused(409);
    world.advance(SignedDuration::from_hours(35 * 24));
    world.control.sweep_people().await.unwrap();
    assert!(world.store.invites().await.unwrap().is_empty());
}

#[tokio::test]
async fn h36_m21_whoever_squats_an_address_gains_nothing_by_its_invitation() {
    let squatter = json!({"email": "ada@x.io", "password": "of the squatter"});
    let (world, cast) = World::cast().await;
    world
        .post("/v1/auth/register", squatter.clone())
        .send()
        .await;
    world.control.settle().await;
    let made = invite(
        &world,
        &cast.owner,
        json!({"email": "ada@x.io", "role": "no-access"}),
    )
    .await
    .expect(StatusCode::CREATED);
    let token = token(&made);
    let details = format!("/v1/users/invites/{token}/details");
    let found = world.get(&details).send().await.expect(StatusCode::OK);
    assert_eq!(found["needs_account"], true);
    accept(&world, &token, json!({"password": "of ada herself"}))
        .await
        .expect(StatusCode::OK);
    world
        .post("/v1/auth/login", squatter)
        .send()
        .await
        .refused(401);
    let login = json!({"email": "ada@x.io", "password": "of ada herself"});
    world
        .post("/v1/auth/login", login)
        .send()
        .await
        .expect(StatusCode::OK);
    let user = world
        .store
        .user_by_email("ada@x.io")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(user.role.as_str(), "no-access");
}

#[tokio::test]
async fn h36_an_invitation_takes_no_role_away() {
    let (world, cast) = World::cast().await;
    let body = json!({"email": "late@x.io", "vaults": [{"vault_name": "default"}]});
    let made = invite(&world, &cast.owner, body)
        .await
        .expect(StatusCode::CREATED);
    // In the meantime the person came by another way, with more.
    world
        .user(
            "late@x.io",
            agent_vault_store::InstanceRole::Member,
            Some(VaultRole::Admin),
        )
        .await;
    let done = accept(&world, &token(&made), json!({})).await;
    done.expect(StatusCode::OK);
    assert_eq!(
        role_in_default(&world, "late@x.io").await,
        Some(VaultRole::Admin)
    );
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let (world, cast) = World::cast().await;
    let refused = |by: &str, body: Value, status: u16| {
        let (world, by) = (&world, by.to_owned());
        async move {
            invite(world, &by, body).await.refused(status);
        }
    };
    refused(
        &cast.member,
        json!({"email": "a@x.io", "role": "owner"}),
        403,
    )
    .await;
    let into = |vault: &str, role: &str| json!({"email": "a@x.io", "vaults": [{"vault_name": vault, "vault_role": role}]});
    refused(&cast.member, into("default", "member"), 403).await;
    // H18: one answer whether the vault exists or not.
    refused(&cast.member, into("nowhere", "member"), 403).await;
    refused(&cast.owner, into("nowhere", "member"), 404).await;
    refused(&cast.owner, into("default", "proxy"), 400).await;
    refused(&cast.owner, json!({"email": "no address"}), 400).await;
    refused(&cast.owner, json!({"email": "a@x.io", "role": "boss"}), 400).await;
    refused(
        &cast.owner,
        json!({"email": "a@x.io", "rolle": "member"}),
        400,
    )
    .await;
    refused(&cast.owner, json!({"email": "Member@x.io"}), 409).await;
    // An owner invites into every vault, with or without a role there.
    invite(&world, &cast.outsider_owner, into("default", "admin"))
        .await
        .expect(StatusCode::CREATED);
}

#[tokio::test]
async fn mail_or_a_link_and_never_both() {
    let (world, cast, mailbox) = World::with_mail().await;
    let body = json!({"email": "a@x.io", "vaults": [{"vault_name": "default"}]});
    let made = invite(&world, &cast.owner, body)
        .await
        .expect(StatusCode::CREATED);
    assert_eq!(made["email_sent"], true);
    assert!(made.get("invite_link").is_none());
    let letter = mailbox.letters().pop().unwrap();
    assert_eq!(letter.to, "a@x.io");
    assert!(letter.text.contains("owner@x.io") && letter.text.contains("default"));
    let link = letter
        .text
        .split_whitespace()
        .find(|word| word.contains("/invite/"));
    let token = link.unwrap().rsplit('/').next().unwrap();
    mailbox.broken.store(true, Ordering::Release);
    let path = format!("/v1/users/invites/{token}/reinvite");
    let again = world
        .call(Method::POST, &path)
        .token(&cast.owner)
        .send()
        .await;
    let again = again.expect(StatusCode::CREATED);
    assert_eq!(again["email_sent"], false);
    assert!(again["email_error"].as_str().unwrap().contains("on fire"));
    assert!(again["invite_link"].is_string());
    // The first one's link is dead.
    let details = format!("/v1/users/invites/{token}/details");
    let dead = world.get(&details).send().await.expect(StatusCode::OK);
    assert_eq!(dead["error_title"], "Invite Revoked");
    let made = invite(&world, &cast.member, json!({"email": "b@x.io"})).await;
    let made = made.expect(StatusCode::CREATED);
    // How the mail server fails is the operator's affair.
    assert!(!made["email_error"].as_str().unwrap().contains("on fire"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_accepted_once() {
    let (world, cast): (World, Cast) = World::cast().await;
    let made = invite(&world, &cast.owner, json!({"email": "a@x.io"}))
        .await
        .expect(StatusCode::CREATED);
    let token = token(&made);
    let (a, b) = tokio::join!(
        accept(&world, &token, json!({"password": "long enough 1"})),
        accept(&world, &token, json!({"password": "long enough 2"})),
    );
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
    assert_eq!(world.store.users().await.unwrap().len(), 6);
}

#[tokio::test]
async fn the_link_opens_a_page_that_tells_nothing_by_itself() {
    let (world, cast) = World::cast().await;
    let made = invite(&world, &cast.owner, json!({"email": "new@x.io"})).await;
    let made = made.expect(StatusCode::CREATED);
    let link = made["invite_link"].as_str().unwrap();
    let path = &link[link.find("/invite/").unwrap()..];
    let page = world.get(path).send().await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("/invite.js") && !page.text.contains("new@x.io"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let script = world.get("/invite.js").send().await;
    assert!(
        script
            .header("content-type")
            .unwrap()
            .starts_with("text/javascript")
    );
}
