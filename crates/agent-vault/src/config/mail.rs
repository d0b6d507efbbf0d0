//! The mail server's settings.

use std::fmt;
use std::sync::Arc;

use agent_vault_seal::SecretBytes;

use super::layers::{Layers, Setting};
use super::secrets::secret_in;
use super::values::{self, Parsed};
use crate::env_vars as vars;
use crate::error::{CliError, Result};

/// The mail server, as set from outside the database.
#[derive(Debug, Clone)]
pub(crate) struct SmtpConfig {
    pub(crate) host: Setting<Option<String>>,
    pub(crate) port: Setting<u16>,
    pub(crate) username: Setting<Option<String>>,
    /// Printed by nobody.
    pub(crate) password: Option<Arc<SecretBytes>>,
    pub(crate) from: Setting<Option<String>>,
    pub(crate) from_name: Setting<String>,
    pub(crate) tls: Setting<SmtpTls>,
    pub(crate) skip_verify: Setting<bool>,
}

/// Whether mail travels inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SmtpTls(pub(crate) agent_vault_mail::TlsMode);

impl fmt::Display for SmtpTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            agent_vault_mail::TlsMode::Opportunistic => "opportunistic",
            agent_vault_mail::TlsMode::Required => "required",
            agent_vault_mail::TlsMode::None => "none",
        })
    }
}

fn smtp_tls(text: &str) -> Parsed<SmtpTls> {
    Ok(SmtpTls(match text {
        "opportunistic" => agent_vault_mail::TlsMode::Opportunistic,
        "required" => agent_vault_mail::TlsMode::Required,
        "none" => agent_vault_mail::TlsMode::None,
        _ => return Err(String::from("give `opportunistic`, `required` or `none`")),
    }))
}

/// The mail server; a part of it alone is an error rather than mail that never goes out.
pub(super) fn smtp(layers: &Layers<'_>) -> Result<SmtpConfig> {
    let text = |text: &str| Ok(Some(text.to_owned()));
    let smtp = SmtpConfig {
        host: layers.plain("smtp_host", &vars::SMTP_HOST, text, || None)?,
        port: layers.plain("smtp_port", &vars::SMTP_PORT, values::port, || 587)?,
        username: layers.plain("smtp_username", &vars::SMTP_USERNAME, text, || None)?,
        password: secret_in(layers.env, &vars::SMTP_PASSWORD, &vars::SMTP_PASSWORD_FILE)?
            .map(Arc::new),
        from: layers.plain("smtp_from", &vars::SMTP_FROM, text, || None)?,
        from_name: layers.plain(
            "smtp_from_name",
            &vars::SMTP_FROM_NAME,
            |text| Ok(text.to_owned()),
            || String::from("Agent Vault"),
        )?,
        tls: layers.plain("smtp_tls_mode", &vars::SMTP_TLS_MODE, smtp_tls, || {
            SmtpTls(agent_vault_mail::TlsMode::Opportunistic)
        })?,
        skip_verify: layers.plain(
            "smtp_tls_skip_verify",
            &vars::SMTP_TLS_SKIP_VERIFY,
            values::boolean,
            || false,
        )?,
    };
    if smtp.host.value.is_some() != smtp.from.value.is_some() {
        return Err(CliError::new(format!(
            "{} and {} go together: mail needs both",
            vars::SMTP_HOST.name,
            vars::SMTP_FROM.name
        )));
    }
    if smtp.username.value.is_some() != smtp.password.is_some() {
        return Err(CliError::new(format!(
            "{} and {} go together",
            vars::SMTP_USERNAME.name,
            vars::SMTP_PASSWORD.name
        )));
    }
    Ok(smtp)
}
