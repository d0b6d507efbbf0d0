//! TLS to an upstream: who it must be, what is offered, and whose sessions are resumed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::{Authority, Host};
use quick_cache::sync::Cache;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use crate::error::{CertificateFault, UpstreamError, UpstreamErrorKind};
use crate::trust::Trust;

/// How many vaults' session stores are kept. At the limit the least useful one goes, and its vault makes full handshakes
/// for a while.
pub const MAX_TLS_PROFILES: usize = 256;

/// For how many hosts one vault's sessions are kept.
const SESSIONS_PER_VAULT: usize = 64;

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Which protocols the upstream is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlpnOffer {
    /// HTTP/2, else HTTP/1.1.
    Any,
    /// HTTP/1.1 only, as an `Upgrade` needs it.
    Http1,
    /// HTTP/2 only, as gRPC needs it; an upstream that does not take it is an error.
    Http2,
}

/// What the upstream chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Negotiated {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Client configurations, one profile per vault.
///
/// All share one verifier. Each vault has its own store of TLS sessions: a resumed session tells the upstream that two
/// connections come from one client, and no tenant should be linked to another that way.
pub struct TlsProfiles {
    trust: Trust,
    /// The configuration for the upstream proxy, which belongs to no vault.
    proxy: Arc<TlsProfile>,
    cache: Cache<Uuid, Arc<TlsProfile>>,
}

/// One vault's configurations: the same sessions, three offers.
struct TlsProfile {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl TlsProfiles {
    /// Profiles that verify by `trust`.
    ///
    /// # Errors
    /// [`UpstreamErrorKind::Tls`] when the provider supports none of our protocol versions.
    pub fn new(trust: Trust) -> Result<Self, UpstreamError> {
        let proxy = Arc::new(TlsProfile::new(&trust)?);
        Ok(Self {
            trust,
            proxy,
            cache: Cache::new(MAX_TLS_PROFILES),
        })
    }

    fn of_vault(&self, vault: Uuid) -> Result<Arc<TlsProfile>, UpstreamError> {
        self.cache
            .get_or_insert_with(&vault, || TlsProfile::new(&self.trust).map(Arc::new))
    }

    /// Makes a TLS client of `io` for `authority`, within `limit`.
    pub(crate) async fn handshake<S>(
        &self,
        vault: Uuid,
        authority: &Authority,
        offer: AlpnOffer,
        io: S,
        limit: Duration,
    ) -> Result<(TlsStream<S>, Option<Negotiated>), UpstreamError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let profile = self.of_vault(vault)?;
        let stream = shake(profile.config(offer), authority, io, limit).await?;
        let negotiated = match stream.get_ref().1.alpn_protocol() {
            Some(H2) => Some(Negotiated::Http2),
            Some(_) => Some(Negotiated::Http1),
            None => None,
        };
        if offer == AlpnOffer::Http2 && negotiated != Some(Negotiated::Http2) {
            return Err(UpstreamError::unsent(
                UpstreamErrorKind::Protocol,
                format!("`{authority}` does not speak HTTP/2, which this request needs"),
            ));
        }
        Ok((stream, negotiated))
    }

    /// Makes a TLS client of `io` for the operator's proxy at `authority`, within `limit`.
    pub(crate) async fn handshake_with_proxy<S>(
        &self,
        authority: &Authority,
        io: S,
        limit: Duration,
    ) -> Result<TlsStream<S>, UpstreamError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        shake(self.proxy.config(AlpnOffer::Http1), authority, io, limit).await
    }
}

impl fmt::Debug for TlsProfiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsProfiles")
            .field("trust", &self.trust)
            .field("cached", &self.cache.len())
            .finish_non_exhaustive()
    }
}

impl TlsProfile {
    fn new(trust: &Trust) -> Result<Self, UpstreamError> {
        let mut base = ClientConfig::builder_with_provider(Arc::clone(&trust.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| {
                UpstreamError::unsent(UpstreamErrorKind::Tls, "TLS could not be set up")
                    .with_source(error)
            })?
            // "Dangerous" is a verifier of one's own choice; this one is the platform's or webpki's, never a laxer one.
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&trust.verifier))
            .with_no_client_auth();
        base.resumption = Resumption::in_memory_sessions(SESSIONS_PER_VAULT);
        base.enable_early_data = false;
        let with = |protocols: &[&[u8]]| {
            let mut config = base.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self {
            any: with(&[H2, HTTP1]),
            http1: with(&[HTTP1]),
            http2: with(&[H2]),
        })
    }

    fn config(&self, offer: AlpnOffer) -> Arc<ClientConfig> {
        Arc::clone(match offer {
            AlpnOffer::Any => &self.any,
            AlpnOffer::Http1 => &self.http1,
            AlpnOffer::Http2 => &self.http2,
        })
    }
}

async fn shake<S>(
    config: Arc<ClientConfig>,
    authority: &Authority,
    io: S,
    limit: Duration,
) -> Result<TlsStream<S>, UpstreamError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = server_name(authority.host()).map_err(|error| {
        UpstreamError::unsent(
            UpstreamErrorKind::Tls,
            format!(
                "no certificate can be checked against the name `{}`",
                authority.host()
            ),
        )
        .with_source(error)
    })?;
    let handshake = TlsConnector::from(config).connect(name, io);
    match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(describe(authority, error)),
        Err(_) => Err(UpstreamError::unsent(
            UpstreamErrorKind::Timeout,
            format!("`{authority}` did not complete the TLS handshake in time"),
        )),
    }
}

/// The name that the certificate must carry: an address as an address (RFC 9525, section 6.5), else the DNS name.
fn server_name(host: &Host) -> Result<ServerName<'static>, InvalidDnsNameError> {
    match host.ip() {
        Some(ip) => Ok(ServerName::IpAddress(ip.into())),
        None => ServerName::try_from(host.as_str().to_owned()),
    }
}

/// Puts a failed handshake in words that tell the client whose fault it is.
fn describe(authority: &Authority, error: std::io::Error) -> UpstreamError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let failed = |what: String| UpstreamError::unsent(UpstreamErrorKind::Tls, what);
    let described = match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let fault = CertificateFault::of(reason);
            let (why, hint) = fault.words();
            failed(format!("the certificate of `{authority}` {why}"))
                .with_certificate(fault)
                .with_hint(hint)
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            failed(format!("`{authority}` presented no certificate"))
        }
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => failed(
            format!("`{authority}` speaks none of the HTTP versions that it was offered"),
        ),
        Some(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        )) => failed(format!("`{authority}` refused the TLS handshake")).with_hint(
            "the upstream may demand a client certificate, or offer no cipher that is safe",
        ),
        Some(rustls::Error::InvalidMessage(_)) => {
            failed(format!("`{authority}` does not speak TLS"))
                .with_hint("use `http://` if the upstream is plain HTTP")
        }
        _ => failed(format!("the TLS handshake with `{authority}` failed"))
            .with_hint("the upstream ended the handshake; it may be down, or not speak TLS there"),
    };
    described.with_source(error)
}

impl CertificateFault {
    fn of(reason: &CertificateError) -> Self {
        match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            _ => Self::Unacceptable,
        }
    }

    /// What the certificate is or has, and what to do about it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Expired => (
                "has expired",
                "the upstream's operator has to renew it; or the clock of the machine that runs Agent Vault is wrong",
            ),
            Self::NotYetValid => (
                "is not valid yet",
                "check the clock of the machine that runs Agent Vault",
            ),
            Self::Revoked => (
                "was revoked",
                "do not send secrets there; ask the upstream's operator",
            ),
            Self::UnknownIssuer => (
                "is signed by an authority that is not trusted",
                "if the upstream uses a private authority, the operator may add its CA with --upstream-ca or AGENT_VAULT_UPSTREAM_CA",
            ),
            Self::WrongName => (
                "is for another name",
                "use a name that stands in the certificate; if this one should, somebody else may be answering",
            ),
            Self::WrongPurpose => (
                "is not meant for servers",
                "the upstream's operator has to get one for server authentication",
            ),
            Self::Unacceptable => (
                "was not accepted",
                "the upstream's operator has to replace it",
            ),
        }
    }
}
