//! `agent-vault auth login`.

use crate::cli::App;
use crate::client::Call;
use crate::client::types::Status;
use crate::connect::{log_in, logged_in};
use crate::error::{CliError, Result};

#[derive(clap::Args)]
pub(crate) struct LoginArgs {
    /// Your e-mail
    #[arg(long)]
    email: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    /// A code of your authenticator app, or a recovery code
    #[arg(long, value_name = "CODE", conflicts_with = "device")]
    totp: Option<String>,
    /// Show a code that you approve where you are logged in, in a browser or on another machine
    #[arg(long, conflicts_with_all = ["email", "password_stdin"])]
    device: bool,
    /// What this login is called in `auth sessions list` [default: the host's name]
    #[arg(long, value_name = "LABEL")]
    device_label: Option<String>,
}

pub(super) async fn run(app: &App, address: Option<&str>, args: LoginArgs) -> Result {
    let connection = super::connect(app, address)?;
    let status: Status = connection
        .send(app, Call::get("/v1/status"))
        .await?
        .json()?;
    if !status.initialized {
        return Err(CliError::new(format!(
            "nobody has an account at {} yet",
            connection.place_name()
        ))
        .hint("create the owner with `agent-vault auth register`"));
    }
    let label = super::device_label(args.device_label);
    if args.device {
        return super::device::log_in(app, &connection, label).await;
    }
    let email = super::email(app, args.email, args.password_stdin)?;
    let password = if args.password_stdin {
        app.ui.read_secret_line()?
    } else {
        app.ui.ask_secret("Password", "--password-stdin")?
    };
    let token = super::codes::with_factor(app, args.totp, |factor| {
        let (client, email, password, label) = (&connection.client, &email, &password, &label);
        async move { log_in(client, email, password, factor.as_deref(), Some(label)).await }
    })
    .await?;
    let token = logged_in(&token)?;
    connection.save_login(token, &email, Some(label))?;
    app.ui.success(&format!(
        "logged in to {} as {email}",
        connection.place_name()
    ))
}
