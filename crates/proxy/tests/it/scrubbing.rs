//! What was injected never comes back, and what stands in its place keeps the message true: over sockets, on every path.

use agent_vault_testing::client::{self, Answer};
use agent_vault_testing::{Alpn, Canary, Upstream, within};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, StageBuilder, Way, refusal};
use crate::upgrades::open;

fn service(more: Value) -> Value {
    let mut service = json!({"name": "keyed", "host": HOST, "require_tls": false,
        "auth": {"type": "bearer", "token": "TOKEN"}});
    for (name, value) in more.as_object().unwrap() {
        service[name] = value.clone();
    }
    service
}

fn keyed(secret: &Canary, more: Value) -> StageBuilder {
    Stage::builder()
        .credential("TOKEN", secret.expose())
        .service(service(more))
}

/// An upstream whose every answer to anything is this, in one piece.
fn answering(head: &str, body: &[u8]) -> Upstream {
    let mut answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n").into_bytes();
    answer.extend_from_slice(body);
    Upstream::builder().name(HOST).raw_answer(answer).start()
}

fn sized(body: &str) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

/// Every spelling and what becomes of it, in bodies, on every path: with a declared length and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s9_every_spelling_on_every_path() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::awkward("sk-");
        let raw = secret.expose().to_owned();
        let stage = Stage::builder()
            .credential("TOKEN", &raw)
            .service(service(
                json!({"auth": {"type": "custom", "headers": {"x-key": "{{ TOKEN }}"}}}),
            ))
            .trusting(&upstream)
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let json = serde_json::to_string(&raw).unwrap();
        let php = json.replace('/', "\\/");
        let every = |upper: bool| -> String {
            raw.bytes()
                .map(|b| match b {
                    b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => {
                        char::from(b).to_string()
                    }
                    b if upper => format!("%{b:02X}"),
                    b => format!("%{b:02x}"),
                })
                .collect()
        };
        let escaped = |upper: bool| -> String {
            raw.bytes()
                .map(|b| match b {
                    b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
                    b if upper => format!("\\u00{b:02X}"),
                    b => format!("\\u00{b:02x}"),
                })
                .collect()
        };
        let hex: String = raw.bytes().map(|b| format!("{b:02x}")).collect();
        let label = "[redacted:TOKEN]";
        let in_hex: String = label.bytes().map(|b| format!("{b:02x}")).collect();
        let in_percent = "%5Bredacted%3ATOKEN%5D";
        let padded = format!("{label}{}", "*".repeat(200));
        let mut table = vec![
            (raw.clone(), label.to_owned()),
            (json.clone(), format!("\"{label}\"")),
            (php, format!("\"{label}\"")),
            (escaped(true), label.to_owned()),
            (escaped(false), label.to_owned()),
            (every(true), in_percent.to_owned()),
            (every(false), in_percent.to_owned()),
            (every(true).replace("%20", "+"), in_percent.to_owned()),
            (every(false).replace("%20", "+"), in_percent.to_owned()),
            (hex.clone(), in_hex.clone()),
            (hex.to_uppercase(), in_hex.to_uppercase()),
        ];
        for before in ["", "u", "us"] {
            let whole = format!("{before}{raw}");
            for text in [
                STANDARD.encode(&whole),
                URL_SAFE_NO_PAD.encode(&whole),
                format!("{}==", URL_SAFE_NO_PAD.encode(&whole)),
            ] {
                table.push((text, String::new()));
            }
        }
        for (form, expected) in table {
            let sent = format!("<{form}>");
            // `/echo-stream` declares no length.
            let answer = agent
                .ask(
                    "POST",
                    "/echo-stream",
                    &[("content-type", "text/plain")],
                    client::full(sent.clone()),
                )
                .await
                .unwrap();
            let got = answer.text();
            let what = format!("{way:?} {far:?} {form} -> {got}");
            assert_eq!(answer.status, 200, "{what}");
            assert!(secret.find(&got).is_empty(), "{what}");
            if expected.is_empty() {
                // Base64 keeps its length and decodes to the label.
                assert_eq!(got.len(), sent.len(), "{what}");
                let digits = got.trim_matches(['<', '>', '=']);
                let text = URL_SAFE_NO_PAD
                    .decode(digits)
                    .or_else(|_| STANDARD.decode(got.trim_matches(['<', '>'])))
                    .unwrap_or_else(|e| panic!("{e} {what}"));
                let text = String::from_utf8_lossy(&text).into_owned();
                assert!(text.contains(&padded[1..raw.len() - 1]), "{what} {text}");
            } else {
                assert_eq!(got, format!("<{expected}>"), "{what}");
            }
        }
        let logged = stage.logged(1).await;
        assert!(logged.iter().all(|record| record.scrubs == 1), "{logged:?}");
    }
}

/// The placeholder of a rule stands where the value stood, and may be sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_comes_back_as_the_placeholder_of_its_rule() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = keyed(
            &secret,
            json!({"auth": {"type": "passthrough"},
                "substitutions": [{"key": "TOKEN", "placeholder": "__token__", "in": ["query", "path"]}]}),
        )
        .trusting(&upstream)
        .start()
        .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent.get("/echo?k=__token__", &[]).await;
        let seen: Value = serde_json::from_str(&answer.text()).unwrap();
        assert!(
            answer.text().contains("k=__token__"),
            "{way:?} {far:?} {seen}"
        );
        let length = answer.headers.get("content-length");
        if let Some(length) = length {
            assert_eq!(length.to_str().unwrap(), answer.body.len().to_string());
        }
        let moved = agent.get("/redirect?to=/next/__token__", &[]).await;
        assert_eq!(moved.headers["location"], "/next/__token__");
        assert_eq!(stage.last_logged(2).await.scrubs, 1);
    }
}

/// Lengths: a short declared one is true for what is sent; a long one, a part and a counting format keep theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_lengths_stay_true() {
    let secret = Canary::new("sk-");
    let raw = secret.expose();
    let label = "[redacted:TOKEN]";
    let same = format!("{label}{}", "*".repeat(raw.len() - label.len()));
    let long = "x".repeat(70_000);
    let digests = "Content-MD5: a\r\nRepr-Digest: b\r\nETag: \"v\"\r\nAccept-Ranges: bytes\r\n";
    let text = format!("a {raw} b");
    // Head, body, what arrives, whether the digests do.
    let table: Vec<(String, String, String, bool)> = vec![
        (sized(&text), text.clone(), format!("a {label} b"), false),
        (
            format!("Content-Type: application/json\r\n{}", sized(&text)),
            text.clone(),
            format!("a {label} b"),
            false,
        ),
        (
            format!("Content-Type: application/octet-stream\r\n{}", sized(&text)),
            text.clone(),
            format!("a {same} b"),
            true,
        ),
        (
            sized(&format!("{text}{long}")),
            format!("{text}{long}"),
            format!("a {same} b{long}"),
            true,
        ),
        // Ended by the end of the connection: any length.
        (String::new(), text.clone(), format!("a {label} b"), true),
        (sized("clean"), "clean".to_owned(), "clean".to_owned(), true),
        (sized(""), String::new(), String::new(), true),
    ];
    for (head, body, expected, kept) in table {
        for way in [Way::H1, Way::H2] {
            let upstream = answering(&format!("{digests}{head}"), body.as_bytes());
            let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let answer = agent.get("/", &[]).await;
            let what = format!("{way:?} {head:?} {}", answer.text().len());
            assert_eq!(answer.text(), expected, "{what}");
            if let Some(length) = answer.headers.get("content-length") {
                assert_eq!(
                    length.to_str().unwrap(),
                    expected.len().to_string(),
                    "{what}"
                );
            }
            assert_eq!(answer.headers.contains_key("content-md5"), kept, "{what}");
            assert_eq!(answer.headers.contains_key("repr-digest"), kept, "{what}");
            assert_eq!(answer.headers.contains_key("accept-ranges"), kept, "{what}");
            let tag = if kept { "\"v\"" } else { "W/\"v\"" };
            assert_eq!(answer.headers["etag"], tag, "{what}");
            let scrubs = u32::from(body.contains(raw));
            assert_eq!(stage.last_logged(1).await.scrubs, scrubs, "{what}");
        }
    }
    // A part of a body keeps its place in the whole.
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Range: bytes 5-{}/999\r\n{}\r\n{text}",
        4 + text.len(),
        sized(&text)
    );
    let upstream = Upstream::builder().name(HOST).raw_answer(head).start();
    let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let answer = agent.get("/", &[("range", "bytes=5-")]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (206, format!("a {same} b"))
    );
    // Answers that have no content say what the upstream said.
    for (method, status, head) in [
        ("HEAD", "200 OK", "Content-Length: 4711\r\n"),
        ("GET", "304 Not Modified", "Content-Length: 4711\r\n"),
        ("GET", "204 No Content", ""),
    ] {
        let answer =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nX-Echo: {raw}\r\n{head}\r\n");
        let upstream = Upstream::builder().name(HOST).raw_answer(answer).start();
        let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let answer = agent.ask(method, "/", &[], client::empty()).await.unwrap();
            assert_eq!(answer.headers["x-echo"], label, "{way:?} {method} {status}");
            let length = answer
                .headers
                .get("content-length")
                .map(|v| v.to_str().unwrap());
            // Where the agent hears a length, it is the upstream's. hyper leaves it out of a 304.
            if method == "HEAD" {
                assert_eq!(length, Some("4711"), "{way:?} {method} {status}");
            }
            assert!(answer.body.is_empty());
        }
    }
}

/// A declared length whose body trickles is kept; what came first is not held for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_trickles_keeps_its_length() {
    let secret = Canary::new("sk-");
    let raw = secret.expose().to_owned();
    let (first, rest) = (raw[..20].to_owned(), raw[20..].to_owned());
    let (go, gate) = tokio::sync::watch::channel(false);
    let length = raw.len() + 4;
    let upstream = Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H1Only)
        .raw(move |mut stream| {
            let (first, rest, mut gate) = (first.clone(), rest.clone(), gate.clone());
            async move {
                agent_vault_testing::upstream::read_head(&mut stream).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\na {first}");
                stream.write_all(head.as_bytes()).await.unwrap();
                gate.wait_for(|open| *open).await.unwrap();
                stream
                    .write_all(format!("{rest} b").as_bytes())
                    .await
                    .unwrap();
            }
        })
        .start();
    let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
    for way in [Way::H1, Way::H2] {
        let _ = go.send(false);
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let request = agent.request("GET", "/", &[], client::empty());
        // The head comes although the body does not end.
        let response = within("the head", agent.http.send(request)).await.unwrap();
        assert_eq!(response.headers()["content-length"], length.to_string());
        let _ = go.send(true);
        let answer = within("the rest", Answer::read(response)).await.unwrap();
        let label = "[redacted:TOKEN]";
        let same = format!("{label}{}", "*".repeat(raw.len() - label.len()));
        assert_eq!(answer.text(), format!("a {same} b"), "{way:?}");
    }
}

/// An event arrives although the next one is not sent, also when it ends in what may begin a value: then that alone is held,
/// and not for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_never_held_back_for_the_next() {
    let secret = Canary::new("sk-");
    let raw = secret.expose().to_owned();
    let events = [
        "data: one\n\n".to_owned(),
        format!("data: {raw}\n\n"),
        "data: ends in sk".to_owned(),
        format!("y\n\ndata: {}", &raw[..12]),
        format!("{}\n\n", &raw[12..]),
    ];
    for way in [Way::H1, Way::H2] {
        let (step, steps) = tokio::sync::watch::channel(0_usize);
        let sent = events.clone();
        let upstream = Upstream::builder()
            .name(HOST)
            .alpn(Alpn::H1Only)
            .raw(move |mut stream| {
                let (sent, mut steps) = (sent.clone(), steps.clone());
                async move {
                    agent_vault_testing::upstream::read_head(&mut stream).await;
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                        .await
                        .unwrap();
                    for (n, event) in sent.iter().enumerate() {
                        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                        stream.write_all(chunk.as_bytes()).await.unwrap();
                        steps.wait_for(|step| *step > n).await.unwrap();
                    }
                    stream.write_all(b"0\r\n\r\n").await.unwrap();
                }
            })
            .start();
        let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let request = agent.request("GET", "/", &[], client::empty());
        let mut body = within("the head", agent.http.send(request))
            .await
            .unwrap()
            .into_body();
        let mut got = String::new();
        // After each step the upstream waits until the agent has what it may have.
        for (n, wanted) in [
            "data: one\n\n",
            "data: one\n\ndata: [redacted:TOKEN]\n\n",
            "data: one\n\ndata: [redacted:TOKEN]\n\ndata: ends in sk",
            "data: one\n\ndata: [redacted:TOKEN]\n\ndata: ends in sky\n\ndata: [redacted:TOKEN]",
            "data: one\n\ndata: [redacted:TOKEN]\n\ndata: ends in sky\n\ndata: [redacted:TOKEN]\n\n",
        ]
        .into_iter()
        .enumerate()
        {
            while got.len() < wanted.len() {
                let frame = within(&format!("{way:?} event {n}, after {got:?}"), body.frame()).await;
                if let Ok(data) = frame.unwrap().unwrap().into_data() {
                    got.push_str(std::str::from_utf8(&data).unwrap());
                }
            }
            assert_eq!(got, wanted, "{way:?}");
            step.send_replace(n + 1);
        }
    }
}

fn message(text: &str) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(text.len()).unwrap());
    framed.extend_from_slice(text.as_bytes());
    framed.freeze()
}

/// gRPC counts the bytes of its messages, so what stands for a value in them is as long as the value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_messages_keep_their_lengths() {
    let upstream = Far::H2.start();
    let secret = Canary::new("sk-");
    let raw = secret.expose();
    let stage = keyed(
        &secret,
        json!({"substitutions": [{"key": "TOKEN", "placeholder": "__token__", "in": ["header"]}]}),
    )
    .trusting(&upstream)
    .start()
    .await;
    let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    let label = format!("__token__{}", "*".repeat(raw.len() - 9));
    let headers = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-accept-encoding", "gzip"),
        ("x-count", "2"),
    ];
    // Sent by the agent itself, as if it guessed; cut between frames too.
    let sent = message(&format!("a {raw} b"));
    let answer = agent
        .ask(
            "POST",
            "/grpc.testing.Echo/ServerStream",
            &headers,
            client::full(sent),
        )
        .await
        .unwrap();
    let expected = message(&format!("a {label} b"));
    assert_eq!(answer.body, [&expected[..], &expected[..]].concat());
    assert_eq!(answer.trailers.as_ref().unwrap()["grpc-status"], "0");
    let seen = upstream.latest("/grpc.testing.Echo/ServerStream").unwrap();
    assert!(!seen.headers.contains_key("grpc-accept-encoding"));
    assert_eq!(stage.last_logged(1).await.scrubs, 2);
    // A status message, in the head of an answer without messages.
    let status = format!("no%20{raw}");
    let mut with = headers.to_vec();
    with.push(("x-grpc-status", &status));
    let answer = agent
        .ask(
            "POST",
            "/grpc.testing.Echo/Unary",
            &with,
            client::full(message("x")),
        )
        .await
        .unwrap();
    assert_eq!(answer.headers["grpc-status"], "no%20__token__");
}

/// What cannot be decoded is refused, or passed where the service says so; either way the log tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_decoded_is_refused_or_passed_as_the_service_says() {
    let secret = Canary::new("sk-");
    for (head, status, word) in [
        ("Content-Encoding: compress\r\n", "200 OK", "unknown_coding"),
        (
            "Content-Encoding: gzip, br, gzip\r\n",
            "200 OK",
            "too_many_codings",
        ),
        (
            "Content-Encoding: gzip\r\nContent-Range: bytes 0-3/9\r\n",
            "206 Partial Content",
            "part_of_an_encoded_body",
        ),
        ("grpc-encoding: gzip\r\n", "200 OK", "encoded_messages"),
    ] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nX-Echo: {}\r\n{head}Content-Length: 4\r\n\r\n\x01\x02\x03\x04",
            secret.expose()
        );
        let upstream = Upstream::builder().name(HOST).raw_answer(answer).start();
        for way in [Way::H1, Way::H2] {
            let what = format!("{way:?} {head}");
            let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let answer = agent.get("/", &[]).await;
            assert_eq!(answer.status, 502, "{what}");
            assert_eq!(refusal(&answer)["error"], "response_not_scrubbable");
            assert!(secret.find(answer.received()).is_empty());
            let logged = stage.last_logged(1).await;
            assert_eq!(logged.error_code, "response_not_scrubbable");

            let stage = keyed(&secret, json!({"scrub": {"undecodable": "pass"}}))
                .trusting(&upstream)
                .start()
                .await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let answer = agent.get("/", &[]).await;
            assert_eq!(answer.body, b"\x01\x02\x03\x04".as_slice(), "{what}");
            assert_eq!(answer.headers["x-echo"], "[redacted:TOKEN]");
            let logged = stage.last_logged(1).await;
            assert_eq!(logged.error_code, "", "{what}");
            assert_eq!(logged.warnings, [format!("response_not_scrubbed:{word}")]);
            assert_eq!(logged.scrubs, 1);
        }
    }
}

/// The switch of one service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_switch_it_off() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = keyed(&secret, json!({"scrub": {"enabled": false}}))
            .trusting(&upstream)
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent
            .get("/echo", &[("accept-encoding", "gzip, compress")])
            .await;
        assert!(answer.text().contains(secret.expose()), "{way:?} {far:?}");
        let seen = upstream.latest("/echo").unwrap();
        assert_eq!(seen.header("accept-encoding"), Some("gzip, compress"));
        assert_eq!(stage.last_logged(1).await.scrubs, 0);
        let (mut socket, _) = open(
            &mut agent,
            "/ws",
            &[("sec-websocket-extensions", "permessage-deflate")],
        )
        .await
        .unwrap()
        .unwrap_or_else(|refused| panic!("{}", refused.received()));
        socket.send_text(secret.expose()).await.unwrap();
        assert_eq!(socket.expect_text().await, secret.expose());
    }
}

/// With a service that scrubs, only what can be decoded is asked for; without a credential everything is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_can_be_decoded_is_asked_for() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
        for (host, expected) in [
            (HOST, "gzip, br;q=0.5"),
            ("other.example.test", "gzip, dcb, br;q=0.5"),
        ] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(host)).await;
            agent
                .get("/x", &[("accept-encoding", "gzip, dcb, br;q=0.5")])
                .await;
            let seen = upstream.latest("/x").unwrap();
            assert_eq!(
                seen.header("accept-encoding"),
                Some(expected),
                "{way:?} {far:?} {host}"
            );
        }
    }
}

/// What was injected before a rotation is looked for as well, on streams that are open and on later ones; not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_values_stay_scrubbed_for_a_while() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let (old, new) = (Canary::new("sk-old-"), Canary::new("sk-new-"));
        let mut stage = keyed(&old, json!({})).trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200);
        let (mut socket, _) = open(&mut agent, "/ws", &[]).await.unwrap().unwrap();
        stage.vault.credentials[0].1 = new.expose().to_owned();
        stage.publish();
        socket
            .send_text(&format!("<{}>", old.expose()))
            .await
            .unwrap();
        assert_eq!(socket.expect_text().await, "<[redacted:TOKEN]>");
        drop(socket);

        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let echo = async |agent: &mut Agent| {
            let both = format!("{} {}", old.expose(), new.expose());
            let answer = agent
                .ask("POST", "/echo-stream", &[], client::full(both))
                .await
                .unwrap();
            answer.text()
        };
        assert_eq!(
            echo(&mut agent).await,
            "[redacted:TOKEN] [redacted:TOKEN]",
            "{way:?} {far:?}"
        );
        stage.clock.advance(jiff::SignedDuration::from_mins(59));
        assert_eq!(
            echo(&mut agent).await,
            "[redacted:TOKEN] [redacted:TOKEN]",
            "{way:?} {far:?}"
        );
        stage.clock.advance(jiff::SignedDuration::from_mins(2));
        assert_eq!(
            echo(&mut agent).await,
            format!("{} [redacted:TOKEN]", old.expose()),
            "{way:?} {far:?}"
        );
    }
}

/// Values that are too short are left alone, but a pair of them is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_value_is_exempt_and_a_pair_is_not() {
    let upstream = Far::H1.start();
    let stage = Stage::builder()
        .credential("USER", "bob")
        .credential("PASS", "s3cret7")
        .service(service(
            json!({"auth": {"type": "basic", "username": "USER", "password": "PASS"}}),
        ))
        .trusting(&upstream)
        .start()
        .await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    let pair = "bob:s3cret7";
    let sent = format!("s3cret7 {pair} {}", STANDARD.encode(format!("x{pair}")));
    let answer = agent
        .ask("POST", "/echo-stream", &[], client::full(sent))
        .await
        .unwrap();
    let got = answer.text();
    assert!(got.starts_with("s3cret7 [redacted:PASS] "), "{got}");
    assert!(!got.contains(&STANDARD.encode(format!("x{pair}"))), "{got}");
    let echoed = agent.get("/echo", &[]).await.text();
    assert!(!echoed.contains(&STANDARD.encode(pair)), "{echoed}");
}

/// What has nothing to find in it leaves as it came: head and body, whatever its framing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_nothing_to_find_goes_out_byte_for_byte() {
    let secret = Canary::new("sk-");
    let body: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| (n % 251).to_le_bytes())
        .collect();
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent
            .ask("POST", "/echo-stream", &[], client::full(body.clone()))
            .await
            .unwrap();
        assert!(answer.body == body, "{way:?} {far:?}");
        for path in ["/bytes/100", "/bytes/100000", "/chunks/1000"] {
            let scrubbed = agent.get(path, &[]).await;
            let mut plain =
                Agent::open(&stage, way, &upstream.authority_of("other.example.test")).await;
            let plain = plain.get(path, &[]).await;
            let head = |answer: &Answer| -> HeaderMap {
                let mut head = answer.headers.clone();
                head.remove("date");
                head
            };
            assert_eq!(head(&scrubbed), head(&plain), "{way:?} {far:?} {path}");
            assert_eq!(scrubbed.body, plain.body, "{way:?} {far:?} {path}");
        }
        assert!(
            stage
                .logged(7)
                .await
                .iter()
                .all(|record| record.scrubs == 0)
        );
    }
}

/// Messages of a WebSocket: one in a single frame may change its length, fragments and binary ones keep theirs. What was
/// found is told when the socket ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_messages_on_every_path() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let secret = Canary::new("sk-");
        let raw = secret.expose();
        let stage = keyed(&secret, json!({})).trusting(&upstream).start().await;
        let what = format!("{way:?} {far:?}");
        let label = "[redacted:TOKEN]";
        let same = format!("{label}{}", "*".repeat(raw.len() - label.len()));
        for (path, expected) in [("/ws", label), ("/ws?fragment=5", same.as_str())] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            assert_eq!(agent.get("/", &[]).await.status, 200);
            let (mut socket, _) = open(&mut agent, path, &[]).await.unwrap().unwrap();
            socket.send_text(&format!("a {raw} b")).await.unwrap();
            assert_eq!(
                socket.expect_text().await,
                format!("a {expected} b"),
                "{what}"
            );
            socket
                .send_binary(format!("\0{raw}").as_bytes())
                .await
                .unwrap();
            let binary = socket.next().await.unwrap().unwrap();
            assert_eq!(binary.to_text_lossy(), format!("\0{same}"), "{what}");
            socket.send_text("clean").await.unwrap();
            assert_eq!(socket.expect_text().await, "clean");
            socket.send_close(1000, "done").await.unwrap();
            within("the close", socket.next()).await.unwrap();
        }
        let told = stage
            .logged_that(|record| record.method.as_str() == "ADDENDUM" && record.path == "/ws")
            .await;
        assert_eq!((told.scrubs, told.status), (2, 101), "{what}");
        assert_eq!(told.service.as_deref(), Some("keyed"));
    }
}
