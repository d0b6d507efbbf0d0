//! Getting in: proxy authentication in every form, CONNECT, and raw bytes on the port.

use agent_vault_testing::client::{self, ProxyConnection};
use agent_vault_testing::tasks::Tasks;
use agent_vault_testing::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use crate::fixture::{Agent, Door, Far, HOST, Stage, Way, basic, inside};

/// Sends `bytes` to the proxy and returns everything that comes back until `enough` or the end.
pub(crate) async fn raw(
    stage: &Stage,
    bytes: &[u8],
    enough: impl Fn(&str) -> bool,
) -> (String, bool) {
    let mut socket = client::dial(stage.addr).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    read_until(&mut socket, enough).await
}

pub(crate) async fn read_until(
    socket: &mut (impl tokio::io::AsyncRead + Unpin),
    enough: impl Fn(&str) -> bool,
) -> (String, bool) {
    let mut got = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if enough(&text) {
            return (text, false);
        }
        match within("bytes from the proxy", socket.read(&mut buffer)).await {
            Ok(0) | Err(_) => return (text, true),
            Ok(read) => got.extend_from_slice(&buffer[..read]),
        }
    }
}

fn never(_: &str) -> bool {
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_proxy_authorization() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let other = Uuid::from_u128(2);
    let mut record = stage.vault.record(&stage.keyring);
    record.id = other;
    record.name = "other".to_owned();
    stage.broker.put_vault(record);
    let token = stage.token.clone();
    let (one_grant, _) = stage.agent("one", &[stage.vault.id]);
    let (one_grant, two_grants) = (one_grant, stage.agent("two", &[stage.vault.id, other]).0);
    let (no_grant, _) = stage.agent("none", &[]);
    let authority = upstream.authority_of(HOST);
    let a = |text: &str| Some(text.to_owned());
    let cases: Vec<(Option<String>, u16)> = vec![
        (a(&format!("Bearer {token}")), 200),
        (a(&format!("bearer  {token} ")), 200),
        (a(&basic(&token)), 200),
        (a(&basic(&format!("{token}:"))), 200),
        (a(&basic(&format!("{token}:main"))), 200),
        (a(&basic(&format!("{token}:other"))), 403),
        (a(&basic(&format!("{token}:nowhere"))), 403),
        (a(&basic(&format!("{}:", one_grant.expose()))), 200),
        (a(&basic(&format!("{}:other", one_grant.expose()))), 403),
        (a(&basic(&format!("{}:nowhere", one_grant.expose()))), 403),
        (a(&basic(&format!("{}:", two_grants.expose()))), 400),
        (a(&basic(&format!("{}:other", two_grants.expose()))), 200),
        (a(&basic(&format!("{}:", no_grant.expose()))), 400),
        (a(&basic(&format!("av_sess_{}:", "0".repeat(64)))), 407),
        (a("Basic !!!"), 407),
        (a("Digest x"), 407),
        (a(&basic(":main")), 407),
        (a("Bearer "), 407),
        (None, 407),
    ];
    for (auth, status) in cases {
        let tasks = Tasks::new();
        let mut connection = ProxyConnection::open(stage.addr, &tasks.spawner())
            .await
            .unwrap();
        let outcome = connection
            .connect(&authority, auth.as_deref())
            .await
            .unwrap();
        match outcome {
            client::Tunnel::Open(_) => assert_eq!(200, status, "{auth:?}"),
            client::Tunnel::Refused(refused) => {
                assert_eq!(refused.status, status, "{auth:?}");
                crate::fixture::assert_refusal_headers(&refused.headers);
                assert_eq!(
                    refused.headers.contains_key("proxy-authenticate"),
                    status == 407
                );
                if status == 407 {
                    assert_eq!(
                        refused.headers["proxy-authenticate"],
                        "Basic realm=\"agent-vault\""
                    );
                }
                let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
                assert!(body["hint"].is_string());
            }
        }
        // The same over absolute-form.
        let field = auth.map_or(String::new(), |auth| {
            format!("Proxy-Authorization: {auth}\r\n")
        });
        let request = format!(
            "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n{field}Connection: close\r\n\r\n"
        );
        let (answer, _) = raw(&stage, request.as_bytes(), never).await;
        let wanted = if status == 200 { 502 } else { status };
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {wanted} ")),
            "{wanted}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_proxy_authorization_authenticates() {
    let stage = Stage::builder().start().await;
    let token = &stage.token;
    for field in [
        format!("Authorization: Bearer {token}"),
        format!("X-Vault: {token}"),
        format!("Cookie: token={token}"),
        format!("Proxy-Authorization: Bearer {token}\r\nProxy-Authorization: Bearer {token}"),
    ] {
        let request = format!(
            "GET http://127.0.0.1:1/?token={token} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n{field}\r\nConnection: close\r\n\r\n"
        );
        let (answer, _) = raw(&stage, request.as_bytes(), never).await;
        assert!(answer.starts_with("HTTP/1.1 407 "), "{field}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_connect_is_asked_for_credentials_and_tries_again_on_the_same_socket() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let tasks = Tasks::new();
    let mut connection = ProxyConnection::open(stage.addr, &tasks.spawner())
        .await
        .unwrap();
    for _ in 0..2 {
        let refused = connection
            .connect(&authority, None)
            .await
            .unwrap()
            .refused();
        assert_eq!(refused.status, 407);
    }
    let stream = connection
        .connect(&authority, Some(&stage.auth()))
        .await
        .unwrap()
        .opened();
    let (stream, h2) = client::tls(stream, HOST, &stage.tls(&["http/1.1"]))
        .await
        .unwrap();
    let mut http = client::Http::begin(stream, h2).await.unwrap();
    assert_eq!(http.get(&authority, "/", &[]).await.unwrap().status, 200);
}

/// A ClientHello that is sent together with CONNECT (C7).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_bytes_after_connect_are_kept() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let mut tls = rustls::ClientConnection::new(stage.tls(&["http/1.1"]), name).unwrap();
    let mut bytes = format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {}\r\n\r\n",
        stage.auth()
    )
    .into_bytes();
    tls.write_tls(&mut bytes).unwrap();
    let mut socket = client::dial(stage.addr).await.unwrap();
    socket.write_all(&bytes).await.unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    let mut answered = false;
    let mut sent = false;
    let mut plain = String::new();
    while !plain.contains("ok\n") {
        let read = within("the handshake", socket.read(&mut buffer))
            .await
            .unwrap();
        assert!(read > 0, "closed");
        got.extend_from_slice(&buffer[..read]);
        if !answered {
            let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            assert!(got.starts_with(b"HTTP/1.1 200 "));
            got.drain(..end + 4);
            answered = true;
        }
        let mut input = got.as_slice();
        while !input.is_empty() {
            tls.read_tls(&mut input).unwrap();
            tls.process_new_packets().unwrap();
        }
        got.clear();
        if !tls.is_handshaking() && !sent {
            let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            std::io::Write::write_all(&mut tls.writer(), request.as_bytes()).unwrap();
            sent = true;
        }
        let mut room = vec![0; 4096];
        if let Ok(read) = std::io::Read::read(&mut tls.reader(), &mut room) {
            plain.push_str(&String::from_utf8_lossy(&room[..read]));
        }
        let mut out = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut out).unwrap();
        }
        socket.write_all(&out).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_no_proxy_forwards() {
    let stage = Stage::builder().start().await;
    let auth = stage.auth();
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n", 400),
        (
            "GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n",
            400,
        ),
        ("GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n", 400),
        ("GET ws://a.example/ HTTP/1.1\r\nHost: a.example\r\n", 400),
        ("GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n", 421),
        (
            "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n",
            400,
        ),
        (
            "GET http://a.example/ HTTP/1.1\r\nHost: a.example:81\r\n",
            421,
        ),
        (
            "GET http://u:p@a.example/ HTTP/1.1\r\nHost: a.example\r\n",
            400,
        ),
        ("CONNECT a.example HTTP/1.1\r\nHost: a.example\r\n", 400),
        ("CONNECT a.example:0 HTTP/1.1\r\nHost: a.example\r\n", 400),
        (
            "CONNECT a.example:99999 HTTP/1.1\r\nHost: a.example\r\n",
            400,
        ),
        (
            "CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n",
            421,
        ),
        (
            "CONNECT u@a.example:443 HTTP/1.1\r\nHost: a.example\r\n",
            400,
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n", 400),
    ];
    for (head, status) in cases {
        let request = format!("{head}Proxy-Authorization: {auth}\r\nConnection: close\r\n\r\n");
        let (answer, _) = raw(&stage, request.as_bytes(), never).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head} {status}: {answer}"
        );
        assert!(
            answer.contains("x-agent-vault-proxy-error: true"),
            "{head}: {answer}"
        );
        assert!(answer.contains("\"hint\""), "{head}: {answer}");
    }
}

/// HTTP/2 where HTTP/1.1 is spoken, with prior knowledge, is told so in HTTP/1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_where_http1_is_spoken_is_answered() {
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    for at in [0, 1, 23, 24, 30] {
        for way in ["clear", "tls", "tunnel"] {
            let mut stream = match way {
                "clear" => stage.dial(Door::Clear).await.unwrap(),
                "tls" => stage.dial(Door::Tls).await.unwrap(),
                _ => tunnel(&stage, &authority).await,
            };
            let (start, end) = BEGIN.split_at(at);
            stream.write_all(start).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
            // Answered already, where the start was enough.
            let _ = stream.write_all(end).await;
            let _ = stream.flush().await;
            let (answer, closed) = read_until(&mut stream, never).await;
            assert!(closed, "{way} {at}");
            assert!(answer.starts_with("HTTP/1.1 400 "), "{way} {at}: {answer}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"], "http2_not_spoken");
            assert!(body["hint"].as_str().unwrap().contains("CONNECT"));
        }
    }
    // A tunnel has a principal, and so a log.
    let logged = stage.logged(5).await;
    assert_eq!(logged.len(), 5);
    for record in logged {
        assert_eq!(
            (record.status, record.error_code),
            (400, "http2_not_spoken")
        );
    }
    // What only begins like it is an ordinary bad request.
    let (answer, _) = raw(&stage, b"PRI * HTTP/2.0\r\n\r\nsm\r\n\r\n", never).await;
    assert!(answer.contains("malformed_request"), "{answer}");
}

/// Raw heads inside a tunnel: what has two readings is refused or normalised, never passed on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_heads_inside_a_tunnel() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let cases: Vec<(String, u16)> = vec![
        (
            format!("GET / HTTP/1.1\r\nHost: {authority}\r\nHost: {authority}\r\n\r\n"),
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            421,
        ),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 421),
        (
            format!("GET https://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            400,
        ),
        (
            format!("GET https://evil.example/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            400,
        ),
        (
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
            ),
            400,
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: {authority}\r\nContent-Length: +3\r\n\r\nabc"),
            400,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (format!("GET / HTTP/1.1\r\nHost : {authority}\r\n\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\nHost: {authority}\r\nX: a\r\n b\r\n\r\n"),
            400,
        ),
        (
            format!("GET /\u{7f} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
            400,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: {authority}\r\nX: {}\r\n\r\n",
                "a".repeat(70_000)
            ),
            431,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
    ];
    let mut refused = 0;
    for (head, status) in cases {
        let mut stream = tunnel(&stage, &authority).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, _) = read_until(&mut stream, |text| text.ends_with("}\n")).await;
        let shown: String = head.chars().take(200).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown} {status}: {answer}"
        );
        // The same body as every refusal.
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert!(body["hint"].is_string(), "{shown}: {body}");
        assert!(body["message"].is_string(), "{shown}: {body}");
        assert!(answer.contains("x-agent-vault-proxy-error: true"));
        refused += 1;
        let logged = stage.logged(refused).await.pop().unwrap();
        assert_eq!(logged.status, status, "{shown}");
        assert_eq!(logged.error_code, body["error"].as_str().unwrap());
        assert_eq!(logged.host.as_ref(), authority.as_str());
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());

    // Both framings at once: one of them goes on, and the connection ends (RFC 9112 section 6.1).
    let mut stream = tunnel(&stage, &authority).await;
    let smuggled = format!(
        "POST /a HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {authority}\r\n\r\n"
    );
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    let (answer, closed) = read_until(&mut stream, never).await;
    assert!(closed);
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    let seen = upstream.requests();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].body_text(), "abc");
    assert!(
        seen[0].headers.contains_key("transfer-encoding")
            != seen[0].headers.contains_key("content-length")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_turn_and_http_1_0_is_served() {
    let upstream = Far::Plain.start();
    let stage = Stage::builder().start().await;
    let authority = upstream.authority_of(HOST);
    let auth = stage.auth();
    let requests: String = ["/status/404", "/early-hints", "/bytes/3"]
        .map(|path| {
            format!(
                "GET http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {auth}\r\n\r\n"
            )
        })
        .concat();
    let (answer, _) = raw(&stage, requests.as_bytes(), |text| text.ends_with("vvv")).await;
    let order: Vec<&str> = answer
        .lines()
        .filter_map(|line| line.split("HTTP/1.1 ").nth(1))
        .collect();
    assert_eq!(
        order,
        ["404 Not Found", "103 Early Hints", "200 OK", "200 OK"],
        "{answer}"
    );
    let old =
        format!("GET http://{authority}/chunks/5 HTTP/1.0\r\nProxy-Authorization: {auth}\r\n\r\n");
    let (answer, closed) = raw(&stage, old.as_bytes(), never).await;
    assert!(closed && answer.ends_with("\r\n\r\nvvvvv"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
}

pub(crate) async fn tunnel(stage: &Stage, authority: &str) -> client::Stream {
    inside(stage, authority, "http/1.1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_name_must_be_the_connect_target() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let tasks = Tasks::new();
    let mut connection = ProxyConnection::open(stage.addr, &tasks.spawner())
        .await
        .unwrap();
    let stream = connection
        .connect(&authority, Some(&stage.auth()))
        .await
        .unwrap()
        .opened();
    let outcome = client::tls(stream, "other.example.test", &stage.tls(&["h2"])).await;
    assert!(outcome.is_err());
    let logged = stage.last_logged(1).await;
    assert_eq!(logged.error_code, "sni_mismatch");
    assert_eq!(logged.method, "CONNECT");

    // A client that does not trust us is on record too.
    let mut connection = ProxyConnection::open(stage.addr, &tasks.spawner())
        .await
        .unwrap();
    let stream = connection
        .connect(&authority, Some(&stage.auth()))
        .await
        .unwrap()
        .opened();
    let stranger = agent_vault_testing::pki::client_config(upstream.ca_pem(), &["h2"]);
    assert!(
        client::tls(stream, HOST, &std::sync::Arc::new(stranger))
            .await
            .is_err()
    );
    assert_eq!(
        stage.last_logged(2).await.error_code,
        "tls_handshake_failed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_as_target() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of("127.0.0.1")).await;
    assert_eq!(agent.get("/", &[]).await.status, 200);
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.host().unwrap(), upstream.authority_of("127.0.0.1"));
}

/// Default ports do not stand in `Host` (request signatures count on it).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_port_is_dropped() {
    // Nothing listens on port 80 or 443 of loopback here; the route is built and the error names the target.
    use agent_vault_policy::{Authority, Scheme};
    for (scheme, text, wanted) in [
        (Scheme::Https, "a.example:443", "a.example"),
        (Scheme::Http, "a.example:80", "a.example"),
        (Scheme::Https, "a.example:80", "a.example:80"),
        (Scheme::Https, "[::1]:443", "[::1]"),
        (Scheme::Http, "[::1]:8080", "[::1]:8080"),
    ] {
        assert_eq!(Authority::parse(text).unwrap().host_header(scheme), wanted);
    }
}
