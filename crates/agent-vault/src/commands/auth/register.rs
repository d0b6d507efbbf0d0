//! `agent-vault auth register`.

use agent_vault_seal::SecretBytes;
use http::Method;
use serde_json::json;

use crate::cli::App;
use crate::client::Call;
use crate::client::types::Authenticated;
use crate::commands::{new_password, password_text};
use crate::error::{CliError, Result};

#[derive(clap::Args)]
pub(crate) struct RegisterArgs {
    /// Your e-mail
    #[arg(long)]
    email: Option<String>,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    /// What a new server printed at its start: lets its owner register from another machine
    #[arg(long, value_name = "TOKEN")]
    setup_token: Option<String>,
}

pub(super) async fn run(app: &App, address: Option<&str>, args: RegisterArgs) -> Result {
    let connection = super::connect(app, address)?;
    let email = super::email(app, args.email, args.password_stdin)?;
    let password = new_password(app, args.password_stdin, "New password")?;
    let label = super::device_label(None);
    let mut body =
        json!({"email": email, "password": password_text(&password)?, "device_label": label});
    if let (Some(token), Some(object)) = (&args.setup_token, body.as_object_mut()) {
        object.insert(String::from("setup_token"), json!(token));
    }
    let call = Call::new(Method::POST, "/v1/auth/register").json(&body);
    let mut answer: Authenticated = connection.send(app, call).await?.json()?;
    if answer.token.is_none() {
        app.ui.progress(
            answer
                .message
                .as_deref()
                .unwrap_or("the server wants to verify the e-mail"),
        );
        if !app.ui.is_interactive() || args.password_stdin {
            return app.ui.success(&format!(
                "registered; confirm the address with `agent-vault auth verify --address {} --email {email} --code …`",
                connection.place_name()
            ));
        }
        let code = app
            .ui
            .ask("Verification code", "agent-vault auth verify --code")?;
        answer = super::codes::send_code(app, &connection, &email, &code, &label).await?;
    }
    let Some(token) = answer.token else {
        return Err(
            CliError::new("the account exists, but the server did not log in")
                .hint("`agent-vault auth login`"),
        );
    };
    connection.save_login(SecretBytes::new(token.into_bytes()), &email, Some(label))?;
    let role = answer
        .role
        .map_or_else(String::new, |role| format!(" ({role})"));
    app.ui.success(&format!(
        "registered and logged in to {} as {email}{role}",
        connection.place_name()
    ))
}
