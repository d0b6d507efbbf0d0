//! `agent-vault key`: the data key that seals every stored value.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;

use crate::cli::{AddressArg, App, Output, Yes};
use crate::client::{Call, Reply};
use crate::connect::Connection;
use crate::error::Result;

/// How often a rotation is looked at.
const POLL: Duration = Duration::from_millis(200);

/// `agent-vault key`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Show which key is in force and how far a rotation is
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Put a new key in force, seal every stored value again, and destroy the old key
    #[command(
        after_help = "Values are sealed again in the background; a server that is stopped or killed meanwhile goes on at its next start.
Backups from before still hold the old key: delete those that you do not need."
    )]
    Rotate {
        /// Do not wait until everything is sealed again
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct State {
    key_id: String,
    master_password: bool,
    rotating: bool,
    remaining: u64,
}

pub(crate) async fn run(app: &App, args: KeyArgs) -> Result {
    let connection = Connection::open(app, args.address.address.as_deref()).await?;
    match args.command {
        KeyCommand::Status { output } => {
            let reply = state(app, &connection).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            show(app, &reply.json()?)
        }
        KeyCommand::Rotate {
            no_wait,
            yes,
            output,
        } => {
            app.ui.confirm(
                "Put a new data key in force and destroy the old one?",
                yes.yes,
            )?;
            let call = Call::new(Method::POST, "/v1/instance/keys/rotate");
            let mut reply = connection.send(app, call).await?;
            while !no_wait && reply.json::<State>()?.rotating {
                tokio::time::sleep(POLL).await;
                reply = state(app, &connection).await?;
            }
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let now: State = reply.json()?;
            app.ui.success(&if now.rotating {
                format!(
                    "key {} is in force; {} values are to be sealed again",
                    now.key_id, now.remaining
                )
            } else {
                format!("key {} is in force; the old one is destroyed", now.key_id)
            })
        }
    }
}

async fn state(app: &App, connection: &Connection) -> Result<Reply> {
    connection.send(app, Call::get("/v1/instance/keys")).await
}

fn show(app: &App, state: &State) -> Result {
    app.ui.field("key", &state.key_id)?;
    let protection = if state.master_password {
        "master password"
    } else {
        "key file in the data folder"
    };
    app.ui.field("protected by", protection)?;
    let rotation = match (state.rotating, state.remaining) {
        (false, _) => "none under way".to_owned(),
        (true, left) => format!("{left} values are to be sealed again"),
    };
    app.ui.field("rotation", &rotation)
}
