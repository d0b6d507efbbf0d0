//! `agent-vault agent`: agents of the instance, their vaults and tokens.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::json;

use super::{agent_token, or_dash, time};
use crate::cli::{AddressArg, App, Output, Yes};
use crate::client::types::{Agent, Agents};
use crate::client::{ApiPath, Call};
use crate::connect::{Connection, Identity};
use crate::error::{CliError, Result};
use crate::when;

/// `agent-vault agent`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: AgentCommand,
}

/// What an agent may do to the instance.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum InstanceRole {
    Owner,
    Member,
    NoAccess,
}

impl InstanceRole {
    fn as_str(self) -> &'static str {
        match self {
            InstanceRole::Owner => "owner",
            InstanceRole::Member => "member",
            InstanceRole::NoAccess => "no-access",
        }
    }
}

#[derive(Subcommand)]
enum AgentCommand {
    /// Make an agent and print its token, once
    #[command(after_help = "Examples:
  agent-vault agent create builder --vault work
  export AGENT_VAULT_TOKEN=$(agent-vault agent create builder --vault work:member --token-only)")]
    Create {
        /// Name: 3 to 64 of a-z, 0-9 and single hyphens
        name: String,
        /// Vault that it may use, with a role: proxy (default), member or admin
        #[arg(long = "vault", value_name = "VAULT[:ROLE]")]
        vaults: Vec<String>,
        /// What it may do to the instance
        #[arg(long, value_enum, default_value = "no-access")]
        role: InstanceRole,
        /// Print the token and nothing else
        #[arg(long)]
        token_only: bool,
        #[command(flatten)]
        output: Output,
    },
    /// List agents
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one agent
    Info {
        /// Name
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// End an agent's tokens; its record stays
    Revoke {
        /// Name
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Delete an agent; its name becomes free
    #[command(alias = "rm")]
    Delete {
        /// Name
        name: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Print a new token for an agent and end its present ones, at once or after a while
    #[command(after_help = "Examples:
  agent-vault agent rotate builder --yes
  export AGENT_VAULT_TOKEN=$(agent-vault agent rotate builder --overlap 10m --token-only --yes)")]
    Rotate {
        /// Name
        name: String,
        /// How long the present tokens stay good: 90s, 10m, 24h, at most 7d [default: not at all]
        #[arg(long, value_name = "SPAN")]
        overlap: Option<String>,
        /// What the new token is called in lists and logs
        #[arg(long)]
        label: Option<String>,
        /// Print the token and nothing else
        #[arg(long)]
        token_only: bool,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        yes: Yes,
    },
    /// The live tokens of an agent
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Token {
        #[command(subcommand)]
        command: agent_token::TokenCommand,
    },
    /// Rename an agent
    Rename {
        /// Present name
        old: String,
        /// New name
        new: String,
    },
    /// Change what an agent may do to the instance
    SetRole {
        /// Name
        name: String,
        /// Role
        #[arg(long, value_enum)]
        role: InstanceRole,
    },
}

pub(crate) async fn run(app: &App, args: AgentArgs) -> Result {
    // What is wrong in the arguments is found before a server is asked.
    let grants = match &args.command {
        AgentCommand::Create { vaults, .. } => vaults
            .iter()
            .map(|v| grant(v))
            .collect::<Result<Vec<_>>>()?,
        _ => Vec::new(),
    };
    let overlap = match &args.command {
        AgentCommand::Rotate {
            overlap: Some(text),
            ..
        } => Some(when::seconds(text)?),
        _ => None,
    };
    let connection = Connection::open(app, args.address.address.as_deref()).await?;
    let agent = |name: &str| ApiPath::new("/v1/agents").segment(name);
    match args.command {
        AgentCommand::Create {
            name,
            role,
            token_only,
            output,
            ..
        } => {
            let body = json!({"name": name, "role": role.as_str(), "vaults": grants});
            let reply = connection
                .send(app, Call::new(Method::POST, "/v1/agents").json(&body))
                .await?;
            show_token(app, &connection, &reply, token_only, output, "created")
        }
        AgentCommand::List { output } => {
            let reply = connection.send(app, Call::get("/v1/agents")).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: Agents = reply.json()?;
            let rows = found
                .agents
                .into_iter()
                .map(|a| {
                    let vaults = vaults_of(&a);
                    vec![
                        a.name,
                        a.role,
                        a.status,
                        or_dash(&vaults),
                        time(&a.created_at),
                    ]
                })
                .collect();
            app.ui.table(
                &["NAME", "ROLE", "STATUS", "VAULTS", "CREATED"],
                rows,
                "no agents; make one with `agent-vault agent create <name>`",
            )
        }
        AgentCommand::Info { name, output } => {
            let reply = connection.send(app, Call::get(agent(&name))).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: Agent = reply.json()?;
            app.ui.field("Name", &found.name)?;
            app.ui.field("Role", &found.role)?;
            app.ui.field("Status", &found.status)?;
            app.ui.field("Vaults", &or_dash(&vaults_of(&found)))?;
            app.ui.field(
                "Tokens",
                &found
                    .active_tokens
                    .map_or_else(|| String::from("-"), |n| n.to_string()),
            )?;
            app.ui.field("Created", &time(&found.created_at))?;
            app.ui
                .field("Updated", &or_dash(&time(&found.updated_at)))?;
            app.ui
                .field("Last used", &or_dash(&time(&found.last_used_at)))?;
            if !found.revoked_at.is_empty() {
                app.ui.field("Revoked", &time(&found.revoked_at))?;
            }
            Ok(())
        }
        AgentCommand::Revoke { name, yes } => {
            app.ui
                .confirm(&format!("End all tokens of agent \"{name}\"?"), yes.yes)?;
            connection
                .send(app, Call::new(Method::DELETE, agent(&name)))
                .await?;
            app.ui.success(&format!("revoked agent \"{name}\""))
        }
        AgentCommand::Delete { name, yes } => {
            app.ui.confirm(
                &format!("Delete agent \"{name}\" with its tokens and grants?"),
                yes.yes,
            )?;
            connection
                .send(
                    app,
                    Call::new(Method::POST, agent(&name).literal("/delete")),
                )
                .await?;
            app.ui.success(&format!("deleted agent \"{name}\""))
        }
        AgentCommand::Rotate {
            name,
            label,
            token_only,
            output,
            yes,
            ..
        } => {
            let question = match overlap {
                None => format!("End the present token of agent \"{name}\" and make a new one?"),
                Some(seconds) => format!(
                    "Make a new token for agent \"{name}\" and end the present one in {seconds} s?"
                ),
            };
            app.ui.confirm(&question, yes.yes)?;
            let mut body = serde_json::Map::new();
            if let Some(seconds) = overlap {
                body.insert("overlap_seconds".to_owned(), json!(seconds));
            }
            if let Some(label) = label {
                body.insert("label".to_owned(), json!(label));
            }
            let mut call = Call::new(Method::POST, agent(&name).literal("/rotate"));
            // Servers of before know no such body.
            if !body.is_empty() {
                call = call.json(&body);
            }
            let reply = connection.send(app, call).await?;
            show_token(app, &connection, &reply, token_only, output, "rotated")
        }
        AgentCommand::Token { command } => agent_token::run(app, &connection, command).await,
        AgentCommand::Rename { old, new } => {
            let call =
                Call::new(Method::POST, agent(&old).literal("/rename")).json(&json!({"name": new}));
            connection.send(app, call).await?;
            app.ui
                .success(&format!("renamed agent \"{old}\" to \"{new}\""))
        }
        AgentCommand::SetRole { name, role } => {
            let call = Call::new(Method::POST, agent(&name).literal("/role"))
                .json(&json!({"role": role.as_str()}));
            connection.send(app, call).await?;
            app.ui.success(&format!(
                "agent \"{name}\" is {} of the instance",
                role.as_str()
            ))
        }
    }
}

/// `vault` or `vault:role`.
fn grant(text: &str) -> Result<serde_json::Value> {
    let (vault, role) = match text.split_once(':') {
        None => (text, "proxy"),
        Some((vault, "")) => (vault, "proxy"),
        Some((vault, role @ ("proxy" | "member" | "admin"))) => (vault, role),
        Some((_, role)) => {
            return Err(CliError::usage(format!(
                "`{role}` is no vault role: proxy, member or admin"
            )));
        }
    };
    if vault.is_empty() {
        return Err(CliError::usage(format!("`--vault {text}` names no vault")));
    }
    Ok(json!({"vault_name": vault, "vault_role": role}))
}

fn vaults_of(agent: &Agent) -> String {
    let vaults: Vec<_> = agent
        .vaults
        .iter()
        .map(|v| format!("{}:{}", v.vault_name, v.vault_role))
        .collect();
    vaults.join(", ")
}

fn show_token(
    app: &App,
    connection: &Connection,
    reply: &crate::client::Reply,
    token_only: bool,
    output: Output,
    done: &str,
) -> Result {
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let agent: Agent = reply.json()?;
    let Some(token) = agent.av_agent_token.as_deref() else {
        return Err(CliError::new("the server's answer holds no token"));
    };
    if token_only {
        return app.ui.line(token);
    }
    app.ui
        .success(&format!("{done} agent \"{}\"", agent.name))?;
    if !agent.role.is_empty() {
        app.ui.field("Role", &agent.role)?;
        app.ui.field("Vaults", &or_dash(&vaults_of(&agent)))?;
    }
    app.ui.field("Token", token)?;
    if !agent.former_tokens_end_at.is_empty() {
        let end = time(&agent.former_tokens_end_at);
        app.ui.field("Old tokens", &format!("end {end}"))?;
    }
    app.ui
        .note("the token is shown this once; where the agent runs:");
    let address = match connection.identity {
        Identity::Local => String::from("<address of a server>"),
        _ => connection.place_name(),
    };
    app.ui
        .progress(&format!("  export AGENT_VAULT_ADDR={address}"));
    app.ui.progress("  export AGENT_VAULT_TOKEN=<the token>");
    match agent.vaults.as_slice() {
        [only] => app
            .ui
            .progress(&format!("  export AGENT_VAULT_VAULT={}", only.vault_name)),
        [] => {}
        _ => app
            .ui
            .progress("  export AGENT_VAULT_VAULT=<one of its vaults>"),
    }
    app.ui.progress("  agent-vault run -- <command>");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::grant;

    #[test]
    fn grants() {
        assert_eq!(grant("a").unwrap()["vault_role"], "proxy");
        assert_eq!(grant("a:").unwrap()["vault_role"], "proxy");
        assert_eq!(grant("a:admin").unwrap()["vault_name"], "a");
        assert!(grant("a:boss").is_err());
        assert!(grant(":admin").is_err());
    }
}
