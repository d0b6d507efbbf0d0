//! H5: pages of other origins, and DNS rebinding.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{ELSEWHERE, World};

#[tokio::test]
async fn cookie_writes_need_our_origin_and_json() {
    let (world, cast) = World::cast().await;
    let cookie = format!("av_session={}", cast.owner);
    let names = std::sync::atomic::AtomicUsize::new(0);
    let post = || {
        let name = format!(
            "vault-{}",
            names.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
        );
        world
            .post("/v1/vaults", json!({"name": name}))
            .header("Cookie", &cookie)
    };
    post()
        .header("Origin", "http://127.0.0.1:14321")
        .send()
        .await
        .expect(StatusCode::CREATED);
    post()
        .header("Sec-Fetch-Site", "same-origin")
        .send()
        .await
        .expect(StatusCode::CREATED);
    post().send().await.expect(StatusCode::CREATED);
    for (header, value) in [
        ("Origin", "http://127.0.0.1:3000"),
        ("Origin", "http://localhost:14321"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", ""),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        post().header(header, value).send().await.refused(403);
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        post()
            .header("Content-Type", kind)
            .send()
            .await
            .refused(415);
    }
    let charset = post()
        .header("Content-Type", "Application/JSON; charset=utf-8")
        .send()
        .await;
    charset.expect(StatusCode::CREATED);
    // Reading is safe, and a bearer token is attached on purpose.
    let read = world
        .get("/v1/vaults")
        .header("Cookie", &cookie)
        .header("Origin", "https://evil.example")
        .send()
        .await;
    read.expect(StatusCode::OK);
    let bearer = world
        .call(Method::POST, "/v1/vaults")
        .raw(r#"{"name":"by-bearer"}"#)
        .token(&cast.owner)
        .header("Origin", "https://tool.example")
        .send()
        .await;
    bearer.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn loopback_goes_by_known_names_only() {
    let (world, _) = World::cast().await;
    for host in [
        "127.0.0.1:14321",
        "localhost:14321",
        "LOCALHOST",
        "[::1]:14321",
        "app.localhost",
        "10.0.0.2",
        "host.docker.internal:14321",
    ] {
        let reply = world.get("/v1/status").header("Host", host).send().await;
        assert_eq!(reply.status, StatusCode::OK, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:14321",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "notlocalhost",
    ] {
        let reply = world.get("/v1/status").header("Host", host).send().await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{host}");
    }
    // From elsewhere the name is the network's business.
    world
        .get("/v1/status")
        .header("Host", "vault.corp")
        .peer(ELSEWHERE)
        .send()
        .await
        .expect(StatusCode::OK);
}

/// RFC 9113 section 8.3.1.
#[tokio::test]
async fn over_http2_authority_and_host_agree() {
    let (world, _) = World::cast().await;
    for (target, host, status) in [
        ("http://localhost:14321/health", None, 200),
        (
            "http://localhost:14321/health",
            Some("localhost:14321"),
            200,
        ),
        (
            "http://localhost:14321/health",
            Some("LOCALHOST:14321"),
            200,
        ),
        ("http://localhost:14321/health", Some("evil.example"), 400),
        ("http://evil.example/health", Some("evil.example"), 403),
        ("http://evil.example/health", None, 403),
        ("/health", Some("localhost:14321"), 200),
        ("/health", None, 400),
    ] {
        let reply = world.http2(target, host).send().await;
        assert_eq!(
            reply.status.as_u16(),
            status,
            "{target} {host:?}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn what_is_meant_for_the_proxy_is_told_so() {
    let (world, _) = World::cast().await;
    let tunnel = world
        .call(Method::CONNECT, "api.example.com:443")
        .header("Host", "api.example.com:443")
        .send()
        .await;
    tunnel.refused(400);
    assert!(tunnel.text.contains("port 14322"), "{}", tunnel.text);
    // The target counts, whatever the field says.
    let forwarded = world.get("http://api.example.com/health").send().await;
    forwarded.refused(403);
    assert!(forwarded.text.contains("port 14322"), "{}", forwarded.text);
    world
        .get("http://localhost:14321/health")
        .send()
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn trusted_proxies_tell_the_client_address() {
    let world = World::with(agent_vault_api::RateLimits::off(), |info| {
        info.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        info.base_url = "https://vault.example".to_owned();
        info.base_url_is_explicit = true;
        info.allow_remote_setup = true;
    })
    .await;
    let body = json!({"email": "a@x.io", "password": "long enough"});
    let reply = world
        .post("/v1/auth/register", body)
        .header("Host", "vault.example")
        .header("X-Forwarded-For", "198.51.100.1, 198.51.100.2")
        .send()
        .await;
    let token = reply.expect(StatusCode::CREATED)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(reply.header("set-cookie").unwrap().ends_with("; Secure"));
    let list = world
        .get("/v1/auth/sessions")
        .token(&token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["sessions"][0]["last_ip"], "198.51.100.2");
}
