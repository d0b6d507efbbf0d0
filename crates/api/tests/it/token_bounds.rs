//! Tokens that are confined: what may be asked for, what lists and discovery show, and what does not get around it.

use agent_vault_broker::Verdict;
use agent_vault_policy::{Authority, Facts, RequestTarget, Scheme};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Cast, ELSEWHERE, World};

async fn world() -> (World, Cast) {
    let (world, cast) = World::cast().await;
    let services = json!({"services": [
        {"name": "one", "host": "one.x.com", "auth": {"type": "bearer", "token": "ONE_KEY"}},
        {"name": "two", "host": "two.x.com", "auth": {"type": "bearer", "token": "TWO_KEY"}}]});
    let put = world
        .post("/v1/vaults/default/services", services)
        .token(&cast.owner)
        .send()
        .await;
    put.expect(StatusCode::OK);
    let keys = json!({"vault": "default", "credentials": {"ONE_KEY": "value one", "TWO_KEY": "value two"}});
    let set = world
        .post("/v1/credentials", keys)
        .token(&cast.owner)
        .send()
        .await;
    set.expect(StatusCode::OK);
    (world, cast)
}

async fn mint(world: &World, cast: &Cast, bounds: Value) -> crate::world::Reply {
    let mut body = json!({"vault": "default"});
    for (name, value) in bounds.as_object().unwrap() {
        body[name] = value.clone();
    }
    world
        .post("/v1/sessions", body)
        .token(&cast.member)
        .send()
        .await
}

async fn minted(world: &World, cast: &Cast, bounds: Value) -> (String, String) {
    let body = mint(world, cast, bounds).await.expect(StatusCode::OK);
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

fn detail(record: &agent_vault_store::AuditRecord) -> Value {
    serde_json::from_str(&record.detail).unwrap()
}

/// The service that decides over a request to `host`, or what is said instead.
fn decided(world: &World, token: &str, host: &str) -> String {
    let broker = world.control.broker();
    let principal = broker.authenticate(token, None, world.now()).unwrap();
    let admission = broker.admit(&principal, world.now()).unwrap();
    let facts = Facts {
        scheme: Scheme::Https,
        authority: &Authority::parse(&format!("{host}:443")).unwrap(),
        target: &RequestTarget::parse("/").unwrap(),
        agent: principal.agent(),
        headers: &http::HeaderMap::new(),
    };
    match admission.decide(&facts) {
        Verdict::Inject(permit) => permit.rule_name().to_string(),
        Verdict::Withheld { service } => format!("not {service}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_a_token_may_be_confined_to() {
    let (world, cast) = world().await;
    for (bounds, named) in [
        (json!({"services": ["one", "three"]}), "three"),
        (json!({"services": []}), "services"),
        (json!({"services": ["ONE"]}), "ONE"),
        (json!({"services": "one"}), ""),
        (json!({"request_budget": 0}), "request_budget"),
        (json!({"request_budget": -1}), ""),
        (json!({"request_budget": 1_000_000_001}), "request_budget"),
        (json!({"request_budget": u64::MAX}), "request_budget"),
        (json!({"sources": []}), "sources"),
        (json!({"sources": ["10.0.0.1/8"]}), "10.0.0.0/8"),
        (json!({"sources": ["example.com"]}), "example.com"),
        (json!({"source": ["10.0.0.0/8"]}), ""),
        (json!({"budget": 5}), ""),
    ] {
        let refused = mint(&world, &cast, bounds.clone()).await;
        refused.refused(400);
        assert!(refused.text.contains(named), "{bounds}: {}", refused.text);
    }
    let bounds = json!({"services": ["two", "one", "one"], "request_budget": 20, "sources": ["10.0.0.0/8", "192.0.2.7"]});
    let (_, id) = minted(&world, &cast, bounds).await;
    let audit = world.last_audit().await;
    assert_eq!(detail(&audit)["services"], json!(["one", "two"]));
    assert_eq!(detail(&audit)["request_budget"], 20);
    assert_eq!(
        detail(&audit)["sources"],
        json!(["10.0.0.0/8", "192.0.2.7/32"])
    );
    let (_, free) = minted(&world, &cast, json!({"services": null, "sources": null})).await;
    let list = world
        .get("/v1/sessions?vault=default")
        .token(&cast.member)
        .send()
        .await
        .expect(StatusCode::OK);
    let shown = |id: &str| {
        let sessions = list["sessions"].as_array().unwrap();
        sessions
            .iter()
            .find(|session| session["id"] == id)
            .unwrap()
            .clone()
    };
    let bound = shown(&id);
    assert_eq!(bound["services"], json!(["one", "two"]));
    assert_eq!(bound["request_budget"], 20);
    assert_eq!(bound["requests_left"], 20);
    assert_eq!(bound["sources"], json!(["10.0.0.0/8", "192.0.2.7/32"]));
    let free = shown(&free);
    for field in ["services", "request_budget", "requests_left", "sources"] {
        assert!(free.get(field).is_none(), "{field} in {free}");
    }
}

#[tokio::test]
async fn a_token_from_elsewhere_manages_nothing_either() {
    let (world, cast) = world().await;
    let (token, _) = minted(&world, &cast, json!({"sources": ["198.51.100.0/24"]})).await;
    let from = |peer: &str| world.get("/discover").token(&token).peer(peer).send();
    from("198.51.100.7:1").await.expect(StatusCode::OK);
    from("[::ffff:198.51.100.7]:1").await.expect(StatusCode::OK);
    let refused = from(ELSEWHERE).await;
    refused.refused(403);
    assert!(refused.text.contains("token_source"), "{}", refused.text);
    // Nobody trusts this peer's word.
    let forged = world
        .get("/discover")
        .token(&token)
        .peer(ELSEWHERE)
        .header("x-forwarded-for", "198.51.100.7")
        .send()
        .await;
    forged.refused(403);
}

#[tokio::test]
async fn discovery_shows_what_the_token_may_use() {
    let (world, cast) = world().await;
    let (token, _) = minted(
        &world,
        &cast,
        json!({"services": ["one"], "request_budget": 3}),
    )
    .await;
    let principal = world
        .control
        .broker()
        .authenticate(&token, None, world.now())
        .unwrap();
    let admission = world.control.broker().admit(&principal, world.now());
    admission.unwrap().spend().await.unwrap();
    let found = world
        .get("/discover")
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(found["services"][0]["name"], "one");
    assert_eq!(found["services"].as_array().unwrap().len(), 1);
    assert!(found["placeholders"].get("ONE_KEY").is_some());
    assert!(found["placeholders"].get("TWO_KEY").is_none(), "{found}");
    assert_eq!(found["request_budget"], 3);
    assert_eq!(found["requests_left"], 2);
}

/// What a person approves for everybody is not thereby approved for a token that was confined before.
#[tokio::test]
async fn a_proposal_widens_no_token() {
    let (world, cast) = world().await;
    let (token, _) = minted(&world, &cast, json!({"services": ["one"]})).await;
    assert_eq!(decided(&world, &token, "one.x.com"), "one");
    assert_eq!(decided(&world, &token, "two.x.com"), "not two");
    let propose = async |body: Value| {
        let raised = world
            .post("/v1/proposals", body)
            .token(&token)
            .send()
            .await
            .expect(StatusCode::CREATED);
        let path = format!("/v1/admin/proposals/{}/approve", raised["id"]);
        let approved = world
            .post(&path, json!({"vault": "default"}))
            .token(&cast.owner);
        approved.send().await.expect(StatusCode::OK);
    };
    propose(json!({"message": "m", "services": [
        {"action": "set", "name": "three", "host": "three.x.com", "auth": {"type": "bearer", "token": "TWO_KEY"}}]}))
    .await;
    assert_eq!(decided(&world, &cast.scoped, "three.x.com"), "three");
    assert_eq!(decided(&world, &token, "three.x.com"), "not three");
    // Nor is a service that takes the place of another under a name that it had not.
    propose(json!({"message": "m", "services": [
        {"action": "delete", "name": "two", "host": "two.x.com"}]}))
    .await;
    propose(json!({"message": "m", "services": [
        {"action": "set", "name": "four", "host": "two.x.com", "auth": {"type": "bearer", "token": "TWO_KEY"}}]}))
    .await;
    assert_eq!(decided(&world, &token, "two.x.com"), "not four");
}

/// A rotation with an overlap: both tokens work, are listed and can be ended, until the former one's time is over.
#[tokio::test]
async fn a_rotation_with_an_overlap() {
    let (world, cast) = World::cast().await;
    let former = world.agent(&cast.owner, "mover", "member").await;
    let by_former = world
        .post("/v1/sessions", json!({"vault": "default"}))
        .token(&former)
        .send()
        .await
        .expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let rotate = async |body: Value| {
        world
            .post("/v1/agents/mover/rotate", body)
            .token(&cast.owner)
            .send()
            .await
    };
    for seconds in [json!(604_801), json!(-1), json!(u64::MAX), json!("10m")] {
        rotate(json!({"overlap_seconds": seconds}))
            .await
            .refused(400);
    }
    let body = rotate(json!({"overlap_seconds": 600, "label": "second"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(body["former_tokens_end_at"], "2026-03-01T12:10:00Z");
    assert!(body.get("token_expires_at").is_none());
    let new = body["av_agent_token"].as_str().unwrap().to_owned();
    let audit = world.last_audit().await;
    assert_eq!(audit.action, "agent.rotate");
    assert_eq!(detail(&audit)["former_tokens"], 1);
    assert_eq!(detail(&audit)["former_end_at"], "2026-03-01T12:10:00Z");
    for token in [&former, &new, &by_former] {
        assert!(world.proxies(token, "default"));
    }
    let list = async || -> Vec<Value> {
        let list = world
            .get("/v1/agents/mover/tokens")
            .token(&cast.owner)
            .send()
            .await
            .expect(StatusCode::OK);
        list["tokens"].as_array().unwrap().clone()
    };
    let tokens = list().await;
    assert_eq!(tokens.len(), 2);
    let of = |label: Value| {
        tokens
            .iter()
            .find(|token| token.get("label").cloned().unwrap_or(Value::Null) == label)
            .unwrap()
    };
    assert_eq!(of(Value::Null)["expires_at"], "2026-03-01T12:10:00Z");
    assert!(of(json!("second")).get("expires_at").is_none());

    // A shorter overlap shortens, a longer one lengthens nothing.
    rotate(json!({"overlap_seconds": 86_400}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(list().await.len(), 3);
    world.advance(jiff::SignedDuration::from_secs(601));
    for (token, good) in [(&former, false), (&by_former, false), (&new, true)] {
        assert_eq!(world.proxies(token, "default"), good);
        let asked = world
            .get("/discover")
            .token(token)
            .header("x-vault", "default")
            .send()
            .await;
        assert_eq!(asked.status == StatusCode::OK, good);
    }
    let tokens = list().await;
    let second = tokens.iter().find(|token| token["label"] == "second");
    let id = second.unwrap()["id"].as_str().unwrap();
    let end = |agent: &str| {
        world
            .call(Method::DELETE, &format!("/v1/agents/{agent}/tokens/{id}"))
            .token(&cast.owner)
            .send()
    };
    end("bot").await.refused(404);
    assert!(world.proxies(&new, "default"));
    end("mover").await.expect(StatusCode::OK);
    assert!(!world.proxies(&new, "default"));
    end("mover").await.refused(404);
    assert_eq!(world.last_audit().await.action, "agent.token_revoke");
    assert_eq!(list().await.len(), 1);

    // Overlaps add up to so many tokens and no more.
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(rotate(json!({"overlap_seconds": 60})).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 200, 429]);
    let last = rotate(json!({})).await.expect(StatusCode::OK);
    assert!(last.get("former_tokens_end_at").is_none());
    assert_eq!(list().await.len(), 1);
}
