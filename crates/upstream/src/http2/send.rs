//! A body on its way out on a stream, under the peer's flow control.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::pool::BodyError;

/// Bytes of a stream's first chunk that may be queued before the peer's window is asked for: a small message then takes
/// one step.
const UNASKED: usize = 16 * 1024;

/// Why a body did not leave whole.
#[derive(Debug, thiserror::Error)]
pub enum SendBodyError {
    /// The body itself broke off; the stream was reset.
    #[error("the body broke off")]
    Body(#[source] BodyError),
    /// The peer reset the stream or is gone.
    #[error("the stream ended before its body was sent")]
    Stream(#[from] h2::Error),
}

/// Sends a body and its trailers on a stream; resets the stream when the body breaks off.
#[must_use = "nothing is sent unless polled"]
pub struct SendBody<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// A chunk that waits for the peer's window, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
    begun: bool,
}

impl<B> SendBody<B> {
    /// Sends `body` on `stream`, whose head has been sent without an end.
    pub fn new(stream: SendStream<Bytes>, body: B) -> Self {
        Self {
            stream,
            body,
            waiting: None,
            begun: false,
        }
    }

    /// The body, for what is left of it.
    pub fn into_body(self) -> B {
        self.body
    }

    /// Ends the stream for `reason`.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, SendBodyError>> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(granted) => {
                    granted?;
                }
                None => return Poll::Ready(Err(self.closed(cx))),
            }
        }
        let Some((data, last)) = self.waiting.take() else {
            return Poll::Ready(Ok(false));
        };
        self.stream.send_data(data, last)?;
        Poll::Ready(Ok(last))
    }

    /// Why the stream takes nothing more.
    fn closed(&mut self, cx: &mut Context<'_>) -> SendBodyError {
        match self.stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => h2::Error::from(reason).into(),
            Poll::Ready(Err(error)) => error.into(),
            Poll::Pending => h2::Error::from(Reason::STREAM_CLOSED).into(),
        }
    }
}

impl<B> Future for SendBody<B>
where
    B: Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    type Output = Result<(), SendBodyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if this.waiting.is_some() {
                match this.poll_waiting(cx)? {
                    Poll::Ready(true) => return Poll::Ready(Ok(())),
                    Poll::Ready(false) => {}
                    // A reset wakes whoever waits for capacity.
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                // Nobody else may be listening for the peer's reset while the body is silent.
                return match this.stream.poll_reset(cx)? {
                    Poll::Ready(reason) => Poll::Ready(Err(h2::Error::from(reason).into())),
                    Poll::Pending => Poll::Pending,
                };
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let error = error.into();
                    this.stream.send_reset(reset_reason(error.as_ref()));
                    return Poll::Ready(Err(SendBodyError::Body(error)));
                }
                None => {
                    this.stream.send_data(Bytes::new(), true)?;
                    return Poll::Ready(Ok(()));
                }
            };
            let frame = match frame.into_data() {
                Ok(data) => {
                    let last = this.body.is_end_stream();
                    if data.is_empty() && !last {
                        continue;
                    }
                    if data.is_empty() || (!this.begun && data.len() <= UNASKED) {
                        this.begun = true;
                        this.stream.send_data(data, last)?;
                        if last {
                            return Poll::Ready(Ok(()));
                        }
                    } else {
                        // Asked for only with the data in hand: a silent body would otherwise hold a part of the
                        // connection's window. h2 raises the request to what is queued.
                        this.begun = true;
                        this.stream.reserve_capacity(1);
                        this.waiting = Some((data, last));
                    }
                    continue;
                }
                Err(frame) => frame,
            };
            if let Ok(trailers) = frame.into_trailers() {
                this.stream.reserve_capacity(0);
                this.stream.send_trailers(trailers)?;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The reason to reset a stream for when its body failed with `error`: what the other side's stream was reset for, so
/// that a cancellation stays one on its way through. Never `NO_ERROR`, which says that nothing is missing.
#[must_use]
pub fn reset_reason(error: &(dyn StdError + 'static)) -> Reason {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return match error.reason() {
                None | Some(Reason::NO_ERROR) => Reason::INTERNAL_ERROR,
                Some(reason) => reason,
            };
        }
        cause = error.source();
    }
    Reason::INTERNAL_ERROR
}
