use agent_vault_testing::Upstream;
use agent_vault_testing::recording::Ending;
use agent_vault_testing::websocket::Message;

use crate::connect;

#[tokio::test]
async fn messages_are_echoed_and_recorded_in_both_versions() {
    let upstream = Upstream::start();
    for alpn in ["http/1.1", "h2"] {
        upstream.clear();
        let mut http = connect(&upstream, &[alpn]).await;
        let opened = http
            .websocket(
                &upstream.authority(),
                "/ws?greet=hi&fragment=4",
                &[("sec-websocket-protocol", "chat, other")],
            )
            .await;
        let mut socket = opened.unwrap().expect("a WebSocket");
        assert_eq!(socket.expect_text().await, "hi");
        socket
            .send_fragments(true, &[b"one ", b"two"])
            .await
            .unwrap();
        assert_eq!(
            socket.next().await.unwrap(),
            Some(Message::Text("one two".to_owned(), 2))
        );
        socket.send_ping(b"?").await.unwrap();
        assert_eq!(
            socket.next().await.unwrap(),
            Some(Message::Pong("?".into()))
        );
        socket.send_binary(&[0; 70_000]).await.unwrap();
        assert!(
            matches!(socket.next().await.unwrap(), Some(Message::Binary(bytes, _)) if bytes.len() == 70_000)
        );
        socket.send_close(1001, "done").await.unwrap();
        assert_eq!(
            socket.next().await.unwrap(),
            Some(Message::Close(Some((1001, "done".to_owned()))))
        );
        assert_eq!(socket.next().await.unwrap(), None);
        let recorded = upstream.latest("/ws").unwrap();
        assert_eq!(
            recorded.messages_reached(4).await[0],
            Message::Text("one two".to_owned(), 2)
        );
        assert_eq!(recorded.ended().await, Ending::Finished);
        assert_eq!(
            recorded.protocol.as_deref(),
            (alpn == "h2").then_some("websocket")
        );
    }
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer() {
    let upstream = Upstream::start();
    for alpn in ["http/1.1", "h2"] {
        let mut http = connect(&upstream, &[alpn]).await;
        let refused = http
            .websocket(&upstream.authority(), "/ws?refuse=403", &[])
            .await
            .unwrap();
        assert_eq!(refused.expect_err("a refusal").status, 403);
    }
}
