//! `agent-vault auth accept-invite`.

use http::Method;
use serde_json::json;

use crate::cli::App;
use crate::client::types::{InviteAccepted, InviteFound};
use crate::client::{ApiPath, Call};
use crate::commands::{new_password, password_text};
use crate::error::{CliError, Result};

#[derive(clap::Args)]
pub(crate) struct AcceptArgs {
    /// The link of the invitation, or the token at its end
    link: String,
    /// Read the password of the new account from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(app: &App, address: Option<&str>, args: AcceptArgs) -> Result {
    // A link names its server.
    let (server, token) = match args.link.rsplit_once("/invite/") {
        Some((server, token)) => (Some(server), token),
        None => (None, args.link.as_str()),
    };
    let connection = super::connect(app, address.or(server))?;
    let invite = |what| {
        ApiPath::new("/v1/users/invites")
            .segment(token)
            .literal(what)
    };
    let found: InviteFound = connection
        .send(app, Call::get(invite("/details")))
        .await?
        .json()?;
    if found.error {
        return Err(CliError::new(found.error_message));
    }
    let mut call = Call::new(Method::POST, invite("/accept"));
    if found.needs_account {
        let question = format!("Password for the new account {}", found.email);
        let password = new_password(app, args.password_stdin, &question)?;
        call = call.json(&json!({"password": password_text(&password)?}));
    }
    let accepted: InviteAccepted = connection.send(app, call).await?.json()?;
    app.ui.success(&format!(
        "{}: {}; log in with `agent-vault auth login --address {} --email {}`",
        accepted.message.to_lowercase(),
        accepted.email,
        connection.place_name(),
        accepted.email
    ))
}
