//! The clients that are not part of a system: a Python with its packages, and undici for Node.

use std::path::{Path, PathBuf};

/// The folder that `scripts/test` fills.
pub(crate) fn folder() -> PathBuf {
    let folder = std::env::var_os("AGENT_VAULT_TEST_CLIENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-clients"),
        PathBuf::from,
    );
    assert!(
        folder.is_dir(),
        "the clients that these tests drive are not installed in {}; run ./scripts/test once",
        folder.display()
    );
    folder
}

/// The Python that has `requests`, `httpx` and `grpcio`.
pub(crate) fn python() -> String {
    existing("venv/bin/python")
}

/// The folder below which Node finds `undici`.
pub(crate) fn node_modules() -> String {
    existing("node_modules/undici");
    existing("node_modules")
}

fn existing(relative: &str) -> String {
    let path = folder().join(relative);
    assert!(
        path.exists(),
        "there is no {}; run ./scripts/test once",
        path.display()
    );
    path.to_string_lossy().into_owned()
}
