//! The management port: accepts connections and runs the router on them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

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

/// Serves `router` until `stop` is cancelled, then lets open connections finish for five seconds.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
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
        let router = router.clone();
        let stop = stop.clone();
        connections.spawn(async move {
            connection(stream, peer, router, stop).await;
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

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let patience = Patience::new();
    let stream = Heard::new(stream, patience.clone());
    let counting = patience.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let serving = counting.serve(request.version());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
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

async fn pause(error: &io::Error, stop: &CancellationToken) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
    }
}
