//! `agent-vault vault discover`.

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::client::types::Discovery;
use crate::connect::{Connection, Identity};
use crate::error::Result;
use crate::vault_choice;

/// Agents and people ask the same; a person, who has no vault scope, always names the vault.
pub(super) async fn run(app: &App, target: &Target, output: Output) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let vault = if connection.identity == Identity::Agent {
        vault_choice::named(app, &connection, target.vault.as_deref())?.map(|c| c.name)
    } else {
        let chosen = vault_choice::choose(app, &connection, target.vault.as_deref()).await?;
        Some(chosen.name)
    };
    let reply = connection
        .send(app, Call::get("/discover").vault(vault.as_deref()))
        .await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Discovery = reply.json()?;
    app.ui.field("Vault", &found.vault)?;
    let rows = found
        .services
        .into_iter()
        .map(|s| {
            vec![
                s.name,
                s.host,
                String::from(if s.enabled == Some(false) {
                    "disabled"
                } else {
                    ""
                }),
            ]
        })
        .collect();
    app.ui.table(
        &["NAME", "HOST", "STATUS"],
        rows,
        "no services: nothing is brokered",
    )?;
    if found.available_credentials.is_empty() {
        app.ui.note("no credentials");
        return Ok(());
    }
    app.ui
        .field("Credentials", &found.available_credentials.join(", "))
}
