//! Why a request did not reach an upstream, or an answer did not come back.

use std::error::Error as StdError;
use std::fmt;

/// What failed, coarse enough to choose a status and a log code by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamErrorKind {
    /// The host's name has no address, or the resolver could not say.
    Resolve,
    /// Every address of the host lies where policy forbids to connect.
    Blocked,
    /// No permitted address accepted the connection.
    Connect,
    /// The TLS handshake failed; most often the certificate was not accepted.
    Tls,
    /// A step took longer than its limit.
    Timeout,
    /// The configured upstream proxy refused to open the tunnel, or asked for credentials that it was not given.
    ProxyRefused,
    /// The peer does not speak the protocol that was agreed on.
    Protocol,
    /// The peer closed the connection in the middle of an exchange.
    Closed,
    /// One of our own bounds on connections or lookups was reached.
    Busy,
}

/// What is wrong with an upstream's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// It has expired.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It was revoked.
    Revoked,
    /// No authority that is trusted stands behind it; it may have signed itself.
    UnknownIssuer,
    /// It is for other names.
    WrongName,
    /// It is not meant for servers.
    WrongPurpose,
    /// It is not signed by whom it names, is malformed, or was refused for another reason.
    Unacceptable,
}

/// Whether the request may have reached the upstream; decides if it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Certainly nothing of the request left: sending it again is safe whatever its method.
    NotSent,
    /// Some of it may have been acted upon: it is never repeated for the client.
    MaybeSent,
}

/// A failure on the way to, or at, an upstream.
///
/// `Display` is the public message: it names the host that the client itself asked for and what went wrong, never an
/// address that a name resolved to, a credential or a header. The cause below it ([`StdError::source`]) is for logs.
#[derive(Debug)]
pub struct UpstreamError {
    kind: UpstreamErrorKind,
    sent: Sent,
    message: String,
    hint: Option<&'static str>,
    certificate: Option<CertificateFault>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl UpstreamError {
    /// Builds an error; `message` is shown to the client.
    #[must_use]
    pub fn new(kind: UpstreamErrorKind, sent: Sent, message: impl Into<String>) -> Self {
        Self {
            kind,
            sent,
            message: message.into(),
            hint: None,
            certificate: None,
            source: None,
        }
    }

    /// Builds an error of the time before the request was written.
    #[must_use]
    pub(crate) fn unsent(kind: UpstreamErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, Sent::NotSent, message)
    }

    /// Adds the internal cause, for logs only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what can be done about it.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Says that the certificate was at fault.
    #[must_use]
    pub(crate) fn with_certificate(mut self, fault: CertificateFault) -> Self {
        self.certificate = Some(fault);
        self
    }

    /// What is wrong with the upstream's certificate, if that is why TLS failed.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateFault> {
        self.certificate
    }

    /// What failed.
    #[must_use]
    pub fn kind(&self) -> UpstreamErrorKind {
        self.kind
    }

    /// Whether the request may have reached the upstream.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Whether nothing of the request left, so that a retry cannot do anything twice.
    #[must_use]
    pub fn certainly_not_sent(&self) -> bool {
        self.sent == Sent::NotSent
    }

    /// What went wrong, for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What can be done about it, for the client or the operator.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for UpstreamError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| -> &(dyn StdError + 'static) { source })
    }
}
