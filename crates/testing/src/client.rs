//! A client that sees everything: through a proxy by `CONNECT` or straight, over TLS, in HTTP/1.1 or HTTP/2.
//!
//! It speaks through hyper, so that no HTTP is parsed here, and leaves every header to the test.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::BoxError;
use crate::tasks::{Spawner, Tasks};
use crate::upstream::ByteStream;
use crate::websocket::WebSocket;

/// The body of a request.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// A stream after its handshakes.
pub type Stream = Box<dyn ByteStream>;

/// A WebSocket over an upgraded connection or stream.
pub type Socket = WebSocket<TokioIo<Upgraded>>;

/// No body.
#[must_use]
pub fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of known length.
#[must_use]
pub fn full(content: impl Into<Bytes>) -> RequestBody {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Opens a TCP connection without delay for small writes.
///
/// # Errors
/// When nobody listens there.
#[expect(
    clippy::disallowed_methods,
    reason = "the client of a test dials where the test tells it"
)]
pub async fn dial(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A tunnel that the proxy refused: its whole answer.
#[derive(Debug)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What became of a `CONNECT`.
pub enum Tunnel {
    /// The tunnel is open.
    Open(Stream),
    /// The proxy said no.
    Refused(Refusal),
}

impl Tunnel {
    /// The stream of an open tunnel.
    ///
    /// # Panics
    /// When it was refused.
    #[must_use]
    pub fn opened(self) -> Stream {
        match self {
            Self::Open(stream) => stream,
            Self::Refused(refusal) => panic!("the proxy refused the tunnel: {refusal:?}"),
        }
    }

    /// The answer of a refusing proxy.
    ///
    /// # Panics
    /// When the tunnel was opened.
    #[must_use]
    pub fn refused(self) -> Refusal {
        match self {
            Self::Open(_) => panic!("the proxy opened a tunnel"),
            Self::Refused(refusal) => refusal,
        }
    }
}

/// A connection to a proxy that has no tunnel yet. After a refusal it can be asked again.
pub struct ProxyConnection {
    sender: http1::SendRequest<RequestBody>,
}

impl ProxyConnection {
    /// Connects to the proxy at `proxy`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(proxy: SocketAddr, spawner: &Spawner) -> Result<Self, BoxError> {
        Self::over(dial(proxy).await?, spawner).await
    }

    /// Uses a stream that is there already.
    ///
    /// # Errors
    /// When it breaks at once.
    pub async fn over(
        stream: impl ByteStream + 'static,
        spawner: &Spawner,
    ) -> Result<Self, BoxError> {
        let (sender, driver) = http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await?;
        spawner.spawn(driver.with_upgrades());
        Ok(Self { sender })
    }

    /// Asks for a tunnel to `authority`, with `proxy_authorization` if there is one.
    ///
    /// # Errors
    /// When the connection breaks before there is an answer.
    pub async fn connect(
        &mut self,
        authority: &str,
        proxy_authorization: Option<&str>,
    ) -> Result<Tunnel, BoxError> {
        let mut request = Request::new(empty());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = authority.parse()?;
        request.headers_mut().insert("host", authority.parse()?);
        if let Some(value) = proxy_authorization {
            request
                .headers_mut()
                .insert("proxy-authorization", value.parse()?);
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            let upgraded = hyper::upgrade::on(response).await?;
            return Ok(Tunnel::Open(Box::new(TokioIo::new(upgraded))));
        }
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Tunnel::Refused(Refusal {
            status: head.status,
            headers: head.headers,
            body,
        }))
    }
}

/// Makes a TLS handshake over `stream` for `name`, and tells whether `h2` was negotiated.
///
/// # Errors
/// When the handshake fails.
pub async fn tls(
    stream: impl ByteStream + 'static,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<(Stream, bool), BoxError> {
    let name = ServerName::try_from(name.to_owned())?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?;
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), h2))
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// The version it came in.
    pub version: Version,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// Reads a response to its end.
    ///
    /// # Errors
    /// When the body breaks off.
    pub async fn read(response: Response<Incoming>) -> Result<Self, BoxError> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Self {
            version: head.version,
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} is not JSON ({error}): {}", self.status, self.text())
        })
    }

    /// Everything that the client received, in one text, to be searched for canaries.
    #[must_use]
    pub fn received(&self) -> String {
        format!(
            "{:?} {} {:?} {:?} {}",
            self.version,
            self.status,
            self.headers,
            self.trailers,
            self.text()
        )
    }
}

/// An HTTP connection. Its driver ends when it is dropped.
pub struct Http {
    sender: Sender,
    tasks: Tasks,
    /// The driver of the connection below a tunnel.
    below: Option<Tasks>,
    extended_connect: watch::Receiver<bool>,
}

enum Sender {
    H1(http1::SendRequest<RequestBody>),
    H2(http2::SendRequest<RequestBody>),
}

impl Http {
    /// Begins HTTP/1.1 or HTTP/2 on `stream`.
    ///
    /// # Errors
    /// When the connection breaks at once.
    pub async fn begin(stream: impl ByteStream + 'static, h2: bool) -> Result<Self, BoxError> {
        let tasks = Tasks::new();
        let io = TokioIo::new(stream);
        let (enabled, extended_connect) = watch::channel(false);
        let sender = if h2 {
            let (sender, mut driver) = http2::Builder::new(tasks.spawner())
                .timer(TokioTimer::new())
                .max_header_list_size(1 << 20)
                .handshake(io)
                .await?;
            tasks.spawner().spawn(async move {
                // Nothing wakes the driver when SETTINGS arrive, so it is asked now and then.
                let mut ask = tokio::time::interval(std::time::Duration::from_millis(5));
                loop {
                    tokio::select! {
                        _ = &mut driver => return,
                        _ = ask.tick(), if !*enabled.borrow() => {
                            enabled.send_replace(driver.is_extended_connect_protocol_enabled());
                        }
                    }
                }
            });
            Sender::H2(sender)
        } else {
            let (sender, driver) = http1::Builder::new()
                .max_headers(512)
                .max_buf_size(1 << 20)
                .handshake(io)
                .await?;
            tasks.spawner().spawn(driver.with_upgrades());
            Sender::H1(sender)
        };
        Ok(Self {
            sender,
            tasks,
            below: None,
            extended_connect,
        })
    }

    /// Opens a tunnel through `proxy`, makes the TLS handshake for the tunnel's host, and begins the version that it
    /// negotiated.
    ///
    /// # Errors
    /// When a handshake fails, or the proxy refuses.
    pub async fn through(
        proxy: SocketAddr,
        authority: &str,
        proxy_authorization: Option<&str>,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, BoxError> {
        Self::through_stream(dial(proxy).await?, authority, proxy_authorization, config).await
    }

    /// The same over a stream to the proxy that is there already.
    ///
    /// # Errors
    /// As [`Http::through`].
    pub async fn through_stream(
        proxy: impl ByteStream + 'static,
        authority: &str,
        proxy_authorization: Option<&str>,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, BoxError> {
        let tasks = Tasks::new();
        let mut connection = ProxyConnection::over(proxy, &tasks.spawner()).await?;
        let tunnel = match connection.connect(authority, proxy_authorization).await? {
            Tunnel::Open(stream) => stream,
            Tunnel::Refused(refusal) => {
                return Err(format!("the proxy refused the tunnel: {refusal:?}").into());
            }
        };
        let (stream, h2) = tls(tunnel, host_of(authority), config).await?;
        let mut http = Self::begin(stream, h2).await?;
        http.below = Some(tasks);
        Ok(http)
    }

    /// Connects to `addr` without a proxy, over TLS for `name`.
    ///
    /// # Errors
    /// When a handshake fails.
    pub async fn straight(
        addr: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, BoxError> {
        let (stream, h2) = tls(dial(addr).await?, name, config).await?;
        Self::begin(stream, h2).await
    }

    /// Whether it speaks HTTP/2.
    #[must_use]
    pub fn is_h2(&self) -> bool {
        matches!(self.sender, Sender::H2(_))
    }

    /// Sends a request as it is and returns the response with its body still to come.
    ///
    /// Over HTTP/1.1 the target must be in origin form and `Host` set; over HTTP/2 the target must be absolute.
    ///
    /// # Errors
    /// When the exchange breaks before there is a response.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, BoxError> {
        Ok(match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    /// Builds a request for `path` on `authority` in the form that this connection needs.
    ///
    /// # Panics
    /// When the parts do not make a request.
    pub fn request(&self, method: &str, authority: &str, path: &str) -> Request<RequestBody> {
        let builder = Request::builder().method(method);
        let builder = if self.is_h2() {
            builder
                .uri(format!("https://{authority}{path}"))
                .version(Version::HTTP_2)
        } else {
            builder.uri(path).header("host", authority)
        };
        builder.body(empty()).expect("a well-formed request")
    }

    /// Sends `GET path` with `headers` and reads the whole answer.
    ///
    /// # Errors
    /// When the exchange breaks.
    pub async fn get(
        &mut self,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, BoxError> {
        self.exchange("GET", authority, path, headers, empty())
            .await
    }

    /// Sends a request with a body and reads the whole answer.
    ///
    /// # Errors
    /// When the exchange breaks, or a header is malformed.
    pub async fn exchange(
        &mut self,
        method: &str,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Result<Answer, BoxError> {
        let mut request = self.request(method, authority, path);
        put(request.headers_mut(), headers)?;
        *request.body_mut() = body;
        Answer::read(self.send(request).await?).await
    }

    /// Opens a WebSocket: by upgrade over HTTP/1.1, by extended CONNECT over HTTP/2 (the connection stays usable then).
    /// The inner error is the refusal.
    ///
    /// # Errors
    /// When the exchange breaks.
    pub async fn websocket(
        &mut self,
        authority: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Result<Socket, Answer>, BoxError> {
        let mut request = self.request("GET", authority, path);
        put(request.headers_mut(), headers)?;
        request
            .headers_mut()
            .insert("sec-websocket-version", HeaderValue::from_static("13"));
        if self.is_h2() {
            let wait = self.extended_connect.wait_for(|enabled| *enabled);
            crate::within("the peer to offer extended CONNECT", wait).await?;
            *request.method_mut() = Method::CONNECT;
            request
                .extensions_mut()
                .insert(hyper::ext::Protocol::from_static("websocket"));
        } else {
            request
                .headers_mut()
                .insert("connection", HeaderValue::from_static("Upgrade"));
            request
                .headers_mut()
                .insert("upgrade", HeaderValue::from_static("websocket"));
            request.headers_mut().insert(
                "sec-websocket-key",
                HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
            );
        }
        let response = self.send(request).await?;
        let open = if self.is_h2() {
            StatusCode::OK
        } else {
            StatusCode::SWITCHING_PROTOCOLS
        };
        if response.status() != open {
            return Ok(Err(Answer::read(response).await?));
        }
        Ok(Ok(WebSocket::client(TokioIo::new(
            hyper::upgrade::on(response).await?,
        ))))
    }

    /// Ends the connection and waits until its driver is gone.
    pub async fn close(self) {
        drop(self.sender);
        self.tasks.stop().await;
        if let Some(below) = self.below {
            below.stop().await;
        }
    }
}

fn put(into: &mut HeaderMap, headers: &[(&str, &str)]) -> Result<(), BoxError> {
    for (name, value) in headers {
        into.append(
            http::HeaderName::from_bytes(name.as_bytes())?,
            value.parse()?,
        );
    }
    Ok(())
}

fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
