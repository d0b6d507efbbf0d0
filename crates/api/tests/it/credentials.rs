//! Credentials: shapes, atomicity, and that values go nowhere else.

use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Cast, World};

const CANARY: &str = "canary-3f9a2c77-value";

async fn set(world: &World, cast: &Cast, values: Value) -> crate::world::Reply {
    let body = json!({"vault": "default", "credentials": values});
    world
        .post("/v1/credentials", body)
        .token(&cast.member)
        .send()
        .await
}

async fn keys(world: &World, cast: &Cast) -> Value {
    let list = world
        .get("/v1/credentials?vault=default")
        .token(&cast.owner)
        .send()
        .await;
    list.expect(StatusCode::OK)["keys"].clone()
}

#[tokio::test]
async fn set_list_reveal_delete() {
    let (world, cast) = World::cast().await;
    let empty = world
        .get("/v1/credentials?vault=default")
        .token(&cast.owner)
        .send()
        .await;
    assert_eq!(empty.expect(StatusCode::OK), json!({"keys": []}));
    let stored = set(
        &world,
        &cast,
        json!({"B_KEY": CANARY, "A_KEY": "one", "EMPTY": ""}),
    )
    .await;
    assert_eq!(
        stored.expect(StatusCode::OK),
        json!({"set": ["A_KEY", "B_KEY", "EMPTY"], "warnings": [
            "A_KEY is shorter than 8 bytes: it is not replaced where a response repeats it"]})
    );

    let proxy = world
        .get("/v1/credentials?vault=default")
        .token(&cast.agent)
        .send()
        .await;
    assert_eq!(
        proxy.expect(StatusCode::OK),
        json!({"keys": ["A_KEY", "B_KEY", "EMPTY"]})
    );
    let member = world
        .get("/v1/credentials?vault=default")
        .token(&cast.member)
        .send()
        .await;
    assert_eq!(
        member.expect(StatusCode::OK)["credentials"],
        json!([{"key": "A_KEY", "type": "static"}, {"key": "B_KEY", "type": "static"}, {"key": "EMPTY", "type": "static"}])
    );
    // Only the literal `true` reveals; a key alone does nothing.
    for query in ["reveal=TRUE", "reveal=1", "key=B_KEY"] {
        let path = format!("/v1/credentials?vault=default&{query}");
        let reply = world.get(&path).token(&cast.member).send().await;
        assert!(!reply.text.contains(CANARY), "{query}");
        reply.expect(StatusCode::OK);
    }
    let one = world
        .get("/v1/credentials?vault=default&reveal=true&key=B_KEY")
        .token(&cast.member)
        .send()
        .await;
    assert_eq!(
        one.expect(StatusCode::OK),
        json!({"keys": ["B_KEY"], "credentials": [{"key": "B_KEY", "type": "static", "value": CANARY}]})
    );
    let record = world.last_audit().await;
    assert_eq!(
        (record.action.as_str(), record.target.as_str()),
        ("credential.reveal", "vault:default")
    );
    assert!(record.detail.contains("B_KEY") && !record.detail.contains(CANARY));
    let all = world
        .get("/v1/credentials?vault=default&reveal=true")
        .token(&cast.member)
        .send()
        .await;
    let all = all.expect(StatusCode::OK);
    assert_eq!(all["credentials"][0]["value"], "one");
    assert!(all["credentials"][2].get("value").is_none());
    world
        .get("/v1/credentials?vault=default&reveal=true&key=NONE")
        .token(&cast.member)
        .send()
        .await
        .refused(404);

    let deleted = world
        .delete("/v1/credentials")
        .json(json!({"vault": "default", "keys": ["A_KEY"]}))
        .token(&cast.member)
        .send()
        .await;
    assert_eq!(
        deleted.expect(StatusCode::OK),
        json!({"deleted": ["A_KEY"]})
    );
    // Without a body, for clients behind proxies that drop it (H42).
    let by_query = world
        .delete("/v1/credentials?vault=default&key=B_KEY")
        .token(&cast.member)
        .send()
        .await;
    assert_eq!(
        by_query.expect(StatusCode::OK),
        json!({"deleted": ["B_KEY"]})
    );
    assert_eq!(keys(&world, &cast).await, json!(["EMPTY"]));
    for record in world.audit().await {
        assert!(!record.detail.contains(CANARY) && !record.target.contains(CANARY));
    }
}

#[tokio::test]
async fn h31_writes_are_all_or_nothing() {
    let (world, cast) = World::cast().await;
    set(&world, &cast, json!({"A_KEY": "one", "B_KEY": "two"}))
        .await
        .expect(StatusCode::OK);
    let missing = world
        .delete("/v1/credentials")
        .json(json!({"vault": "default", "keys": ["A_KEY", "NONE"]}))
        .token(&cast.member)
        .send()
        .await;
    assert!(missing.refused(404).contains("NONE"));
    let bad = set(&world, &cast, json!({"C_KEY": "three", "not a key": "x"})).await;
    assert!(bad.refused(400).contains("not a key"));
    assert_eq!(keys(&world, &cast).await, json!(["A_KEY", "B_KEY"]));
}

#[tokio::test]
async fn bad_keys_and_values() {
    let (world, cast) = World::cast().await;
    let long = "K".repeat(100_000);
    for values in [
        json!({}),
        json!({"lower": "x"}),
        json!({"1KEY": "x"}),
        json!({"K-EY": "x"}),
        json!({"": "x"}),
        json!({(long): "x"}),
        json!({"KEY": "x".repeat(300_000)}),
        json!({"KEY": 7}),
        json!({"KEY": null}),
        json!(["KEY"]),
    ] {
        let reply = set(&world, &cast, values).await;
        reply.refused(400);
        assert!(reply.text.len() < 1000, "{}", reply.text.len());
    }
    assert_eq!(keys(&world, &cast).await, json!([]));
}

#[tokio::test]
async fn the_proxy_sees_a_new_value_at_once() {
    use agent_vault_broker::Verdict;
    use agent_vault_policy::{Authority, Facts, RequestTarget, Scheme, Values};

    let (world, cast) = World::cast().await;
    let service = json!({"services": [
        {"name": "api", "host": "api.x.com", "auth": {"type": "bearer", "token": "API_KEY"}}]});
    let put = world
        .post("/v1/vaults/default/services", service)
        .token(&cast.owner)
        .send()
        .await;
    put.expect(StatusCode::OK);
    let authority = Authority::parse("api.x.com:443").unwrap();
    let target = RequestTarget::parse("/v1").unwrap();
    let headers = http::HeaderMap::new();
    let value = || {
        let broker = world.control.broker();
        let principal = broker
            .authenticate(&cast.agent, Some("default"), world.now())
            .unwrap();
        let admission = broker.admit(&principal, world.now()).unwrap();
        let facts = Facts {
            scheme: Scheme::Https,
            authority: &authority,
            target: &target,
            agent: principal.agent(),
            headers: &headers,
        };
        let Verdict::Inject(permit) = admission.decide(&facts) else {
            panic!("no rule")
        };
        let grant = permit.grant().ok()?;
        let key = agent_vault_policy::CredentialKey::parse("API_KEY").unwrap();
        grant
            .value(&key)
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    assert_eq!(value(), None);
    for text in ["first", "second"] {
        set(&world, &cast, json!({"API_KEY": text}))
            .await
            .expect(StatusCode::OK);
        assert_eq!(value().as_deref(), Some(text));
    }
    let delete = world
        .delete("/v1/credentials?vault=default&key=API_KEY")
        .token(&cast.member)
        .send()
        .await;
    delete.expect(StatusCode::OK);
    assert_eq!(value(), None);
}

#[tokio::test]
async fn h25_and_h52_which_vault_is_meant_when_none_is_named() {
    let (world, cast) = World::cast().await;
    let scoped = world.work(&cast).await;
    let local = world.local_token.clone();
    let in_work = json!({"vault": "work", "credentials": {"WORK_KEY": "x"}});
    world
        .post("/v1/credentials", in_work)
        .token(&local)
        .in_process()
        .send()
        .await
        .expect(StatusCode::OK);
    // A scoped session means its own vault.
    let list = world
        .get("/v1/credentials")
        .token(&scoped)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["keys"], json!(["WORK_KEY"]));
    world
        .get("/v1/credentials?vault=default")
        .token(&scoped)
        .send()
        .await
        .refused(403);
    // An agent with several must say, and is told the names.
    let several = world.get("/v1/credentials").token(&cast.agent).send().await;
    several.refused(400);
    assert_eq!(several.json()["hint"], "one of: default, work");
    // With one, that one is meant.
    let body = json!({"name": "single", "vaults": [{"vault_name": "work"}]});
    let created = world
        .post("/v1/agents", body)
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::CREATED);
    let single = created["av_agent_token"].as_str().unwrap();
    let list = world
        .get("/v1/credentials")
        .token(single)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["keys"], json!(["WORK_KEY"]));
    // With none there is nothing to mean.
    let created = world
        .post("/v1/agents", json!({"name": "homeless"}))
        .token(&cast.owner)
        .send()
        .await;
    let homeless = created.expect(StatusCode::CREATED)["av_agent_token"]
        .as_str()
        .unwrap()
        .to_owned();
    world
        .get("/v1/credentials")
        .token(&homeless)
        .send()
        .await
        .refused(403);
    // People mean `default`.
    let list = world
        .get("/v1/credentials")
        .token(&cast.owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["keys"], json!([]));
}

#[tokio::test]
async fn c19_a_value_that_no_header_carries_is_not_stored_for_one() {
    let (world, cast) = World::cast().await;
    // Whatever it is for, nobody means a line break at an end; nothing of the batch is stored.
    for bad in ["sk-x\n", "sk-x\r\n", "\nsk-x", "sk-x\u{0}"] {
        let refused = set(&world, &cast, json!({"GOOD": "x", "BAD": bad})).await;
        assert!(refused.json()["hint"].as_str().unwrap().contains("printf"));
        assert!(refused.refused(400).contains("`BAD`"), "{bad:?}");
    }
    assert_eq!(keys(&world, &cast).await, json!([]));
    // Inside, a value may have them until a service puts it in a header.
    set(
        &world,
        &cast,
        json!({"PEM": "-----BEGIN-----\nAAAA\n-----END-----"}),
    )
    .await
    .expect(StatusCode::OK);
    let service = |name: &str, token: &str| {
        let body = json!({"services": [{"name": name, "host": format!("{name}.x.com"), "auth": {"type": "bearer", "token": token}}]});
        let path = "/v1/vaults/default/services";
        world.post(path, body).token(&cast.owner).send()
    };
    let refused = service("pem", "PEM").await;
    let message = refused.refused(400);
    assert!(
        message.contains("\"pem\"") && message.contains("`PEM`"),
        "{message}"
    );
    assert!(!refused.text.contains("AAAA"));
    service("api", "API_KEY").await.expect(StatusCode::OK);
    let refused = set(&world, &cast, json!({"API_KEY": "one\ntwo-canary"})).await;
    assert!(refused.refused(400).contains("\"api\""));
    assert!(!refused.text.contains("canary"));
    set(&world, &cast, json!({"API_KEY": "one", "PEM": "a\nb"}))
        .await
        .expect(StatusCode::OK);
}
