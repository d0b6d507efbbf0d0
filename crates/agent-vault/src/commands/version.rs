//! `agent-vault version`.

use crate::cli::App;
use crate::error::Result;

pub(crate) fn run(app: &App) -> Result {
    app.ui
        .line(&format!("agent-vault {}", env!("CARGO_PKG_VERSION")))?;
    app.ui
        .line(&format!("commit: {}", env!("AGENT_VAULT_COMMIT")))?;
    app.ui
        .line(&format!("built: {}", env!("AGENT_VAULT_BUILD_DATE")))?;
    app.ui
        .line(&format!("rust: {}", env!("AGENT_VAULT_RUSTC")))?;
    app.ui.line(&format!(
        "{}/{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}
