//! Peers, resolvers and dialers for the tests.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_vault_policy::{Authority, EgressPolicy, Host, Scheme};
use agent_vault_upstream::{
    AlpnOffer, DialRequest, Dialed, Dialer, DialerOptions, ExtraRoots, Limits, ResolveError,
    Resolver, Resolving, Trust, UpstreamError, UpstreamProxy,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// How long a test waits for what must happen, before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A resolver whose answers are written down in advance; the last one is repeated.
#[derive(Debug)]
pub(crate) struct Script {
    answers: Mutex<VecDeque<Result<Vec<IpAddr>, ResolveError>>>,
    asked: AtomicUsize,
}

impl Script {
    pub(crate) fn new<const N: usize>(answers: [&[&str]; N]) -> Arc<Self> {
        let answers = answers
            .iter()
            .map(|answer| Ok(answer.iter().map(|ip| ip.parse().unwrap()).collect()))
            .collect();
        Arc::new(Self {
            answers: Mutex::new(answers),
            asked: AtomicUsize::new(0),
        })
    }

    pub(crate) fn failing() -> Arc<Self> {
        let answers = VecDeque::from([Err(ResolveError::new("secret-internal-detail"))]);
        Arc::new(Self {
            answers: Mutex::new(answers),
            asked: AtomicUsize::new(0),
        })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolver for Script {
    fn resolve<'a>(&'a self, _: &'a Host) -> Resolving<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        Box::pin(async move { answer.unwrap().map(Arc::from) })
    }
}

/// A policy that permits these networks beyond the public internet.
pub(crate) fn permit(networks: &[&str]) -> EgressPolicy {
    EgressPolicy {
        allow_private: false,
        allow: networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
    }
}

/// A certificate authority of the upstreams' side.
pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Two authorities of one name make a bad signature out of an unknown issuer.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Test CA {}", Uuid::new_v4()));
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn roots(&self) -> ExtraRoots {
        ExtraRoots::parse("test", &self.pem).unwrap()
    }

    pub(crate) fn server(&self, names: &[&str], alpn: &[&str]) -> ServerConfig {
        let params =
            CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.server_with(params.unwrap(), alpn)
    }

    pub(crate) fn server_with(&self, params: CertificateParams, alpn: &[&str]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.into()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        config
    }
}

/// A listener on loopback whose connections are served until it is dropped.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Peer {
    /// Serves each connection with `serve`.
    pub(crate) async fn serving<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(socket));
            }
        });
        Self {
            address,
            handshakes: Arc::default(),
            accepted,
            _tasks: tasks,
        }
    }

    /// Sends back what it receives.
    pub(crate) async fn echo() -> Self {
        Self::serving(|mut socket| async move {
            let (mut read, mut write) = socket.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
        .await
    }

    /// Sends back what it receives, inside TLS, and notes how each handshake went.
    pub(crate) async fn tls(config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let handshakes: Arc<Mutex<Vec<HandshakeKind>>> = Arc::default();
        let noted = Arc::clone(&handshakes);
        let mut peer = Self::serving(move |socket| {
            let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
            async move {
                if let Ok(stream) = acceptor.accept(socket).await {
                    noted
                        .lock()
                        .unwrap()
                        .push(stream.get_ref().1.handshake_kind().unwrap());
                    let (mut read, mut write) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                }
            }
        })
        .await;
        peer.handshakes = handshakes;
        peer
    }

    /// Accepts connections and says nothing.
    pub(crate) async fn silent() -> Self {
        Self::serving(|socket| async move {
            let _open = socket;
            std::future::pending::<()>().await;
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn at(&self, host: &str) -> Authority {
        authority(host, self.port())
    }
}

pub(crate) fn authority(host: &str, port: u16) -> Authority {
    Authority::new(Host::parse(host).unwrap(), port)
}

/// A port on which nobody listens: it was bound a moment ago and is kept from others by the socket that is returned.
pub(crate) fn dead_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

pub(crate) struct Setup {
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) egress: EgressPolicy,
    pub(crate) roots: ExtraRoots,
    pub(crate) proxy: Option<UpstreamProxy>,
    pub(crate) limits: Limits,
}

impl Setup {
    /// Loopback is permitted, and every name leads there.
    pub(crate) fn new(pki: &Pki) -> Self {
        Self {
            resolver: Script::new([&["127.0.0.1"]]),
            egress: permit(&["127.0.0.0/8"]),
            roots: pki.roots(),
            proxy: None,
            limits: Limits::default(),
        }
    }

    pub(crate) fn dialer(self) -> Dialer {
        Dialer::new(DialerOptions {
            resolver: self.resolver,
            egress: self.egress,
            trust: Trust::only(&self.roots).unwrap(),
            proxy: self.proxy,
            limits: self.limits,
        })
        .unwrap()
    }
}

/// Dials in plain, for the nil vault.
pub(crate) async fn plain(dialer: &Dialer, authority: &Authority) -> Result<Dialed, UpstreamError> {
    dial(dialer, Scheme::Http, authority, AlpnOffer::Any, Uuid::nil()).await
}

/// Dials with TLS, for the nil vault.
pub(crate) async fn secure(
    dialer: &Dialer,
    authority: &Authority,
    alpn: AlpnOffer,
) -> Result<Dialed, UpstreamError> {
    dial(dialer, Scheme::Https, authority, alpn, Uuid::nil()).await
}

pub(crate) async fn dial(
    dialer: &Dialer,
    scheme: Scheme,
    authority: &Authority,
    alpn: AlpnOffer,
    vault: Uuid,
) -> Result<Dialed, UpstreamError> {
    let request = DialRequest {
        scheme,
        authority,
        alpn,
        vault,
    };
    tokio::time::timeout(PATIENCE, dialer.dial(request))
        .await
        .unwrap()
}

/// Sends some bytes to an echoing peer and expects them back.
pub(crate) async fn echoes(dialed: &mut Dialed) {
    let exchange = async {
        dialed.io.write_all(b"hello").await.unwrap();
        dialed.io.flush().await.unwrap();
        let mut back = [0; 5];
        dialed.io.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap();
}
