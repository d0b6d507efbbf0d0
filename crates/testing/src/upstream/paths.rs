//! What a request gets, by its path.
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | JSON of what arrived ([`Recorded::to_json`]) |
//! | `/echo-stream` | the request body, as it arrives, with its trailers |
//! | `/status/N` | status N with a short body |
//! | `/bytes/N` | N bytes of known length |
//! | `/chunks/N` | N bytes of unknown length |
//! | `/sse?n=3&gate=gate` | n server-sent events, each after one release of the gate |
//! | `/slow?gate=gate` | 200 after one release |
//! | `/stall?gate=gate` | head and first byte at once, the rest after one release |
//! | `/unread?gate=gate` | 200 after one release, without reading the body until then |
//! | `/early-response?status=413` | answers without reading the body; with `after=piece`, when its first piece has come |
//! | `/trailers` | a body and the trailers `x-checksum`, `x-more` |
//! | `/early-hints` | 103, then 200 (HTTP/1.1 alone; over HTTP/2 just the 200) |
//! | `/reset` | some bytes, then a TCP reset (HTTP/1.1) or RST_STREAM (HTTP/2) |
//! | `/reset-connection` | a TCP reset before any answer, in both versions; `after=piece` as above |
//! | `/truncate-chunked` | a chunked body without its last chunk |
//! | `/truncate-length` | 10 of 100 announced bytes |
//! | `/redirect?to=/echo&status=302` | a redirect |
//! | `/gzip` `/br` `/zstd` `/deflate` | as `/echo`, compressed |
//! | `/set-cookie` | two cookies |
//! | `/forged-marker` | the proxy's marker headers, forged |
//! | `/hop-by-hop` | connection-level fields that no proxy may forward |
//! | `/big-header/N` | a response header of N bytes |
//! | `/close` | `Connection: close` |
//! | `/ws` | WebSocket echo; `greet=text`, `fragment=N` (echo in frames of N bytes), `close=code` after the first message, `refuse=status` |
//! | `/v1/…`, `/v1beta/…` | a stand-in of model APIs ([`super::models`]) |
//! | `/lfs/…`, `/git/….git/info/lfs/…` | git LFS ([`super::lfs`]) |
//! | what [`Upstream::serve_file`] named | that file |
//! | `/git/…` | smart HTTP git ([`super::git`]) |
//! | `/grpc.testing.Echo/…` | gRPC echo ([`super::grpc`]) |
//! | any other | 200 `ok` |
//!
//! [`Recorded::to_json`]: crate::Recorded::to_json
//! [`Upstream::serve_file`]: crate::Upstream::serve_file

use std::sync::Arc;

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use super::body::{self, ReplyBody};
use super::grpc::{self, Call};
use super::{Connection, Incoming};
use super::{lfs, models};
use crate::BoxError;
use crate::recording::{Exchange, ExchangeBody, Recorded, RecordedBody};
use crate::websocket::{Message, WebSocket, derive_accept_key};

/// Answers one request and records it.
pub(crate) async fn answer(
    connection: Arc<Connection>,
    mut request: Request<hyper::body::Incoming>,
) -> Result<Response<ReplyBody>, BoxError> {
    let upgrade = wants_websocket(&request).then(|| hyper::upgrade::on(&mut request));
    let (head, incoming) = request.into_parts();
    let exchange = connection
        .shared
        .log
        .open(&head, connection.number, connection.sni.as_deref());
    if let Some(upgrade) = upgrade {
        return websocket(&connection, &head, upgrade, exchange);
    }
    let recorded = Arc::clone(exchange.recorded());
    let body = RecordedBody::new(incoming, Arc::clone(&recorded));
    let mut response = reply(&connection, &head, body, &recorded).await?;
    let headless = head.method == Method::HEAD;
    if headless {
        // Over HTTP/2, hyper would send the body all the same.
        let body = std::mem::replace(response.body_mut(), body::empty());
        if let Some(length) = body.size_hint().exact() {
            response
                .headers_mut()
                .entry("content-length")
                .or_insert(length.into());
        }
    }
    Ok(response.map(|body| ExchangeBody::new(body, exchange, headless).boxed_unsync()))
}

async fn reply(
    connection: &Connection,
    head: &Parts,
    mut body: Incoming,
    recorded: &Recorded,
) -> Result<Response<ReplyBody>, BoxError> {
    let path = head.uri.path();
    let query = Query(head.uri.query().unwrap_or_default());
    if head.method == Method::CONNECT {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    if query.get("after") == Some("piece")
        && let Some(frame) = body.frame().await
    {
        frame?;
    }
    // Those that do not read the body first.
    match path {
        "/echo-stream" => return Ok(Response::new(body.boxed_unsync())),
        "/early-response" => return status(query.status(StatusCode::PAYLOAD_TOO_LARGE)?),
        "/unread" => {
            connection.gate(&query).pass().await;
            drain(&mut body).await?;
            return status(StatusCode::OK);
        }
        "/reset-connection" => {
            connection.control.reset();
            return Err("reset".into());
        }
        _ => {}
    }
    if lfs::is_at(path) {
        return lfs::answer(head, body, &connection.shared.files).await;
    }
    if let Some(reply) = connection.shared.files.at(path) {
        drain(&mut body).await?;
        return Ok(reply);
    }
    if let Some(call) = Call::at(path) {
        return Ok(grpc::answer(call, &head.headers, body, &connection.spawner));
    }
    if path.starts_with("/git/") {
        let git = connection
            .shared
            .git
            .as_ref()
            .ok_or("an upstream without git")?;
        return git.answer(head, body, &connection.spawner).await;
    }
    drain(&mut body).await?;
    drop(body);
    if models::is_at(path) {
        return models::answer(connection, head, &recorded.body()).await;
    }
    if let Some(reply) = sized(path)? {
        return Ok(reply);
    }
    match path {
        "/echo" => json(recorded),
        "/gzip" | "/br" | "/zstd" | "/deflate" => {
            compressed(path.trim_start_matches('/'), recorded).await
        }
        "/slow" => {
            connection.gate(&query).pass().await;
            status(StatusCode::OK)
        }
        "/redirect" => with_headers(
            query.status(StatusCode::FOUND)?,
            &[("location", query.get("to").unwrap_or("/echo"))],
            body::empty(),
        ),
        "/set-cookie" => with_headers(
            StatusCode::OK,
            &[
                ("set-cookie", "session=one; Path=/; Secure; HttpOnly"),
                ("set-cookie", "other=two"),
            ],
            body::full("ok\n"),
        ),
        "/forged-marker" => with_headers(
            StatusCode::FORBIDDEN,
            &[
                ("x-agent-vault-proxy-error", "true"),
                ("x-agent-vault-forged", "1"),
                ("content-type", "application/json"),
            ],
            body::full(r#"{"error":"forged"}"#),
        ),
        "/hop-by-hop" => hop_by_hop(head.version),
        "/close" => with_headers(
            StatusCode::OK,
            &[("connection", "close")],
            body::full("bye\n"),
        ),
        "/early-hints" => {
            if head.version == Version::HTTP_11 {
                connection
                    .control
                    .interim("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
            }
            status(StatusCode::OK)
        }
        _ => {
            Ok(produced(path, connection, &query, head.version).unwrap_or(status(StatusCode::OK)?))
        }
    }
}

/// Answers whose size or status stands in the path.
fn sized(path: &str) -> Result<Option<Response<ReplyBody>>, BoxError> {
    Ok(Some(if let Some(code) = path.strip_prefix("/status/") {
        status(code.parse()?)?
    } else if let Some(length) = path.strip_prefix("/bytes/") {
        Response::new(body::pattern(length.parse()?))
    } else if let Some(length) = path.strip_prefix("/chunks/") {
        let body = body::pattern(length.parse()?);
        Response::new(body.map_frame(|frame: Frame<Bytes>| frame).boxed_unsync())
    } else if let Some(length) = path.strip_prefix("/big-header/") {
        with_headers(
            StatusCode::OK,
            &[("x-big", &"h".repeat(length.parse()?))],
            body::full("ok\n"),
        )?
    } else {
        return Ok(None);
    }))
}

/// Answers that are produced step by step.
fn produced(
    path: &str,
    connection: &Connection,
    query: &Query<'_>,
    version: Version,
) -> Option<Response<ReplyBody>> {
    let gate = connection.gate(query);
    let control = connection.control.clone();
    let spawner = &connection.spawner;
    let mut response = Response::new(match path {
        "/sse" => {
            let count: usize = query.get("n").and_then(|n| n.parse().ok()).unwrap_or(3);
            body::produced(spawner, async move |out| {
                for number in 0..count {
                    tokio::select! {
                        () = out.gone() => return Err(body::Gone),
                        () = gate.pass() => {}
                    }
                    out.data(format!("id: {number}\ndata: event {number}\n\n"))
                        .await?;
                }
                Ok(())
            })
        }
        "/stall" => body::produced(spawner, async move |out| {
            out.data("a").await?;
            tokio::select! {
                () = out.gone() => return Err(body::Gone),
                () = gate.pass() => {}
            }
            out.data("z").await
        }),
        "/trailers" => body::produced(spawner, async move |out| {
            out.data("with ").await?;
            out.data("trailers\n").await?;
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", HeaderValue::from_static("abc123"));
            trailers.insert("x-more", HeaderValue::from_static("yes"));
            out.trailers(trailers).await
        }),
        "/reset" => body::produced(spawner, async move |out| {
            out.data("some bytes").await?;
            out.taken().await?;
            if version < Version::HTTP_2 {
                control.reset();
            }
            out.fail("reset on purpose").await
        }),
        "/truncate-chunked" | "/truncate-length" => body::produced(spawner, async move |out| {
            out.data("ten bytes.").await?;
            out.fail("cut on purpose").await
        }),
        _ => return None,
    });
    let headers = response.headers_mut();
    match path {
        "/sse" => {
            headers.insert(
                "content-type",
                HeaderValue::from_static("text/event-stream"),
            );
            headers.insert("cache-control", HeaderValue::from_static("no-cache"));
        }
        "/trailers" => {
            headers.insert("trailer", HeaderValue::from_static("x-checksum, x-more"));
        }
        "/truncate-length" => {
            headers.insert("content-length", HeaderValue::from_static("100"));
        }
        _ => {}
    }
    Some(response)
}

fn websocket(
    connection: &Connection,
    head: &Parts,
    upgrade: OnUpgrade,
    exchange: Exchange,
) -> Result<Response<ReplyBody>, BoxError> {
    let query = Query(head.uri.query().unwrap_or_default());
    if query.get("refuse").is_some() {
        let refusal = status(query.named_status("refuse", StatusCode::FORBIDDEN)?)?;
        return Ok(refusal.map(|body| ExchangeBody::new(body, exchange, false).boxed_unsync()));
    }
    let mut response = Response::new(body::empty());
    if head.version == Version::HTTP_2 {
        *response.status_mut() = StatusCode::OK;
    } else {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let key = head
            .headers
            .get("sec-websocket-key")
            .ok_or("a WebSocket handshake without a key")?;
        let headers = response.headers_mut();
        headers.insert("connection", HeaderValue::from_static("Upgrade"));
        headers.insert("upgrade", HeaderValue::from_static("websocket"));
        headers.insert(
            "sec-websocket-accept",
            derive_accept_key(key.as_bytes()).parse()?,
        );
    }
    if let Some(offered) = head
        .headers
        .get("sec-websocket-protocol")
        .and_then(|value| value.to_str().ok())
    {
        let first = offered.split(',').next().unwrap_or_default().trim();
        response
            .headers_mut()
            .insert("sec-websocket-protocol", first.parse()?);
    }
    let script = Script {
        greeting: query.get("greet").map(str::to_owned),
        fragment: query
            .get("fragment")
            .and_then(|n| n.parse().ok())
            .unwrap_or(usize::MAX)
            .max(1),
        close: query.get("close").and_then(|code| code.parse().ok()),
        responses: head.uri.path() == models::RESPONSES,
    };
    connection.spawner.spawn(async move {
        let mut exchange = exchange;
        let Ok(stream) = upgrade.await else { return };
        if script
            .run(WebSocket::server(TokioIo::new(stream)), exchange.recorded())
            .await
            .is_ok()
        {
            exchange.finish();
        }
    });
    Ok(response)
}

/// What the WebSocket endpoint does beside echoing.
struct Script {
    greeting: Option<String>,
    fragment: usize,
    close: Option<u16>,
    /// Each message is a prompt, and the answer a list of events.
    responses: bool,
}

impl Script {
    async fn run(
        self,
        mut socket: WebSocket<TokioIo<hyper::upgrade::Upgraded>>,
        recorded: &Recorded,
    ) -> std::io::Result<()> {
        if let Some(greeting) = &self.greeting {
            socket.send_text(greeting).await?;
        }
        let mut closing = false;
        while let Some(message) = socket.next().await? {
            recorded.push_message(message.clone());
            match message {
                Message::Text(text, _) if self.responses => {
                    for event in models::response_to(&text) {
                        socket.send_text(&event.to_string()).await?;
                    }
                }
                Message::Text(text, _) => self.echo(&mut socket, true, text.as_bytes()).await?,
                Message::Binary(bytes, _) => self.echo(&mut socket, false, &bytes).await?,
                Message::Ping(payload) => {
                    let pong = tungstenite::protocol::frame::Frame::pong(payload);
                    socket.send_frame(pong).await?;
                    continue;
                }
                Message::Pong(_) => continue,
                Message::Close(_) if closing => return socket.shutdown().await,
                Message::Close(close) => {
                    let (code, reason) = close.unwrap_or((1000, String::new()));
                    socket.send_close(code, &reason).await?;
                    return socket.shutdown().await;
                }
            }
            if let Some(code) = self.close {
                socket.send_close(code, "as asked").await?;
                closing = true;
            }
        }
        socket.shutdown().await
    }

    async fn echo(
        &self,
        socket: &mut WebSocket<TokioIo<hyper::upgrade::Upgraded>>,
        text: bool,
        payload: &[u8],
    ) -> std::io::Result<()> {
        if payload.is_empty() {
            return socket.send_fragments(text, &[b""]).await;
        }
        let parts: Vec<&[u8]> = payload.chunks(self.fragment).collect();
        socket.send_fragments(text, &parts).await
    }
}

fn wants_websocket(request: &Request<hyper::body::Incoming>) -> bool {
    if !["/ws", "/v1/realtime", models::RESPONSES].contains(&request.uri().path()) {
        return false;
    }
    if request.version() == Version::HTTP_2 {
        let protocol = request.extensions().get::<hyper::ext::Protocol>();
        request.method() == Method::CONNECT
            && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
    } else {
        request
            .headers()
            .get("upgrade")
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
    }
}

async fn drain(body: &mut Incoming) -> Result<(), BoxError> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

fn json(recorded: &Recorded) -> Result<Response<ReplyBody>, BoxError> {
    let text = recorded.to_json().to_string();
    with_headers(
        StatusCode::OK,
        &[("content-type", "application/json")],
        body::full(text),
    )
}

async fn compressed(encoding: &str, recorded: &Recorded) -> Result<Response<ReplyBody>, BoxError> {
    let text = recorded.to_json().to_string();
    let plain = text.as_bytes();
    let mut small = Vec::new();
    match encoding {
        "gzip" => GzipEncoder::new(plain).read_to_end(&mut small).await?,
        "br" => BrotliEncoder::new(plain).read_to_end(&mut small).await?,
        "zstd" => ZstdEncoder::new(plain).read_to_end(&mut small).await?,
        _ => ZlibEncoder::new(plain).read_to_end(&mut small).await?,
    };
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", encoding),
    ];
    with_headers(StatusCode::OK, &headers, body::full(small))
}

fn hop_by_hop(version: Version) -> Result<Response<ReplyBody>, BoxError> {
    let always = [
        ("proxy-authenticate", "Basic realm=\"forged\""),
        ("proxy-connection", "keep-alive"),
        ("x-end", "kept"),
    ];
    let mut response = with_headers(StatusCode::OK, &always, body::full("ok\n"))?;
    if version < Version::HTTP_2 {
        let headers = response.headers_mut();
        headers.insert("connection", HeaderValue::from_static("x-hop"));
        headers.insert("x-hop", HeaderValue::from_static("for the next hop alone"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
    }
    Ok(response)
}

fn status(code: StatusCode) -> Result<Response<ReplyBody>, BoxError> {
    let bodiless = code.is_informational()
        || code == StatusCode::NO_CONTENT
        || code == StatusCode::NOT_MODIFIED;
    if bodiless {
        return with_headers(code, &[], body::empty());
    }
    let text = if code == StatusCode::OK {
        "ok\n".to_owned()
    } else {
        format!("{code}\n")
    };
    with_headers(code, &[("content-type", "text/plain")], body::full(text))
}

fn with_headers(
    code: StatusCode,
    headers: &[(&'static str, &str)],
    body: ReplyBody,
) -> Result<Response<ReplyBody>, BoxError> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    for (name, value) in headers {
        response.headers_mut().append(*name, value.parse()?);
    }
    Ok(response)
}

impl Connection {
    fn gate(&self, query: &Query<'_>) -> crate::Gate {
        self.shared.gates.get(query.get("gate").unwrap_or("gate"))
    }
}

/// A query of plain `name=value` pairs; nothing is decoded.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    fn status(&self, default: StatusCode) -> Result<StatusCode, BoxError> {
        self.named_status("status", default)
    }

    fn named_status(&self, name: &str, default: StatusCode) -> Result<StatusCode, BoxError> {
        self.get(name).map_or(Ok(default), |code| Ok(code.parse()?))
    }
}
