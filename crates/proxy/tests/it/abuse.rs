//! Clients that abuse the protocol: HTTP/2 frames by hand (CVE-2023-44487, CVE-2024-27316, CVE-2025-8671 and kin), slow and
//! oversized heads. Each loses its own connection and harms nobody else.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_testing::client::{self, Stream};
use agent_vault_testing::{Upstream, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Agent, Far, HOST, Stage, Way, inside};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:method GET`, `:scheme https`, `:path /slow`, `:authority`, as HPACK literals without indexing.
fn head(method: &str, authority: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", method),
        (":scheme", "https"),
        (":path", path),
        (":authority", authority),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

async fn h2(stage: &Stage, authority: &str) -> Stream {
    let mut stream = inside(stage, authority, "h2").await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Writes `frames` until the proxy has had enough, and returns the GOAWAY that it said.
pub(crate) async fn until_goaway(
    stream: Stream,
    frames: impl Iterator<Item = Vec<u8>>,
) -> (u32, String) {
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        loop {
            let mut head = [0; 9];
            if read.read_exact(&mut head).await.is_err() {
                return None;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if read.read_exact(&mut payload).await.is_err() {
                return None;
            }
            if head[3] == GOAWAY {
                let code = u32::from_be_bytes(payload[4..8].try_into().unwrap());
                if code != 0 {
                    return Some((code, String::from_utf8_lossy(&payload[8..]).into_owned()));
                }
            }
        }
    });
    for frame in frames {
        if reading.is_finished() || write.write_all(&frame).await.is_err() {
            break;
        }
    }
    within("GOAWAY", reading)
        .await
        .unwrap()
        .expect("a GOAWAY before the end")
}

async fn still_well(stage: &Stage, upstream: &Upstream) {
    let mut agent = Agent::open(stage, Way::H2, &upstream.authority_of(HOST)).await;
    assert_eq!(agent.get("/", &[]).await.status, 200);
}

/// ENHANCE_YOUR_CALM (RFC 9113 section 7).
pub(crate) const CALM: u32 = 11;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_floods_end_their_own_connection() {
    let upstream = Far::H2.start();
    // The flooded one may well end the connections to it; that is between it and the vault.
    let other = Far::H2.start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .trusting(&other)
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    let open =
        |stream: u32, flags: u8| frame(HEADERS, flags, stream, &head("GET", &authority, "/slow"));
    let odd = |index: u32| 2 * index + 1;

    let rapid_reset = (0..20_000).map(|i| {
        let mut both = open(odd(i), 0x5);
        both.extend(frame(RST_STREAM, 0, odd(i), &8_u32.to_be_bytes()));
        both
    });
    let continuations = (0..10_000).map(|i| {
        if i == 0 {
            frame(HEADERS, 0x1, 1, &head("GET", &authority, "/"))
        } else {
            frame(CONTINUATION, 0, 1, b"")
        }
    });
    let empty_data = (0..200_000).map(|i| {
        if i == 0 {
            frame(HEADERS, 0x4, 1, &head("POST", &authority, "/slow"))
        } else {
            frame(DATA, 0, 1, b"")
        }
    });
    let (code, _) = until_goaway(h2(&stage, &authority).await, rapid_reset).await;
    assert_eq!(code, CALM, "rapid reset");
    still_well(&stage, &other).await;
    let (code, _) = until_goaway(h2(&stage, &authority).await, continuations).await;
    assert_eq!(code, CALM, "continuations");
    still_well(&stage, &other).await;
    let (code, _) = until_goaway(h2(&stage, &authority).await, empty_data).await;
    assert_eq!(code, CALM, "empty data");
    still_well(&stage, &other).await;
    let too_many = (0..4_000).map(|i| open(odd(i), 0x5));
    let (code, _) = until_goaway(h2(&stage, &authority).await, too_many).await;
    assert_eq!(code, CALM, "streams beyond the limit");
    still_well(&stage, &other).await;
}

/// A client that opens 400 streams before it has seen our SETTINGS keeps its connection: those beyond the limit are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eager_client_keeps_its_connection() {
    let upstream = Far::H2.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut stream = h2(&stage, &authority).await;
    for index in 0..400 {
        let request = head("GET", &authority, "/slow?gate=eager");
        stream
            .write_all(&frame(HEADERS, 0x5, 2 * index + 1, &request))
            .await
            .unwrap();
    }
    stream.flush().await.unwrap();
    upstream.gate("eager").open();
    let mut answered = 0;
    let mut refused = 0;
    within("400 ends", async {
        while answered + refused < 400 {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            match head[3] {
                GOAWAY => panic!("GOAWAY {payload:?}"),
                HEADERS => answered += 1,
                RST_STREAM => refused += 1,
                _ => {}
            }
        }
    })
    .await;
    assert!(answered >= 100, "{answered} answered, {refused} refused");
}

/// Many uploads are refused while they arrive. What of them was on its way does not cost the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_uploads_cost_no_connection() {
    const UPLOADS: u32 = 120;
    let upstream = Far::H2.start();
    let stage = Stage::builder()
        .trusting(&upstream)
        .deny_unmatched()
        .start()
        .await;
    let authority = upstream.authority_of(HOST);
    let mut stream = h2(&stage, &authority).await;
    let room = frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes());
    stream.write_all(&room).await.unwrap();
    for index in 0..UPLOADS {
        let request = head("POST", &authority, "/");
        let upload = frame(HEADERS, 0x4, 2 * index + 1, &request);
        stream.write_all(&upload).await.unwrap();
    }
    stream.flush().await.unwrap();
    ends(&mut stream, RST_STREAM, UPLOADS).await;
    for _ in 0..20 {
        for index in 0..UPLOADS {
            let late = frame(DATA, 0, 2 * index + 1, b"late");
            stream.write_all(&late).await.unwrap();
        }
        stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
        stream.flush().await.unwrap();
        ends(&mut stream, PING, 1).await;
    }
    let request = head("GET", &authority, "/");
    let last = frame(HEADERS, 0x5, 2 * UPLOADS + 1, &request);
    stream.write_all(&last).await.unwrap();
    stream.flush().await.unwrap();
    ends(&mut stream, HEADERS, 1).await;
}

/// Reads `count` frames of this kind.
async fn ends(stream: &mut Stream, kind: u8, count: u32) {
    let mut seen = 0;
    within("frames", async {
        while seen < count {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(head[3], GOAWAY, "{payload:?}");
            seen += u32::from(head[3] == kind);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_h2_head_that_is_too_large() {
    let upstream = Far::H2.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    let large = "a".repeat(60_000);
    assert_eq!(agent.get("/", &[("x-large", &large)]).await.status, 200);
    // Over our bound the answer says so; over four times that, h2 answers by itself, without a body.
    for (size, has_words) in [(70_000, true), (250_000, true), (270_000, false)] {
        let larger = "a".repeat(size);
        let answer = agent
            .ask(
                "GET",
                "/too-large",
                &[("x-large", &larger)],
                client::empty(),
            )
            .await;
        match answer {
            Ok(answer) => {
                assert_eq!(answer.status, 431);
                assert_eq!(answer.text().contains("head_too_large"), has_words);
            }
            Err(error) => assert!(!has_words, "{error}"),
        }
    }
    assert!(upstream.latest("/too-large").is_none());
    assert_eq!(agent.get("/", &[]).await.status, 200);
}

/// Sets a stage whose time the test moves. The proxy runs on the test's own thread, so that its timers stand still too.
mod paused {
    use super::*;

    /// Reads to the end of the stream while virtual time runs on; returns how much of it has passed since `start`.
    /// Virtual time does not wait for bytes under way, so this is an upper bound.
    async fn closed_after(
        start: tokio::time::Instant,
        stream: &mut (impl tokio::io::AsyncRead + Unpin),
    ) -> Duration {
        let mut buffer = [0; 1024];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return start.elapsed(),
                Ok(_) => {}
            }
        }
    }

    #[tokio::test]
    async fn slow_heads_and_idle_connections_are_closed() {
        let stage = Stage::builder().start().await;
        let mut slow = client::dial(stage.addr).await.unwrap();
        slow.write_all(b"GET http://a.example/ HTTP/1.1\r\nHo")
            .await
            .unwrap();
        let mut idle = client::dial(stage.addr).await.unwrap();
        let mut kept = client::dial(stage.addr).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let (answer, _) =
            crate::doors::read_until(&mut kept, |text| text.contains("\"fault\"")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "));
        let mut tunnelled = client::dial(stage.addr).await.unwrap();
        let connect = format!(
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: {}\r\n\r\n",
            stage.auth()
        );
        tunnelled.write_all(connect.as_bytes()).await.unwrap();
        let (answer, _) =
            crate::doors::read_until(&mut tunnelled, |text| text.contains("\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "));

        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let (head, hello, idle, kept) = tokio::join!(
            closed_after(start, &mut slow),
            closed_after(start, &mut tunnelled),
            closed_after(start, &mut idle),
            closed_after(start, &mut kept)
        );
        assert!(head.as_secs() >= 9, "{head:?}");
        assert!(hello.as_secs() >= 9, "{hello:?}");
        assert!(idle.as_secs() >= 9, "{idle:?}");
        assert!(kept.as_secs() >= 110, "{kept:?}");
        assert!(
            head < kept && hello < kept && idle < kept,
            "{head:?} {hello:?} {idle:?}"
        );
    }

    /// An h2 connection without requests lives as long as one over HTTP/1.1: pings and window updates are no heads.
    #[tokio::test]
    async fn an_idle_h2_connection_is_not_taken_for_a_slow_head() {
        let upstream = Far::H2.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(45)).await;
        tokio::time::resume();
        assert_eq!(agent.get("/", &[]).await.status, 200);
    }

    /// Half an hour without a byte ends a stream, visibly; so does a client that takes nothing for as long.
    #[tokio::test]
    async fn streams_that_stand_still() {
        let upstream = Far::H1.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let response = agent
                .send("GET", "/stall", &[], client::empty())
                .await
                .unwrap();
            let mut body = response.into_body();
            http_body_util::BodyExt::frame(&mut body)
                .await
                .unwrap()
                .unwrap();
            tokio::time::pause();
            let start = tokio::time::Instant::now();
            let rest = http_body_util::BodyExt::collect(body).await;
            let waited = start.elapsed();
            tokio::time::resume();
            assert!(rest.is_err(), "{way:?}");
            assert!(waited.as_secs() >= 29 * 60, "{way:?} {waited:?}");
        }
        for record in stage.logged(2).await {
            assert_eq!(record.error_code, "upstream_stalled");
        }

        let mut stream = crate::doors::tunnel(&stage, &upstream.authority_of(HOST)).await;
        let head = format!(
            "GET /bytes/200000000 HTTP/1.1\r\nHost: {}\r\n\r\n",
            upstream.authority_of(HOST)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let _ = crate::doors::read_until(&mut stream, |text| text.contains("\r\n\r\n")).await;
        tokio::time::pause();
        let record = loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            stage.journal.flush().await;
            let records = stage.logged(2).await;
            if let Some(record) = records.get(2) {
                break record.clone();
            }
        };
        tokio::time::resume();
        assert_eq!(record.error_code, "client_closed");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 100_000_000);
    }

    /// A body that is held for a service to look into is not waited for as long: it takes memory.
    #[tokio::test]
    async fn c9_a_held_upload_that_stops_is_given_up() {
        let upstream = Far::H1.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .credential("KEY", "value-of-key")
            .service(
                serde_json::json!({"name": "body", "host": HOST, "require_tls": false,
                "auth": {"type": "passthrough"},
                "substitutions": [{"key": "KEY", "placeholder": "__key__", "in": ["body"]}]}),
            )
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        let mut stream = crate::doors::tunnel(&stage, &authority).await;
        let head = format!("POST / HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 9\r\n\r\nsome");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::pause();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).await;
        tokio::time::resume();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{ended:?} {answer}");
        let record = stage.last_logged(1).await;
        assert_eq!(
            (record.status, record.error_code),
            (408, "request_read_error")
        );
        assert!(upstream.requests().is_empty());
    }

    /// The agent is told after five minutes, over either version.
    #[tokio::test]
    async fn an_upstream_that_never_answers() {
        let upstream = Far::H1.start();
        let stage = Stage::builder().trusting(&upstream).start().await;
        let stage = Arc::new(stage);
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
            let response = tokio::spawn(async move {
                let request = agent.request("GET", "/slow", &[], client::empty());
                let response = agent.http.send(request).await.unwrap();
                client::Answer::read(response).await.unwrap()
            });
            upstream
                .gate("gate")
                .arrived(if way == Way::H1 { 1 } else { 2 })
                .await;
            tokio::time::pause();
            let answer = response.await.unwrap();
            tokio::time::resume();
            assert_eq!(answer.status, 502, "{way:?} {}", answer.received());
            assert_eq!(crate::fixture::refusal(&answer)["error"], "upstream_error");
        }
        upstream.gate("gate").open();
    }
}

/// One token does not take every tunnel. The others' are not touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s16_tunnels_of_one_principal_are_bounded() {
    let stage = Stage::builder().start().await;
    let principal = stage
        .broker
        .authenticate(&stage.token, None, stage.clock.now())
        .unwrap();
    let mut places: Vec<_> = std::iter::from_fn(|| principal.limits().tunnel()).collect();
    assert_eq!(places.len(), 2048);
    let authority = format!("{HOST}:443");
    let refused = Agent::with_auth(&stage, Way::H1, &authority, &stage.auth()).await;
    assert!(refused.is_err());
    let record = stage.last_logged(1).await;
    assert_eq!((record.status, record.error_code), (429, "tunnels_scope"));

    let other = stage.session(stage.vault.id);
    let other = crate::fixture::basic(&format!("{}:", other.expose()));
    Agent::with_auth(&stage, Way::H1, &authority, &other)
        .await
        .unwrap();
    places.pop();
    Agent::open(&stage, Way::H1, &authority).await;
}

/// What an agent gives up in the same breath never becomes an exchange: it is not sent on, and there is nothing to record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reset_in_the_same_breath_goes_no_further() {
    let upstream = Far::H2.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut stream = h2(&stage, &authority).await;
    // Fewer than end the connection, in one write, so that each reset is read with its head.
    let mut breath = Vec::new();
    for id in (1..20).step_by(2) {
        breath.extend(frame(
            HEADERS,
            0x5,
            id,
            &head("GET", &authority, "/given-up"),
        ));
        breath.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    stream.write_all(&breath).await.unwrap();
    // The same connection serves what comes after.
    let wanted = frame(HEADERS, 0x5, 21, &head("GET", &authority, "/wanted"));
    stream.write_all(&wanted).await.unwrap();
    stage.logged_that(|record| record.path == "/wanted").await;
    assert!(upstream.latest("/wanted").is_some());
    assert!(upstream.latest("/given-up").is_none());
    let records = stage.logged(1).await;
    assert!(records.iter().all(|record| record.path != "/given-up"));
}
