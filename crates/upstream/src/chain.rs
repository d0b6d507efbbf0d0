//! A proxy of the operator's between us and the internet (HTTP `CONNECT`, RFC 9110 section 9.3.6).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use agent_vault_policy::{Authority, Host, HostError, Scheme};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::Url;
use zeroize::Zeroizing;

use crate::error::{UpstreamError, UpstreamErrorKind};
use crate::stream::Leg;

/// How many exceptions a [`NoProxy`] list may have.
pub const MAX_NO_PROXY_ENTRIES: usize = 1024;

/// The largest head that the proxy may answer with, in bytes, and the most fields in it.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
const MAX_ANSWER_FIELDS: usize = 64;

/// Who looks up the names of upstreams behind the proxy. Address literals are always judged here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetNames {
    /// Looked up here as well, and refused when any address is forbidden. A name that cannot be looked up here is left to
    /// the proxy, as is the choice of the address. The default, as it works wherever the proxy does.
    #[default]
    Checked,
    /// Looked up here, and the proxy is given a guarded address. What was checked is what the proxy dials; but it sees no
    /// names, and nothing works where only the proxy can look them up.
    Pinned,
    /// Never looked up here: the proxy alone decides what a name may lead to. `localhost` is still judged as loopback.
    Proxied,
}

/// The proxy and how to use it.
///
/// Its own address is exempt from the guard: an operator configured it, and it is mostly a private one.
#[derive(Clone)]
pub struct UpstreamProxy {
    scheme: Scheme,
    authority: Authority,
    credentials: Option<ProxyCredentials>,
    no_proxy: NoProxy,
    target_names: TargetNames,
}

/// What is wrong with the configuration of the proxy. Never carries the user or the password.
#[derive(Debug, thiserror::Error)]
pub enum ProxyConfigError {
    /// Not a URL, or one of a kind that has no host.
    #[error("the upstream proxy must be a URL such as `http://proxy.example.com:3128`")]
    Url,
    /// A scheme other than `http` or `https`.
    #[error("the upstream proxy's scheme must be `http` or `https`, not `{0}`")]
    Scheme(String),
    /// A host that cannot be one.
    #[error("the upstream proxy's host is not usable: {0}")]
    Host(#[from] HostError),
    /// More than an authority.
    #[error("the upstream proxy's URL must have no path, query or fragment")]
    Extra,
    /// A user with a colon, or control characters in user or password.
    #[error(
        "the upstream proxy's credentials hold characters that Basic authentication cannot carry"
    )]
    Credentials,
    /// An exception that is neither a host, a suffix, an address nor a network.
    #[error("`{entry}` (number {number}) is not a host, suffix, address or network")]
    NoProxy {
        /// The entry as written.
        entry: String,
        /// Which one, counted from one.
        number: usize,
    },
    /// Too many exceptions.
    #[error("more than 1024 exceptions from the upstream proxy")]
    TooMany,
}

impl UpstreamProxy {
    /// Reads `http://[user:password@]host[:port]`, or `https://…` for a proxy that itself speaks TLS. The port is 80 or
    /// 443 when absent. User and password may be percent-encoded.
    ///
    /// # Errors
    /// [`ProxyConfigError`]; its text can be shown.
    pub fn parse(url: &str) -> Result<Self, ProxyConfigError> {
        let url = Url::parse(url.trim()).map_err(|_| ProxyConfigError::Url)?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(ProxyConfigError::Scheme(other.to_owned())),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyConfigError::Extra);
        }
        let host = url.host_str().ok_or(ProxyConfigError::Url)?;
        let host = Host::parse(host.trim_start_matches('[').trim_end_matches(']'))?;
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let authority = Authority::new(host, port.ok_or(ProxyConfigError::Url)?);
        let credentials = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let decode = |part: &str| {
                percent_decode_str(part)
                    .decode_utf8()
                    .map(|text| Zeroizing::new(text.into_owned()))
                    .map_err(|_| ProxyConfigError::Credentials)
            };
            let user = decode(url.username())?;
            let password = decode(url.password().unwrap_or_default())?;
            Some(ProxyCredentials::basic(&user, &password)?)
        };
        Ok(Self {
            scheme,
            authority,
            credentials,
            no_proxy: NoProxy::default(),
            target_names: TargetNames::default(),
        })
    }

    /// Sets credentials that were kept apart from the URL; they replace those in it.
    #[must_use]
    pub fn with_credentials(mut self, credentials: ProxyCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets the exceptions.
    #[must_use]
    pub fn with_no_proxy(mut self, no_proxy: NoProxy) -> Self {
        self.no_proxy = no_proxy;
        self
    }

    /// Sets who looks up names.
    #[must_use]
    pub fn with_target_names(mut self, target_names: TargetNames) -> Self {
        self.target_names = target_names;
        self
    }

    /// Where the proxy is.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn target_names(&self) -> TargetNames {
        self.target_names
    }

    /// Whether `target` goes through the proxy.
    pub(crate) fn applies_to(&self, target: &Authority) -> bool {
        !self.no_proxy.contains(target)
    }

    /// Asks the proxy on `leg` for a tunnel to `target`, which is named in errors as `shown`.
    pub(crate) async fn open_tunnel(
        &self,
        leg: Leg,
        target: &Authority,
        shown: &Authority,
        limit: Duration,
    ) -> Result<Leg, UpstreamError> {
        match tokio::time::timeout(limit, self.exchange(leg, target, shown)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(UpstreamError::unsent(
                UpstreamErrorKind::Timeout,
                format!("the upstream proxy did not open a tunnel to `{shown}` in time"),
            )),
        }
    }

    async fn exchange(
        &self,
        leg: Leg,
        target: &Authority,
        shown: &Authority,
    ) -> Result<Leg, UpstreamError> {
        let broken = |error: hyper::Error| {
            let kind = if error.is_incomplete_message() || error.is_closed() || error.is_canceled()
            {
                UpstreamErrorKind::Closed
            } else {
                UpstreamErrorKind::Protocol
            };
            UpstreamError::unsent(
                kind,
                format!("the upstream proxy broke off before the tunnel to `{shown}` was open"),
            )
            .with_source(error)
        };
        let request = self.connect_request(target).map_err(|error| {
            UpstreamError::unsent(
                UpstreamErrorKind::Protocol,
                "the request to the upstream proxy could not be written",
            )
            .with_source(error)
        })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_ANSWER_BYTES)
            .max_headers(MAX_ANSWER_FIELDS)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(leg))
            .await
            .map_err(broken)?;

        let ask = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            if !response.status().is_success() {
                return Err(self.refused(response.status(), shown));
            }
            hyper::upgrade::on(response).await.map_err(broken)
        };
        let connection = connection.with_upgrades();
        tokio::pin!(ask, connection);
        let mut connected = true;
        let upgraded = loop {
            tokio::select! {
                biased;
                outcome = &mut ask => break outcome?,
                // What ends the connection also ends the question, which then reports it.
                ended = &mut connection, if connected => {
                    connected = false;
                    if let Err(error) = ended {
                        tracing::debug!(%error, "the connection to the upstream proxy ended");
                    }
                }
            }
        };

        let garbled = || {
            UpstreamError::unsent(
                UpstreamErrorKind::Protocol,
                "the upstream proxy sent bytes into a tunnel that was not used yet",
            )
        };
        let parts = upgraded.downcast::<TokioIo<Leg>>().map_err(|_| garbled())?;
        if !parts.read_buf.is_empty() {
            return Err(garbled());
        }
        Ok(parts.io.into_inner())
    }

    fn connect_request(&self, target: &Authority) -> Result<Request<Empty<Bytes>>, http::Error> {
        let authority = target.to_string();
        let uri = Uri::builder().authority(authority.as_str()).build()?;
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(uri)
            .header(HOST, authority)
            .header(USER_AGENT, "agent-vault")
            .body(Empty::new())?;
        if let Some(credentials) = &self.credentials {
            request
                .headers_mut()
                .insert(PROXY_AUTHORIZATION, credentials.header()?);
        }
        Ok(request)
    }

    fn refused(&self, status: StatusCode, shown: &Authority) -> UpstreamError {
        let code = status.as_u16();
        let (message, hint) = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            if self.credentials.is_some() {
                (
                    "the upstream proxy refused the configured credentials (407)".to_owned(),
                    "the operator has to correct the upstream proxy's user and password",
                )
            } else {
                (
                    "the upstream proxy asks for credentials (407)".to_owned(),
                    "the operator has to configure the upstream proxy's user and password",
                )
            }
        } else {
            (
                format!("the upstream proxy refused a tunnel to `{shown}` ({code})"),
                "the upstream proxy's own rules or logs say why",
            )
        };
        UpstreamError::unsent(UpstreamErrorKind::ProxyRefused, message).with_hint(hint)
    }
}

impl fmt::Debug for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamProxy")
            .field("scheme", &self.scheme.as_str())
            .field("authority", &self.authority)
            .field("credentials", &self.credentials)
            .field("no_proxy", &self.no_proxy)
            .field("target_names", &self.target_names)
            .finish()
    }
}

/// A user and a password for the proxy, already in the form that Basic authentication sends (RFC 7617).
#[derive(Clone)]
pub struct ProxyCredentials {
    header: Zeroizing<String>,
}

impl ProxyCredentials {
    /// Encodes a user and a password.
    ///
    /// # Errors
    /// [`ProxyConfigError::Credentials`] when the user holds a colon or either holds a control character.
    pub fn basic(user: &str, password: &str) -> Result<Self, ProxyConfigError> {
        if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
            return Err(ProxyConfigError::Credentials);
        }
        let mut plain = Zeroizing::new(String::with_capacity(user.len() + 1 + password.len()));
        plain.push_str(user);
        plain.push(':');
        plain.push_str(password);
        let mut header = Zeroizing::new(String::with_capacity(6 + plain.len().div_ceil(3) * 4));
        header.push_str("Basic ");
        STANDARD.encode_string(plain.as_bytes(), &mut header);
        Ok(Self { header })
    }

    fn header(&self) -> Result<HeaderValue, http::Error> {
        let mut value = HeaderValue::from_str(&self.header)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Upstreams that are reached without the proxy, in the manner of `NO_PROXY`.
///
/// Comma-separated: `*`, `example.com` (the name and everything under it), `.example.com` (the same), `192.0.2.1`,
/// `2001:db8::/32`, each but the networks optionally with `:port`. Networks match address literals only; nothing is looked
/// up for a match.
#[derive(Debug, Clone, Default)]
pub struct NoProxy {
    entries: Vec<Exception>,
}

#[derive(Debug, Clone)]
enum Exception {
    Everything,
    Network(IpNet),
    Host { host: Host, port: Option<u16> },
}

impl NoProxy {
    /// Reads a list.
    ///
    /// # Errors
    /// [`ProxyConfigError::NoProxy`] for the first entry that means nothing, [`ProxyConfigError::TooMany`].
    pub fn parse(list: &str) -> Result<Self, ProxyConfigError> {
        let mut entries = Vec::new();
        let written = list
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty());
        for (index, entry) in written.enumerate() {
            if index >= MAX_NO_PROXY_ENTRIES {
                return Err(ProxyConfigError::TooMany);
            }
            entries.push(
                Exception::parse(entry).ok_or_else(|| ProxyConfigError::NoProxy {
                    entry: entry.chars().take(64).collect(),
                    number: index + 1,
                })?,
            );
        }
        Ok(Self { entries })
    }

    /// Whether `target` is one of the exceptions.
    #[must_use]
    pub fn contains(&self, target: &Authority) -> bool {
        self.entries.iter().any(|entry| entry.matches(target))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            return Some(Self::Network(network.trunc()));
        }
        let bare = entry
            .strip_prefix("*.")
            .or_else(|| entry.strip_prefix('.'))
            .unwrap_or(entry);
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        if let Ok(ip) = bare.trim_matches(['[', ']']).parse::<IpAddr>() {
            let host = Host::parse(&ip.to_string()).ok()?;
            return Some(Self::Host { host, port: None });
        }
        if let Ok(authority) = Authority::parse(bare) {
            return Some(Self::Host {
                host: authority.host().clone(),
                port: Some(authority.port()),
            });
        }
        let host = Host::parse(bare).ok()?;
        Some(Self::Host { host, port: None })
    }

    fn matches(&self, target: &Authority) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(network) => target.host().ip().is_some_and(|ip| network.contains(&ip)),
            Self::Host { host, port } => {
                port.is_none_or(|port| port == target.port()) && is_within(target.host(), host)
            }
        }
    }
}

/// Whether `name` is `suffix` or lies under it.
fn is_within(name: &Host, suffix: &Host) -> bool {
    if name == suffix {
        return true;
    }
    name.ip().is_none()
        && suffix.ip().is_none()
        && name
            .as_str()
            .strip_suffix(suffix.as_str())
            .is_some_and(|front| front.ends_with('.'))
}

impl From<TcpStream> for Leg {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<TlsStream<TcpStream>> for Leg {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::TlsToProxy(Box::new(stream))
    }
}
