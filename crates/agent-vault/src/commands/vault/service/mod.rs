//! `agent-vault vault service`: which host gets which credential, and how.

mod add;
mod edit;
mod file;
mod list;
mod preset;
mod set;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{App, Output, Target, Yes};
use crate::error::Result;

/// `agent-vault vault service`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(in crate::commands) struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(Subcommand)]
enum ServiceCommand {
    /// Print the services as YAML, ready to be edited and given to `set`
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Replace all services by those of a file
    #[command(
        after_help = "Example: agent-vault vault service list > services.yaml; agent-vault vault service set -f services.yaml"
    )]
    Set {
        /// YAML or JSON file, `-` for stdin
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Show what would change and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        yes: Yes,
    },
    /// Add a service, or change one; what is not said stays as it is
    #[command(after_help = "Examples:
  agent-vault vault service add --host api.openai.com --auth-type bearer --token-key OPENAI_API_KEY
  agent-vault vault service add --host api.anthropic.com --auth-type api-key --api-key-key ANTHROPIC_API_KEY --api-key-header x-api-key
  agent-vault vault service add --host api.telegram.org --auth-type passthrough --substitute TELEGRAM_BOT_TOKEN=__telegram_token__@path
  agent-vault vault service add --preset github
  agent-vault vault service add -f services.yaml")]
    Add(Box<add::AddArgs>),
    /// Let a service broker again
    Enable {
        /// Name, host, or host with port and path
        service: String,
    },
    /// Refuse the requests of a service without forgetting it
    Disable {
        /// Name, host, or host with port and path
        service: String,
    },
    /// Remove a service
    #[command(alias = "rm")]
    Remove {
        /// Name, host, or host with port and path
        service: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Remove all services
    Clear {
        #[command(flatten)]
        yes: Yes,
    },
}

pub(super) async fn run(app: &App, target: &Target, args: ServiceArgs) -> Result {
    match args.command {
        ServiceCommand::List { output } => list::run(app, target, output).await,
        ServiceCommand::Set { file, dry_run, yes } => {
            set::run(app, target, &file, dry_run, yes).await
        }
        ServiceCommand::Add(args) => add::run(app, target, *args).await,
        ServiceCommand::Enable { service } => edit::set_enabled(app, target, &service, true).await,
        ServiceCommand::Disable { service } => {
            edit::set_enabled(app, target, &service, false).await
        }
        ServiceCommand::Remove { service, yes } => edit::remove(app, target, &service, yes).await,
        ServiceCommand::Clear { yes } => edit::clear(app, target, yes).await,
    }
}
