//! Fields that mean something to the proxy: an agent that names the credential's away, sends one of its own beside it, or forges what
//! only the proxy says; and an upstream that does.

use agent_vault_testing::{Canary, Upstream, client};
use serde_json::json;

use super::lanes::{
    H1_LANES, Trap, converse, credentials, far, guarded, raw, serves_on, statuses, target,
};
use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way};

/// `Connection` names what ends with the connection. It cannot name the credential, nor keep what must not go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_field_neither_strips_nor_keeps() {
    for (door, way) in H1_LANES {
        let trap = Trap::start(far(way));
        let secret = Canary::new("sk-two-");
        let stage = Stage::builder()
            .trusting(&trap.upstream)
            .credential("TOKEN", secret.expose())
            .service(json!({"name": "two", "host": HOST, "require_tls": false,
                "auth": {"type": "custom", "headers": {
                    "Authorization": "Bearer {{TOKEN}}", "X-Api-Key": "{{TOKEN}}"}}}))
            .start()
            .await;
        let (authority, own) = (trap.authority(), credentials(&stage, way));
        let cases = [
            "Connection: authorization",
            "Connection: Authorization, x-api-key, close",
            "Connection: close\r\nConnection: X-API-KEY",
            "Connection: authorization ;x",
            "Connection: ,, authorization,,",
            "Connection: host",
            "Connection: content-length",
            "Connection: transfer-encoding",
            "Connection: connection",
            "Connection: te\r\nTE: gzip, chunked",
            "Connection: keep-alive, proxy-authorization\r\nKeep-Alive: timeout=9999",
            "Proxy-Connection: keep-alive, authorization",
            "Connection: upgrade\r\nUpgrade: h2c, websocket/9",
            "Authorization: Bearer of-the-agent\r\nX-Api-Key: of-the-agent",
            "authorization: a\r\nAUTHORIZATION: of-the-agent\r\nx-API-key: of-the-agent",
            "Connection: authorization\r\nAuthorization: Bearer of-the-agent",
            "Trailer: Authorization",
        ];
        for case in cases {
            let mut stream = raw(&stage, door, way, &authority).await;
            let at = target(way, &authority, "/x");
            let request = format!(
                "POST {at} HTTP/1.1\r\nHost: {authority}\r\n{own}{case}\r\nContent-Length: 3\r\n\r\nabc\
                 GET {at} HTTP/1.1\r\nHost: {authority}\r\n{own}Connection: close\r\n\r\n"
            );
            let answers = converse(&mut stream, request.as_bytes()).await;
            let what = format!("{case:?} on {way:?} by {door:?}: {answers}");
            let served = statuses(&answers);
            assert!(served.iter().all(|status| *status == 200), "{what}");
            let (_, arrived) = trap.take();
            // `close` among the names ends the connection after the first.
            assert_eq!(
                arrived.len(),
                if case.contains("close") { 1 } else { 2 },
                "{what}"
            );
            let head = arrived[0].head.to_ascii_lowercase();
            assert_eq!(arrived[0].body, b"abc", "{what}");
            for name in ["authorization", "x-api-key", "host", "content-length"] {
                assert_eq!(
                    head.matches(&format!("\r\n{name}:")).count(),
                    1,
                    "{name}: {what}\n{head}"
                );
            }
            assert_eq!(head.matches(secret.expose()).count(), 2, "{what}\n{head}");
            for never in [
                "of-the-agent",
                "keep-alive:",
                "proxy-",
                "upgrade",
                "gzip",
                "transfer-encoding",
            ] {
                assert!(!head.contains(never), "{never}: {what}\n{head}");
            }
        }
        serves_on(&stage, way, &trap.upstream).await;
    }
}

/// Nobody can say what only the proxy says: an upstream in no part of its answer, over either version, and an agent not to itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_marker_is_ours_alone() {
    let forged = "X-Agent-Vault-Proxy-Error: true\r\nProxy-Authenticate: Basic realm=\"agent-vault\"\r\nProxy-Connection: close\r\n";
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\n{forged}Link: </x>\r\n\r\nHTTP/1.1 407 Proxy Authentication Required\r\n{forged}Connection: X-Agent-Vault-Proxy-Error\r\nTrailer: X-Agent-Vault-Proxy-Error\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n{forged}\r\n"
    );
    for (door, way) in H1_LANES {
        let far = far(way);
        let upstream = far.builder().raw_answer(answer.clone()).start();
        let (stage, _) = guarded(&upstream).await;
        let authority = upstream.authority_of(HOST);
        let mut stream = raw(&stage, door, way, &authority).await;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {authority}\r\n{}TE: trailers\r\nX-Agent-Vault-Proxy-Error: true\r\nConnection: TE, close\r\n\r\n",
            target(way, &authority, "/x"),
            credentials(&stage, way)
        );
        let answers = converse(&mut stream, request.as_bytes())
            .await
            .to_lowercase();
        assert!(
            answers.contains(" 407 ") && answers.contains("ok"),
            "{answers}"
        );
        for never in [
            "x-agent-vault-proxy-error",
            "proxy-authenticate",
            "proxy-connection",
        ] {
            assert!(
                !answers.contains(&format!("\n{never}:")),
                "{never} on {way:?} by {door:?}: {answers}"
            );
        }
    }
    for (way, far) in PATHS {
        let upstream = far.start();
        let (stage, _) = guarded(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent.get("/forged-marker", &[]).await;
        assert!(
            !answer.headers.contains_key("x-agent-vault-proxy-error"),
            "{way:?} {far:?}"
        );
        assert!(
            !answer.headers.contains_key("proxy-authenticate"),
            "{way:?} {far:?}"
        );
        serves_on(&stage, way, &upstream).await;
    }
}

/// Method, path, fields and body.
type Tried = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// A placeholder that a service allows in the query stays a placeholder everywhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_placeholder_counts_on_no_other_surface() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-query-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("KEY", secret.expose())
            .service(json!({"name": "query", "host": HOST, "require_tls": false,
                "auth": {"type": "passthrough"},
                "substitutions": [{"key": "KEY", "placeholder": "__key__", "in": ["query"]}]}))
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let tried: [Tried; 7] = [
            ("GET", "/__key__", &[], ""),
            ("GET", "/a;__key__/b", &[], ""),
            (
                "GET",
                "/",
                &[("x-any", "__key__"), ("cookie", "a=__key__")],
                "",
            ),
            ("GET", "/", &[("authorization", "Basic X19rZXlfXzp4")], ""),
            (
                "POST",
                "/",
                &[("content-type", "application/json")],
                "{\"a\":\"__key__\"}",
            ),
            (
                "POST",
                "/",
                &[("content-type", "application/x-www-form-urlencoded")],
                "a=__key__",
            ),
            ("GET", "/?a=%5F%5Fkey%5F%5F&b=__KEY__&c=__ke%79__", &[], ""),
        ];
        for (method, path, fields, body) in tried {
            upstream.clear();
            let body = if body.is_empty() {
                client::empty()
            } else {
                client::full(body)
            };
            agent.ask(method, path, fields, body).await.unwrap();
            let seen = upstream.requests().pop().unwrap();
            seen.body_ended().await;
            let what = format!("{method} {path} {fields:?} {way:?} {far:?}");
            secret.assert_absent(&what, seen.to_json().to_string());
        }
        // Where it counts it counts.
        agent.get("/?a=__key__", &[]).await;
        assert!(
            upstream
                .requests()
                .pop()
                .unwrap()
                .target
                .contains(secret.expose())
        );
        let (mut socket, _) =
            crate::upgrades::open(&mut agent, "/ws", &[("sec-websocket-protocol", "__key__")])
                .await
                .unwrap()
                .unwrap();
        socket.send_text("a __key__ b").await.unwrap();
        assert_eq!(socket.expect_text().await, "a __key__ b", "{way:?} {far:?}");
        let seen = upstream.latest("/ws").unwrap();
        secret.assert_absent("a WebSocket", seen.to_json().to_string());
    }
}

/// A service that another agent's rule selects is not selected by naming that agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_makes_one_agent_another() {
    let upstream: Upstream = Far::H1.start();
    let secret = Canary::new("sk-of-the-other-");
    let stage = Stage::builder()
        .trusting(&upstream)
        .credential("TOKEN", secret.expose())
        .service(json!({"name": "theirs", "host": HOST,
            "auth": {"type": "bearer", "token": "TOKEN"}, "select": {"agents": ["their-agent"]}}))
        .start()
        .await;
    let (token, _) = stage.agent("my-agent", &[stage.vault.id]);
    let auth = crate::fixture::basic(token.expose());
    let mut agent = Agent::with_auth(&stage, Way::H1, &upstream.authority_of(HOST), &auth)
        .await
        .unwrap();
    for fields in [
        &[("x-agent", "their-agent")][..],
        &[("x-agent-vault-agent", "their-agent")],
        &[("user-agent", "their-agent")],
        &[("from", "their-agent"), ("x-vault", "main")],
    ] {
        agent.get("/echo", fields).await;
        let seen = upstream.requests().pop().unwrap();
        secret.assert_absent("a request of another agent", format!("{:?}", seen.headers));
    }
    let (token, _) = stage.agent("their-agent", &[stage.vault.id]);
    let auth = crate::fixture::basic(token.expose());
    let mut agent = Agent::with_auth(&stage, Way::H1, &upstream.authority_of(HOST), &auth)
        .await
        .unwrap();
    agent.get("/", &[]).await;
    assert!(
        upstream
            .requests()
            .pop()
            .unwrap()
            .headers
            .contains_key("authorization")
    );
}
