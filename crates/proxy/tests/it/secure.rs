//! TLS on the proxy port itself, beside HTTP in clear on the same port.

use std::time::Duration;

use agent_vault_testing::tasks::Tasks;
use agent_vault_testing::{Canary, client, within};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::doors::read_until;
use crate::fixture::{Agent, Door, Far, HOST, PATHS, PROXY_NAME, Stage, basic, refusal};

async fn agent(stage: &Stage, door: Door, way: crate::fixture::Way, authority: &str) -> Agent {
    Agent::by(stage, door, way, authority, &stage.auth())
        .await
        .unwrap()
}

/// TLS in TLS, over every path: the credential goes out, nothing of it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_every_path_works_through_tls() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer(secret.expose())
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let mut agent = agent(&stage, Door::Tls, way, &authority).await;
        for path in ["/echo", "/gzip"] {
            let answer = agent.get(path, &[("accept-encoding", "gzip")]).await;
            assert_eq!(answer.status, 200, "{way:?} {far:?} {}", answer.received());
            assert!(secret.find(answer.received()).is_empty());
        }
        assert_eq!(
            upstream.latest("/echo").unwrap().header("authorization"),
            Some(format!("Bearer {}", secret.expose()).as_str())
        );
        // Uploads and downloads of many records, both ways at once.
        let body = "0123456789".repeat(300_000);
        let echoed = agent
            .ask("POST", "/echo-stream", &[], client::full(body.clone()))
            .await
            .unwrap();
        assert!(echoed.text() == body, "{way:?} {far:?}");
        let (mut socket, _) = crate::upgrades::open(&mut agent, "/ws", &[])
            .await
            .unwrap()
            .unwrap();
        socket.send_text("x").await.unwrap();
        assert_eq!(socket.expect_text().await, "x", "{way:?} {far:?}");
    }
}

/// As git does it: CONNECT without credentials, 407, and again on the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_connect_tries_again_inside_the_same_tls() {
    let upstream = Far::H1.start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .require_tls()
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    let tasks = Tasks::new();
    let proxy = stage.dial(Door::Tls).await.unwrap();
    let mut connection = client::ProxyConnection::over(proxy, &tasks.spawner())
        .await
        .unwrap();
    for _ in 0..2 {
        let refused = connection.connect(&authority, None).await.unwrap();
        assert_eq!(refused.refused().status, 407);
    }
    let auth = stage.auth();
    let tunnel = connection.connect(&authority, Some(&auth)).await.unwrap();
    let (stream, h2) = client::tls(tunnel.opened(), HOST, &stage.tls(&["http/1.1"]))
        .await
        .unwrap();
    let mut http = client::Http::begin(stream, h2).await.unwrap();
    assert_eq!(http.get(&authority, "/", &[]).await.unwrap().status, 200);
}

/// What is sent right behind CONNECT, in the same record (C7).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_bytes_inside_tls_are_kept() {
    let upstream = Far::Plain.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut proxy = stage.dial(Door::Tls).await.unwrap();
    let bytes = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {}\r\n\r\n\
         GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n",
        stage.auth()
    );
    proxy.write_all(bytes.as_bytes()).await.unwrap();
    let (got, _) = read_until(&mut proxy, |_| false).await;
    assert!(got.ends_with("ok\n"), "{got}");
}

/// Where TLS is required, what comes in clear is refused whatever it carries, and its token is not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s14_clear_text_is_refused_where_tls_is_required() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .require_tls()
            .bearer("sk-secret")
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let wrong = basic(&format!("av_sess_{}:", "0".repeat(64)));
        for auth in [Some(stage.auth()), Some(wrong), None] {
            let tasks = Tasks::new();
            let proxy = stage.dial(Door::Clear).await.unwrap();
            let mut connection = client::ProxyConnection::over(proxy, &tasks.spawner())
                .await
                .unwrap();
            let refused = connection
                .connect(&authority, auth.as_deref())
                .await
                .unwrap()
                .refused();
            assert_eq!(refused.status, 403);
            crate::fixture::assert_refusal_headers(&refused.headers);
            let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
            assert_eq!(body["error"], "proxy_tls_required");
            assert!(body["hint"].as_str().unwrap().contains("https://"));
        }
        if way == crate::fixture::Way::Absolute {
            let mut agent = agent(&stage, Door::Clear, way, &authority).await;
            let refused = agent.get("/", &[]).await;
            assert_eq!(refused.status, 403);
            assert_eq!(refusal(&refused)["error"], "proxy_tls_required");
        }
        assert!(upstream.requests().is_empty(), "{way:?} {far:?}");
        let mut agent = agent(&stage, Door::Tls, way, &authority).await;
        assert_eq!(agent.get("/", &[]).await.status, 200, "{way:?} {far:?}");
    }
}

/// Before anybody has shown a token, so that the port is no oracle for certificates that clients of ours trust.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_name_gets_no_certificate() {
    let stage = Stage::builder().start().await;
    for name in [
        HOST,
        "api.openai.com",
        "evil.vault.example.test",
        "example.test",
    ] {
        let socket = client::dial(stage.addr).await.unwrap();
        let refused = client::tls(socket, name, &stage.tls(&["http/1.1"])).await;
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("AccessDenied"), "{name}: {error}");
    }
    for name in [PROXY_NAME, "localhost", "127.0.0.1"] {
        let socket = client::dial(stage.addr).await.unwrap();
        let opened = client::tls(socket, name, &stage.tls(&["http/1.1"])).await;
        assert!(opened.is_ok(), "{name}");
    }
    // CONNECT over HTTP/2 is not spoken, so it is not offered.
    let socket = client::dial(stage.addr).await.unwrap();
    let both = stage.tls(&["h2", "http/1.1"]);
    assert!(!client::tls(socket, PROXY_NAME, &both).await.unwrap().1);
    let socket = client::dial(stage.addr).await.unwrap();
    assert!(
        client::tls(socket, PROXY_NAME, &stage.tls(&["h2"]))
            .await
            .is_err()
    );
}

/// A first byte that promises TLS, and then something else: the connection ends, and no one else notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_after_a_first_byte_of_tls_ends_the_connection() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let huge = [&[0x16, 3, 1, 0xff, 0xff][..], &vec![1; 70_000]].concat();
    let cases: [&[u8]; 6] = [
        b"\x16GET / HTTP/1.1\r\n\r\n",
        &[0x16; 4096],
        &[0x16, 3, 1, 0, 0],
        &[0x16, 3, 1, 0, 4, 2, 0, 0, 0],
        &[0x16, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3],
        &huge,
    ];
    for bytes in cases {
        let mut socket = client::dial(stage.addr).await.unwrap();
        // It may be closed before all of it is written.
        let _ = socket.write_all(bytes).await;
        let (got, closed) = read_until(&mut socket, |_| false).await;
        assert!(closed && !got.contains("HTTP/"), "{got:?}");
    }
    let authority = upstream.authority_of(HOST);
    for door in [Door::Clear, Door::Tls] {
        let mut agent = agent(&stage, door, crate::fixture::Way::H1, &authority).await;
        assert_eq!(agent.get("/", &[]).await.status, 200, "{door:?}");
    }
}

/// More clients that stand still in the handshake, before and after their hello, than handshakes inside tunnels may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_stand_still_hold_nobody_up() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut hello = Vec::new();
    let name = rustls::pki_types::ServerName::try_from(PROXY_NAME).unwrap();
    rustls::ClientConnection::new(stage.tls(&["http/1.1"]), name)
        .unwrap()
        .write_tls(&mut hello)
        .unwrap();
    let mut held = Vec::new();
    for number in 0..700 {
        let mut socket = client::dial(stage.addr).await.unwrap();
        let bytes = match number % 3 {
            0 => &hello[..1],
            1 => &hello[..hello.len() / 2],
            _ => &hello[..],
        };
        socket.write_all(bytes).await.unwrap();
        held.push(socket);
    }
    // Those that sent a hello have been answered, so each is where it stands still.
    let mut byte = [0];
    for socket in held.iter_mut().skip(2).step_by(3) {
        within("a server hello", socket.read_exact(&mut byte))
            .await
            .unwrap();
    }
    let authority = upstream.authority_of(HOST);
    for door in [Door::Tls, Door::Clear] {
        let mut agent = agent(&stage, door, crate::fixture::Way::H2, &authority).await;
        assert_eq!(agent.get("/", &[]).await.status, 200, "{door:?}");
    }
    // They stood there all the while.
    for socket in held.iter().filter(|socket| socket.peer_addr().is_ok()) {
        let mut buffer = [0; 4096];
        let ended = matches!(socket.try_read(&mut buffer), Ok(0));
        assert!(!ended, "a client in the way was closed before");
    }
}

/// The end of a token ends what goes through TLS too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_streams_inside_tls() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("sk-secret-value")
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let mut agent = agent(&stage, Door::Tls, way, &authority).await;
        let response = agent
            .send("GET", "/sse?n=100", &[], client::empty())
            .await
            .unwrap();
        let mut body = response.into_body();
        upstream.gate("gate").release(1);
        within("an event", body.frame()).await.unwrap().unwrap();
        stage.broker.drop_sessions(|_| true);
        let rest = within("the stream to end", body.collect()).await;
        assert!(rest.is_err(), "{way:?} {far:?}");
    }
}

/// A client that goes on sending when it has been refused still reads why (RFC 9112 section 9.6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_arrives_whole_though_the_client_goes_on_sending() {
    let stage = Stage::builder().start().await;
    let mut proxy = stage.dial(Door::Tls).await.unwrap();
    let head = format!(
        "POST https://a.example/ HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: {}\r\nContent-Length: 900000\r\n\r\n",
        stage.auth()
    );
    proxy.write_all(head.as_bytes()).await.unwrap();
    let _ = proxy.write_all(&vec![b'x'; 200_000]).await;
    let (got, _) = read_until(&mut proxy, |text| text.contains("\"fault\"")).await;
    assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
}

/// The server may stop while somebody has only connected, or is half way through a handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_no_handshake() {
    let mut stage = Stage::builder().start().await;
    let silent = client::dial(stage.addr).await.unwrap();
    let mut half = client::dial(stage.addr).await.unwrap();
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    let open = stage.dial(Door::Tls).await.unwrap();
    stage.closing.cancel();
    let serving = stage.serving.take().unwrap();
    // Less than what open exchanges are given.
    let closed = tokio::time::timeout(Duration::from_secs(4), serving).await;
    closed.expect("nobody is waited for").unwrap();
    drop((silent, half, open));
}

#[tokio::test]
async fn clients_that_stand_still_are_closed() {
    let stage = Stage::builder().start().await;
    let mut waiting = Vec::new();
    for bytes in [&b""[..], &[0x16], &[0x16, 3, 1, 0, 200, 1]] {
        let mut socket = client::dial(stage.addr).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        waiting.push(socket);
    }
    // One that finished its handshake and then asks nothing.
    let mut open = stage.dial(Door::Tls).await.unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    for mut socket in waiting {
        let (_, closed) = read_to_end(&mut socket).await;
        assert!(closed && start.elapsed().as_secs() >= 9);
    }
    let (_, closed) = read_to_end(&mut open).await;
    assert!(closed && start.elapsed().as_secs() < 60);
}

/// Without a limit of its own, which virtual time would run through.
async fn read_to_end(socket: &mut (impl tokio::io::AsyncRead + Unpin)) -> (usize, bool) {
    let mut got = Vec::new();
    let ended = socket.read_to_end(&mut got).await;
    (got.len(), ended.is_ok() || ended.is_err())
}
