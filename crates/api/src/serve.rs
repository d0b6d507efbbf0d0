//! The management port: accepts connections and runs the router on them. The first byte of a connection tells whether it is
//! TLS or HTTP in clear.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::middleware::from_fn;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::client::OverTls;
use crate::error::ApiError;
use crate::follow::Stopping;
use crate::headers;
use crate::patience::{Heard, Patience};
use crate::stall::StallLimit;

/// Most connections at one time; further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 1024;
/// Time between pings on a quiet HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Longest time that a write may make no progress.
const WRITE_STALL: Duration = Duration::from_mins(1);
/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most requests at one time on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Time that open connections have to finish once the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// Wait after an accept failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// First byte of a TLS handshake record (RFC 8446 section 5.1). No request of HTTP begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// The bytes of a client, in clear.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A handshake in progress.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send + 'a>>;

/// Terminates TLS.
pub trait TlsDoor: Send + Sync {
    /// Makes the handshake with a client that has begun one. Offers `http/1.1` and, if it likes, `h2`.
    fn accept(&self, socket: TcpStream) -> Accepting<'_>;
}

/// TLS on the management port.
#[derive(Clone)]
pub struct Tls {
    /// What terminates it.
    pub door: Arc<dyn TlsDoor>,
    /// HTTP in clear is refused, before anybody looks at the token that it carries.
    pub required: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

/// Serves `router` until `stop` is cancelled, then lets open connections finish for five seconds. Without `tls` everything is
/// HTTP in clear.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    stop: CancellationToken,
) {
    let refusing = Router::new()
        .fallback(clear_refused)
        .layer(from_fn(headers::secure));
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => break,
            },
        };
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(&error, &stop).await;
                    continue;
                }
            },
        };
        let routers = Routers {
            router: router.clone(),
            clear: match &tls {
                Some(tls) if tls.required => refusing.clone(),
                _ => router.clone(),
            },
        };
        let (tls, stop) = (tls.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, peer, routers, tls, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            open = connections.len(),
            "connections to the management port were cut off"
        );
    }
}

/// What serves requests over TLS, and what those in clear.
struct Routers {
    router: Router,
    clear: Router,
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routers: Routers,
    tls: Option<Tls>,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let patience = Patience::new();
    let entered = tokio::select! {
        entered = enter(stream, tls) => entered,
        () = patience.end() => return,
        () = stop.cancelled() => return,
    };
    let (stream, over_tls) = match entered {
        Ok(Some(entered)) => entered,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%peer, %error, "TLS to the management port failed");
            return;
        }
    };
    let (router, patience) = if over_tls {
        // The handshake took time that the head is not to lack.
        (routers.router, Patience::new())
    } else {
        (routers.clear, patience)
    };
    let stream = Heard::new(stream, patience.clone());
    let counting = patience.clone();
    let stopping = stop.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let serving = counting.serve(request.version());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Stopping(stopping.clone()));
        if over_tls {
            request.extensions_mut().insert(OverTls);
        }
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(serving);
            answer
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(PING_INTERVAL));
    let stream = StallLimit::new(stream, WRITE_STALL);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = patience.end() => {
            tracing::debug!(%peer, "a silent connection to the management port was closed");
            return;
        }
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "a connection to the management port ended badly");
    }
}

/// Finds out what is spoken, and terminates TLS. `None` when the client left before it said anything.
async fn enter(stream: TcpStream, tls: Option<Tls>) -> io::Result<Option<(Box<dyn Duplex>, bool)>> {
    let Some(tls) = tls else {
        return Ok(Some((Box::new(stream), false)));
    };
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first != [HANDSHAKE_RECORD] {
        return Ok(Some((Box::new(stream), false)));
    }
    Ok(Some((tls.door.accept(stream).await?, true)))
}

/// What is said to every request in clear where TLS is required.
async fn clear_refused() -> ApiError {
    ApiError::forbidden("This server is spoken to over TLS only").hint(
        "use an https:// address; a token or password that was sent without TLS may have been read on the way: change it",
    )
}

async fn pause(error: &io::Error, stop: &CancellationToken) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
    }
}
