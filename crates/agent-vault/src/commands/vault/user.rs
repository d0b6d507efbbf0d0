//! `agent-vault vault user`: which people may use the vault, and how.

use clap::{Args, Subcommand, ValueEnum};

use super::members::{Kind, Members};
use crate::cli::{App, Output, Target, Yes};
use crate::client::types::VaultUsers;
use crate::error::Result;

/// `agent-vault vault user`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct VaultUserArgs {
    #[command(subcommand)]
    command: VaultUserCommand,
}

/// What a person may do in a vault.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PersonRole {
    /// Read the log, set credentials, mint vault tokens
    Member,
    /// Also change services and members
    Admin,
}

impl PersonRole {
    fn as_str(self) -> &'static str {
        match self {
            PersonRole::Member => "member",
            PersonRole::Admin => "admin",
        }
    }
}

#[derive(Subcommand)]
enum VaultUserCommand {
    /// Let a person who has an account use the vault
    Add {
        /// Address
        email: String,
        /// What they may do
        #[arg(long, value_enum, default_value = "member")]
        role: PersonRole,
    },
    /// List the vault's people, and those who are invited to it
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Take the vault from a person, with the vault tokens that they minted
    #[command(alias = "rm")]
    Remove {
        /// Address
        email: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Change what a person may do
    SetRole {
        /// Address
        email: String,
        /// What they may do
        #[arg(long, value_enum)]
        role: PersonRole,
    },
}

pub(super) async fn run(app: &App, target: &Target, args: VaultUserArgs) -> Result {
    let members = Members::open(app, target, Kind::Person).await?;
    match args.command {
        VaultUserCommand::Add { email, role } => members.add(app, &email, role.as_str()).await,
        VaultUserCommand::List { output } => {
            let Some(reply) = members.list(app, output).await? else {
                return Ok(());
            };
            let found: VaultUsers = reply.json()?;
            let rows = found
                .users
                .into_iter()
                .map(|user| vec![user.email, user.status, user.role])
                .collect();
            app.ui
                .table(&["EMAIL", "STATUS", "ROLE"], rows, "nobody in this vault")
        }
        VaultUserCommand::Remove { email, yes } => members.remove(app, &email, yes).await,
        VaultUserCommand::SetRole { email, role } => {
            members.set_role(app, &email, role.as_str()).await
        }
    }
}
