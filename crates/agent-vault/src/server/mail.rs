//! The way to people: what `control` wants mailed, handed to the mail server that is configured.

use std::sync::Arc;

use agent_vault_control::{Mail, MailError, Mailer, Sending};
use agent_vault_mail::{Letter, MailServer, Smtp};
use agent_vault_policy::EgressPolicy;
use agent_vault_upstream::{
    CachingResolver, Dialer, DialerOptions, ExtraRoots, Limits, SystemResolver, Trust,
    TrustEnvironment, TrustOptions,
};

use super::{StartError, outbound};
use crate::config::ServerConfig;
use crate::error::CliError;

/// The mailer, where a mail server is configured.
pub(super) fn mailer(
    config: &ServerConfig,
    extra: ExtraRoots,
) -> Result<Option<Arc<dyn Mailer>>, StartError> {
    let smtp = &config.smtp;
    let (Some(host), Some(from)) = (&smtp.host.value, &smtp.from.value) else {
        return Ok(None);
    };
    let wrong = |error: &dyn std::fmt::Display| {
        StartError::new(CliError::new(format!(
            "mail cannot be set up ({}): {error}",
            smtp.host.origin
        )))
    };
    let trust = Trust::load(&TrustOptions {
        extra,
        own_root_pem: None,
        environment: TrustEnvironment::of_this_process(),
    })
    .map_err(|error| wrong(&error))?;
    let tls = if smtp.skip_verify.value {
        tracing::warn!(
            "the mail server's certificate is not verified: AGENT_VAULT_SMTP_TLS_SKIP_VERIFY is set"
        );
        trust.danger_unverified_client_config()
    } else {
        trust.client_config()
    }
    .map_err(|error| wrong(&error))?;
    let dialer = Dialer::new(DialerOptions {
        resolver: Arc::new(CachingResolver::new(Arc::new(SystemResolver::new()))),
        // The operator named this host, no agent did: it may be in a private network. Metadata services stay out of reach.
        egress: EgressPolicy {
            allow_private: true,
            allow: Vec::new(),
        },
        trust,
        proxy: outbound::proxy(config)?,
        limits: Limits::default(),
    })
    .map_err(|error| wrong(&error))?;
    let login = match (&smtp.username.value, &smtp.password) {
        (Some(user), Some(password)) => Some((user.clone(), password.duplicate())),
        _ => None,
    };
    let server = MailServer {
        host: host.clone(),
        port: smtp.port.value,
        tls: smtp.tls.value.0,
        login,
        from: from.clone(),
        from_name: smtp.from_name.value.clone(),
        hello: this_machine(),
    };
    let smtp = Smtp::new(server, dialer, Arc::new(tls)).map_err(|error| wrong(&error))?;
    Ok(Some(Arc::new(PostOffice(smtp))))
}

struct PostOffice(Smtp);

impl Mailer for PostOffice {
    fn send(&self, mail: Mail) -> Sending<'_> {
        Box::pin(async move {
            let letter = Letter {
                to: mail.to,
                subject: mail.subject,
                text: mail.text,
                html: mail.html,
            };
            self.0
                .send(&letter)
                .await
                .map_err(|error| MailError(error.to_string()))
        })
    }
}

/// How we introduce ourselves (RFC 5321 section 4.1.1.1): this machine's name, or that of every machine.
fn this_machine() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    if is_name {
        name
    } else {
        String::from("localhost")
    }
}
