//! Messages that are shorter or longer than they say, and peers that close one direction.

use agent_vault_testing::recording::BodyEnd;
use agent_vault_testing::upstream::read_head;
use agent_vault_testing::{Alpn, Upstream, client, within};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::OTHER;
use crate::doors::tunnel;
use crate::fixture::{Agent, Far, HOST, Stage, Way, inside};

async fn stage_for(upstream: &Upstream) -> Stage {
    Stage::builder()
        .trusting(upstream)
        .bearer("sk-secret-value")
        .start()
        .await
}

/// What comes after the announced end is no answer to anybody.
#[tokio::test]
async fn an_upstream_that_sends_more_than_it_said_poisons_nobody() {
    let upstream = Upstream::builder()
        .name(HOST)
        .name(OTHER)
        .alpn(Alpn::H1Only)
        .raw(|mut stream| async move {
            while !read_head(&mut stream).await.is_empty() {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        })
        .start();
    let stage = stage_for(&upstream).await;
    for (way, host) in [(Way::H1, HOST), (Way::H2, OTHER)] {
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(host)).await;
        for _ in 0..8 {
            let answer = agent.ask("GET", "/", &[], client::empty()).await.unwrap();
            // A connection that is found to be no good before anything was answered may cost its request.
            assert!(answer.text() == "ok" || answer.status == 502, "{answer:?}");
        }
    }
}

/// A request of which a part is missing is never passed off as whole.
#[tokio::test]
async fn an_agent_that_leaves_in_the_middle_of_its_body_is_seen_to() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.start();
        let stage = stage_for(&upstream).await;
        let authority = upstream.authority_of(HOST);
        for (name, head, body) in [
            ("length", "content-length: 10", "four"),
            ("chunked", "transfer-encoding: chunked", "4\r\nfour\r\n"),
            ("half a chunk", "transfer-encoding: chunked", "9\r\nfour"),
            (
                "half a last chunk",
                "transfer-encoding: chunked",
                "4\r\nfour\r\n0\r\n",
            ),
        ] {
            let mut socket = tunnel(&stage, &authority).await;
            let path = format!("/echo-stream?{}", name.replace(' ', "-"));
            let request =
                format!("POST {path} HTTP/1.1\r\nhost: {authority}\r\n{head}\r\n\r\n{body}");
            socket.write_all(request.as_bytes()).await.unwrap();
            let seen = within("the request to arrive", async {
                loop {
                    let found = upstream
                        .requests()
                        .into_iter()
                        .find(|seen| seen.target == path);
                    if let Some(found) = found {
                        return found;
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
            socket.shutdown().await.unwrap_or_default();
            drop(socket);
            let ending = within("the end of its body", seen.body_ended()).await;
            assert_ne!(ending, BodyEnd::Complete, "{far:?} {name}");
        }
    }
}

/// What is left over after the announced end is a request of its own, and none that can be read.
#[tokio::test]
async fn an_agent_that_sends_more_than_it_said_hides_nothing() {
    let upstream = Far::H1.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    let mut socket = tunnel(&stage, &authority).await;
    let request = format!(
        "POST /echo HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 3\r\n\r\nabcdefghij\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("the end", socket.read_to_end(&mut answer))
        .await
        .unwrap_or(0);
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.contains("HTTP/1.1 400 "),
        "{text}"
    );
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(upstream.requests()[0].body(), b"abc");
}

/// Over HTTP/2 an announced length binds as well (RFC 9113 section 8.1.1).
#[tokio::test]
async fn an_http2_agent_whose_body_is_not_as_long_as_it_said() {
    let upstream = Far::H1.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(HOST);
    for (announced, sent) in [("10", 4), ("2", 4), ("0", 4)] {
        let socket = inside(&stage, &authority, "h2").await;
        let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
        let tasks = agent_vault_testing::tasks::Tasks::new();
        tasks.spawner().spawn(connection);
        let request = http::Request::post(format!("https://{authority}/echo?{announced}"))
            .header("content-length", announced)
            .body(())
            .unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&b"abcdefghij"[..sent]), true)
            .unwrap();
        let answered = within("an answer or a reset", answer).await;
        assert!(
            answered.as_ref().is_err()
                || answered
                    .as_ref()
                    .is_ok_and(|answer| answer.status().is_client_error()),
            "{announced}: {answered:?}"
        );
        for seen in upstream.requests() {
            let ending = within("the end of its body", seen.body_ended()).await;
            assert_ne!(ending, BodyEnd::Complete, "{announced}: {seen:?}");
        }
    }
}

/// Some clients shut down their side once they have asked; they still want to hear.
#[tokio::test]
async fn a_websocket_that_is_half_closed_still_hears_the_other_half() {
    let upstream = Upstream::builder()
        .name(OTHER)
        .alpn(Alpn::H1Only)
        .plain()
        .raw(|mut stream| async move {
            let head = String::from_utf8_lossy(&read_head(&mut stream).await).into_owned();
            let key = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("sec-websocket-key:"))
                .map(|line| line[18..].trim().to_owned())
                .unwrap();
            let accept = agent_vault_testing::websocket::derive_accept_key(key.as_bytes());
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            // Said only after the other side has said everything.
            stream.write_all(b"\x81\x05heard").await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .start();
    let stage = stage_for(&upstream).await;
    for way in [Way::Clear, Way::ClearH2] {
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(OTHER)).await;
        let mut socket = crate::upgrades::open(&mut agent, "/", &[])
            .await
            .unwrap()
            .unwrap()
            .0;
        socket.send_text("all that I have to say").await.unwrap();
        socket.shutdown().await.unwrap();
        assert_eq!(
            within("an answer", socket.expect_text()).await,
            "heard",
            "{way:?}"
        );
    }
}

/// A client that shuts down its side while it waits is taken for one that left, as most proxies have it: to notice those at
/// once, and to stop their work upstream, is worth more.
#[tokio::test]
async fn an_http1_agent_that_half_closes_while_it_waits_has_left() {
    let upstream = Far::Plain.start();
    let stage = stage_for(&upstream).await;
    let authority = upstream.authority_of(OTHER);
    let mut socket = client::dial(stage.addr).await.unwrap();
    let request = format!(
        "GET http://{authority}/slow HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: {}\r\n\r\n",
        stage.auth()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    upstream.gate("gate").arrived(1).await;
    socket.shutdown().await.unwrap();
    let record = stage.last_logged(1).await;
    assert_eq!((record.status, record.error_code), (499, "client_closed"));
    let mut answer = Vec::new();
    within("the end", socket.read_to_end(&mut answer))
        .await
        .unwrap();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let asked = upstream.wait_for_path("/slow").await;
    within("the exchange upstream to end", asked.ended()).await;
}
