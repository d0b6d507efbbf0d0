//! `agent-vault vault agent`: which agents may use the vault, and how.

use clap::{Args, Subcommand, ValueEnum};

use super::members::{Kind, Members};
use crate::cli::{App, Output, Target, Yes};
use crate::client::types::VaultAgents;
use crate::error::Result;

/// `agent-vault vault agent`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct VaultAgentArgs {
    #[command(subcommand)]
    command: VaultAgentCommand,
}

/// What an agent may do in a vault.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum VaultRole {
    /// Send requests through the proxy
    Proxy,
    /// Also read the log and set credentials
    Member,
    /// Also change services and members
    Admin,
}

impl VaultRole {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            VaultRole::Proxy => "proxy",
            VaultRole::Member => "member",
            VaultRole::Admin => "admin",
        }
    }
}

#[derive(Subcommand)]
enum VaultAgentCommand {
    /// Let an agent use the vault
    Add {
        /// Agent
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value = "proxy")]
        role: VaultRole,
    },
    /// List the vault's agents
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Take the vault from an agent: its next request is refused, its open streams end
    #[command(alias = "rm")]
    Remove {
        /// Agent
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Change what an agent may do
    SetRole {
        /// Agent
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: VaultRole,
    },
}

pub(super) async fn run(app: &App, target: &Target, args: VaultAgentArgs) -> Result {
    let members = Members::open(app, target, Kind::Agent).await?;
    match args.command {
        VaultAgentCommand::Add { name, role } => members.add(app, &name, role.as_str()).await,
        VaultAgentCommand::List { output } => {
            let Some(reply) = members.list(app, output).await? else {
                return Ok(());
            };
            let found: VaultAgents = reply.json()?;
            let rows = found
                .agents
                .into_iter()
                .map(|a| vec![a.name, a.vault_role, a.status])
                .collect();
            app.ui
                .table(&["NAME", "ROLE", "STATUS"], rows, "no agents in this vault")
        }
        VaultAgentCommand::Remove { name, yes } => members.remove(app, &name, yes).await,
        VaultAgentCommand::SetRole { name, role } => {
            members.set_role(app, &name, role.as_str()).await
        }
    }
}
