//! [`Smtp`]: from a letter to a mail server that has taken it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::{Authority, Host, Scheme};
use agent_vault_seal::SecretBytes;
use agent_vault_upstream::{AlpnOffer, DialRequest, Dialer, Stream, UpstreamError};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Starttls;
use lettre::transport::smtp::extension::ClientId;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use crate::Letter;
use crate::letter::Sender;
use crate::link::{Clear, Secure};

/// Longest that one letter may take, from the name of the mail server to its last word.
const PATIENCE: Duration = Duration::from_secs(45);
/// The port on which TLS begins with the first byte (RFC 8314 section 3.3).
const IMPLICIT_TLS_PORT: u16 = 465;

/// Whether letters travel inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Where the server offers it.
    #[default]
    Opportunistic,
    /// Always; a server that does not offer it gets nothing.
    Required,
    /// Never, but on port 465, which speaks nothing else.
    None,
}

/// The mail server, as configured.
#[derive(Debug)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// Port; 465 is TLS from the first byte on.
    pub port: u16,
    /// Whether letters travel inside TLS.
    pub tls: TlsMode,
    /// User name and password.
    pub login: Option<(String, SecretBytes)>,
    /// Address that letters are from.
    pub from: String,
    /// The name beside it.
    pub from_name: String,
    /// How we introduce ourselves: this machine's name.
    pub hello: String,
}

/// Why a letter was not taken. Says nothing of the letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SmtpError(String);

impl SmtpError {
    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn letter(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<lettre::transport::smtp::Error> for SmtpError {
    fn from(error: lettre::transport::smtp::Error) -> Self {
        Self(format!("the mail server: {error}"))
    }
}

impl From<UpstreamError> for SmtpError {
    fn from(error: UpstreamError) -> Self {
        Self(match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        })
    }
}

/// Hands letters to a mail server, each over a connection of its own.
pub struct Smtp {
    dialer: Dialer,
    tls: Arc<ClientConfig>,
    authority: Authority,
    mode: TlsMode,
    login: Option<(String, SecretBytes)>,
    from: Sender,
    hello: ClientId,
}

impl Smtp {
    /// Puts together how letters are sent; sends nothing yet.
    ///
    /// # Errors
    /// A host, port or sender that cannot be one.
    pub fn new(
        server: MailServer,
        dialer: Dialer,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, SmtpError> {
        let host = Host::parse(&server.host)
            .map_err(|error| SmtpError::config(format!("`{}`: {error}", server.host)))?;
        Ok(Self {
            dialer,
            tls,
            authority: Authority::new(host, server.port),
            mode: server.tls,
            login: server.login,
            from: Sender::new(&server.from_name, &server.from)?,
            hello: ClientId::Domain(server.hello),
        })
    }

    /// Sends one letter.
    ///
    /// # Errors
    /// What stood in the way, in words for the operator: no way to the server, no TLS where it is required, a refused login, a
    /// refused letter, or too long a wait.
    pub async fn send(&self, letter: &Letter) -> Result<(), SmtpError> {
        let message = letter.message(&self.from)?;
        match tokio::time::timeout(PATIENCE, self.deliver(&message)).await {
            Ok(sent) => sent,
            Err(_) => Err(SmtpError(format!(
                "the mail server did not take the letter within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    async fn deliver(&self, message: &lettre::Message) -> Result<(), SmtpError> {
        let (mut conversation, encrypted) = self.begin().await?;
        if let Some((user, password)) = &self.login {
            if !encrypted {
                return Err(SmtpError(
                    "the mail server offers no TLS, and a password is not sent in clear".to_owned(),
                ));
            }
            let password = password
                .expose_str()
                .map_err(|_| SmtpError("the password is not valid UTF-8".to_owned()))?;
            let login = Credentials::new(user.clone(), password.to_owned());
            conversation
                .auth(&[Mechanism::Plain, Mechanism::Login], &login)
                .await?;
        }
        conversation
            .send(message.envelope(), &message.formatted())
            .await?;
        // It has taken the letter; how it says goodbye changes nothing.
        conversation.abort().await;
        Ok(())
    }

    /// A conversation that has introduced itself, and whether it is inside TLS.
    async fn begin(&self) -> Result<(AsyncSmtpConnection, bool), SmtpError> {
        let dialed = self
            .dialer
            .dial(DialRequest {
                scheme: Scheme::Http,
                authority: &self.authority,
                alpn: AlpnOffer::Http1,
                vault: Uuid::nil(),
            })
            .await?;
        let peer = dialed.peer;
        if self.authority.port() == IMPLICIT_TLS_PORT {
            let link = Secure::from_the_start(self.secure(dialed.io).await?, peer);
            let conversation =
                AsyncSmtpConnection::connect_with_transport(Box::new(link), &self.hello).await?;
            return Ok((conversation, true));
        }
        let clear = Clear::new(dialed.io, peer);
        let mut conversation =
            AsyncSmtpConnection::connect_with_transport(Box::new(clear.clone()), &self.hello)
                .await?;
        match (self.mode, conversation.can_starttls()) {
            (TlsMode::None, _) | (TlsMode::Opportunistic, false) => Ok((conversation, false)),
            (TlsMode::Required, false) => Err(SmtpError(
                "the mail server offers no TLS (STARTTLS), which is required".to_owned(),
            )),
            (TlsMode::Opportunistic | TlsMode::Required, true) => {
                conversation.command(Starttls).await?;
                // What else was said in clear goes with the old conversation.
                let stream = clear
                    .take()
                    .ok_or_else(|| SmtpError("the connection is gone".to_owned()))?;
                drop(conversation);
                let link = Secure::after_starttls(self.secure(stream).await?, peer);
                let conversation =
                    AsyncSmtpConnection::connect_with_transport(Box::new(link), &self.hello)
                        .await?;
                Ok((conversation, true))
            }
        }
    }

    async fn secure(&self, stream: Stream) -> Result<TlsStream<Stream>, SmtpError> {
        let name = self.authority.host().to_string();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| SmtpError(format!("`{name}` cannot be in a certificate")))?;
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(|error| SmtpError(format!("TLS with the mail server failed: {error}")))
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp")
            .field("server", &self.authority)
            .field("tls", &self.mode)
            .field("login", &self.login.is_some())
            .finish_non_exhaustive()
    }
}
