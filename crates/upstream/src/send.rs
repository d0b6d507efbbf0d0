//! Sending one request: find or open a connection, speak the version that it speaks, retry only what was not sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use agent_vault_policy::Scheme;
use http::header::{CONNECTION, HeaderValue, TE};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::dial::{DialRequest, Dialed, Dialer};
use crate::error::{Sent, UpstreamError, UpstreamErrorKind as ErrorKind};
use crate::outgoing::{Again, failed, for_http1, for_http2, is_unprocessed};
use crate::pool::{
    Body, Http1, Http2, Lane, MAX_STREAMS_PER_CONNECTION, Place, PlaceOr, Pool, Pooled, Route,
    Speaks, Stream,
};
use crate::progress::{Progress, until_head};
use crate::tls::{AlpnOffer, Negotiated};

/// Largest response head, in bytes (h1) or as an h2 header list.
const MAX_HEAD_BYTES: usize = 256 * 1024;
/// Most header fields in a response.
const MAX_HEADERS: usize = 256;
/// Flow-control window of one h2 stream from an upstream, in bytes.
const STREAM_WINDOW: u32 = 512 * 1024;
/// That of a connection: room for every stream's, so that agents that do not read cannot stop the others who share it.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 2^31")]
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS_PER_CONNECTION as u32;
/// Bytes that one h2 stream may have waiting to be sent.
const MAX_SEND_BUFFER: usize = 256 * 1024;
/// How often a busy h2 connection is pinged, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often idle connections are looked over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// WebSocket handshakes that may ask one h2 connection about its peer at once; more wait.
const MAX_QUESTIONS: usize = 16;
/// Attempts on connections that turn out to be closed before anything was sent.
const MAX_UNSENT_ATTEMPTS: usize = 4;
/// Of these, attempts on connections from the pool.
const MAX_POOLED_ATTEMPTS: usize = 2;

/// The only way out: sends requests over guarded, verified, pooled connections.
pub struct Upstream {
    dialer: Dialer,
    pool: Arc<Pool>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// An upstream's answer and the connection that it still occupies.
pub struct Answer {
    /// Status, headers and the body as it arrives.
    pub response: Response<Incoming>,
    /// Keeps the connection; see [`Lease::finish`].
    pub lease: Lease,
}

/// A connection in use by one exchange. Dropped without [`Lease::finish`], an HTTP/1.1 connection is closed.
pub struct Lease {
    held: Held,
    spoilt: bool,
}

enum Held {
    Http1 {
        connection: Box<Http1>,
        lane: Arc<Lane>,
        pool: Arc<Pool>,
        /// The request body, when there is one.
        progress: Option<Arc<Progress>>,
    },
    Http2 {
        _stream: Stream,
    },
    /// An upgraded connection, never pooled.
    Dedicated {
        _connection: Box<Http1>,
    },
}

impl Lease {
    /// The response ended as the protocol wants it: the connection may serve another exchange, unless the upstream
    /// answered before the request was whole. Then an HTTP/1.1 connection is closed.
    pub fn finish(self) {
        if let Held::Http1 {
            connection,
            lane,
            pool,
            progress,
        } = self.held
            && !self.spoilt
            && progress.is_none_or(|progress| progress.is_done())
        {
            pool.put_back(&lane, *connection);
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

/// Runs hyper's own tasks on our tracker, so that each has an owner.
#[derive(Clone)]
struct Executor(TaskTracker);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        drop(self.0.spawn(future));
    }
}

impl Upstream {
    /// Takes the dialer and starts looking after idle connections until [`Upstream::close`].
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        let upstream = Self {
            dialer,
            pool: Arc::new(Pool::default()),
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
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Forgets the idle connections of a vault that is gone.
    pub fn forget(&self, vault: Uuid) {
        self.pool.forget(vault);
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// The request's URI carries path and query; scheme and authority come from `route`. Over HTTP/1.1 `Host` is set
    /// from the route, over HTTP/2 it becomes `:authority`. A request is tried again only while it was certainly not
    /// sent (RFC 9110 section 9.2.2 leaves the rest to the client).
    ///
    /// # Errors
    /// [`UpstreamError`]; its kind says what failed and whether anything was sent.
    pub async fn send(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Answer, UpstreamError> {
        let lane = self.pool.lane(route);
        let (mut request, progress) = Progress::watch(request);
        for attempt in 0..MAX_UNSENT_ATTEMPTS {
            // Where several pooled connections have died together, a new one ends the search.
            let pooled = if attempt < MAX_POOLED_ATTEMPTS {
                match lane.take() {
                    Some(ready) => Some(ready),
                    None => Box::pin(lane.take_finishing()).await,
                }
            } else {
                None
            };
            let connection = match pooled {
                Some(pooled) => pooled,
                // Boxed, like every part of the path that most requests do not take, so that their future stays small.
                None => Box::pin(self.open(route, &lane, attempt)).await?,
            };
            match self
                .send_on(connection, &lane, route, request, progress.clone())
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(Failure::Unsent(returned)) => request = *returned,
                Err(Failure::Failed(error)) => return Err(error),
            }
        }
        Err(UpstreamError::unsent(
            ErrorKind::Closed,
            "the upstream closed each connection before the request could be sent",
        ))
    }

    /// Opens a connection of its own over HTTP/1.1 and sends an upgrade request on it.
    ///
    /// # Errors
    /// [`UpstreamError`] as for [`Upstream::send`]; nothing is retried.
    pub async fn upgrade(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Answer, UpstreamError> {
        let lane = self.pool.lane(route);
        let place = match lane.place().await {
            Some(PlaceOr::Place(place)) => place,
            // An idle connection cannot be upgraded beside others' requests; its place can be used.
            Some(PlaceOr::Pooled(Pooled::Http1(idle))) => idle.into_place(),
            Some(PlaceOr::Pooled(Pooled::Http2(_))) | None => return Err(saturated()),
        };
        let dialed = self.dial(route, AlpnOffer::Http1).await?;
        let mut connection = self.handshake_http1(dialed, place).await?;
        let mut request = for_http1(request, route);
        let headers = request.headers_mut();
        headers.remove(TE);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let response = until_head(connection.sender.send_request(request), None)
            .await?
            .map_err(|error| failed(error, Sent::MaybeSent))?;
        Ok(Answer {
            response,
            lease: Lease::from(Held::Dedicated {
                _connection: Box::new(connection),
            }),
        })
    }

    /// Sends an extended CONNECT (RFC 8441) on a pooled connection whose peer is known to allow it.
    ///
    /// `None` when there is no such connection: a fresh one has not heard the peer's SETTINGS yet, so the caller
    /// upgrades over HTTP/1.1 instead, as browsers do.
    pub async fn extended_connect(
        &self,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Answer, ExtendedConnect> {
        let lane = self.pool.lane(route);
        let Some(stream) = lane.take_extended().await else {
            return Err(ExtendedConnect::Unavailable(Box::new(request)));
        };
        match self
            .send_on(Pooled::Http2(stream), &lane, route, request, None)
            .await
        {
            Ok(answer) => Ok(answer),
            Err(Failure::Unsent(request)) => Err(ExtendedConnect::Unavailable(request)),
            Err(Failure::Failed(error)) => Err(ExtendedConnect::Failed(error)),
        }
    }

    async fn send_on(
        &self,
        pooled: Pooled,
        lane: &Arc<Lane>,
        route: &Arc<Route>,
        request: Request<Body>,
        progress: Option<Arc<Progress>>,
    ) -> Result<Answer, Failure> {
        match pooled {
            Pooled::Http1(mut connection) => {
                let request = for_http1(request, route);
                let sent = until_head(
                    connection.sender.try_send_request(request),
                    progress.as_deref(),
                )
                .await
                .map_err(Failure::Failed)?;
                match sent {
                    Ok(response) => Ok(Answer {
                        response,
                        lease: Lease::from(Held::Http1 {
                            connection: Box::new(connection),
                            lane: Arc::clone(lane),
                            pool: Arc::clone(&self.pool),
                            progress,
                        }),
                    }),
                    Err(mut error) => Err(match error.take_message() {
                        Some(request) => Failure::Unsent(Box::new(request)),
                        None => Failure::Failed(failed(error.into_error(), Sent::MaybeSent)),
                    }),
                }
            }
            Pooled::Http2(stream) => {
                let request = for_http2(request, route).map_err(Failure::Failed)?;
                let again = progress.is_none().then(|| Again::of(&request));
                let mut sender = stream.0.sender.clone();
                let sent = until_head(sender.try_send_request(request), progress.as_deref())
                    .await
                    .map_err(Failure::Failed)?;
                match sent {
                    Ok(response) => {
                        stream.0.heard();
                        Ok(Answer {
                            response,
                            lease: Lease::from(Held::Http2 { _stream: stream }),
                        })
                    }
                    Err(mut error) => Err(match (error.take_message(), again) {
                        (Some(request), _) => Failure::Unsent(Box::new(request)),
                        (None, Some(again)) if is_unprocessed(error.error()) => {
                            Failure::Unsent(Box::new(again.into_request()))
                        }
                        (None, _) => Failure::Failed(failed(error.into_error(), Sent::MaybeSent)),
                    }),
                }
            }
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
        if attempt < MAX_POOLED_ATTEMPTS
            && let Some(pooled) = lane.take()
        {
            return Ok(pooled);
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
                Pooled::Http1(self.handshake_http1(dialed, place).await?)
            }
            Some(Negotiated::Http2) => {
                lane.set_speaks(Speaks::Http2);
                let connection = Arc::new(self.handshake_http2(dialed, place).await?);
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
    }

    async fn handshake_http1(&self, dialed: Dialed, place: Place) -> Result<Http1, UpstreamError> {
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD_BYTES)
            .handshake::<_, Body>(TokioIo::new(dialed.io))
            .await
            .map_err(|error| failed(error, Sent::NotSent))?;
        let closing = self.closing.child_token();
        let closer = closing.clone().drop_guard();
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection.with_upgrades() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "upstream connection ended");
                    }
                }
                () = closing.cancelled() => {}
            }
        });
        Ok(Http1::new(sender, closer, place))
    }

    async fn handshake_http2(&self, dialed: Dialed, place: Place) -> Result<Http2, UpstreamError> {
        let (sender, mut connection) = http2::Builder::new(Executor(self.tasks.clone()))
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake::<_, Body>(TokioIo::new(dialed.io))
            .await
            .map_err(|error| failed(error, Sent::NotSent))?;
        let (questions, mut asked) = mpsc::channel::<oneshot::Sender<bool>>(MAX_QUESTIONS);
        let max_streams = Arc::new(AtomicUsize::new(usize::MAX));
        let published = Arc::clone(&max_streams);
        // A token of its own: waiting on the common one would take a common lock at each wake.
        let closing = self.closing.child_token();
        self.tasks.spawn(async move {
            // The setting can be read only where the connection is driven, and nothing wakes this task when it comes:
            // hyper reads frames in another one. So it answers questions, and says the peer's limit whenever it runs.
            let drive = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                while let Poll::Ready(Some(question)) = asked.poll_recv(cx) {
                    let allowed = connection.is_extended_connect_protocol_enabled();
                    // Who asked may have left.
                    question.send(allowed).unwrap_or_default();
                }
                published.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            tokio::select! {
                ended = drive => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "upstream connection ended");
                    }
                }
                () = closing.cancelled() => {}
            }
        });
        Ok(Http2::new(sender, questions, max_streams, place))
    }
}

/// Why an extended CONNECT did not happen.
#[derive(Debug)]
pub enum ExtendedConnect {
    /// No connection is known to allow it; the request comes back unsent.
    Unavailable(Box<Request<Body>>),
    /// It was tried and failed.
    Failed(UpstreamError),
}

enum Failure {
    Unsent(Box<Request<Body>>),
    Failed(UpstreamError),
}

fn saturated() -> UpstreamError {
    UpstreamError::unsent(
        ErrorKind::Busy,
        "every connection to this upstream is in use",
    )
}
