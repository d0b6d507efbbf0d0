//! A body as it arrives on a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// How the streams of bodies that were dropped before their end are kept open for a while.
#[derive(Debug, Clone)]
pub struct Lingering {
    /// Runs what waits.
    pub tasks: TaskTracker,
    /// How long.
    pub time: Duration,
    /// How many at once; others end at once.
    pub places: Arc<Semaphore>,
}

/// The body of a request or response on one HTTP/2 stream. Dropped before its end, it cancels the stream once nobody
/// sends on it either.
pub struct Received {
    stream: RecvStream,
    /// Bytes still to come, when the head said how many.
    remaining: Option<u64>,
    data_ended: bool,
    /// Nothing more can come: it has ended, or was reset.
    over: bool,
    /// Called when the body is first asked for.
    first: Option<Box<dyn FnOnce() + Send>>,
    lingering: Option<Lingering>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

impl Received {
    /// The body that follows `headers`.
    #[must_use]
    pub fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        let remaining = if stream.is_end_stream() {
            Some(0)
        } else {
            // h2 has refused what is no number, and what contradicts itself.
            headers
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.parse().ok())
        };
        Self {
            stream,
            remaining,
            data_ended: false,
            over: false,
            first: None,
            lingering: None,
        }
    }

    /// Keeps the stream open for a while when the body is dropped before its end. A client that is told at once that no
    /// more of its request is wanted may miss the answer before that; some versions of curl do.
    #[must_use]
    pub fn lingering(mut self, lingering: &Lingering) -> Self {
        if !self.stream.is_end_stream() {
            self.lingering = Some(lingering.clone());
        }
        self
    }

    /// Calls `first` when the body is first asked for: the moment to tell a peer that waits for `100 Continue`.
    #[must_use]
    pub fn when_asked_for(mut self, first: impl FnOnce() + Send + 'static) -> Self {
        self.first = Some(Box::new(first));
        self
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            first();
        }
        if !this.data_ended {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The peer may send on as soon as the next stage has taken this; what that stage holds is bounded.
                    this.stream.flow_control().release_capacity(data.len())?;
                    if let Some(remaining) = &mut this.remaining {
                        *remaining = remaining.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // Whatever its code: a reset after the whole body, with which a peer says that it wants no more of ours
                // (RFC 9113 section 8.1), is none for h2, which tells that end from a missing one.
                Some(Err(error)) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.data_ended = true;
                    this.over = true;
                }
            }
        }
        match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(lingering) = self.lingering.take()
            && !self.over
            && !self.stream.is_end_stream()
            && Handle::try_current().is_ok()
            && let Ok(place) = lingering.places.try_acquire_owned()
        {
            // What holds the flow control holds the stream. More than its window allows does not come.
            let stream = self.stream.flow_control().clone();
            lingering.tasks.spawn(async move {
                tokio::time::sleep(lingering.time).await;
                drop((stream, place));
            });
        }
    }
}
