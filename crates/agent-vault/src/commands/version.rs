//! `agent-vault version`.

use std::env::consts::{ARCH, OS};

use serde_json::json;

use crate::cli::{App, Output};
use crate::error::Result;

pub(crate) fn run(app: &App, output: Output) -> Result {
    let version = env!("CARGO_PKG_VERSION");
    let commit = env!("AGENT_VAULT_COMMIT");
    let built = env!("AGENT_VAULT_BUILD_DATE");
    let rust = env!("AGENT_VAULT_RUSTC");
    if output.json {
        let answer = json!({
            "version": version, "commit": commit, "built": built, "rust": rust, "os": OS, "arch": ARCH,
        });
        return app.ui.line(&answer.to_string());
    }
    app.ui.line(&format!("agent-vault {version}"))?;
    app.ui.line(&format!("commit: {commit}"))?;
    app.ui.line(&format!("built: {built}"))?;
    app.ui.line(&format!("rust: {rust}"))?;
    app.ui.line(&format!("{OS}/{ARCH}"))
}
