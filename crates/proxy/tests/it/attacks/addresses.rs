//! Ways to an address that must not be reached: every spelling of it, names that lead there, and names whose answers change.

use std::net::TcpListener;

use agent_vault_policy::EgressPolicy;
use agent_vault_testing::client;

use super::lanes::{Trap, converse, credentials, guarded, serves_on, statuses};
use crate::fixture::{Agent, Door, Far, HOST, PATHS, Stage, Way, refusal};

/// Loopback and metadata services, as resolvers, libc and browsers have ever read them.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7F.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0x0.0.1",
    "017700000001",
    "00000177.0.0.1",
    "127.0.0.1.",
    "127.000.000.001",
    "127.0.0.01",
    "127..0.1",
    "0",
    "0.0.0.0",
    "0x0",
    "00",
    "1.1.1.1.127.0.0.1",
    "localhost",
    "LocalHost",
    "localhost.",
    "localhost.localdomain",
    "any.localhost",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[2001:0:7f00:1::]",
    "[::1%lo]",
    "[::1%25lo]",
    "[fe80::1%25eth0]",
    "[fe80::1]",
    "[::ffff:0:127.0.0.1]",
    "[127.0.0.1]",
    "[::1",
    "::1]",
    "[]",
    "::1",
    "%31%32%37.0.0.1",
    "127.0.0.1%00.example.test",
    "127.0.0.1%20",
    "127%2e0%2e0%2e1",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "127\u{ff0e}0\u{ff0e}0\u{ff0e}1",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "l\u{24de}calhost",
    "\u{ff4c}ocalhost",
    "lo\u{ad}calhost",
    "xn--localhost-",
    "169.254.169.254",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "0251.0xfe.43518",
    "169.254.169.254.",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[FD00:0EC2:0:0:0:0:0:254]",
    "[fe80::a9fe:a9fe]",
    "[fd20:ce::254]",
    "metadata.google.internal",
    "metadata",
    "instance-data",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "10.0.0.1",
    "10.1",
    "172.16.0.1",
    "192.168.1.1",
    "192.168.257",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[fc00::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
];

/// By absolute URL and by CONNECT, in clear and through TLS; names are answered with loopback. Nobody is dialled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_an_inside_address_is_dialled() {
    let trap = Trap::start(Far::Plain);
    let stage = Stage::builder()
        .egress(EgressPolicy::default())
        .start()
        .await;
    let port = trap.upstream.port();
    let auth = credentials(&stage, Way::Absolute);
    for door in [Door::Clear, Door::Tls] {
        for host in SPELLINGS {
            let to = format!("{host}:{port}");
            let get = format!(
                "GET http://{to}/ HTTP/1.1\r\nHost: {to}\r\n{auth}Connection: close\r\n\r\n"
            );
            let mut stream = stage.dial(door).await.unwrap();
            let answers = converse(&mut stream, get.as_bytes()).await;
            let what = format!("{to} by {door:?}: {answers}");
            let refused = statuses(&answers);
            assert!(refused.len() <= 1, "{what}");
            assert!(
                refused.iter().all(|status| [400, 502].contains(status)),
                "{what}"
            );
            // The answer to CONNECT may be 200, for nobody is dialled before there is a request.
            let connect = format!(
                "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{auth}\r\nGET / HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"
            );
            let mut stream = stage.dial(door).await.unwrap();
            let answers = converse(&mut stream, connect.as_bytes()).await;
            let what = format!("CONNECT {to} by {door:?}: {answers}");
            let statuses = statuses(&answers);
            assert!(
                matches!(statuses[..], [] | [400] | [400, 400] | [200, 400 | 502]),
                "{what}"
            );
        }
    }
    assert_eq!(trap.upstream.connections(), 0);
    // The stage is in order: where loopback is allowed the same request is served.
    let (stage, _) = guarded(&trap.upstream).await;
    serves_on(&stage, Way::Absolute, &trap.upstream).await;
}

/// A name that answers with good and bad addresses leads to the good ones only; one that answers with bad ones leads nowhere,
/// whatever it answered before. Requests and WebSockets, on every way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_mixed_or_change() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (stage, secret) = guarded(&upstream).await;
        // The inside: the same port on an address that is not allowed.
        let inside = TcpListener::bind(("127.0.0.2", upstream.port())).unwrap();
        inside.set_nonblocking(true).unwrap();
        let authority = upstream.authority_of(HOST);
        for answers in [
            &["127.0.0.2", "127.0.0.1"][..],
            &["127.0.0.1", "127.0.0.2"],
            &[
                "169.254.169.254",
                "10.0.0.1",
                "::ffff:127.0.0.2",
                "127.0.0.1",
            ],
            &["::", "fe80::1", "127.0.0.1", "::1"],
        ] {
            stage.names.script(HOST, &[answers]);
            let mut agent = Agent::open(&stage, way, &authority).await;
            let answer = agent.get("/close", &[]).await;
            assert_eq!(answer.status, 200, "{answers:?} {way:?} {far:?}");
        }
        let before = upstream.requests().len();
        for answers in [
            &["127.0.0.2"][..],
            &["127.0.0.2", "10.0.0.1", "169.254.169.254"],
            &["::ffff:127.0.0.2"],
            &["::127.0.0.2"],
            &["64:ff9b::7f00:2"],
            &["2002:7f00:2::"],
            &["::"],
            &[],
        ] {
            // A vault of its own, so that no connection from before is used.
            let id = uuid::Uuid::new_v4();
            let mut record = stage.vault.record(&stage.keyring);
            record.id = id;
            record.name = format!("vault-{}", id.simple());
            stage.broker.put_vault(record);
            let token = stage.session(id);
            let auth = crate::fixture::basic(token.expose());
            // What it answered when the tunnel was opened, or a moment ago, does not count.
            stage.names.script(HOST, &[answers]);
            for socket in [false, true] {
                let mut agent = Agent::with_auth(&stage, way, &authority, &auth)
                    .await
                    .unwrap();
                let answer = if socket && !way.is_h2() {
                    crate::upgrades::open(&mut agent, "/ws", &[])
                        .await
                        .unwrap()
                        .err()
                        .unwrap()
                } else {
                    agent.ask("GET", "/", &[], client::empty()).await.unwrap()
                };
                let what = format!("{answers:?} {way:?} {far:?} {}", answer.received());
                assert_eq!(answer.status, 502, "{what}");
                refusal(&answer);
                assert!(!answer.received().contains("127.0.0.2"), "{what}");
                secret.assert_absent(&what, answer.received());
            }
        }
        assert_eq!(upstream.requests().len(), before, "{way:?} {far:?}");
        let nobody = inside.accept().map(|_| ()).unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "{way:?}");
        stage.names.script(HOST, &[&["127.0.0.1"]]);
        serves_on(&stage, way, &upstream).await;
    }
}

/// The same by SOCKS 5, as names and as addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_an_inside_address_is_dialled_by_socks() {
    use std::net::IpAddr;

    use crate::socks::{connect, known, read};
    use tokio::io::AsyncWriteExt as _;

    let trap = Trap::start(Far::Plain);
    let stage = Stage::builder()
        .egress(EgressPolicy::default())
        .start()
        .await;
    let port = trap.upstream.port();
    for host in SPELLINGS {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut asked = vec![connect(host, port), connect(bare, port)];
        match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                asked.push([&b"\x05\x01\x00\x01"[..], &ip.octets(), &port.to_be_bytes()].concat())
            }
            Ok(IpAddr::V6(ip)) => {
                asked.push([&b"\x05\x01\x00\x04"[..], &ip.octets(), &port.to_be_bytes()].concat())
            }
            Err(_) => {}
        }
        for message in asked {
            let mut stream = known(&stage, &stage.token, "").await;
            stream.write_all(&message).await.unwrap();
            let reply = read(&mut stream, 10).await;
            assert_eq!(reply[0], 5, "{host}: {reply:?}");
            // Refused, or open as a tunnel of CONNECT would be, with nobody dialled before there is a request.
            if reply[1] == 0 {
                let get =
                    format!("GET / HTTP/1.1\r\nHost: {bare}:{port}\r\nConnection: close\r\n\r\n");
                let answers = converse(&mut stream, get.as_bytes()).await;
                let refused = statuses(&answers);
                assert!(
                    refused
                        .iter()
                        .all(|status| [400, 421, 502].contains(status)),
                    "{host}: {answers}"
                );
            }
        }
    }
    assert_eq!(trap.upstream.connections(), 0);
    let (stage, _) = guarded(&trap.upstream).await;
    serves_on(&stage, Way::Absolute, &trap.upstream).await;
}
