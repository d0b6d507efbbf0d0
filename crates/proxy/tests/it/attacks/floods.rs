//! Floods of HTTP/2: what costs a peer little and would cost the proxy much. Each ends its own connection at a named limit, or waits for
//! its own reader; the process serves on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_vault_testing::client::Stream;
use agent_vault_testing::{Upstream, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::frames::{
    CALM, CONTINUATION, DATA, END_HEADERS, END_STREAM, Ended, Field, GOAWAY, HEADERS, PING,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, h2, integer, outcome, read_frame,
    string, until_goaway,
};
use super::lanes::{H2_LANES, far, guarded, raw, serves_on};
use crate::fixture::{Door, Far, HOST, Stage, Way};

/// Frames that one may send forever, and each of which costs an answer or a look.
const IDLE_FLOODS: usize = 8;

fn idle_flood(kind: usize) -> (&'static str, Vec<u8>) {
    match kind {
        0 => ("PING", frame(PING, 0, 0, &[7; 8])),
        1 => ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        // INITIAL_WINDOW_SIZE, which changes every stream's window.
        2 => (
            "SETTINGS that change windows",
            frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
        ),
        3 => (
            "SETTINGS that change the table",
            frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0]),
        ),
        4 => ("PRIORITY", frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 16])),
        5 => ("frames of no known kind", frame(0xbe, 0, 0, &[0; 64])),
        6 => ("answers to no PING", frame(PING, 1, 0, &[7; 8])),
        _ => (
            "RST_STREAM of no stream",
            frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        ),
    }
}

/// Nothing is read of such a flood while its answers are not taken, so it holds what sockets hold; and while it lasts others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_whose_answers_nobody_reads_stands_still() {
    /// What sockets and buffers on the way may hold.
    const HELD: u64 = 64 * 1024 * 1024;

    let upstream = far(Way::H2).start();
    let (stage, _) = guarded(&upstream).await;
    let authority = upstream.authority_of(HOST);
    for kind in 0..4 {
        let (what, one) = idle_flood(kind);
        let mut stream = h2(&stage, Door::Clear, Way::H2, &authority).await;
        let many = one.repeat(1000);
        let mut sent = 0_u64;
        // Half a second without room for a byte is taken for standing still; under load it may be less than that.
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_millis(500), stream.write_all(&many)).await
        {
            sent += many.len() as u64;
            assert!(sent < HELD, "{what}: {sent} bytes were taken");
        }
        serves_on(&stage, Way::H2, &upstream).await;
    }
}

/// The same with a peer that reads: however many, the connection is answered or ended, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_whose_answers_are_read_stops_nobody() {
    for (door, way) in H2_LANES {
        let upstream = far(way).start();
        let (stage, _) = guarded(&upstream).await;
        let authority = upstream.authority_of(HOST);
        for kind in 0..IDLE_FLOODS {
            let (what, one) = idle_flood(kind);
            let stream = h2(&stage, door, way, &authority).await;
            let (mut read, mut write) = tokio::io::split(stream);
            let reading = tokio::spawn(async move {
                let mut room = vec![0; 64 * 1024];
                while read.read(&mut room).await.is_ok_and(|read| read > 0) {}
            });
            let many = one.repeat(100);
            for _ in 0..20 {
                if write.write_all(&many).await.is_err() {
                    break;
                }
            }
            serves_on(&stage, way, &upstream).await;
            // What is asked behind it is answered, unless the connection is gone.
            let last = request(way, &authority, "GET", "/well");
            let _ = write
                .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 101, &last))
                .await;
            let _ = write.shutdown().await;
            within(what, reading).await.unwrap();
        }
    }
}

fn request(way: Way, authority: &str, method: &str, path: &str) -> Vec<u8> {
    let scheme = if way == Way::H2 { "https" } else { "http" };
    let fields: [Field<'_>; 4] = [
        (b":method", method.as_bytes()),
        (b":scheme", scheme.as_bytes()),
        (b":path", path.as_bytes()),
        (b":authority", authority.as_bytes()),
    ];
    block(&fields)
}

/// Ways to make the server reset a stream that its handler goes on with (CVE-2025-8671).
const MADE: [&str; 7] = [
    "a window increment of zero",
    "a window over its bound",
    "more data than announced",
    "data after the end",
    "a head after the end",
    "a malformed head",
    "trailers that do not end it",
];

fn made(what: &str, way: Way, authority: &str, id: u32) -> Vec<u8> {
    let open = request(way, authority, "POST", "/slow");
    let get = request(way, authority, "GET", "/slow");
    let mut bytes = Vec::new();
    match what {
        "a window increment of zero" => {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &get));
            bytes.extend(frame(WINDOW_UPDATE, 0, id, &[0; 4]));
        }
        "a window over its bound" => {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &get));
            bytes.extend(frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]));
        }
        "more data than announced" => {
            let mut head = open;
            head.extend(block(&[(b"content-length", b"1")]));
            bytes.extend(frame(HEADERS, END_HEADERS, id, &head));
            bytes.extend(frame(DATA, 0, id, b"ab"));
        }
        "data after the end" => {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &get));
            bytes.extend(frame(DATA, END_STREAM, id, b"a"));
        }
        "a head after the end" => {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &get));
            bytes.extend(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                id,
                &block(&[(b"x", b"y")]),
            ));
        }
        "a malformed head" => {
            let mut head = get;
            head.extend(block(&[(b"connection", b"close")]));
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &head));
        }
        _ => {
            bytes.extend(frame(HEADERS, END_HEADERS, id, &open));
            bytes.extend(frame(HEADERS, END_HEADERS, id, &block(&[(b"x", b"y")])));
        }
    }
    bytes
}

/// Whichever way it is made to, the server resets no more streams of a connection than `MAX_LOCAL_RESETS`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_made_to_reset_gives_up_the_connection() {
    let upstream = far(Way::H2).start();
    // The flooded one may well end the connections to it.
    let other = far(Way::H2).start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .trusting(&other)
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    for what in MADE {
        let stream = h2(&stage, Door::Clear, Way::H2, &authority).await;
        let to = authority.clone();
        let frames = (0..20_000_u32).map(move |index| made(what, Way::H2, &to, 2 * index + 1));
        let (code, _) = within(what, until_goaway(stream, frames)).await;
        // At once where the rules of HTTP/2 say so, else at the limit.
        assert!([CALM, 1, 3, 5].contains(&code), "{what}: {code}");
        serves_on(&stage, Way::H2, &other).await;
    }
}

/// Header blocks that are small and mean much, or never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_bombs_are_bounded() {
    for (door, way) in H2_LANES {
        let upstream = far(way).start();
        let (stage, secret) = guarded(&upstream).await;
        let authority = upstream.authority_of(HOST);
        let whole = |block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 1, block);

        // One large field, put into the table and named over and over (the HPACK bomb): 4 KB become 16 MB.
        let mut bomb = request(way, &authority, "GET", "/bomb");
        bomb.push(0x40);
        string(&mut bomb, b"x-bomb");
        string(&mut bomb, &[b'b'; 3900]);
        bomb.extend([0x80 | 62; 4000]);
        // The same by the name of a field with no value.
        let mut names = request(way, &authority, "GET", "/bomb");
        names.push(0x40);
        string(&mut names, b"x");
        string(&mut names, b"");
        names.extend([0x80 | 62; 8000]);
        // More fields than any request has, cookies split into crumbs.
        let mut crumbs = request(way, &authority, "GET", "/bomb");
        crumbs.push(0x40);
        string(&mut crumbs, b"cookie");
        string(&mut crumbs, b"a=b");
        crumbs.extend([0x80 | 62; 8000]);
        // A string that says to be of two gigabytes, an integer without end, an index that nobody filled, Huffman that ends nowhere.
        let mut long = request(way, &authority, "GET", "/bomb");
        long.push(0);
        integer(&mut long, 0, 7, 1 << 31);
        let mut endless = request(way, &authority, "GET", "/bomb");
        endless.push(0x7f);
        endless.extend([0xff; 64]);
        let mut unfilled = request(way, &authority, "GET", "/bomb");
        unfilled.push(0x80 | 126);
        let mut huffman = request(way, &authority, "GET", "/bomb");
        huffman.extend([0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]);
        // A table that is to grow beyond what was allowed.
        let mut grown = vec![0x3f, 0xff, 0xff, 0xff, 0x07];
        grown.extend(request(way, &authority, "GET", "/bomb"));
        for (what, block) in [
            ("bomb", bomb),
            ("names", names),
            ("crumbs", crumbs),
            ("long", long),
            ("endless", endless),
            ("unfilled", unfilled),
            ("huffman", huffman),
            ("grown", grown),
        ] {
            let mut stream = h2(&stage, door, way, &authority).await;
            let _ = stream.write_all(&whole(&block)).await;
            let _ = stream.flush().await;
            let ended = outcome(&mut stream, 1).await;
            assert_ne!(ended, Ended::Answered(200), "{what} {way:?} by {door:?}");
            assert!(upstream.latest("/bomb").is_none(), "{what}");
            serves_on(&stage, way, &upstream).await;
        }
        // A head that goes on over frames that are full, until it is more than a head may be.
        let start = frame(
            HEADERS,
            END_STREAM,
            1,
            &request(way, &authority, "GET", "/bomb"),
        );
        let more = |index: usize| {
            let mut field = vec![0];
            string(&mut field, format!("x-{index}").as_bytes());
            string(&mut field, &[b'c'; 16_000]);
            frame(CONTINUATION, 0, 1, &field)
        };
        let frames = std::iter::once(start).chain((0..2000).map(more));
        let stream = h2(&stage, door, way, &authority).await;
        let ended = ends(stream, frames).await;
        assert!(
            ended < 8 * 1024 * 1024,
            "{ended} bytes of one head were read"
        );
        assert!(upstream.latest("/bomb").is_none());
        secret.assert_absent("the log", format!("{:?}", stage.logged(1).await));
        serves_on(&stage, way, &upstream).await;
    }
}

/// Writes until the peer has closed, and says how much that took.
async fn ends(stream: Stream, frames: impl Iterator<Item = Vec<u8>>) -> usize {
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut room = vec![0; 64 * 1024];
        while read.read(&mut room).await.is_ok_and(|read| read > 0) {}
    });
    let mut written = 0;
    for frame in frames {
        if reading.is_finished() || write.write_all(&frame).await.is_err() {
            break;
        }
        written += frame.len();
    }
    within("the end of the connection", reading).await.unwrap();
    written
}

/// A peer that opens no window for what it asks holds what the windows and buffers of its streams hold, and no more is taken from the
/// upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_stay_with_their_upstream() {
    const STREAMS: u32 = 20;
    /// Per stream: what we and the kernel hold on both sides, with room.
    const EACH: u64 = 8 * 1024 * 1024;

    let taken = Arc::new(AtomicU64::new(0));
    let (stands, stood) = tokio::sync::mpsc::unbounded_channel();
    let upstream = endless(Arc::clone(&taken), stands);
    let (stage, _) = guarded(&upstream).await;
    let authority = upstream.authority_of(HOST);
    let mut stood = stood;
    let mut stream = raw(&stage, Door::Clear, Way::H2, &authority).await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    // INITIAL_WINDOW_SIZE of nothing.
    stream
        .write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]))
        .await
        .unwrap();
    for index in 0..STREAMS {
        let head = request(Way::H2, &authority, "GET", "/endless");
        let flags = END_HEADERS | END_STREAM;
        stream
            .write_all(&frame(HEADERS, flags, 2 * index + 1, &head))
            .await
            .unwrap();
    }
    stream.flush().await.unwrap();
    for _ in 0..STREAMS {
        within("an upstream that can write no more", stood.recv())
            .await
            .unwrap();
    }
    let taken = taken.load(Ordering::SeqCst);
    assert!(
        taken < u64::from(STREAMS) * EACH,
        "{taken} bytes were taken"
    );
    let other = Far::H2.start();
    let (stage, _) = guarded(&other).await;
    serves_on(&stage, Way::H2, &other).await;
}

/// Answers with a body without end, counts what is taken of it, and tells when nothing has been for a while.
fn endless(taken: Arc<AtomicU64>, stands: tokio::sync::mpsc::UnboundedSender<()>) -> Upstream {
    Far::H1
        .builder()
        .raw(move |mut stream| {
            let (taken, stands) = (Arc::clone(&taken), stands.clone());
            async move {
                agent_vault_testing::upstream::read_head(&mut stream).await;
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
                if stream.write_all(head).await.is_err() {
                    return;
                }
                let chunk = [b'e'; 64 * 1024];
                loop {
                    let writing = stream.write(&chunk);
                    match tokio::time::timeout(Duration::from_millis(500), writing).await {
                        Ok(Ok(written)) => taken.fetch_add(written as u64, Ordering::SeqCst),
                        Ok(Err(_)) => return,
                        Err(_) => break,
                    };
                }
                // The test may be over.
                let _ = stands.send(());
                std::future::pending::<()>().await;
            }
        })
        .start()
}

/// A stream of resets reaches no upstream: see `abuse` for those in the same breath. Here each is a real exchange first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_after_the_head_are_bounded_too() {
    let upstream = far(Way::H2).start();
    let other = far(Way::H2).start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .trusting(&other)
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    let mut stream = h2(&stage, Door::Clear, Way::H2, &authority).await;
    // One at a time, with an answer to a PING in between, so that each was accepted: no rapid reset, only many.
    for index in 0..200_u32 {
        let id = 2 * index + 1;
        let head = request(Way::H2, &authority, "GET", "/slow");
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, id, &head);
        bytes.extend(frame(PING, 0, 0, &[1; 8]));
        if stream.write_all(&bytes).await.is_err() || !pinged(&mut stream).await {
            break;
        }
        let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
        if stream.write_all(&reset).await.is_err() {
            break;
        }
    }
    serves_on(&stage, Way::H2, &other).await;
}

async fn pinged(stream: &mut Stream) -> bool {
    within("an answer to a PING", async {
        loop {
            match read_frame(stream).await {
                Some((PING, ..)) => return true,
                Some((GOAWAY, ..)) | None => return false,
                Some(_) => {}
            }
        }
    })
    .await
}
