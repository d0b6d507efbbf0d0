//! The driver: moves bytes between two streams through the two directions, and knows when it is over.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::frame::{CLOSE_GOING_AWAY, CLOSE_PROTOCOL_ERROR, push_close, random_mask};
use super::overhear::{MessageWatcher, Overhearing};
use super::{ClientToUpstream, ProtocolError, Status, TextRewriter, UpstreamToClient};
use crate::scrub::Search;

/// Read buffer of each direction.
const READ_BYTES: usize = 16 * 1024;

/// How long a close frame of our own may take to be written when the relay ends on its own account.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a WebSocket is relayed.
pub struct RelayOptions {
    /// Replaces placeholders in the agent's text messages.
    pub rewriter: Option<Box<dyn TextRewriter + Send>>,
    /// Is shown the messages that go to the upstream.
    pub watcher: Option<Box<dyn MessageWatcher + Send>>,
    /// Replaces injected values in what the upstream sends.
    pub search: Option<Search>,
    /// Ends the relay when no byte moved in either direction for so long.
    pub idle: Duration,
    /// How long the rest may take once one side has sent a close frame; or, after one side's stream has ended, how
    /// long nothing may move.
    pub close_wait: Duration,
    /// Ends the relay at once: the token or the vault was revoked, or the server stops.
    pub shutdown: CancellationToken,
}

impl RelayOptions {
    /// Default for [`idle`](Self::idle).
    pub const IDLE: Duration = Duration::from_secs(600);
    /// Default for [`close_wait`](Self::close_wait).
    pub const CLOSE_WAIT: Duration = Duration::from_secs(10);

    /// Plain copying with the default limits.
    #[must_use]
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            rewriter: None,
            watcher: None,
            search: None,
            idle: Self::IDLE,
            close_wait: Self::CLOSE_WAIT,
            shutdown,
        }
    }
}

impl fmt::Debug for RelayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayOptions")
            .field("rewrites", &self.rewriter.is_some())
            .field("watches", &self.watcher.is_some())
            .field("scrubs", &self.search.is_some())
            .field("idle", &self.idle)
            .field("close_wait", &self.close_wait)
            .finish_non_exhaustive()
    }
}

/// One end of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The agent.
    Client,
    /// The server behind the proxy.
    Upstream,
}

/// Why a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides sent their close frame.
    Closed,
    /// Both streams ended.
    Ended,
    /// One side closed and the other did not follow within [`RelayOptions::close_wait`].
    CloseTimeout,
    /// Nothing moved for [`RelayOptions::idle`].
    Idle,
    /// [`RelayOptions::shutdown`] was cancelled.
    Shutdown,
    /// A side broke the protocol; both were told with close code 1002 where a frame could be sent.
    Protocol {
        /// Who sent the frame.
        from: Side,
        /// What is wrong with it.
        error: ProtocolError,
    },
    /// A stream failed.
    Failed {
        /// Whose stream.
        side: Side,
        /// How.
        kind: io::ErrorKind,
    },
}

/// What a relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelaySummary {
    /// Why it ended.
    pub reason: CloseReason,
    /// Bytes written to the upstream, frame heads included.
    pub to_upstream: u64,
    /// Bytes written to the agent, frame heads included.
    pub to_client: u64,
}

/// Relays between an agent and an upstream until both are done.
///
/// Half-close is passed on. The close handshake completes both ways: after one side's close frame the other side's
/// answer still arrives. When the future is dropped both streams are.
pub async fn relay<C, U>(client: C, upstream: U, options: RelayOptions) -> RelaySummary
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let clock = Clock::new();
    let framed = options.rewriter.is_some() || options.search.is_some();
    let (client_read, client_write) = tokio::io::split(client);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let (up, down) = if framed {
        (
            Machine::ToUpstream(ClientToUpstream::new(options.rewriter)),
            Machine::ToClient(UpstreamToClient::new(options.search.as_ref())),
        )
    } else {
        (Machine::Opaque, Machine::Opaque)
    };
    let mut up = Pump::new(client_read, upstream_write, up, &clock);
    up.overhearing = options.watcher.map(Overhearing::new);
    let mut down = Pump::new(upstream_read, client_write, down, &clock);
    let limits = Limits {
        idle: options.idle,
        close_wait: options.close_wait,
    };
    let reason = until_done(&mut up, &mut down, &clock, limits, &options.shutdown).await;
    let farewell = match reason {
        CloseReason::Protocol { .. } => Some(CLOSE_PROTOCOL_ERROR),
        CloseReason::Idle | CloseReason::Shutdown | CloseReason::Failed { .. } => {
            Some(CLOSE_GOING_AWAY)
        }
        _ => None,
    };
    // Whoever does not read is dropped.
    let _unread = timeout(FAREWELL, async {
        tokio::join!(up.end(farewell), down.end(farewell))
    })
    .await;
    if reason == CloseReason::Closed {
        // Each side ends its stream once it has read the close frame. Not to wait for that would reset it meanwhile.
        let _unended = timeout(FAREWELL, async { tokio::join!(up.drain(), down.drain()) }).await;
    }
    RelaySummary {
        reason,
        to_upstream: up.written,
        to_client: down.written,
    }
}

#[derive(Clone, Copy)]
struct Limits {
    idle: Duration,
    close_wait: Duration,
}

async fn until_done<C, U>(
    up: &mut Pump<'_, ReadHalf<C>, WriteHalf<U>>,
    down: &mut Pump<'_, ReadHalf<U>, WriteHalf<C>>,
    clock: &Clock,
    limits: Limits,
    shutdown: &CancellationToken,
) -> CloseReason
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let mut up_end = None;
    let mut down_end = None;
    let mut up = pin!(up.run());
    let mut down = pin!(down.run());
    let mut close_deadline: Option<Instant> = None;
    loop {
        let quiet = if up_end.is_some() || down_end.is_some() {
            limits.idle.min(limits.close_wait)
        } else {
            limits.idle
        };
        let quiet_until = clock.last() + quiet;
        let deadline = close_deadline.map_or(quiet_until, |close| close.min(quiet_until));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return CloseReason::Shutdown,
            end = &mut up, if up_end.is_none() => {
                match end {
                    Err(stop) => return stop.reason(Side::Client, Side::Upstream),
                    Ok(end) => up_end = Some(end),
                }
            }
            end = &mut down, if down_end.is_none() => {
                match end {
                    Err(stop) => return stop.reason(Side::Upstream, Side::Client),
                    Ok(end) => down_end = Some(end),
                }
            }
            () = sleep_until(deadline) => {
                // The clock may have moved while this slept.
                let now = Instant::now();
                if close_deadline.is_some_and(|close| now >= close) {
                    return CloseReason::CloseTimeout;
                }
                if now >= clock.last() + quiet {
                    return if up_end.is_some() || down_end.is_some() {
                        CloseReason::CloseTimeout
                    } else {
                        CloseReason::Idle
                    };
                }
                continue;
            }
        }
        match (up_end, down_end) {
            (Some(End::CloseFrame), Some(End::CloseFrame)) => return CloseReason::Closed,
            (Some(_), Some(_)) => return CloseReason::Ended,
            (Some(End::CloseFrame), None) | (None, Some(End::CloseFrame)) => {
                close_deadline.get_or_insert(Instant::now() + limits.close_wait);
            }
            _ => {}
        }
    }
}

/// When a byte last moved, in either direction.
struct Clock {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    fn tick(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

enum Machine {
    Opaque,
    ToUpstream(ClientToUpstream),
    ToClient(UpstreamToClient),
}

impl Machine {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Status, ProtocolError> {
        match self {
            Self::Opaque => {
                out.extend_from_slice(input);
                Ok(Status::Open)
            }
            Self::ToUpstream(machine) => machine.feed(input, out),
            Self::ToClient(machine) => machine.feed(input, out),
        }
    }

    fn release_after(&self) -> Option<Duration> {
        match self {
            Self::ToClient(machine) => machine.release_after(),
            _ => None,
        }
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        if let Self::ToClient(machine) = self {
            machine.release(out);
        }
    }

    /// Appends a close frame of our own where the stream permits one.
    fn push_close(&self, code: u16, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        match self {
            Self::ToUpstream(machine) if machine.at_boundary() => {
                push_close(out, code, Some(random_mask()?));
            }
            Self::ToClient(machine) if machine.at_boundary() => push_close(out, code, None),
            _ => {}
        }
        Ok(())
    }
}

/// How a direction came to its end in good order.
#[derive(Clone, Copy)]
enum End {
    CloseFrame,
    /// The reader ended; the writer was told.
    Stream,
}

enum Stop {
    Protocol(ProtocolError),
    Read(io::ErrorKind),
    Write(io::ErrorKind),
}

impl Stop {
    fn reason(self, reader: Side, writer: Side) -> CloseReason {
        match self {
            Self::Protocol(error) => CloseReason::Protocol {
                from: reader,
                error,
            },
            Self::Read(kind) => CloseReason::Failed { side: reader, kind },
            Self::Write(kind) => CloseReason::Failed { side: writer, kind },
        }
    }
}

/// One direction. Keeps what was not yet written, so that it can be stopped at any await and then say whether a frame
/// of our own may follow.
struct Pump<'c, R, W> {
    reader: R,
    writer: W,
    machine: Machine,
    /// Looks at what is written.
    overhearing: Option<Overhearing>,
    input: Box<[u8]>,
    /// What is to be written, maybe with values in it; `sent` bytes of it have been.
    out: Zeroizing<Vec<u8>>,
    sent: usize,
    written: u64,
    /// A close frame of the sender's own has passed.
    closed: bool,
    clock: &'c Clock,
}

impl<'c, R, W> Pump<'c, R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    fn new(reader: R, writer: W, machine: Machine, clock: &'c Clock) -> Self {
        Self {
            reader,
            writer,
            machine,
            overhearing: None,
            input: vec![0; READ_BYTES].into_boxed_slice(),
            out: Zeroizing::new(Vec::new()),
            sent: 0,
            written: 0,
            closed: false,
            clock,
        }
    }

    async fn run(&mut self) -> Result<End, Stop> {
        loop {
            let read = match self.machine.release_after() {
                None => self.reader.read(&mut self.input).await,
                Some(wait) => match timeout(wait, self.reader.read(&mut self.input)).await {
                    Ok(read) => read,
                    Err(_elapsed) => {
                        self.machine.release(&mut self.out);
                        self.flush().await.map_err(|e| Stop::Write(e.kind()))?;
                        continue;
                    }
                },
            };
            let count = read.map_err(|e| Stop::Read(e.kind()))?;
            if count == 0 {
                self.machine.release(&mut self.out);
                self.flush().await.map_err(|e| Stop::Write(e.kind()))?;
                return match self.writer.shutdown().await {
                    Ok(()) => Ok(End::Stream),
                    Err(e) => Err(Stop::Write(e.kind())),
                };
            }
            self.clock.tick();
            let input = self.input.get(..count).unwrap_or_default();
            let status = self.machine.feed(input, &mut self.out);
            if let Some(overhearing) = &mut self.overhearing {
                overhearing.look_at(&self.out);
            }
            self.flush().await.map_err(|e| Stop::Write(e.kind()))?;
            match status {
                Ok(Status::Open) => {}
                Ok(Status::Closed) => {
                    self.closed = true;
                    return Ok(End::CloseFrame);
                }
                Err(error) => return Err(Stop::Protocol(error)),
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let count = self.writer.write(rest).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent += count;
            self.written += count as u64;
            self.clock.tick();
        }
        self.out.clear();
        self.sent = 0;
        self.writer.flush().await
    }

    /// Reads on to the end of the reader's stream.
    async fn drain(&mut self) {
        while matches!(self.reader.read(&mut self.input).await, Ok(1..)) {}
    }

    /// Ends the writer's stream, with a close frame of our own when asked and possible.
    async fn end(&mut self, farewell: Option<u16>) {
        let whole = self.sent == self.out.len();
        if let Some(code) = farewell.filter(|_| whole && !self.closed)
            && self.machine.push_close(code, &mut self.out).is_ok()
            && self.flush().await.is_err()
        {
            return;
        }
        // Already ended, or gone: nothing is left to do for it.
        let _ended = self.writer.shutdown().await;
    }
}
