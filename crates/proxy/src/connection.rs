//! One client connection: its clock, its principal, and the loop that drives it to its end.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_vault_broker::Principal;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::{Read, Write};
use tokio::sync::watch;
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use crate::Shared;
use crate::limits::{HEAD_TIMEOUT, KEEP_ALIVE, STALL_TIMEOUT, WATCH_INTERVAL};
use crate::socket::Interim;

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
    /// The client has sent something, or has taken something after it had not for a while.
    stirred: AtomicBool,
    /// Whose connection it is: fixed for a tunnel, the latest for a connection of absolute-form requests.
    principal: Mutex<Option<Principal>>,
    /// A head was read whose answer may not have been written yet.
    answering: AtomicBool,
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
            stirred: AtomicBool::new(false),
            principal: Mutex::new(principal),
            answering: AtomicBool::new(false),
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
        self.answering.store(true, Ordering::Relaxed);
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

    pub(crate) fn note_read(&self) {
        if self.exchanges.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == 0
        {
            self.head_since.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_stirred(&self) {
        self.stirred.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_blocked(&self) {
        if self.blocked_since.load(Ordering::Relaxed) == 0 {
            self.blocked_since.store(self.now() + 1, Ordering::Relaxed);
        }
    }

    /// Everything was written. What is written next without a head before it answers one that could not be read.
    pub(crate) fn note_flushed(&self) {
        if self.exchanges.load(Ordering::Relaxed) == 0 {
            self.answering.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed)
    }

    pub(crate) fn note_written(&self) {
        if self.blocked_since.load(Ordering::Relaxed) != 0 {
            self.blocked_since.store(0, Ordering::Relaxed);
            self.note_stirred();
        }
    }

    /// `unsent` says that something of the last answers waits for a client that reads slowly.
    fn state(&self, unsent: bool) -> State {
        let now = self.now();
        let since = |start: u64| Duration::from_millis(now.saturating_sub(start));
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        if blocked > 0 && since(blocked - 1) > STALL_TIMEOUT {
            return State::Overdue;
        }
        if self.exchanges.load(Ordering::Relaxed) > 0 {
            return State::Busy;
        }
        let head = self.head_since.load(Ordering::Relaxed);
        if head > 0 && since(head - 1) > HEAD_TIMEOUT {
            return State::Overdue;
        }
        let patience = if unsent || blocked > 0 {
            STALL_TIMEOUT
        } else {
            KEEP_ALIVE
        };
        if since(self.idle_since.load(Ordering::Relaxed)) > patience {
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

/// When a connection that was told to finish does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// There is nothing to wait for.
    Now,
    /// After the exchanges that are under way.
    Soon,
}

/// A client's connection of either version: ends when it does.
pub(crate) trait Serving: Future<Output = Result<(), Self::Error>> {
    type Error: std::fmt::Display;

    /// Whether the error says what the client did wrong, and nobody has said so in the log yet.
    fn is_telling(_error: &Self::Error) -> bool {
        false
    }

    /// No new exchange shall begin.
    fn finish_soon(self: Pin<&mut Self>) -> Drained;

    /// Whether something of an answer whose exchange is over still waits for the client to take it.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Looks after a peer that may be gone without a word; asked every few seconds. `stirred` says that it has sent or
    /// taken something since.
    fn is_alive(self: Pin<&mut Self>, _stirred: bool) -> bool {
        true
    }
}

impl<I, S, B> Serving for hyper::server::conn::http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin + Send + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Error = hyper::Error;

    fn finish_soon(self: Pin<&mut Self>) -> Drained {
        self.graceful_shutdown();
        Drained::Soon
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
                match ended {
                    Ok(()) => {}
                    Err(error) if C::is_telling(&error) => {
                        tracing::info!(peer = %watch.peer, %error, "client connection ended: its client broke the protocol");
                    }
                    Err(error) => tracing::debug!(%error, "client connection ended"),
                }
                return;
            }
            Some((signal, more)) = signals.next() => {
                signals.push(more.next());
                signal
            }
        };
        match signal {
            Signal::Tick => match watch.state(connection.has_unsent()) {
                State::Busy
                    if connection
                        .as_mut()
                        .is_alive(watch.stirred.swap(false, Ordering::Relaxed)) => {}
                State::Busy => {
                    tracing::debug!(peer = %watch.peer, "connection closed: its client answers no pings");
                    return;
                }
                State::Overdue => {
                    tracing::debug!(peer = %watch.peer, "connection closed: its client took too long");
                    return;
                }
                State::Idle if draining => return,
                State::Idle => {
                    draining = true;
                    if connection.as_mut().finish_soon() == Drained::Now {
                        return;
                    }
                }
            },
            Signal::Changed => {}
            Signal::Closing => {
                draining = true;
                if connection.as_mut().finish_soon() == Drained::Now {
                    return;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// What the last answer left in buffers of ours is not cut off because no exchange is in progress any more.
    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_not_idle() {
        let watch = Watch::new(Ipv4Addr::LOCALHOST.into(), None);
        drop(watch.busy());
        tokio::time::advance(KEEP_ALIVE + WATCH_INTERVAL).await;
        assert!(matches!(watch.state(false), State::Idle));
        assert!(matches!(watch.state(true), State::Busy));
        watch.note_blocked();
        assert!(matches!(watch.state(false), State::Busy));
        // Not for ever.
        tokio::time::advance(STALL_TIMEOUT + WATCH_INTERVAL).await;
        assert!(matches!(watch.state(false), State::Overdue));
        watch.note_written();
        assert!(matches!(watch.state(true), State::Idle));
    }
}
