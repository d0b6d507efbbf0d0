//! Hostile input: every refusal has a status, a JSON body, and changes nothing.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn bodies_that_are_no_bodies() {
    let (world, cast) = World::cast().await;
    let post = |body: Bytes| {
        world
            .call(Method::POST, "/v1/vaults")
            .raw(body)
            .token(&cast.owner)
            .send()
    };
    for body in [
        &b""[..],
        b"   ",
        b"null",
        b"[]",
        b"\"x\"",
        b"{",
        b"{\"name\":}",
        b"{\"name\":\"ok-name\"} trailing",
        b"{\"name\":\"ok-name\",\"name\":\"other\"}",
        b"{\"NAME\":\"ok-name\"}",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":[\"a\"]}",
        b"\x00\x01\x02",
        b"name=ok-name",
    ] {
        let reply = post(Bytes::copy_from_slice(body)).await;
        let error = reply.refused(400);
        assert!(!error.is_empty(), "{body:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    post(Bytes::from(deep)).await.refused(400);
    assert_eq!(world.store.vaults().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_over_the_cap_is_413() {
    let (world, cast) = World::cast().await;
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    let reply = world
        .call(Method::POST, "/v1/vaults")
        .raw(big)
        .token(&cast.owner)
        .send()
        .await;
    assert!(reply.refused(413).contains("1 MiB"));
    assert!(reply.json()["hint"].is_string());
    let fits = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024 - 20));
    world
        .call(Method::POST, "/v1/vaults")
        .raw(fits)
        .token(&cast.owner)
        .send()
        .await
        .refused(400);
}

#[tokio::test]
async fn h50_a_key_given_twice_changes_nothing() {
    let (world, cast) = World::cast().await;
    for (method, path, body) in [
        (
            Method::POST,
            "/v1/credentials",
            r#"{"vault":"default","credentials":{"KEY":"a","KEY":"b"}}"#,
        ),
        (
            Method::POST,
            "/v1/credentials",
            r#"{"vault":"default","vault":"other","credentials":{"KEY":"a"}}"#,
        ),
        (
            Method::POST,
            "/v1/agents",
            r#"{"name":"twice","role":"no-access","role":"owner"}"#,
        ),
        (
            Method::POST,
            "/v1/agents",
            r#"{"name":"twice","vaults":[{"vault_name":"default","vault_role":"proxy","vault_role":"admin"}]}"#,
        ),
        (
            Method::PUT,
            "/v1/vaults/default/services",
            r#"{"services":[{"name":"svc","host":"a.b.com","auth":{"type":"custom","headers":{"X-A":"{{ K }}","X-A":"{{ L }}"}}}]}"#,
        ),
        (
            Method::POST,
            "/v1/agents",
            r#"{"name":"typo","vault":[{"vault_name":"default"}]}"#,
        ),
        (
            Method::POST,
            "/v1/sessions",
            r#"{"vault":"default","ttl":300}"#,
        ),
    ] {
        let reply = world
            .call(method, path)
            .raw(body)
            .token(&cast.owner)
            .send()
            .await;
        assert_eq!(
            reply.status,
            StatusCode::BAD_REQUEST,
            "{body}: {}",
            reply.text
        );
    }
    assert!(world.store.agent_by_name("twice").await.unwrap().is_none());
    assert!(
        world
            .store
            .credential_keys(agent_vault_store::DEFAULT_VAULT_ID)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn h49_a_broken_query_does_not_mean_default() {
    let (world, cast) = World::cast().await;
    for query in [
        "vault=%zz",
        "vault=a;b",
        "vault=%ff",
        "vault=default&vault=other",
        "vault=%",
    ] {
        for path in ["/v1/credentials", "/v1/sessions"] {
            let reply = world
                .get(&format!("{path}?{query}"))
                .token(&cast.owner)
                .send()
                .await;
            assert!(reply.refused(400).contains("Malformed query"), "{query}");
        }
    }
}

#[tokio::test]
async fn names_in_paths_are_data() {
    let (world, cast) = World::cast().await;
    for name in [
        "..%2f..%2fetc",
        "%00",
        "%0d%0aX:%20y",
        "a%20b",
        "%F0%9F%98%80",
        "'%20or%201=1--",
        "%25zz",
    ] {
        for path in [
            format!("/v1/vaults/{name}/services"),
            format!("/v1/agents/{name}"),
            format!("/v1/admin/users/{name}"),
        ] {
            let reply = world.get(&path).token(&cast.owner).send().await;
            assert_eq!(
                reply.status,
                StatusCode::NOT_FOUND,
                "{path}: {}",
                reply.text
            );
        }
    }
    let invalid = world
        .get("/v1/vaults/%ff/services")
        .token(&cast.owner)
        .send()
        .await;
    invalid.refused(400);
    let long = world
        .get(&format!("/v1/vaults/{}/services", "x".repeat(20_000)))
        .token(&cast.owner)
        .send()
        .await;
    assert!(long.refused(404).len() < 200);
}

#[tokio::test]
async fn tokens_that_are_no_tokens() {
    let (world, _) = World::cast().await;
    for value in [
        "Bearer ",
        "Bearer",
        "bearer av_sess_x",
        "Basic eDp5",
        "Bearer  av_sess_x",
        &format!("Bearer {}", "x".repeat(30_000)),
    ] {
        let reply = world
            .get("/v1/vaults")
            .header("Authorization", value)
            .send()
            .await;
        reply.refused(401);
        assert!(reply.json()["hint"].is_string());
    }
    let odd = "v\u{e9}ry";
    let request = world
        .get("/v1/vaults")
        .header("Cookie", "av_session=; av_session")
        .header("X-Vault", odd);
    request.send().await.refused(401);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_cut_a_write_short() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    let (world, cast) = World::cast().await;
    {
        let body = json!({"vault": "default", "credentials": {"KEY": "v"}});
        let mut call = pin!(
            world
                .post("/v1/credentials", body)
                .token(&cast.owner)
                .send()
        );
        assert!(
            call.as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    world.info.tasks.close();
    world.info.tasks.wait().await;
    let keys = world
        .get("/v1/credentials?vault=default")
        .token(&cast.owner)
        .send()
        .await;
    assert_eq!(keys.expect(StatusCode::OK)["keys"], json!(["KEY"]));
}

#[tokio::test]
async fn a_secret_in_a_refused_body_is_not_in_the_record() {
    let (world, cast) = World::cast().await;
    let body = json!({"vault": "default", "credentials": {"KEY": "canary-in-body"}});
    world
        .post("/v1/credentials", body)
        .token(&cast.agent)
        .send()
        .await
        .refused(403);
    let login = json!({"email": "owner@x.io", "password": "canary-in-password"});
    world
        .post("/v1/auth/login", login)
        .send()
        .await
        .refused(401);
    for record in world.audit().await {
        assert!(!format!("{record:?}").contains("canary"), "{record:?}");
    }
}
