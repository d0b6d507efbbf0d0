//! Terminates the client's TLS as the host that it asked for, and serves HTTP inside.
//!
//! The ClientHello is read first: the server name in it must be the CONNECT target, or the request would be matched by
//! one name and answered under another. A client that dials an address sends no name; then the address counts.

use std::sync::Arc;

use agent_vault_broker::Principal;
use agent_vault_policy::Host;
use http::Method;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Shared;
use crate::connection::{Watch, drive};
use crate::door::ClientSocket;
use crate::exchange::{Client, exchange_http1};
use crate::head::Tunnel;
use crate::http2::Streams;
use crate::journal::Entry;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::meters::Protocol;
use crate::socket::{Prefixed, Speaks, Watched};
use crate::tunnel::settled;

type Socket = Prefixed<ClientSocket>;

/// Why a client's handshake led to nothing.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the handshake did not finish in time")]
    Timeout,
    #[error("the TLS server name `{0}` is not the CONNECT target")]
    ServerName(String),
    #[error("no certificate could be issued: {0}")]
    Certificate(#[from] agent_vault_ca::CaError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl HandshakeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "tls_handshake_timeout",
            Self::ServerName(_) => "sni_mismatch",
            Self::Certificate(_) => "certificate_error",
            Self::Io(_) => "tls_handshake_failed",
        }
    }
}

/// Serves a tunnel whose first byte was TLS.
pub(crate) async fn serve_tls(
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    principal: Principal,
    tunnel: Tunnel,
    socket: Socket,
) {
    match handshake(&shared, &tunnel, socket).await {
        Ok(stream) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            tracing::debug!(host = %tunnel.display, http2, "a tunnel is up");
            serve(shared, watch, principal, tunnel, stream, http2).await;
        }
        Err(error) => {
            // The usual cause is a client that does not trust our CA, which would otherwise fail in silence.
            tracing::info!(host = %tunnel.display, %error, "TLS with a client failed");
            let mut entry = Entry::open(
                &shared.journal,
                &principal,
                Protocol::Connect,
                &Method::CONNECT,
                &tunnel.display,
                shared.now(),
            );
            entry.answered(http::StatusCode::OK);
            entry.complete(error.code());
        }
    }
}

/// Serves a tunnel that carries HTTP in clear.
pub(crate) async fn serve_clear(
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    principal: Principal,
    tunnel: Tunnel,
    socket: Socket,
    http2: bool,
) {
    serve(shared, watch, principal, tunnel, socket, http2).await;
}

async fn handshake(
    shared: &Shared,
    tunnel: &Tunnel,
    socket: Socket,
) -> Result<TlsStream<Socket>, HandshakeError> {
    let accept = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let host = tunnel.authority.host();
        if let Some(name) = start.client_hello().server_name()
            && Host::parse(name).ok().as_ref() != Some(host)
        {
            return Err(HandshakeError::ServerName(name.to_owned()));
        }
        // Only what costs something is rationed: a client that sends half a hello holds nobody up.
        let _place = shared.handshakes.acquire().await;
        let config = shared.issuer.server_config(host.as_str(), shared.now())?;
        Ok(start.into_stream(config).await?)
    };
    tokio::select! {
        accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, accept) => {
            accepted.map_err(|_| HandshakeError::Timeout)?
        }
        () = shared.aborting.cancelled() => Err(HandshakeError::Timeout),
    }
}

async fn serve<S>(
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    principal: Principal,
    tunnel: Tunnel,
    stream: S,
    http2: bool,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(settled) = settled(principal, tunnel) else {
        return;
    };
    let speaks = if http2 { Speaks::Http2 } else { Speaks::Http1 };
    let client = Arc::new(Client {
        shared: Arc::clone(&shared),
        watch: Arc::clone(&watch),
        tunnel: Some(settled),
        own_port: None,
    });
    let io = Watched::new(stream, Arc::clone(&client), speaks);
    if http2 {
        drive(&shared, &watch, Streams::new(client, io)).await;
    } else {
        let service = service_fn(move |request| exchange_http1(Arc::clone(&client), request));
        let connection = shared
            .http1
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        drive(&shared, &watch, connection).await;
    }
}
