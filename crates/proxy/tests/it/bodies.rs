//! Bodies, trailers and interim responses on their way through: unbuffered, bounded, and visibly cut when they are cut.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use agent_vault_proxy::LogDecision;
use agent_vault_testing::client::{self, Answer, RequestBody};
use agent_vault_testing::recording::Ending;
use agent_vault_testing::{Alpn, BoxError, Upstream, within};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::doors::{read_until, tunnel};
use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way, refusal};

/// A request body that the test feeds.
struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

struct Feeder(mpsc::Sender<Result<Frame<Bytes>, BoxError>>);

impl Feeder {
    async fn data(&self, data: impl Into<Bytes>) {
        within("room for data", self.0.send(Ok(Frame::data(data.into()))))
            .await
            .unwrap();
    }
}

fn fed() -> (Feeder, RequestBody) {
    let (sender, receiver) = mpsc::channel(1);
    (Feeder(sender), Fed(receiver).boxed_unsync())
}

async fn stage_for(upstream: &Upstream) -> Stage {
    Stage::builder()
        .trusting(upstream)
        .bearer("sk-secret-value")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_stream_unbuffered() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let (feeder, body) = fed();
        feeder.data("first").await;
        let response = agent.send("POST", "/echo-stream", &[], body).await.unwrap();
        let what = format!("{way:?} {far:?}");
        assert_eq!(response.status(), 200, "{what}");
        let mut back = response.into_body();
        for piece in ["second", "third"] {
            let frame = within("an echo", back.frame()).await.unwrap().unwrap();
            assert!(frame.is_data(), "{what}");
            feeder.data(piece).await;
        }
        feeder.data("third").await;
        drop(feeder);
        let rest = within("the rest", back.collect()).await.unwrap().to_bytes();
        assert!(rest.ends_with(b"third"), "{what} {rest:?}");
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.ended().await, Ending::Finished, "{what}");
        assert_eq!(seen.body_text(), "firstsecondthirdthird", "{what}");
        assert_eq!(stage.last_logged(1).await.error_code, "", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_when_they_are_sent() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let response = agent
            .send(
                "GET",
                "/sse?n=3",
                &[("accept-encoding", "gzip, br")],
                client::empty(),
            )
            .await
            .unwrap();
        let mut body = response.into_body();
        for number in 0..3 {
            upstream.gate("gate").release(1);
            let event = within("an event", body.frame()).await.unwrap().unwrap();
            let event = event.into_data().unwrap();
            assert_eq!(
                event,
                format!("id: {number}\ndata: event {number}\n\n"),
                "{way:?} {far:?}"
            );
        }
        let rest = within("the end", body.collect()).await.unwrap();
        assert!(rest.to_bytes().is_empty(), "{way:?} {far:?}");
    }
}

/// Neither side is read ahead of the other: what lies between is bounded by windows and socket buffers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_each_way_and_backpressure() {
    const TOTAL: u64 = 100 << 20;
    const BETWEEN: u64 = 24 << 20;
    for (way, far) in [
        (Way::H1, Far::H1),
        (Way::H2, Far::H2),
        (Way::H1, Far::H2),
        (Way::H2, Far::H1),
    ] {
        let upstream = far.builder().keep_body(0).start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let what = format!("{way:?} {far:?}");

        // Down.
        let response = agent
            .send("GET", &format!("/bytes/{TOTAL}"), &[], client::empty())
            .await
            .unwrap();
        let body = within("100 MB", response.into_body().collect())
            .await
            .unwrap();
        assert_eq!(body.to_bytes().len() as u64, TOTAL, "{what}");

        // Up: the upstream does not read, so the client must come to a stop.
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        let (feeder, body) = fed();
        let feeding = tokio::spawn(async move {
            let piece = Bytes::from(vec![b'u'; 64 << 10]);
            while counted.load(Ordering::SeqCst) < TOTAL {
                if feeder.0.send(Ok(Frame::data(piece.clone()))).await.is_err() {
                    return;
                }
                counted.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        });
        let request = agent.request("POST", "/unread?gate=up", &[], body);
        let answering = tokio::spawn(async move {
            let answer = Answer::read(agent.http.send(request).await.unwrap()).await;
            (answer, agent)
        });
        upstream.gate("up").arrived(1).await;
        // Meanwhile another exchange moves more than may lie in between.
        let mut other = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let moved = other.get(&format!("/bytes/{}", 2 * BETWEEN), &[]).await;
        assert_eq!(moved.body.len() as u64, 2 * BETWEEN, "{what}");
        let between = sent.load(Ordering::SeqCst);
        assert!(between < BETWEEN, "{what}: {between} bytes lie in between");
        upstream.gate("up").release(1);
        let (answer, _agent) = within("the upload", answering).await.unwrap();
        assert_eq!(answer.unwrap().status, 200, "{what}");
        feeding.await.unwrap();
        let seen = upstream.latest("/unread").unwrap();
        assert_eq!(seen.body_length(), TOTAL, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let what = format!("{way:?} {far:?}");
        let mut headers = vec![("te", "trailers")];
        if !way.is_h2() {
            headers.push(("connection", "te"));
        }
        let answer = agent.get("/trailers", &headers).await;
        assert_eq!(answer.text(), "with trailers\n");
        let trailers = answer.trailers.unwrap_or_default();
        assert_eq!(
            trailers.get("x-checksum").map(|v| v.to_str().unwrap()),
            Some("abc123"),
            "{what}"
        );
        assert_eq!(
            upstream.latest("/trailers").unwrap().header("te"),
            Some("trailers"),
            "{what}"
        );

        let mut sum = HeaderMap::new();
        sum.insert("x-sum", "42".parse().unwrap());
        // What no head may carry, no trailer may.
        let token = format!("Bearer {}", stage.token);
        sum.insert("authorization", token.parse().unwrap());
        sum.insert("proxy-authorization", "Basic x".parse().unwrap());
        let (feeder, body) = fed();
        headers.push(("trailer", "x-sum, x-token"));
        let request = agent.request("POST", "/echo-stream", &headers, body);
        feeder.data("data").await;
        let feeding = tokio::spawn(async move {
            feeder.0.send(Ok(Frame::trailers(sum))).await.unwrap();
        });
        let response = within("an answer", agent.http.send(request)).await.unwrap();
        within("the body", Answer::read(response)).await.unwrap();
        feeding.await.unwrap();
        let seen = upstream.latest("/echo-stream").unwrap();
        seen.body_ended().await;
        assert_eq!(
            seen.trailers()
                .unwrap_or_default()
                .get("x-sum")
                .map(|v| v.to_str().unwrap()),
            Some("42"),
            "{what} {seen:?}"
        );
        let arrived = format!("{:?}", seen.trailers());
        assert!(!arrived.contains("authorization"), "{what} {arrived}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        for path in ["/truncate-chunked", "/truncate-length", "/reset"] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let outcome = agent.ask("GET", path, &[], client::empty()).await;
            let what = format!("{way:?} {far:?} {path}: {outcome:?}");
            match outcome {
                Err(_) => {}
                // The head had not left yet.
                Ok(answer) => assert_eq!(answer.status, 502, "{what}"),
            }
        }
        for record in stage.logged(3).await {
            assert!(!record.error_code.is_empty(), "{way:?} {far:?} {record:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_no_http_server() {
    let cases: [(&str, &[u8]); 8] = [
        ("garbage", b"\x16\x03\x01 what is this\r\n\r\n"),
        ("nothing", b""),
        ("an unasked 101", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
        ("a folded header", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("a bad length", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("a head that is too large", &[b'a'; 300 * 1024]),
    ];
    for (name, bytes) in cases {
        let upstream = Upstream::builder()
            .name(HOST)
            .raw_answer(bytes.to_vec())
            .start();
        let stage = stage_for(&upstream).await;
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let answer = agent.get("/", &[]).await;
            assert_eq!(answer.status, 502, "{name} {way:?} {}", answer.received());
            assert_eq!(refusal(&answer)["error"], "upstream_error", "{name}");
        }
        for record in stage.logged(2).await {
            assert_eq!(
                (record.status, record.error_code),
                (502, "upstream_error"),
                "{name}"
            );
        }
    }
    // Chunked that ends in rubbish, and both framings.
    for bytes in [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".as_slice(),
    ] {
        let upstream = Upstream::builder()
            .name(HOST)
            .raw_answer(bytes.to_vec())
            .start();
        let stage = stage_for(&upstream).await;
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let outcome = agent.ask("GET", "/", &[], client::empty()).await;
            assert!(
                outcome.as_ref().map_or(true, |answer| answer.status == 502),
                "{way:?} {outcome:?}"
            );
        }
        for record in stage.logged(2).await {
            assert!(
                ["upstream_truncated", "upstream_error"].contains(&record.error_code),
                "{record:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_on_both_bodies() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("sk-secret-value")
            .caps(Some(1000), Some(2000))
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let what = format!("{way:?} {far:?}");
        let mut agent = Agent::open(&stage, way, &authority).await;
        let exact = agent
            .ask("POST", "/echo-stream", &[], client::full(vec![b'a'; 1000]))
            .await
            .unwrap();
        assert_eq!(exact.body.len(), 1000, "{what}");
        assert_eq!(agent.get("/bytes/2000", &[]).await.body.len(), 2000);
        assert_eq!(
            agent.get("/chunks/2000", &[]).await.body.len(),
            2000,
            "{what}"
        );
        let declared = agent
            .ask("POST", "/x", &[], client::full(vec![b'a'; 1001]))
            .await
            .unwrap();
        assert_eq!(declared.status, 413, "{what}");
        assert_eq!(refusal(&declared)["error"], "request_too_large");
        let mut agent = Agent::open(&stage, way, &authority).await;
        let (feeder, body) = fed();
        let feeding = tokio::spawn(async move {
            // The proxy may stop reading at any point.
            while feeder
                .0
                .send(Ok(Frame::data(Bytes::from(vec![b'a'; 600]))))
                .await
                .is_ok()
            {}
        });
        let grown = agent.ask("POST", "/x", &[], body).await;
        match &grown {
            Ok(answer) => assert_eq!(answer.status, 413, "{what}"),
            Err(error) => panic!("{what}: {error:?}"),
        }
        drop(agent);
        feeding.await.unwrap();
        let mut agent = Agent::open(&stage, way, &authority).await;
        let large = agent.get("/bytes/2001", &[]).await;
        assert_eq!(large.status, 502, "{what}");
        assert_eq!(refusal(&large)["error"], "response_too_large");
        assert!(
            agent
                .ask("GET", "/chunks/2001", &[], client::empty())
                .await
                .is_err(),
            "{what}"
        );
        let codes: Vec<&str> = stage.logged(7).await.iter().map(|r| r.error_code).collect();
        for code in [
            "request_too_large",
            "response_too_large",
            "response_truncated",
        ] {
            assert!(codes.contains(&code), "{what} {code} {codes:?}");
        }
    }
}

/// A refusal reaches a client that is still sending (RFC 9112 section 9.6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_not_lost_in_an_upload() {
    let upstream = Far::H1.start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .caps(Some(1000), None)
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    for _ in 0..20 {
        let mut stream = tunnel(&stage, &authority).await;
        let head =
            format!("POST / HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 500000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; 400_000]).await.unwrap();
        let (answer, _) = read_until(&mut stream, |text| text.contains("\"fault\"")).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_upload_is_rewritten_and_its_trailers_kept() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = looking_into_bodies(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let (feeder, body) = fed();
        tokio::spawn(async move {
            for piece in ["a=__ke", "y__&b=__key", "__"] {
                feeder.data(piece).await;
            }
        });
        let answer = agent
            .ask(
                "POST",
                "/x",
                &[
                    ("content-type", "application/x-www-form-urlencoded"),
                    ("expect", "100-continue"),
                ],
                body,
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(
            seen.body_text(),
            "a=value-of-key&b=value-of-key",
            "{way:?} {far:?}"
        );
        assert_eq!(seen.header("content-length"), Some("29"));
    }
}

/// What cannot be looked into goes through as it is, and the log says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c20_a_body_that_cannot_be_looked_into_is_noted() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = looking_into_bodies(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let cases: [(&str, &str, &str, &str); 5] = [
            (
                "content-encoding",
                "gzip",
                "__key__",
                "the request body is compressed",
            ),
            ("content-encoding", "identity", "value-of-key", ""),
            (
                "content-type",
                "multipart/form-data",
                "__key__",
                "the multipart body names no boundary",
            ),
            (
                "content-type",
                "application/grpc-web+proto",
                "__key__",
                "the request body is a stream of messages with lengths",
            ),
            ("content-type", "text/plain", "value-of-key", ""),
        ];
        for (number, (name, value, sent, why)) in cases.into_iter().enumerate() {
            for (path, body, sent) in [
                ("/x", client::full("__key__"), sent),
                ("/x", client::empty(), ""),
            ] {
                let answer = agent.ask("POST", path, &[(name, value)], body).await;
                assert_eq!(answer.unwrap().status, 200);
                let seen = upstream.requests().pop().unwrap();
                assert_eq!(seen.body_text(), sent, "{way:?} {far:?} {value}");
            }
            let mut warnings: Vec<String> = if why.is_empty() {
                Vec::new()
            } else {
                vec![format!("body_not_inspected:{why}")]
            };
            // Where it can be seen, it is named too. What is no gzip, though it says so, cannot.
            if !why.is_empty() && value != "gzip" {
                warnings.push("placeholder_unreplaced_in_body:KEY".to_owned());
            }
            let logged = stage.logged(2 * number + 2).await;
            let [.., with, without] = logged.as_slice() else {
                panic!("{logged:?}");
            };
            assert_eq!(with.warnings, warnings, "{way:?} {far:?} {value}");
            assert!(without.warnings.is_empty(), "{without:?}");
        }
    }
}

async fn looking_into_bodies(upstream: &Upstream) -> Stage {
    Stage::builder()
        .trusting(upstream)
        .credential("KEY", "value-of-key")
        .service(json!({"name": "body", "host": HOST, "require_tls": false,
            "auth": {"type": "passthrough"},
            "substitutions": [{"key": "KEY", "placeholder": "__key__", "in": ["body"]}]}))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_ends_the_upload() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let (feeder, body) = fed();
        feeder.data("begin").await;
        let answer = agent
            .ask("POST", "/early-response?status=413", &[], body)
            .await
            .unwrap();
        assert_eq!(answer.status, 413, "{way:?} {far:?}");
        assert!(!answer.headers.contains_key("x-agent-vault-proxy-error"));
        drop(feeder);
        // The next request is served, on whatever connection.
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200, "{way:?} {far:?}");
    }
}

/// A raw h1 agent that expects 100 and never sends a byte of body before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_continue() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let authority = upstream.authority_of(HOST);
        let mut stream = tunnel(&stage, &authority).await;
        let head = format!(
            "POST /echo HTTP/1.1\r\nHost: {authority}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, _) = read_until(&mut stream, |text| text.contains("\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 100 "), "{far:?} {answer}");
        stream.write_all(b"body").await.unwrap();
        let (answer, _) = read_until(&mut stream, |text| text.contains("\"body\":\"body\"")).await;
        assert!(answer.contains("HTTP/1.1 200 "), "{far:?} {answer}");
    }
    // An upstream that answers without reading: the client is never asked for the body.
    let upstream = Upstream::builder()
        .name(HOST)
        .raw_answer(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\nWWW-Authenticate: Basic\r\n\r\nnope".to_vec())
        .start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    let mut stream = tunnel(&stage, &authority).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {authority}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (answer, _) = read_until(&mut stream, |text| text.ends_with("nope")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let record = stage.last_logged(1).await;
    assert_eq!((record.status, record.error_code), (401, ""));
}

/// `100 Continue` comes only when the upstream has said it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstreams_word_is_waited_for() {
    let (say, heard) = tokio::sync::oneshot::channel::<()>();
    let heard = Arc::new(std::sync::Mutex::new(Some(heard)));
    let upstream = Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H1Only)
        .raw(move |mut stream| {
            let heard = heard.lock().unwrap().take();
            async move {
                let head = agent_vault_testing::upstream::read_head(&mut stream).await;
                assert!(String::from_utf8_lossy(&head).to_lowercase().contains("expect: 100-continue"));
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
                let mut body = [0; 4];
                stream.read_exact(&mut body).await.unwrap();
                if let Some(heard) = heard { heard.await.unwrap(); }
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await.unwrap();
                stream.write_all(&body).await.unwrap();
                stream.read_u8().await.unwrap_or_default();
            }
        })
        .start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    let mut stream = tunnel(&stage, &authority).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {authority}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (answer, _) = read_until(&mut stream, |text| text.contains(" 100 ")).await;
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    stream.write_all(b"body").await.unwrap();
    say.send(()).unwrap();
    let (rest, _) = read_until(&mut stream, |text| text.ends_with("body")).await;
    let all = format!("{answer}{rest}");
    assert_eq!(all.matches(" 103 ").count(), 2, "{all}");
    assert!(all.contains("</a>") && all.contains("</b>"), "{all}");
    assert!(all.find("</b>") < all.find(" 200 "), "{all}");
    assert_eq!(all.matches("HTTP/1.1 ").count(), 4, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_reach_an_h1_agent_before_the_answer_and_never_after() {
    let upstream = Far::H1.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    let mut stream = tunnel(&stage, &authority).await;
    for _ in 0..30 {
        let head = format!("GET /early-hints HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, _) = read_until(&mut stream, |text| text.ends_with("ok\n")).await;
        assert!(
            answer.starts_with("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"),
            "{answer}"
        );
    }
    let mut agent = Agent::open(&stage, Way::H2, &authority).await;
    assert_eq!(agent.get("/early-hints", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_the_exchange_upstream_and_is_on_record() {
    for (way, far) in PATHS {
        // Before the head, in mid-body, and while it sends.
        for path in ["/slow", "/stall", "/echo-stream"] {
            let upstream = far.start();
            let stage = stage_for(&upstream).await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let (feeder, body) = fed();
            let body = if path == "/echo-stream" {
                body
            } else {
                client::empty()
            };
            let request = agent.request(
                if path == "/echo-stream" {
                    "POST"
                } else {
                    "GET"
                },
                path,
                &[],
                body,
            );
            let what = format!("{way:?} {far:?} {path}");
            if path == "/slow" {
                let asking = tokio::spawn(async move {
                    let response = agent.http.send(request).await;
                    drop(response);
                    agent.http.close().await;
                });
                upstream.gate("gate").arrived(1).await;
                asking.abort();
            } else {
                if path == "/echo-stream" {
                    feeder.data("some").await;
                }
                let response = within("a head", agent.http.send(request)).await.unwrap();
                let mut body = response.into_body();
                within("a byte", body.frame()).await.unwrap().unwrap();
                drop(body);
                within("the client to close", agent.http.close()).await;
            }
            let seen = upstream.wait_for(1).await.pop().unwrap();
            assert_eq!(seen.ended().await, Ending::Cancelled, "{what}");
            let record = stage.last_logged(1).await;
            assert_eq!(record.error_code, "client_closed", "{what}");
            assert_eq!(
                record.status,
                if path == "/slow" { 499 } else { 200 },
                "{what}"
            );
            drop(feeder);
        }
    }
}

/// An agent that leaves in the middle of its upload was not refused anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_its_agent_leaves_is_on_record_as_such() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let (feeder, body) = fed();
        feeder.data("some").await;
        let request = agent.request("POST", "/x", &[], body);
        let asking = tokio::spawn(async move { agent.http.send(request).await.map(drop) });
        let seen = upstream.wait_for_path("/x").await;
        seen.body_reached(4).await;
        asking.abort();
        let record = stage.last_logged(1).await;
        let what = format!("{way:?} {far:?} {record:?}");
        assert_eq!(record.error_code, "client_closed", "{what}");
        assert_eq!(record.status, 499, "{what}");
        assert_eq!(record.decision, LogDecision::Brokered, "{what}");
        drop(feeder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_h2_stream_that_is_cancelled_harms_no_other() {
    let upstream = Far::H2.start();
    let stage = stage_for(&upstream).await;
    let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    for round in 0..300_usize {
        let response = agent
            .send("GET", "/stall", &[], client::empty())
            .await
            .unwrap();
        drop(response);
        let record = stage.last_logged(round + 1).await;
        assert_eq!(record.error_code, "client_closed");
    }
    assert_eq!(agent.get("/", &[]).await.status, 200);
    // Streams are given back: all of them fit on one connection.
    assert_eq!(upstream.connections(), 1);
}

mod grpc {
    use super::*;
    use agent_vault_testing::upstream::grpc::frame;

    const HEADERS: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

    /// A service that looks into bodies must not wait for the end of a stream that it cannot look into.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn streams_through_a_service_that_looks_into_bodies() {
        let upstream = Far::H2.start();
        let stage = looking_into_bodies(&upstream).await;
        let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
        let (feeder, body) = fed();
        feeder.data(frame(b"__key__")).await;
        let response = agent
            .send("POST", "/grpc.testing.Echo/Bidi", &HEADERS, body)
            .await
            .unwrap();
        let mut back = response.into_body();
        for text in [b"__key__".as_slice(), b"two"] {
            let data = within("a message", back.frame()).await.unwrap().unwrap();
            assert_eq!(data.into_data().unwrap(), frame(text));
            if text != b"two" {
                feeder.data(frame(b"two")).await;
            }
        }
        drop(feeder);
        let rest = within("the end", back.collect()).await.unwrap();
        assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(
            stage.last_logged(1).await.warnings,
            [
                "body_not_inspected:the request body is a stream of messages with lengths",
                "placeholder_unreplaced_in_body:KEY"
            ]
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn streams_both_ways_with_trailers_and_half_close() {
        let upstream = Far::H2.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
        let (feeder, body) = fed();
        feeder.data(frame(b"one")).await;
        let response = agent
            .send("POST", "/grpc.testing.Echo/Bidi", &HEADERS, body)
            .await
            .unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["x-initial"], "upstream");
        let mut back = response.into_body();
        for text in [b"one".as_slice(), b"two", b"three"] {
            let data = within("a message", back.frame()).await.unwrap().unwrap();
            assert_eq!(data.into_data().unwrap(), frame(text));
            match text {
                b"one" => feeder.data(frame(b"two")).await,
                b"two" => feeder.data(frame(b"three")).await,
                _ => {}
            }
        }
        // Half-close: the client is done, the answer's trailers still come.
        drop(feeder);
        let trailers = within("trailers", back.frame()).await.unwrap().unwrap();
        let trailers = trailers.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["x-echo-trailer"], "kept");
        let seen = upstream.requests().pop().unwrap();
        assert_eq!(seen.header("te"), Some("trailers"));
        assert_eq!(seen.header("authorization"), Some("Bearer sk-secret-value"));

        // Trailers-only.
        let mut headers = HEADERS.to_vec();
        headers.push(("x-grpc-status", "5"));
        let answer = agent
            .ask(
                "POST",
                "/grpc.testing.Echo/Unary",
                &headers,
                client::full(frame(b"x")),
            )
            .await
            .unwrap();
        assert_eq!(answer.headers["grpc-status"], "5");
        let answer = agent
            .ask(
                "POST",
                "/grpc.testing.Echo/ServerStream",
                &HEADERS,
                client::full(frame(b"x")),
            )
            .await
            .unwrap();
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        assert_eq!(answer.body.len(), 18);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s19_paths_can_be_left_out_of_the_log() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .without_log_paths()
            .start()
            .await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let secret = "/bot123:own-secret/send";
        assert_eq!(agent.get(secret, &[]).await.status, 200);
        assert!(upstream.latest(secret).is_some());
        let record = stage.last_logged(1).await;
        assert_eq!(record.path, "", "{way:?} {far:?}");
        assert_eq!(record.status, 200);
    }
}
