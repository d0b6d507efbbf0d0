//! From an authority to a connection: the order in which everything else here is called.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::{Authority, Blocked, EgressPolicy, Host, Scheme};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::chain::{TargetNames, UpstreamProxy};
use crate::connect::{self, ConnectFailure};
use crate::error::{UpstreamError, UpstreamErrorKind};
use crate::guard::{Guard, GuardedAddr};
use crate::resolve::Resolver;
use crate::stream::{Leg, Stream};
use crate::tls::{AlpnOffer, Negotiated, TlsProfiles};
use crate::trust::Trust;

/// How many guarded addresses the proxy is asked for in turn when names are pinned.
const MAX_PINNED_ATTEMPTS: usize = 3;

/// How long each step of a dial may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Looking a name up.
    pub resolve: Duration,
    /// Connecting, over all addresses together.
    pub connect: Duration,
    /// A TLS handshake.
    pub handshake: Duration,
    /// The upstream proxy's answer to `CONNECT`; it resolves and connects within that time.
    pub tunnel: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            tunnel: Duration::from_secs(20),
        }
    }
}

/// What a [`Dialer`] is made of.
#[derive(Debug)]
pub struct DialerOptions {
    /// Looks names up; mostly a [`CachingResolver`](crate::CachingResolver) over the system's.
    pub resolver: Arc<dyn Resolver>,
    /// What may be connected to.
    pub egress: EgressPolicy,
    /// Whom to believe.
    pub trust: Trust,
    /// The operator's proxy, if traffic has to go through one.
    pub proxy: Option<UpstreamProxy>,
    /// How long each step may take.
    pub limits: Limits,
}

/// Opens connections to upstreams: resolve → guard → connect → verify.
#[derive(Debug)]
pub struct Dialer {
    resolver: Arc<dyn Resolver>,
    guard: Guard,
    tls: TlsProfiles,
    proxy: Option<UpstreamProxy>,
    limits: Limits,
}

/// Which connection is wanted.
#[derive(Debug, Clone, Copy)]
pub struct DialRequest<'a> {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The host, which the certificate must be for, and the port.
    pub authority: &'a Authority,
    /// Which HTTP versions to offer; without effect on a plain connection.
    pub alpn: AlpnOffer,
    /// Whose TLS sessions may be resumed. The nil id stands for the product's own traffic.
    pub vault: Uuid,
}

/// A connection, ready for HTTP.
#[derive(Debug)]
pub struct Dialed {
    /// The bytes.
    pub io: Stream,
    /// What the upstream chose; `None` on a plain connection, or when it chose nothing and so speaks HTTP/1.1.
    pub negotiated: Option<Negotiated>,
    /// Who is at the other end of the TCP connection: the upstream, or the operator's proxy.
    pub peer: SocketAddr,
}

impl Dialer {
    /// Puts a dialer together.
    ///
    /// # Errors
    /// [`UpstreamErrorKind::Tls`] when TLS cannot be set up.
    pub fn new(options: DialerOptions) -> Result<Self, UpstreamError> {
        Ok(Self {
            resolver: options.resolver,
            guard: Guard::new(options.egress),
            tls: TlsProfiles::new(options.trust)?,
            proxy: options.proxy,
            limits: options.limits,
        })
    }

    /// Opens the connection that `request` asks for.
    ///
    /// Nothing is retried beyond the fallback among addresses. Dropping the future closes whatever was opened.
    ///
    /// # Errors
    /// An [`UpstreamError`] that says which step failed; nothing of a request was sent in any case.
    pub async fn dial(&self, request: DialRequest<'_>) -> Result<Dialed, UpstreamError> {
        let target = request.authority;
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.applies_to(target));
        let (leg, peer) = match proxy {
            Some(proxy) => self.through(proxy, target).await?,
            None => {
                let addresses = self.guarded(target).await?;
                let (tcp, peer) = self.connect(&addresses, target).await?;
                (Leg::from(tcp), peer)
            }
        };
        match request.scheme {
            Scheme::Http => Ok(Dialed {
                io: Stream::plain(leg),
                negotiated: None,
                peer,
            }),
            Scheme::Https => {
                let (stream, negotiated) = self
                    .tls
                    .handshake(
                        request.vault,
                        target,
                        request.alpn,
                        leg,
                        self.limits.handshake,
                    )
                    .await?;
                Ok(Dialed {
                    io: Stream::tls(stream),
                    negotiated,
                    peer,
                })
            }
        }
    }

    /// The addresses of `target` that policy permits; the only lookup there is.
    async fn guarded(&self, target: &Authority) -> Result<Vec<GuardedAddr>, UpstreamError> {
        let addresses = self.addresses(target.host()).await?;
        self.guard
            .sift(&addresses, target.port())
            .map_err(|blocked| refuse(target.host(), blocked.as_ref()))
    }

    async fn addresses(&self, host: &Host) -> Result<Arc<[IpAddr]>, UpstreamError> {
        if let Some(ip) = host.ip() {
            return Ok(Arc::from([ip]));
        }
        match tokio::time::timeout(self.limits.resolve, self.resolver.resolve(host)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(UpstreamError::unsent(
                UpstreamErrorKind::Resolve,
                format!("the name `{host}` could not be resolved"),
            )
            .with_source(error)),
            Err(_) => Err(UpstreamError::unsent(
                UpstreamErrorKind::Timeout,
                format!("the name `{host}` was not resolved in time"),
            )),
        }
    }

    async fn connect(
        &self,
        addresses: &[GuardedAddr],
        shown: &Authority,
    ) -> Result<(TcpStream, SocketAddr), UpstreamError> {
        connect::connect(addresses, self.limits.connect)
            .await
            .map_err(|failure| match failure {
                ConnectFailure::TimedOut => UpstreamError::unsent(
                    UpstreamErrorKind::Timeout,
                    format!("`{shown}` did not accept a connection in time"),
                ),
                ConnectFailure::Refused(error) => UpstreamError::unsent(
                    UpstreamErrorKind::Connect,
                    match error.kind() {
                        std::io::ErrorKind::ConnectionRefused => {
                            format!("`{shown}` refused the connection")
                        }
                        std::io::ErrorKind::NetworkUnreachable
                        | std::io::ErrorKind::HostUnreachable => {
                            format!("`{shown}` cannot be reached from here")
                        }
                        _ => format!("no connection to `{shown}` could be made"),
                    },
                )
                .with_source(error),
            })
    }

    /// A tunnel to `target` through the operator's proxy.
    async fn through(
        &self,
        proxy: &UpstreamProxy,
        target: &Authority,
    ) -> Result<(Leg, SocketAddr), UpstreamError> {
        let mut outcome = None;
        for asked in self.targets_for(proxy, target).await? {
            let (leg, peer) = self.reach(proxy).await?;
            match proxy
                .open_tunnel(leg, &asked, target, self.limits.tunnel)
                .await
            {
                Ok(leg) => return Ok((leg, peer)),
                Err(error) if error.kind() == UpstreamErrorKind::ProxyRefused => {
                    outcome = outcome.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(outcome.unwrap_or_else(|| refuse(target.host(), None)))
    }

    /// What the proxy is asked for, after everything that can be judged here was judged.
    async fn targets_for(
        &self,
        proxy: &UpstreamProxy,
        target: &Authority,
    ) -> Result<Vec<Authority>, UpstreamError> {
        let host = target.host();
        let judge = |ip: IpAddr| {
            self.guard
                .admit(ip, target.port())
                .map_err(|blocked| refuse(host, Some(&blocked)))
        };
        if let Some(ip) = host.ip() {
            judge(ip)?;
            return Ok(vec![target.clone()]);
        }
        // RFC 6761 section 6.3: these are loopback whatever a resolver says, and here it would be the proxy's.
        if host.as_str() == "localhost" || host.as_str().ends_with(".localhost") {
            judge(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        }
        match proxy.target_names() {
            TargetNames::Proxied => Ok(vec![target.clone()]),
            TargetNames::Checked => {
                match self.addresses(host).await {
                    // Which of them the proxy takes is not ours to choose, so all have to be permitted.
                    Ok(addresses) => {
                        for ip in addresses.iter() {
                            judge(*ip)?;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%host, %error, "left to the upstream proxy");
                    }
                }
                Ok(vec![target.clone()])
            }
            TargetNames::Pinned => self
                .guarded(target)
                .await?
                .into_iter()
                .take(MAX_PINNED_ATTEMPTS)
                .map(|address| {
                    Ok(Authority::new(
                        Host::from(address.get().ip()),
                        target.port(),
                    ))
                })
                .collect(),
        }
    }

    /// A connection to the proxy itself.
    async fn reach(&self, proxy: &UpstreamProxy) -> Result<(Leg, SocketAddr), UpstreamError> {
        let authority = proxy.authority();
        let addresses: Vec<GuardedAddr> = self
            .addresses(authority.host())
            .await?
            .iter()
            .map(|ip| GuardedAddr::of_operator_proxy(*ip, authority.port()))
            .collect();
        let (tcp, peer) = self.connect(&addresses, authority).await?;
        let leg = match proxy.scheme() {
            Scheme::Http => Leg::from(tcp),
            Scheme::Https => Leg::from(
                self.tls
                    .handshake_with_proxy(authority, tcp, self.limits.handshake)
                    .await?,
            ),
        };
        Ok((leg, peer))
    }
}

/// The refusal of a host, with the class of its address and, unless the host is one, without the address.
fn refuse(host: &Host, blocked: Option<&Blocked>) -> UpstreamError {
    match blocked {
        Some(blocked) => {
            let verb = if host.ip().is_some() {
                "is"
            } else {
                "leads to"
            };
            UpstreamError::unsent(
                UpstreamErrorKind::Blocked,
                format!(
                    "`{host}` {verb} {}, which may not be connected to",
                    blocked.reason
                ),
            )
            .with_hint(blocked.hint())
            .with_source(*blocked)
        }
        None => UpstreamError::unsent(
            UpstreamErrorKind::Resolve,
            format!("the name `{host}` has no usable address"),
        ),
    }
}
