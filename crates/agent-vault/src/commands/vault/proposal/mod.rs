//! `agent-vault vault proposal`: an agent raises and waits; a person looks and decides.

mod create;
mod decide;
mod show;

use clap::{Args, Subcommand};

use crate::cli::{App, Output, Target, Yes};
use crate::connect::{Connection, Identity};
use crate::error::Result;
use crate::vault_choice;

/// `agent-vault vault proposal`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct ProposalArgs {
    #[command(subcommand)]
    command: ProposalCommand,
}

#[derive(Subcommand)]
enum ProposalCommand {
    /// Ask for a service or a credential, as an agent
    #[command(after_help = "Examples:
  agent-vault vault proposal create --host api.stripe.com --auth-type bearer --token-key STRIPE_KEY --credential STRIPE_KEY -m 'Read charges'
  agent-vault vault proposal create --credential 'STRIPE_KEY=A new key, the old one is revoked' -m 'Read charges'
  agent-vault vault proposal create -f proposal.json")]
    Create(Box<create::CreateArgs>),
    /// List proposals, newest first
    #[command(alias = "ls")]
    List {
        /// Only these: pending, applied, rejected or expired
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show one proposal and, to those who may decide, what it would do
    #[command(visible_alias = "get")]
    Show(show::ShowArgs),
    /// Do what a proposal asks for
    #[command(after_help = "Examples:
  agent-vault vault proposal approve 3                       asks for the values that are missing
  pass show stripe | agent-vault vault proposal approve 3 STRIPE_KEY=- --yes")]
    Approve(decide::ApproveArgs),
    /// Turn a proposal down
    Reject {
        /// Its number
        id: u32,
        /// Why; the agent sees it
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
    /// Go through the proposals that wait, one after the other
    Review,
}

pub(super) async fn run(app: &App, target: &Target, args: ProposalArgs) -> Result {
    match args.command {
        ProposalCommand::Create(args) => create::run(app, target, *args).await,
        ProposalCommand::List { status, output } => {
            show::list(app, target, status.as_deref(), output).await
        }
        ProposalCommand::Show(args) => show::run(app, target, args).await,
        ProposalCommand::Approve(args) => decide::approve(app, target, args).await,
        ProposalCommand::Reject { id, reason } => decide::reject(app, target, id, &reason).await,
        ProposalCommand::Review => decide::review(app, target).await,
    }
}

/// Connects. An agent's vault may be left to the server, which knows the token's.
async fn connect(app: &App, target: &Target) -> Result<(Connection, Option<String>)> {
    let connection = Connection::open(app, target.address.as_deref()).await?;
    let flag = target.vault.as_deref();
    let vault = if connection.identity == Identity::Agent {
        vault_choice::named(app, &connection, flag)?.map(|choice| choice.name)
    } else {
        Some(vault_choice::choose(app, &connection, flag).await?.name)
    };
    Ok((connection, vault))
}

/// A yes that was given beforehand.
fn given() -> Yes {
    Yes { yes: true }
}
