//! CONNECT, and [`socks`](crate::socks) after its handshake: a tunnel to one authority, for one principal.
//!
//! Nothing is dialled here. Bytes that the client sent before our answer are kept. What is inside is TLS, or HTTP in
//! clear (`ws://` clients tunnel to port 80); its first byte tells.

use std::net::IpAddr;
use std::sync::Arc;

use agent_vault_policy::{Authority, Scheme};
use agent_vault_upstream::Route;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;

use agent_vault_broker::Principal;

use crate::Shared;
use crate::authenticate::{authenticate, from_its_sources};
use crate::connection::Watch;
use crate::door::{ClientSocket, HANDSHAKE_RECORD};
use crate::exchange::{Client, InTunnel};
use crate::head::{Tunnel, connect_target, fits};
use crate::intercept;
use crate::journal::Entry;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::meters::{Gauge, Open, Protocol};
use crate::relay::ResponseBody;
use crate::respond::Refusal;
use crate::socket::{Prefixed, Watched};

/// Answers a CONNECT request and, when it is good, serves the tunnel on a task of its own.
pub(crate) fn open(client: &Client, request: Request<Incoming>) -> Response<ResponseBody> {
    let _busy = client.watch.busy();
    match admit(client, request) {
        Ok(()) => Response::new(ResponseBody::EMPTY),
        Err(refusal) => refusal.into_response(client.shared.options.base_url.as_ref()),
    }
}

fn admit(client: &Client, request: Request<Incoming>) -> Result<(), Refusal> {
    let (shared, watch) = (&client.shared, &client.watch);
    let now = shared.now();
    let mut request = request;
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let principal = authenticate(
        &shared.broker,
        &shared.failures,
        &parts.headers,
        watch.peer(),
        now,
    )
    .inspect_err(|refusal| {
        tracing::info!(peer = %watch.peer(), target = %parts.uri, code = refusal.code, "CONNECT refused");
        shared.journal.meters().not_authenticated(refusal.code);
    })?;
    let recorded = |refusal: Refusal| {
        let host: Arc<str> = Arc::from(parts.uri.to_string());
        let mut entry = Entry::open(
            &shared.journal,
            &principal,
            Protocol::Connect,
            &parts.method,
            &host,
            now,
        );
        entry.answered(refusal.status);
        entry.complete(refusal.code);
        refusal
    };
    fits(&parts).map_err(&recorded)?;
    let authority = connect_target(&parts, client.own_port).map_err(&recorded)?;
    let opened = Opened::new(shared, watch.peer(), &principal, authority).map_err(&recorded)?;
    shared
        .tasks
        .spawn(async move { opened.serve(on_upgrade).await });
    Ok(())
}

/// A tunnel that its principal may have.
pub(crate) struct Opened {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    principal: Principal,
    tunnel: Tunnel,
    /// Its place among the principal's, and among those that are counted.
    _held: (OwnedSemaphorePermit, Open),
}

impl Opened {
    /// A tunnel to `authority`, if the principal may have one more.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        peer: IpAddr,
        principal: &Principal,
        authority: Authority,
    ) -> Result<Self, Refusal> {
        from_its_sources(principal, peer)?;
        let place = principal
            .limits()
            .tunnel()
            .ok_or_else(Refusal::too_many_tunnels)?;
        Ok(Self {
            shared: Arc::clone(shared),
            watch: Watch::new(peer, Some(principal.clone())),
            principal: principal.clone(),
            tunnel: Tunnel::new(Scheme::Https, authority),
            _held: (place, shared.journal.meters().opened(Gauge::Tunnels)),
        })
    }

    async fn serve(self, on_upgrade: OnUpgrade) {
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "client left before its tunnel was open");
                return;
            }
        };
        match take_apart(upgraded) {
            Some((early, socket)) => self.carry(early, socket).await,
            None => tracing::error!("a tunnel's socket is of another kind than the listener's"),
        }
    }

    /// Serves what is inside; `early` was read of it already.
    pub(crate) async fn carry(self, early: Bytes, socket: ClientSocket) {
        let mut socket = socket;
        let first = if early.is_empty() {
            let mut buffer = bytes::BytesMut::with_capacity(2048);
            let reading = tokio::time::timeout(HANDSHAKE_TIMEOUT, socket.read_buf(&mut buffer));
            let read = tokio::select! {
                read = reading => read,
                () = self.shared.aborting.cancelled() => return,
            };
            match read {
                Ok(Ok(read)) if read > 0 => buffer.freeze(),
                // Clients open tunnels that they then do not need.
                Ok(_) | Err(_) => return,
            }
        } else {
            early
        };
        let is_tls = first.first() == Some(&HANDSHAKE_RECORD);
        let is_http2 = first.starts_with(b"PRI ");
        let io = Prefixed::new(first, socket);
        if is_tls {
            intercept::serve_tls(self.shared, self.watch, self.principal, self.tunnel, io).await;
        } else {
            let tunnel = Tunnel::new(Scheme::Http, self.tunnel.authority);
            intercept::serve_clear(
                self.shared,
                self.watch,
                self.principal,
                tunnel,
                io,
                is_http2,
            )
            .await;
        }
    }
}

fn take_apart(upgraded: Upgraded) -> Option<(Bytes, ClientSocket)> {
    let parts = upgraded.downcast::<TokioIo<Watched<ClientSocket>>>().ok()?;
    Some((parts.read_buf, parts.io.into_inner().into_inner()))
}

/// What every request of a tunnel shares.
pub(crate) fn settled(principal: Principal, tunnel: Tunnel) -> Option<InTunnel> {
    let route = Route::new(principal.vault(), tunnel.scheme, tunnel.authority.clone())
        .map(Arc::new)
        .ok()?;
    Some(InTunnel {
        principal: Arc::new(principal),
        tunnel,
        route,
    })
}
