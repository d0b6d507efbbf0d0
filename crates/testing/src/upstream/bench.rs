//! The upstream of benchmarks: one fixed answer, no records, nothing boxed.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::Full;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::tasks::Spawner;

/// The answer to everything.
#[derive(Clone, Debug)]
pub(crate) struct Reply(Bytes);

impl Reply {
    pub(crate) fn of(length: usize) -> Self {
        Self(Bytes::from(vec![b'b'; length]))
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.0.clone()));
        response.headers_mut().insert(
            "content-type",
            HeaderValue::from_static("application/octet-stream"),
        );
        response
    }
}

pub(crate) async fn serve(
    reply: Reply,
    tls: Option<TlsAcceptor>,
    stream: TcpStream,
    spawner: Spawner,
) {
    let Some(acceptor) = tls else {
        return speak(reply, false, stream, spawner).await;
    };
    // A failed handshake is the peer's loss.
    if let Ok(stream) = acceptor.accept(stream).await {
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        speak(reply, h2, stream, spawner).await;
    }
}

async fn speak(
    reply: Reply,
    h2: bool,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    spawner: Spawner,
) {
    let service = service_fn(move |_: http::Request<hyper::body::Incoming>| {
        let response = reply.response();
        async move { Ok::<_, Infallible>(response) }
    });
    let io = TokioIo::new(stream);
    if h2 {
        let mut builder = http2::Builder::new(spawner);
        builder
            .max_concurrent_streams(1000)
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
