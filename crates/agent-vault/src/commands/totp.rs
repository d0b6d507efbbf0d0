//! `agent-vault account totp`: a second factor for your account.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::password_text;
use crate::cli::{App, Output};
use crate::client::Call;
use crate::client::types::{FactorSecret, FactorStatus, RecoveryCodes};
use crate::connect::Connection;
use crate::error::{CliError, Result};

/// `agent-vault account totp`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct TotpArgs {
    #[command(subcommand)]
    command: TotpCommand,
}

#[derive(Subcommand)]
enum TotpCommand {
    /// Say whether a second factor is asked for
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Ask for a code of an authenticator app at each login; prints recovery codes, once
    Enable {
        /// Read your password from the first line of stdin; the code of the app is read from the second
        #[arg(long)]
        password_stdin: bool,
    },
    /// Ask for a password alone again
    Disable {
        /// Read your password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
        /// A code of the app, or a recovery code
        #[arg(long, value_name = "CODE")]
        totp: Option<String>,
    },
}

pub(super) async fn run(app: &App, connection: &Connection, args: TotpArgs) -> Result {
    match args.command {
        TotpCommand::Status { output } => {
            let reply = connection.send(app, Call::get("/v1/auth/totp")).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let status: FactorStatus = reply.json()?;
            app.ui
                .field("Second factor", if status.enabled { "on" } else { "off" })?;
            app.ui
                .field("Recovery codes", &status.recovery_codes.to_string())
        }
        TotpCommand::Enable { password_stdin } => enable(app, connection, password_stdin).await,
        TotpCommand::Disable {
            password_stdin,
            totp,
        } => {
            let password = password(app, password_stdin)?;
            let code = match totp {
                Some(code) => code,
                None => app.ui.ask("Code of the authenticator app", "--totp")?,
            };
            let body = json!({"current_password": password_text(&password)?, "totp_code": code});
            let call = Call::new(Method::POST, "/v1/auth/totp/disable").json(&body);
            connection.send(app, call).await?;
            app.ui.success("the second factor is off")
        }
    }
}

async fn enable(app: &App, connection: &Connection, password_stdin: bool) -> Result {
    let password = password(app, password_stdin)?;
    let body = json!({"current_password": password_text(&password)?});
    let call = Call::new(Method::POST, "/v1/auth/totp").json(&body);
    let started: FactorSecret = connection.send(app, call).await?.json()?;
    // On stderr: what it prints for programs are the recovery codes.
    app.ui.progress(&format!(
        "Add this to your authenticator app:\n  secret  {}\n  URL     {}",
        crate::ui::clean(&started.secret),
        crate::ui::clean(&started.otpauth_url)
    ));
    let code = if password_stdin {
        app.ui.read_line()?
    } else {
        app.ui.ask("Code that it shows", "--password-stdin")?
    };
    let call = Call::new(Method::POST, "/v1/auth/totp/confirm").json(&json!({"code": code}));
    let codes: RecoveryCodes = connection.send(app, call).await?.json()?;
    if codes.recovery_codes.is_empty() {
        return Err(CliError::new("the server gave no recovery codes"));
    }
    app.ui
        .progress("The second factor is on. Keep these recovery codes; each is good once:");
    for code in codes.recovery_codes {
        app.ui.line(&code)?;
    }
    Ok(())
}

fn password(app: &App, from_stdin: bool) -> Result<agent_vault_seal::SecretBytes> {
    if from_stdin {
        app.ui.read_secret_line()
    } else {
        app.ui.ask_secret("Current password", "--password-stdin")
    }
}
