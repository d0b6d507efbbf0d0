//! `agent-vault auth verify`, `resend`, `forgot-password` and `reset-password`: what is done with codes that go by mail.

use agent_vault_seal::SecretBytes;
use http::Method;
use serde_json::json;

use crate::cli::App;
use crate::client::types::{Authenticated, CodeAsked};
use crate::client::{ApiError, Call, Reply};
use crate::commands::{new_password, password_text};
use crate::connect::Connection;
use crate::error::{CliError, Result};

/// The word by which a server asks for a second factor.
pub(super) const SECOND_FACTOR: &str = "second_factor_required";

#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// Your e-mail
    #[arg(long)]
    email: Option<String>,
    /// The code that came by mail, or from an owner
    #[arg(long)]
    code: Option<String>,
    /// What this login is called in `auth sessions list` [default: the host's name]
    #[arg(long, value_name = "LABEL")]
    device_label: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct AskArgs {
    /// Your e-mail
    #[arg(long)]
    email: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct ResetArgs {
    /// Your e-mail
    #[arg(long)]
    email: Option<String>,
    /// The code that came by mail, or from an owner
    #[arg(long)]
    code: Option<String>,
    /// Read the new password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    /// A code of your authenticator app, or a recovery code
    #[arg(long, value_name = "CODE")]
    totp: Option<String>,
}

/// Confirms an address and logs in.
pub(super) async fn verify(app: &App, address: Option<&str>, args: VerifyArgs) -> Result {
    let connection = super::connect(app, address)?;
    let email = super::email(app, args.email, false)?;
    let code = match args.code {
        Some(code) => code,
        None => app.ui.ask("Verification code", "--code")?,
    };
    let label = super::device_label(args.device_label);
    let answer = send_code(app, &connection, &email, &code, &label).await?;
    save(app, &connection, answer, &email, label, "confirmed")
}

/// Sends a verification code.
pub(super) async fn send_code(
    app: &App,
    connection: &Connection,
    email: &str,
    code: &str,
    label: &str,
) -> Result<Authenticated> {
    let body = json!({"email": email, "code": code, "device_label": label});
    let call = Call::new(Method::POST, "/v1/auth/verify").json(&body);
    connection.send(app, call).await?.json()
}

/// Has another verification code sent.
pub(super) async fn resend(app: &App, address: Option<&str>, args: AskArgs) -> Result {
    ask(app, address, args, "/v1/auth/resend-verification").await
}

/// Has a code sent that sets a new password.
pub(super) async fn forgot(app: &App, address: Option<&str>, args: AskArgs) -> Result {
    ask(app, address, args, "/v1/auth/forgot-password").await?;
    app.ui
        .note("then: `agent-vault auth reset-password --email … --code …`");
    Ok(())
}

async fn ask(app: &App, address: Option<&str>, args: AskArgs, path: &'static str) -> Result {
    let connection = super::connect(app, address)?;
    let email = super::email(app, args.email, false)?;
    let call = Call::new(Method::POST, path).json(&json!({"email": email}));
    let asked: CodeAsked = connection.send(app, call).await?.json()?;
    app.ui.success(&asked.message)?;
    if !asked.email_sent {
        app.ui.note(
            "this server sends no mail: an owner sees the code with `agent-vault owner codes`",
        );
    }
    Ok(())
}

/// Sets a new password with a code and logs in.
pub(super) async fn reset(app: &App, address: Option<&str>, args: ResetArgs) -> Result {
    let connection = super::connect(app, address)?;
    let email = super::email(app, args.email, args.password_stdin)?;
    let code = match args.code {
        Some(code) => code,
        None => app.ui.ask("Code", "--code")?,
    };
    let password = new_password(app, args.password_stdin, "New password")?;
    let label = super::device_label(None);
    let reply = with_factor(app, args.totp, |factor| {
        let connection = &connection;
        let mut body = json!({"email": email, "code": code, "device_label": label});
        if let (Ok(password), Some(object)) = (password_text(&password), body.as_object_mut()) {
            object.insert(String::from("new_password"), json!(password));
            if let Some(factor) = factor {
                object.insert(String::from("totp_code"), json!(factor));
            }
        }
        async move {
            let call = Call::new(Method::POST, "/v1/auth/reset-password").json(&body);
            connection.client.send(&call).await
        }
    })
    .await?;
    let answer: Authenticated = reply.json()?;
    save(app, &connection, answer, &email, label, "new password set")
}

/// Sends with the second factor that was given; asks for one where the server wants it and a person is there.
pub(super) async fn with_factor<F>(
    app: &App,
    given: Option<String>,
    send: impl Fn(Option<String>) -> F,
) -> Result<Reply>
where
    F: Future<Output = std::result::Result<Reply, ApiError>>,
{
    let was_given = given.is_some();
    match send(given).await {
        Ok(reply) => Ok(reply),
        Err(e) if e.is_code(SECOND_FACTOR) && !was_given && app.ui.is_interactive() => {
            let code = app.ui.ask("Code of the authenticator app", "--totp")?;
            send(Some(code)).await.map_err(refused)
        }
        Err(e) => Err(refused(e)),
    }
}

/// A refusal of somebody who is not logged in: no advice to log in.
fn refused(error: ApiError) -> CliError {
    if error.is_code(SECOND_FACTOR) {
        return CliError::new(error.message().to_owned())
            .hint("give a code of the authenticator app, or a recovery code, with `--totp`");
    }
    if error.status == 401 {
        return CliError::new(error.message().to_owned());
    }
    error.into()
}

fn save(
    app: &App,
    connection: &Connection,
    answer: Authenticated,
    email: &str,
    label: String,
    what: &str,
) -> Result {
    let Some(token) = answer.token else {
        return Err(
            CliError::new("done, but the server did not log in").hint("`agent-vault auth login`")
        );
    };
    connection.save_login(SecretBytes::new(token.into_bytes()), email, Some(label))?;
    app.ui.success(&format!(
        "{what}; logged in to {} as {email}",
        connection.place_name()
    ))
}
