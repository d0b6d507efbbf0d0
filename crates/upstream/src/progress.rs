//! A request body on its way out, watched for progress and for its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use crate::error::{Sent, UpstreamError, UpstreamErrorKind};
use crate::pool::{Body, BodyError};

/// Longest wait for a response head while nothing of the request moves.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

/// What is known of a request body that is being sent.
#[derive(Debug)]
pub(crate) struct Progress {
    epoch: Instant,
    /// Milliseconds since `epoch` at which the body last moved.
    moved: AtomicU64,
    done: AtomicBool,
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
        });
        let watched = Arc::clone(&progress);
        (
            request.map(|inner| {
                Watched {
                    inner,
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
        match progress.map(Progress::last) {
            Some(last) if last > from => from = last,
            _ => {
                return Err(UpstreamError::new(
                    UpstreamErrorKind::Timeout,
                    Sent::MaybeSent,
                    "the upstream did not answer within five minutes",
                ));
            }
        }
    }
}

struct Watched {
    inner: Body,
    progress: Arc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => {
                self.progress.note();
                if self.inner.is_end_stream() {
                    self.progress.done.store(true, Ordering::Release);
                }
            }
            Poll::Ready(None) => self.progress.done.store(true, Ordering::Release),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
}
