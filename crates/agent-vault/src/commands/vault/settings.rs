//! `agent-vault vault settings`: what happens to a request that no service matches.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target};
use crate::client::Call;
use crate::error::{CliError, Result};
use crate::vault_choice::{text_of, vault_path};

/// `agent-vault vault settings`.
#[derive(Args)]
#[command(after_help = "Examples:
  agent-vault vault settings
  agent-vault vault settings --unmatched-host-policy deny")]
pub(super) struct SettingsArgs {
    #[command(subcommand)]
    command: Option<SettingsCommand>,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum SettingsCommand {
    /// Show the settings
    Get {
        #[command(flatten)]
        output: Output,
    },
    /// Change a setting
    #[command(arg_required_else_help = true)]
    Set {
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Args)]
struct Change {
    /// Requests to hosts without a service: pass them on without a credential, or refuse them
    #[arg(long, value_enum, alias = "unmatched-host")]
    unmatched_host_policy: Option<UnmatchedHost>,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnmatchedHost {
    Passthrough,
    Deny,
}

pub(super) async fn run(app: &App, target: &Target, args: SettingsArgs) -> Result {
    // Not left to clap, for which the inherited `--vault` would count as well.
    if args.command.is_some() && args.change.unmatched_host_policy.is_some() {
        return Err(CliError::usage(
            "`--unmatched-host-policy` stands after `set`, or without it",
        ));
    }
    let (connection, vault) = super::open(app, target).await?;
    let path = vault_path(&vault).literal("/settings");
    let (change, output) = match args.command {
        Some(SettingsCommand::Get { output }) => (None, output),
        Some(SettingsCommand::Set { change }) => (change.unmatched_host_policy, Output::default()),
        None => (args.change.unmatched_host_policy, args.output),
    };
    let Some(change) = change else {
        let reply = connection.send(app, Call::get(path)).await?;
        if output.json {
            return app.ui.line(reply.text().trim_end());
        }
        app.ui.field("Vault", &vault)?;
        return app.ui.field(
            "Unmatched",
            &text_of(&reply.value()?, "unmatched_host_policy"),
        );
    };
    let policy = match change {
        UnmatchedHost::Passthrough => "passthrough",
        UnmatchedHost::Deny => "deny",
    };
    let call = Call::new(Method::PATCH, path).json(&json!({"unmatched_host_policy": policy}));
    connection.send(app, call).await?;
    app.ui.success(&format!(
        "vault \"{vault}\": requests to hosts without a service: {policy}"
    ))
}
