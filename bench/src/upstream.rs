//! The upstream of a run: TLS, fixed answers, nothing boxed that is small. What it answers is in the path.
//!
//! | path | answer |
//! |---|---|
//! | `/small` | as many bytes as the run says |
//! | `/bytes/N` | N bytes, streamed |
//! | `/sink` | reads the body, then `ok` |
//! | `/echo` | the value of `Authorization`, in the middle of 64 KiB |
//! | `/events` | an event stream: the time in microseconds, once a second |

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use agent_vault_testing::pki::{TestCa, Validity};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Interval, interval_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::child;

/// Bytes of one piece of a large answer.
const PIECE: usize = 64 * 1024;
/// Bytes of the answer to `/echo`.
pub(crate) const ECHO: usize = 64 * 1024;
/// Time between two events of a stream.
pub(crate) const EVENT_EVERY: Duration = Duration::from_secs(1);

/// Serves until the parent has gone.
pub(crate) fn main(ca_out: &Path, bytes: usize, http1_only: bool) -> anyhow::Result<()> {
    let ca = TestCa::new();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let identity = ca.issue(&names, Validity::CURRENT);
    let alpn: &[&str] = if http1_only {
        &["http/1.1"]
    } else {
        &["h2", "http/1.1"]
    };
    let acceptor = TlsAcceptor::from(identity.server_config(alpn));
    let shared = Arc::new(Shared {
        small: Bytes::from(vec![b'b'; bytes]),
        piece: Bytes::from(vec![b'b'; PIECE]),
        tracker: TaskTracker::new(),
    });
    child::write(ca_out, &ca.pem())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    child::ready(listener.local_addr()?)?;
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap_or_default();
            let serving = Arc::clone(&shared).serve(acceptor.clone(), stream);
            shared.tracker.spawn(serving);
        }
    });
    child::wait_for_parent()?;
    runtime.shutdown_background();
    Ok(())
}

struct Shared {
    small: Bytes,
    piece: Bytes,
    tracker: TaskTracker,
}

impl Shared {
    async fn serve(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) {
        // A failed handshake is the peer's loss, and so is a connection that breaks.
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        let service = service_fn(move |request| Arc::clone(&self).answer(request));
        if h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .max_concurrent_streams(1000)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 24);
            builder
                .serve_connection(io, service)
                .await
                .unwrap_or_default();
        } else {
            http1::Builder::new()
                .serve_connection(io, service)
                .await
                .unwrap_or_default();
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Reply>, Infallible> {
        let path = request.uri().path();
        let mut kind = "application/octet-stream";
        let reply = if let Some(bytes) = path.strip_prefix("/bytes/") {
            Reply::Many {
                piece: self.piece.clone(),
                left: bytes.parse().unwrap_or_default(),
            }
        } else if path == "/sink" {
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            Reply::One(Bytes::from_static(b"ok"))
        } else if path == "/echo" {
            let value = request.headers().get(AUTHORIZATION);
            let mut text = vec![b'e'; ECHO / 2];
            text.extend_from_slice(value.map_or(b"none", HeaderValue::as_bytes));
            text.resize(ECHO, b'e');
            Reply::One(text.into())
        } else if path == "/events" {
            kind = "text/event-stream";
            Reply::events()
        } else {
            Reply::One(self.small.clone())
        };
        let mut response = Response::new(reply);
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static(kind));
        Ok(response)
    }
}

/// What is sent back.
enum Reply {
    One(Bytes),
    Many { piece: Bytes, left: u64 },
    Events(Box<Interval>),
}

impl Reply {
    fn events() -> Self {
        // Spread over the second, so that streams do not all speak at once.
        let offset = Duration::from_micros(u64::from(now_micros() as u32) % 1_000_000);
        Self::Events(Box::new(interval_at(
            (Instant::now() + offset).into(),
            EVENT_EVERY,
        )))
    }
}

/// The system's monotonic time in microseconds, the same in all processes of a run.
pub(crate) fn now_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut *self {
            Self::One(whole) if whole.is_empty() => return Poll::Ready(None),
            Self::One(whole) => std::mem::take(whole),
            Self::Many { left: 0, .. } => return Poll::Ready(None),
            Self::Many { piece, left } => {
                let size = usize::try_from(*left).unwrap_or(PIECE).min(PIECE);
                *left -= size as u64;
                piece.slice(..size)
            }
            Self::Events(interval) => {
                ready!(interval.poll_tick(cx));
                format!("data: {}\n\n", now_micros()).into()
            }
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::One(whole) => SizeHint::with_exact(whole.len() as u64),
            Self::Many { left, .. } => SizeHint::with_exact(*left),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
