//! Response bodies of the upstream: fixed, patterned, and produced step by step by a task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::sync::mpsc;

use crate::BoxError;
use crate::tasks::Spawner;

/// The body of every response.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Largest piece of a patterned body.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) fn empty() -> ReplyBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(crate) fn full(content: impl Into<Bytes>) -> ReplyBody {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// `length` bytes of a repeating pattern, of known length.
pub(crate) fn pattern(length: u64) -> ReplyBody {
    Pattern {
        left: length,
        piece: Bytes::from(vec![b'v'; PIECE_BYTES]),
    }
    .boxed_unsync()
}

/// A body whose frames come from a task. The task sees the peer leave as an error of its next `send`.
pub(crate) fn produced<F, Fut>(spawner: &Spawner, produce: F) -> ReplyBody
where
    F: FnOnce(Producer) -> Fut,
    Fut: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1);
    spawner.spawn(produce(Producer(sender)));
    Produced(receiver).boxed_unsync()
}

/// The peer took no more of the body.
#[derive(Debug)]
pub(crate) struct Gone;

/// The sending end of a produced body.
pub(crate) struct Producer(mpsc::Sender<Result<Frame<Bytes>, BoxError>>);

impl Producer {
    pub(crate) async fn data(&self, data: impl Into<Bytes>) -> Result<(), Gone> {
        self.0
            .send(Ok(Frame::data(data.into())))
            .await
            .map_err(|_| Gone)
    }

    pub(crate) async fn trailers(&self, trailers: HeaderMap) -> Result<(), Gone> {
        self.0
            .send(Ok(Frame::trailers(trailers)))
            .await
            .map_err(|_| Gone)
    }

    /// Breaks the body off, after everything before has been taken and flushed.
    pub(crate) async fn fail(&self, reason: &'static str) -> Result<(), Gone> {
        self.taken().await?;
        self.0.send(Err(reason.into())).await.map_err(|_| Gone)
    }

    /// Waits until the connection has taken all frames and has had its turn to write them out.
    pub(crate) async fn taken(&self) -> Result<(), Gone> {
        drop(self.0.reserve().await.map_err(|_| Gone)?);
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Ends when the peer has gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

struct Produced(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl Body for Produced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

struct Pattern {
    left: u64,
    piece: Bytes,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(self.piece.len());
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
