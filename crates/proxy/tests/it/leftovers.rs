//! A placeholder that leaves in a body as it is, on every path (W48).

use agent_vault_testing::client::{self, RequestBody};
use agent_vault_testing::{BoxError, Upstream};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;

use crate::fixture::{Agent, HOST, PATHS, Stage};

const STAND_IN: &str = "av_ph_0123456789abcdef";
const IN_BODY: &str = "placeholder_unreplaced_in_body:KEY";

/// A body of a length that is not told, in these pieces.
fn pieces(pieces: Vec<Bytes>) -> RequestBody {
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

/// A vault that knows the stand-in of a key, and looks into bodies for another credential below `/held`.
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
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w48_a_placeholder_that_leaves_in_a_body_is_noted() {
    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let quoted = json!({"role": "tool", "content": format!("$ echo $KEY\n{STAND_IN}\n"),
            "arguments": json!({"key": STAND_IN}).to_string()})
        .to_string();
        let long = format!("{}\",\"key\":\"{STAND_IN}\"}}", "x".repeat(100_000));
        let both = format!(r#"{{"a":"__pass__","b":"{STAND_IN}"}}"#);
        let mut logged = 0;
        for (path, kind, body, noted) in [
            (
                "/echo",
                JSON,
                vec![json!({"key": STAND_IN}).to_string()],
                true,
            ),
            ("/echo", JSON, vec![quoted], false),
            ("/echo", JSON, vec!["{\"a\":\"".to_owned(), long], true),
            (
                "/echo",
                FORM,
                STAND_IN.split_inclusive('_').fold(
                    vec!["a=1&key=".to_owned()],
                    |mut list, piece| {
                        list.push(piece.to_owned());
                        list
                    },
                ),
                true,
            ),
            (
                "/echo",
                "application/octet-stream",
                vec![format!("\"{STAND_IN}\"")],
                false,
            ),
            // Looked into, for another placeholder.
            ("/held", JSON, vec![both], true),
            ("/held", JSON, vec![r#"{"a":"__pass__"}"#.to_owned()], false),
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
                let expected: &[&str] = if noted { &[IN_BODY] } else { &[] };
                assert_eq!(stage.last_logged(logged).await.warnings, expected, "{what}");
            }
        }
    }
}
