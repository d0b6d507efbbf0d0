//! External credential stores over HTTP: statuses, words for programs, and who sees what.

use std::sync::{Arc, Mutex};

use agent_vault_broker::{
    FromStore, SecretStore, StoreFailure, StoreFault, StoreLease, StorePlace, StoreSnapshot,
};
use agent_vault_seal::SecretBytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::{Cast, Reply, World};

/// A store that holds what the test says, or fails.
struct Fake(Mutex<Result<Vec<&'static str>, StoreFault>>);

fn unasked<T>() -> FromStore<'static, T>
where
    T: Send + 'static,
{
    Box::pin(async {
        Err(StoreFailure::new(
            StoreFault::Absent,
            "nothing is lent here",
        ))
    })
}

impl SecretStore for Fake {
    fn snapshot<'a>(&'a self, _: &'a StorePlace) -> FromStore<'a, StoreSnapshot> {
        Box::pin(async move {
            let names = self.0.lock().unwrap().clone();
            let names = names.map_err(|fault| StoreFailure::new(fault, "project-42 is away"))?;
            let secrets = names
                .into_iter()
                .map(|name| (name.to_owned(), SecretBytes::from("the value".to_owned())))
                .collect();
            Ok(StoreSnapshot {
                secrets,
                dynamic: None,
            })
        })
    }

    fn dynamic_names<'a>(&'a self, _: &'a StorePlace) -> FromStore<'a, Vec<String>> {
        unasked()
    }

    fn lease<'a>(&'a self, _: &'a StorePlace, _: &'a str) -> FromStore<'a, StoreLease> {
        unasked()
    }

    fn renew<'a>(&'a self, _: &'a StorePlace, _: &'a str) -> FromStore<'a, Option<Timestamp>> {
        unasked()
    }

    fn revoke<'a>(&'a self, _: &'a StorePlace, _: &'a str) -> FromStore<'a, ()> {
        unasked()
    }
}

async fn stage() -> (World, Cast, Arc<Fake>) {
    let (world, cast) = World::cast().await;
    let store = Arc::new(Fake(Mutex::new(Ok(vec!["API_KEY"]))));
    world
        .control
        .use_secret_store(Arc::clone(&store) as Arc<dyn SecretStore>);
    world.control.reload().await.unwrap();
    (world, cast, store)
}

fn wish() -> Value {
    json!({"kind": "infisical", "config": {"project_id": "project-42", "environment": "prod", "secret_path": "/"}})
}

async fn choose(world: &World, token: &str, wish: Value) -> Reply {
    world
        .call(Method::PATCH, "/v1/vaults/default/credential-store")
        .json(wish)
        .token(token)
        .send()
        .await
}

async fn context(world: &World, token: &str) -> Value {
    let reply = world
        .get("/v1/vaults/default/context")
        .token(token)
        .send()
        .await;
    reply.expect(StatusCode::OK)["credential_store"].clone()
}

#[tokio::test]
async fn a_vault_is_made_on_a_store_or_says_what_is_wrong() {
    let (world, cast, store) = stage().await;
    let kinds = async |token: &str| {
        let reply = world
            .get("/v1/instance/credential-stores")
            .token(token)
            .send()
            .await;
        reply.expect(StatusCode::OK)["available"].clone()
    };
    assert_eq!(kinds(&cast.owner).await, json!(["builtin", "infisical"]));
    assert_eq!(kinds(&cast.member).await, json!(["builtin"]));
    let create = async |token: &str, wish: Value| {
        let body = json!({"name": "external", "credential_store": wish});
        world.post("/v1/vaults", body).token(token).send().await
    };
    create(&cast.member, wish())
        .await
        .expect(StatusCode::FORBIDDEN);
    let with = |name: &str, value: Value| {
        let mut wish = wish();
        wish[name] = value;
        wish
    };
    for bad in [
        with("kind", json!("vault")),
        with("config", Value::Null),
        with(
            "config",
            json!({"project_id": " ", "environment": "e", "secret_path": "/"}),
        ),
        with(
            "config",
            json!({"project_id": "p", "environment": "e", "secret_path": "a"}),
        ),
        with("poll_interval_seconds", json!(9)),
        with("poll_interval_seconds", json!(-1)),
        with("poll_interval_seconds", json!(604_801)),
    ] {
        create(&cast.owner, bad)
            .await
            .expect(StatusCode::BAD_REQUEST);
    }
    *store.0.lock().unwrap() = Ok(vec!["GOOD", "not-a-key"]);
    let refused = create(&cast.owner, wish()).await;
    let refused = refused.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused["code"], "external_store_invalid_key");
    assert!(refused["error"].as_str().unwrap().contains("not-a-key"));
    *store.0.lock().unwrap() = Err(StoreFault::Unreachable);
    let refused = create(&cast.owner, wish()).await;
    let refused = refused.expect(StatusCode::BAD_GATEWAY);
    assert_eq!(refused["code"], "infisical_fetch_failed");
    *store.0.lock().unwrap() = Ok(vec!["API_KEY"]);
    let made = create(&cast.owner, wish()).await;
    let made = made.expect(StatusCode::CREATED);
    assert_eq!(made["credential_store"]["kind"], "infisical");
    assert_eq!(made["credential_store"]["poll_interval_seconds"], 60);
    create(&cast.owner, wish())
        .await
        .expect(StatusCode::CONFLICT);
    let list = world.get("/v1/vaults").token(&cast.owner).send().await;
    let list = list.expect(StatusCode::OK);
    let vaults = list["vaults"].as_array().unwrap();
    let store_of = |name: &str| {
        let vault = vaults.iter().find(|vault| vault["name"] == name).unwrap();
        vault["credential_store"].clone()
    };
    assert_eq!(store_of("external")["last_sync_status"], "ok");
    assert_eq!(store_of("default"), Value::Null);
    let settings = async |token: &str| {
        let path = "/v1/vaults/default/settings";
        let reply = world.get(path).token(token).send().await;
        reply.expect(StatusCode::OK)["infisical_available"].clone()
    };
    assert_eq!(settings(&cast.owner).await, true);
    assert_eq!(settings(&cast.admin).await, false);
}

#[tokio::test]
async fn an_external_vault_is_read_only_and_shows_its_place_to_admins_and_owners() {
    let (world, cast, _store) = stage().await;
    let typed = json!({"vault": "default", "credentials": {"TYPED": "value-1"}});
    let set = async |expected: StatusCode| {
        let reply = world
            .post("/v1/credentials", typed.clone())
            .token(&cast.member)
            .send()
            .await;
        reply.expect(expected)
    };
    set(StatusCode::OK).await;
    choose(&world, &cast.owner, wish())
        .await
        .expect(StatusCode::OK);
    let keys = world
        .get("/v1/credentials?vault=default")
        .token(&cast.agent)
        .send()
        .await;
    assert_eq!(keys.expect(StatusCode::OK)["keys"], json!(["API_KEY"]));
    assert_eq!(
        set(StatusCode::CONFLICT).await["code"],
        "external_credential_store"
    );
    let refused = async |method: Method, path: &str, token: &str, body: Value| {
        let reply = world
            .call(method, path)
            .json(body)
            .token(token)
            .send()
            .await;
        let body = reply.expect(StatusCode::CONFLICT);
        assert_eq!(body["code"], "external_credential_store", "{path}");
    };
    let key = json!({"vault": "default", "key": "API_KEY"});
    refused(
        Method::DELETE,
        "/v1/credentials",
        &cast.member,
        json!({"vault": "default", "keys": ["API_KEY"]}),
    )
    .await;
    let mut connect = key.clone();
    for (name, value) in [
        ("authorization_url", "https://p.io/authorize"),
        ("token_url", "https://p.io/token"),
        ("client_id", "id"),
    ] {
        connect[name] = json!(value);
    }
    refused(
        Method::POST,
        "/v1/credentials/oauth/connect",
        &cast.member,
        connect,
    )
    .await;
    let mut tokens = key;
    tokens["access_token"] = json!("access-token-1");
    refused(
        Method::POST,
        "/v1/credentials/oauth/tokens",
        &cast.member,
        tokens,
    )
    .await;
    let service = json!([{"action": "set", "name": "one", "host": "api.x.com", "auth": {"type": "bearer", "token": "API_KEY"}}]);
    refused(
        Method::POST,
        "/v1/proposals",
        &cast.agent,
        json!({"credentials": [{"action": "set", "key": "MORE"}], "message": "please"}),
    )
    .await;
    world
        .post(
            "/v1/proposals",
            json!({"services": service, "message": "please"}),
        )
        .token(&cast.agent)
        .send()
        .await
        .expect(StatusCode::CREATED);

    for token in [&cast.owner, &cast.admin] {
        assert_eq!(
            context(&world, token).await["config"]["project_id"],
            "project-42"
        );
    }
    for token in [&cast.member, &cast.agent] {
        let seen = context(&world, token).await;
        assert_eq!(seen["kind"], "infisical");
        assert_eq!(seen["config"], Value::Null);
    }

    // Back: the last copies are the vault's own.
    let back = choose(&world, &cast.admin, json!({"kind": "builtin"})).await;
    assert_eq!(
        back.expect(StatusCode::OK),
        json!({"credential_store": {"kind": "builtin"}})
    );
    assert_eq!(context(&world, &cast.owner).await, Value::Null);
    set(StatusCode::OK).await;
}

#[tokio::test]
async fn a_refresh_by_hand_and_what_members_hear_of_its_failure() {
    let (world, cast, store) = stage().await;
    choose(&world, &cast.owner, wish())
        .await
        .expect(StatusCode::OK);
    let sync = async |token: &str| {
        world
            .post("/v1/vaults/default/sync", json!({}))
            .token(token)
            .send()
            .await
    };
    let synced = sync(&cast.member).await;
    let synced = synced.expect(StatusCode::OK);
    assert_eq!(synced["credential_store"]["last_sync_status"], "ok");
    assert_eq!(synced["credential_store"]["config"], Value::Null);
    sync(&cast.scoped).await.expect(StatusCode::FORBIDDEN);
    sync(&cast.agent).await.expect(StatusCode::FORBIDDEN);
    *store.0.lock().unwrap() = Ok(vec!["not-a-key"]);
    for (token, named) in [(&cast.member, false), (&cast.admin, true)] {
        let refused = sync(token).await;
        let refused = refused.expect(StatusCode::BAD_REQUEST);
        assert_eq!(refused["code"], "external_store_invalid_key");
        let text = refused.to_string();
        assert_eq!(text.contains("not-a-key"), named, "{text}");
    }
    *store.0.lock().unwrap() = Err(StoreFault::Login);
    for (token, whole) in [(&cast.member, false), (&cast.admin, true)] {
        let refused = sync(token).await;
        let refused = refused.expect(StatusCode::BAD_GATEWAY);
        assert_eq!(refused["code"], "infisical_fetch_failed");
        let text = refused.to_string();
        assert_eq!(text.contains("project-42"), whole, "{text}");
        let seen = context(&world, token).await;
        assert_eq!(seen["last_sync_status"], "error");
        assert_eq!(seen["last_sync_error"].is_string(), whole);
    }
    let ready = world.get("/ready").send().await;
    let ready = ready.expect(StatusCode::OK);
    assert_eq!(ready["checks"]["external_stores"], "failing");
}
