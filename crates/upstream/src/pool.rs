//! Connections to upstreams, kept per (vault, scheme, authority).
//!
//! Never shared between vaults, so a TLS session, an h2 connection and whatever state an upstream ties to one stay
//! within the tenant that made them. Everything is bounded: connections per route and in total, idle ones, h2 streams
//! per connection, and the wait for any of them.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agent_vault_policy::{Authority, Scheme};
use bytes::Bytes;
use http::{HeaderValue, uri};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{CertificateFault, UpstreamError, UpstreamErrorKind as ErrorKind};
use crate::http1::Http1;
use crate::http2::{Http2, Stream};

/// A request body on its way to an upstream.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body could not be read to its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Idle HTTP/1.1 connections kept per route: as many as agents that ask one upstream at once, whose requests would
/// otherwise each open one.
const MAX_IDLE_PER_ROUTE: usize = 256;
/// Idle HTTP/1.1 connections kept in total.
const MAX_IDLE: usize = 1024;
/// Open connections per route; a request waits for one beyond that.
pub(crate) const MAX_CONNECTIONS_PER_ROUTE: usize = 512;
/// Streams that we put on one h2 connection before opening another.
pub(crate) const MAX_STREAMS_PER_CONNECTION: usize = 100;
/// Routes remembered at once; beyond it a new one gets connections of its own that are not kept.
const MAX_ROUTES: usize = 16 * 1024;
/// How long a connection may lie idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How long an idle connection is trusted to be open without a look at it.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long a request waits when a route has all its connections busy.
pub(crate) const CONNECTION_WAIT: Duration = Duration::from_secs(10);

/// Where a request goes and for whom: the key of the pool.
pub struct Route {
    key: RouteKey,
    host: HeaderValue,
    authority: uri::Authority,
    /// Its connections, once they were asked for, so that the requests of a tunnel look for them once.
    lane: OnceLock<Arc<Lane>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RouteKey {
    vault: Uuid,
    scheme: Scheme,
    authority: Authority,
}

impl Route {
    /// A route for one vault's traffic to one authority.
    ///
    /// # Errors
    /// [`UpstreamError`] when the authority has no form in a request.
    pub fn new(vault: Uuid, scheme: Scheme, authority: Authority) -> Result<Self, UpstreamError> {
        let text = authority.host_header(scheme);
        let unfit = || UpstreamError::unsent(ErrorKind::Protocol, "the host cannot be sent");
        Ok(Self {
            host: HeaderValue::from_str(&text).map_err(|_| unfit())?,
            authority: text.parse().map_err(|_| unfit())?,
            lane: OnceLock::new(),
            key: RouteKey {
                vault,
                scheme,
                authority,
            },
        })
    }

    /// The vault whose traffic this is.
    #[must_use]
    pub fn vault(&self) -> Uuid {
        self.key.vault
    }

    /// Clear text or TLS.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.key.scheme
    }

    /// Host and port; TLS verifies the host.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.key.authority
    }

    /// The `Host` field, without the scheme's default port.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The `:authority` of an HTTP/2 request.
    pub(crate) fn uri_authority(&self) -> &uri::Authority {
        &self.authority
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// One of a route's connections; given back on drop.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    freed: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.freed.notify_one();
    }
}

/// What a route is known to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Unknown,
    Http1,
    Http2,
}

/// The connections of one route.
pub(crate) struct Lane {
    idle: Mutex<Vec<(Http1, Instant)>>,
    shared: Mutex<Vec<Arc<Http2>>>,
    speaks: Mutex<Speaks>,
    /// Held while dialling towards an upstream that may share a connection, so that a burst makes one, not many.
    pub(crate) dialing: tokio::sync::Mutex<LastFailure>,
    places: Arc<Semaphore>,
    freed: Arc<Notify>,
    /// Nothing is kept any more: whoever still uses it is about to end.
    forgotten: AtomicBool,
}

/// A connection from the pool.
pub(crate) enum Pooled {
    Http1(Http1),
    Http2(Stream),
}

impl Lane {
    fn new() -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            shared: Mutex::new(Vec::new()),
            speaks: Mutex::new(Speaks::Unknown),
            dialing: tokio::sync::Mutex::new(LastFailure::default()),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS_PER_ROUTE)),
            freed: Arc::new(Notify::new()),
            forgotten: AtomicBool::new(false),
        }
    }

    fn forget(&self) {
        let mut idle = lock(&self.idle);
        self.forgotten.store(true, Ordering::Relaxed);
        let closing = std::mem::take(&mut *idle);
        drop(idle);
        drop(closing);
        lock(&self.shared).clear();
    }

    pub(crate) fn speaks(&self) -> Speaks {
        *lock(&self.speaks)
    }

    pub(crate) fn set_speaks(&self, speaks: Speaks) {
        *lock(&self.speaks) = speaks;
    }

    /// Takes a connection that is ready for a request now.
    pub(crate) fn take(&self) -> Option<Pooled> {
        {
            let mut shared = lock(&self.shared);
            shared.retain(|connection| !connection.is_closed());
            if let Some(stream) = shared.iter().find_map(Http2::stream) {
                return Some(Pooled::Http2(stream));
            }
        }
        self.take_http1().map(Pooled::Http1)
    }

    /// Takes a stream on a connection whose peer allows extended CONNECT.
    pub(crate) fn take_extended(&self) -> Option<Stream> {
        lock(&self.shared)
            .iter()
            .filter(|connection| connection.allows_extended_connect())
            .find_map(Http2::stream)
    }

    /// A shared connection whose peer has not said yet how many streams it takes.
    pub(crate) fn unsettled(&self) -> Option<Arc<Http2>> {
        lock(&self.shared)
            .iter()
            .find(|connection| connection.is_unsettled())
            .cloned()
    }

    fn take_http1(&self) -> Option<Http1> {
        let mut idle = lock(&self.idle);
        // Newest first: the most likely to be alive.
        while let Some((connection, since)) = idle.pop() {
            if since.elapsed() < TRUSTED || connection.look_after() {
                return Some(connection);
            }
        }
        None
    }

    pub(crate) fn share(&self, connection: &Arc<Http2>) -> Option<Stream> {
        let stream = Http2::stream(connection);
        let mut shared = lock(&self.shared);
        if !self.forgotten.load(Ordering::Relaxed) {
            shared.push(Arc::clone(connection));
        }
        drop(shared);
        stream
    }

    /// Waits for the right to open a connection, or for one to come back.
    pub(crate) async fn place(&self) -> Option<PlaceOr> {
        let deadline = Instant::now() + CONNECTION_WAIT;
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(PlaceOr::Place(Place {
                    _permit: permit,
                    freed: Arc::clone(&self.freed),
                }));
            }
            if let Some(pooled) = self.take() {
                return Some(PlaceOr::Pooled(pooled));
            }
            tokio::time::timeout_at(deadline, freed).await.ok()?;
        }
    }

    fn sweep(&self, now: Instant) -> bool {
        lock(&self.idle).retain(|(connection, since)| {
            now.duration_since(*since) < IDLE_TIMEOUT && connection.look_after()
        });
        lock(&self.shared).retain(|connection| {
            !connection.is_closed()
                && !now
                    .checked_sub(IDLE_TIMEOUT)
                    .is_some_and(|deadline| connection.is_idle_since(deadline))
        });
        self.places.available_permits() < MAX_CONNECTIONS_PER_ROUTE
    }
}

/// How the last attempt to open a connection failed, for those who waited for it. Without this, a burst of requests
/// to a host that swallows connections would find that out one after the other.
#[derive(Default)]
pub(crate) struct LastFailure(Option<(Instant, Failed)>);

/// What of a failure can be told more than once.
struct Failed {
    kind: ErrorKind,
    message: String,
    hint: Option<&'static str>,
    certificate: Option<CertificateFault>,
}

impl LastFailure {
    pub(crate) fn failed(&mut self, error: &UpstreamError) {
        self.0 = Some((
            Instant::now(),
            Failed {
                kind: error.kind(),
                message: error.message().to_owned(),
                hint: error.hint(),
                certificate: error.certificate(),
            },
        ));
    }

    /// The failure of an attempt that ended after `asked`.
    pub(crate) fn since(&self, asked: Instant) -> Option<UpstreamError> {
        let (at, failed) = self.0.as_ref()?;
        (*at > asked).then(|| {
            let mut error = UpstreamError::unsent(failed.kind, failed.message.clone());
            if let Some(hint) = failed.hint {
                error = error.with_hint(hint);
            }
            if let Some(fault) = failed.certificate {
                error = error.with_certificate(fault);
            }
            error
        })
    }
}

/// Either leave to open a connection, or one that came back meanwhile.
pub(crate) enum PlaceOr {
    Place(Place),
    Pooled(Pooled),
}

/// How many connections to upstreams there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PoolCounts {
    /// Pairs of vault and upstream that have connections, or had some a moment ago.
    pub routes: usize,
    /// Open connections of either version, idle or busy.
    pub open: usize,
    /// HTTP/1.1 connections that wait for a request.
    pub idle: usize,
    /// HTTP/2 connections, which requests share.
    pub shared: usize,
}

/// All lanes.
#[derive(Default)]
pub(crate) struct Pool {
    lanes: Mutex<HashMap<RouteKey, Arc<Lane>>>,
    idle: AtomicUsize,
}

impl Pool {
    pub(crate) fn lane(&self, route: &Route) -> Arc<Lane> {
        if let Some(lane) = route.lane.get() {
            return Arc::clone(lane);
        }
        let mut lanes = lock(&self.lanes);
        let lane = match lanes.get(&route.key) {
            Some(lane) => Arc::clone(lane),
            None => {
                let lane = Arc::new(Lane::new());
                if lanes.len() >= MAX_ROUTES {
                    return lane;
                }
                lanes.insert(route.key.clone(), Arc::clone(&lane));
                lane
            }
        };
        // Another request of the same tunnel may have been faster, with the same lane.
        Arc::clone(route.lane.get_or_init(|| lane))
    }

    /// Puts a connection back after a response that was read to its end.
    pub(crate) fn put_back(&self, lane: &Lane, connection: Http1) {
        if !connection.is_ready() || self.idle.load(Ordering::Relaxed) >= MAX_IDLE {
            return;
        }
        connection.rest();
        let mut idle = lock(&lane.idle);
        if idle.len() < MAX_IDLE_PER_ROUTE && !lane.forgotten.load(Ordering::Relaxed) {
            idle.push((connection, Instant::now()));
            lane.freed.notify_one();
        }
    }

    /// Closes what has lain idle for too long and forgets lanes that nothing uses.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut kept = 0;
        lock(&self.lanes).retain(|_, lane| {
            let open = lane.sweep(now);
            kept += lock(&lane.idle).len();
            open || Arc::strong_count(lane) > 1
        });
        self.idle.store(kept, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> PoolCounts {
        // What is dropped is dropped after the lock.
        let lanes: Vec<Arc<Lane>> = lock(&self.lanes).values().cloned().collect();
        let mut counts = PoolCounts {
            routes: lanes.len(),
            ..PoolCounts::default()
        };
        for lane in lanes {
            counts.open += MAX_CONNECTIONS_PER_ROUTE - lane.places.available_permits();
            counts.idle += lock(&lane.idle).len();
            counts.shared += lock(&lane.shared)
                .iter()
                .filter(|connection| !connection.is_closed())
                .count();
        }
        counts
    }

    /// Forgets every connection of a vault.
    pub(crate) fn forget(&self, vault: Uuid) {
        lock(&self.lanes).retain(|key, lane| {
            let stays = key.vault != vault;
            if !stays {
                lane.forget();
            }
            stays
        });
    }

    /// Forgets every connection.
    pub(crate) fn clear(&self) {
        for (_, lane) in lock(&self.lanes).drain() {
            lane.forget();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
