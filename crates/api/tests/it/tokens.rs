//! Scoped sessions and agent tokens: bounds, and what ends them.

use agent_vault_store::{InstanceRole, VaultRole};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::World;

async fn mint(world: &World, token: &str) -> (String, String) {
    let reply = world
        .post(
            "/v1/sessions",
            json!({"vault": "default", "label": " run\u{7} 1 "}),
        )
        .token(token)
        .send()
        .await;
    let body = reply.expect(StatusCode::OK);
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

#[tokio::test]
async fn minting_as_the_sdk_does() {
    let (world, cast) = World::cast().await;
    let reply = world
        .post(
            "/v1/sessions",
            json!({"vault": "default", "ttl_seconds": 300}),
        )
        .token(&cast.agent_member)
        .send()
        .await;
    let body = reply.expect(StatusCode::OK);
    assert!(body["token"].as_str().unwrap().starts_with("av_sess_"));
    assert_eq!(body["expires_at"], "2026-03-01T12:05:00Z");
    assert_eq!(body["av_addr"], "http://127.0.0.1:14321");

    let (_, id) = mint(&world, &cast.member).await;
    let list = world
        .get("/v1/sessions?vault=default")
        .token(&cast.member)
        .send()
        .await
        .expect(StatusCode::OK);
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3);
    let mine = sessions
        .iter()
        .find(|session| session["id"] == id.as_str())
        .unwrap();
    assert_eq!(mine["label"], "run 1");
    assert_eq!(mine["vault_role"], "proxy");
    assert_eq!(mine["created_by"]["type"], "user");
    assert_eq!(mine["created_by"]["display_name"], "member@x.io");
    assert_eq!(mine["expires_at"], "2026-03-02T12:00:00Z");
    let by_agent = sessions
        .iter()
        .any(|session| session["created_by"]["display_name"] == "bot-member");
    assert!(by_agent);
}

#[tokio::test]
async fn h47_bounds_come_before_arithmetic() {
    let (world, cast) = World::cast().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({"vault": ""}), 400),
        (json!({"vault": "default", "ttl_seconds": 299}), 400),
        (json!({"vault": "default", "ttl_seconds": 604_801}), 400),
        (
            json!({"vault": "default", "ttl_seconds": 18_446_744_374_u64}),
            400,
        ),
        (json!({"vault": "default", "ttl_seconds": u64::MAX}), 400),
        (json!({"vault": "default", "ttl_seconds": -300}), 400),
        (json!({"vault": "default", "ttl_seconds": 300.5}), 400),
        (json!({"vault": "default", "ttl_seconds": "300"}), 400),
        (json!({"vault": "default", "ttl": 300}), 400),
        (json!({"vault": "default", "vault_role": "admin"}), 400),
        (json!({"vault": "default", "label": "x".repeat(101)}), 400),
        (json!({"vault": "missing"}), 404),
        (
            json!({"vault": "default", "vault_role": "proxy", "label": "x".repeat(100), "ttl_seconds": 604_800}),
            200,
        ),
    ] {
        let reply = world
            .post("/v1/sessions", body.clone())
            .token(&cast.owner)
            .send()
            .await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.text);
    }
    for ttl in [
        json!(299),
        json!(18_446_744_374_u64),
        json!(u64::MAX),
        json!(-1),
    ] {
        let body = json!({"name": "timed", "ttl_seconds": ttl});
        world
            .post("/v1/agents", body)
            .token(&cast.owner)
            .send()
            .await
            .refused(400);
    }
}

#[tokio::test]
async fn a_scoped_session_ends_by_time_and_by_revocation() {
    let (world, cast) = World::cast().await;
    let (token, id) = mint(&world, &cast.owner).await;
    assert!(world.proxies(&token, "default"));
    world
        .delete(&format!("/v1/sessions/{id}"))
        .token(&cast.owner)
        .send()
        .await
        .refused(400);
    let path = format!("/v1/sessions/{id}?vault=default");
    let gone = world.delete(&path).token(&cast.member).send().await;
    assert_eq!(gone.expect(StatusCode::OK), json!({"status": "revoked"}));
    assert!(!world.proxies(&token, "default"));
    assert_eq!(
        world
            .get("/discover")
            .token(&token)
            .send()
            .await
            .refused(401),
        "Invalid or expired session"
    );
    world
        .delete(&path)
        .token(&cast.member)
        .send()
        .await
        .refused(404);

    let (token, _) = mint(&world, &cast.owner).await;
    world.advance(SignedDuration::from_hours(24));
    world
        .get("/discover")
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    world.advance(SignedDuration::from_secs(1));
    assert_eq!(
        world
            .get("/discover")
            .token(&token)
            .send()
            .await
            .refused(401),
        "Session expired"
    );
    assert!(!world.proxies(&token, "default"));
}

/// Every way in which somebody loses the right to a vault ends the tokens that they minted there (H3, M11).
#[tokio::test]
async fn h3_tokens_do_not_outlive_the_right_of_their_minter() {
    let ends: [(&str, Method, &str, Option<Value>); 9] = [
        (
            "member@x.io",
            Method::DELETE,
            "/v1/vaults/default/users/member@x.io",
            None,
        ),
        (
            "member@x.io",
            Method::DELETE,
            "/v1/admin/users/member@x.io",
            None,
        ),
        (
            "admin@x.io",
            Method::POST,
            "/v1/vaults/default/users/admin@x.io/role",
            Some(json!({"role": "member"})),
        ),
        (
            "bot-member",
            Method::DELETE,
            "/v1/vaults/default/agents/bot-member",
            None,
        ),
        (
            "bot-member",
            Method::POST,
            "/v1/vaults/default/agents/bot-member/role",
            Some(json!({"role": "proxy"})),
        ),
        ("bot-member", Method::DELETE, "/v1/agents/bot-member", None),
        (
            "bot-member",
            Method::POST,
            "/v1/agents/bot-member/delete",
            None,
        ),
        (
            "bot-member",
            Method::POST,
            "/v1/agents/bot-member/rotate",
            None,
        ),
        ("owner@x.io", Method::POST, "/v1/vaults/default/leave", None),
    ];
    for (who, method, path, body) in ends {
        let (world, cast) = World::cast().await;
        let minter = match who {
            "member@x.io" => &cast.member,
            "admin@x.io" => &cast.admin,
            "owner@x.io" => &cast.owner,
            _ => &cast.agent_member,
        };
        let (ends, _) = mint(&world, minter).await;
        let (stays, _) = mint(
            &world,
            if who == "owner@x.io" {
                &cast.admin
            } else {
                &cast.owner
            },
        )
        .await;
        let mut call = world.call(method, path).token(&cast.owner);
        if let Some(body) = body {
            call = call.json(body);
        }
        call.send().await.expect(StatusCode::OK);
        assert!(!world.proxies(&ends, "default"), "{path}");
        assert!(world.proxies(&stays, "default"), "{path}");
        world
            .get("/discover")
            .token(&ends)
            .send()
            .await
            .refused(401);
    }
}

#[tokio::test]
async fn the_life_of_an_agent() {
    let (world, cast) = World::cast().await;
    let body = json!({"name": "worker", "role": "member", "ttl_seconds": 3600, "label": "ci",
        "vaults": [{"vault_name": "default", "vault_role": "member"}]});
    let reply = world
        .post("/v1/agents", body.clone())
        .token(&cast.owner)
        .send()
        .await;
    let created = reply.expect(StatusCode::CREATED);
    let token = created["av_agent_token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("av_agt_"));
    assert_eq!(
        created["vaults"],
        json!([{"vault_name": "default", "vault_role": "member"}])
    );
    assert_eq!(created["token_expires_at"], "2026-03-01T13:00:00Z");
    world
        .post("/v1/agents", body)
        .token(&cast.owner)
        .send()
        .await
        .refused(409);
    assert!(world.proxies(&token, "default"));

    let detail = world
        .get("/v1/agents/worker")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(detail["active_tokens"], 1);
    assert_eq!(detail["status"], "active");
    let renamed = world
        .post("/v1/agents/worker/rename", json!({"name": "builder"}))
        .token(&cast.owner)
        .send()
        .await;
    assert_eq!(renamed.expect(StatusCode::OK)["new_name"], "builder");
    let me = world
        .get("/v1/auth/me")
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(me["agent_name"], "builder");

    let rotated = world
        .call(Method::POST, "/v1/agents/builder/rotate")
        .token(&cast.owner)
        .send()
        .await;
    let rotated = rotated.expect(StatusCode::OK);
    let fresh = rotated["av_agent_token"].as_str().unwrap().to_owned();
    assert_eq!(rotated["reactivated"], false);
    assert!(!world.proxies(&token, "default") && world.proxies(&fresh, "default"));

    world
        .delete("/v1/agents/builder")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert!(!world.proxies(&fresh, "default"));
    world
        .delete("/v1/agents/builder")
        .token(&cast.owner)
        .send()
        .await
        .refused(409);
    world
        .post("/v1/vaults/default/agents", json!({"name": "builder"}))
        .token(&cast.owner)
        .send()
        .await
        .refused(409);
    // Grants stay on record, and an owner's rotation revives it.
    let listed = world
        .get("/v1/vaults/default/agents")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    let row = listed["agents"]
        .as_array()
        .unwrap()
        .iter()
        .find(|agent| agent["name"] == "builder")
        .unwrap();
    assert_eq!(row["status"], "revoked");
    let revived = world
        .call(Method::POST, "/v1/agents/builder/rotate")
        .token(&cast.owner)
        .send()
        .await;
    let revived = revived.expect(StatusCode::OK);
    assert_eq!(revived["reactivated"], true);
    assert!(world.proxies(revived["av_agent_token"].as_str().unwrap(), "default"));
    assert!(
        world
            .last_audit()
            .await
            .detail
            .contains("\"reactivated\":true")
    );

    world
        .call(Method::POST, "/v1/agents/builder/delete")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    world
        .get("/v1/agents/builder")
        .token(&cast.owner)
        .send()
        .await
        .refused(404);
}

#[tokio::test]
async fn m12_and_h17_what_a_creator_may_not_do() {
    let (world, cast) = World::cast().await;
    let created = world
        .post("/v1/agents", json!({"name": "mine"}))
        .token(&cast.member)
        .send()
        .await;
    created.expect(StatusCode::CREATED);
    let rotate = || {
        world
            .call(Method::POST, "/v1/agents/mine/rotate")
            .token(&cast.member)
            .send()
    };
    rotate().await.expect(StatusCode::OK);
    // Somebody else gave it more than its creator has: its token is no longer the creator's to take.
    let add = json!({"name": "mine", "role": "admin"});
    world
        .post("/v1/vaults/default/agents", add)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::CREATED);
    assert!(rotate().await.refused(403).contains("admin"));
    let role = json!({"role": "member"});
    world
        .post("/v1/vaults/default/agents/mine/role", role)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    rotate().await.expect(StatusCode::OK);
    // An owner revoked it: its creator cannot undo that.
    world
        .delete("/v1/agents/mine")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    rotate().await.refused(409);
    // Nor may one give what one has not.
    for body in [
        json!({"name": "bold", "role": "owner"}),
        json!({"name": "bold", "vaults": [{"vault_name": "default"}]}),
    ] {
        world
            .post("/v1/agents", body)
            .token(&cast.member)
            .send()
            .await
            .refused(403);
    }
    assert!(world.store.agent_by_name("bold").await.unwrap().is_none());
}

#[tokio::test]
async fn last_owner_and_last_admin_stay() {
    let world = World::empty().await;
    let owner = world
        .user("only@x.io", InstanceRole::Owner, Some(VaultRole::Admin))
        .await;
    // H28: an owner agent does not make the last person dispensable.
    let body = json!({"name": "boss", "role": "owner"});
    world
        .post("/v1/agents", body)
        .token(&owner)
        .send()
        .await
        .expect(StatusCode::CREATED);
    let demote = json!({"role": "member"});
    let refused = world
        .post("/v1/admin/users/only@x.io/role", demote.clone())
        .token(&owner)
        .send()
        .await;
    assert_eq!(refused.refused(409), "Cannot demote the last owner");
    let refused = world
        .delete("/v1/admin/users/only@x.io")
        .token(&owner)
        .send()
        .await;
    assert_eq!(refused.refused(409), "Cannot remove the last owner");
    world
        .post("/v1/agents/boss/role", demote)
        .token(&owner)
        .send()
        .await
        .expect(StatusCode::OK);

    // M15: the last admin cannot go, whichever way.
    assert!(
        world
            .call(Method::POST, "/v1/vaults/default/leave")
            .token(&owner)
            .send()
            .await
            .refused(409)
            .contains("last admin")
    );
    let member = json!({"role": "member"});
    world
        .post("/v1/vaults/default/users/only@x.io/role", member.clone())
        .token(&owner)
        .send()
        .await
        .refused(409);
    world
        .delete("/v1/vaults/default/users/only@x.io")
        .token(&owner)
        .send()
        .await
        .refused(409);
    world.agent(&owner, "keeper", "admin").await;
    world
        .post("/v1/vaults/default/users/only@x.io/role", member.clone())
        .token(&owner)
        .send()
        .await
        .expect(StatusCode::OK);
    let other = world.user("second@x.io", InstanceRole::Owner, None).await;
    let call = world
        .post("/v1/vaults/default/agents/keeper/role", member)
        .token(&other);
    call.send().await.refused(403);
    world
        .call(Method::POST, "/v1/agents/keeper/delete")
        .token(&other)
        .send()
        .await
        .refused(409);
}

#[tokio::test]
async fn m12_the_last_use_of_a_token_is_told() {
    let (world, cast) = World::cast().await;
    let (scoped, id) = mint(&world, &cast.owner).await;
    let item = async || {
        let list = world
            .get("/v1/sessions?vault=default")
            .token(&cast.owner)
            .send()
            .await
            .expect(StatusCode::OK);
        let found = list["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["id"] == id)
            .cloned();
        found.unwrap()
    };
    assert!(item().await.get("last_used_at").is_none());

    // Through the proxy: no database on that path, and yet the next list tells it.
    assert!(world.proxies(&scoped, "default"));
    assert_eq!(item().await["last_used_at"], "2026-03-01T12:00:00Z");

    // Through this API, by an agent.
    let created = world
        .post("/v1/agents", json!({"name": "busy"}))
        .token(&cast.owner)
        .send()
        .await;
    let token = created.expect(StatusCode::CREATED)["av_agent_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let agent = || world.get("/v1/agents/busy").token(&cast.owner).send();
    assert!(
        agent()
            .await
            .expect(StatusCode::OK)
            .get("last_used_at")
            .is_none()
    );
    world
        .get("/v1/auth/me")
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        agent().await.expect(StatusCode::OK)["last_used_at"],
        "2026-03-01T12:00:00Z"
    );
}

/// Whoever goes may have kept the tokens of the agents that they made.
#[tokio::test]
async fn h17_agents_go_with_whoever_made_them() {
    let (world, cast) = World::cast().await;
    let of_admin = world.agent(&cast.owner, "of-owner", "proxy").await;
    // The vault's admin is no member of the instance yet.
    let role = world.post("/v1/admin/users/admin@x.io/role", json!({"role": "member"}));
    role.token(&cast.owner).send().await.expect(StatusCode::OK);
    let one = world.agent(&cast.admin, "first", "proxy").await;
    let minter = world.agent(&cast.admin, "second", "member").await;
    let (by_minter, _) = mint(&world, &minter).await;
    let good = |token: &str| world.proxies(token, "default");
    assert!(good(&one) && good(&minter) && good(&by_minter));

    let remove = |query: &str| {
        world
            .delete(&format!("/v1/admin/users/admin@x.io{query}"))
            .token(&cast.owner)
            .send()
    };
    remove("?agents=burn").await.refused(400);
    let gone = remove("").await.expect(StatusCode::OK);
    assert_eq!(gone["agents_revoked"], json!(["first", "second"]));
    assert!(world.last_audit().await.detail.contains("agents_revoked"));
    for token in [&one, &minter, &by_minter] {
        assert!(!good(token));
    }
    assert!(good(&of_admin));
    let agent = async |name: &str| {
        let path = format!("/v1/agents/{name}");
        let shown = world.get(&path).token(&cast.owner).send().await;
        shown.expect(StatusCode::OK)
    };
    assert_eq!(agent("first").await["status"], "revoked");
    assert_eq!(agent("first").await["vaults"][0]["vault_role"], "proxy");
    // What they ran goes on with a token that they do not know.
    let again = world.post("/v1/agents/first/rotate", json!({}));
    let again = again.token(&cast.owner).send().await.expect(StatusCode::OK);
    assert_eq!(again["reactivated"], true);
    assert!(good(again["av_agent_token"].as_str().unwrap()));
}

#[tokio::test]
async fn h17_agents_may_be_kept_by_an_owner_and_by_nobody_else() {
    let (world, cast) = World::cast().await;
    let made = world.agent(&cast.owner, "made", "proxy").await;
    let second = world
        .user("second@x.io", InstanceRole::Owner, Some(VaultRole::Admin))
        .await;
    let keep = world.delete("/v1/admin/users/owner@x.io?agents=keep");
    let kept = keep.token(&second).send().await.expect(StatusCode::OK);
    assert!(kept.get("agents_revoked").is_none(), "{kept}");
    assert!(world.proxies(&made, "default"));

    let leaver = world.user("leaver@x.io", InstanceRole::Member, None).await;
    let body = json!({"name": "left-behind"});
    let token = world.post("/v1/agents", body).token(&leaver).send().await;
    let token = token.expect(StatusCode::CREATED)["av_agent_token"].clone();
    let me = |token: &str| world.get("/v1/auth/me").token(token).send();
    me(token.as_str().unwrap()).await.expect(StatusCode::OK);
    let left = world.delete("/v1/auth/account?agents=keep").token(&leaver);
    let left = left.send().await.expect(StatusCode::OK);
    assert_eq!(left["agents_revoked"], json!(["left-behind"]));
    me(token.as_str().unwrap()).await.refused(401);
}

/// Wherever an address stands in a path, an id may stand: access logs of whatever is in between learn nothing.
#[tokio::test]
async fn h42_people_can_be_named_without_their_address() {
    let (world, cast) = World::cast().await;
    let people = world.get("/v1/users").token(&cast.owner).send().await;
    let people = people.expect(StatusCode::OK);
    let id = people["users"]
        .as_array()
        .unwrap()
        .iter()
        .find(|user| user["email"] == "member@x.io")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let owner = |method: Method, path: String| world.call(method, &path).token(&cast.owner);
    let shown = owner(Method::GET, format!("/v1/admin/users/{id}"));
    let shown = shown.send().await.expect(StatusCode::OK);
    assert_eq!(
        (&shown["email"], &shown["id"]),
        (&json!("member@x.io"), &json!(id))
    );
    owner(Method::POST, format!("/v1/admin/users/{id}/role"))
        .json(json!({"role": "no-access"}))
        .send()
        .await
        .expect(StatusCode::OK);
    owner(Method::POST, format!("/v1/vaults/default/users/{id}/role"))
        .json(json!({"role": "admin"}))
        .send()
        .await
        .expect(StatusCode::OK);
    owner(Method::DELETE, format!("/v1/admin/users/{id}/totp"))
        .send()
        .await
        .refused(404);
    owner(Method::DELETE, format!("/v1/vaults/default/users/{id}"))
        .send()
        .await
        .expect(StatusCode::OK);
    let gone = owner(Method::DELETE, format!("/v1/admin/users/{id}"));
    assert_eq!(
        gone.send().await.expect(StatusCode::OK)["email"],
        "member@x.io"
    );
    let unknown = uuid::Uuid::new_v4();
    owner(Method::GET, format!("/v1/admin/users/{unknown}"))
        .send()
        .await
        .refused(404);
}
