//! What every handler shares.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_vault_control::Control;
use agent_vault_seal::{Token, TokenHash};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{Limits, RateLimits};

/// Waits until every finished request is in the log.
pub type FlushLogs = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Makes the text of one reading of the server's counts.
pub type Exposition = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// Whether TLS is spoken on the server's own ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnTls {
    /// Not at all.
    Off,
    /// Beside HTTP in clear.
    Optional,
    /// Alone: what comes in clear is refused.
    Required,
}

/// What the composition knows about the running server.
#[derive(Clone)]
pub struct ServerInfo {
    /// Version of the program.
    pub version: String,
    /// Base of the links that we give out; no trailing slash.
    pub base_url: String,
    /// Whether somebody set the base URL, as opposed to its being derived from the listening address.
    pub base_url_is_explicit: bool,
    /// Port of the proxy.
    pub proxy_port: u16,
    /// Whether the proxy is listening now.
    pub proxy_listening: Arc<AtomicBool>,
    /// Whether TLS is spoken on both ports.
    pub own_tls: OwnTls,
    /// Our root certificate in PEM.
    pub ca_pem: Arc<str>,
    /// Called before logs are read, so that they show every finished request.
    pub flush_logs: Option<FlushLogs>,
    /// Peers whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Lets anybody who can reach a new instance become its owner.
    pub allow_remote_setup: bool,
    /// Cancelled when the server begins to stop.
    pub closing: CancellationToken,
    /// Answers scrapes, if there is anything to tell.
    pub metrics: Option<Exposition>,
    /// A token that reads metrics and nothing else.
    pub metrics_token: Option<TokenHash>,
    /// Where requests that change something run, so that each comes to its end when its client leaves. Wait for it before the
    /// database is closed.
    pub tasks: TaskTracker,
}

impl ServerInfo {
    pub(crate) fn proxy_is_listening(&self) -> bool {
        self.proxy_listening.load(Ordering::Acquire)
    }

    pub(crate) fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&peer))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base_url.starts_with("https://")
    }

    /// Host of the base URL, without its port; an IPv6 address without its brackets.
    pub(crate) fn base_host(&self) -> Option<&str> {
        let (_, rest) = self.base_url.split_once("://")?;
        let authority = rest.split('/').next()?;
        Some(crate::origin::host_of(authority))
    }
}

impl fmt::Debug for ServerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerInfo")
            .field("version", &self.version)
            .field("base_url", &self.base_url)
            .field("proxy_port", &self.proxy_port)
            .finish_non_exhaustive()
    }
}

/// State of the router. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Control,
    info: ServerInfo,
    limits: Limits,
    local_operator: Option<TokenHash>,
}

impl ApiState {
    /// State for a router that is served over sockets.
    #[must_use]
    pub fn new(control: Control, info: ServerInfo, limits: &RateLimits) -> Self {
        Self::build(control, info, limits, None)
    }

    /// State for a router that the local operator calls in-process with `token` as its bearer token.
    ///
    /// The token counts only on requests that came over no socket.
    #[must_use]
    pub fn with_local_operator(
        control: Control,
        info: ServerInfo,
        limits: &RateLimits,
        token: &Token,
    ) -> Self {
        Self::build(control, info, limits, Some(token.hash()))
    }

    fn build(
        control: Control,
        info: ServerInfo,
        limits: &RateLimits,
        local_operator: Option<TokenHash>,
    ) -> Self {
        Self(Arc::new(Inner {
            control,
            info,
            limits: Limits::new(limits),
            local_operator,
        }))
    }

    pub(crate) fn control(&self) -> &Control {
        &self.0.control
    }

    pub(crate) fn info(&self) -> &ServerInfo {
        &self.0.info
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn is_local_operator(&self, token: &str) -> bool {
        self.0.local_operator == Some(TokenHash::of(token))
    }
}
