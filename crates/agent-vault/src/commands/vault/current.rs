//! `agent-vault vault current`.

use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::connect::Connection;
use crate::error::Result;
use crate::vault_choice;

pub(super) async fn run(app: &App, target: &Target, output: Output) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let choice = vault_choice::choose(app, &connection, target.vault.as_deref()).await?;
    if output.json {
        return app
            .ui
            .line(&json!({"vault": choice.name, "from": choice.origin.describe()}).to_string());
    }
    app.ui.line(&choice.name)?;
    app.ui.note(&format!("from {}", choice.origin.describe()));
    Ok(())
}
