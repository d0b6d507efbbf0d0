//! WebSockets whose upstream is lost in the middle of a frame or a message.

use agent_vault_testing::upstream::read_head;
use agent_vault_testing::websocket::{Message, derive_accept_key};
use agent_vault_testing::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::OTHER;
use super::cutter::End;
use crate::fixture::{Agent, HOST, Stage, Way};
use crate::upgrades::open;

/// Frames as a server sends them: a text, a long one, one in two fragments with a ping between, and a close.
fn frames() -> (Vec<u8>, Vec<Message>) {
    let long = "x".repeat(130);
    let mut bytes = Vec::new();
    bytes.extend(b"\x81\x05hello");
    bytes.extend(b"\x81\x7e\x00\x82");
    bytes.extend(long.as_bytes());
    bytes.extend(b"\x01\x03one\x89\x01p\x80\x04 two");
    bytes.extend(b"\x88\x02\x03\xe8");
    let messages = vec![
        Message::Text("hello".into(), 1),
        Message::Text(long, 1),
        Message::Text("one two".into(), 2),
    ];
    (bytes, messages)
}

#[tokio::test]
async fn a_websocket_that_is_cut_at_any_byte_has_not_been_closed() {
    let (bytes, messages) = frames();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = agent_vault_testing::tasks::Tasks::new();
    let spawner = tasks.spawner();
    let script = bytes.clone();
    tasks.spawner().spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let script = script.clone();
            spawner.spawn(async move {
                let head = String::from_utf8_lossy(&read_head(&mut socket).await).into_owned();
                let key = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("sec-websocket-key: ").map(|_| line[19..].to_owned()))
                    .unwrap();
                let path = head.split(' ').nth(1).unwrap();
                let (sent, end) = path.trim_start_matches('/').split_once('/').unwrap();
                let sent: usize = sent.parse().unwrap();
                let accept = derive_accept_key(key.trim().as_bytes());
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
                );
                socket.write_all(answer.as_bytes()).await.unwrap_or_default();
                socket.write_all(&script[..sent]).await.unwrap_or_default();
                if end == End::Reset.word() {
                    socket.set_zero_linger().unwrap();
                    return;
                }
                socket.shutdown().await.unwrap_or_default();
                let mut rest = [0; 256];
                while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    let stage = Stage::builder().bearer("sk-secret-value").start().await;
    for (way, host) in [
        (Way::Clear, HOST),
        (Way::ClearH2, HOST),
        (Way::Clear, OTHER),
        (Way::ClearH2, OTHER),
    ] {
        let authority = format!("{host}:{port}");
        for end in [End::Fin, End::Reset] {
            for sent in 0..=bytes.len() {
                let what = format!("{way:?} {host} {sent} bytes, {end:?}");
                let mut agent = Agent::open(&stage, way, &authority).await;
                let opened = open(&mut agent, &format!("/{sent}/{}", end.word()), &[]).await;
                let mut socket = match opened {
                    Ok(Ok((socket, _))) => socket,
                    // A reset overtakes even the handshake's answer.
                    Ok(Err(_)) | Err(_) => {
                        assert_eq!(end, End::Reset, "{what}");
                        continue;
                    }
                };
                let mut got = Vec::new();
                let closed = loop {
                    match within("the end of a WebSocket", socket.next()).await {
                        Ok(Some(Message::Ping(_) | Message::Pong(_))) => {}
                        Ok(Some(Message::Close(said))) => break said.map(|(code, _)| code),
                        Ok(Some(message)) => got.push(message),
                        Ok(None) | Err(_) => break None,
                    }
                };
                assert!(messages.starts_with(&got), "{what}: {got:?}");
                if sent == bytes.len() {
                    // What the reset overtakes is nobody's fault.
                    assert!(
                        end == End::Reset || (closed == Some(1000) && got == messages),
                        "{what}: {closed:?} {got:?}"
                    );
                } else {
                    assert_ne!(closed, Some(1000), "ended as if whole: {what}");
                    if end == End::Fin {
                        let whole = [7, 141, 155].iter().filter(|at| sent >= **at).count();
                        assert_eq!(got.len(), whole, "{what}: {got:?}");
                    }
                }
            }
        }
    }
}
