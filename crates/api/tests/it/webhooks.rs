//! Webhooks over HTTP: their life, what is shown and what is not, and what is refused.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::World;

const BASE: &str = "/v1/vaults/default/webhooks";

#[tokio::test]
async fn the_life_of_a_webhook_and_a_secret_that_is_shown_once() {
    let (world, cast) = World::cast().await;
    let call = |method, path: &str| world.call(method, path).token(&cast.admin);
    let wanted = json!({"url": "https://hooks.example.com/in", "events": ["limit.hit"], "description": "the team"});
    let added = call(Method::POST, BASE).json(wanted).send().await;
    let added = added.expect(StatusCode::CREATED);
    let id = added["id"].as_str().unwrap();
    let secret = added["secret"].as_str().unwrap();
    assert!(
        secret.starts_with("whsec_") && secret.len() == 50,
        "{secret}"
    );
    assert_eq!(added["state"], "active");
    assert_eq!(added["events"], json!(["limit.hit"]));
    let one = format!("{BASE}/{id}");
    for path in [BASE, &one, &format!("{one}/deliveries")] {
        let shown = call(Method::GET, path).send().await;
        shown.expect(StatusCode::OK);
        assert!(!shown.text.contains("whsec_") && !shown.text.contains("secret\""));
    }

    let tested = call(Method::POST, &format!("{one}/test")).send().await;
    let event = tested.expect(StatusCode::ACCEPTED)["event_id"].clone();
    let listed = call(Method::GET, &format!("{one}/deliveries?limit=1"))
        .send()
        .await;
    let listed = listed.expect(StatusCode::OK);
    let delivery = &listed["deliveries"][0];
    assert_eq!(delivery["event_id"], event);
    assert_eq!(delivery["event"], "webhook.test");
    assert_eq!(delivery["status"], "pending");
    assert_eq!(delivery["attempts"], 0);

    let rotated = call(Method::POST, &format!("{one}/rotate")).send().await;
    let rotated = rotated.expect(StatusCode::OK);
    assert_ne!(rotated["secret"], secret);
    // A day from the world's clock.
    assert_eq!(rotated["former_secret_until"], "2026-03-02T12:00:00Z");

    let changed = call(Method::PATCH, &one)
        .json(json!({"events": [], "enabled": false}))
        .send()
        .await;
    let changed = changed.expect(StatusCode::OK);
    assert_eq!(changed["state"], "off");
    assert_eq!(changed["events"], json!([]));
    assert_eq!(changed["description"], "the team");
    call(Method::POST, &format!("{one}/test"))
        .send()
        .await
        .refused(409);

    // It is this vault's alone.
    world.work(&cast).await;
    call(Method::GET, &format!("/v1/vaults/work/webhooks/{id}"))
        .send()
        .await
        .refused(404);
    let own = format!("/v1/instance/webhooks/{id}");
    world.get(&own).token(&cast.owner).send().await.refused(404);

    call(Method::DELETE, &one)
        .send()
        .await
        .expect(StatusCode::OK);
    call(Method::GET, &one).send().await.refused(404);
    call(Method::DELETE, &one).send().await.refused(404);
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let (world, cast) = World::cast().await;
    let url = "https://hooks.example.com/";
    for (body, named) in [
        (json!({}), "url"),
        (json!({"url": ""}), "url"),
        (json!({"url": "http://hooks.example.com/"}), "url"),
        (json!({"url": "https://a:b@hooks.example.com/"}), "url"),
        (json!({"url": format!("{url}{}", "a".repeat(2048))}), "url"),
        (json!({"url": url, "events": ["nothing"]}), "events[0]"),
        (json!({"url": url, "events": ["webhook.test"]}), "events[0]"),
        (
            json!({"url": url, "description": "a".repeat(201)}),
            "description",
        ),
        (json!({"url": url, "description": "a\nb"}), "description"),
        (json!({"url": url, "secret": "mine"}), "secret"),
    ] {
        let refused = world
            .post(BASE, body.clone())
            .token(&cast.owner)
            .send()
            .await;
        let said = refused.refused(400);
        assert!(said.contains(named), "{body}: {said}");
    }
    let added = world
        .post(BASE, json!({"url": url}))
        .token(&cast.owner)
        .send()
        .await;
    let id = added.expect(StatusCode::CREATED)["id"].clone();
    let one = format!("{BASE}/{}", id.as_str().unwrap());
    for (method, path, body, named) in [
        (Method::PATCH, one.clone(), json!({"url": "ftp://x"}), "url"),
        (
            Method::POST,
            format!("{one}/rotate"),
            json!({"overlap_seconds": 604_801}),
            "overlap_seconds",
        ),
    ] {
        let call = world.call(method, &path).json(body).token(&cast.owner);
        let said = call.send().await.refused(400);
        assert!(said.contains(named), "{said}");
    }
    for limit in ["0", "-1", "many"] {
        let path = format!("{one}/deliveries?limit={limit}");
        let refused = world.get(&path).token(&cast.owner).send().await;
        assert!(refused.refused(400).contains("limit"));
    }
}
