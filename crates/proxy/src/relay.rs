//! Bodies on their way through: counted, timed by progress, and tied to the exchange that they belong to.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use agent_vault_broker::Slot;
use agent_vault_upstream::{BodyError, Continue, Incoming, Lease};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::connection::Busy;
use crate::exchange::strip_response_trailers;
use crate::inject::strip_request_trailers;
use crate::journal::Entry;
use crate::leftover::Noted;
use crate::limits::{CONTINUE_WAIT, STALL_TIMEOUT};
use crate::scrub::ScrubBody;

/// A response body on its way to a client.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the large kind, and a box for each would be an allocation per request"
)]
pub(crate) enum ResponseBody {
    /// Our own words, or none.
    Own(Bytes),
    /// What the upstream sends.
    Relayed(RelayBody),
}

impl ResponseBody {
    pub(crate) const EMPTY: Self = Self::Own(Bytes::new());
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Own(words) if words.is_empty() => Poll::Ready(None),
            Self::Own(words) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(words))))),
            Self::Relayed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(words) => words.is_empty(),
            Self::Relayed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(words) => SizeHint::with_exact(words.len() as u64),
            Self::Relayed(body) => body.size_hint(),
        }
    }
}

/// Why a body broke off. The peer sees a reset, never a clean end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenBody {
    #[error("no byte came for {} minutes", STALL_TIMEOUT.as_secs() / 60)]
    Stalled,
    #[error("the request body is larger than allowed")]
    RequestTooLarge,
    #[error("the response body is larger than allowed")]
    ResponseTooLarge,
}

/// Fails a body that does not move. The timer is made at the first wait, so a body that never waits costs nothing.
#[derive(Default)]
struct Stall(Option<Pin<Box<Sleep>>>);

impl Stall {
    fn moved(&mut self) {
        if let Some(timer) = &mut self.0 {
            timer.as_mut().reset(Instant::now() + STALL_TIMEOUT);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_TIMEOUT)))
            .as_mut()
            .poll(cx)
    }
}

/// Holds a request body back until the upstream says `100 Continue` or has had its time. When the upstream answers
/// instead, the body is never asked for.
pub(crate) struct Gate {
    opened: Continue,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    pub(crate) fn new(opened: Continue) -> Self {
        Self {
            opened,
            patience: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.opened.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // hyper asks for the body when the head has left; only then does the wait begin.
        self.patience
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(CONTINUE_WAIT)))
            .as_mut()
            .poll(cx)
    }
}

/// What became of a request body, or of what a WebSocket's client sends, for whoever wants to know why an exchange failed, and for the log.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    lost: AtomicU8,
    noted: Noted,
}

/// Why a request body did not arrive whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Lost {
    /// It grew over the cap.
    TooLarge = 1,
    /// The client sent something malformed.
    Broken = 2,
    /// The client stopped sending.
    Stalled = 3,
    /// The client left, or took its request back.
    Left = 4,
}

/// Whether a client's body ended because nobody sends it any more.
fn has_left(error: &BodyError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error.as_ref());
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_remote() || error.is_io();
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
            );
        }
        cause = error.source();
    }
    false
}

impl Fate {
    fn set(&self, lost: Lost) {
        self.lost.store(lost as u8, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<Lost> {
        [Lost::TooLarge, Lost::Broken, Lost::Stalled, Lost::Left]
            .into_iter()
            .find(|lost| *lost as u8 == self.lost.load(Ordering::Relaxed))
    }

    /// Which placeholders were found in it.
    pub(crate) fn noted(&self) -> &Noted {
        &self.noted
    }
}

/// A request body streaming to an upstream.
pub(crate) struct RequestBody {
    inner: Incoming,
    cap: Option<u64>,
    sent: u64,
    stall: Stall,
    gate: Option<Gate>,
    fate: Arc<Fate>,
}

impl RequestBody {
    pub(crate) fn new(
        inner: Incoming,
        cap: Option<u64>,
        gate: Option<Gate>,
        fate: Arc<Fate>,
    ) -> Self {
        Self {
            inner,
            cap,
            sent: 0,
            stall: Stall::default(),
            gate,
            fate,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &mut self.gate {
            ready!(gate.poll(cx));
            self.gate = None;
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.stall.moved();
                if let (Some(cap), Some(data)) = (self.cap, frame.data_ref()) {
                    self.sent += data.len() as u64;
                    if self.sent > cap {
                        self.fate.set(Lost::TooLarge);
                        return Poll::Ready(Some(Err(BrokenBody::RequestTooLarge.into())));
                    }
                }
                Poll::Ready(Some(Ok(with_trailers(frame, strip_request_trailers))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.fate.set(if has_left(&error) {
                    Lost::Left
                } else {
                    Lost::Broken
                });
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.stall.poll(cx) {
                Poll::Ready(()) => {
                    self.fate.set(Lost::Stalled);
                    Poll::Ready(Some(Err(BrokenBody::Stalled.into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Edits a frame of trailers; data passes as it is.
fn with_trailers(frame: Frame<Bytes>, edit: fn(&mut HeaderMap)) -> Frame<Bytes> {
    if !frame.is_trailers() {
        return frame;
    }
    match frame.into_trailers() {
        Ok(mut trailers) => {
            edit(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// What an upstream's body passes through.
pub(crate) enum Source {
    /// Nothing was injected: bytes pass untouched.
    Plain(Incoming),
    /// Masks what was injected.
    Scrubbed(Box<ScrubBody<Incoming>>),
}

impl Source {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Plain(body) => Pin::new(body).poll_frame(cx),
            Self::Scrubbed(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Scrubbed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Scrubbed(body) => body.size_hint(),
        }
    }
}

/// What an exchange holds until its last byte: dropped together, however it ends.
pub(crate) struct Held {
    pub(crate) entry: Entry,
    pub(crate) busy: Busy,
    pub(crate) slot: Slot,
}

/// A response body streaming to a client. Ends the exchange: gives the connection back and completes the record.
pub(crate) struct RelayBody {
    source: Source,
    cap: Option<u64>,
    received: u64,
    /// What the head announced, when it did.
    announced: Option<u64>,
    stall: Stall,
    /// What became of the request body: a client that leaves in the middle of it fails the response too.
    request: Option<Arc<Fate>>,
    /// How the body broke off, until what came before it has left.
    broken: Option<BodyError>,
    lease: Option<Lease>,
    held: Option<Held>,
}

impl RelayBody {
    pub(crate) fn new(
        source: Source,
        cap: Option<u64>,
        request: Option<Arc<Fate>>,
        lease: Lease,
        held: Held,
    ) -> Self {
        Self {
            announced: source.size_hint().exact(),
            source,
            cap,
            received: 0,
            stall: Stall::default(),
            request,
            broken: None,
            lease: Some(lease),
            held: Some(held),
        }
    }

    /// The answer has no content, whatever its head says (RFC 9110 section 6.4.1): nobody may ask for it.
    pub(crate) fn without_content(mut self) -> Self {
        self.announced = Some(0);
        self
    }

    fn end(&mut self, code: &'static str) {
        if let Some(lease) = self.lease.take()
            && code.is_empty()
        {
            lease.finish();
        }
        if let Some(held) = self.held.take() {
            held.entry.complete(code);
        }
    }
}

impl Body for RelayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match this.source.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.stall.moved();
                if let Some(data) = frame.data_ref() {
                    this.received += data.len() as u64;
                    if this.cap.is_some_and(|cap| this.received > cap) {
                        this.end("response_truncated");
                        return Poll::Ready(Some(Err(BrokenBody::ResponseTooLarge.into())));
                    }
                }
                if frame.is_trailers() {
                    // Nothing follows them, and hyper does not ask.
                    this.end("");
                }
                Poll::Ready(Some(Ok(with_trailers(frame, strip_response_trailers))))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(match this.request.as_ref().and_then(|fate| fate.get()) {
                    None => "upstream_truncated",
                    Some(Lost::Broken | Lost::Left) => "client_closed",
                    Some(Lost::TooLarge) => "request_too_large",
                    Some(Lost::Stalled) => "request_read_error",
                });
                // hyper drops what it has yet to write when a body fails. The end may have come together with what was
                // before it, so that is given a turn to leave.
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                this.end("");
                Poll::Ready(None)
            }
            Poll::Pending => match this.stall.poll(cx) {
                Poll::Ready(()) => {
                    this.end("upstream_stalled");
                    Poll::Ready(Some(Err(BrokenBody::Stalled.into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

impl Drop for RelayBody {
    fn drop(&mut self) {
        // hyper does not poll a body that it knows to have ended, such as one of known length after its last byte;
        // an HTTP/2 upstream may not even have said so yet.
        if self.source.is_end_stream() || self.announced == Some(self.received) {
            self.end("");
        } else {
            self.end("client_closed");
        }
    }
}
