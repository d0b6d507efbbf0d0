//! Upstreams that mean harm: answers without end, in every part that an answer has, and floods of HTTP/2. What is taken of them is
//! bounded, the agent is told or sees the answer break off, and others are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_vault_testing::upstream::{ByteStream, read_head};
use agent_vault_testing::{Alpn, Upstream, client, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    block, frame, string,
};
use super::lanes::{guarded, serves_on};
use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way};

/// Most bytes that any of them gets rid of: what the parsers hold, and what sockets and TLS hold on the way.
const TAKEN: u64 = 24 * 1024 * 1024;
/// More than that.
const OFFERED: u64 = 64 * 1024 * 1024;

/// What is said once, and what is then said over and over.
type Endless = (&'static str, Vec<u8>, Vec<u8>);

fn endless_http1() -> Vec<Endless> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n");
    let text = |text: &str| text.as_bytes().to_vec();
    let long = text(&"a".repeat(8192));
    vec![
        ("a status line", text("HTTP/1.1 200 "), long.clone()),
        ("no HTTP", Vec::new(), long.clone()),
        ("empty lines", Vec::new(), text(&"\r\n".repeat(4096))),
        ("a field", text(&format!("{ok}X: ")), long.clone()),
        ("a field's name", text(ok), long.clone()),
        ("fields", text(ok), text(&"X: y\r\n".repeat(1000))),
        (
            "fields of a kilobyte",
            text(ok),
            text(&format!("X: {}\r\n", "b".repeat(1000))),
        ),
        (
            "folded lines",
            text(&format!("{ok}X: y\r\n")),
            text(&" z\r\n".repeat(1000)),
        ),
        (
            "interim responses",
            Vec::new(),
            text(&"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100)),
        ),
        (
            "interim responses without fields",
            Vec::new(),
            text(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
        ),
        (
            "an interim response",
            text("HTTP/1.1 103 Early Hints\r\n"),
            text(&"X: y\r\n".repeat(1000)),
        ),
        (
            "a chunk's extensions",
            text(&format!("{chunked}3;")),
            long.clone(),
        ),
        (
            "extensions of chunks",
            text(&chunked),
            text(&format!("1;{}\r\nx\r\n", "e".repeat(4000))),
        ),
        (
            "trailers",
            text(&format!("{chunked}0\r\n")),
            text(&"X: y\r\n".repeat(1000)),
        ),
        ("a trailer", text(&format!("{chunked}0\r\nX: ")), long),
    ]
}

fn endless_http2() -> Vec<Endless> {
    let headers = |flags: u8, fields: &[(&[u8], &[u8])]| frame(HEADERS, flags, 1, &block(fields));
    let mut bomb = vec![0x88, 0x40];
    string(&mut bomb, b"x-bomb");
    string(&mut bomb, &[b'b'; 3900]);
    bomb.extend([0x80 | 62; 8000]);
    let begun = headers(END_HEADERS, &[(b":status", b"200")]);
    let hint = headers(END_HEADERS, &[(b":status", b"103"), (b"link", b"</x>")]);
    vec![
        ("a head", headers(0, &[(b":status", b"200")]), {
            frame(CONTINUATION, 0, 1, &block(&[(b"x-y", &[b'c'; 8000])]))
        }),
        (
            "a head of nothing",
            headers(0, &[(b":status", b"200")]),
            frame(CONTINUATION, 0, 1, &[]).repeat(500),
        ),
        (
            "a header bomb",
            Vec::new(),
            frame(HEADERS, END_HEADERS, 1, &bomb),
        ),
        ("interim responses", Vec::new(), hint.repeat(100)),
        (
            "empty DATA",
            begun.clone(),
            frame(DATA, 0, 1, &[]).repeat(500),
        ),
        (
            "DATA of a stream that nobody opened",
            Vec::new(),
            frame(DATA, 0, 101, &[0; 1000]),
        ),
        (
            "padding",
            begun.clone(),
            frame(DATA, 0x8, 1, &[[255].as_slice(), &[0; 255]].concat()).repeat(20),
        ),
        (
            "trailers",
            begun,
            frame(HEADERS, END_HEADERS, 1, &block(&[(b"x", b"y")])).repeat(100),
        ),
        (
            "windows",
            Vec::new(),
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "promises",
            Vec::new(),
            frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        ),
        (
            "resets",
            Vec::new(),
            frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).repeat(500),
        ),
        (
            "goodbyes",
            Vec::new(),
            frame(GOAWAY, 0, 0, &[0; 8]).repeat(500),
        ),
        ("a frame too large", Vec::new(), vec![0xff; 4096]),
    ]
}

/// Says `once`, then `more` until nobody takes it, and counts what was taken.
fn saying(http2: bool, once: Vec<u8>, more: Vec<u8>, taken: Arc<AtomicU64>) -> Upstream {
    let builder = Upstream::builder().name(HOST);
    builder
        .alpn(if http2 { Alpn::H2Only } else { Alpn::H1Only })
        .raw(move |stream| {
            let (once, more, taken) = (once.clone(), more.clone(), Arc::clone(&taken));
            async move {
                let (mut read, mut write) = tokio::io::split(stream);
                if http2 {
                    if !asked(&mut read).await
                        || write.write_all(&frame(SETTINGS, 0, 0, &[])).await.is_err()
                    {
                        return;
                    }
                } else {
                    let mut reading: Box<dyn ByteStream> = Box::new(read.unsplit(write));
                    read_head(&mut reading).await;
                    (read, write) = tokio::io::split(reading);
                }
                // What the proxy says is taken, so that nothing stands still for that.
                let listening = tokio::spawn(async move {
                    let mut room = vec![0; 64 * 1024];
                    while read.read(&mut room).await.is_ok_and(|read| read > 0) {}
                });
                let mut said = 0;
                if write.write_all(&once).await.is_ok() {
                    while said < OFFERED && write.write_all(&more).await.is_ok() {
                        said += more.len() as u64;
                        taken.store(said, Ordering::SeqCst);
                    }
                }
                drop(write);
                listening.abort();
            }
        })
        .start()
}

/// Reads frames until a request was opened.
async fn asked(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let mut preface = [0; 24];
    if stream.read_exact(&mut preface).await.is_err() {
        return false;
    }
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return false;
        }
        if head[3] == HEADERS {
            return true;
        }
    }
}

async fn run(http2: bool, cases: Vec<Endless>) {
    let well = Far::H1.start();
    for (what, once, more) in cases {
        for way in [Way::H1, Way::H2] {
            let taken = Arc::<AtomicU64>::default();
            let upstream = saying(http2, once.clone(), more.clone(), Arc::clone(&taken));
            let secret = agent_vault_testing::Canary::new("sk-endless-");
            let stage = Stage::builder()
                .trusting(&upstream)
                .trusting(&well)
                .bearer(secret.expose())
                .start()
                .await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let outcome = within(what, agent.ask("GET", "/", &[], client::empty())).await;
            // Refused, or cut off in the middle; never as if it were whole.
            if let Ok(answer) = &outcome {
                assert_eq!(answer.status, 502, "{what} {way:?}: {}", answer.received());
            }
            let taken = taken.load(Ordering::SeqCst);
            // What comes on a stream that was given up is read and dropped until its connection is swept.
            let dropped = http2 && ["interim responses", "trailers"].contains(&what);
            assert!(
                dropped || taken < TAKEN,
                "{what} {way:?}: {taken} bytes were taken"
            );
            serves_on(&stage, Way::H1, &well).await;
        }
    }
}

/// Over HTTP/1.1: 256 KiB and 256 fields of a head, what hyper allows of chunks and trailers,
/// `MAX_INTERIM` interim responses. A chunk's size may have zeros without end: it is a body without end, of no bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_end() {
    run(false, endless_http1()).await;
}

/// Over HTTP/2: the same, and what h2 counts of frames that carry nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_answers_without_end() {
    run(true, endless_http2()).await;
}

/// An upstream that asks for answers to PING and SETTINGS without taking them stops its own connection alone; the request on it waits
/// no longer than for any other that does not answer, and leaves when its agent does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_floods_stops_itself() {
    let well = Far::H2.start();
    for flood in [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
    ] {
        let (told, mut standing) = tokio::sync::mpsc::unbounded_channel();
        let upstream = Far::H2
            .builder()
            .raw(move |stream| {
                let (flood, told) = (flood.repeat(500), told.clone());
                async move {
                    let (mut read, mut write) = tokio::io::split(stream);
                    if !asked(&mut read).await {
                        return;
                    }
                    let mut said = 0_u64;
                    let patience = std::time::Duration::from_millis(500);
                    while said < OFFERED
                        && matches!(
                            tokio::time::timeout(patience, write.write_all(&flood)).await,
                            Ok(Ok(()))
                        )
                    {
                        said += flood.len() as u64;
                    }
                    // The test may be over.
                    let _ = told.send(said);
                    std::future::pending::<()>().await;
                }
            })
            .start();
        let (stage, _) = guarded(&upstream).await;
        let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
        let asking = tokio::spawn(async move {
            let request = agent.request("GET", "/", &[], client::empty());
            agent.http.send(request).await.map(drop)
        });
        let said = within("the flood to stand still", standing.recv())
            .await
            .unwrap();
        assert!(said < TAKEN, "{said} bytes were taken");
        asking.abort();
        let (stage, _) = guarded(&well).await;
        serves_on(&stage, Way::H2, &well).await;
    }
}

/// Answers with two framings, or none that can be trusted: what comes is broken off or refused, and never becomes the next answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_with_two_readings() {
    let hidden = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden";
    for (way, far) in PATHS.into_iter().filter(|(_, far)| *far != Far::H2) {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nb\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab",
            "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        ] {
            let upstream = far
                .builder()
                .raw_answer(format!("{answer}{hidden}"))
                .start();
            let (stage, secret) = guarded(&upstream).await;
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            if let Ok(answer) = agent.ask("GET", "/", &[], client::empty()).await {
                let received = answer.received();
                assert_eq!(answer.status, 502, "{way:?} {far:?} {received}");
                assert!(!received.contains("hidden"), "{received}");
                secret.assert_absent("an answer", received);
            }
        }
    }
}
