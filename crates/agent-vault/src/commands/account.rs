//! `agent-vault account`: whoami, change-password, delete.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::{check_password, new_password, or_dash, password_text, time};
use crate::cli::{AddressArg, App, Output, Yes};
use crate::client::Call;
use crate::client::types::{Authenticated, Me, Vaults};
use crate::connect::{Connection, Identity};
use crate::error::{CliError, Result};

/// `agent-vault account`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Show who you are on the server
    Whoami {
        #[command(flatten)]
        output: Output,
    },
    /// Change your password; every other login ends
    ChangePassword {
        /// Read two lines from stdin: the current password, then the new one
        #[arg(long)]
        password_stdin: bool,
    },
    /// A second factor for your account: an authenticator app
    Totp(super::totp::TotpArgs),
    /// Delete your account with its logins and the vault tokens that it minted; agents that it made are revoked, vaults stay
    Delete {
        #[command(flatten)]
        yes: Yes,
    },
}

pub(crate) async fn run(app: &App, args: AccountArgs) -> Result {
    let connection = Connection::open(app, args.address.address.as_deref()).await?;
    match args.command {
        AccountCommand::Whoami { output } => whoami(app, &connection, output).await,
        AccountCommand::ChangePassword { password_stdin } => {
            change_password(app, &connection, password_stdin).await
        }
        AccountCommand::Totp(args) => super::totp::run(app, &connection, args).await,
        AccountCommand::Delete { yes } => delete(app, &connection, yes).await,
    }
}

async fn whoami(app: &App, connection: &Connection, output: Output) -> Result {
    let path = if connection.identity == Identity::Login {
        "/v1/admin/users/me"
    } else {
        "/v1/auth/me"
    };
    let reply = connection.send(app, Call::get(path)).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let me: Me = reply.json()?;
    let mut vaults = me.vaults;
    if vaults.is_empty() && connection.identity != Identity::Login {
        let found: Vaults = connection
            .send(app, Call::get("/v1/vaults"))
            .await?
            .json()?;
        vaults = found.vaults.into_iter().map(|v| v.name).collect();
    }
    match me.kind.as_str() {
        "agent" => app.ui.field("Agent", &me.agent_name)?,
        _ if connection.identity == Identity::Local => {
            app.ui.field("User", "owner of the local vault")?
        }
        _ => app.ui.field("Email", &me.email)?,
    }
    app.ui.field("Role", &or_dash(&me.role))?;
    app.ui.field(
        "Vaults",
        &if vaults.is_empty() {
            String::from("none")
        } else {
            vaults.join(", ")
        },
    )?;
    app.ui.field("Server", &connection.place_name())?;
    if !me.created_at.is_empty() {
        app.ui.field("Created", &time(&me.created_at))?;
    }
    Ok(())
}

async fn delete(app: &App, connection: &Connection, yes: Yes) -> Result {
    let Some(address) = connection
        .address
        .as_ref()
        .filter(|_| connection.identity == Identity::Login)
    else {
        return Err(nobody("an account"));
    };
    let me: Me = connection
        .send(app, Call::get("/v1/admin/users/me"))
        .await?
        .json()?;
    app.ui.confirm_typed(
        &format!(
            "This deletes the account {} at {address}. It cannot be undone.",
            me.email
        ),
        &me.email,
        yes.yes,
    )?;
    connection
        .send(app, Call::new(Method::DELETE, "/v1/auth/account"))
        .await?;
    connection.home().forget_session_at(address)?;
    app.ui
        .success(&format!("deleted the account {} at {address}", me.email))
}

fn nobody(what: &str) -> CliError {
    CliError::new(format!("only a person who is logged in has {what}"))
        .hint("`agent-vault auth login`")
}

async fn change_password(app: &App, connection: &Connection, from_stdin: bool) -> Result {
    if connection.identity != Identity::Login {
        return Err(nobody("a password"));
    }
    let (current, new) = if from_stdin {
        let current = app.ui.read_secret_line()?;
        let new = app.ui.read_secret_line()?;
        check_password(&new)?;
        (current, new)
    } else {
        (
            app.ui.ask_secret("Current password", "--password-stdin")?,
            new_password(app, false, "New password")?,
        )
    };
    let body =
        json!({"current_password": password_text(&current)?, "new_password": password_text(&new)?});
    // Straight to the client: here a 401 means that the current password is wrong, not that the login is over.
    let call = Call::new(Method::POST, "/v1/auth/change-password").json(&body);
    let reply = match connection.client.send(&call).await {
        Ok(reply) => reply,
        Err(e) if e.status == 401 => return Err(CliError::new(e.message().to_owned())),
        Err(e) => return Err(e.into()),
    };
    let answer: Authenticated = reply.json()?;
    app.ui
        .success("password changed; all other logins have ended")?;
    if let Some(token) = answer.token {
        let token = agent_vault_seal::SecretBytes::new(token.into_bytes());
        if let Err(e) = connection.renew_login(token) {
            app.ui.warn(&format!(
                "the new login could not be saved: {}; log in again",
                e.message()
            ));
        }
    }
    Ok(())
}
