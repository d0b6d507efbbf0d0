//! Liveness, readiness and metrics apart.

use agent_vault_api::RateLimits;
use agent_vault_seal::TokenHash;
use http::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn ready_means_that_the_work_can_be_done() {
    let world = World::empty().await;
    let ready = world.get("/ready").send().await.expect(StatusCode::OK);
    assert_eq!(
        ready,
        json!({
            "status": "ready",
            "reasons": [],
            "checks": {"database": "ok", "proxy": "listening", "external_stores": "none", "draining": false},
        })
    );

    world.proxy_off();
    let body = world.get("/ready").send().await;
    let body = body.expect(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["status"], "not_ready");
    assert_eq!(body["reasons"], json!(["the proxy is not listening"]));
    assert_eq!(body["checks"]["proxy"], "not_listening");

    world.info.closing.cancel();
    world.store.close().await;
    let body = world.get("/ready").send().await;
    let body = body.expect(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        body["reasons"],
        json!([
            "the database does not answer",
            "the proxy is not listening",
            "the server is stopping"
        ])
    );
    // What it depends on is no reason to end the process.
    let alive = world.get("/health").send().await.expect(StatusCode::OK);
    assert_eq!(alive, json!({"status": "ok"}));
}

#[tokio::test]
async fn a_proxy_that_is_switched_off_is_not_missed() {
    let world = World::with(RateLimits::off(), |info| info.proxy_port = 0).await;
    world.proxy_off();
    let ready = world.get("/ready").send().await.expect(StatusCode::OK);
    assert_eq!(ready["checks"]["proxy"], "off");
}

#[tokio::test]
async fn the_scrape_token_reads_metrics_and_nothing_else() {
    let world = World::with(RateLimits::off(), |info| {
        info.metrics_token = Some(TokenHash::of("a-token-for-scrapes"));
    })
    .await;
    // Before there is an owner too.
    let page = world
        .get("/metrics")
        .token("a-token-for-scrapes")
        .send()
        .await;
    page.expect(StatusCode::OK);
    assert_eq!(page.text, "# EOF\n");
    let content_type = page.headers["content-type"].to_str().unwrap();
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    world.people().await;
    for (token, status) in [
        ("a-token-for-scrapes", 200),
        ("a-token-for-scrapeS", 401),
        ("", 401),
    ] {
        let page = world.get("/metrics").token(token).send().await;
        assert_eq!(page.status.as_u16(), status, "{token}");
    }
    for path in ["/v1/auth/me", "/v1/vaults", "/discover"] {
        let refused = world.get(path).token("a-token-for-scrapes").send().await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let cookie = world
        .get("/metrics")
        .header("Cookie", "av_session=a-token-for-scrapes")
        .send()
        .await;
    assert_eq!(cookie.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_scrape_token_it_takes_an_owner() {
    let (world, cast) = World::cast().await;
    for (token, status) in [
        (&cast.owner, 200),
        (&cast.outsider_owner, 200),
        (&cast.member, 403),
        (&cast.admin, 403),
        (&cast.agent, 403),
        (&cast.scoped, 403),
    ] {
        let page = world.get("/metrics").token(token).send().await;
        assert_eq!(page.status.as_u16(), status, "{}", page.text);
    }
    let nobody = world.get("/metrics").send().await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pages_of_the_original_that_are_not_here_say_so() {
    let world = World::empty().await;
    let body = world.get("/vaults/default/services").send().await;
    let body = body.expect(StatusCode::NOT_FOUND);
    assert!(body["hint"].as_str().unwrap().contains("web interface"));
}
