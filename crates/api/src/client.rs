//! Where a request came from.

use std::net::{IpAddr, SocketAddr};

use agent_vault_control::{SetupPeer, label};
use axum::extract::{ConnectInfo, FromRequestParts};
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::origin;
use crate::state::{ApiState, ServerInfo};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What reverse proxies add; any of them means that the peer is not the client.
const FORWARDING_HEADERS: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Marks a request that came over TLS that ended here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverTls;

/// The client of one request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Address that counts for limits and records; `None` in-process.
    pub(crate) address: Option<IpAddr>,
    /// What it calls itself.
    pub(crate) user_agent: Option<String>,
    /// Whether it speaks TLS to us, or to what stands before us: a cookie is for such connections only then.
    pub(crate) secure: bool,
    /// How near it is, for the registration of the first owner.
    pub(crate) setup: SetupPeer,
}

impl Client {
    pub(crate) fn of(parts: &Parts, info: &ServerInfo) -> Self {
        let peer = peer(parts);
        Self {
            address: peer.map(|peer| client_address(peer, &parts.headers, info)),
            user_agent: parts
                .headers
                .get(USER_AGENT)
                .and_then(|value| value.to_str().ok())
                .and_then(label::user_agent),
            secure: info.is_https() || parts.extensions.get::<OverTls>().is_some(),
            setup: setup_peer(peer, &parts.headers, info),
        }
    }
}

impl FromRequestParts<ApiState> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &ApiState,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, state.info()))
    }
}

/// The socket's other end; `None` when there is no socket.
pub(crate) fn peer(parts: &Parts) -> Option<IpAddr> {
    parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip().to_canonical())
}

/// The right-most forwarded address when the peer is a trusted proxy, else the peer.
fn client_address(peer: IpAddr, headers: &HeaderMap, info: &ServerInfo) -> IpAddr {
    if !info.trusts(peer) {
        return peer;
    }
    headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .rfind(|entry| !entry.is_empty())
        .and_then(|entry| entry.parse::<IpAddr>().ok())
        .map_or(peer, |address| address.to_canonical())
}

/// Whether a request may come from the person at this machine.
///
/// A loopback peer is not enough: a reverse proxy on this machine is one too, so its traces count as remote, and so does an
/// explicit public base URL. A browser on this machine may be driven by any page, so a foreign `Origin` is refused earlier.
fn setup_peer(peer: Option<IpAddr>, headers: &HeaderMap, info: &ServerInfo) -> SetupPeer {
    let Some(peer) = peer else {
        return SetupPeer::ThisMachine;
    };
    let forwarded = FORWARDING_HEADERS
        .iter()
        .any(|name| headers.contains_key(*name));
    let public =
        info.base_url_is_explicit && !info.base_host().is_some_and(origin::is_loopback_name);
    if info.allow_remote_setup {
        SetupPeer::Allowed
    } else if peer.is_loopback() && !forwarded && !public {
        SetupPeer::ThisMachine
    } else {
        SetupPeer::Remote
    }
}
