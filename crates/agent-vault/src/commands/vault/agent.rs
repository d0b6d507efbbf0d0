//! `agent-vault vault agent`: which agents may use the vault, and how.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Target, Yes};
use crate::client::Call;
use crate::client::types::VaultAgents;
use crate::error::Result;
use crate::vault_choice::vault_path;

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
    let (connection, vault) = super::open(app, target).await?;
    let agents = vault_path(&vault).literal("/agents");
    match args.command {
        VaultAgentCommand::Add { name, role } => {
            let body = json!({"name": name, "role": role.as_str()});
            connection
                .send(app, Call::new(Method::POST, agents).json(&body))
                .await?;
            app.ui.success(&format!(
                "agent \"{name}\" may use vault \"{vault}\" as {}",
                role.as_str()
            ))
        }
        VaultAgentCommand::List { output } => {
            let reply = connection.send(app, Call::get(agents)).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: VaultAgents = reply.json()?;
            let rows = found
                .agents
                .into_iter()
                .map(|a| vec![a.name, a.vault_role, a.status])
                .collect();
            app.ui
                .table(&["NAME", "ROLE", "STATUS"], rows, "no agents in this vault")
        }
        VaultAgentCommand::Remove { name, yes } => {
            app.ui.confirm(
                &format!("Take vault \"{vault}\" from agent \"{name}\"?"),
                yes.yes,
            )?;
            connection
                .send(app, Call::new(Method::DELETE, agents.segment(&name)))
                .await?;
            app.ui.success(&format!(
                "agent \"{name}\" may no longer use vault \"{vault}\""
            ))
        }
        VaultAgentCommand::SetRole { name, role } => {
            let call = Call::new(Method::POST, agents.segment(&name).literal("/role"))
                .json(&json!({"role": role.as_str()}));
            connection.send(app, call).await?;
            app.ui.success(&format!(
                "agent \"{name}\" is {} in vault \"{vault}\"",
                role.as_str()
            ))
        }
    }
}
