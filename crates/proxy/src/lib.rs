//! The data plane: what happens to an agent's bytes on their way to an upstream and back.
//!
//! The stages, in order; [`exchange`](mod@exchange) runs those of one request:
//!
//! 1. [`listener`] accepts connections on one port, within bounds; [`addresses`] counts each client's; [`source`] reads whom a load
//!    balancer brings; [`door`] terminates TLS that is spoken to the port itself.
//! 2. [`authenticate`] finds the principal behind `Proxy-Authorization`.
//! 3. [`tunnel`] answers `CONNECT` and keeps what the client sent early; [`socks`] is another way to it.
//! 4. [`intercept`] reads the ClientHello, compares its name, terminates TLS.
//! 5. [`head`] parses the destination, which every field must name alike.
//! 6. decide: the vault's rules, compiled, in [`agent_vault_broker::Admission::decide`].
//! 7. [`inject`] builds the outgoing request.
//!    [`leftover`] watches what placeholders leave in it as they are.
//! 8. send: [`agent_vault_upstream::Upstream`], the only way out; [`upgrade`] for WebSockets.
//! 9. [`scrub`] masks what was injected in what comes back.
//! 10. [`relay`] streams it, timed by progress; [`connection`] ends it when the token is revoked; [`socket`] is below.
//! 11. [`journal`] records it, however it ended.
//!
//! [`meters`] counts what happens on the way. [`respond`] is where an error becomes a response, [`limits`] where every bound stands. No SQL, no management plane.

mod addresses;
mod authenticate;
mod connection;
mod door;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod http2;
mod inject;
mod intercept;
mod interim;
mod journal;
mod leftover;
mod limits;
mod listener;
pub mod meters;
mod names;
mod relay;
mod respond;
pub mod scrub;
mod socket;
mod socks;
mod source;
mod tunnel;
mod upgrade;
pub mod websocket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::Broker;
use agent_vault_ca::{LeafIssuer, OwnIdentity, Protocols};
use agent_vault_upstream::Upstream;
use hyper::server::conn::http1;
use ipnet::IpNet;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use door::{Door, DoorError};
pub use journal::{Journal, LogDecision, LogRecord, LogSink};
pub use meters::Meters;

use addresses::Addresses;
use authenticate::FailureBudget;
use inject::Budget;
use limits::{MAX_CONNECTIONS, MAX_CONNECTIONS_PER_ADDRESS, MAX_HANDSHAKES, MAX_HEAD_BYTES};
use source::Balancers;

/// The clock of the data plane.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Failed authentications for each address and token, and the window that they are counted in; `None` for no limit. Asked at each
/// failure, so that a changed setting counts at once.
pub type FailureLimit = Arc<dyn Fn() -> Option<(u32, Duration)> + Send + Sync>;

/// What an operator may set.
#[derive(Clone)]
pub struct ProxyOptions {
    /// Where the management plane is, for the help in refusals.
    pub base_url: Option<Arc<str>>,
    /// Cap on a request body in bytes; `None` for none.
    pub max_request_bytes: Option<u64>,
    /// Cap on a response body in bytes; `None` for none.
    pub max_response_bytes: Option<u64>,
    /// Whether log records have the path. It is the client's own, and clients put secrets even there.
    pub log_paths: bool,
    /// How many failed authentications are let through.
    pub auth_failures: FailureLimit,
    /// TLS on the port itself, beside HTTP in clear; without it there is only the latter.
    pub own_identity: Option<Arc<OwnIdentity>>,
    /// What is sent in clear is refused, before anybody looks at the token that it carries.
    pub require_tls: bool,
    /// Load balancers that say with the PROXY protocol whose connection they bring, and have to.
    pub proxy_protocol_from: Vec<IpNet>,
    /// The time.
    pub clock: Clock,
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyOptions")
            .field("base_url", &self.base_url)
            .field("max_request_bytes", &self.max_request_bytes)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("require_tls", &self.require_tls)
            .finish_non_exhaustive()
    }
}

/// What the stages share.
pub(crate) struct Shared {
    pub(crate) broker: Arc<Broker>,
    pub(crate) issuer: Arc<LeafIssuer>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) journal: Journal,
    pub(crate) options: ProxyOptions,
    pub(crate) failures: FailureBudget,
    pub(crate) budget: Budget,
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) handshakes: Semaphore,
    pub(crate) door: Option<Door>,
    pub(crate) balancers: Balancers,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: h2::server::Builder,
    pub(crate) tasks: TaskTracker,
    /// No new exchange begins; open ones may end.
    pub(crate) closing: CancellationToken,
    /// Everything ends now.
    pub(crate) aborting: CancellationToken,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }
}

/// The proxy, ready to serve.
pub struct Proxy(Arc<Shared>);

impl Proxy {
    /// Puts the data plane together. `closing` begins its end.
    #[must_use]
    pub fn new(
        broker: Arc<Broker>,
        issuer: Arc<LeafIssuer>,
        upstream: Arc<Upstream>,
        journal: Journal,
        options: ProxyOptions,
        closing: CancellationToken,
    ) -> Self {
        let tasks = TaskTracker::new();
        let door = options.own_identity.clone().map(|identity| {
            // CONNECT over HTTP/2 is not spoken.
            Door::new(identity, Protocols::Http1, Arc::clone(&options.clock))
        });
        Self(Arc::new(Shared {
            broker,
            issuer,
            upstream,
            journal,
            failures: FailureBudget::new(Arc::clone(&options.auth_failures)),
            budget: Budget::new(),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            addresses: Addresses::new(MAX_CONNECTIONS_PER_ADDRESS),
            handshakes: Semaphore::new(MAX_HANDSHAKES),
            door,
            balancers: Balancers::new(&options.proxy_protocol_from),
            http1: serve_http1(),
            http2: http2::builder(),
            options,
            tasks,
            closing,
            aborting: CancellationToken::new(),
        }))
    }

    /// Serves `listener` until the proxy closes and its connections have ended, which takes at most a few seconds.
    pub async fn serve(self, listener: TcpListener) {
        listener::serve(self.0, listener).await;
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

fn serve_http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Head and keep-alive times are kept by `connection`, which tells the two apart.
    builder
        .header_read_timeout(None)
        .preserve_header_case(true)
        // Twice what is let through: what lies between is refused with the request at hand. The number of fields is
        // hyper's own, `MAX_HEADERS`: to name it would cost an allocation for each request.
        .max_header_size(MAX_HEAD_BYTES * 2);
    builder
}
