//! One client connection: its clock, its principal, and the loop that drives it to its end.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use agent_vault_broker::Principal;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::limits::{
    HEAD_TIMEOUT, KEEP_ALIVE, LINGER, MAX_LINGER_BYTES, STALL_TIMEOUT, WATCH_INTERVAL,
};

/// What a connection's driver needs to know about it.
#[derive(Debug)]
pub(crate) struct Watch {
    epoch: Instant,
    peer: IpAddr,
    exchanges: AtomicU32,
    /// Milliseconds since `epoch` at which the last exchange ended.
    idle_since: AtomicU64,
    /// Milliseconds since `epoch` at which the first byte of an unfinished head came, plus one; zero for none.
    head_since: AtomicU64,
    /// Milliseconds since `epoch` at which the client stopped taking bytes, plus one; zero while it takes them.
    blocked_since: AtomicU64,
    /// Whose connection it is: fixed for a tunnel, the latest for a connection of absolute-form requests.
    principal: Mutex<Option<Principal>>,
    interim: Interim,
}

/// An exchange in progress on a connection.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Watch>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch {
    pub(crate) fn new(peer: IpAddr, principal: Option<Principal>) -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            peer,
            exchanges: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            principal: Mutex::new(principal),
            interim: Interim::default(),
        })
    }

    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(crate) fn interim(&self) -> &Interim {
        &self.interim
    }

    /// The client is expected to send a head at once: it has only just connected, and nobody knows it yet.
    pub(crate) fn expect_head(&self) {
        self.head_since.store(1, Ordering::Relaxed);
    }

    /// An exchange begins: its head is complete.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// The requests on this connection are now this principal's.
    pub(crate) fn belongs_to(&self, principal: &Principal) {
        *self.principal() = Some(principal.clone());
    }

    pub(crate) fn principal(&self) -> std::sync::MutexGuard<'_, Option<Principal>> {
        self.principal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note_read(&self) {
        if self.exchanges.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    fn note_blocked(&self) {
        if self.blocked_since.load(Ordering::Relaxed) == 0 {
            self.blocked_since.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    fn note_written(&self) {
        if self.blocked_since.load(Ordering::Relaxed) != 0 {
            self.blocked_since.store(0, Ordering::Relaxed);
        }
    }

    fn state(&self) -> State {
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        if blocked > 0
            && Duration::from_millis(self.now().saturating_sub(blocked - 1)) > STALL_TIMEOUT
        {
            return State::Overdue;
        }
        if self.exchanges.load(Ordering::Relaxed) > 0 {
            return State::Busy;
        }
        let now = self.now();
        let since = |start: u64| Duration::from_millis(now.saturating_sub(start));
        let head = self.head_since.load(Ordering::Relaxed);
        if head > 0 && since(head - 1) > HEAD_TIMEOUT {
            return State::Overdue;
        }
        if since(self.idle_since.load(Ordering::Relaxed)) > KEEP_ALIVE {
            return State::Idle;
        }
        State::Busy
    }
}

enum State {
    Busy,
    /// A head has been on its way for too long, or the client has taken nothing for too long.
    Overdue,
    /// Nothing has happened for too long.
    Idle,
}

/// Interim responses (1xx) for a client, written between its responses.
///
/// hyper's server cannot send one, so the bytes enter below it. That is safe only while nothing of another message is
/// on its way: see [`Watched`].
#[derive(Debug, Default)]
pub(crate) struct Interim {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    heads: BytesMut,
    /// Number of the exchange that they belong to.
    exchange: u64,
    /// The exchange has no final response yet.
    open: bool,
}

/// Most interim bytes that wait for one client; later ones are dropped, as RFC 9110 section 15.2 lets a proxy do.
const MAX_INTERIM_BYTES: usize = 64 * 1024;

impl Interim {
    /// An exchange begins. What it pushes carries the number that this returns.
    pub(crate) fn begin(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.heads.clear();
        waiting.exchange += 1;
        waiting.open = true;
        waiting.exchange
    }

    pub(crate) fn push(&self, exchange: u64, head: &[u8]) {
        let mut waiting = self.lock();
        if !waiting.open
            || waiting.exchange != exchange
            || waiting.heads.len() + head.len() > MAX_INTERIM_BYTES
        {
            return;
        }
        waiting.heads.extend_from_slice(head);
        drop(waiting);
        self.waker.wake();
    }

    /// The final response is about to be written; what waits still goes before it.
    pub(crate) fn end(&self) {
        self.lock().open = false;
    }

    /// Takes what waits. `clean` says that nothing of another message is on its way.
    fn take(&self, clean: bool, before_final: bool) -> Option<BytesMut> {
        let mut waiting = self.lock();
        if waiting.heads.is_empty() {
            return None;
        }
        if !waiting.open && (!clean || !before_final) {
            // The final response has begun without them.
            waiting.heads.clear();
            return None;
        }
        clean.then(|| std::mem::take(&mut waiting.heads))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version that is spoken above a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Heads are timed, interim responses slip in.
    Http1,
    /// hyper does both: pings and window updates are no heads.
    Http2,
}

/// The connection's socket as hyper sees it: notes when bytes come, and slips interim responses in.
///
/// They are written only when everything that hyper has written before was also flushed, which hyper does at the end of
/// each message, and before the exchange's final response begins.
///
/// After our end of the stream is closed, what the client still sends is read and dropped for a moment. Otherwise the
/// system would answer it with a reset, and that may overtake our last response (RFC 9112 section 9.6).
pub(crate) struct Watched<T> {
    io: T,
    watch: Arc<Watch>,
    speaks: Speaks,
    clean: bool,
    leaving: Bytes,
    lingering: Option<Lingering>,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    drained: usize,
}

impl<T> Watched<T> {
    pub(crate) fn new(io: T, watch: Arc<Watch>, speaks: Speaks) -> Self {
        Self {
            io,
            watch,
            speaks,
            clean: true,
            leaving: Bytes::new(),
            lingering: None,
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.io
    }

    fn noted<R>(&self, polled: Poll<R>) -> Poll<R> {
        match &polled {
            Poll::Pending => self.watch.note_blocked(),
            Poll::Ready(_) => self.watch.note_written(),
        }
        polled
    }
}

impl<T: Write + Unpin> Watched<T> {
    fn poll_interim(&mut self, cx: &mut Context<'_>, before_final: bool) -> Poll<io::Result<()>> {
        if self.speaks == Speaks::Http2 {
            return Poll::Ready(Ok(()));
        }
        if self.leaving.is_empty()
            && let Some(heads) = self.watch.interim.take(self.clean, before_final)
        {
            self.leaving = heads.freeze();
        }
        while !self.leaving.is_empty() {
            let polled = Pin::new(&mut self.io).poll_write(cx, &self.leaving);
            let written = std::task::ready!(self.noted(polled))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            drop(self.leaving.split_to(written));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Read + Unpin> Watched<T> {
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(tokio::time::sleep(LINGER)),
            drained: 0,
        });
        loop {
            if lingering.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut room = [0; 4096];
            let mut buffer = hyper::rt::ReadBuf::new(&mut room);
            match std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buffer.unfilled())) {
                Ok(()) if !buffer.filled().is_empty() => lingering.drained += buffer.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
            if lingering.drained > MAX_LINGER_BYTES {
                return Poll::Ready(());
            }
        }
    }
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.remaining();
        // The cursor is consumed by the read; its room afterwards cannot be asked for, so any readiness counts.
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.speaks == Speaks::Http1 && before > 0 && matches!(polled, Poll::Ready(Ok(()))) {
            self.watch.note_read();
        }
        polled
    }
}

impl<T: Read + Write + Unpin> Write for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_interim(cx, true))?;
        self.clean = false;
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_interim(cx, true))?;
        self.clean = false;
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.speaks == Speaks::Http1 {
            self.watch.interim.waker.register(cx.waker());
            std::task::ready!(self.poll_interim(cx, false))?;
        }
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.clean = true;
        }
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            std::task::ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// A hyper server connection of either version.
pub(crate) trait Serving: Future<Output = Result<(), hyper::Error>> {
    fn finish_soon(self: Pin<&mut Self>);
}

impl<I, S, B> Serving for hyper::server::conn::http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin + Send + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish_soon(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B, E> Serving for hyper::server::conn::http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish_soon(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What a driver is told besides what happens to its bytes.
enum Signal {
    /// Time to look at the clock.
    Tick,
    /// Some token, grant or vault may have changed.
    Changed,
    /// No new exchange begins.
    Closing,
    /// Everything ends now.
    Aborting,
}

/// Where signals come from. Shared by all connections, so listening takes locks that all of them take: a driver keeps
/// it in a [`FuturesUnordered`], which listens when a signal is there and not whenever a byte is.
struct Signals {
    tick: Interval,
    revocations: watch::Receiver<u64>,
    closing: CancellationToken,
    aborting: CancellationToken,
    told_closing: bool,
}

impl Signals {
    fn new(shared: &Shared) -> Self {
        Self {
            tick: tokio::time::interval_at(Instant::now() + WATCH_INTERVAL, WATCH_INTERVAL),
            revocations: shared.broker.revocations(),
            closing: shared.closing.clone(),
            aborting: shared.aborting.clone(),
            told_closing: false,
        }
    }

    async fn next(mut self) -> (Signal, Self) {
        let signal = tokio::select! {
            _ = self.tick.tick() => Signal::Tick,
            changed = self.revocations.changed() => match changed {
                Ok(()) => Signal::Changed,
                Err(_) => Signal::Aborting,
            },
            () = self.closing.cancelled(), if !self.told_closing => {
                self.told_closing = true;
                Signal::Closing
            }
            () = self.aborting.cancelled() => Signal::Aborting,
        };
        (signal, self)
    }
}

/// Drives a connection until it ends, goes idle, loses its principal, or the server closes.
pub(crate) async fn drive<C: Serving>(shared: &Shared, watch: &Arc<Watch>, connection: C) {
    let mut connection = std::pin::pin!(connection);
    let mut signals = FuturesUnordered::from_iter([Signals::new(shared).next()]);
    let mut draining = false;
    loop {
        let signal = tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "client connection ended");
                }
                return;
            }
            Some((signal, more)) = signals.next() => {
                signals.push(more.next());
                signal
            }
        };
        match signal {
            Signal::Tick => match watch.state() {
                State::Busy => {}
                State::Overdue => {
                    tracing::debug!(peer = %watch.peer, "connection closed: its client took too long");
                    return;
                }
                State::Idle if draining => return,
                State::Idle => {
                    draining = true;
                    connection.as_mut().finish_soon();
                }
            },
            Signal::Changed => {}
            Signal::Closing => {
                draining = true;
                connection.as_mut().finish_soon();
            }
            Signal::Aborting => return,
        }
        if is_revoked(shared, watch) {
            tracing::debug!(peer = %watch.peer, "connection closed: its token was revoked or has expired");
            return;
        }
    }
}

/// Runs `stream`, which has left its connection, until it ends. Cancels `stop` when its principal is good no longer or
/// the server closes, and then lets it end.
pub(crate) async fn drive_stream<T>(
    shared: &Shared,
    watch: &Arc<Watch>,
    stop: &CancellationToken,
    stream: impl Future<Output = T>,
) -> Option<T> {
    let mut stream = std::pin::pin!(stream);
    let mut signals = FuturesUnordered::from_iter([Signals::new(shared).next()]);
    // The token may have ended between the handshake and now.
    if is_revoked(shared, watch) {
        stop.cancel();
    }
    loop {
        tokio::select! {
            biased;
            ended = stream.as_mut() => return Some(ended),
            Some((signal, more)) = signals.next() => {
                signals.push(more.next());
                match signal {
                    Signal::Aborting => return None,
                    Signal::Closing => stop.cancel(),
                    Signal::Tick | Signal::Changed => if is_revoked(shared, watch) {
                        stop.cancel();
                    }
                }
            }
        }
    }
}

fn is_revoked(shared: &Shared, watch: &Watch) -> bool {
    watch
        .principal()
        .as_ref()
        .is_some_and(|principal| shared.broker.admit(principal, shared.now()).is_err())
}

/// A socket with bytes that were read from it before: what a client sent early, after CONNECT.
pub(crate) struct Prefixed<T> {
    prefix: Bytes,
    io: T,
}

impl<T> Prefixed<T> {
    pub(crate) fn new(prefix: Bytes, io: T) -> Self {
        Self { prefix, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let take = self.prefix.len().min(buf.remaining());
            let early = self.prefix.split_to(take);
            buf.put_slice(&early);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
