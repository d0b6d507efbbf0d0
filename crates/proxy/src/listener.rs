//! The proxy port: accepts connections within bounds and reads what they ask for.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::Shared;
use crate::addresses::Place;
use crate::connection::{Watch, drive};
use crate::door::Entrance;
use crate::exchange::{Client, exchange_http1};
use crate::limits::{DRAIN, PROXY_HEADER_TIMEOUT};
use crate::meters::Gauge;
use crate::relay::ResponseBody;
use crate::socket::{Speaks, Watched};
use crate::source::read_header;
use crate::{door, socks, tunnel};

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
                // Whom a balancer brings is known only when it has said so.
                let balancer = shared.balancers.include(peer.ip());
                let place = if balancer {
                    None
                } else {
                    let Some(place) = enter(&shared, peer.ip()) else {
                        continue;
                    };
                    Some(place)
                };
                let open = shared.journal.meters().opened(Gauge::Connections);
                let connection = Arc::clone(&shared);
                shared.tasks.spawn(async move {
                    if balancer {
                        serve_balanced(connection, peer.ip(), socket).await;
                    } else {
                        serve_connection(connection, peer.ip(), socket).await;
                    }
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
    if timeout(DRAIN, shared.tasks.wait()).await.is_err() {
        tracing::info!("cutting the proxy connections that are still open");
        shared.aborting.cancel();
        shared.tasks.wait().await;
    }
}

fn enter(shared: &Shared, peer: IpAddr) -> Option<Place> {
    let place = shared.addresses.enter(peer);
    if place.is_none() {
        tracing::debug!(%peer, "connection closed: its address has too many");
    }
    place
}

/// Serves a connection that a load balancer brings, for whoever it says.
async fn serve_balanced(shared: Arc<Shared>, balancer: IpAddr, socket: TcpStream) {
    let mut socket = socket;
    let header = timeout(PROXY_HEADER_TIMEOUT, read_header(&mut socket, balancer));
    let header = tokio::select! {
        header = header => header,
        () = shared.closing.cancelled() => return,
    };
    let client = match header {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            tracing::warn!(peer = %balancer, %error, code = "proxy_protocol", "connection refused");
            return;
        }
        Err(_) => {
            tracing::info!(peer = %balancer, "connection closed: no PROXY protocol header in time");
            return;
        }
    };
    if let Some(_place) = enter(&shared, client) {
        serve_connection(shared, client, socket).await;
    }
}

async fn serve_connection(shared: Arc<Shared>, peer: IpAddr, socket: TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let own_port = socket.local_addr().ok().map(|own| own.port());
    let watch = Watch::new(peer, None);
    let socket = match door::enter(&shared, peer, socket).await {
        None => return,
        Some(Entrance::Socks(socket)) => return Box::pin(socks::serve(shared, peer, socket)).await,
        Some(Entrance::Http(socket)) => socket,
    };
    let watch = if socket.is_clear() {
        watch
    } else {
        // The handshake took time that the head is not to lack.
        Watch::new(peer, None)
    };
    watch.expect_head();
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
