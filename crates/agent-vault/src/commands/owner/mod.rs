//! `agent-vault owner`: what owners of the instance do.

mod config;
mod reset;
mod user;
mod vault;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::cli::{AddressArg, App, Output};
use crate::client::Call;
use crate::client::types::{TestMailSent, WaitingCodes};
use crate::commands::{time, webhook};
use crate::connect::Connection;
use crate::error::Result;

/// `agent-vault owner`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct OwnerArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: OwnerCommand,
}

#[derive(Subcommand)]
enum OwnerCommand {
    /// People: see, remove, change what they may do
    User(user::UserArgs),
    /// All vaults: list, join, delete
    Vault(vault::VaultArgs),
    /// Settings of the instance
    Config(config::ConfigArgs),
    /// Mail
    Email(EmailArgs),
    /// Webhooks that hear of every vault
    Webhook(webhook::WebhookArgs),
    /// Show codes that no mail took away, to hand them on to their owners
    Codes {
        #[command(flatten)]
        output: Output,
    },
    /// Erase the local data folder's vaults, people and settings
    Reset(reset::ResetArgs),
}

#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct EmailArgs {
    #[command(subcommand)]
    command: EmailCommand,
}

#[derive(Subcommand)]
enum EmailCommand {
    /// Send a test mail
    Test {
        /// Whom to send it to [default: your own address]
        #[arg(long, value_name = "EMAIL")]
        to: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(crate) async fn run(app: &App, args: OwnerArgs) -> Result {
    if let OwnerCommand::Reset(args) = args.command {
        return reset::run(app, args).await;
    }
    let connection = Connection::open(app, args.address.address.as_deref()).await?;
    match args.command {
        OwnerCommand::User(args) => user::run(app, &connection, args).await,
        OwnerCommand::Vault(args) => vault::run(app, &connection, args).await,
        OwnerCommand::Config(args) => config::run(app, &connection, args).await,
        OwnerCommand::Webhook(args) => {
            webhook::run(app, &connection, &webhook::Scope::Instance, args).await
        }
        OwnerCommand::Email(args) => {
            let EmailCommand::Test { to, output } = args.command;
            let body = to.map_or_else(|| json!({}), |to| json!({"to": to}));
            let call = Call::new(Method::POST, "/v1/admin/email/test").json(&body);
            let reply = connection.send(app, call).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let sent: TestMailSent = reply.json()?;
            app.ui.success(&format!("sent a test mail to {}", sent.to))
        }
        OwnerCommand::Codes { output } => {
            let reply = connection.send(app, Call::get("/v1/admin/codes")).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let waiting: WaitingCodes = reply.json()?;
            let rows = waiting
                .codes
                .into_iter()
                .map(|code| vec![code.email, code.purpose, code.code, time(&code.expires_at)])
                .collect();
            app.ui.table(
                &["EMAIL", "PURPOSE", "CODE", "EXPIRES"],
                rows,
                "no codes wait",
            )
        }
        OwnerCommand::Reset(_) => Ok(()),
    }
}
