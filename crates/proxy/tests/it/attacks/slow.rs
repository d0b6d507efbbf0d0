//! Slowloris: what is begun and then comes a byte at a time, so that it is never quite still. The clock of a head runs from its first
//! byte, whatever follows.

use std::time::Duration;

use agent_vault_testing::client::Stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::frames::{CONTINUATION, END_STREAM, HEADERS, HELLO, block, frame};
use super::lanes::{guarded, raw, serves_on};
use crate::fixture::{Door, Far, Stage, Way};

/// Sends `trickle` every three seconds of a time that runs by itself; whether the connection was ended within five minutes.
async fn is_cut(mut stream: Stream, trickle: &[u8]) -> bool {
    let mut room = [0; 4096];
    tokio::time::pause();
    let mut cut = false;
    for _ in 0..100 {
        if stream.write_all(trickle).await.is_err() || stream.flush().await.is_err() {
            cut = true;
            break;
        }
        let wait = Duration::from_secs(3);
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(wait, stream.read(&mut room)).await {
            cut = true;
            break;
        }
    }
    tokio::time::resume();
    cut
}

/// A connection on which `opening` was said.
async fn begun(stage: &Stage, door: Door, way: Way, authority: &str, opening: &[u8]) -> Stream {
    let mut stream = raw(stage, door, way, authority).await;
    stream.write_all(opening).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Request heads of every way, CONNECT, the TLS of the port and of a tunnel, header blocks of HTTP/2.
#[tokio::test]
async fn what_trickles_in_is_cut() {
    let upstream = Far::H1.start();
    let (stage, _) = guarded(&upstream).await;
    let authority = format!("{}:{}", crate::fixture::HOST, upstream.port());
    // A ClientHello that announces more than it says.
    let hello: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let field: &[(&[u8], &[u8])] = &[(b"x", b"y")];
    let mut head_of_h2 = HELLO.to_vec();
    head_of_h2.extend(frame(HEADERS, END_STREAM, 1, &block(field)));
    let more_of_it = frame(CONTINUATION, 0, 1, &block(field));
    for door in [Door::Clear, Door::Tls] {
        for (what, way, opening, trickle) in [
            (
                "a head in absolute-form",
                Way::Absolute,
                &b"GET http://a.example/ HTTP/1.1\r\nX: "[..],
                &b"a"[..],
            ),
            (
                "fields",
                Way::Absolute,
                b"GET http://a.example/ HTTP/1.1\r\n",
                b"X: y\r\n",
            ),
            (
                "CONNECT",
                Way::Absolute,
                b"CONNECT a.example:443 HTTP/1.1\r\nX: ",
                b"a",
            ),
            ("empty lines", Way::Absolute, b"", b"\r\n"),
            (
                "a head in a tunnel",
                Way::H1,
                b"GET / HTTP/1.1\r\nX: ",
                b"a",
            ),
            (
                "a head in a clear tunnel",
                Way::Clear,
                b"GET / HTTP/1.1\r\nX: ",
                b"a",
            ),
            ("TLS in a tunnel", Way::Clear, hello, b"a"),
            ("a header block", Way::H2, &head_of_h2, &more_of_it),
            ("half a preface", Way::H2, b"PRI * HTTP/2.0\r\n", b""),
        ] {
            let stream = begun(&stage, door, way, &authority, opening).await;
            assert!(is_cut(stream, trickle).await, "{what} by {door:?}");
        }
    }
    // The TLS of the port itself.
    let mut stream = stage.dial(Door::Clear).await.unwrap();
    stream.write_all(hello).await.unwrap();
    assert!(is_cut(stream, b"a").await, "TLS with the port");
    serves_on(&stage, Way::H1, &upstream).await;
}
