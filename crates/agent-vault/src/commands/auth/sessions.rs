//! `agent-vault auth sessions`: your logins on all devices.

use clap::{Args, Subcommand};
use http::Method;

use crate::cli::{App, Output, Yes};
use crate::client::types::Logins;
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::connect::{Connection, Identity};
use crate::error::Result;

/// `agent-vault auth sessions`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    command: SessionsCommand,
}

#[derive(Subcommand)]
enum SessionsCommand {
    /// List your logins
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// End one login
    Revoke {
        /// Id from the list
        id: String,
        #[command(flatten)]
        yes: Yes,
    },
}

pub(super) async fn run(app: &App, address: Option<&str>, args: SessionsArgs) -> Result {
    let connection = Connection::open(app, address).await?;
    match args.command {
        SessionsCommand::List { output } => {
            let reply = connection.send(app, Call::get("/v1/auth/sessions")).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let logins: Logins = reply.json()?;
            let rows = logins
                .sessions
                .into_iter()
                .map(|s| {
                    vec![
                        s.id,
                        or_dash(&s.device_label),
                        or_dash(&s.last_ip),
                        or_dash(&time(&s.last_used_at)),
                        or_dash(&time(&s.expires_at)),
                        String::from(if s.current { "✓" } else { "" }),
                    ]
                })
                .collect();
            app.ui.table(
                &["ID", "DEVICE", "LAST IP", "LAST USED", "EXPIRES", "CURRENT"],
                rows,
                "no logins",
            )
        }
        SessionsCommand::Revoke { id, yes } => {
            app.ui.confirm(&format!("End login {id}?"), yes.yes)?;
            let path = ApiPath::new("/v1/auth/sessions").segment(&id);
            let answer = connection
                .send(app, Call::new(Method::DELETE, path))
                .await?
                .value()?;
            let current = answer
                .get("current")
                .and_then(serde_json::Value::as_bool)
                .unwrap_or(false);
            if current && connection.identity == Identity::Login {
                if let Some(address) = &connection.address {
                    connection.home().forget_session_at(address)?;
                }
                return app.ui.success("ended this login; you are logged out");
            }
            app.ui.success(&format!("ended login {id}"))
        }
    }
}
