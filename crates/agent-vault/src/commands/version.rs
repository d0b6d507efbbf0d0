//! `agent-vault version`.

use crate::cli::App;
use crate::error::Result;

pub(crate) fn run(app: &App) -> Result {
    app.ui
        .line(&format!("agent-vault {}", env!("CARGO_PKG_VERSION")))?;
    app.ui.line(&format!(
        "commit: {}",
        option_env!("AGENT_VAULT_COMMIT").unwrap_or("unknown")
    ))?;
    app.ui.line(&format!(
        "built: {}",
        option_env!("AGENT_VAULT_BUILD_DATE").unwrap_or("unknown")
    ))?;
    app.ui
        .line(&format!("rust: {}", env!("CARGO_PKG_RUST_VERSION")))?;
    app.ui.line(&format!(
        "{}/{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}
