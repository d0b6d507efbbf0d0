//! The only outbound door of the product.
//!
//! Whatever leaves (proxied requests, OAuth, external stores, mail) leaves through here: resolve → guard → connect →
//! verify → pool. The order cannot be changed from outside: a socket is opened to a [`GuardedAddr`] only, which only the
//! [`Guard`] makes, and names are never looked up a second time, so what was checked is what is dialled. [`OwnProxy`] is the way of a command to
//! the server that a person named.

mod chain;
mod connect;
mod dial;
mod error;
mod expect;
mod guard;
mod http1;
pub mod http2;
mod incoming;
mod interim;
mod outgoing;
mod own_proxy;
mod pool;
mod progress;
mod resolve;
mod send;
mod stream;
mod tls;
mod trust;
mod tunnel;

pub use chain::{
    MAX_NO_PROXY_ENTRIES, NoProxy, ProxyConfigError, ProxyCredentials, TargetNames, UpstreamProxy,
};
pub use connect::{ATTEMPT_DELAY, MAX_ADDRESSES};
pub use dial::{DialRequest, Dialed, Dialer, DialerOptions, Limits};
pub use error::{CertificateFault, Sent, UpstreamError, UpstreamErrorKind};
pub use expect::Continue;
pub use guard::{Guard, GuardedAddr};
pub use http1::Http1Body;
pub use incoming::Incoming;
pub use interim::{Interim, MAX_INTERIM};
pub use own_proxy::{OwnProxy, OwnProxyError};
pub use pool::{Body, BodyError, PoolCounts, Route};
pub use resolve::{CachingResolver, ResolveError, Resolver, Resolving, SystemResolver};
pub use send::{Answer, Lease, Upstream};
pub use stream::Stream;
pub use tls::{AlpnOffer, MAX_TLS_PROFILES, Negotiated, TlsProfiles};
pub use trust::{ExtraRoots, Trust, TrustEnvironment, TrustError, TrustOptions, TrustSource};
pub use tunnel::{NoTunnel, Tunnel, Wire};
