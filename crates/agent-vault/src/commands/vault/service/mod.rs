//! `agent-vault vault service`: which host gets which credential, and how.

pub(in crate::commands::vault) mod add;
mod edit;
pub(in crate::commands) mod file;
mod list;
pub(in crate::commands::vault) mod plan;
mod preset;
mod set;
mod test;

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
    #[command(visible_alias = "export", alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Replace all services by those of a file
    #[command(
        visible_alias = "import",
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
        #[command(flatten)]
        dry: DryRun,
    },
    /// Refuse the requests of a service without forgetting it
    Disable {
        /// Name, host, or host with port and path
        service: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove a service
    #[command(alias = "rm")]
    Remove {
        /// Name, host, or host with port and path
        service: String,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        yes: Yes,
    },
    /// Remove all services
    Clear {
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        yes: Yes,
    },
    /// Tell which service would decide a request, why the others would not, and what would be sent; nothing is sent
    #[command(after_help = "Examples:
  agent-vault vault service test https://api.github.com/user
  agent-vault vault service test https://api.openai.com/v1/models --agent coder")]
    Test(test::TestArgs),
}

#[derive(Args, Clone, Copy)]
struct DryRun {
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &App, target: &Target, args: ServiceArgs) -> Result {
    match args.command {
        ServiceCommand::List { output } => list::run(app, target, output).await,
        ServiceCommand::Set { file, dry_run, yes } => {
            set::run(app, target, &file, dry_run, yes).await
        }
        ServiceCommand::Add(args) => add::run(app, target, *args).await,
        ServiceCommand::Enable { service, dry } => {
            edit::set_enabled(app, target, &service, true, dry.dry_run).await
        }
        ServiceCommand::Disable { service, dry } => {
            edit::set_enabled(app, target, &service, false, dry.dry_run).await
        }
        ServiceCommand::Remove { service, dry, yes } => {
            edit::remove(app, target, &service, dry.dry_run, yes).await
        }
        ServiceCommand::Clear { dry, yes } => edit::clear(app, target, dry.dry_run, yes).await,
        ServiceCommand::Test(args) => test::run(app, target, args).await,
    }
}
