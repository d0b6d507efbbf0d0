//! A connection to an upstream, shared by its streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body::Body as _;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::keep_alive::KeepAlive;
use super::send::{SendBody, SendBodyError};
use super::stirring::{Stirred, Stirring};
use super::{Duplex, Received};
use crate::error::{Sent, UpstreamError, UpstreamErrorKind as ErrorKind};
use crate::incoming::Incoming;
use crate::interim::{Interim, MAX_INTERIM};
use crate::outgoing::{Again, broken_body, failed_http2};
use crate::pool::{Body, MAX_STREAMS_PER_CONNECTION, Place};
use crate::progress::{Progress, Timers, until_head};
use crate::send::{
    CONNECTION_WINDOW, MAX_HEAD_BYTES, MAX_SEND_BUFFER, PING_INTERVAL, PING_TIMEOUT, STREAM_WINDOW,
};
use crate::stream::Stream as Io;

/// How often a connection's own clock is looked at.
const TICK: Duration = Duration::from_secs(10);
/// How long a connection that nobody wants any more may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Longest that an upload may stand still after its answer has begun. A last bound: the body has a shorter one of its
/// own, and only a peer that opens no window meets this one.
const UPLOAD_STALL: Duration = Duration::from_secs(60 * 60);
/// Streams that we have reset and that are remembered, so that what the peer had already sent on them is ignored, and
/// for how long. What comes for a forgotten one is answered by another reset.
const MAX_REMEMBERED_RESETS: usize = 1024;
/// See [`MAX_REMEMBERED_RESETS`].
const RESETS_REMEMBERED: Duration = Duration::from_secs(5);
/// What h2 says of the peer's limit of streams while its SETTINGS have not come; no peer can name it.
const UNSETTLED: usize = usize::MAX - 1;

/// A shared HTTP/2 connection. Ends when nobody holds it any more.
pub(crate) struct Http2 {
    /// Opens streams. A lock of our own, held for a moment: a clone for each request would take the connection's, which
    /// its driver wants for every frame, twice more.
    sender: Mutex<SendRequest<Bytes>>,
    state: Arc<State>,
    idle_since: Mutex<Instant>,
    /// For those who wait for the head of an answer.
    timers: Timers,
    _closer: DropGuard,
    _place: Place,
}

/// What the driving task and the streams tell each other.
struct State {
    closed: AtomicBool,
    /// The peer stopped answering pings.
    dead: AtomicBool,
    in_flight: AtomicUsize,
    /// Streams that the peer allows at once, as last asked. One before its SETTINGS have come: more might be refused, or
    /// wait behind streams that last for hours.
    max_streams: AtomicUsize,
    /// The peer's SETTINGS have come, or never will.
    settled: CancellationToken,
}

impl State {
    fn allow(&self, streams: usize) -> usize {
        let allowed = streams.min(MAX_STREAMS_PER_CONNECTION);
        self.max_streams.store(allowed, Ordering::Relaxed);
        allowed
    }
}

/// A stream on a shared connection; counted until dropped.
pub(crate) struct Stream(Arc<Http2>);

impl Drop for Stream {
    fn drop(&mut self) {
        if self.0.state.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self
                .0
                .idle_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }
}

/// Why there is no answer.
pub(crate) enum Failure {
    /// Certainly nothing was done with it; the request itself, unless its body is gone.
    Unsent(Option<Box<Request<Body>>>),
    Failed(UpstreamError),
}

/// A body that is still being sent when its answer has begun; given up when dropped.
pub(crate) struct Upload {
    task: AbortHandle,
    /// Keeps what is sent through it until the task has ended.
    until_sent: Option<oneshot::Sender<Stream>>,
}

impl Upload {
    /// The answer is whole. The rest of the body may go on, and takes its place on the connection until it has left: a
    /// peer that wants it no more resets the stream.
    pub(crate) fn release(mut self, stream: Stream) {
        if let Some(until_sent) = self.until_sent.take() {
            // It comes back, and ends here, when the task is over.
            drop(until_sent.send(stream));
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.until_sent.is_some() {
            self.task.abort();
        }
    }
}

/// Speaks HTTP/2 on `io`.
pub(crate) async fn connect(
    io: Io,
    place: Place,
    tasks: &TaskTracker,
    closing: &CancellationToken,
) -> Result<Http2, UpstreamError> {
    let stirred = Stirred::default();
    let (sender, mut connection) = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(UNSETTLED)
        // An agent that gives up an answer makes us reset its stream, and what was on its way then meets a reset stream.
        // With h2's own limit, agents that often do so would end the connection for all that share it.
        .max_local_error_reset_streams(None)
        .max_concurrent_reset_streams(MAX_REMEMBERED_RESETS)
        .reset_stream_duration(RESETS_REMEMBERED)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .handshake::<_, Bytes>(Stirring::new(io, stirred.clone()))
        .await
        .map_err(|error| failed_http2(error, Sent::NotSent))?;
    let keep_alive = KeepAlive::new(connection.ping_pong(), PING_INTERVAL, PING_TIMEOUT);
    let unwanted = CancellationToken::new();
    let closer = unwanted.clone().drop_guard();
    let state = Arc::new(State {
        closed: AtomicBool::new(false),
        dead: AtomicBool::new(false),
        in_flight: AtomicUsize::new(0),
        max_streams: AtomicUsize::new(1),
        settled: CancellationToken::new(),
    });
    let driver = Driver {
        connection,
        keep_alive,
        stirred,
        settled: false,
        state: Arc::clone(&state),
    };
    let signals = Signals {
        tick: tokio::time::interval_at(Instant::now() + TICK, TICK),
        unwanted,
        closing: closing.clone(),
    };
    tasks.spawn(driver.run(signals));
    Ok(Http2 {
        sender: Mutex::new(sender),
        state,
        idle_since: Mutex::new(Instant::now()),
        timers: Timers::default(),
        _closer: closer,
        _place: place,
    })
}

impl Http2 {
    fn sender(&self) -> MutexGuard<'_, SendRequest<Bytes>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once no stream can be opened any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.closed.load(Ordering::Relaxed)
    }

    /// True while nothing has happened on it since `deadline`.
    pub(crate) fn is_idle_since(&self, deadline: Instant) -> bool {
        self.state.in_flight.load(Ordering::Relaxed) == 0
            && *self
                .idle_since
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                <= deadline
    }

    /// True while the peer's SETTINGS may still come, which say how many streams it takes.
    pub(crate) fn is_unsettled(&self) -> bool {
        !self.is_closed() && !self.state.settled.is_cancelled()
    }

    /// Waits for the peer's SETTINGS, or for the connection's end.
    pub(crate) async fn settled(&self) {
        self.state.settled.cancelled().await;
    }

    /// Whether the peer allows extended CONNECT (RFC 8441 section 3); false until its SETTINGS have come.
    pub(crate) fn allows_extended_connect(&self) -> bool {
        self.sender().is_extended_connect_protocol_enabled()
    }

    /// A stream, if the peer allows one more. Beyond its limit a request would wait for another to end, which may take
    /// hours.
    pub(crate) fn stream(connection: &Arc<Self>) -> Option<Stream> {
        if connection.is_closed() {
            return None;
        }
        let before = connection.state.in_flight.fetch_add(1, Ordering::Relaxed);
        if before >= connection.state.max_streams.load(Ordering::Relaxed)
            && before >= connection.ask_max_streams()
        {
            connection.state.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Stream(Arc::clone(connection)))
    }

    /// Streams that the peer allows now; it may say another number at any time.
    fn ask_max_streams(&self) -> usize {
        if !self.state.settled.is_cancelled() {
            return 1;
        }
        self.state.allow(self.sender().current_max_send_streams())
    }

    /// Lets go of the stream that was opened last and waits for its turn, so that it does not outlive its exchange.
    fn forget_pending(&self) {
        let mut sender = self.sender();
        let fresh = sender.clone();
        *sender = fresh;
    }

    /// `heard` interim responses came before this.
    fn failed(&self, error: h2::Error, heard: u32) -> Failure {
        if is_unprocessed(&error) {
            if error.is_go_away() {
                self.state.closed.store(true, Ordering::Relaxed);
            } else {
                self.ask_max_streams();
            }
            return Failure::Unsent(None);
        }
        if heard >= MAX_INTERIM {
            // The peer may go on on a stream that nobody reads; the connection ends with those that are under way.
            self.state.closed.store(true, Ordering::Relaxed);
        }
        Failure::Failed(if self.state.dead.load(Ordering::Relaxed) {
            UpstreamError::new(
                ErrorKind::Timeout,
                Sent::MaybeSent,
                "the upstream stopped answering",
            )
            .with_source(error)
        } else {
            failed_http2(error, Sent::MaybeSent)
        })
    }
}

impl Stream {
    /// Sends the head of a request. What comes of it is waited for with [`Stream::answer`].
    pub(crate) fn begin(
        &self,
        request: Request<Body>,
        progress: Option<&Arc<Progress>>,
    ) -> Result<Begun, Failure> {
        let (parts, body) = request.into_parts();
        let last = body.is_end_stream();
        let again = Again::of(&parts);
        if let Some(progress) = progress {
            progress.keep();
        }
        let (response, stream) = match self.open(Request::from_parts(parts, ()), last) {
            Ok(opened) => opened,
            Err(error) => return Err(error.with(again, body)),
        };
        let sending = if last {
            Sending::Nothing(body)
        } else {
            Sending::Body(SendBody::new(stream, body))
        };
        Ok(Begun {
            again,
            response,
            sending,
        })
    }

    /// Sends the body of a request whose head was sent, and waits for the head of its answer.
    pub(crate) async fn answer<L: Interim>(
        &self,
        begun: Begun,
        progress: Option<&Arc<Progress>>,
        interim: &L,
        tasks: &TaskTracker,
    ) -> Result<(Response<Incoming>, Option<Upload>), Failure> {
        let Begun {
            again,
            mut response,
            sending: mut upload,
        } = begun;
        let mut sent = matches!(upload, Sending::Nothing(_));
        let waiting = Waiting(Some(&self.0));
        let mut heard = 0;
        let mut patience = self.0.timers.begin();
        let head = poll_fn(|cx| {
            if !sent && let Sending::Body(sending) = &mut upload {
                match Pin::new(sending).poll(cx) {
                    Poll::Ready(Err(SendBodyError::Body(error))) => {
                        return Poll::Ready(Ok(Err(Failure::Failed(broken_body(error)))));
                    }
                    // When it is the peer that wants no more, its answer says why.
                    Poll::Ready(Ok(()) | Err(SendBodyError::Stream(_))) => sent = true,
                    Poll::Pending => {}
                }
            }
            match poll_head(&mut response, interim, &mut heard, cx) {
                Poll::Ready(head) => {
                    Poll::Ready(Ok(head.map_err(|error| self.0.failed(error, heard))))
                }
                Poll::Pending => patience.poll(progress.map(AsRef::as_ref), cx).map(Err),
            }
        })
        .await
        .map_err(Failure::Failed)?;
        drop(patience);
        waiting.end();
        let head = match head {
            Ok(head) => head,
            Err(Failure::Unsent(_)) => {
                let whole = progress.is_none_or(|progress| progress.rewind());
                return Err(Failure::Unsent(whole.then(|| {
                    let body = match upload {
                        Sending::Nothing(body) => body,
                        Sending::Body(sending) => sending.into_body(),
                    };
                    Box::new(again.into_request(body))
                })));
            }
            Err(failure) => return Err(failure),
        };
        if let Some(progress) = progress {
            progress.let_go();
        }
        let (parts, stream) = head.into_parts();
        let body = Incoming::Http2(Received::new(stream, &parts.headers));
        let upload = match upload {
            Sending::Body(sending) if !sent => {
                let (until_sent, place) = oneshot::channel();
                let task = tasks.spawn(finish_upload(sending, progress.cloned(), place));
                Some(Upload {
                    task: task.abort_handle(),
                    until_sent: Some(until_sent),
                })
            }
            _ => None,
        };
        Ok((Response::from_parts(parts, body), upload))
    }

    /// Sends an extended CONNECT; when the peer agrees, the stream is what follows and the answer has no body.
    pub(crate) async fn extended_connect(
        &self,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Option<Duplex>), Failure> {
        let (parts, body) = request.into_parts();
        let again = Again::of(&parts);
        let (mut response, stream) = match self.open(Request::from_parts(parts, ()), false) {
            Ok(opened) => opened,
            Err(error) => return Err(error.with(again, body)),
        };
        let waiting = Waiting(Some(&self.0));
        let mut heard = 0;
        let head = until_head(
            poll_fn(|cx| {
                poll_head(&mut response, &(), &mut heard, cx)
                    .map_err(|error| self.0.failed(error, heard))
            }),
            None,
        )
        .await
        .map_err(Failure::Failed)?;
        waiting.end();
        let head = match head {
            Ok(head) => head,
            Err(Failure::Unsent(_)) => {
                return Err(Failure::Unsent(Some(Box::new(again.into_request(body)))));
            }
            Err(failure) => return Err(failure),
        };
        let (parts, receive) = head.into_parts();
        if parts.status.is_success() {
            let duplex = Duplex::new(stream, receive);
            return Ok((Response::from_parts(parts, Incoming::Empty), Some(duplex)));
        }
        let body = Incoming::Http2(Received::new(receive, &parts.headers));
        Ok((Response::from_parts(parts, body), None))
    }

    /// Opens the stream with the request's head.
    fn open(
        &self,
        head: Request<()>,
        last: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), NotOpened> {
        let mut sender = self.0.sender();
        match sender.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {}
            // The last request waits for its turn: the peer takes fewer streams than it did. A clone has none that does,
            // and this one will wait behind it.
            Poll::Pending => {
                let fresh = sender.clone();
                *sender = fresh;
                self.0.state.allow(sender.current_max_send_streams());
            }
            Poll::Ready(Err(_)) => {
                self.0.state.closed.store(true, Ordering::Relaxed);
                return Err(NotOpened::Closed);
            }
        }
        sender.send_request(head, last).map_err(|error| {
            if error.is_go_away() || error.is_io() {
                // It broke in this very moment.
                self.0.state.closed.store(true, Ordering::Relaxed);
                return NotOpened::Closed;
            }
            NotOpened::Failed(failed_http2(error, Sent::NotSent))
        })
    }
}

/// Why a stream could not be opened.
enum NotOpened {
    Closed,
    Failed(UpstreamError),
}

impl NotOpened {
    /// With the request as it was.
    fn with(self, again: Again, body: Body) -> Failure {
        match self {
            Self::Closed => Failure::Unsent(Some(Box::new(again.into_request(body)))),
            Self::Failed(error) => Failure::Failed(error),
        }
    }
}

/// A request whose head was sent.
pub(crate) struct Begun {
    /// To send it once more.
    again: Again,
    response: ResponseFuture,
    sending: Sending,
}

/// What goes out on a stream beside its head.
enum Sending {
    Nothing(Body),
    Body(SendBody<Body>),
}

/// A stream without an answer yet. One whose exchange is given up may still wait for its turn, held by the connection.
struct Waiting<'a>(Option<&'a Http2>);

impl Waiting<'_> {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.forget_pending();
        }
    }
}

/// Polls for the answer's head and lets `interim` hear what comes before it, which `heard` counts.
fn poll_head<L: Interim>(
    response: &mut ResponseFuture,
    interim: &L,
    heard: &mut u32,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<RecvStream>, h2::Error>> {
    loop {
        match ready!(response.poll_informational(cx)?) {
            Some(_) if *heard >= MAX_INTERIM => {
                return Poll::Ready(Err(Reason::ENHANCE_YOUR_CALM.into()));
            }
            Some(said) => {
                *heard += 1;
                interim.hear(said.status(), said.headers());
            }
            None => return Pin::new(response).poll(cx),
        }
    }
}

/// Whether the peer has said that it did nothing with a request: it refused the stream, or went away and counted only
/// earlier ones (RFC 9113 section 8.7). Servers that end a connection after so many requests do that to those under way.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// Sends the rest of a body. `_place` holds the stream's place on its connection when its answer is over first.
async fn finish_upload(
    upload: SendBody<Body>,
    progress: Option<Arc<Progress>>,
    _place: oneshot::Receiver<Stream>,
) {
    let mut upload = upload;
    let mut from = Instant::now();
    loop {
        match tokio::time::timeout_at(from + UPLOAD_STALL, &mut upload).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::debug!(%error, "an upload ended before its end");
                return;
            }
            Err(_) => match progress.as_ref().map(|progress| progress.last()) {
                Some(last) if last > from => from = last,
                _ => return upload.reset(Reason::CANCEL),
            },
        }
    }
}

/// Reads and writes a connection's frames until it ends.
struct Driver {
    connection: Connection<Stirring<Io>, Bytes>,
    keep_alive: KeepAlive,
    stirred: Stirred,
    settled: bool,
    state: Arc<State>,
}

impl Driver {
    async fn run(mut self, signals: Signals) {
        // Asked only when one is there: the connection itself wakes this task for every frame.
        let mut signals = FuturesUnordered::from_iter([signals.next()]);
        loop {
            let signal = tokio::select! {
                biased;
                ended = poll_fn(|cx| self.poll(cx)) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "upstream connection ended");
                    }
                    break;
                }
                Some((signal, more)) = signals.next() => {
                    signals.push(more.next());
                    signal
                }
            };
            match signal {
                Signal::Tick => {
                    let busy = self.state.in_flight.load(Ordering::Relaxed) > 0;
                    if !self.keep_alive.is_alive(busy, self.stirred.take()) {
                        tracing::debug!("upstream connection closed: its peer answers no pings");
                        self.state.dead.store(true, Ordering::Relaxed);
                        break;
                    }
                    self.note_limit();
                }
                Signal::Unwanted => {
                    // Nothing else holds the connection, so it says that it goes away and ends.
                    let goodbye = tokio::time::timeout(GOODBYE, &mut self.connection).await;
                    tracing::trace!(?goodbye, "upstream connection given up");
                    break;
                }
                Signal::Closing => break,
            }
        }
        self.state.closed.store(true, Ordering::Relaxed);
        self.state.settled.cancel();
    }

    /// Reads how many streams the peer takes, once it has said so.
    fn note_limit(&mut self) {
        let allowed = self.connection.max_concurrent_send_streams();
        if allowed == UNSETTLED {
            return;
        }
        self.state.allow(allowed);
        if !self.settled {
            self.settled = true;
            self.state.settled.cancel();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let polled = Pin::new(&mut self.connection).poll(cx);
        if !self.settled {
            self.note_limit();
        }
        polled
    }
}

enum Signal {
    /// Time to look at the clock.
    Tick,
    /// Nobody holds the connection any more.
    Unwanted,
    /// Everything ends now.
    Closing,
}

struct Signals {
    tick: Interval,
    unwanted: CancellationToken,
    closing: CancellationToken,
}

impl Signals {
    async fn next(mut self) -> (Signal, Self) {
        let signal = tokio::select! {
            _ = self.tick.tick() => Signal::Tick,
            () = self.unwanted.cancelled() => Signal::Unwanted,
            () = self.closing.cancelled() => Signal::Closing,
        };
        (signal, self)
    }
}
