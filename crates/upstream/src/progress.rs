//! A request body on its way out, watched for progress and for its end, and kept while it may be needed once more.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use crate::error::{Sent, UpstreamError, UpstreamErrorKind};
use crate::pool::{Body, BodyError, MAX_STREAMS_PER_CONNECTION};

/// Longest wait for a response head while nothing of the request moves.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// Largest part of a body that is kept until its request is known to be processed, in bytes. They are not copied.
const MAX_KEPT_BYTES: usize = 256 * 1024;
/// Most pieces that it may have come in.
const MAX_KEPT_PIECES: usize = 64;

/// What is known of a request body that is being sent.
#[derive(Debug)]
pub(crate) struct Progress {
    epoch: Instant,
    /// Milliseconds since `epoch` at which the body last moved.
    moved: AtomicU64,
    done: AtomicBool,
    /// One of [`LOST`], [`KEEPING`] and [`AGAIN`].
    keeping: AtomicU8,
    kept: Mutex<Kept>,
}

/// What has left is not kept.
const LOST: u8 = 0;
/// What leaves is kept.
const KEEPING: u8 = 1;
/// What was kept leaves once more.
const AGAIN: u8 = 2;

/// What has left of a body.
#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Piece>,
    bytes: usize,
    /// Pieces that have left once more.
    repeated: usize,
    /// Bytes of those that have not.
    waiting: usize,
}

#[derive(Debug, Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Piece {
    fn of(frame: &Frame<Bytes>) -> Option<Self> {
        let data = frame.data_ref().cloned().map(Self::Data);
        data.or_else(|| frame.trailers_ref().cloned().map(Self::Trailers))
    }

    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }
}

impl Progress {
    /// Watches the body of `request`; `None` when it has none.
    pub(crate) fn watch(request: Request<Body>) -> (Request<Body>, Option<Arc<Self>>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let progress = Arc::new(Self {
            epoch: Instant::now(),
            moved: AtomicU64::new(0),
            done: AtomicBool::new(false),
            keeping: AtomicU8::new(LOST),
            kept: Mutex::default(),
        });
        let watched = Arc::clone(&progress);
        (
            request.map(|inner| {
                Watched {
                    inner,
                    ended: false,
                    progress: watched,
                }
                .boxed_unsync()
            }),
            Some(progress),
        )
    }

    /// Whether the whole body was handed over.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    fn note(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// Keeps what leaves of the body from now on, while it is little. Nothing may have left before that is not kept.
    pub(crate) fn keep(&self) {
        if self.keeping.load(Ordering::Acquire) == LOST {
            self.keeping.store(KEEPING, Ordering::Release);
        }
    }

    /// Lets go of what was kept: the body will not be needed again.
    pub(crate) fn let_go(&self) {
        if self.keeping.swap(LOST, Ordering::AcqRel) != LOST {
            *self.kept() = Kept::default();
        }
    }

    /// Lets the body begin once more. False when it cannot.
    pub(crate) fn rewind(&self) -> bool {
        let mut kept = self.kept();
        if self.keeping.load(Ordering::Acquire) == LOST {
            return false;
        }
        kept.repeated = 0;
        kept.waiting = kept.bytes;
        self.keeping.store(AGAIN, Ordering::Release);
        self.done.store(false, Ordering::Release);
        true
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one piece, if it still can.
    fn note_piece(&self, frame: &Frame<Bytes>) {
        let mut kept = self.kept();
        if let Some(piece) = Piece::of(frame)
            && kept.bytes.saturating_add(piece.len()) <= MAX_KEPT_BYTES
            && kept.pieces.len() < MAX_KEPT_PIECES
        {
            kept.bytes += piece.len();
            kept.pieces.push(piece);
            kept.repeated = kept.pieces.len();
        } else {
            *kept = Kept::default();
            self.keeping.store(LOST, Ordering::Release);
        }
    }

    /// The next piece that leaves once more; `None` when the body goes on where it was.
    fn repeat(&self) -> Option<Frame<Bytes>> {
        let mut kept = self.kept();
        let Some(piece) = kept.pieces.get(kept.repeated).cloned() else {
            self.keeping.store(KEEPING, Ordering::Release);
            return None;
        };
        kept.repeated += 1;
        kept.waiting -= piece.len();
        Some(piece.into_frame())
    }

    /// Pieces, and bytes of them, that are still to leave once more.
    fn waiting(&self) -> (usize, usize) {
        if self.keeping.load(Ordering::Acquire) != AGAIN {
            return (0, 0);
        }
        let kept = self.kept();
        (kept.pieces.len() - kept.repeated, kept.waiting)
    }

    /// When the body last moved.
    pub(crate) fn last(&self) -> Instant {
        self.epoch + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }
}

/// Waits for a response head for as long as the request moves, and then five minutes.
pub(crate) async fn until_head<T>(
    sent: impl Future<Output = T>,
    progress: Option<&Progress>,
) -> Result<T, UpstreamError> {
    let mut sent = std::pin::pin!(sent);
    let mut from = Instant::now();
    loop {
        if let Ok(answered) = tokio::time::timeout_at(from + HEAD_TIMEOUT, sent.as_mut()).await {
            return Ok(answered);
        }
        from = moved_since(from, progress).ok_or_else(no_answer)?;
    }
}

/// The same wait for a connection that serves one exchange after the other: its timer is made once and set anew for
/// each.
#[derive(Debug)]
pub(crate) struct Patience {
    from: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Self {
            from: Instant::now(),
            timer: Box::pin(tokio::time::sleep(HEAD_TIMEOUT)),
        }
    }

    /// An exchange begins.
    pub(crate) fn begin(&mut self) {
        self.wait_from(Instant::now());
    }

    fn wait_from(&mut self, from: Instant) {
        self.from = from;
        self.timer.as_mut().reset(from + HEAD_TIMEOUT);
    }

    /// Ready with what is wrong when the head has not come in time.
    pub(crate) fn poll(
        &mut self,
        progress: Option<&Progress>,
        cx: &mut Context<'_>,
    ) -> Poll<UpstreamError> {
        while self.timer.as_mut().poll(cx).is_ready() {
            match moved_since(self.from, progress) {
                Some(last) => self.wait_from(last),
                None => return Poll::Ready(no_answer()),
            }
        }
        Poll::Pending
    }
}

/// Timers of a connection that serves several exchanges at once, for one after the other.
#[derive(Debug, Default)]
pub(crate) struct Timers(Mutex<Vec<Patience>>);

/// A timer in use; given back on drop.
pub(crate) struct Waiting<'a> {
    patience: Option<Patience>,
    timers: &'a Timers,
}

impl Timers {
    /// A timer for an exchange that begins.
    pub(crate) fn begin(&self) -> Waiting<'_> {
        let known = self.lock().pop();
        let mut patience = known.unwrap_or_else(Patience::new);
        patience.begin();
        Waiting {
            patience: Some(patience),
            timers: self,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Patience>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// See [`Patience::poll`].
    pub(crate) fn poll(
        &mut self,
        progress: Option<&Progress>,
        cx: &mut Context<'_>,
    ) -> Poll<UpstreamError> {
        match &mut self.patience {
            Some(patience) => patience.poll(progress, cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(patience) = self.patience.take() {
            let mut timers = self.timers.lock();
            if timers.len() < MAX_STREAMS_PER_CONNECTION {
                timers.push(patience);
            }
        }
    }
}

/// When the body last moved, if that was after `from`.
fn moved_since(from: Instant, progress: Option<&Progress>) -> Option<Instant> {
    progress.map(Progress::last).filter(|last| *last > from)
}

fn no_answer() -> UpstreamError {
    UpstreamError::new(
        UpstreamErrorKind::Timeout,
        Sent::MaybeSent,
        "the upstream did not answer within five minutes",
    )
}

struct Watched {
    inner: Body,
    /// Whether `inner` has come to its end.
    ended: bool,
    progress: Arc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.progress.keeping.load(Ordering::Acquire) == AGAIN
            && let Some(frame) = this.progress.repeat()
        {
            this.progress.note();
            if this.is_end_stream() {
                this.progress.done.store(true, Ordering::Release);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.ended {
            this.progress.done.store(true, Ordering::Release);
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.progress.note();
                if this.progress.keeping.load(Ordering::Acquire) != LOST {
                    this.progress.note_piece(frame);
                }
                if this.inner.is_end_stream() {
                    this.ended = true;
                    this.progress.done.store(true, Ordering::Release);
                }
            }
            Poll::Ready(None) => {
                this.ended = true;
                this.progress.done.store(true, Ordering::Release);
            }
            Poll::Ready(Some(Err(_))) => this.progress.let_go(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        (self.ended || self.inner.is_end_stream()) && self.progress.waiting().0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let again = self.progress.waiting().1 as u64;
        let mut whole = SizeHint::new();
        whole.set_lower(inner.lower().saturating_add(again));
        if let Some(upper) = inner.upper() {
            whole.set_upper(upper.saturating_add(again));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;

    /// A body of `pieces` pieces, one every four minutes.
    fn slow(pieces: usize) -> Request<Body> {
        let stream = futures_util::stream::unfold(0, move |sent| async move {
            if sent == pieces {
                return None;
            }
            tokio::time::sleep(Duration::from_secs(240)).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), sent + 1))
        });
        Request::new(StreamBody::new(Box::pin(stream)).boxed_unsync())
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_begins_when_the_request_stands_still() {
        for (answers, wanted) in [(true, 40 * 60), (false, 45 * 60)] {
            let (request, progress) = Progress::watch(slow(10));
            let progress = progress.unwrap();
            let start = Instant::now();
            let exchange = async {
                let body = request.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes().len(), 10);
                if !answers {
                    std::future::pending::<()>().await;
                }
            };
            let outcome = until_head(exchange, Some(&progress)).await;
            assert_eq!(outcome.is_ok(), answers);
            assert!(progress.is_done());
            assert_eq!(start.elapsed().as_secs(), wanted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_timer_serves_one_exchange_after_the_other() {
        let mut patience = Patience::new();
        for pieces in [0, 10, 0] {
            tokio::time::sleep(Duration::from_secs(100)).await;
            let (request, progress) = Progress::watch(slow(pieces));
            let progress = progress.unwrap();
            let start = Instant::now();
            patience.begin();
            let sending = request.into_body().collect();
            let late = std::future::poll_fn(|cx| patience.poll(Some(&progress), cx));
            let (sent, late) = tokio::join!(sending, late);
            assert_eq!(sent.unwrap().to_bytes().len(), pieces);
            assert_eq!(late.kind(), UpstreamErrorKind::Timeout);
            assert_eq!(start.elapsed().as_secs(), pieces as u64 * 240 + 300);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_body_it_is_five_minutes() {
        let empty = http_body_util::Empty::new().map_err(|never| match never {});
        let (_, progress) = Progress::watch(Request::new(empty.boxed_unsync()));
        assert!(progress.is_none());
        let start = Instant::now();
        let error = until_head(std::future::pending::<()>(), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), UpstreamErrorKind::Timeout);
        assert!(!error.certainly_not_sent());
        assert_eq!(start.elapsed().as_secs(), 300);
    }

    async fn rest(body: &mut Body) -> (Vec<u8>, bool) {
        let mut text = Vec::new();
        let mut trailers = false;
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(data) => text.extend_from_slice(&data),
                Err(_) => trailers = true,
            }
        }
        (text, trailers)
    }

    fn in_pieces(pieces: Vec<Frame<Bytes>>) -> Request<Body> {
        let pieces = pieces.into_iter().map(Ok::<_, BodyError>);
        Request::new(StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync())
    }

    #[tokio::test]
    async fn what_was_kept_leaves_once_more_wherever_the_body_was() {
        let pieces = || {
            vec![
                Frame::data(Bytes::from_static(b"one ")),
                Frame::data(Bytes::from_static(b"two ")),
                Frame::data(Bytes::from_static(b"three")),
                Frame::trailers(HeaderMap::new()),
            ]
        };
        for taken in 0..=5 {
            let (request, progress) = Progress::watch(in_pieces(pieces()));
            let progress = progress.unwrap();
            progress.keep();
            let mut body = request.into_body();
            // Twice, the second time one piece further.
            for taken in [taken, taken + 1] {
                for _ in 0..taken {
                    body.frame().await;
                }
                assert!(progress.rewind());
                assert!(!progress.is_done());
            }
            assert_eq!(rest(&mut body).await, (b"one two three".to_vec(), true));
            assert!(progress.is_done() && body.is_end_stream());
        }
    }

    #[tokio::test]
    async fn the_length_counts_what_leaves_once_more() {
        let body = http_body_util::Full::new(Bytes::from_static(b"whole"));
        let body = body.map_err(|never| match never {}).boxed_unsync();
        let (request, progress) = Progress::watch(Request::new(body));
        let progress = progress.unwrap();
        progress.keep();
        let mut body = request.into_body();
        body.frame().await;
        assert!(body.is_end_stream());
        assert!(progress.rewind());
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(rest(&mut body).await.0, b"whole");
    }

    #[tokio::test]
    async fn much_is_not_kept() {
        let large = vec![Frame::data(Bytes::from(vec![b'x'; MAX_KEPT_BYTES + 1]))];
        let many = (0..=MAX_KEPT_PIECES)
            .map(|_| Frame::data(Bytes::from_static(b"x")))
            .collect();
        for pieces in [large, many] {
            let (request, progress) = Progress::watch(in_pieces(pieces));
            let progress = progress.unwrap();
            progress.keep();
            rest(&mut request.into_body()).await;
            assert!(!progress.rewind());
            assert!(progress.kept().pieces.is_empty());
        }
    }
}
