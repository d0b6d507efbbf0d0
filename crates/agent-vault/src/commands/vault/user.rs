//! `agent-vault vault user`: which people may use the vault, and how.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target, Yes};
use crate::client::Call;
use crate::client::types::VaultUsers;
use crate::error::Result;
use crate::vault_choice::vault_path;

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
    let (connection, vault) = super::open(app, target).await?;
    let users = vault_path(&vault).literal("/users");
    match args.command {
        VaultUserCommand::Add { email, role } => {
            let body = json!({"email": email, "role": role.as_str()});
            connection
                .send(app, Call::new(Method::POST, users).json(&body))
                .await?;
            app.ui.success(&format!(
                "{email} may use vault \"{vault}\" as {}",
                role.as_str()
            ))
        }
        VaultUserCommand::List { output } => {
            let reply = connection.send(app, Call::get(users)).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: VaultUsers = reply.json()?;
            let rows = found
                .users
                .into_iter()
                .map(|user| vec![user.email, user.status, user.role])
                .collect();
            app.ui
                .table(&["EMAIL", "STATUS", "ROLE"], rows, "nobody in this vault")
        }
        VaultUserCommand::Remove { email, yes } => {
            app.ui
                .confirm(&format!("Take vault \"{vault}\" from {email}?"), yes.yes)?;
            connection
                .send(app, Call::new(Method::DELETE, users.segment(&email)))
                .await?;
            app.ui
                .success(&format!("{email} may no longer use vault \"{vault}\""))
        }
        VaultUserCommand::SetRole { email, role } => {
            let call = Call::new(Method::POST, users.segment(&email).literal("/role"))
                .json(&json!({"role": role.as_str()}));
            connection.send(app, call).await?;
            app.ui.success(&format!(
                "{email} is {} in vault \"{vault}\"",
                role.as_str()
            ))
        }
    }
}
