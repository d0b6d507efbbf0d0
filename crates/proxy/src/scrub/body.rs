//! A response body that is decoded and scrubbed as it streams.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep, timeout};

use super::decode::Decoder;
use super::{Decoding, Fit, ScrubStream, Search};

/// What a scrubbed body fails with: the inner body's error, or a [`DecodeError`](super::DecodeError).
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of at most this declared length is read to its end before its head leaves, so that its length may change.
pub const MAX_SETTLED_BYTES: u64 = 64 * 1024;

/// How long the end of such a body is waited for; a body that trickles keeps the length that was declared.
pub const SETTLE_WAIT: Duration = Duration::from_millis(200);

/// What is known of a body that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Its true length in bytes.
    pub length: u64,
    /// Something in it was replaced.
    pub changed: bool,
}

pin_project! {
    /// Scrubs the data and trailers of another body.
    ///
    /// With [`Fit::Same`] and without a [`Decoding`] the length is unchanged, so the size hint of the inner body stays
    /// exact; else it is unknown. A decoding failure is an error of the body: the message to the agent breaks off, visibly.
    pub struct ScrubBody<B> {
        #[pin]
        inner: B,
        search: Search,
        stream: ScrubStream,
        fit: Fit,
        decoder: Option<Decoder>,
        // What was read of the inner body before anybody asked, and how that ended if it failed.
        ahead: VecDeque<Bytes>,
        broken: Option<BoxError>,
        // Scrubbed already.
        ready: VecDeque<Bytes>,
        // Runs while the inner body pauses behind what may be the beginning of a value.
        timer: Option<Pin<Box<Sleep>>>,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

impl<B> ScrubBody<B> {
    /// Wraps `inner`, which `decoding` (from [`decode_for_scrub`](super::decode_for_scrub)) says how to decode.
    pub fn new(inner: B, search: &Search, decoding: Option<&Decoding>, fit: Fit) -> Self {
        Self {
            inner,
            search: search.clone(),
            stream: search.stream(fit),
            fit,
            decoder: decoding.map(|decoding| Decoder::new(&decoding.0)),
            ahead: VecDeque::new(),
            broken: None,
            ready: VecDeque::new(),
            timer: None,
            trailers: None,
            ended: false,
        }
    }
}

impl<B> ScrubBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Reads the body to its end, if that comes within [`SETTLE_WAIT`] and [`MAX_SETTLED_BYTES`], and scrubs it with
    /// [`Fit::Free`]. For a body that is not encoded; before it is polled.
    ///
    /// `None` leaves the body as it was.
    pub async fn settle(&mut self) -> Option<Settled> {
        // Nearly always it came with the head, and then no timer is needed.
        let whole = match self.read_ahead().now_or_never() {
            Some(whole) => whole,
            None => timeout(SETTLE_WAIT, self.read_ahead())
                .await
                .unwrap_or(false),
        };
        if !whole {
            return None;
        }
        let found = self.search.found();
        let mut stream = self.search.stream(Fit::Free);
        let mut length = 0;
        let mut chunks = std::mem::take(&mut self.ahead);
        let last = chunks.len().saturating_sub(1);
        for (at, chunk) in chunks.iter_mut().enumerate() {
            let text = std::mem::take(chunk);
            *chunk = if at == last {
                stream.push_last(text)
            } else {
                stream.push(text)
            };
            length += chunk.len() as u64;
        }
        chunks.retain(|chunk| !chunk.is_empty());
        self.ready = chunks;
        let changed = self.search.found() != found;
        if let Some(trailers) = &mut self.trailers {
            self.search.scrub_headers(trailers);
        }
        self.ended = true;
        Some(Settled { length, changed })
    }

    #[cfg(test)]
    pub(super) fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// True once the inner body has ended well. May be dropped at any time: what was read is kept.
    async fn read_ahead(&mut self) -> bool {
        let mut bytes = 0;
        while !self.inner.is_end_stream() {
            match self.inner.frame().await {
                None => break,
                Some(Err(error)) => {
                    self.broken = Some(error.into());
                    return false;
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        bytes += data.len() as u64;
                        self.ahead.push_back(data);
                        if bytes > MAX_SETTLED_BYTES {
                            return false;
                        }
                    }
                    Err(frame) => {
                        // Nothing follows trailers.
                        self.trailers = frame.into_trailers().ok();
                        break;
                    }
                },
            }
        }
        true
    }
}

impl<B> Body for ScrubBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        loop {
            if let Some(clean) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(clean))));
            }
            if *this.ended {
                return Poll::Ready(this.trailers.take().map(|t| Ok(Frame::trailers(t))));
            }
            if let Some(decoder) = this.decoder {
                match decoder.pull() {
                    Ok(Some(decoded)) => {
                        let clean = this.stream.push(decoded);
                        if clean.is_empty() {
                            continue;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(clean))));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        *this.ended = true;
                        return Poll::Ready(Some(Err(error.into())));
                    }
                }
            }
            let next = if let Some(chunk) = this.ahead.pop_front() {
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            } else if let Some(error) = this.broken.take() {
                Poll::Ready(Some(Err(error)))
            } else {
                this.inner.as_mut().poll_frame(cx).map_err(Into::into)
            };
            let frame = match next {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let Some(wait) = this.stream.release_after() else {
                        return Poll::Pending;
                    };
                    let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
                    ready!(timer.as_mut().poll(cx));
                    *this.timer = None;
                    return Poll::Ready(Some(Ok(Frame::data(this.stream.release()))));
                }
            };
            *this.timer = None;
            match frame.transpose() {
                Err(error) => {
                    *this.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(decoder) = this.decoder {
                            decoder.supply(data);
                            continue;
                        }
                        // What ends with this chunk need not wait for the next.
                        let last = this.ahead.is_empty()
                            && this.broken.is_none()
                            && this.inner.is_end_stream();
                        let clean = if last {
                            *this.ended = true;
                            this.stream.push_last(data)
                        } else {
                            this.stream.push(data)
                        };
                        if !clean.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(clean))));
                        }
                        continue;
                    }
                    Err(frame) => {
                        let Ok(mut trailers) = frame.into_trailers() else {
                            continue;
                        };
                        this.search.scrub_headers(&mut trailers);
                        *this.trailers = Some(trailers);
                    }
                },
                Ok(None) => {}
            }
            // Trailers or the end: no more data.
            *this.ended = true;
            if let Some(error) = this.decoder.as_ref().and_then(|d| d.finish().err()) {
                *this.trailers = None;
                return Poll::Ready(Some(Err(error.into())));
            }
            let tail = this.stream.finish();
            if !tail.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(tail))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        if self.ended {
            return self.trailers.is_none() && self.ready.is_empty();
        }
        self.decoder.is_none()
            && self.stream.held() == 0
            && self.ahead.is_empty()
            && self.broken.is_none()
            && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ended {
            return SizeHint::with_exact(total(&self.ready));
        }
        if self.decoder.is_some() || self.fit == Fit::Free {
            return SizeHint::default();
        }
        let held = self.stream.held() as u64 + total(&self.ahead);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(held));
        hint
    }
}

fn total(chunks: &VecDeque<Bytes>) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

impl<B> fmt::Debug for ScrubBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubBody")
            .field("decoder", &self.decoder)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
