//! `agent-vault owner user`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Yes};
use crate::client::types::{Me, RemovedUser};
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::connect::Connection;
use crate::error::Result;

/// `agent-vault owner user`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Show one person
    Info {
        /// Address, or `me`
        email: String,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a person with their logins, grants and vault tokens; agents that they made are revoked
    #[command(alias = "rm")]
    Remove {
        /// Address
        email: String,
        /// Leave the agents that they made as they are; whoever is removed may know their tokens
        #[arg(long)]
        keep_agents: bool,
        #[command(flatten)]
        yes: Yes,
    },
    /// Change what a person may do to the instance
    SetRole {
        /// Address
        email: String,
        /// owner, member or no-access
        #[arg(long)]
        role: String,
    },
    /// Take a person's second factor away, who has lost app and recovery codes
    RemoveTotp {
        /// Address
        email: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub(super) async fn run(app: &App, connection: &Connection, args: UserArgs) -> Result {
    let one = |email: &str| ApiPath::new("/v1/admin/users").segment(email);
    match args.command {
        UserCommand::Info { email, output } => {
            let reply = connection.send(app, Call::get(one(&email))).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let user: Me = reply.json()?;
            app.ui.field("Email", &user.email)?;
            app.ui.field("Role", &user.role)?;
            app.ui.field("Vaults", &or_dash(&user.vaults.join(", ")))?;
            app.ui.field("Created", &time(&user.created_at))
        }
        UserCommand::Remove {
            email,
            keep_agents,
            yes,
        } => {
            let agents = if keep_agents {
                "Agents that they made go on."
            } else {
                "Agents that they made are revoked."
            };
            app.ui.confirm_typed(
                &format!(
                    "This removes {email} with their logins, grants and vault tokens. {agents}"
                ),
                &email,
                yes.yes,
            )?;
            let mut path = one(&email);
            if keep_agents {
                path = path.query("agents", "keep");
            }
            let removed: RemovedUser = connection
                .send(app, Call::new(Method::DELETE, path))
                .await?
                .json()?;
            if !removed.agents_revoked.is_empty() {
                app.ui.note(&format!(
                    "revoked with them: {}; `agent-vault agent rotate` makes one active again",
                    removed.agents_revoked.join(", ")
                ));
            }
            app.ui.success(&format!("removed {email}"))
        }
        UserCommand::SetRole { email, role } => {
            let path = one(&email).literal("/role");
            let call = Call::new(Method::POST, path).json(&json!({"role": role}));
            connection.send(app, call).await?;
            app.ui.success(&format!("{email} is {role} now"))
        }
        UserCommand::RemoveTotp { email, yes } => {
            app.ui.confirm(
                &format!("From then on {email} logs in with a password alone. Go on?"),
                yes.yes,
            )?;
            let path = one(&email).literal("/totp");
            connection
                .send(app, Call::new(Method::DELETE, path))
                .await?;
            app.ui
                .success(&format!("{email} has no second factor any more"))
        }
    }
}
