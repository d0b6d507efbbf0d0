//! `agent-vault user`: people of the instance, and invitations.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::{or_dash, time};
use crate::cli::{AddressArg, App, Output, Yes};
use crate::client::types::{InviteMade, Invites, Users, VaultRole};
use crate::client::{ApiPath, Call, Reply};
use crate::connect::Connection;
use crate::error::{CliError, Result};

/// `agent-vault user`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct UserArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Subcommand)]
enum UserCommand {
    /// List people
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Invite somebody, and see or take back invitations
    Invite(InviteArgs),
}

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Examples:
  agent-vault user invite ada@example.com --vault work
  agent-vault user invite list
  agent-vault user invite revoke 0123456789abcdef0123"
)]
struct InviteArgs {
    #[command(subcommand)]
    command: Option<InviteCommand>,
    /// Whom to invite
    email: Option<String>,
    /// What they may do to the instance: member, no-access or owner
    #[arg(long, default_value = "member")]
    role: String,
    /// Vault that they may use, with a role: member (default) or admin
    #[arg(long = "vault", value_name = "VAULT[:ROLE]")]
    vaults: Vec<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum InviteCommand {
    /// List invitations
    #[command(alias = "ls")]
    List {
        /// Only pending, accepted, revoked or expired ones
        #[arg(long)]
        status: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Take an open invitation back
    Revoke {
        /// Id from the list, or the token of the link
        id: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Take an invitation back and send another like it
    Resend {
        /// Id from the list, or the token of the link
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

pub(crate) async fn run(app: &App, args: UserArgs) -> Result {
    let address = args.address.address.as_deref();
    match args.command {
        UserCommand::List { output } => {
            let connection = Connection::open(app, address).await?;
            list(app, &connection, output).await
        }
        UserCommand::Invite(args) => invite(app, address, args).await,
    }
}

async fn list(app: &App, connection: &Connection, output: Output) -> Result {
    let reply = connection.send(app, Call::get("/v1/users")).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Users = reply.json()?;
    // Owners see where people are members.
    let with_vaults = found.users.iter().any(|user| user.vaults.is_some());
    let rows = found
        .users
        .into_iter()
        .map(|user| {
            let mut row = vec![user.email, user.role];
            if with_vaults {
                row.push(or_dash(&words(&user.vaults.unwrap_or_default())));
            }
            row.push(time(&user.created_at));
            row
        })
        .collect();
    let headers: &[&str] = if with_vaults {
        &["EMAIL", "ROLE", "VAULTS", "CREATED"]
    } else {
        &["EMAIL", "ROLE", "CREATED"]
    };
    app.ui.table(headers, rows, "nobody has an account")
}

async fn invite(app: &App, address: Option<&str>, args: InviteArgs) -> Result {
    let one = |id: &str| ApiPath::new("/v1/users/invites").segment(id);
    match args.command {
        None => {
            let Some(email) = args.email else {
                return Err(CliError::usage("whom to invite is missing")
                    .hint("`agent-vault user invite ada@example.com`"));
            };
            let vaults = args
                .vaults
                .iter()
                .map(|text| opened(text))
                .collect::<Result<Vec<_>>>()?;
            let connection = Connection::open(app, address).await?;
            let body = json!({"email": email, "role": args.role, "vaults": vaults});
            let call = Call::new(Method::POST, "/v1/users/invites").json(&body);
            let reply = connection.send(app, call).await?;
            made(app, &reply, args.output, "invited")
        }
        Some(InviteCommand::List { status, output }) => {
            let connection = Connection::open(app, address).await?;
            let mut path = ApiPath::new("/v1/users/invites");
            if let Some(status) = &status {
                path = path.query("status", status);
            }
            let reply = connection.send(app, Call::get(path)).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let found: Invites = reply.json()?;
            let rows = found
                .invites
                .into_iter()
                .map(|invite| {
                    vec![
                        invite.id,
                        invite.email,
                        invite.role,
                        invite.status,
                        or_dash(&words(&invite.vaults)),
                        or_dash(&invite.created_by_name),
                        time(&invite.created_at),
                        time(&invite.expires_at),
                    ]
                })
                .collect();
            app.ui.table(
                &[
                    "ID",
                    "EMAIL",
                    "ROLE",
                    "STATUS",
                    "VAULTS",
                    "INVITED BY",
                    "CREATED",
                    "EXPIRES",
                ],
                rows,
                "no invitations",
            )
        }
        Some(InviteCommand::Revoke { id, yes }) => {
            app.ui.confirm("Take this invitation back?", yes.yes)?;
            let connection = Connection::open(app, address).await?;
            connection
                .send(app, Call::new(Method::DELETE, one(&id)))
                .await?;
            app.ui.success("the invitation is taken back")
        }
        Some(InviteCommand::Resend { id, output }) => {
            let connection = Connection::open(app, address).await?;
            let call = Call::new(Method::POST, one(&id).literal("/reinvite"));
            let reply = connection.send(app, call).await?;
            made(app, &reply, output, "invited again")
        }
    }
}

/// Says that the mail is out, or prints the link to hand on.
fn made(app: &App, reply: &Reply, output: Output, what: &str) -> Result {
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let invite: InviteMade = reply.json()?;
    let until = time(&invite.expires_at);
    match invite.invite_link {
        Some(link) => {
            if let Some(error) = invite.email_error {
                app.ui.warn(&format!("the mail failed: {error}"));
            }
            app.ui.progress(&format!(
                "{what}: hand this link to {}; it is good until {until} and shown once",
                crate::ui::clean(&invite.email)
            ));
            app.ui.line(&link)
        }
        None => app.ui.success(&format!(
            "{what} {} by mail; good until {until}",
            invite.email
        )),
    }
}

fn opened(text: &str) -> Result<serde_json::Value> {
    let (name, role) = match text.split_once(':') {
        Some((name, role)) => (name, role),
        None => (text, "member"),
    };
    match role {
        "" | "member" => Ok(json!({"vault_name": name, "vault_role": "member"})),
        "admin" => Ok(json!({"vault_name": name, "vault_role": "admin"})),
        _ => Err(
            CliError::usage(format!("`{role}` is no role of people in a vault"))
                .hint("give `NAME`, `NAME:member` or `NAME:admin`"),
        ),
    }
}

fn words(vaults: &[VaultRole]) -> String {
    vaults
        .iter()
        .map(|vault| format!("{}:{}", vault.vault_name, vault.vault_role))
        .collect::<Vec<_>>()
        .join(", ")
}
