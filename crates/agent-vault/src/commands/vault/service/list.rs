//! `agent-vault vault service list`.

use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::Services;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::vault_path;

pub(super) async fn run(app: &App, target: &Target, output: Output) -> Result {
    let (connection, vault) = super::super::open(app, target).await?;
    let reply = connection
        .send(app, Call::get(vault_path(&vault).literal("/services")))
        .await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Services = reply.json()?;
    if found.services.is_empty() {
        app.ui.note(&format!(
            "no services in vault \"{vault}\": nothing is brokered"
        ));
    }
    let yaml = serde_saphyr::to_string(&json!({"services": found.services}))
        .map_err(|e| CliError::new(format!("cannot write the services as YAML: {e}")))?;
    app.ui.line(yaml.trim_end())
}

/// The vault's services as the server has them.
pub(super) async fn fetch(app: &App, connection: &Connection, vault: &str) -> Result<Services> {
    connection
        .send(app, Call::get(vault_path(vault).literal("/services")))
        .await?
        .json()
}
