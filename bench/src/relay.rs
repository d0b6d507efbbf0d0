//! The bare relay: CONNECT, TLS to TLS, one pooled HTTP/2 connection to the upstream for both kinds of agents (as the
//! product has where HTTP/2 is offered), or pooled HTTP/1.1 ones where it is not, and nothing else. It is the floor that
//! this stack allows: no authentication, no rules, no guard, no log, no limits.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use agent_vault_testing::BoxError;
use agent_vault_testing::client::dial;
use agent_vault_testing::pki::{self, TestCa, Validity};
use anyhow::Context as _;
use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1 as client1, http2 as client2};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::task::TaskTracker;

use crate::child;

/// Runs the relay until the parent has gone.
pub(crate) fn main(ca_out: &Path, upstream_ca: &Path, http1: bool) -> anyhow::Result<()> {
    let ca = TestCa::new();
    let identity = ca.issue(
        &["localhost".to_owned(), "127.0.0.1".to_owned()],
        Validity::CURRENT,
    );
    let acceptor = TlsAcceptor::from(identity.server_config(&["h2", "http/1.1"]));
    let roots = std::fs::read_to_string(upstream_ca).context("the upstream's certificate")?;
    let tracker = TaskTracker::new();
    let relay = Arc::new(Relay {
        acceptor,
        h1_tls: Arc::new(pki::client_config(&roots, &["http/1.1"])),
        h2_tls: Arc::new(pki::client_config(&roots, &["h2"])),
        idle: Mutex::default(),
        shared: tokio::sync::Mutex::default(),
        tracker,
        http1,
    });
    child::write(ca_out, &ca.pem())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    child::ready(listener.local_addr()?)?;
    runtime.spawn(relay.accept(listener));
    child::wait_for_parent()?;
    runtime.shutdown_background();
    Ok(())
}

type Idle = client1::SendRequest<Incoming>;

struct Relay {
    acceptor: TlsAcceptor,
    h1_tls: Arc<ClientConfig>,
    h2_tls: Arc<ClientConfig>,
    /// HTTP/1.1 connections that nobody uses. A run has one upstream and a fixed number of agents, which bounds them.
    idle: Mutex<Vec<Idle>>,
    /// The HTTP/2 connection that all share.
    shared: tokio::sync::Mutex<Option<client2::SendRequest<Incoming>>>,
    tracker: TaskTracker,
    /// The upstream speaks HTTP/1.1 only.
    http1: bool,
}

impl Relay {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap_or_default();
            self.tracker.spawn(Arc::clone(&self).agent(stream));
        }
    }

    /// Serves one agent: the CONNECT, then what is inside.
    async fn agent(self: Arc<Self>, stream: TcpStream) {
        let relay = Arc::clone(&self);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut response = Response::new(Empty::<Bytes>::new());
            match request.uri().port_u16() {
                Some(port) if request.method() == Method::CONNECT => {
                    let upgrade = hyper::upgrade::on(&mut request);
                    let relay = Arc::clone(&relay);
                    self.tracker.spawn(async move {
                        if let Ok(upgraded) = upgrade.await {
                            // How a tunnel ends is not this relay's business.
                            relay.tunnel(upgraded, port).await.unwrap_or_default();
                        }
                    });
                }
                _ => *response.status_mut() = StatusCode::BAD_REQUEST,
            }
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connection.with_upgrades().await.unwrap_or_default();
    }

    async fn tunnel(self: Arc<Self>, upgraded: Upgraded, port: u16) -> Result<(), BoxError> {
        let parts = upgraded
            .downcast::<TokioIo<TcpStream>>()
            .map_err(|_| "another stream than was served")?;
        if !parts.read_buf.is_empty() {
            return Err("an agent that speaks before it is answered".into());
        }
        let stream = self.acceptor.accept(parts.io.into_inner()).await?;
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        if h2 && self.http1 {
            let service = service_fn(move |request| Arc::clone(&self).over_h1(request, upstream));
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await?;
        } else if h2 {
            let service = service_fn(move |request| Arc::clone(&self).over_h2(request, upstream));
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await?;
        } else if self.http1 {
            let service = service_fn(move |request| Arc::clone(&self).over_h1(request, upstream));
            http1::Builder::new().serve_connection(io, service).await?;
        } else {
            let service = service_fn(move |request| Arc::clone(&self).over_h2(request, upstream));
            http1::Builder::new().serve_connection(io, service).await?;
        }
        Ok(())
    }

    async fn over_h1(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        upstream: SocketAddr,
    ) -> Result<Response<Leased>, BoxError> {
        if request.version() == Version::HTTP_2 {
            let target = request
                .uri()
                .path_and_query()
                .map_or("/", |target| target.as_str());
            *request.uri_mut() = target.parse()?;
            *request.version_mut() = Version::HTTP_11;
            let host = format!("localhost:{}", upstream.port()).parse()?;
            request.headers_mut().insert(HOST, host);
        }
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut sender = match idle {
            Some(sender) if !sender.is_closed() => sender,
            _ => {
                let io = TokioIo::new(connect(upstream, &self.h1_tls).await?);
                let (sender, connection) = client1::handshake(io).await?;
                self.tracker.spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        Ok(response.map(|inner| Leased {
            inner,
            lease: Some((sender, self)),
        }))
    }

    async fn over_h2(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        upstream: SocketAddr,
    ) -> Result<Response<Incoming>, BoxError> {
        let mut sender = {
            let mut shared = self.shared.lock().await;
            match &*shared {
                Some(sender) if !sender.is_closed() => sender.clone(),
                _ => {
                    let io = TokioIo::new(connect(upstream, &self.h2_tls).await?);
                    let (sender, connection) = client2::handshake(TokioExecutor::new(), io).await?;
                    self.tracker.spawn(connection);
                    shared.insert(sender).clone()
                }
            }
        };
        // What arrived is sent on; only the private marks of the server's side stay behind.
        request.extensions_mut().clear();
        if request.version() != Version::HTTP_2 {
            let target = request
                .uri()
                .path_and_query()
                .map_or("/", |target| target.as_str());
            let uri: Uri = format!("https://localhost:{}{target}", upstream.port()).parse()?;
            *request.uri_mut() = uri;
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(HOST);
        }
        Ok(sender.send_request(request).await?)
    }
}

async fn connect(
    upstream: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, BoxError> {
    let stream = dial(upstream).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?)
}

/// A response body that gives its connection back when it has been read.
struct Leased {
    inner: Incoming,
    lease: Option<(Idle, Arc<Relay>)>,
}

impl Leased {
    fn give_back(&mut self) {
        if let Some((sender, relay)) = self.lease.take() {
            relay
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(sender);
        }
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(_))) if self.inner.is_end_stream() => self.give_back(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
