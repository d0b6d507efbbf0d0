//! A recording upstream on loopback: TLS or plain, HTTP/1.1 and HTTP/2, WebSocket both ways, gRPC, git.
//!
//! It runs on a thread of its own, so that it also serves tests that block, and it ends when its handle is dropped.
//! What a request gets is chosen by its path; see [`paths`].

mod bench;
mod body;
mod files;
pub mod git;
pub mod grpc;
mod lfs;
mod models;
pub mod paths;
mod wire;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::gate::{Gate, Gates};
use crate::pki::{Identity, TestCa, Validity};
use crate::recording::{Log, Observer, Recorded, RecordedBody};
use crate::tasks::{Spawner, Tasks};

pub use wire::ByteStream;

/// A request body that is being recorded.
pub(crate) type Incoming = RecordedBody<hyper::body::Incoming>;

/// Largest header section that is taken.
const MAX_HEAD_BYTES: u32 = 1 << 20;

/// Bytes of each request body that are kept unless told otherwise.
const BODY_CAP: usize = 4 << 20;

/// What is offered in the TLS handshake. Without TLS, [`Alpn::H2Only`] means HTTP/2 with prior knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`, then `http/1.1`.
    #[default]
    Both,
    /// `http/1.1` alone.
    H1Only,
    /// `h2` alone.
    H2Only,
    /// No ALPN extension at all; HTTP/1.1 is spoken.
    Silent,
}

/// The certificate that is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// Issued by [`Upstream::ca_pem`], valid now.
    #[default]
    Trusted,
    /// Issued by the same authority, but no longer valid.
    Expired,
    /// Signed by itself.
    SelfSigned,
    /// Issued by another authority.
    Stranger,
    /// Issued by the same authority for `wrong.test` alone.
    WrongName,
}

type Raw =
    Arc<dyn Fn(Box<dyn ByteStream>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Describes an upstream before it starts.
pub struct UpstreamBuilder {
    listen: SocketAddr,
    plain: bool,
    alpn: Alpn,
    certificate: Certificate,
    names: Vec<String>,
    ca: Option<Arc<TestCa>>,
    body_cap: usize,
    git: Option<(String, String)>,
    observer: Option<Observer>,
    raw: Option<Raw>,
    bench: Option<usize>,
    extended_connect: bool,
}

/// A running upstream. Dropping it ends it, with all of its connections.
pub struct Upstream {
    shared: Arc<Shared>,
    ca_pem: String,
    addr: SocketAddr,
    plain: bool,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What all connections of one upstream share.
pub(crate) struct Shared {
    pub(crate) log: Arc<Log>,
    pub(crate) gates: Gates,
    pub(crate) git: Option<git::Repositories>,
    pub(crate) files: files::Files,
    tls: Option<TlsAcceptor>,
    alpn: Alpn,
    extended_connect: bool,
    raw: Option<Raw>,
    bench: Option<bench::Reply>,
    connections: AtomicU64,
    handshake_failures: AtomicU64,
}

/// One connection, as its handlers see it.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: u64,
    pub(crate) sni: Option<String>,
    pub(crate) control: wire::WireControl,
    pub(crate) spawner: Spawner,
}

impl UpstreamBuilder {
    /// Listens there instead of a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// Speaks without TLS.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Offers these protocols.
    #[must_use]
    pub fn alpn(mut self, alpn: Alpn) -> Self {
        self.alpn = alpn;
        self
    }

    /// Shows this certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// Adds a DNS name or an address to the certificate, beside `localhost`, `127.0.0.1`, `::1` and the address it listens on.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Takes its certificate from this authority instead of one of its own.
    #[must_use]
    pub fn ca(mut self, ca: Arc<TestCa>) -> Self {
        self.ca = Some(ca);
        self
    }

    /// Keeps that many bytes of each request body; the rest is counted.
    #[must_use]
    pub fn keep_body(mut self, bytes: usize) -> Self {
        self.body_cap = bytes;
        self
    }

    /// Serves git repositories below `/git/` to this user; see [`Upstream::git_repository`].
    #[must_use]
    pub fn git(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.git = Some((user.into(), password.into()));
        self
    }

    /// Does not advertise extended CONNECT (RFC 8441) over HTTP/2.
    #[must_use]
    pub fn without_extended_connect(mut self) -> Self {
        self.extended_connect = false;
        self
    }

    /// Calls `observer` with each request when its exchange has ended.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&Recorded) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Hands each connection, after its TLS handshake, to `handler` instead of an HTTP server.
    #[must_use]
    pub fn raw<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Box<dyn ByteStream>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.raw = Some(Arc::new(move |stream| Box::pin(handler(stream))));
        self
    }

    /// Answers the first request of each connection with exactly `answer`, however malformed, then closes.
    #[must_use]
    pub fn raw_answer(self, answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        self.alpn(Alpn::H1Only).raw(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                read_head(&mut stream).await;
                // The peer may have gone already; what it makes of the answer is its test's business.
                if stream.write_all(&answer).await.is_ok() {
                    stream.shutdown().await.unwrap_or_default();
                }
            }
        })
    }

    /// Answers everything with 200 and `bytes` bytes, as fast as it can, and records nothing.
    #[must_use]
    pub fn bench(mut self, bytes: usize) -> Self {
        self.bench = Some(bytes);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen, or a certificate cannot be made.
    #[must_use]
    pub fn start(self) -> Upstream {
        let listener = TcpListener::bind(self.listen).expect("an address to listen on");
        listener
            .set_nonblocking(true)
            .expect("a socket that does not block");
        let addr = listener
            .local_addr()
            .expect("the address of a listening socket");
        let ca = self.ca.clone().unwrap_or_default();
        let shared = Arc::new(Shared {
            tls: (!self.plain).then(|| self.acceptor(&ca)),
            log: Arc::new(Log::new(self.body_cap, self.observer)),
            gates: Gates::default(),
            git: self
                .git
                .map(|(user, password)| git::Repositories::new(&user, &password)),
            files: files::Files::default(),
            alpn: self.alpn,
            extended_connect: self.extended_connect,
            raw: self.raw,
            bench: self.bench.map(bench::Reply::of),
            connections: AtomicU64::new(0),
            handshake_failures: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        let thread = std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn({
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .expect("a runtime");
                    runtime.block_on(accept(shared, listener, stop));
                }
            })
            .expect("a thread");
        Upstream {
            shared,
            ca_pem: ca.pem(),
            addr,
            plain: self.plain,
            stop,
            thread: Some(thread),
        }
    }

    fn acceptor(&self, ca: &TestCa) -> TlsAcceptor {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec();
        names.push(self.listen.ip().to_string());
        names.extend(self.names.iter().cloned());
        names.sort();
        names.dedup();
        let identity = match self.certificate {
            Certificate::Trusted => ca.issue(&names, Validity::CURRENT),
            Certificate::Expired => ca.issue(&names, Validity::EXPIRED),
            Certificate::SelfSigned => Identity::self_signed(&names),
            Certificate::Stranger => TestCa::new().issue(&names, Validity::CURRENT),
            Certificate::WrongName => ca.issue(&["wrong.test".to_owned()], Validity::CURRENT),
        };
        let alpn: &[&str] = match self.alpn {
            Alpn::Both => &["h2", "http/1.1"],
            Alpn::H1Only => &["http/1.1"],
            Alpn::H2Only => &["h2"],
            Alpn::Silent => &[],
        };
        TlsAcceptor::from(identity.server_config(alpn))
    }
}

impl Upstream {
    /// Describes one: TLS with a trusted certificate, both versions, on a free port of 127.0.0.1.
    #[must_use]
    pub fn builder() -> UpstreamBuilder {
        UpstreamBuilder {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            plain: false,
            alpn: Alpn::Both,
            certificate: Certificate::Trusted,
            names: Vec::new(),
            ca: None,
            body_cap: BODY_CAP,
            git: None,
            observer: None,
            raw: None,
            bench: None,
            extended_connect: true,
        }
    }

    /// Starts one with all defaults.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// `localhost:<port>`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.authority_of("localhost")
    }

    /// `<host>:<port>`.
    #[must_use]
    pub fn authority_of(&self, host: &str) -> String {
        format!("{host}:{}", self.port())
    }

    /// A URL on `localhost`; `path` begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_of("localhost", path)
    }

    /// A URL on another of its names.
    #[must_use]
    pub fn url_of(&self, host: &str, path: &str) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        format!("{scheme}://{}{path}", self.authority_of(host))
    }

    /// The certificate of the authority to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Arc<Recorded>> {
        self.shared.log.all()
    }

    /// The latest request for `path` (without its query), if there is one.
    #[must_use]
    pub fn latest(&self, path: &str) -> Option<Arc<Recorded>> {
        self.requests()
            .into_iter()
            .rev()
            .find(|request| request.path() == path)
    }

    /// Waits until `n` requests have arrived, and returns all there are.
    pub async fn wait_for(&self, n: usize) -> Vec<Arc<Recorded>> {
        let enough = |all: &[Arc<Recorded>]| (all.len() >= n).then(|| all.to_vec());
        self.shared
            .log
            .until(&format!("{n} requests"), enough)
            .await
    }

    /// Waits for a request for `path` (without its query), and returns the first.
    pub async fn wait_for_path(&self, path: &str) -> Arc<Recorded> {
        let find =
            |all: &[Arc<Recorded>]| all.iter().find(|request| request.path() == path).cloned();
        self.shared
            .log
            .until(&format!("a request for {path}"), find)
            .await
    }

    /// Forgets all requests so far.
    pub fn clear(&self) {
        self.shared.log.clear();
    }

    /// Requests beyond [`crate::recording::MAX_RECORDED`].
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.shared.log.unrecorded()
    }

    /// TCP connections that have been accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// TLS handshakes that failed.
    #[must_use]
    pub fn handshake_failures(&self) -> u64 {
        self.shared.handshake_failures.load(Ordering::SeqCst)
    }

    /// The gate of that name; the default one is `gate`.
    #[must_use]
    pub fn gate(&self, name: &str) -> Gate {
        self.shared.gates.get(name)
    }

    /// Serves `content` at exactly `path` (without query) from now on, as `content_type`.
    pub fn serve_file(&self, path: &str, content_type: &'static str, content: impl Into<Bytes>) {
        self.shared.files.put(path, content_type, content.into());
    }

    /// Makes the empty repository `/git/<name>.git` and returns its folder on disk.
    ///
    /// # Panics
    /// Without [`UpstreamBuilder::git`], or when git is not installed.
    pub fn git_repository(&self, name: &str) -> PathBuf {
        self.shared
            .git
            .as_ref()
            .expect("an upstream built with git")
            .add(name)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the upstream's thread panicked");
        }
    }
}

/// Reads from `stream` up to the blank line that ends a head, or to the end of the stream, and returns the bytes.
pub async fn read_head(stream: &mut (impl ByteStream + ?Sized)) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket of this runtime");
    let tasks = Tasks::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // A peer that left before it was accepted is no reason to stop.
        let Ok((stream, _)) = accepted else { continue };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        tasks
            .spawner()
            .spawn(serve(Arc::clone(&shared), number, stream, tasks.spawner()));
    }
    tasks.stop().await;
}

async fn serve(shared: Arc<Shared>, number: u64, stream: TcpStream, spawner: Spawner) {
    stream.set_nodelay(true).unwrap_or_default();
    if let Some(reply) = &shared.bench {
        return bench::serve(reply.clone(), shared.tls.clone(), stream, spawner).await;
    }
    let control = wire::WireControl::default();
    let wire = wire::Wire::new(stream, control.clone());
    let mut sni = None;
    let mut h2 = shared.alpn == Alpn::H2Only;
    let stream: Box<dyn ByteStream> = match &shared.tls {
        None => Box::new(wire),
        Some(acceptor) => match acceptor.accept(wire).await {
            Ok(tls) => {
                let (_, session) = tls.get_ref();
                h2 = session.alpn_protocol() == Some(b"h2");
                sni = session.server_name().map(str::to_owned);
                Box::new(tls)
            }
            Err(_) => {
                shared.handshake_failures.fetch_add(1, Ordering::SeqCst);
                return;
            }
        },
    };
    if let Some(raw) = &shared.raw {
        return raw(stream).await;
    }
    let extended_connect = shared.extended_connect;
    let io = TokioIo::new(wire::Speaking::new(stream, control.clone()));
    let connection = Arc::new(Connection {
        shared,
        number,
        sni,
        control,
        spawner: spawner.clone(),
    });
    let service = service_fn(move |request| paths::answer(Arc::clone(&connection), request));
    // How a connection ends is the peer's business; what a test wants to know is in the records.
    if h2 {
        let mut builder = http2::Builder::new(spawner);
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD_BYTES)
            .max_concurrent_streams(1000);
        if extended_connect {
            builder.enable_connect_protocol();
        }
        builder
            .serve_connection(io, service)
            .await
            .unwrap_or_default();
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .max_headers(512)
            .max_buf_size(MAX_HEAD_BYTES as usize);
        builder
            .half_close(false)
            .serve_connection(io, service)
            .with_upgrades()
            .await
            .unwrap_or_default();
    }
}
