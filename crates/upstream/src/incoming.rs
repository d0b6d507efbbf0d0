//! A body as it arrives, over either version and from either side.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http1::Http1Body;
use crate::http2::Received;
use crate::pool::BodyError;

/// The body of a message that is being received.
#[derive(Debug)]
pub enum Incoming {
    /// There is none.
    Empty,
    /// From an HTTP/1.1 connection that runs by itself.
    Http1(hyper::body::Incoming),
    /// From an HTTP/1.1 connection that runs while this is read.
    Driven(Http1Body),
    /// From an HTTP/2 stream.
    Http2(Received),
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|result| result.map_err(Into::into))),
            Self::Driven(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|result| result.map_err(Into::into))),
            Self::Http2(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|result| result.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Driven(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Driven(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
