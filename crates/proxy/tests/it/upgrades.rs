//! WebSocket: agent over HTTP/1.1, HTTP/2 and in clear × upstream over HTTP/1.1, HTTP/2 and plain.

use agent_vault_testing::client::{self, Answer, Socket};
use agent_vault_testing::websocket::Message;
use agent_vault_testing::{BoxError, Canary, Upstream, within};
use http::{HeaderValue, Method, Version};
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, StageBuilder, Way, refusal};

pub(crate) type Opened = Result<(Socket, http::HeaderMap), Answer>;

pub(crate) async fn open(
    agent: &mut Agent,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Opened, BoxError> {
    let mut request = agent.request("GET", path, headers, client::empty());
    request
        .headers_mut()
        .insert("sec-websocket-version", HeaderValue::from_static("13"));
    if agent.way.is_h2() {
        *request.method_mut() = Method::CONNECT;
        request
            .extensions_mut()
            .insert(hyper::ext::Protocol::from_static("websocket"));
    } else {
        let headers = request.headers_mut();
        headers.insert(
            "connection",
            HeaderValue::from_static("keep-alive, Upgrade"),
        );
        headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
        headers.insert(
            "sec-websocket-key",
            HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
        );
    }
    let response = within("a handshake", agent.http.send(request)).await?;
    let wanted = if agent.way.is_h2() { 200 } else { 101 };
    if response.status() != wanted {
        return Ok(Err(Answer::read(response).await?));
    }
    let headers = response.headers().clone();
    if !agent.way.is_h2() {
        assert_eq!(
            headers["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(headers["upgrade"], "websocket");
    }
    let upgraded = within("the stream", hyper::upgrade::on(response)).await?;
    Ok(Ok((
        agent_vault_testing::websocket::WebSocket::client(TokioIo::new(upgraded)),
        headers,
    )))
}

/// Opens a connection, and over HTTP/2 waits until the proxy has offered extended CONNECT.
async fn agent_for(stage: &Stage, way: Way, upstream: &Upstream) -> Agent {
    let mut agent = Agent::open(stage, way, &upstream.authority_of(HOST)).await;
    // An answer means that SETTINGS have come; it also gives the proxy a pooled connection to an h2 upstream.
    assert_eq!(agent.get("/", &[]).await.status, 200);
    agent
}

fn bearer() -> StageBuilder {
    Stage::builder().bearer("sk-secret-value-of-the-vault")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_both_ways_on_every_path() {
    // An upstream that speaks h2 alone takes WebSockets over h2 only; `Both` shows the way back to h1.
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = bearer().trusting(&upstream).start().await;
        let mut agent = agent_for(&stage, way, &upstream).await;
        let what = format!("{way:?} {far:?}");
        let (mut socket, headers) = open(
            &mut agent,
            "/ws?greet=hello",
            &[
                ("origin", "https://a.example"),
                ("sec-websocket-protocol", "chat, other"),
                ("authorization", "Bearer own"),
                ("sec-websocket-extensions", "permessage-deflate"),
            ],
        )
        .await
        .unwrap()
        .unwrap_or_else(|refused| panic!("{what}: {}", refused.received()));
        assert_eq!(headers["sec-websocket-protocol"], "chat", "{what}");
        assert!(!headers.contains_key("sec-websocket-extensions"));
        assert_eq!(socket.expect_text().await, "hello", "{what}");
        socket.send_text("first").await.unwrap();
        assert_eq!(socket.expect_text().await, "first");
        socket.send_binary(&[0, 1, 2]).await.unwrap();
        assert!(matches!(
            socket.next().await.unwrap().unwrap(),
            Message::Binary(..)
        ));
        socket.send_ping(b"p").await.unwrap();
        assert_eq!(
            socket.next().await.unwrap().unwrap(),
            Message::Pong("p".into())
        );
        let long = "x".repeat(300_000);
        socket.send_text(&long).await.unwrap();
        assert_eq!(socket.expect_text().await, long);
        socket.send_close(1000, "done").await.unwrap();
        assert_eq!(
            within("the close", socket.next()).await.unwrap().unwrap(),
            Message::Close(Some((1000, "done".to_owned()))),
            "{what}"
        );

        let seen = upstream.latest("/ws").unwrap();
        assert_eq!(
            seen.header_all("authorization"),
            ["Bearer sk-secret-value-of-the-vault"],
            "{what}"
        );
        assert_eq!(seen.header("origin"), Some("https://a.example"));
        assert_eq!(seen.header("sec-websocket-version"), Some("13"));
        assert!(!seen.headers.contains_key("proxy-authorization"));
        assert!(
            !seen.headers.contains_key("sec-websocket-extensions"),
            "{what}"
        );
        if far == Far::H2 {
            assert_eq!(seen.protocol.as_deref(), Some("websocket"));
            assert_eq!(seen.version, Version::HTTP_2);
        } else {
            assert_eq!(seen.header("upgrade"), Some("websocket"), "{what}");
            assert_eq!(seen.header("connection"), Some("Upgrade"));
        }
        seen.ended().await;
        let record = stage.logged_that(|record| record.path == "/ws").await;
        assert_eq!((record.status, record.error_code), (101, ""), "{what}");
        assert_eq!(record.service.as_deref(), Some("bearer"));
        // Over h2 the connection goes on.
        if way.is_h2() {
            assert_eq!(agent.get("/", &[]).await.status, 200, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_extended_connect_the_proxy_upgrades_a_connection_of_its_own() {
    for way in [Way::H1, Way::H2] {
        let upstream = Upstream::builder()
            .name(HOST)
            .without_extended_connect()
            .start();
        let stage = bearer().trusting(&upstream).start().await;
        let mut agent = agent_for(&stage, way, &upstream).await;
        let (mut socket, _) = open(&mut agent, "/ws", &[]).await.unwrap().unwrap();
        socket.send_text("over h1").await.unwrap();
        assert_eq!(socket.expect_text().await, "over h1");
        assert_eq!(upstream.latest("/ws").unwrap().version, Version::HTTP_11);
        assert_eq!(upstream.connections(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_websocket_needs_no_pooled_connection() {
    let upstream = Upstream::builder().name(HOST).start();
    let stage = bearer().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let (mut socket, _) = open(&mut agent, "/ws", &[]).await.unwrap().unwrap();
    socket.send_text("x").await.unwrap();
    assert_eq!(socket.expect_text().await, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declined_handshake_is_an_ordinary_answer() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = bearer().trusting(&upstream).start().await;
        let mut agent = agent_for(&stage, way, &upstream).await;
        let refused = open(&mut agent, "/ws?refuse=403", &[]).await.unwrap();
        let answer = refused.err().unwrap();
        assert_eq!(answer.status, 403, "{way:?} {far:?}");
        assert_eq!(answer.text(), "403 Forbidden\n");
        assert!(!answer.headers.contains_key("x-agent-vault-proxy-error"));
        let record = stage.logged_that(|record| record.path == "/ws").await;
        assert_eq!((record.status, record.error_code), (403, ""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_holds_for_websockets_too() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .service(
                json!({"name": "off", "host": format!("{HOST}/ws"), "enabled": false,
                "require_tls": false, "auth": {"type": "passthrough"}}),
            )
            .start()
            .await;
        let mut agent = agent_for(&stage, way, &upstream).await;
        let answer = open(&mut agent, "/ws", &[]).await.unwrap().err().unwrap();
        assert_eq!(answer.status, 403, "{way:?} {far:?}");
        assert_eq!(refusal(&answer)["error"], "service_disabled");
        assert!(upstream.latest("/ws").is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn placeholders_in_messages_and_reflected_values() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::awkward("ws-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("KEY", secret.expose())
            .service(json!({"name": "socket", "host": HOST, "require_tls": false,
                "auth": {"type": "passthrough"},
                "substitutions": [{"key": "KEY", "placeholder": "__key__", "in": ["websocket"]}]}))
            .start()
            .await;
        let mut agent = agent_for(&stage, way, &upstream).await;
        let (mut socket, _) = open(&mut agent, "/ws?fragment=7", &[])
            .await
            .unwrap()
            .unwrap();
        let what = format!("{way:?} {far:?}");
        socket.send_text(r#"{"token":"__key__"}"#).await.unwrap();
        let echoed = socket.expect_text().await;
        assert!(secret.find(&echoed).is_empty(), "{what} {echoed}");
        // Fragmented text too.
        socket
            .send_fragments(true, &[br#"{"token":"__k"#, b"ey", b"__\"}"])
            .await
            .unwrap();
        let echoed = socket.expect_text().await;
        assert!(secret.find(&echoed).is_empty(), "{what} {echoed}");
        let seen = upstream.latest("/ws").unwrap();
        for message in seen.messages_reached(2).await {
            let text = message.to_text_lossy();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["token"], secret.expose(), "{what} {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_going_ends_the_other() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = bearer().trusting(&upstream).start().await;
        let mut agent = agent_for(&stage, way, &upstream).await;
        let (mut socket, _) = open(&mut agent, "/ws", &[]).await.unwrap().unwrap();
        socket.send_text("x").await.unwrap();
        assert_eq!(socket.expect_text().await, "x");
        let seen = upstream.latest("/ws").unwrap();
        drop(socket);
        within("the agent to close", agent.http.close()).await;
        seen.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_not_one() {
    let upstream = Far::H1.start();
    let stage = bearer().trusting(&upstream).start().await;
    // Any other upgrade is flattened to an ordinary request.
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let answer = agent
        .get(
            "/",
            &[
                ("connection", "upgrade"),
                ("upgrade", "h2c"),
                ("http2-settings", "AA"),
            ],
        )
        .await;
    assert_eq!(answer.status, 200);
    assert!(
        !upstream
            .requests()
            .pop()
            .unwrap()
            .headers
            .contains_key("upgrade")
    );
    // Without a key it is the agent's mistake.
    let answer = agent
        .get(
            "/ws",
            &[("connection", "upgrade"), ("upgrade", "websocket")],
        )
        .await;
    assert_eq!(answer.status, 400, "{}", answer.received());
    // An upstream that answers with another key's accept is not believed.
    let liar = Upstream::builder()
        .name(HOST)
        .raw_answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n".to_vec())
        .start();
    let stage = bearer().trusting(&liar).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &liar.authority_of(HOST)).await;
    let answer = open(&mut agent, "/ws", &[]).await.unwrap().err().unwrap();
    assert_eq!(answer.status, 502);
    assert_eq!(refusal(&answer)["error"], "upstream_error");
}

/// RFC 8441 offers only `websocket`; any other `:protocol`, and plain CONNECT, is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_inside_a_tunnel() {
    let upstream = Far::H2.start();
    let stage = bearer().trusting(&upstream).start().await;
    let mut agent = agent_for(&stage, Way::H2, &upstream).await;
    for protocol in [Some("connect-udp"), None] {
        let mut request = agent.request("CONNECT", "/x", &[], client::empty());
        match protocol {
            Some(name) => {
                request
                    .extensions_mut()
                    .insert(hyper::ext::Protocol::from_static(name));
            }
            None => *request.uri_mut() = agent.authority.parse().unwrap(),
        }
        let response = within("an answer", agent.http.send(request)).await.unwrap();
        assert_eq!(response.status(), 400, "{protocol:?}");
        crate::fixture::assert_refusal_headers(response.headers());
    }
    assert_eq!(upstream.requests().len(), 1);
}

/// An upstream that takes nothing but HTTP/2 is asked over HTTP/2, also when no connection to it is open yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_to_an_h2_only_upstream_may_be_a_websocket() {
    for way in [Way::H1, Way::H2] {
        let upstream = Far::H2.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let (mut socket, _) = open(&mut agent, "/ws", &[]).await.unwrap().unwrap();
        socket.send_text("hello").await.unwrap();
        assert_eq!(socket.expect_text().await, "hello", "{way:?}");
        // One that it did not take, and the one that serves requests afterwards too.
        let mut other = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
        assert_eq!(other.get("/", &[]).await.status, 200);
        assert_eq!(upstream.connections(), 2);
    }
    let upstream = Far::H2.builder().without_extended_connect().start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let Ok(Err(answer)) = open(&mut agent, "/ws", &[]).await else {
        panic!("a WebSocket over nothing");
    };
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("neither"), "{}", answer.text());
}
