//! Interim responses: what an upstream says before its answer reaches the agent, whatever version each side speaks.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use agent_vault_testing::upstream::{ByteStream, read_head};
use agent_vault_testing::{Upstream, within};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Far, HOST, Stage, inside};

const SECRET: &str = "sk-hinted-0123456789abcdef";

/// Says 102 and 103, with the credential that it was given in the latter, and then its answer.
fn hinting(far: Far) -> Upstream {
    match far {
        Far::H1 => far
            .builder()
            .raw(|mut stream: Box<dyn ByteStream>| async move {
                read_head(&mut stream).await;
                let answer = format!(
                    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </{SECRET}.css>\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Agent-Vault-Proxy-Error: true\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Until the proxy leaves.
                stream.read_u8().await.unwrap_or_default();
            })
            .start(),
        Far::H2 => far
            .builder()
            .raw(|stream| async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut hint = Response::new(());
                    *hint.status_mut() = StatusCode::PROCESSING;
                    respond.send_informational(hint).unwrap();
                    let mut hint = Response::new(());
                    *hint.status_mut() = StatusCode::EARLY_HINTS;
                    let headers = hint.headers_mut();
                    headers.insert("link", format!("</{SECRET}.css>").parse().unwrap());
                    headers.insert("x-agent-vault-proxy-error", "true".parse().unwrap());
                    respond.send_informational(hint).unwrap();
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"whole"), true).unwrap();
                }
            })
            .start(),
        Far::Plain => unreachable!("not in this table"),
    }
}

/// What an HTTP/1.1 agent reads, as lines, until the answer is whole.
async fn heard_over_http1(stage: &Stage, authority: &str) -> Vec<String> {
    let mut stream = inside(stage, authority, "http/1.1").await;
    let head = format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("whole") {
        let read = within("the answer", stream.read_buf(&mut got))
            .await
            .unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&got));
    }
    String::from_utf8(got)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("date") && !line.is_empty())
        .map(|line| line.replace("HTTP/1.1 ", "").to_lowercase())
        .collect()
}

/// The same of an HTTP/2 agent.
async fn heard_over_http2(stage: &Stage, authority: &str) -> Vec<String> {
    let stream = inside(stage, authority, "h2").await;
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(format!("https://{authority}/"))
        .body(())
        .unwrap();
    let (mut response, _) = sender.send_request(request, true).unwrap();
    let mut lines = Vec::new();
    let answer = within(
        "the answer",
        poll_fn(|cx| {
            while let Poll::Ready(Some(hint)) = response.poll_informational(cx) {
                let hint = hint.unwrap();
                lines.push(hint.status().to_string().to_lowercase());
                for (name, value) in hint.headers() {
                    lines.push(format!("{name}: {}", value.to_str().unwrap()));
                }
            }
            Pin::new(&mut response).poll(cx)
        }),
    )
    .await
    .unwrap();
    lines.push(answer.status().to_string().to_lowercase());
    let mut body = answer.into_body();
    let data = within("the body", body.data()).await.unwrap().unwrap();
    lines.push(String::from_utf8(data.to_vec()).unwrap());
    driver.abort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_reach_the_agent_over_either_version_on_either_side() {
    for far in [Far::H1, Far::H2] {
        for http2 in [false, true] {
            let upstream = hinting(far);
            let stage = Stage::builder()
                .trusting(&upstream)
                .bearer(SECRET)
                .start()
                .await;
            let authority = upstream.authority_of(HOST);
            let heard = if http2 {
                heard_over_http2(&stage, &authority).await
            } else {
                heard_over_http1(&stage, &authority).await
            };
            let case = format!("{far:?}, agent over h2: {http2}: {heard:?}");
            assert!(!heard.concat().contains(SECRET), "{case}");
            assert!(!heard.concat().contains("x-hop"), "{case}");
            assert!(!heard.concat().contains("x-agent-vault"), "{case}");
            let order: Vec<&str> = heard
                .iter()
                .map(String::as_str)
                .filter(|line| {
                    line.contains(' ') && line.as_bytes()[0].is_ascii_digit() || *line == "whole"
                })
                .collect();
            assert_eq!(
                order,
                ["102 processing", "103 early hints", "200 ok", "whole"],
                "{case}"
            );
            let link = heard
                .iter()
                .find(|line| line.starts_with("link: "))
                .unwrap();
            assert!(link.ends_with(".css>"), "{case}");
        }
    }
}

/// More hints than anybody needs cost the agent's connection nothing, and the answer still comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_hints_is_cut_and_the_answer_comes() {
    let upstream = Far::H2
        .builder()
        .raw(|stream| async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                for _ in 0..2_000 {
                    let mut hint = Response::new(());
                    *hint.status_mut() = StatusCode::EARLY_HINTS;
                    hint.headers_mut()
                        .insert("link", format!("</{}>", "a".repeat(500)).parse().unwrap());
                    respond.send_informational(hint).unwrap();
                }
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"whole"), true).unwrap();
            }
        })
        .start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    for http2 in [false, true] {
        let heard = if http2 {
            heard_over_http2(&stage, &authority).await
        } else {
            heard_over_http1(&stage, &authority).await
        };
        assert!(heard.iter().any(|line| line == "whole"));
        let hints = heard.iter().filter(|line| line.starts_with("103")).count();
        assert!(hints < 2_000, "{hints}");
    }
}

/// An agent that waits for `100 Continue` gets it over HTTP/2 too, and only then is its body asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_agent_that_waits_for_100_continue_is_told() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let authority = upstream.authority_of(HOST);
        let stream = inside(&stage, &authority, "h2").await;
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = Request::post(format!("https://{authority}/echo"))
            .header("expect", "100-continue")
            .body(())
            .unwrap();
        let (mut response, mut body) = sender.send_request(request, false).unwrap();
        let told = within(
            "100 Continue",
            poll_fn(|cx| response.poll_informational(cx)),
        )
        .await
        .unwrap()
        .unwrap();
        assert_eq!(told.status(), StatusCode::CONTINUE, "{far:?}");
        body.send_data(Bytes::from_static(b"whole"), true).unwrap();
        let answer = within("the answer", response).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(upstream.latest("/echo").unwrap().body_text(), "whole");
        driver.abort();
    }
}
