//! What anyone may ask of the management port: the page, the root certificate, health; and what an agent discovers.

use std::sync::{Arc, Mutex, Weak};

use crate::stage::{KEY, Slot, Stage, http};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

fn get(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> http::Reply {
    http::call(stage.instance.api_addr(), "GET", path, headers, b"")
}

#[test]
fn the_page_says_what_this_is() {
    let stage = stage();
    let page = get(&stage, "/", &[]);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html")),
        "{page:?}"
    );
    let text = page.text();
    for part in [
        "<!doctype html",
        "Agent Vault",
        "agent-vault run",
        "/v1/openapi.json",
    ] {
        assert!(
            text.to_lowercase().contains(&part.to_lowercase()),
            "no {part:?} in {text}"
        );
    }
    assert!(!text.contains("<script"), "plain HTML: {text}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.header(name), Some(value));
    }
    assert!(page.header("content-security-policy").is_some());
}

#[test]
fn health_status_and_api_document_are_open() {
    let stage = stage();
    assert_eq!(get(&stage, "/health", &[]).status, 200);
    assert_eq!(get(&stage, "/v1/status", &[]).json()["initialized"], true);
    let document = get(&stage, "/v1/openapi.json", &[]).json();
    assert!(document["paths"]["/v1/vaults"].is_object(), "{document}");
    assert_eq!(get(&stage, "/no/such/path", &[]).status, 404);
    assert_eq!(get(&stage, "/v1/vaults", &[]).status, 401);
}

#[test]
fn the_root_certificate_tells_where_the_proxy_is() {
    let stage = stage();
    let ca = get(&stage, "/v1/mitm/ca.pem", &[]);
    assert_eq!(ca.status, 200);
    assert!(ca.text().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(!ca.text().contains("PRIVATE"));
    let port = stage.instance.proxy_addr().port().to_string();
    assert_eq!(ca.header("x-mitm-port"), Some(port.as_str()));
    let file = stage.agent.join("root.crt");
    crate::stage::process::Run::agent_vault(&stage.agent)
        .args(&[
            "ca",
            "fetch",
            "-o",
            &file.to_string_lossy(),
            "--address",
            &stage.instance.address(),
        ])
        .succeed();
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), ca.text());
    let text = crate::stage::process::Run::program(&stage.agent, "openssl")
        .args(&["x509", "-noout", "-text", "-in", &file.to_string_lossy()])
        .succeed();
    assert!(text.stdout.contains("CA:TRUE"), "{text:?}");
}

#[test]
fn discovery_names_hosts_and_keys_but_no_value() {
    let stage = stage();
    let authorization = format!("Bearer {}", stage.token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-vault", "default"),
    ];
    let found = get(&stage, "/discover", &headers);
    assert_eq!(found.status, 200, "{found:?}");
    let json = found.json();
    assert_eq!(json["vault"], "default");
    assert_eq!(
        json["services"][0]["host"],
        stage.upstream.authority(),
        "{json}"
    );
    assert_eq!(
        json["available_credentials"],
        serde_json::json!([KEY]),
        "{json}"
    );
    stage.secret.assert_absent("discovery", found.text());
    assert_eq!(get(&stage, "/discover", &[]).status, 401);
}
