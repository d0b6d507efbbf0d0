//! Methods that ask for the request as the answer, or for something of the proxy instead of the upstream.

use agent_vault_testing::{Canary, client};

use super::lanes::{H1_LANES, Trap, converse, credentials, far, guarded, raw, serves_on, statuses};
use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way, refusal};

/// What carries a credential cannot be asked for itself, whatever the case and whoever shall answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_credential_is_never_its_own_answer() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (stage, secret) = guarded(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        for method in ["TRACE", "trace", "TrAcE", "TRACK", "track"] {
            for fields in [&[][..], &[("max-forwards", "0")], &[("max-forwards", "1")]] {
                let answer = agent
                    .ask(method, "/", fields, client::empty())
                    .await
                    .unwrap();
                assert_eq!(answer.status, 405, "{method} {way:?} {far:?}");
                refusal(&answer);
                secret.assert_absent("an answer", answer.received());
            }
        }
        assert!(upstream.requests().is_empty());
        // Nobody but the upstream answers OPTIONS, however few hops are left.
        let answer = agent
            .ask("OPTIONS", "/", &[("max-forwards", "0")], client::empty())
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{way:?} {far:?}");
        assert_eq!(upstream.requests().len(), 1);
        serves_on(&stage, way, &upstream).await;
    }
}

/// Where no credential goes out the token of the vault does not either, so there is nothing to reflect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_without_a_credential_reflects_no_token() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent
            .ask("TRACE", "/echo", &[], client::empty())
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{way:?} {far:?}");
        let token = Canary::of(stage.token.clone());
        token.assert_absent("a reflected request", answer.received());
        let seen = upstream.requests().pop().unwrap();
        assert!(!seen.headers.contains_key("proxy-authorization"));
        serves_on(&stage, way, &upstream).await;
    }
}

/// A tunnel within a tunnel, `*`, and protocols to switch to: none of them gets past policy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_of_the_proxy_inside_a_tunnel() {
    for (door, way) in H1_LANES {
        let trap = Trap::start(far(way));
        let (stage, secret) = guarded(&trap.upstream).await;
        let authority = trap.authority();
        let own = credentials(&stage, way);
        let at = super::lanes::target(way, &authority, "/x");
        let in_tunnel = way != Way::Absolute;
        let mut cases = vec![
            (
                format!("GET * HTTP/1.1\r\nHost: {authority}\r\n{own}Connection: close\r\n\r\n"),
                false,
            ),
            // Switched to HTTP/2 nobody would look at what follows. The fields are taken off, and the request is an ordinary one.
            (
                format!(
                    "GET {at} HTTP/1.1\r\nHost: {authority}\r\n{own}Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                ),
                true,
            ),
            (
                format!(
                    "GET {at} HTTP/1.1\r\nHost: {authority}\r\n{own}Connection: close, Upgrade\r\nUpgrade: TLS/1.3\r\n\r\n"
                ),
                true,
            ),
            // A handshake with a body: what follows is no frame of anybody's.
            (
                format!(
                    "GET {at} HTTP/1.1\r\nHost: {authority}\r\n{own}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
                     GET /hidden HTTP/1.1\r\nHost: other.example.test\r\nConnection: close\r\n\r\n"
                ),
                true,
            ),
        ];
        // In clear a tunnel may carry HTTP/2.
        if way != Way::Clear {
            cases.push(("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), false));
        }
        if in_tunnel {
            let proxied = format!("Proxy-Authorization: {}\r\n", stage.auth());
            for target in [authority.as_str(), "other.example.test:443", "127.0.0.1:22"] {
                cases.push((
                    format!(
                        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proxied}Connection: close\r\n\r\n"
                    ),
                    false,
                ));
            }
        }
        for (request, arrives) in cases {
            let mut stream = raw(&stage, door, way, &authority).await;
            let answers = converse(&mut stream, request.as_bytes()).await;
            let what = format!("{request} on {way:?} by {door:?}: {answers}");
            secret.assert_absent(&what, &answers);
            let (wire, arrived) = trap.take();
            assert!(
                !wire.contains("/hidden") && !wire.contains("PRI *"),
                "{what}"
            );
            assert_eq!(arrived.len(), usize::from(arrives), "{what}");
            for one in arrived {
                let head = one.head.to_ascii_lowercase();
                assert!(
                    !head.contains("h2c") && !head.contains("http2-settings"),
                    "{what}"
                );
                assert!(!head.contains("tls/1.3"), "{what}");
            }
            if arrives {
                assert_eq!(statuses(&answers).first(), Some(&200), "{what}");
            } else {
                assert!(!statuses(&answers).contains(&200), "{what}");
            }
        }
        serves_on(&stage, way, &trap.upstream).await;
    }
}

/// `OPTIONS *` is about the server as a whole: it gets the credential of a service for the whole host, of no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_everything_gets_no_credential_of_a_part() {
    let upstream = Far::H1.start();
    let secret = Canary::new("sk-part-");
    let stage = Stage::builder()
        .trusting(&upstream)
        .credential("TOKEN", secret.expose())
        .service(
            serde_json::json!({"name": "part", "host": format!("{HOST}/v1/*"),
            "auth": {"type": "bearer", "token": "TOKEN"}}),
        )
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    let mut stream = crate::doors::tunnel(&stage, &authority).await;
    let request = format!("OPTIONS * HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let answers = converse(&mut stream, request.as_bytes()).await;
    assert_eq!(statuses(&answers), [200], "{answers}");
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.target, "*");
    assert!(!seen.headers.contains_key("authorization"));
}
