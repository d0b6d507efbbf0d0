//! Shapes of the contract: bodies, headers, paths.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn unknown_paths_methods_and_dirty_paths() {
    let (world, cast) = World::cast().await;
    for path in [
        "/nope",
        "/v1/nope",
        "/v1/proposal",
        "/v1/vaults/default/services/a/b",
    ] {
        let reply = world.get(path).token(&cast.owner).send().await;
        reply.refused(404);
        assert!(reply.json()["hint"].is_string());
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    let reply = world
        .call(Method::PUT, "/v1/vaults")
        .token(&cast.owner)
        .send()
        .await;
    reply.refused(405);
    let allow = reply.header("allow").unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    // Known without a token, too.
    world
        .call(Method::DELETE, "/health")
        .send()
        .await
        .refused(405);
    world
        .call(Method::PUT, "/v1/vaults")
        .send()
        .await
        .refused(405);

    let dirty = world
        .get("/v1//vaults/../vaults?x=1")
        .token(&cast.owner)
        .send()
        .await;
    assert_eq!(dirty.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(dirty.header("location"), Some("/v1/vaults?x=1"));
}

#[tokio::test]
async fn head_answers_where_get_does() {
    let (world, cast) = World::cast().await;
    for path in ["/health", "/v1/status", "/", "/v1/vaults"] {
        let reply = world
            .call(Method::HEAD, path)
            .token(&cast.owner)
            .send()
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(reply.text, "", "{path}");
    }
}

#[tokio::test]
async fn security_headers_are_on_every_response() {
    let (world, _) = World::cast().await;
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/health", 200),
        (Method::GET, "/nope", 404),
        (Method::PUT, "/health", 405),
        (Method::GET, "/v1/vaults", 401),
        (Method::GET, "//", 308),
    ] {
        let reply = world.call(method, path).send().await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(reply.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(
            reply.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        let policy = reply.header("content-security-policy").unwrap();
        assert_eq!(
            policy,
            "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             frame-ancestors 'none'"
        );
        assert!(reply.header("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn the_page_says_what_this_is_without_scripts() {
    let (world, _) = World::cast().await;
    let reply = world.get("/").send().await;
    assert_eq!(
        reply.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(reply.text.contains("/v1/openapi.json") && reply.text.contains("agent-vault --help"));
    assert!(!reply.text.contains("<script"));
}

#[tokio::test]
async fn the_reference_has_every_route_and_needs_no_script() {
    let (world, _) = World::cast().await;
    let page = world.get("/docs").send().await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    for loaded in ["<script", " src=", "href=\"http", "url("] {
        assert!(!page.text.contains(loaded), "{loaded}");
    }
    let document = world.get("/v1/openapi.json").send().await.json();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(page.text.contains(&format!("id=\"{name}\"")), "{name}");
        }
    }
    for (path, kind) in [("/pages.css", "text/css"), ("/pages.js", "text/javascript")] {
        let file = world.get(path).send().await;
        assert!(file.header("content-type").unwrap().starts_with(kind));
    }
}

#[tokio::test]
async fn a_browser_gets_a_page_where_the_original_has_one_and_a_program_json() {
    let (world, _) = World::cast().await;
    let page = world
        .get("/vaults/default")
        .header("Accept", "text/html,*/*;q=0.8")
        .send()
        .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.text.contains("<h1>There is no such page</h1>"));
    world.get("/vaults/default").send().await.refused(404);
    // What is no page of the original is JSON for everybody.
    world
        .get("/v1/nope")
        .header("Accept", "text/html")
        .send()
        .await
        .refused(404);
}

#[tokio::test]
async fn bodies_are_one_object_and_a_line_feed() {
    let (world, cast) = World::cast().await;
    for path in [
        "/health",
        "/v1/status",
        "/v1/vaults",
        "/v1/service-catalog",
        "/nope",
    ] {
        let reply = world.get(path).token(&cast.owner).send().await;
        assert!(
            reply.text.starts_with('{') && reply.text.ends_with("}\n"),
            "{path}: {}",
            reply.text
        );
    }
}

#[tokio::test]
async fn the_root_certificate() {
    let (world, _) = World::cast().await;
    let reply = world.get("/v1/mitm/ca.pem").send().await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), Some("application/x-pem-file"));
    assert_eq!(reply.header("x-mitm-port"), Some("14322"));
    assert_eq!(reply.header("x-mitm-tls"), Some("optional"));
    assert_eq!(
        reply.header("content-disposition"),
        Some("attachment; filename=\"agent-vault-ca.pem\"")
    );
    world.proxy_off();
    world.get("/v1/mitm/ca.pem").send().await.refused(404);
}

#[tokio::test]
async fn the_catalogue() {
    let (world, _) = World::cast().await;
    let catalog = world
        .get("/v1/service-catalog")
        .send()
        .await
        .expect(StatusCode::OK);
    let services = catalog["services"].as_array().unwrap();
    assert_eq!(services.len(), 35);
    assert_eq!(
        services[0],
        json!({"id": "anthropic", "name": "Anthropic", "host": "api.anthropic.com", "description": "Claude models",
            "auth_type": "api-key", "suggested_credential_key": "ANTHROPIC_API_KEY", "header": "x-api-key"})
    );
    let telegram = services
        .iter()
        .find(|service| service["id"] == "telegram")
        .unwrap();
    assert_eq!(
        telegram["substitutions"],
        json!([{"key": "TELEGRAM_BOT_TOKEN", "placeholder": "__TELEGRAM_BOT_TOKEN__", "in": ["path"]}])
    );
}

#[tokio::test]
async fn vaults_from_birth_to_end() {
    let (world, cast) = World::cast().await;
    let created = world
        .post("/v1/vaults", json!({"name": "team-a"}))
        .token(&cast.outsider)
        .send()
        .await;
    let body = created.expect(StatusCode::CREATED);
    assert_eq!(body["name"], "team-a");
    assert_eq!(body["created_at"], "2026-03-01T12:00:00Z");
    for (body, status) in [
        (json!({"name": "team-a"}), 409),
        (json!({"name": ""}), 400),
        (json!({}), 400),
        (json!({"name": "users"}), 400),
        (json!({"name": "Team"}), 400),
        (json!({"name": "a--b"}), 400),
        (json!({"name": "ok-name", "Name": "x"}), 400),
        (
            json!({"name": "ok-name", "credential_store": {"kind": "vaultish"}}),
            403,
        ),
        (
            json!({"name": "ok-name", "credential_store": {"kind": "builtin", "poll_interval_seconds": 9}}),
            400,
        ),
    ] {
        world
            .post("/v1/vaults", body)
            .token(&cast.outsider)
            .send()
            .await
            .refused(status);
    }
    for (wish, status) in [
        (json!({"kind": "vaultish"}), 400),
        (json!({"kind": "infisical", "config": {}}), 503),
    ] {
        world
            .post(
                "/v1/vaults",
                json!({"name": "ok-name", "credential_store": wish}),
            )
            .token(&cast.owner)
            .send()
            .await
            .refused(status);
    }
    let list = world
        .get("/v1/vaults")
        .token(&cast.outsider)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["vaults"].as_array().unwrap().len(), 1);
    assert_eq!(list["vaults"][0]["role"], "admin");
    assert_eq!(list["vaults"][0]["membership"], "explicit");
    let owners = world
        .get("/v1/vaults")
        .token(&cast.outsider_owner)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(owners["vaults"][0]["name"], "default");
    assert_eq!(owners["vaults"][1]["membership"], "implicit");
    assert!(owners["vaults"][1].get("role").is_none());

    let minted = world
        .post("/v1/sessions", json!({"vault": "team-a"}))
        .token(&cast.outsider)
        .send()
        .await;
    let scoped = minted.expect(StatusCode::OK)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let renamed = world
        .post("/v1/vaults/team-a/rename", json!({"name": "team-b"}))
        .token(&cast.outsider)
        .send()
        .await;
    assert_eq!(
        renamed.expect(StatusCode::OK),
        json!({"message": "Vault renamed", "old_name": "team-a", "new_name": "team-b"})
    );
    // Renaming does not disturb tokens; the proxy knows the new name at once.
    assert!(world.proxies(&scoped, "team-b") && !world.proxies(&scoped, "team-a"));
    world
        .post("/v1/vaults/default/rename", json!({"name": "x-y"}))
        .token(&cast.owner)
        .send()
        .await
        .refused(400);
    let gone = world
        .delete("/v1/vaults/team-b")
        .token(&cast.outsider)
        .send()
        .await;
    assert_eq!(
        gone.expect(StatusCode::OK),
        json!({"name": "team-b", "deleted": true})
    );
    assert!(!world.proxies(&scoped, "team-b"));
    world
        .get("/v1/auth/me")
        .token(&scoped)
        .send()
        .await
        .refused(401);
}

#[tokio::test]
async fn vault_names_cannot_be_probed() {
    let (world, cast) = World::cast().await;
    for path in [
        "/context",
        "/services",
        "/settings",
        "/users",
        "/agents",
        "/logs",
    ] {
        let there = world
            .get(&format!("/v1/vaults/default{path}"))
            .token(&cast.outsider)
            .send()
            .await;
        let not = world
            .get(&format!("/v1/vaults/missing{path}"))
            .token(&cast.outsider)
            .send()
            .await;
        assert_eq!(
            (there.status, there.refused(403)),
            (not.status, not.refused(403)),
            "{path}"
        );
        // Owners may list every vault, so they are told the truth.
        world
            .get(&format!("/v1/vaults/missing{path}"))
            .token(&cast.owner)
            .send()
            .await
            .refused(404);
    }
}

#[tokio::test]
async fn settings_of_a_vault() {
    let (world, cast) = World::cast().await;
    let patch = |body: serde_json::Value| {
        world
            .call(Method::PATCH, "/v1/vaults/default/settings")
            .json(body)
            .token(&cast.owner)
            .send()
    };
    let read = world
        .get("/v1/vaults/default/settings")
        .token(&cast.agent)
        .send()
        .await;
    assert_eq!(
        read.expect(StatusCode::OK),
        json!({"unmatched_host_policy": "passthrough", "infisical_available": false})
    );
    for (body, policy) in [
        (json!({"unmatched_host_policy": "deny"}), "deny"),
        (json!({}), "deny"),
        (json!({"unmatched_host_policy": ""}), "passthrough"),
    ] {
        assert_eq!(
            patch(body).await.expect(StatusCode::OK),
            json!({"unmatched_host_policy": policy})
        );
    }
    patch(json!({"unmatched_host_policy": "block"}))
        .await
        .refused(400);
    patch(json!({"unmatched_host_polcy": "deny"}))
        .await
        .refused(400);
}

#[tokio::test]
async fn changing_settings_is_for_admins_even_when_nothing_changes() {
    let (world, cast) = World::cast().await;
    let patch = |token: &str| {
        world
            .call(Method::PATCH, "/v1/vaults/default/settings")
            .json(json!({}))
            .token(token)
            .send()
    };
    patch(&cast.owner).await.expect(StatusCode::OK);
    assert_eq!(
        patch(&cast.agent).await.refused(403),
        "Vault admin or instance owner required"
    );
}

/// Clients in languages without `undefined` send `null` for what they leave out.
#[tokio::test]
async fn null_is_as_good_as_nothing_where_a_field_may_be_left_out() {
    let (world, cast) = World::cast().await;
    for (path, body, status) in [
        (
            "/v1/agents",
            json!({"name": "nobody", "role": null, "vaults": null, "ttl_seconds": null, "label": null}),
            201,
        ),
        (
            "/v1/agents",
            json!({"name": "somebody", "vaults": [{"vault_name": "default", "vault_role": null}]}),
            201,
        ),
        (
            "/v1/sessions",
            json!({"vault": "default", "vault_role": null, "ttl_seconds": null, "label": null}),
            200,
        ),
        (
            "/v1/vaults/default/agents",
            json!({"name": "nobody", "role": null}),
            201,
        ),
        (
            "/v1/vaults",
            json!({"name": "with-null", "credential_store": null}),
            201,
        ),
        // What is needed is still needed.
        ("/v1/agents", json!({"name": null}), 400),
        ("/v1/sessions", json!({"vault": null}), 400),
        (
            "/v1/vaults/default/services",
            json!({"services": null}),
            400,
        ),
        (
            "/v1/credentials",
            json!({"vault": "default", "credentials": {"KEY": null}}),
            400,
        ),
    ] {
        let reply = world
            .post(path, body.clone())
            .token(&cast.owner)
            .send()
            .await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.text);
    }
}
