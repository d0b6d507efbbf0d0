//! A response body that is decoded and scrubbed as it streams.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::decode::Decoder;
use super::{Decoding, ScrubStream, Scrubber};

/// What a scrubbed body fails with: the inner body's error, or a [`DecodeError`](super::DecodeError).
type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// Scrubs the data and trailers of another body.
    ///
    /// Without a [`Decoding`] the length is unchanged, so the size hint of the inner body stays exact. With one it is
    /// unknown. A decoding failure is an error of the body: the message to the agent breaks off, visibly.
    pub struct ScrubBody<B> {
        #[pin]
        inner: B,
        scrubber: Arc<Scrubber>,
        stream: ScrubStream,
        decoder: Option<Decoder>,
        // Runs while the inner body pauses behind what may be the beginning of a value.
        timer: Option<Pin<Box<Sleep>>>,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

impl<B> ScrubBody<B> {
    /// Wraps `inner`, which `decoding` (from [`decode_for_scrub`](super::decode_for_scrub)) says how to decode.
    pub fn new(inner: B, scrubber: &Arc<Scrubber>, decoding: Option<&Decoding>) -> Self {
        Self {
            inner,
            scrubber: Arc::clone(scrubber),
            stream: scrubber.stream(),
            decoder: decoding.map(|decoding| Decoder::new(&decoding.0)),
            timer: None,
            trailers: None,
            ended: false,
        }
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
            let frame = match this.inner.as_mut().poll_frame(cx) {
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
                    return Poll::Ready(Some(Err(error.into())));
                }
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(decoder) = this.decoder {
                            decoder.supply(data);
                            continue;
                        }
                        // What ends with this chunk need not wait for the next.
                        let clean = if this.inner.is_end_stream() {
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
                        this.scrubber.scrub_headers(&mut trailers);
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
            return self.trailers.is_none();
        }
        self.decoder.is_none() && self.stream.held() == 0 && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.ended {
            return SizeHint::with_exact(0);
        }
        if self.decoder.is_some() {
            return SizeHint::default();
        }
        let held = self.stream.held() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(held)) {
            hint.set_upper(upper);
        }
        hint.set_lower(inner.lower().saturating_add(held));
        hint
    }
}

impl<B> fmt::Debug for ScrubBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubBody")
            .field("decoder", &self.decoder)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
