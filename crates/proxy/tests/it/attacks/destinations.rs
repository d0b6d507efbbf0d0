//! Destination confusion: a request says one name where the rule is chosen and another where the bytes go. All names that count agree
//! or the request is refused; names that do not count change nothing.

use agent_vault_testing::{Canary, client};
use tokio::io::AsyncWriteExt as _;

use super::lanes::{
    H1_LANES, Trap, converse, credentials, far, guarded, raw, serves_on, statuses, target,
};
use crate::fixture::{Agent, Door, HOST, PATHS, Stage, Way, basic, refusal};

/// The same certificate and the same port, but no rule.
const OTHER: &str = "other.example.test";

/// Fields that some servers and frameworks take for the destination or the path.
const CLAIMS: &[(&str, &str)] = &[
    ("x-forwarded-host", "{}"),
    ("forwarded", "host={};proto=http"),
    ("x-host", "{}"),
    ("x-http-host-override", "{}"),
    ("x-forwarded-server", "{}"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-proto", "http"),
    ("x-original-host", "{}"),
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    ("x-forwarded-prefix", "/admin"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-real-ip", "127.0.0.1"),
    ("via", "1.1 {}"),
    ("alt-used", "{}"),
    ("origin", "https://{}"),
    ("referer", "https://{}/"),
    ("x-vault", "other"),
    ("x-agent-vault-host", "{}"),
];

/// Neither does a claim bring a credential to a host that has none, nor that of one host to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_claim_another_destination_change_nothing() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (stage, secret) = guarded(&upstream).await;
        let bearer = format!("Bearer {}", secret.expose());
        for (host, claimed, injected) in [(HOST, OTHER, Some(bearer.as_str())), (OTHER, HOST, None)]
        {
            let authority = upstream.authority_of(host);
            let mut agent = Agent::open(&stage, way, &authority).await;
            for (name, value) in CLAIMS {
                let value = value.replace("{}", &upstream.authority_of(claimed));
                upstream.clear();
                let answer = agent.get("/echo", &[(name, &value)]).await;
                let what = format!("{name}: {value} to {host} {way:?} {far:?}");
                assert_eq!(answer.status, 200, "{what}");
                let seen = upstream.requests().pop().unwrap();
                assert_eq!(seen.host(), Some(authority.as_str()), "{what}");
                assert_eq!(seen.target, "/echo", "{what}");
                assert_eq!(seen.header("authorization"), injected, "{what}");
                if let Some(sni) = &seen.sni {
                    assert_eq!(sni, host, "{what}");
                }
                secret.assert_absent(&what, answer.received());
            }
        }
    }
}

/// Ways to write `Host` beside a destination that says HOST. `{}` is its port.
const HOSTS: &[(&str, bool)] = &[
    ("api.example.test:{}", true),
    ("API.EXAMPLE.TEST:{}", true),
    ("api.example.test:0{}", false),
    ("api.example.test:{} ", true),
    ("api.example.test.:{}", false),
    ("api.example.test:{}.", false),
    ("api.example.test::{}", false),
    ("api.example.test: {}", false),
    ("api.example.test :{}", false),
    ("api.example.test:+{}", false),
    ("api.example.test:1{}", false),
    ("api.example.test:0", false),
    ("api.example.test:65536", false),
    ("other.example.test:{}", false),
    ("other.example.test", false),
    ("xapi.example.test:{}", false),
    ("api.example.test.evil.test:{}", false),
    ("api.example.test:{}@other.example.test", false),
    ("other.example.test@api.example.test:{}", false),
    ("u:p@api.example.test:{}", false),
    ("@api.example.test:{}", false),
    ("api.example.test:{}, other.example.test", false),
    ("api.example.test:{} other.example.test", false),
    ("api.example.test:{};other.example.test", false),
    ("api.example.test:{}/", false),
    ("api.example.test:{}/@other.example.test", false),
    ("api.example.test:{}?", false),
    ("api.example.test:{}#", false),
    ("api.example.test:{}\\@other.example.test", false),
    ("http://api.example.test:{}", false),
    ("api%2eexample.test:{}", false),
    ("api.example.test%00:{}", false),
    ("api\u{3002}example.test:{}", false),
    ("\u{ff41}pi.example.test:{}", false),
    ("api.ex\u{ad}ample.test:{}", false),
    ("[api.example.test]:{}", false),
    ("127.0.0.1:{}", false),
    ("[::1]:{}", false),
    ("", false),
    (":{}", false),
    ("*", false),
    ("api.example.test:{}\r\nHost: other.example.test", false),
    ("other.example.test\r\nHost: api.example.test:{}", false),
    ("api.example.test:{}\r\nhost: api.example.test:{}", false),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_field_names_the_destination_or_nothing_is_sent() {
    for (door, way) in H1_LANES {
        let trap = Trap::start(far(way));
        let (stage, secret) = guarded(&trap.upstream).await;
        let (authority, own) = (trap.authority(), credentials(&stage, way));
        let mut answered = Vec::new();
        for (number, (host, _)) in HOSTS.iter().enumerate() {
            let host = host.replace("{}", &trap.upstream.port().to_string());
            let at = target(way, &authority, &format!("/attack-{number}-"));
            let request =
                format!("GET {at} HTTP/1.1\r\nHost: {host}\r\n{own}Connection: close\r\n\r\n");
            let mut stream = raw(&stage, door, way, &authority).await;
            answered.push(converse(&mut stream, request.as_bytes()).await);
        }
        serves_on(&stage, way, &trap.upstream).await;
        let (_, arrived) = trap.take();
        for (number, ((host, good), answers)) in HOSTS.iter().zip(answered).enumerate() {
            let what = format!("{host:?} on {way:?} by {door:?}: {answers}");
            let path = format!(" /attack-{number}-");
            let sent: Vec<_> = arrived
                .iter()
                .filter(|one| one.head.contains(&path))
                .collect();
            assert_eq!(sent.len(), usize::from(*good), "{what}");
            assert_eq!(statuses(&answers) == [200], *good, "{what}");
            for one in sent {
                let head = one.head.to_ascii_lowercase();
                assert_eq!(head.matches("\r\nhost:").count(), 1, "{what}");
                assert!(
                    head.contains(&format!("\r\nhost: {authority}\r\n")),
                    "{what}"
                );
                assert!(head.contains(secret.expose()), "{what}");
            }
        }
    }
}

/// What a client may write behind CONNECT and as an absolute URL. `{to}` is the destination with the rule, `{port}` its port.
const TARGETS: &[&str] = &[
    "u@{to}",
    "u:p@{to}",
    "other.example.test@{to}",
    "{to}@other.example.test:{port}",
    "{to}\\@other.example.test:{port}",
    "{to}%40other.example.test:{port}",
    "{to}%23:{port}",
    "{to}:{port}",
    "{to},other.example.test:{port}",
    "api.example.test.:{port}",
    ".api.example.test:{port}",
    "api..example.test:{port}",
    "api.example.test:0",
    "api.example.test:65536",
    "api.example.test:+{port}",
    "api.example.test:-1",
    "api.example.test:{port}x",
    "api%2eexample%2etest:{port}",
    "api.example.test%2f:{port}",
    "api.example.test%00:{port}",
    "[api.example.test]:{port}",
    "[127.0.0.1]:{port}",
    "[::ffff:127.0.0.1%25lo]:{port}",
    "api.example.test\\:{port}",
    "*.example.test:{port}",
    ":{port}",
    "",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_has_one_reading_or_is_refused() {
    for door in [Door::Clear, Door::Tls] {
        let trap = Trap::start(far(Way::Absolute));
        let (stage, secret) = guarded(&trap.upstream).await;
        let proxied = credentials(&stage, Way::Absolute);
        let (to, port) = (trap.authority(), trap.upstream.port().to_string());
        for text in TARGETS {
            let text = text.replace("{to}", &to).replace("{port}", &port);
            for line in [
                format!("CONNECT {text} HTTP/1.1"),
                format!("GET http://{text}/ HTTP/1.1"),
                format!("GET HTTP://{text} HTTP/1.1"),
            ] {
                let request = format!("{line}\r\nHost: {to}\r\n{proxied}Connection: close\r\n\r\n");
                let mut stream = stage.dial(door).await.unwrap();
                let answers = converse(&mut stream, request.as_bytes()).await;
                let what = format!("{line} by {door:?}: {answers}");
                assert!(
                    statuses(&answers)
                        .iter()
                        .all(|status| [400, 414, 421].contains(status)),
                    "{what}"
                );
                secret.assert_absent(&what, &answers);
            }
        }
        // Schemes and shapes that name no destination that this port forwards to.
        for line in [
            format!("GET https://{to}/ HTTP/1.1"),
            format!("GET ws://{to}/ HTTP/1.1"),
            format!("GET //{to}/ HTTP/1.1"),
            format!("GET http:/{to}/ HTTP/1.1"),
            format!("GET http:{to} HTTP/1.1"),
            format!("GET http:///{to} HTTP/1.1"),
            format!("GET {to} HTTP/1.1"),
            format!("GET {to}/ HTTP/1.1"),
            format!("GET gopher://{to}/ HTTP/1.1"),
            format!("GET file://{to}/etc/passwd HTTP/1.1"),
            format!("CONNECT http://{to} HTTP/1.1"),
            format!("CONNECT {to}/ HTTP/1.1"),
            format!("CONNECT /{to} HTTP/1.1"),
            format!("CONNECT {to}?x HTTP/1.1"),
            "CONNECT * HTTP/1.1".to_owned(),
        ] {
            let request = format!("{line}\r\nHost: {to}\r\n{proxied}Connection: close\r\n\r\n");
            let mut stream = stage.dial(door).await.unwrap();
            let answers = converse(&mut stream, request.as_bytes()).await;
            assert!(
                statuses(&answers).iter().all(|status| *status == 400),
                "{line} by {door:?}: {answers}"
            );
        }
        assert_eq!(trap.upstream.connections(), 0);
        serves_on(&stage, Way::Absolute, &trap.upstream).await;
    }
}

/// The name that the TLS inside a tunnel asks for is the tunnel's, in every spelling of it and in no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_name_is_the_tunnels() {
    let trap = Trap::start(far(Way::H1));
    let (stage, _) = guarded(&trap.upstream).await;
    let authority = trap.authority();
    for door in [Door::Clear, Door::Tls] {
        for (name, good) in [
            ("api.example.test", true),
            ("API.example.TEST", true),
            ("other.example.test", false),
            ("xapi.example.test", false),
            ("example.test", false),
            ("vault.example.test", false),
        ] {
            let tunnel = raw(&stage, door, Way::Clear, &authority).await;
            // Whatever certificate is shown, the handshake is what is looked at.
            let outcome = client::tls(tunnel, name, &stage.tls(&["http/1.1"])).await;
            assert_eq!(outcome.is_ok(), good, "{name} by {door:?}");
        }
    }
    assert_eq!(trap.upstream.connections(), 0);
    serves_on(&stage, Way::H1, &trap.upstream).await;
}

/// WebSockets by either version: the handshake's names count as any request's do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_handshake_names_its_destination() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (stage, secret) = guarded(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(OTHER)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200);
        upstream.clear();
        let claimed = upstream.authority_of(HOST);
        // A `Host` beside the one that the client sends by itself, or beside `:authority`.
        let refused = crate::upgrades::open(&mut agent, "/ws", &[("host", &claimed)]).await;
        if let Ok(outcome) = refused {
            let answer = outcome.err().unwrap();
            assert!([400, 421].contains(&answer.status.as_u16()), "{way:?}");
            refusal(&answer);
        }
        assert!(upstream.requests().is_empty(), "{way:?} {far:?}");
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(OTHER)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200);
        let claims = [
            ("x-forwarded-host", claimed.as_str()),
            ("origin", "https://api.example.test"),
        ];
        let (mut socket, _) = crate::upgrades::open(&mut agent, "/ws", &claims)
            .await
            .unwrap()
            .unwrap();
        socket.send_text("x").await.unwrap();
        assert_eq!(socket.expect_text().await, "x");
        let seen = upstream.latest("/ws").unwrap();
        assert_eq!(
            seen.host(),
            Some(agent.authority.as_str()),
            "{way:?} {far:?}"
        );
        secret.assert_absent("a handshake", format!("{:?}", seen.headers));
    }
}

/// A token that opens one vault opens no other on the way, whatever is said inside its tunnel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_inside_a_tunnel_is_nobodys() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (stage, mine) = guarded(&upstream).await;
        let (theirs, token) = second_vault(&stage);
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let other = basic(&format!("{token}:second"));
        if way == Way::Absolute {
            // Where each request brings its own, each gets its own, on one connection.
            for (auth, canary) in [
                (stage.auth(), &mine),
                (other, &theirs),
                (stage.auth(), &mine),
            ] {
                agent.auth = auth;
                agent.get("/", &[]).await;
                let seen = upstream.requests().pop().unwrap();
                assert!(
                    seen.header("authorization")
                        .unwrap()
                        .ends_with(canary.expose())
                );
            }
            continue;
        }
        for fields in [
            &[("proxy-authorization", other.as_str())][..],
            &[("authorization", other.as_str())],
            &[("x-vault", "second")],
            &[("x-vault-token", token.as_str())],
            &[("cookie", token.as_str())],
        ] {
            upstream.clear();
            let answer = agent.get("/echo", fields).await;
            assert_eq!(answer.status, 200, "{fields:?} {way:?}");
            let seen = upstream.requests().pop().unwrap();
            assert_eq!(
                seen.header("authorization"),
                Some(format!("Bearer {}", mine.expose()).as_str()),
                "{fields:?} {way:?} {far:?}"
            );
            let all = format!("{:?}", seen.headers);
            assert!(!all.contains(&token), "{fields:?} {way:?} {far:?}");
            theirs.assert_absent("another vault's request", all);
        }
    }
}

/// Adds a vault with its own value for the same host, and a token for it.
pub(crate) fn second_vault(stage: &Stage) -> (Canary, String) {
    let id = uuid::Uuid::from_u128(2);
    let theirs = Canary::new("sk-theirs-");
    let vault = crate::fixture::Vault {
        id,
        name: "second".to_owned(),
        services: stage.vault.services.clone(),
        credentials: vec![("TOKEN".to_owned(), theirs.expose().to_owned())],
        placeholders: Vec::new(),
        unmatched: agent_vault_policy::UnmatchedPolicy::Passthrough,
        broken: false,
    };
    stage.broker.put_vault(vault.record(&stage.keyring));
    let token = stage.session(id).expose().to_owned();
    (theirs, token)
}

/// A TLS session that was begun in one vault's tunnel and is resumed in another's belongs to the tunnel that it is in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_tls_session_belongs_to_its_tunnel() {
    let trap = Trap::start(far(Way::H1));
    let (stage, mine) = guarded(&trap.upstream).await;
    let (theirs, token) = second_vault(&stage);
    let authority = trap.authority();
    // One client, which keeps its tickets.
    let config = stage.tls(&["http/1.1"]);
    let mut resumed = 0;
    for (auth, canary) in [
        (stage.auth(), &mine),
        (basic(&token), &theirs),
        (stage.auth(), &mine),
        (basic(&token), &theirs),
    ] {
        let tasks = agent_vault_testing::tasks::Tasks::new();
        let mut proxy = client::ProxyConnection::open(stage.addr, &tasks.spawner())
            .await
            .unwrap();
        let tunnel = proxy
            .connect(&authority, Some(&auth))
            .await
            .unwrap()
            .opened();
        let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
        let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(&config))
            .connect(name, tunnel)
            .await
            .unwrap();
        resumed +=
            usize::from(tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed));
        let mut stream: client::Stream = Box::new(tls);
        let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        stream.write_all(b"").await.unwrap();
        let answers = converse(&mut stream, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [200]);
        let (_, arrived) = trap.take();
        assert_eq!(arrived.len(), 1);
        assert!(arrived[0].head.contains(canary.expose()));
    }
    assert!(resumed > 0, "a ticket was used, or nothing was tested");
    // And none that is no longer good: the token is asked for before any TLS.
    stage.broker.drop_sessions(|_| true);
    let tasks = agent_vault_testing::tasks::Tasks::new();
    let mut proxy = client::ProxyConnection::open(stage.addr, &tasks.spawner())
        .await
        .unwrap();
    let refused = proxy
        .connect(&authority, Some(&stage.auth()))
        .await
        .unwrap()
        .refused();
    assert_eq!(refused.status, 407);
}
