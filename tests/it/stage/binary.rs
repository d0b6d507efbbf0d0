//! Where the real binary is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary under test: `AGENT_VAULT_BIN`, else the one beside this test's own, built now if cargo runs us.
pub(crate) fn agent_vault() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("AGENT_VAULT_BIN") {
            let path = PathBuf::from(path);
            assert!(
                path.is_file(),
                "AGENT_VAULT_BIN names no file: {}",
                path.display()
            );
            return path;
        }
        let own = std::env::current_exe().expect("the path of this test");
        let folder = own
            .ancestors()
            .find(|path| path.ends_with("deps"))
            .and_then(Path::parent)
            .expect("a test binary lies in target/<profile>/deps");
        build(folder);
        let path = folder.join("agent-vault");
        assert!(
            path.is_file(),
            "there is no {}; run `cargo build -p agent-vault`",
            path.display()
        );
        path
    })
}

/// Brings the binary up to date; next to nothing when it is.
fn build(folder: &Path) {
    let Some(cargo) = std::env::var_os("CARGO") else {
        return;
    };
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "agent-vault",
            "--profile",
            profile,
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "`cargo build -p agent-vault` failed");
}
