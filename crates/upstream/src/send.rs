//! Sending one request: find or open a connection, speak the version that it speaks, retry only what was not sent.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_vault_policy::Scheme;
use http::header::{CONNECTION, HeaderValue, TE};
use http::{Request, Response};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::dial::{DialRequest, Dialed, Dialer};
use crate::error::{Sent, UpstreamError, UpstreamErrorKind as ErrorKind};
use crate::http1::{self, Http1, Http1Body};
use crate::http2::{self, Failure, Http2, Stream, Upload};
use crate::incoming::Incoming;
use crate::interim::Interim;
use crate::outgoing::{failed, for_http1, for_http2};
use crate::pool::{
    Body, Lane, MAX_STREAMS_PER_CONNECTION, Place, PlaceOr, Pool, PoolCounts, Pooled, Route, Speaks,
};
use crate::progress::{Progress, until_head};
use crate::tls::{AlpnOffer, Negotiated};
use crate::tunnel::{NoTunnel, Tunnel, is_without_alpn};

/// Largest response head, in bytes (h1) or as an h2 header list.
pub(crate) const MAX_HEAD_BYTES: usize = 256 * 1024;
/// Flow-control window of one h2 stream from an upstream, in bytes.
pub(crate) const STREAM_WINDOW: u32 = 512 * 1024;
/// That of a connection: room for every stream's, so that agents that do not read cannot stop the others who share it.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 2^31")]
pub(crate) const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS_PER_CONNECTION as u32;
/// Bytes that one h2 stream may have waiting to be sent.
pub(crate) const MAX_SEND_BUFFER: usize = 256 * 1024;
/// How often a busy h2 connection is pinged, and how long the answer may take.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often idle connections are looked over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// How long a fresh h2 connection may take to say how many streams it takes, and whether it allows extended CONNECT.
const SETTINGS_WAIT: Duration = Duration::from_secs(10);
/// Attempts on connections that turn out to be closed before anything was sent.
const MAX_UNSENT_ATTEMPTS: usize = 4;
/// Of these, attempts on connections from the pool.
const MAX_POOLED_ATTEMPTS: usize = 2;

/// The only way out: sends requests over guarded, verified, pooled connections.
pub struct Upstream {
    dialer: Dialer,
    pool: Arc<Pool>,
    dialed: AtomicU64,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// An upstream's answer and the connection that it still occupies.
pub struct Answer {
    /// Status, headers and the body as it arrives.
    pub response: Response<Incoming>,
    /// Keeps the connection; see [`Lease::finish`].
    pub lease: Lease,
    /// What follows an upgrade or an extended CONNECT that the upstream agreed to.
    pub tunnel: Option<Box<Tunnel>>,
}

/// A connection in use by one exchange. Dropped without [`Lease::finish`], an HTTP/1.1 connection is closed.
pub struct Lease {
    held: Held,
    spoilt: bool,
}

enum Held {
    Http1 {
        connection: Http1,
        lane: Arc<Lane>,
        pool: Arc<Pool>,
        /// The request body, when there is one.
        progress: Option<Arc<Progress>>,
    },
    Http2 {
        stream: Stream,
        /// The request body, when it was not whole before the answer began.
        upload: Option<Upload>,
    },
    /// An upgraded connection, never pooled.
    Dedicated {
        _sender: SendRequest<Body>,
        _closer: DropGuard,
        _place: Place,
    },
}

impl Lease {
    /// The response ended as the protocol wants it: the connection may serve another exchange, unless the upstream
    /// answered before the request was whole. Then an HTTP/1.1 connection is closed.
    pub fn finish(self) {
        match self.held {
            Held::Http1 {
                connection,
                lane,
                pool,
                progress,
            } => {
                if !self.spoilt && progress.is_none_or(|progress| progress.is_done()) {
                    pool.put_back(&lane, connection);
                }
            }
            Held::Http2 { stream, upload } => {
                if let Some(upload) = upload {
                    upload.release(stream);
                }
            }
            Held::Dedicated { .. } => {}
        }
    }

    /// An HTTP/1.1 connection shall not serve another exchange: its framing cannot be trusted.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// True when the exchange runs on a shared HTTP/2 connection.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        matches!(self.held, Held::Http2 { .. })
    }
}

impl From<Held> for Lease {
    fn from(held: Held) -> Self {
        Self {
            held,
            spoilt: false,
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.held {
            Held::Http1 { .. } => "Lease(h1)",
            Held::Http2 { .. } => "Lease(h2)",
            Held::Dedicated { .. } => "Lease(dedicated)",
        })
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    /// Takes the dialer and starts looking after idle connections until [`Upstream::close`].
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        let upstream = Self {
            dialer,
            pool: Arc::new(Pool::default()),
            dialed: AtomicU64::new(0),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        let pool = Arc::clone(&upstream.pool);
        let closing = upstream.closing.clone();
        upstream.tasks.spawn(async move {
            let mut tick = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                tokio::select! {
                    () = closing.cancelled() => break,
                    _ = tick.tick() => pool.sweep(),
                }
            }
        });
        upstream
    }

    /// Closes every connection and waits until their tasks are gone.
    pub async fn close(&self) {
        self.closing.cancel();
        self.pool.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How many connections there are now.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        self.pool.counts()
    }

    /// Connections that were opened since the start.
    #[must_use]
    pub fn dialed(&self) -> u64 {
        self.dialed.load(Ordering::Relaxed)
    }

    /// Forgets the idle connections of a vault that is gone.
    pub fn forget(&self, vault: Uuid) {
        self.pool.forget(vault);
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// The request's URI carries path and query; scheme and authority come from `route`. Over HTTP/1.1 `Host` is set
    /// from the route, over HTTP/2 it becomes `:authority`. A request is tried again only while it was certainly not
    /// sent (RFC 9110 section 9.2.2 leaves the rest to the client). `interim` hears what comes before the answer.
    ///
    /// # Errors
    /// [`UpstreamError`]; its kind says what failed and whether anything was sent.
    // No `async fn`: the future of one has its arguments twice, and is moved as a whole.
    pub fn send<L: Interim>(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
        interim: &L,
    ) -> impl Future<Output = Result<Answer, UpstreamError>> + Send {
        let lane = self.pool.lane(route);
        let (request, progress) = Progress::watch(request);
        let mut request = Some(request);
        async move {
            for attempt in 0..MAX_UNSENT_ATTEMPTS {
                // Where several pooled connections have died together, a new one ends the search.
                let pooled = if attempt < MAX_POOLED_ATTEMPTS {
                    lane.take()
                } else {
                    None
                };
                let connection = match pooled {
                    Some(pooled) => pooled,
                    // Boxed, like every part of the path that most requests do not take, so that their future stays small.
                    None => Box::pin(self.open(route, &lane, attempt)).await?,
                };
                let Some(unsent) = request.take() else {
                    return Err(went_away());
                };
                let sent = match connection {
                    Pooled::Http1(connection) => {
                        let mut sending = pin!(connection.begin(for_http1(unsent, route), interim));
                        let sent = connection
                            .answer(sending.as_mut(), progress.as_deref())
                            .await;
                        self.answered_http1(connection, sent, lane.clone(), &progress)
                    }
                    Pooled::Http2(stream) => match for_http2(unsent, route) {
                        Ok(unsent) => {
                            let sent = match stream.begin(unsent, progress.as_ref()) {
                                Ok(begun) => {
                                    stream
                                        .answer(begun, progress.as_ref(), interim, &self.tasks)
                                        .await
                                }
                                Err(failure) => Err(failure),
                            };
                            sent.map(|(response, upload)| Answer {
                                response,
                                lease: Lease::from(Held::Http2 { stream, upload }),
                                tunnel: None,
                            })
                        }
                        Err(error) => Err(Failure::Failed(error)),
                    },
                };
                match sent {
                    Ok(answer) => return Ok(answer),
                    Err(Failure::Unsent(Some(returned))) => request = Some(*returned),
                    Err(Failure::Unsent(None)) => return Err(went_away()),
                    Err(Failure::Failed(error)) => return Err(error),
                }
            }
            Err(UpstreamError::unsent(
                ErrorKind::Closed,
                "the upstream closed each connection before the request could be sent",
            ))
        }
    }

    /// Opens a connection of its own over HTTP/1.1 and sends an upgrade request on it.
    ///
    /// # Errors
    /// [`NoTunnel`]; nothing is retried. `Unavailable` when the upstream does not take HTTP/1.1.
    pub async fn upgrade(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Answer, NoTunnel> {
        let lane = self.pool.lane(route);
        let place = match lane.place().await {
            Some(PlaceOr::Place(place)) => place,
            // An idle connection cannot be upgraded beside others' requests; its place can be used.
            Some(PlaceOr::Pooled(Pooled::Http1(idle))) => idle.into_place(),
            Some(PlaceOr::Pooled(Pooled::Http2(_))) | None => return Err(saturated().into()),
        };
        let dialed = match self.dial(route, AlpnOffer::Http1).await {
            Ok(dialed) => dialed,
            Err(error) if is_without_alpn(&error) => {
                return Err(NoTunnel::Unavailable(Box::new(request)));
            }
            Err(error) => return Err(error.into()),
        };
        let (mut sender, connection) = http1::handshake(dialed.io).await?;
        let closing = self.closing.child_token();
        let closer = closing.clone().drop_guard();
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection.with_upgrades() => if let Err(error) = ended {
                    tracing::debug!(%error, "upstream connection ended");
                },
                () = closing.cancelled() => {}
            }
        });
        let mut request = for_http1(request, route);
        let headers = request.headers_mut();
        headers.remove(TE);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let mut response = until_head(sender.send_request(request), None)
            .await?
            .map_err(|error| failed(error, Sent::MaybeSent))?;
        let tunnel = Tunnel::Http1(hyper::upgrade::on(&mut response));
        Ok(Answer {
            response: response.map(Incoming::Http1),
            lease: Lease::from(Held::Dedicated {
                _sender: sender,
                _closer: closer,
                _place: place,
            }),
            tunnel: Some(Box::new(tunnel)),
        })
    }

    /// Sends an extended CONNECT (RFC 8441) on a pooled connection whose peer is known to allow it.
    ///
    /// # Errors
    /// [`NoTunnel`]: `Unavailable` when there is no such connection. A fresh one has not heard the peer's SETTINGS yet,
    /// so the caller upgrades over HTTP/1.1 instead, as browsers do.
    pub async fn extended_connect(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Answer, NoTunnel> {
        match self.pool.lane(route).take_extended() {
            Some(stream) => extended_connect_on(stream, route, request).await,
            None => Err(NoTunnel::Unavailable(Box::new(request))),
        }
    }

    /// Opens an HTTP/2 connection and sends an extended CONNECT on it as soon as its peer has said that it may: for an
    /// upstream that takes no HTTP/1.1.
    ///
    /// # Errors
    /// [`UpstreamError`], also when the peer does not allow it.
    pub async fn extended_connect_anew(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Answer, UpstreamError> {
        let unfit = || {
            UpstreamError::unsent(
                ErrorKind::Protocol,
                "the upstream takes neither HTTP/1.1 nor WebSockets over HTTP/2",
            )
        };
        let lane = self.pool.lane(route);
        let place = match lane.place().await {
            Some(PlaceOr::Place(place)) => place,
            Some(PlaceOr::Pooled(_)) | None => return Err(saturated()),
        };
        let dialed = self.dial(route, AlpnOffer::Any).await?;
        if dialed.negotiated != Some(Negotiated::Http2) {
            return Err(unfit());
        }
        let connection = self.handshake_http2(dialed, place).await?;
        lane.set_speaks(Speaks::Http2);
        let stream = lane.share(&connection).ok_or_else(unfit)?;
        let settled = tokio::time::timeout(SETTINGS_WAIT, connection.settled()).await;
        if settled.is_err() || !connection.allows_extended_connect() {
            return Err(unfit());
        }
        match extended_connect_on(stream, route, request).await {
            Ok(answer) => Ok(answer),
            Err(NoTunnel::Failed(error)) => Err(error),
            Err(NoTunnel::Unavailable(_)) => Err(went_away()),
        }
    }

    /// What an HTTP/1.1 connection has made of a request.
    fn answered_http1(
        &self,
        connection: Http1,
        sent: Result<Result<Response<Http1Body>, TrySendError<Request<Body>>>, UpstreamError>,
        lane: Arc<Lane>,
        progress: &Option<Arc<Progress>>,
    ) -> Result<Answer, Failure> {
        match sent.map_err(Failure::Failed)? {
            Ok(response) => {
                if let Some(progress) = progress.as_ref().filter(|sent| !sent.is_done()) {
                    connection.upload(progress, &self.tasks, &self.closing);
                }
                Ok(Answer {
                    response: response.map(Incoming::Driven),
                    lease: Lease::from(Held::Http1 {
                        connection,
                        lane,
                        pool: Arc::clone(&self.pool),
                        progress: progress.clone(),
                    }),
                    tunnel: None,
                })
            }
            Err(mut error) => Err(match error.take_message() {
                Some(request) => Failure::Unsent(Some(Box::new(request))),
                None => Failure::Failed(failed(error.into_error(), Sent::MaybeSent)),
            }),
        }
    }

    /// Opens a connection, or shares what another request has opened meanwhile.
    async fn open(
        &self,
        route: &Arc<Route>,
        lane: &Arc<Lane>,
        attempt: usize,
    ) -> Result<Pooled, UpstreamError> {
        if lane.speaks() == Speaks::Http1 {
            return self.open_now(route, lane).await;
        }
        // Where connections may be shared, one request dials and the others wait for what it finds.
        let asked = Instant::now();
        let mut dialing = lane.dialing.lock().await;
        if attempt < MAX_POOLED_ATTEMPTS {
            if let Some(pooled) = lane.take() {
                return Ok(pooled);
            }
            // A connection that was opened a moment ago takes more as soon as its peer has said how many.
            if let Some(fresh) = lane.unsettled() {
                let settled = tokio::time::timeout(SETTINGS_WAIT, fresh.settled()).await;
                if settled.is_err() {
                    let error = UpstreamError::unsent(
                        ErrorKind::Timeout,
                        "the upstream does not begin to speak HTTP/2",
                    );
                    dialing.failed(&error);
                    return Err(error);
                }
                if let Some(pooled) = lane.take() {
                    return Ok(pooled);
                }
            }
        }
        if lane.speaks() == Speaks::Http1 {
            drop(dialing);
            return self.open_now(route, lane).await;
        }
        if let Some(failure) = dialing.since(asked) {
            return Err(failure);
        }
        let opened = self.open_now(route, lane).await;
        if let Err(error) = &opened {
            dialing.failed(error);
        }
        opened
    }

    async fn open_now(
        &self,
        route: &Arc<Route>,
        lane: &Arc<Lane>,
    ) -> Result<Pooled, UpstreamError> {
        let place = match lane.place().await {
            Some(PlaceOr::Place(place)) => place,
            Some(PlaceOr::Pooled(pooled)) => return Ok(pooled),
            None => return Err(saturated()),
        };
        let offer = match route.scheme() {
            Scheme::Https => AlpnOffer::Any,
            Scheme::Http => AlpnOffer::Http1,
        };
        let dialed = self.dial(route, offer).await?;
        let opened = match dialed.negotiated {
            None | Some(Negotiated::Http1) => {
                lane.set_speaks(Speaks::Http1);
                Pooled::Http1(Http1::open(dialed.io, place).await?)
            }
            Some(Negotiated::Http2) => {
                lane.set_speaks(Speaks::Http2);
                let connection = self.handshake_http2(dialed, place).await?;
                match lane.share(&connection) {
                    Some(stream) => Pooled::Http2(stream),
                    None => {
                        return Err(UpstreamError::unsent(
                            ErrorKind::Closed,
                            "the upstream closed the connection at once",
                        ));
                    }
                }
            }
        };
        Ok(opened)
    }

    async fn dial(&self, route: &Route, alpn: AlpnOffer) -> Result<Dialed, UpstreamError> {
        self.dialer
            .dial(DialRequest {
                vault: route.vault(),
                scheme: route.scheme(),
                authority: route.authority(),
                alpn,
            })
            .await
            .inspect(|_| {
                self.dialed.fetch_add(1, Ordering::Relaxed);
            })
    }

    async fn handshake_http2(
        &self,
        dialed: Dialed,
        place: Place,
    ) -> Result<Arc<Http2>, UpstreamError> {
        http2::connect(dialed.io, place, &self.tasks, &self.closing)
            .await
            .map(Arc::new)
    }
}

async fn extended_connect_on(
    stream: Stream,
    route: &Route,
    request: Request<Body>,
) -> Result<Answer, NoTunnel> {
    let request = for_http2(request, route)?;
    match stream.extended_connect(request).await {
        Ok((response, duplex)) => Ok(Answer {
            response,
            lease: Lease::from(Held::Http2 {
                stream,
                upload: None,
            }),
            tunnel: duplex.map(|duplex| Box::new(Tunnel::Http2(duplex))),
        }),
        Err(Failure::Unsent(Some(request))) => Err(NoTunnel::Unavailable(request)),
        Err(Failure::Unsent(None)) => Err(went_away().into()),
        Err(Failure::Failed(error)) => Err(error.into()),
    }
}

fn went_away() -> UpstreamError {
    UpstreamError::unsent(
        ErrorKind::Closed,
        "the upstream closed the connection before it took the request",
    )
}

pub(crate) fn too_many_interim() -> UpstreamError {
    UpstreamError::new(
        ErrorKind::Protocol,
        Sent::MaybeSent,
        "the upstream sent interim responses without end",
    )
}

fn saturated() -> UpstreamError {
    UpstreamError::unsent(
        ErrorKind::Busy,
        "every connection to this upstream is in use",
    )
}
