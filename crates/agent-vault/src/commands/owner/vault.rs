//! `agent-vault owner vault`.

use clap::{Args, Subcommand};
use http::Method;

use crate::cli::{App, Output, Yes};
use crate::client::types::Vaults;
use crate::client::{ApiPath, Call};
use crate::commands::time;
use crate::connect::Connection;
use crate::error::Result;

/// `agent-vault owner vault`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    command: VaultCommand,
}

#[derive(Subcommand)]
enum VaultCommand {
    /// List all vaults of the instance
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Become an admin of a vault
    Join {
        /// Name
        name: String,
    },
    /// Delete a vault with all that is in it
    #[command(alias = "rm")]
    Delete {
        /// Name
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub(super) async fn run(app: &App, connection: &Connection, args: VaultArgs) -> Result {
    let one = |name: &str| ApiPath::new("/v1/vaults").segment(name);
    match args.command {
        VaultCommand::List { output } => {
            let reply = connection.send(app, Call::get("/v1/admin/vaults")).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: Vaults = reply.json()?;
            let rows = found
                .vaults
                .into_iter()
                .map(|vault| vec![vault.id, vault.name, time(&vault.created_at)])
                .collect();
            app.ui.table(&["ID", "NAME", "CREATED"], rows, "no vaults")
        }
        VaultCommand::Join { name } => {
            let call = Call::new(Method::POST, one(&name).literal("/join"));
            connection.send(app, call).await?;
            app.ui.success(&format!("you are an admin of `{name}` now"))
        }
        VaultCommand::Delete { name, yes } => {
            app.ui.confirm_typed(
                &format!("This deletes the vault `{name}` with its services, credentials and log."),
                &name,
                yes.yes,
            )?;
            connection
                .send(app, Call::new(Method::DELETE, one(&name)))
                .await?;
            app.ui.success(&format!("deleted the vault `{name}`"))
        }
    }
}
