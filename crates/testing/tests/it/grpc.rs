use agent_vault_testing::Upstream;
use agent_vault_testing::client;
use agent_vault_testing::upstream::grpc::{frame, take_message};
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use crate::connect;

fn messages(body: &[u8]) -> Vec<Bytes> {
    let mut buffer = BytesMut::from(body);
    let mut found = Vec::new();
    while let Some(message) = take_message(&mut buffer) {
        found.push(message.unwrap());
    }
    assert!(buffer.is_empty(), "bytes after the last message");
    found
}

#[tokio::test]
async fn calls_end_with_their_status_in_the_trailers() {
    let upstream = Upstream::start();
    let mut http = connect(&upstream, &["h2"]).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let two = [frame(b"one"), frame(b"two")].concat();
    for (call, body, expected) in [
        ("Unary", frame(b"one"), vec!["one"]),
        ("ServerStream", frame(b"one"), vec!["one"; 3]),
        ("ClientStream", two.clone().into(), vec!["onetwo"]),
        ("Bidi", two.into(), vec!["one", "two"]),
    ] {
        let path = format!("/grpc.testing.Echo/{call}");
        let body = client::full(body);
        let answer = http
            .exchange("POST", &upstream.authority(), &path, &headers, body)
            .await
            .unwrap();
        assert_eq!(messages(&answer.body), expected, "{call}");
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }
    let failing = [headers[0], headers[1], ("x-grpc-status", "5")];
    let answer = http
        .exchange(
            "POST",
            &upstream.authority(),
            "/grpc.testing.Echo/Unary",
            &failing,
            client::full(frame(b"x")),
        )
        .await
        .unwrap();
    assert_eq!(answer.headers["grpc-status"], "5");
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let upstream = Upstream::start();
    let mut http = connect(&upstream, &["h2"]).await;
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::poll_fn(move |cx| {
        receiver
            .poll_recv(cx)
            .map(|data| Some(Ok(Frame::data(data?))))
    });
    let mut request = http.request("POST", &upstream.authority(), "/grpc.testing.Echo/Bidi");
    *request.body_mut() = StreamBody::new(stream).boxed_unsync();
    let mut body = http.send(request).await.unwrap().into_body();
    for text in ["a", "b", "c"] {
        sender.send(frame(text.as_bytes())).await.unwrap();
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(messages(&data), [text]);
    }
    drop(sender);
    let trailers = body
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_trailers()
        .unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}
