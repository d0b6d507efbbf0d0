//! WebSocket handshakes: either side may speak HTTP/1.1 (RFC 6455) or HTTP/2 (RFC 8441), each on its own.

use std::io;
use std::sync::Arc;

use agent_vault_policy::SubstitutionError;
use agent_vault_upstream::http2::Duplex;
use agent_vault_upstream::{
    Answer, Body, Lease, NoTunnel, Route, Sent, Tunnel, Upstream, UpstreamError, UpstreamErrorKind,
    Wire,
};
use h2::ext::Protocol;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::connection::drive_stream;
use crate::exchange::{Client, strip_response};
use crate::head::Kind;
use crate::inject::Injection;
use crate::limits::WEBSOCKET_IDLE;
use crate::meters::Gauge;
use crate::relay::{Held, ResponseBody};
use crate::websocket::{MessageWatcher, RelayOptions, TextRewriter, relay};

/// How an accepted handshake is to be answered on the client's side.
#[derive(Debug)]
pub(crate) enum Form {
    /// `101`, with this `Sec-WebSocket-Accept`.
    Switching(HeaderValue),
    /// `200`, as RFC 8441 has it.
    Stream,
}

/// The client's half of a WebSocket, once it was told that the upstream accepts.
pub(crate) enum ClientTunnel {
    /// Its connection.
    Http1(OnUpgrade),
    /// Its stream.
    Http2(oneshot::Receiver<Duplex>),
}

impl ClientTunnel {
    async fn open(self) -> io::Result<Box<dyn Wire>> {
        match self {
            Self::Http1(upgrade) => Tunnel::Http1(upgrade).open().await,
            Self::Http2(stream) => {
                let duplex = stream.await.map_err(|_| io::ErrorKind::ConnectionReset)?;
                Ok(Box::new(duplex))
            }
        }
    }
}

/// A WebSocket that the upstream accepted.
pub(crate) struct Accepted {
    pub(crate) form: Form,
    pub(crate) client: ClientTunnel,
    pub(crate) rewriter: Option<Rewriter>,
    pub(crate) watcher: Option<Watcher>,
}

/// Looks for placeholders in what leaves.
pub(crate) type Watcher = Box<dyn MessageWatcher + Send>;

/// Replaces placeholders in the client's messages.
pub(crate) type Rewriter = Box<dyn TextRewriter + Send>;

/// The rewriter that a rule asks for. Made before the handshake, so that nothing leaves when a value cannot be used.
pub(crate) fn rewriter(
    injection: Option<&Injection>,
) -> Result<Option<Rewriter>, SubstitutionError> {
    let Some(injection) = injection else {
        return Ok(None);
    };
    let made = injection
        .rule()
        .websocket_rewriter(injection.grant.as_ref())?;
    Ok(made.map(|made| -> Rewriter { Box::new(made) }))
}

/// Sends the handshake in the form that the upstream takes. The form in the answer is `None` when it declined.
///
/// `looks_inside` withdraws the offer of extensions, so that no frame is compressed.
pub(crate) async fn handshake(
    upstream: &Upstream,
    route: &Arc<Route>,
    request: Request<Body>,
    kind: Kind,
    looks_inside: bool,
) -> Result<(Answer, Option<Form>), UpstreamError> {
    let mut request = request;
    let headers = request.headers_mut();
    if looks_inside {
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    }
    let client_key = headers.remove(SEC_WEBSOCKET_KEY);
    let form = match (kind, &client_key) {
        (Kind::ExtendedConnect, _) => Form::Stream,
        (_, Some(key)) => Form::Switching(accept_of(key.as_bytes())?),
        (_, None) => {
            return Err(unfit_key());
        }
    };
    as_extended_connect(&mut request);
    let request = match upstream.extended_connect(route, request).await {
        Ok(answer) => return Ok(agreed(answer, form)),
        Err(NoTunnel::Failed(error)) => return Err(error),
        Err(NoTunnel::Unavailable(request)) => *request,
    };
    let (request, form) = match upgrade_http1(upstream, route, request, client_key, form).await {
        Ok(answered) => return Ok(answered),
        Err((NoTunnel::Failed(error), _)) => return Err(error),
        Err((NoTunnel::Unavailable(request), form)) => (*request, form),
    };
    let mut request = request;
    let headers = request.headers_mut();
    headers.remove(UPGRADE);
    headers.remove(SEC_WEBSOCKET_KEY);
    as_extended_connect(&mut request);
    let answer = upstream.extended_connect_anew(route, request).await?;
    Ok(agreed(answer, form))
}

fn as_extended_connect(request: &mut Request<Body>) {
    *request.method_mut() = Method::CONNECT;
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
}

/// What an answer to an extended CONNECT means.
fn agreed(answer: Answer, form: Form) -> (Answer, Option<Form>) {
    let form = answer.tunnel.is_some().then_some(form);
    (answer, form)
}

async fn upgrade_http1(
    upstream: &Upstream,
    route: &Arc<Route>,
    request: Request<Body>,
    client_key: Option<HeaderValue>,
    form: Form,
) -> Result<(Answer, Option<Form>), (NoTunnel, Form)> {
    let mut request = request;
    *request.method_mut() = Method::GET;
    request.extensions_mut().remove::<Protocol>();
    let key = match client_key {
        Some(key) => Ok(key),
        None => HeaderValue::try_from(generate_key()).map_err(|_| unfit_key()),
    };
    let keys = key.and_then(|key| Ok((accept_of(key.as_bytes())?, key)));
    let (wanted, key) = match keys {
        Ok(keys) => keys,
        Err(error) => return Err((error.into(), form)),
    };
    let headers = request.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_KEY, key);
    headers
        .entry(SEC_WEBSOCKET_VERSION)
        .or_insert(HeaderValue::from_static("13"));
    let answer = match upstream.upgrade(route, request).await {
        Ok(answer) => answer,
        Err(none) => return Err((none, form)),
    };
    if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok((answer, None));
    }
    if answer.response.headers().get(SEC_WEBSOCKET_ACCEPT) != Some(&wanted) {
        let error = UpstreamError::new(
            UpstreamErrorKind::Protocol,
            Sent::MaybeSent,
            "the upstream's WebSocket handshake does not answer ours",
        );
        return Err((error.into(), form));
    }
    Ok((answer, Some(form)))
}

fn accept_of(key: &[u8]) -> Result<HeaderValue, UpstreamError> {
    HeaderValue::try_from(derive_accept_key(key)).map_err(|_| unfit_key())
}

fn unfit_key() -> UpstreamError {
    UpstreamError::new(
        UpstreamErrorKind::Protocol,
        Sent::NotSent,
        "the WebSocket handshake has no usable Sec-WebSocket-Key",
    )
}

/// Answers the client and relays both ways until it is over, the token is revoked, or the server stops.
pub(crate) fn join(
    client: &Arc<Client>,
    accepted: Accepted,
    answer: Answer,
    injection: Option<&Injection>,
    held: Held,
) -> Response<ResponseBody> {
    let (parts, _) = answer.response.into_parts();
    let mut headers = parts.headers;
    strip_handshake(&mut headers, injection.is_some());
    let mut options = RelayOptions::new(CancellationToken::new());
    options.idle = WEBSOCKET_IDLE;
    if let Some(injection) = injection {
        options.search.clone_from(&injection.search);
        if let Some(search) = &injection.search {
            search.scrub_headers(&mut headers);
        }
    }
    options.rewriter = accepted.rewriter;
    options.watcher = accepted.watcher;
    let mut response = Response::new(ResponseBody::EMPTY);
    match accepted.form {
        Form::Switching(accept) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        Form::Stream => *response.status_mut() = StatusCode::OK,
    }
    *response.headers_mut() = headers;
    let mut held = held;
    held.slot.release();
    held.entry.answered(StatusCode::SWITCHING_PROTOCOLS);
    let Held { entry, busy, slot } = held;
    // The record is written now: a socket may live for days. What is found in its messages is told when it ends.
    let sequel = entry.sequel();
    entry.complete("");
    drop(slot);
    let sides = Sides {
        client: accepted.client,
        upstream: answer.tunnel,
        lease: answer.lease,
    };
    let task = Arc::clone(client);
    client.shared.tasks.spawn(async move {
        let _open = task.shared.journal.meters().opened(Gauge::WebSockets);
        carry(&task, sides, options).await;
        if let Some(sequel) = sequel {
            sequel.complete();
        }
        drop(busy);
    });
    response
}

struct Sides {
    client: ClientTunnel,
    upstream: Option<Box<Tunnel>>,
    lease: Lease,
}

async fn carry(client: &Arc<Client>, sides: Sides, options: RelayOptions) {
    let shared = &client.shared;
    let Some(upstream) = sides.upstream else {
        tracing::error!("an upstream agreed to a WebSocket without a way to speak it");
        return;
    };
    let joined = tokio::select! {
        joined = async { tokio::try_join!(sides.client.open(), upstream.open()) } => joined,
        () = shared.aborting.cancelled() => return,
    };
    let (near, far) = match joined {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%error, "a WebSocket ended before it began");
            return;
        }
    };
    let stop = options.shutdown.clone();
    let relaying = relay(near, far, options);
    let summary = drive_stream(shared, &client.watch, &stop, relaying).await;
    tracing::debug!(?summary, "WebSocket ended");
    drop(sides.lease);
}

/// Of the handshake's own fields the client may see the protocol and the extensions that were agreed on.
fn strip_handshake(headers: &mut HeaderMap, brokered: bool) {
    strip_response(headers, brokered);
    let extra: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            name.as_str().starts_with("sec-")
                && **name != SEC_WEBSOCKET_PROTOCOL
                && **name != SEC_WEBSOCKET_EXTENSIONS
        })
        .cloned()
        .collect();
    for name in extra {
        headers.remove(name);
    }
}
