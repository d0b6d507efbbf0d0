//! A placeholder that leaves as it is, on every path and surface (W48).

use agent_vault_testing::client::{self, RequestBody};
use agent_vault_testing::{BoxError, Upstream, within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use tokio::sync::mpsc;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way};
use crate::upgrades;

const STAND_IN: &str = "av_ph_0123456789abcdef";
const IN_BODY: &str = "placeholder_unreplaced_in_body:KEY";
const IN_MESSAGE: &str = "placeholder_unreplaced_in_websocket:KEY";
const IN_HEAD: &str = "placeholder_unreplaced:KEY";
/// `{"key":STAND_IN}`, compressed by gzip.
const ZIPPED: &str = "H4sIAAAAAAACA6tWyk6tVLJSSiyLL8iINzA0MjYxNTO3sExMSk5JTVOqBQCcoKxuIAAAAA==";
const QUOTED: &str = "placeholder_quoted:KEY";

/// A body of a length that is not told, in these pieces.
fn pieces(pieces: Vec<Bytes>) -> RequestBody {
    framed(pieces.into_iter().map(Frame::data).collect())
}

fn framed(frames: Vec<Frame<Bytes>>) -> RequestBody {
    let frames = frames.into_iter().map(Ok::<_, BoxError>);
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

/// A body that goes on while its sender is there.
fn fed() -> (mpsc::Sender<Bytes>, RequestBody) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|data| data.map(|data| Ok::<_, BoxError>(Frame::data(data))))
    });
    (sender, StreamBody::new(frames).boxed_unsync())
}

/// A vault that knows the stand-in of a key, and looks into bodies and messages for another credential below `/held`.
async fn stage_for(upstream: &Upstream) -> Stage {
    Stage::builder()
        .trusting(upstream)
        .credential("KEY", "value-of-key")
        .placeholder("KEY", STAND_IN)
        .credential("PASS", "value-of-pass")
        .service(
            json!({"name": "elsewhere", "host": "elsewhere.example.test",
            "auth": {"type": "bearer", "token": "KEY"}}),
        )
        .service(
            json!({"name": "held", "host": HOST, "path": "/held*", "require_tls": false,
            "auth": {"type": "passthrough"},
            "substitutions": [{"key": "PASS", "placeholder": "__pass__", "in": ["body"]}]}),
        )
        .service(
            json!({"name": "spoken", "host": HOST, "path": "/ws", "require_tls": false,
            "auth": {"type": "passthrough"},
            "substitutions": [{"key": "PASS", "placeholder": "__pass__", "in": ["websocket"]}]}),
        )
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w48_a_placeholder_that_leaves_in_a_body_is_noted() {
    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";
    const PARTS: &str = "multipart/form-data; boundary=b";
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let quoted = json!({"output": format!("$ echo $KEY\n{STAND_IN}\n"),
            "arguments": json!({"key": STAND_IN}).to_string()})
        .to_string();
        let asked = json!({"model": "m", "messages": [{"role": "assistant", "content":
            [{"type": "tool_use", "input": {"key": STAND_IN}}]}]})
        .to_string();
        let long = format!("{}\",\"key\":\"{STAND_IN}\"}}", "x".repeat(100_000));
        let both = format!(r#"{{"a":"__pass__","b":"{STAND_IN}"}}"#);
        let part = format!(
            "--b\r\nContent-Type: application/json\r\n\r\n{{\"key\": \"{STAND_IN}\"}}\r\n--b--\r\n"
        );
        let spelt =
            STAND_IN
                .split_inclusive('_')
                .fold(vec!["a=1&key=".to_owned()], |mut list, piece| {
                    list.push(piece.to_owned());
                    list
                });
        let mut logged = 0;
        for (path, kind, body, noted) in [
            (
                "/echo",
                JSON,
                vec![json!({"key": STAND_IN}).to_string()],
                IN_BODY,
            ),
            (
                "/echo",
                JSON,
                vec![json!({"content": STAND_IN}).to_string()],
                IN_BODY,
            ),
            ("/echo", JSON, vec![quoted], QUOTED),
            ("/echo", JSON, vec![asked], QUOTED),
            ("/echo", JSON, vec!["{\"a\":\"".to_owned(), long], IN_BODY),
            ("/echo", FORM, spelt, IN_BODY),
            ("/echo", PARTS, vec![part], IN_BODY),
            (
                "/echo",
                "application/octet-stream",
                vec![format!("say {STAND_IN}")],
                QUOTED,
            ),
            ("/echo", "text/plain", vec!["nothing".to_owned()], ""),
            // Looked into, for another placeholder.
            ("/held", JSON, vec![both], IN_BODY),
            ("/held", JSON, vec![r#"{"a":"__pass__"}"#.to_owned()], ""),
        ] {
            let sent = body.concat();
            for told in [true, false] {
                let outgoing = if told {
                    client::full(sent.clone())
                } else {
                    pieces(body.iter().cloned().map(Bytes::from).collect())
                };
                let answer = agent
                    .ask("POST", path, &[("content-type", kind)], outgoing)
                    .await
                    .unwrap();
                let what = format!("{way:?} {far:?} {kind} {} {told}", body[0]);
                let seen = upstream.requests().pop().unwrap();
                if path == "/echo" {
                    assert_eq!(answer.status, 200, "{what}");
                    assert_eq!(seen.body_text(), sent, "{what}");
                } else {
                    assert_eq!(seen.body_text(), sent.replace("__pass__", "value-of-pass"));
                }
                logged += 1;
                let record = stage.last_logged(logged).await;
                assert_eq!(record.warnings.concat(), noted, "{what}");
                assert_eq!(record.method, "POST", "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w48_compressed_bodies_and_trailers_are_looked_into() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let zipped = Bytes::from(STANDARD.decode(ZIPPED).unwrap());
        let (start, end) = (zipped.slice(..20), zipped.slice(20..));
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ];
        agent
            .ask("POST", "/echo", &headers, pieces(vec![start, end]))
            .await
            .unwrap();
        let what = format!("{way:?} {far:?}");
        assert_eq!(upstream.requests().pop().unwrap().body(), zipped, "{what}");
        assert_eq!(stage.last_logged(1).await.warnings, [IN_BODY], "{what}");

        let fields: HeaderMap = [("x-key".parse().unwrap(), HeaderValue::from_static(STAND_IN))]
            .into_iter()
            .collect();
        let frames = vec![Frame::data(Bytes::from("a")), Frame::trailers(fields)];
        let headers = [("trailer", "x-key"), ("te", "trailers")];
        agent
            .ask("POST", "/echo", &headers, framed(frames))
            .await
            .unwrap();
        assert_eq!(stage.last_logged(2).await.warnings, [IN_HEAD], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w48_a_placeholder_in_a_message_is_noted_while_the_socket_is_open() {
    for (way, far) in PATHS {
        // `/ws` is looked into for another placeholder; `/plain` only for this.
        for (service, path) in [("spoken", "/ws"), ("", "/ws?plain")] {
            let upstream = far.start();
            let stage = if service.is_empty() {
                Stage::builder()
                    .trusting(&upstream)
                    .credential("KEY", "value-of-key")
                    .placeholder("KEY", STAND_IN)
                    .start()
                    .await
            } else {
                stage_for(&upstream).await
            };
            let what = format!("{way:?} {far:?} {path}");
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            assert_eq!(agent.get("/", &[]).await.status, 200);
            let offer = [("sec-websocket-extensions", "permessage-deflate")];
            let (mut socket, _) = upgrades::open(&mut agent, path, &offer)
                .await
                .unwrap()
                .unwrap_or_else(|refused| panic!("{what}: {}", refused.received()));
            let offered = upstream.latest("/ws").unwrap();
            assert!(!offered.headers.contains_key("sec-websocket-extensions"));
            assert_eq!(stage.last_logged(2).await.warnings, [""; 0], "{what}");
            for text in [
                r#"{"type":"hello"}"#.to_owned(),
                json!({"role": "user", "content": STAND_IN}).to_string(),
            ] {
                socket.send_text(&text).await.unwrap();
                assert_eq!(socket.expect_text().await, text, "{what}");
            }
            let noted = stage.last_logged(3).await;
            assert_eq!(noted.warnings, [QUOTED], "{what}");
            // In fragments, and in a frame that is too long to be looked at whole.
            let long = json!({"a": "x".repeat(70_000), "key": STAND_IN}).to_string();
            let (start, end) = long.split_at(long.len() - 10);
            socket
                .send_fragments(true, &[start.as_bytes(), end.as_bytes()])
                .await
                .unwrap();
            assert_eq!(socket.expect_text().await, long, "{what}");
            let noted = stage.last_logged(4).await;
            assert_eq!(noted.warnings, [IN_MESSAGE], "{what}");
            assert_eq!(
                (noted.method.as_str(), noted.status, noted.path.as_str()),
                ("ADDENDUM", 101, "/ws"),
                "{what}"
            );
            assert_eq!(
                noted.service.as_deref().unwrap_or_default(),
                service,
                "{what}"
            );
            // Once is enough.
            socket.send_binary(STAND_IN.as_bytes()).await.unwrap();
            socket.next().await.unwrap();
            socket.send_close(1000, "").await.unwrap();
            within("the close", socket.next()).await.unwrap();
            assert_eq!(stage.logged(4).await.len(), 4, "{what}");
        }
    }
}

/// Whatever becomes of the request: what left of it has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w48_a_body_that_is_cut_short_has_left_too() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        for (path, cancels) in [
            // What never left is not named: the upstream has the piece before it ends the exchange.
            ("/early-response?after=piece", false),
            ("/reset-connection?after=piece", false),
            ("/echo-stream", true),
        ] {
            let what = format!("{way:?} {far:?} {path}");
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let (sender, body) = fed();
            let piece = Bytes::from(json!({"key": STAND_IN}).to_string());
            sender.send(piece).await.unwrap();
            let headers = [("content-type", "application/json")];
            let answer = agent.send("POST", path, &headers, body).await;
            let (path, _) = path.split_once('?').unwrap_or((path, ""));
            if cancels {
                let mut echoed = answer.unwrap().into_body();
                within("an echo", echoed.frame()).await.unwrap().unwrap();
                drop((echoed, agent));
            } else if let Ok(answer) = answer {
                // Nothing of what it says matters here.
                drop(within("an answer", answer.into_body().collect()).await);
            }
            drop(sender);
            let noted = stage
                .logged_that(|record| record.path == path && record.warnings == [IN_BODY])
                .await;
            assert!(
                ["POST", "ADDENDUM"].contains(&noted.method.as_str()),
                "{what}"
            );
        }
    }
    // After the answer is over, the rest of the body may go on to an upstream of HTTP/2.
    let upstream = Far::H2.start();
    let stage = stage_for(&upstream).await;
    let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    let (sender, body) = fed();
    sender.send(Bytes::from_static(b"{\"a\":1,")).await.unwrap();
    let mut echoed = agent
        .send("POST", "/echo-stream", &[], body)
        .await
        .unwrap()
        .into_body();
    within("an echo", echoed.frame()).await.unwrap().unwrap();
    sender
        .send(Bytes::from(format!("\"key\":\"{STAND_IN}\"}}")))
        .await
        .unwrap();
    drop(sender);
    while let Some(frame) = within("the rest", echoed.frame()).await {
        frame.unwrap();
    }
    assert_eq!(stage.last_logged(1).await.warnings, [IN_BODY]);
}
