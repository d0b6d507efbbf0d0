//! `agent-vault vault use`.

use crate::cli::{App, Target};
use crate::client::Call;
use crate::client::types::Vaults;
use crate::connect::{Connection, Identity};
use crate::error::{CliError, Result};

/// Remembers the vault for this server; one that is not there is refused now, not at the next command.
pub(super) async fn run(app: &App, target: &Target, name: &str) -> Result {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    if connection.identity != Identity::Agent {
        let found: Vaults = connection
            .send(app, Call::get("/v1/vaults"))
            .await?
            .json()?;
        if !found.vaults.iter().any(|v| v.name == name) {
            let names: Vec<_> = found.vaults.into_iter().map(|v| v.name).collect();
            return Err(
                CliError::new(format!("there is no vault \"{name}\" that you may see")).hint(
                    if names.is_empty() {
                        String::from("there are none")
                    } else {
                        format!("there are: {}", names.join(", "))
                    },
                ),
            );
        }
    }
    connection
        .home()
        .use_vault(name, &connection.place_name())?;
    app.ui.success(&format!(
        "using vault \"{name}\" at {}",
        connection.place_name()
    ))
}
