//! `agent-vault auth login`.

use crate::cli::App;
use crate::client::Call;
use crate::client::types::Status;
use crate::connect::log_in;
use crate::error::{CliError, Result};

#[derive(clap::Args)]
pub(crate) struct LoginArgs {
    /// Your e-mail
    #[arg(long)]
    email: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
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
    let email = super::email(app, args.email, args.password_stdin)?;
    let password = if args.password_stdin {
        app.ui.read_secret_line()?
    } else {
        app.ui.ask_secret("Password", "--password-stdin")?
    };
    let label = super::device_label(args.device_label);
    let token = log_in(&connection.client, &email, &password, Some(&label)).await?;
    connection.save_login(token, &email, Some(label))?;
    app.ui.success(&format!(
        "logged in to {} as {email}",
        connection.place_name()
    ))
}
