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
