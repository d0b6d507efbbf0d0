//! Upstreams that speak HTTP/2: streams that are reset and connections that are lost, at every byte.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use agent_vault_testing::upstream::ByteStream;
use agent_vault_testing::{Alpn, Upstream};
use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{OTHER, Outcome, outcome};
use crate::fixture::{HOST, Stage, Way};

const BODY: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

/// A stream that ends its connection after so many bytes, however it is used.
struct Short {
    inner: Box<dyn ByteStream>,
    left: usize,
}

impl AsyncRead for Short {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Short {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.left.min(buf.len());
        if most == 0 && !buf.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, &buf[..most]))?;
        self.left -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What an upstream does with one request: `/SENT/REASON/LENGTH`. `SENT` bytes of the body leave; then the stream is reset
/// with `REASON`, or, where that is `end`, ended. `LENGTH` is announced, or nothing where it is `none`.
async fn answer(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let sent: usize = parts[0].parse().unwrap();
    let mut head = Response::builder().status(200);
    if parts[2] != "none" {
        head = head.header("content-length", parts[2]);
    }
    let mut stream = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let ends = parts[1] == "end";
    stream
        .send_data(Bytes::from_static(&BODY[..sent]), ends)
        .unwrap();
    if !ends {
        let code: u32 = parts[1].parse().unwrap();
        // A reset overtakes what still waits to be written, so the connection's task is given its turn first.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        stream.send_reset(Reason::from(code));
    }
}

async fn serve(stream: Box<dyn ByteStream>, left: usize) {
    let short = Short {
        inner: stream,
        left,
    };
    let Ok(mut connection) = h2::server::handshake(short).await else {
        return;
    };
    let tasks = agent_vault_testing::tasks::Tasks::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        tasks.spawner().spawn(answer(request, respond));
    }
}

/// An upstream each of whose connections ends after as many bytes as `left` says when it begins.
fn upstream(left: &Arc<Mutex<usize>>) -> Upstream {
    let left = Arc::clone(left);
    Upstream::builder()
        .name(HOST)
        .name(OTHER)
        .alpn(Alpn::H2Only)
        .raw(move |stream| {
            let left = *left.lock().unwrap();
            serve(stream, left)
        })
        .start()
}

async fn stage_for(upstream: &Upstream) -> Stage {
    Stage::builder()
        .trusting(upstream)
        .bearer("sk-secret-value")
        .start()
        .await
}

#[tokio::test]
async fn a_connection_that_is_lost_at_any_byte_is_no_end() {
    let left = Arc::new(Mutex::new(usize::MAX));
    let upstream = upstream(&left);
    let stage = stage_for(&upstream).await;
    let path = format!("/{}/end/none", BODY.len());
    for (way, host) in [(Way::H1, OTHER), (Way::H2, HOST)] {
        let authority = upstream.authority_of(host);
        let mut agent = None;
        let mut whole = false;
        let mut bytes = 0;
        let (mut refused, mut broken) = (0, 0);
        // Upwards until an answer is whole: the loop ends by itself, and passes every byte before that.
        while !whole {
            bytes += 1;
            assert!(bytes < 4096, "no answer is ever whole");
            *left.lock().unwrap() = bytes;
            match outcome(&stage, &mut agent, way, &authority, &path).await {
                Outcome::Refused => refused += 1,
                Outcome::Broken => broken += 1,
                Outcome::Whole(body) => {
                    assert_eq!(body, BODY, "{way:?} {host} {bytes}");
                    whole = true;
                }
            }
        }
        assert!(
            refused > 20 && broken > 20,
            "{way:?} {host}: {refused} {broken}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_is_no_end_whatever_the_reason() {
    let left = Arc::new(Mutex::new(usize::MAX));
    let upstream = upstream(&left);
    let stage = stage_for(&upstream).await;
    for (way, host) in [(Way::H1, HOST), (Way::H2, OTHER), (Way::H2, HOST)] {
        let authority = upstream.authority_of(host);
        let mut agent = None;
        for reason in [
            Reason::NO_ERROR,
            Reason::INTERNAL_ERROR,
            Reason::CANCEL,
            Reason::REFUSED_STREAM,
        ] {
            for length in ["none", "26"] {
                for sent in 0..=BODY.len() {
                    let path = format!("/{sent}/{}/{length}", u32::from(reason));
                    let found = outcome(&stage, &mut agent, way, &authority, &path).await;
                    let what = format!("{way:?} {host} {reason:?} {sent} of {length}: {found:?}");
                    match found {
                        Outcome::Refused | Outcome::Broken => {}
                        // As long as it said it would be: nothing is missing.
                        Outcome::Whole(body) => {
                            assert!(length == "26" && body == BODY, "ended as if whole: {what}");
                        }
                    }
                }
            }
        }
        // One stream's end is nobody else's.
        let path = format!("/{}/end/none", BODY.len());
        let found = outcome(&stage, &mut agent, way, &authority, &path).await;
        assert_eq!(found, Outcome::Whole(Bytes::from_static(BODY)));
    }
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_not_whole() {
    let left = Arc::new(Mutex::new(usize::MAX));
    let upstream = upstream(&left);
    let stage = stage_for(&upstream).await;
    for (way, host) in [(Way::H1, OTHER), (Way::H2, HOST)] {
        let authority = upstream.authority_of(host);
        let mut agent = None;
        for (sent, announced) in [(25, 26), (0, 26), (1, 26), (26, 25), (26, 1), (26, 0)] {
            let path = format!("/{sent}/end/{announced}");
            let found = outcome(&stage, &mut agent, way, &authority, &path).await;
            let what = format!("{way:?} {host} {sent} of {announced}: {found:?}");
            match found {
                Outcome::Refused | Outcome::Broken => {}
                Outcome::Whole(body) => {
                    assert!(sent > announced && body == BODY[..announced], "{what}");
                }
            }
        }
    }
}
