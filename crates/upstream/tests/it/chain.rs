//! Through an operator's proxy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_vault_upstream::{
    AlpnOffer, Limits, Negotiated, NoProxy, Resolver, Sent, TargetNames, UpstreamErrorKind,
    UpstreamProxy,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{
    Peer, Pki, Script, Setup, authority, dead_port, echoes, permit, plain, secure,
};

/// What a proxy does with a `CONNECT`.
#[derive(Clone)]
enum Answer {
    /// Opens the tunnel, to this address whatever was asked for.
    Open(SocketAddr),
    /// Sends these bytes and keeps the connection open.
    Say(&'static [u8]),
    /// Sends these bytes and closes.
    SayAndClose(&'static [u8]),
}

/// A proxy that notes the heads that it received.
struct Proxy {
    peer: Peer,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn answering(answer: Answer) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        let peer =
            Peer::serving(move |socket| serve(socket, answer.clone(), Arc::clone(&noted))).await;
        Self { peer, heads }
    }

    async fn over_tls(pki: &Pki, answer: Answer) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        let acceptor = TlsAcceptor::from(Arc::new(pki.server(&["127.0.0.1"], &["http/1.1"])));
        let peer = Peer::serving(move |socket| {
            let (acceptor, answer, noted) = (acceptor.clone(), answer.clone(), Arc::clone(&noted));
            async move {
                let stream = acceptor.accept(socket).await.unwrap();
                serve(stream, answer, noted).await;
            }
        })
        .await;
        Self { peer, heads }
    }

    fn config(&self) -> UpstreamProxy {
        UpstreamProxy::parse(&format!("http://{}", self.peer.address)).unwrap()
    }

    fn with_user(&self) -> UpstreamProxy {
        UpstreamProxy::parse(&format!("http://user:p%40ss@{}", self.peer.address)).unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn asked_for(&self) -> Vec<String> {
        self.heads()
            .iter()
            .map(|head| head.lines().next().unwrap().to_owned())
            .collect()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    answer: Answer,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    match answer {
        Answer::Open(address) => {
            let mut target = TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
            io.write_all(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
                .await
                .unwrap();
            io.flush().await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut io, &mut target).await;
        }
        Answer::Say(bytes) => {
            io.write_all(bytes).await.unwrap();
            io.flush().await.unwrap();
            std::future::pending::<()>().await;
        }
        Answer::SayAndClose(bytes) => {
            let _ = io.write_all(bytes).await;
            let _ = io.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_tunnel_with_credentials_and_tls_inside() {
    let pki = Pki::new();
    let upstream = Peer::tls(pki.server(&["api.example.com"], &["h2", "http/1.1"])).await;
    let proxy = Proxy::answering(Answer::Open(upstream.address)).await;
    let mut setup = Setup::new(&pki);
    setup.proxy = Some(proxy.with_user());
    let mut dialed = secure(
        &setup.dialer(),
        &authority("api.example.com", 443),
        AlpnOffer::Any,
    )
    .await
    .unwrap();
    assert_eq!(dialed.negotiated, Some(Negotiated::Http2));
    assert_eq!(dialed.peer, proxy.peer.address);
    echoes(&mut dialed).await;

    let heads = proxy.heads();
    assert_eq!(proxy.asked_for(), ["CONNECT api.example.com:443 HTTP/1.1"]);
    let head = heads[0].to_ascii_lowercase();
    assert!(head.contains("\r\nhost: api.example.com:443\r\n"), "{head}");
    assert!(heads[0].contains("Basic dXNlcjpwQHNz\r\n"), "user:p@ss");
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );
}

#[tokio::test]
async fn plain_http_goes_through_a_tunnel_too() {
    let upstream = Peer::echo().await;
    let proxy = Proxy::answering(Answer::Open(upstream.address)).await;
    let mut setup = Setup::new(&Pki::new());
    setup.proxy = Some(proxy.config());
    let mut dialed = plain(&setup.dialer(), &authority("plain.example.com", 80))
        .await
        .unwrap();
    echoes(&mut dialed).await;
    assert_eq!(proxy.asked_for(), ["CONNECT plain.example.com:80 HTTP/1.1"]);
    assert!(
        !proxy.heads()[0]
            .to_ascii_lowercase()
            .contains("proxy-authorization")
    );
}

#[tokio::test]
async fn the_upstream_is_verified_through_the_tunnel() {
    let pki = Pki::new();
    let upstream = Peer::tls(Pki::new().server(&["api.example.com"], &[])).await;
    let proxy = Proxy::answering(Answer::Open(upstream.address)).await;
    let mut setup = Setup::new(&pki);
    setup.proxy = Some(proxy.config());
    let refused = secure(
        &setup.dialer(),
        &authority("api.example.com", 443),
        AlpnOffer::Any,
    )
    .await
    .unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Tls);
}

#[tokio::test]
async fn a_proxy_that_speaks_tls_itself() {
    let pki = Pki::new();
    let upstream = Peer::tls(pki.server(&["api.example.com"], &["h2"])).await;
    let proxy = Proxy::over_tls(&pki, Answer::Open(upstream.address)).await;
    let mut setup = Setup::new(&pki);
    setup.proxy = Some(UpstreamProxy::parse(&format!("https://{}", proxy.peer.address)).unwrap());
    let mut dialed = secure(
        &setup.dialer(),
        &authority("api.example.com", 443),
        AlpnOffer::Http2,
    )
    .await
    .unwrap();
    assert_eq!(dialed.negotiated, Some(Negotiated::Http2));
    echoes(&mut dialed).await;
}

#[tokio::test]
async fn refusals_and_deaths() {
    use UpstreamErrorKind::{Closed, Protocol, ProxyRefused, Timeout};
    let needs_auth = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 3\r\n\r\nno\n";
    let cases: [(Answer, bool, UpstreamErrorKind, &str); 13] = [
        (Answer::Say(needs_auth), false, ProxyRefused, "asks for credentials"),
        (Answer::Say(needs_auth), true, ProxyRefused, "refused the configured credentials"),
        (Answer::SayAndClose(b"HTTP/1.1 403 Forbidden\r\n\r\n"), true, ProxyRefused, "(403)"),
        (Answer::Say(b"HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n"), false, ProxyRefused, "(503)"),
        (Answer::Say(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"), false, ProxyRefused, "(302)"),
        (Answer::SayAndClose(b""), false, Closed, "broke off"),
        (Answer::SayAndClose(b"HTTP/1.1 200 Conn"), false, Closed, "broke off"),
        (Answer::SayAndClose(b"SSH-2.0-OpenSSH\r\n"), false, Protocol, "broke off"),
        (Answer::Say(b"\x16\x03\x01\x00\x05hello"), false, Protocol, "broke off"),
        (Answer::Say(b"HTTP/1.1 200 OK\r\n\r\nearly"), false, Protocol, "not used yet"),
        (Answer::Say(LONG_HEAD), false, Protocol, "broke off"),
        (Answer::Say(b""), false, Timeout, "in time"),
        (Answer::Say(b"HTTP/1.1 100 Continue\r\n\r\n"), false, Timeout, "in time"),
    ];
    for (answer, user, kind, words) in cases {
        let proxy = Proxy::answering(answer).await;
        let mut setup = Setup::new(&Pki::new());
        setup.limits = Limits {
            tunnel: Duration::from_millis(300),
            ..Limits::default()
        };
        setup.proxy = Some(if user {
            proxy.with_user()
        } else {
            proxy.config()
        });
        let error = plain(&setup.dialer(), &authority("api.example.com", 443))
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            kind,
            "{error} {:?}",
            std::error::Error::source(&error)
        );
        assert!(error.message().contains(words), "{error}");
        assert_eq!(error.sent(), Sent::NotSent);
        let printed = format!("{error} {error:?}");
        assert!(
            !printed.contains("dXNlcjpwQHNz") && !printed.contains("p@ss"),
            "{printed}"
        );
    }
}

/// A head of 32 KiB, twice what is read.
const LONG_HEAD: &[u8] = &{
    let mut head = [b'a'; 32 * 1024];
    let start = b"HTTP/1.1 200 OK\r\nX-Long: ";
    let mut at = 0;
    while at < start.len() {
        head[at] = start[at];
        at += 1;
    }
    head
};

#[tokio::test]
async fn a_proxy_that_is_down() {
    let (_kept, port) = dead_port();
    let mut setup = Setup::new(&Pki::new());
    setup.proxy = Some(UpstreamProxy::parse(&format!("http://127.0.0.1:{port}")).unwrap());
    let error = plain(&setup.dialer(), &authority("api.example.com", 443))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::Connect);
    assert!(
        error.message().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
}

#[tokio::test]
async fn exceptions_go_direct() {
    let upstream = Peer::echo().await;
    let proxy = Proxy::answering(Answer::SayAndClose(b"")).await;
    let mut setup = Setup::new(&Pki::new());
    setup.proxy = Some(
        proxy
            .config()
            .with_no_proxy(NoProxy::parse(".corp.example").unwrap()),
    );
    let mut dialed = plain(&setup.dialer(), &upstream.at("git.corp.example"))
        .await
        .unwrap();
    assert_eq!(dialed.peer, upstream.address);
    echoes(&mut dialed).await;
    assert_eq!(proxy.peer.accepted(), 0);
}

/// The guard judges what it can see, before the proxy hears of it; the proxy's own loopback address is exempt.
#[tokio::test]
async fn the_guard_stands_before_the_proxy() {
    let unknown = || Script::failing() as Arc<dyn Resolver>;
    let private = || Script::new([&["203.0.114.1", "10.0.0.1"]]) as Arc<dyn Resolver>;
    let public = || Script::new([&["203.0.114.1"]]) as Arc<dyn Resolver>;
    let cases: [(&str, TargetNames, Arc<dyn Resolver>, bool); 14] = [
        ("169.254.169.254", TargetNames::Proxied, unknown(), false),
        ("10.0.0.1", TargetNames::Checked, unknown(), false),
        ("::ffff:10.0.0.1", TargetNames::Checked, unknown(), false),
        ("203.0.114.1", TargetNames::Checked, unknown(), true),
        ("203.0.114.1", TargetNames::Pinned, unknown(), true),
        ("localhost", TargetNames::Proxied, unknown(), false),
        ("metadata.localhost", TargetNames::Checked, unknown(), false),
        ("some.example.com", TargetNames::Proxied, private(), true),
        ("some.example.com", TargetNames::Checked, private(), false),
        ("some.example.com", TargetNames::Checked, public(), true),
        ("some.example.com", TargetNames::Checked, unknown(), true),
        ("some.example.com", TargetNames::Pinned, private(), true),
        ("some.example.com", TargetNames::Pinned, public(), true),
        ("some.example.com", TargetNames::Pinned, unknown(), false),
    ];
    let upstream = Peer::echo().await;
    for (host, names, resolver, reaches) in cases {
        let proxy = Proxy::answering(Answer::Open(upstream.address)).await;
        let mut setup = Setup::new(&Pki::new());
        setup.egress = permit(&[]);
        setup.resolver = resolver;
        setup.proxy = Some(proxy.config().with_target_names(names));
        let outcome = plain(&setup.dialer(), &authority(host, 80)).await;
        assert_eq!(outcome.is_ok(), reaches, "{host} {names:?} {outcome:?}");
        assert_eq!(
            proxy.peer.accepted(),
            usize::from(reaches),
            "{host} {names:?}"
        );
        if reaches && names == TargetNames::Pinned {
            assert_eq!(proxy.asked_for(), ["CONNECT 203.0.114.1:80 HTTP/1.1"]);
        } else if reaches {
            assert_eq!(proxy.asked_for(), [format!("CONNECT {host}:80 HTTP/1.1")]);
        }
    }
}

#[tokio::test]
async fn pinned_addresses_are_tried_in_turn() {
    let proxy = Proxy::answering(Answer::SayAndClose(b"HTTP/1.1 503 Unreachable\r\n\r\n")).await;
    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::new([&["203.0.114.1", "203.0.114.2", "203.0.114.3", "203.0.114.4"]]);
    setup.proxy = Some(proxy.config().with_target_names(TargetNames::Pinned));
    let error = plain(&setup.dialer(), &authority("some.example.com", 80))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::ProxyRefused);
    assert!(
        error.message().contains("some.example.com"),
        "the name is shown, not the address: {error}"
    );
    assert_eq!(proxy.asked_for().len(), 3);
}
