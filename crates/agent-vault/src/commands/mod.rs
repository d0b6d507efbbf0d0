//! One file per command, one folder per noun.

pub(crate) mod account;
pub(crate) mod agent;
mod agent_token;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod ca;
pub(crate) mod catalog;
pub(crate) mod completions;
pub(crate) mod key;
pub(crate) mod master_password;
pub(crate) mod owner;
pub(crate) mod profile;
pub(crate) mod reference;
pub(crate) mod server;
pub(crate) mod skill;
pub(crate) mod status;
pub(crate) mod totp;
pub(crate) mod user;
pub(crate) mod vault;
pub(crate) mod version;
pub(crate) mod webhook;

use crate::cli::App;
use crate::error::{CliError, Result};

/// The smallest password of a person, in bytes.
const MIN_PASSWORD_BYTES: usize = 8;

/// A new password for a person: typed twice, or one line of stdin.
pub(crate) fn new_password(
    app: &App,
    from_stdin: bool,
    question: &str,
) -> Result<agent_vault_seal::SecretBytes> {
    let password = if from_stdin {
        app.ui.read_secret_line()?
    } else {
        app.ui.ask_new_secret(question, "--password-stdin")?
    };
    check_password(&password)?;
    Ok(password)
}

/// Refuses a password that the server would refuse.
pub(crate) fn check_password(password: &agent_vault_seal::SecretBytes) -> Result {
    if password.expose().len() < MIN_PASSWORD_BYTES {
        return Err(CliError::new(format!(
            "the password must have at least {MIN_PASSWORD_BYTES} characters"
        )));
    }
    password
        .expose_str()
        .map(|_| ())
        .map_err(|_| CliError::new("the password is not valid UTF-8"))
}

/// The password as text for a JSON body.
pub(crate) fn password_text(password: &agent_vault_seal::SecretBytes) -> Result<&str> {
    password
        .expose_str()
        .map_err(|_| CliError::new("the password is not valid UTF-8"))
}

/// A timestamp as tables show it: `YYYY-MM-DD hh:mm:ss` in UTC; what is no timestamp stays as it is.
pub(crate) fn time(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(
        |_| text.to_owned(),
        |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A word, or `-` where there is none.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() {
        String::from("-")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_short_and_strangers_stay() {
        assert_eq!(super::time("2026-01-02T03:04:05Z"), "2026-01-02 03:04:05");
        assert_eq!(super::time(""), "");
        assert_eq!(super::time("soon"), "soon");
    }
}
