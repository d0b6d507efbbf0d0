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

#[tokio::test]
async fn a_write_that_rests_on_what_has_changed_is_refused() {
    let (world, cast) = World::cast().await;
    call(&world, &cast, Method::POST, two())
        .await
        .expect(StatusCode::OK);
    let read = world.get(PATH).token(&cast.admin).send().await;
    let list_tag = read.header("etag").unwrap().to_owned();
    let read = read.expect(StatusCode::OK);
    assert_eq!(list_tag, format!("\"{}\"", read["revision"]));
    let one = format!("{PATH}/one");
    let shown = world.get(&one).token(&cast.agent).send().await;
    let one_tag = shown.header("etag").unwrap().to_owned();
    let shown = shown.expect(StatusCode::OK);
    assert_eq!(shown["version"], read["versions"]["one"]);
    assert_eq!(shown["service"], two()[0]);

    // Somebody else changes the other service: the list has moved on, this service has not.
    world
        .call(Method::PATCH, &format!("{PATH}/two"))
        .json(json!({"enabled": true}))
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::OK);
    let refused = world
        .call(Method::PUT, PATH)
        .json(json!({"services": []}))
        .header("if-match", &list_tag)
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::PRECONDITION_FAILED);
    assert!(
        refused["hint"]
            .as_str()
            .unwrap()
            .contains("read them again")
    );
    world
        .call(Method::PATCH, &one)
        .json(json!({"enabled": false}))
        .header("if-match", &one_tag)
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::OK);
    // Now this one has moved on too.
    for (method, body) in [
        (Method::PATCH, Some(json!({"enabled": true}))),
        (Method::DELETE, None),
    ] {
        let mut attempt = world
            .call(method, &one)
            .header("if-match", &one_tag)
            .token(&cast.admin);
        if let Some(body) = body {
            attempt = attempt.json(body);
        }
        let refused = attempt.send().await.expect(StatusCode::PRECONDITION_FAILED);
        assert!(
            refused["error"]
                .as_str()
                .unwrap()
                .contains("`one` has changed")
        );
    }
    // The same by name, within an upsert; and one that was to be new.
    for expected in [
        json!({"one": shown["version"]}),
        json!({"one": null}),
        json!({"three": "0123456789abcdef"}),
    ] {
        world
            .call(Method::POST, PATH)
            .json(json!({"services": [two()[0]], "expected": expected}))
            .token(&cast.admin)
            .send()
            .await
            .expect(StatusCode::PRECONDITION_FAILED);
    }
    assert_eq!(list(&world, &cast).await[0]["enabled"], false);
    for bad in ["one", "\"a\", \"b\"", "W/\"1\"", "\"x\""] {
        world
            .call(Method::DELETE, PATH)
            .header("if-match", bad)
            .token(&cast.admin)
            .send()
            .await
            .expect(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let (world, cast) = World::cast().await;
    call(&world, &cast, Method::POST, two())
        .await
        .expect(StatusCode::OK);
    let before = world
        .get(PATH)
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::OK);
    let mut other = two()[0].clone();
    other["auth"]["token"] = json!("C_KEY");
    let three = json!({"name": "three", "host": "api.z.com", "auth": {"type": "passthrough"}});
    let plan = world
        .call(Method::PUT, &format!("{PATH}?dry_run=true"))
        .json(json!({"services": [other, three]}))
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["services_count"], 2);
    assert_eq!(plan["revision"], before["revision"]);
    let changes: Vec<_> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["change"].as_str().unwrap()))
        .collect();
    assert_eq!(
        changes,
        [("one", "changed"), ("three", "added"), ("two", "removed")]
    );
    assert_eq!(plan["changes"][0]["before"]["auth"]["token"], "A_KEY");
    assert_eq!(plan["changes"][0]["after"]["auth"]["token"], "C_KEY");
    for (method, path) in [
        (Method::DELETE, format!("{PATH}?dry_run=true")),
        (Method::DELETE, format!("{PATH}/one?dry_run=true")),
    ] {
        let plan = world
            .call(method, &path)
            .token(&cast.admin)
            .send()
            .await
            .expect(StatusCode::OK);
        assert_eq!(plan["changes"][0]["change"], "removed");
    }
    // What the write would be refused for, the dry run is refused for.
    world
        .call(Method::DELETE, &format!("{PATH}/none?dry_run=true"))
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::NOT_FOUND);
    world
        .call(Method::DELETE, &format!("{PATH}?dry_run=maybe"))
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::BAD_REQUEST);
    let after = world
        .get(PATH)
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_request_can_be_tried_without_sending_it() {
    let (world, cast) = World::cast().await;
    call(&world, &cast, Method::POST, two())
        .await
        .expect(StatusCode::OK);
    let ask = async |body: Value| {
        world
            .call(Method::POST, "/v1/vaults/default/service-test")
            .json(body)
            .token(&cast.agent)
            .send()
            .await
    };
    let missing = ask(json!({"url": "https://api.x.com/a/1?q"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(missing["decision"], "deny");
    assert_eq!(missing["code"], "credential_not_found");
    assert_eq!(missing["missing"], json!(["A_KEY"]));
    world
        .call(Method::POST, "/v1/credentials")
        .json(json!({"vault": "default", "credentials": {"A_KEY": "canary-of-a-value"}}))
        .token(&cast.admin)
        .send()
        .await
        .expect(StatusCode::OK);
    let reply = ask(json!({"url": "https://api.x.com/a/1?q"})).await;
    let found = reply.expect(StatusCode::OK);
    assert_eq!(found["decision"], "inject");
    assert_eq!(found["service"]["name"], "one");
    assert_eq!(
        found["sets"],
        json!([{"name": "Authorization", "value": "Bearer {{ A_KEY }}"}])
    );
    assert_eq!(found["considered"][1]["standing"], "other_path");
    assert!(!found.to_string().contains("canary"));
    let disabled = ask(json!({"url": "api.x.com/b/1"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(disabled["decision"], "deny");
    assert_eq!(disabled["code"], "service_disabled");
    let elsewhere = ask(json!({"url": "https://api.y.com/"}))
        .await
        .expect(StatusCode::OK);
    assert_eq!(elsewhere["decision"], "forward");
    assert_eq!(elsewhere["elsewhere"], 2);
    for bad in [
        json!({"url": "ftp://api.x.com/"}),
        json!({"url": "https://u:p@api.x.com/"}),
        json!({"url": "https://api.x.com/", "headers": [{"name": "a b", "value": "c"}]}),
        json!({}),
    ] {
        ask(bad).await.expect(StatusCode::BAD_REQUEST);
    }
}
