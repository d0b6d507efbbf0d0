//! The proxy port: accepts connections within bounds and reads what they ask for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::Shared;
use crate::connection::{Watch, drive};
use crate::exchange::{Client, exchange_http1};
use crate::limits::DRAIN;
use crate::meters::Gauge;
use crate::relay::ResponseBody;
use crate::socket::{Speaks, Watched};
use crate::{door, tunnel};

/// How long accepting pauses when the system is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `closing`, then lets open exchanges end, then cuts what is left.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&shared.connections).acquire_owned() => permit,
            () = shared.closing.cancelled() => break,
        };
        let Ok(permit) = permit else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.closing.cancelled() => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                let Some(place) = shared.addresses.enter(peer.ip()) else {
                    tracing::debug!(peer = %peer.ip(), "connection closed: its address has too many");
                    continue;
                };
                let open = shared.journal.meters().opened(Gauge::Connections);
                let connection = Arc::clone(&shared);
                shared.tasks.spawn(async move {
                    let watch = Watch::new(peer.ip(), None);
                    watch.expect_head();
                    serve_connection(connection, watch, socket).await;
                    drop((open, place, permit));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a proxy connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    shared.tasks.close();
    if tokio::time::timeout(DRAIN, shared.tasks.wait())
        .await
        .is_err()
    {
        tracing::info!("cutting the proxy connections that are still open");
        shared.aborting.cancel();
        shared.tasks.wait().await;
    }
}

async fn serve_connection(shared: Arc<Shared>, watch: Arc<Watch>, socket: TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let own_port = socket.local_addr().ok().map(|own| own.port());
    let Some(socket) = door::enter(&shared, watch.peer(), socket).await else {
        return;
    };
    let watch = if socket.is_clear() {
        watch
    } else {
        // The handshake took time that the head is not to lack.
        let watch = Watch::new(watch.peer(), None);
        watch.expect_head();
        watch
    };
    let is_refused = shared.options.require_tls && socket.is_clear();
    let client = Arc::new(Client {
        shared: Arc::clone(&shared),
        watch: Arc::clone(&watch),
        tunnel: None,
        own_port,
    });
    let io = TokioIo::new(Watched::new(socket, Arc::clone(&client), Speaks::Http1));
    let service = service_fn(move |request| dispatch(Arc::clone(&client), is_refused, request));
    let connection = shared.http1.serve_connection(io, service).with_upgrades();
    drive(&shared, &watch, connection).await;
}

async fn dispatch(
    client: Arc<Client>,
    is_refused: bool,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    if is_refused {
        let _head_is_complete = client.watch.busy();
        let refusal = door::clear_refused();
        return Ok(refusal.into_response(client.shared.options.base_url.as_ref()));
    }
    if request.method() == Method::CONNECT {
        return Ok(tunnel::open(&client, request));
    }
    // What can never be forwarded is told so before anyone is asked for credentials.
    if let Err(refusal) = crate::head::is_forwardable(request.uri()) {
        let _head_is_complete = client.watch.busy();
        return Ok(refusal.into_response(client.shared.options.base_url.as_ref()));
    }
    exchange_http1(client, request).await
}
