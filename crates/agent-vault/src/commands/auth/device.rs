//! `agent-vault auth login --device` and `agent-vault auth device`: a login that is approved on another machine.

use std::time::Duration;

use agent_vault_seal::SecretBytes;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use crate::cli::{App, Output, Yes};
use crate::client::types::{DeviceLoggedIn, DeviceStarted, WaitingDevice};
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::connect::Connection;
use crate::error::{CliError, Result};

/// Bounds on what a server may say about polling, in seconds.
const MIN_INTERVAL: u64 = 1;
const MAX_INTERVAL: u64 = 60;
const MAX_WAIT: u64 = 3600;

/// `agent-vault auth device`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Subcommand)]
enum DeviceCommand {
    /// Show what waits for a login under a code
    Show {
        /// The code that the device shows
        code: String,
        #[command(flatten)]
        output: Output,
    },
    /// Let the device in, as yourself
    Approve {
        /// The code that the device shows
        code: String,
        #[command(flatten)]
        yes: Yes,
    },
    /// Turn the device away
    Deny {
        /// The code that the device shows
        code: String,
    },
}

/// Logs in by a code that somebody approves elsewhere.
pub(super) async fn log_in(app: &App, connection: &Connection, label: String) -> Result {
    let call = Call::new(Method::POST, "/v1/auth/device").json(&json!({"device_label": label}));
    let started: DeviceStarted = connection.send(app, call).await?.json()?;
    app.ui.progress(&format!(
        "Open {} where you are logged in, and enter the code {}",
        crate::ui::clean(&started.verification_uri),
        crate::ui::clean(&started.user_code)
    ));
    app.ui.note(&format!(
        "or, on another machine: `agent-vault auth device approve {}`",
        crate::ui::clean(&started.user_code)
    ));
    let interval = Duration::from_secs(started.interval.clamp(MIN_INTERVAL, MAX_INTERVAL));
    let patience = Duration::from_secs(started.expires_in.min(MAX_WAIT));
    let body = json!({"device_code": started.device_code});
    let polling = async {
        loop {
            tokio::time::sleep(interval).await;
            let call = Call::new(Method::POST, "/v1/auth/device/token").json(&body);
            match connection.client.send(&call).await {
                Ok(reply) => return reply.json::<DeviceLoggedIn>(),
                Err(e) if e.is_code("authorization_pending") || e.status == 429 => {}
                Err(e) => return Err(CliError::from(e)),
            }
        }
    };
    let done = match tokio::time::timeout(patience, polling).await {
        Ok(done) => done?,
        Err(_) => {
            return Err(CliError::new("nobody approved the login in time")
                .hint("run the command again for a new code"));
        }
    };
    connection.save_login(
        SecretBytes::new(done.token.into_bytes()),
        &done.email,
        Some(label),
    )?;
    app.ui.success(&format!(
        "logged in to {} as {}",
        connection.place_name(),
        done.email
    ))
}

pub(super) async fn run(app: &App, address: Option<&str>, args: DeviceArgs) -> Result {
    let connection = Connection::open(app, address).await?;
    let device = |code: &str| ApiPath::new("/v1/auth/device").segment(code);
    match args.command {
        DeviceCommand::Show { code, output } => {
            let reply = connection.send(app, Call::get(device(&code))).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            show(app, &reply.json()?)
        }
        DeviceCommand::Approve { code, yes } => {
            let found: WaitingDevice = connection
                .send(app, Call::get(device(&code)))
                .await?
                .json()?;
            if !yes.yes {
                show(app, &found)?;
            }
            app.ui.confirm(
                "Approve it only if you started this login yourself. It will be able to do all that you can do. Go on?",
                yes.yes,
            )?;
            let path = device(&code).literal("/approve");
            connection.send(app, Call::new(Method::POST, path)).await?;
            app.ui.success("approved; the device is logged in as you")
        }
        DeviceCommand::Deny { code } => {
            let path = device(&code).literal("/deny");
            connection.send(app, Call::new(Method::POST, path)).await?;
            app.ui.success("denied")
        }
    }
}

fn show(app: &App, device: &WaitingDevice) -> Result {
    app.ui.field("Code", &device.user_code)?;
    app.ui.field("Device", &or_dash(&device.device_label))?;
    app.ui.field("Address", &or_dash(&device.ip))?;
    app.ui.field("Program", &or_dash(&device.user_agent))?;
    app.ui.field("Expires", &time(&device.expires_at))
}
