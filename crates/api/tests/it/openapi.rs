//! The checked-in description of the API is the one that the handlers give.

use std::path::PathBuf;

use crate::world::World;

#[tokio::test]
async fn the_document_is_checked_in() {
    let world = World::empty().await;
    let text = world.get("/v1/openapi.json").send().await.text;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == checked_in,
        "docs/openapi.json is not what the handlers say; run `UPDATE=1 cargo test -p agent-vault-api openapi`"
    );
}

#[tokio::test]
async fn operations_have_names_of_their_own() {
    let world = World::empty().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let mut names = std::collections::BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name), "{method} {path}");
        }
    }
}

/// A status that a generated call hardly meets: it takes a version that is stale, a form of a browser, or a slow sender.
#[tokio::test]
async fn rare_refusals_are_documented_where_they_occur() {
    let (world, cast) = World::cast().await;
    let document = world.get("/v1/openapi.json").send().await.json();
    let stale = world
        .call(http::Method::PUT, "/v1/vaults/default/services")
        .json(serde_json::json!({"services": []}))
        .header("If-Match", "\"12345\"")
        .token(&cast.owner)
        .send()
        .await;
    assert_eq!(stale.status.as_u16(), 412, "{}", stale.text);
    let form = world
        .call(http::Method::POST, "/v1/vaults")
        .raw("name=x")
        .header("Cookie", &format!("av_session={}", cast.owner))
        .send()
        .await;
    assert_eq!(form.status.as_u16(), 415, "{}", form.text);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = &operation["responses"];
            let parameters = operation["parameters"].as_array();
            let conditional =
                parameters.is_some_and(|all| all.iter().any(|each| each["name"] == "If-Match"));
            if conditional {
                assert!(responses["412"].is_object(), "{method} {path}");
            }
            if operation["requestBody"].is_object() {
                for status in ["400", "408", "413", "415", "429"] {
                    assert!(responses[status].is_object(), "{method} {path} {status}");
                }
            }
        }
    }
}
