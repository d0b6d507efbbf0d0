//! `agent-vault vault settings`: what happens to a request that no service matches.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::error::Result;
use crate::vault_choice::{text_of, vault_path};

/// `agent-vault vault settings`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct SettingsArgs {
    #[command(subcommand)]
    command: SettingsCommand,
}

#[derive(Subcommand)]
enum SettingsCommand {
    /// Show the settings
    Get {
        #[command(flatten)]
        output: Output,
    },
    /// Change a setting
    #[command(after_help = "Example: agent-vault vault settings set --unmatched-host deny")]
    Set {
        /// Requests to hosts without a service: pass them on without a credential, or refuse them
        #[arg(long, value_enum, required = true)]
        unmatched_host: UnmatchedHost,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum UnmatchedHost {
    Passthrough,
    Deny,
}

pub(super) async fn run(app: &App, target: &Target, args: SettingsArgs) -> Result {
    let (connection, vault) = super::open(app, target).await?;
    let path = vault_path(&vault).literal("/settings");
    match args.command {
        SettingsCommand::Get { output } => {
            let reply = connection.send(app, Call::get(path)).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            app.ui.field("Vault", &vault)?;
            app.ui.field(
                "Unmatched",
                &text_of(&reply.value()?, "unmatched_host_policy"),
            )
        }
        SettingsCommand::Set { unmatched_host } => {
            let policy = match unmatched_host {
                UnmatchedHost::Passthrough => "passthrough",
                UnmatchedHost::Deny => "deny",
            };
            let call =
                Call::new(Method::PATCH, path).json(&json!({"unmatched_host_policy": policy}));
            connection.send(app, call).await?;
            app.ui.success(&format!(
                "vault \"{vault}\": requests to hosts without a service: {policy}"
            ))
        }
    }
}
