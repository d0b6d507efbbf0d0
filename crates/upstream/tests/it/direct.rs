//! Resolve, guard and connect, without TLS.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::EgressPolicy;
use agent_vault_upstream::{Guard, Limits, Resolver, Resolving, Sent, UpstreamErrorKind};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::fixture::{
    LOOPBACK, Peer, Pki, Script, Setup, authority, dead_port, echoes, permit, plain,
};

/// Proxy contract 9.1 with S3 and S4: each as an address literal and as the answer to a name.
#[tokio::test]
async fn nothing_special_is_dialled() {
    let pki = Pki::new();
    for address in [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "168.63.129.16",
        "100.100.100.200",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ] {
        let mut setup = Setup::new(&pki);
        setup.egress = EgressPolicy::default();
        let script = Script::new([&[address]]);
        setup.resolver = Arc::clone(&script) as Arc<dyn Resolver>;
        let dialer = setup.dialer();

        let literal = plain(&dialer, &authority(address, 80)).await.unwrap_err();
        assert_eq!(literal.kind(), UpstreamErrorKind::Blocked, "{address}");
        assert_eq!(script.asked(), 0, "a literal is not looked up");

        let named = plain(&dialer, &authority("internal.example.com", 80))
            .await
            .unwrap_err();
        assert_eq!(named.kind(), UpstreamErrorKind::Blocked, "{address}");
        assert!(named.certainly_not_sent() && named.hint().is_some());
        assert!(named.message().contains("internal.example.com"));
    }
}

#[tokio::test]
async fn a_refusal_names_the_class_and_not_the_address() {
    let mut setup = Setup::new(&Pki::new());
    setup.egress = EgressPolicy::default();
    setup.resolver = Script::new([&["10.20.30.40"]]);
    let refused = plain(&setup.dialer(), &authority("db.internal", 443))
        .await
        .unwrap_err();
    assert!(!refused.to_string().contains("10.20.30.40"), "{refused}");
    assert!(refused.to_string().contains("private"), "{refused}");
    let cause = std::error::Error::source(&refused).unwrap();
    assert!(
        cause.to_string().contains("10.20.30.40"),
        "the log may know"
    );
}

#[tokio::test]
async fn metadata_stays_blocked_when_private_ranges_are_permitted() {
    let egress = EgressPolicy {
        allow_private: true,
        allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
    };
    let guard = Guard::new(egress);
    for address in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "169.254.170.2",
        "168.63.129.16",
    ] {
        assert!(
            guard.admit(address.parse().unwrap(), 80).is_err(),
            "{address}"
        );
    }
    assert!(guard.admit("10.0.0.1".parse().unwrap(), 80).is_ok());
}

#[test]
fn a_mapped_address_is_dialled_as_what_it_is() {
    let guard = Guard::new(permit(&["10.0.0.0/8"]));
    let admitted = guard
        .admit("::ffff:10.0.0.1".parse().unwrap(), 443)
        .unwrap();
    assert_eq!(
        admitted.get(),
        "10.0.0.1:443".parse::<SocketAddr>().unwrap()
    );
    let twice = [
        "10.0.0.1".parse().unwrap(),
        "::ffff:10.0.0.1".parse().unwrap(),
    ];
    assert_eq!(guard.sift(&twice, 443).unwrap().len(), 1);
}

/// C13: a blocked answer does not spoil the permitted ones.
#[tokio::test]
async fn blocked_addresses_are_dropped_and_the_rest_is_used() {
    let peer = Peer::echo().await;
    let mut setup = Setup::new(&Pki::new());
    setup.egress = permit(&["127.0.0.1/32"]);
    setup.resolver = Script::new([&["10.0.0.1", "169.254.169.254", "127.0.0.1"]]);
    let mut dialed = plain(&setup.dialer(), &peer.at("mixed.example.com"))
        .await
        .unwrap();
    assert_eq!(dialed.peer, peer.address);
    assert!(!dialed.io.is_tls() && dialed.negotiated.is_none());
    echoes(&mut dialed).await;
}

/// C13: the first address refuses, the second serves.
#[tokio::test]
async fn falls_back_to_the_next_address() {
    let peer = Peer::echo().await;
    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::new([&["127.0.0.2", "::1", "127.0.0.1"]]);
    setup.egress = permit(&["127.0.0.0/8", "::1/128"]);
    let mut dialed = plain(&setup.dialer(), &peer.at("two.example.com"))
        .await
        .unwrap();
    assert_eq!(dialed.peer, peer.address);
    echoes(&mut dialed).await;
}

/// The name answers differently a moment later; what was checked is what is dialled.
#[tokio::test]
async fn rebinding_changes_nothing() {
    let peer = Peer::echo().await;
    let script = Script::new([&["127.0.0.1"], &["127.0.0.9"]]);
    let mut setup = Setup::new(&Pki::new());
    setup.egress = permit(&["127.0.0.1/32"]);
    setup.resolver = Arc::clone(&script) as Arc<dyn Resolver>;
    let dialer = setup.dialer();
    let mut dialed = plain(&dialer, &peer.at("rebind.example.com"))
        .await
        .unwrap();
    assert_eq!(dialed.peer.ip(), LOOPBACK);
    echoes(&mut dialed).await;
    assert_eq!(script.asked(), 1, "looked up once");
    // The next dial sees the new answer, and judges that.
    let refused = plain(&dialer, &peer.at("rebind.example.com"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Blocked);
    assert_eq!(peer.accepted(), 1);
}

#[tokio::test]
async fn nobody_listens() {
    let (_kept, port) = dead_port();
    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::new([&["127.0.0.1", "127.0.0.2"]]);
    let refused = plain(&setup.dialer(), &authority("down.example.com", port))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), UpstreamErrorKind::Connect);
    assert_eq!(refused.sent(), Sent::NotSent);
    assert!(
        refused.message().contains("refused the connection"),
        "{refused}"
    );
    assert!(!refused.message().contains("127.0.0"), "{refused}");
}

#[tokio::test]
async fn an_unknown_name() {
    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::failing();
    let error = plain(&setup.dialer(), &authority("nowhere.example.com", 80))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::Resolve);
    assert!(!error.to_string().contains("secret-internal-detail"));

    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::new([&[]]);
    let error = plain(&setup.dialer(), &authority("empty.example.com", 80))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::Resolve);
}

#[derive(Debug)]
struct Never;

impl Resolver for Never {
    fn resolve<'a>(&'a self, _: &'a agent_vault_policy::Host) -> Resolving<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_resolver_that_never_answers() {
    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Arc::new(Never);
    setup.limits = Limits {
        resolve: Duration::from_millis(20),
        ..Limits::default()
    };
    let error = plain(&setup.dialer(), &authority("slow.example.com", 80))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::Timeout);
}

#[tokio::test]
async fn vectored_writes_are_handed_through() {
    let peer = Peer::echo().await;
    let mut dialed = plain(&Setup::new(&Pki::new()).dialer(), &peer.at("127.0.0.1"))
        .await
        .unwrap();
    assert!(dialed.io.is_write_vectored());
    let parts = [IoSlice::new(b"one "), IoSlice::new(b"two")];
    assert_eq!(dialed.io.write_vectored(&parts).await.unwrap(), 7);
    dialed.io.shutdown().await.unwrap();
    let mut back = String::new();
    dialed.io.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "one two");
}

/// An address of loopback that neither accepts nor refuses: its queue of connections is full.
#[cfg(target_os = "linux")]
async fn stuffed(address: SocketAddr) -> (tokio::net::TcpListener, Vec<tokio::net::TcpStream>) {
    let connect = || {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        tokio::time::timeout(Duration::from_millis(100), socket.connect(address))
    };
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        match connect().await {
            Ok(connected) => waiting.push(connected.unwrap()),
            Err(_) => return (listener, waiting),
        }
    }
    panic!("the queue does not fill");
}

/// RFC 8305: an address that does not answer holds the next one up for a moment only, and the limit holds for all.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_does_not_answer() {
    let peer = Peer::echo().await;
    let hole = SocketAddr::new("127.0.0.2".parse().unwrap(), peer.port());
    let _stuffed = stuffed(hole).await;

    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::new([&["127.0.0.2", "127.0.0.1"]]);
    let mut dialed = plain(&setup.dialer(), &peer.at("two.example.com"))
        .await
        .unwrap();
    assert_eq!(dialed.peer, peer.address);
    echoes(&mut dialed).await;

    let mut setup = Setup::new(&Pki::new());
    setup.resolver = Script::new([&["127.0.0.2"]]);
    setup.limits = Limits {
        connect: Duration::from_millis(50),
        ..Limits::default()
    };
    let error = plain(&setup.dialer(), &peer.at("hole.example.com"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), UpstreamErrorKind::Timeout);
}
