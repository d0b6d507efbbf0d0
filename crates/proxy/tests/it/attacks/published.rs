//! What docs/security.md says of tests is true: each one that it names exists, and each attack is in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file of Rust below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The tests that the page names: `crate/module::test`, each between backticks.
fn named(page: &str) -> BTreeSet<&str> {
    page.split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| {
            let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            text.split_once("::").is_some_and(|(place, test)| {
                place.contains('/') && !test.is_empty() && test.split("::").all(is_name)
            })
        })
        .collect()
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let names = named(&page);
    assert!(names.len() > 60, "{}", names.len());
    let mut missing = Vec::new();
    for name in names {
        let (place, test) = name.split_once("::").unwrap();
        let (owner, module) = place.split_once('/').unwrap();
        let folder = if owner == "product" {
            root().join("tests")
        } else {
            root().join("crates").join(owner)
        };
        let mut files = Vec::new();
        if folder.is_dir() {
            sources(&folder, &mut files);
        }
        let suffix = format!("{module}.rs");
        // A test within a module of its file is named by that, too.
        let function = format!("fn {}(", test.rsplit("::").next().unwrap());
        let found = files.iter().any(|file| {
            file.ends_with(&suffix) && std::fs::read_to_string(file).unwrap().contains(&function)
        });
        if !found {
            missing.push(name.to_owned());
        }
    }
    assert!(missing.is_empty(), "docs/security.md names {missing:#?}");
}

#[test]
fn every_attack_is_on_the_page() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let names = named(&page);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/attacks");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut unnamed = Vec::new();
    for file in files {
        let module = file.file_stem().unwrap().to_str().unwrap();
        if module == "published" {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for test in text.split("#[tokio::test").skip(1) {
            let (head, _) = test.split_once('{').unwrap();
            let function = head
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split('(').next())
                .unwrap();
            let name = format!("proxy/attacks/{module}::{function}");
            if !head.contains("#[ignore") && !names.contains(name.as_str()) {
                unnamed.push(name);
            }
        }
    }
    assert!(
        unnamed.is_empty(),
        "docs/security.md does not name {unnamed:#?}"
    );
}
