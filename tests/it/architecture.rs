//! The arrows between crates, held by `cargo metadata`: a crate exists because it is a rule, and here is the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Which of our crates each of our crates may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("agent-vault-policy", &[]),
    ("agent-vault-seal", &[]),
    ("agent-vault-ca", &["seal"]),
    ("agent-vault-store", &["seal"]),
    ("agent-vault-upstream", &["policy"]),
    ("agent-vault-broker", &["policy", "seal"]),
    (
        "agent-vault-control",
        &["broker", "ca", "policy", "seal", "store"],
    ),
    (
        "agent-vault-proxy",
        &["broker", "ca", "policy", "seal", "upstream"],
    ),
    ("agent-vault-api", &["broker", "control", "policy", "seal"]),
    ("agent-vault-mail", &["policy", "seal", "upstream"]),
    (
        "agent-vault-sources",
        &["broker", "policy", "seal", "upstream"],
    ),
    ("agent-vault-testing", &[]),
];

/// What a crate must not reach, however far away.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "agent-vault-policy",
        &["tokio", "hyper", "sqlx", "rustls", "axum"],
        "policy is pure",
    ),
    (
        "agent-vault-seal",
        &["tokio", "hyper", "sqlx", "rustls", "axum"],
        "seal does no I/O",
    ),
    (
        "agent-vault-broker",
        &["sqlx", "hyper", "axum", "rustls"],
        "the broker has no SQL and no sockets",
    ),
    (
        "agent-vault-proxy",
        &[
            "sqlx",
            "axum",
            "reqwest",
            "agent-vault-store",
            "agent-vault-control",
            "agent-vault-api",
        ],
        "the data plane reaches neither the database nor the management plane",
    ),
    (
        "agent-vault-control",
        &[
            "hyper",
            "axum",
            "reqwest",
            "agent-vault-proxy",
            "agent-vault-upstream",
            "agent-vault-api",
            "lettre",
        ],
        "control speaks no HTTP and sends no mail itself",
    ),
    (
        "agent-vault-sources",
        &[
            "sqlx",
            "axum",
            "reqwest",
            "agent-vault-store",
            "agent-vault-control",
        ],
        "sources keep no rows and dial by upstream only",
    ),
    (
        "agent-vault-store",
        &["hyper", "axum", "agent-vault-broker", "agent-vault-policy"],
        "the store keeps rows",
    ),
];

/// Crates that no build of ours may contain.
const BANNED: &[&str] = &["ring", "openssl-sys", "native-tls", "serde_yaml"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
        .exec()
        .expect("cargo metadata runs")
}

/// Normal dependencies, by package.
fn graph(metadata: &Metadata) -> BTreeMap<PackageId, BTreeSet<PackageId>> {
    let resolve = metadata.resolve.as_ref().expect("a resolved graph");
    resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node
                .deps
                .iter()
                .filter(|dep| {
                    dep.dep_kinds
                        .iter()
                        .any(|kind| kind.kind == DependencyKind::Normal)
                })
                .map(|dep| dep.pkg.clone())
                .collect();
            (node.id.clone(), normal)
        })
        .collect()
}

fn name(metadata: &Metadata, id: &PackageId) -> String {
    metadata[id].name.to_string()
}

fn reach(
    graph: &BTreeMap<PackageId, BTreeSet<PackageId>>,
    from: &PackageId,
) -> BTreeSet<PackageId> {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![from.clone()];
    while let Some(id) = waiting.pop() {
        for next in graph.get(&id).into_iter().flatten() {
            if seen.insert(next.clone()) {
                waiting.push(next.clone());
            }
        }
    }
    seen
}

#[test]
fn crates_name_only_what_their_arrow_allows() {
    let metadata = metadata();
    let graph = graph(&metadata);
    let mut broken = Vec::new();
    for package in metadata.workspace_packages() {
        let Some((_, allowed)) = ARROWS
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
        else {
            continue;
        };
        for id in graph.get(&package.id).into_iter().flatten() {
            let target = name(&metadata, id);
            if let Some(short) = target.strip_prefix("agent-vault-")
                && !allowed.contains(&short)
            {
                broken.push(format!("{} → {target}", package.name));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "arrows that are not in the design: {broken:?}"
    );
}

#[test]
fn every_crate_has_a_rule() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let known = ARROWS
            .iter()
            .any(|(name, _)| *name == package.name.as_str())
            || ["agent-vault", "agent-vault-tests", "agent-vault-bench"]
                .contains(&package.name.as_str());
        assert!(known, "{} has no arrow; add it to ARROWS", package.name);
    }
}

#[test]
fn crates_do_not_reach_what_they_must_not() {
    let metadata = metadata();
    let graph = graph(&metadata);
    let mut broken = Vec::new();
    for (crate_name, forbidden, why) in FORBIDDEN {
        let package = metadata
            .workspace_packages()
            .into_iter()
            .find(|package| package.name.as_str() == *crate_name)
            .unwrap_or_else(|| panic!("{crate_name} is in the workspace"));
        for id in reach(&graph, &package.id) {
            let target = name(&metadata, &id);
            if forbidden.contains(&target.as_str()) {
                broken.push(format!("{crate_name} reaches {target}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn banned_crates_are_in_no_build() {
    // Not from the metadata: its graph also has optional crates that no feature switches on.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["tree", "--package", "agent-vault", "--edges", "normal"])
        .args(["--target", "all", "--prefix", "none", "--format", "{p}"])
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains("rustls"), "no tree: {text}");
    let found: Vec<_> = BANNED.iter().filter(|name| names.contains(*name)).collect();
    assert!(found.is_empty(), "{found:?}");
}
