//! Services over HTTP: what the SDK expects, and that a bad list changes nothing.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Cast, Reply, World};

const PATH: &str = "/v1/vaults/default/services";

async fn call(world: &World, cast: &Cast, method: Method, services: Value) -> Reply {
    world
        .call(method, PATH)
        .json(json!({"services": services}))
        .token(&cast.admin)
        .send()
        .await
}

async fn list(world: &World, cast: &Cast) -> Value {
    world
        .get(PATH)
        .token(&cast.agent)
        .send()
        .await
        .expect(StatusCode::OK)["services"]
        .clone()
}

fn two() -> Value {
    json!([
        {"name": "one", "host": "api.x.com/a/*", "auth": {"type": "bearer", "token": "A_KEY"}},
        {"name": "two", "host": "api.x.com/b/*", "enabled": false, "auth": {"type": "passthrough"},
         "substitutions": [{"key": "B_KEY", "placeholder": "__B_KEY__", "in": ["path", "header"]}]}
    ])
}

#[tokio::test]
async fn round_trip_as_the_sdk_does() {
    let (world, cast) = World::cast().await;
    let set = call(&world, &cast, Method::POST, two()).await;
    assert_eq!(
        set.expect(StatusCode::OK),
        json!({"vault": "default", "upserted": ["one", "two"], "services_count": 2})
    );
    assert_eq!(list(&world, &cast).await, two());

    let usage = world
        .get(&format!("{PATH}/credential-usage?key=B_KEY"))
        .token(&cast.scoped)
        .send()
        .await;
    assert_eq!(
        usage.expect(StatusCode::OK),
        json!({"services": [{"name": "two", "host": "api.x.com/b/*"}]})
    );
    world
        .get(&format!("{PATH}/credential-usage"))
        .token(&cast.scoped)
        .send()
        .await
        .refused(400);

    let enabled = world
        .call(Method::PATCH, &format!("{PATH}/two"))
        .json(json!({"enabled": true}))
        .token(&cast.admin)
        .send()
        .await;
    assert_eq!(
        enabled.expect(StatusCode::OK),
        json!({"vault": "default", "name": "two", "host": "api.x.com/b/*", "enabled": true})
    );
    for body in [
        json!({}),
        json!({"enabled": "yes"}),
        json!({"enable": true}),
    ] {
        let reply = world
            .call(Method::PATCH, &format!("{PATH}/two"))
            .json(body)
            .token(&cast.admin)
            .send()
            .await;
        reply.refused(400);
    }

    let ambiguous = world
        .delete(&format!("{PATH}/api.x.com"))
        .token(&cast.admin)
        .send()
        .await;
    ambiguous.refused(409);
    assert_eq!(
        ambiguous.json()["candidates"],
        json!([{"name": "one", "host": "api.x.com/a/*"}, {"name": "two", "host": "api.x.com/b/*"}])
    );
    // H43: the form that is shown is accepted back, percent-encoded into one segment.
    let removed = world
        .delete(&format!("{PATH}/api.x.com%2Fb%2F*"))
        .token(&cast.admin)
        .send()
        .await;
    assert_eq!(
        removed.expect(StatusCode::OK),
        json!({"vault": "default", "removed": "two", "removed_host": "api.x.com/b/*", "services_count": 1})
    );
    world
        .delete(&format!("{PATH}/two"))
        .token(&cast.admin)
        .send()
        .await
        .refused(404);

    let replaced = call(&world, &cast, Method::PUT, two()).await;
    assert_eq!(
        replaced.expect(StatusCode::OK),
        json!({"vault": "default", "services_count": 2})
    );
    let cleared = world.delete(PATH).token(&cast.admin).send().await;
    assert_eq!(
        cleared.expect(StatusCode::OK),
        json!({"vault": "default", "cleared": true})
    );
    assert_eq!(list(&world, &cast).await, json!([]));
    assert_eq!(world.last_audit().await.action, "service.replace");
}

#[tokio::test]
async fn a_bad_list_names_the_field_and_changes_nothing() {
    let (world, cast) = World::cast().await;
    call(&world, &cast, Method::PUT, two())
        .await
        .expect(StatusCode::OK);
    let good = json!({"name": "good", "host": "api.good.com", "auth": {"type": "passthrough"}});
    let with = |change: Value| {
        let mut bad = good.clone();
        for (key, value) in change.as_object().unwrap() {
            bad[key] = value.clone();
        }
        json!([good.clone(), bad])
    };
    for (services, field) in [
        (with(json!({"name": "Bad Name"})), "services[1]"),
        (with(json!({"host": "127.0.0.1"})), "services[1]"),
        (with(json!({"description": "x"})), "services[1]"),
        (
            with(json!({"auth": {"type": "bearer"}})),
            "services[1].auth",
        ),
        (
            with(json!({"auth": {"type": "bearer", "token": "lower"}})),
            "services[1].auth",
        ),
        (
            with(json!({"auth": {"type": "bearer", "token": "A_KEY", "key": "B_KEY"}})),
            "services[1].auth",
        ),
        (
            with(json!({"auth": {"type": "api-key", "key": "A_KEY", "header": "X\r\nY"}})),
            "services[1].auth",
        ),
        (
            with(json!({"auth": {"type": "api-key", "key": "A_KEY", "prefix": "a\nb"}})),
            "services[1].auth",
        ),
        (
            with(json!({"auth": {"type": "custom", "headers": {"Host": "x"}}})),
            "services[1].auth",
        ),
        (with(json!({"host": "api.x.com/a/../b"})), "services[1]"),
        (
            with(json!({"substitutions": [{"key": "A_KEY", "placeholder": "abc"}]})),
            "services[1].substitutions",
        ),
        (with(json!({"enabled": 1})), "services[1]"),
        (with(json!({"name": "good"})), "services[1]"),
    ] {
        for method in [Method::PUT, Method::POST] {
            let reply = call(&world, &cast, method.clone(), services.clone()).await;
            let error = reply.refused(400);
            assert!(error.contains(field), "{method} {services}: {error}");
        }
        assert_eq!(list(&world, &cast).await, two());
    }
    for body in [
        "{}",
        "[]",
        r#"{"services":{}}"#,
        r#"{"services":[],"extra":1}"#,
        r#"{"services":null}"#,
    ] {
        world
            .call(Method::PUT, PATH)
            .raw(body)
            .token(&cast.admin)
            .send()
            .await
            .refused(400);
    }
    // An upsert of nothing is a slip; a replacement by nothing empties.
    call(&world, &cast, Method::POST, json!([]))
        .await
        .refused(400);
    call(&world, &cast, Method::PUT, json!([]))
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn upserts_at_once_lose_nothing() {
    let (world, cast) = World::cast().await;
    let put = |index: usize| {
        let services = json!([{"name": format!("svc-{index}"), "host": format!("api{index}.x.com"),
            "auth": {"type": "passthrough"}}]);
        let (world, cast) = (&world, &cast);
        async move { call(world, cast, Method::POST, services).await }
    };
    let replies = tokio::join!(put(0), put(1), put(2), put(3), put(4));
    for reply in [replies.0, replies.1, replies.2, replies.3, replies.4] {
        reply.expect(StatusCode::OK);
    }
    assert_eq!(list(&world, &cast).await.as_array().unwrap().len(), 5);
}
