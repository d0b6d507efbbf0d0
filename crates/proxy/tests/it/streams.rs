//! HTTP/2 streams between agent and upstream: what a reset means, what a cancellation leaves behind, who waits for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_vault_testing::recording::BodyEnd;
use agent_vault_testing::{Alpn, Upstream, client, within};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::fixture::{Agent, Far, HOST, Stage, Way, inside};

/// An upstream that answers each request with these frames, written by hand, and closes if it is told to.
fn by_hand(answer: fn(u32) -> Vec<u8>, closes: bool) -> Upstream {
    Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H2Only)
        .raw(move |mut stream| async move {
            let mut preface = [0; 24];
            if stream.read_exact(&mut preface).await.is_err() {
                return;
            }
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            stream.write_all(&settings).await.unwrap();
            loop {
                let mut head = [0; 9];
                if stream.read_exact(&mut head).await.is_err() {
                    return;
                }
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                stream.read_exact(&mut payload).await.unwrap();
                let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                // HEADERS, or the DATA that ends a body.
                let whole = head[4] & 1 == 1 && head[3] < 2;
                if !whole {
                    continue;
                }
                if stream.write_all(&answer(id)).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                if closes {
                    stream.shutdown().await.unwrap_or_default();
                    return;
                }
            }
        })
        .start()
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags];
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:status: 200` without an end, and a piece of a body.
fn begun(id: u32, last: bool) -> Vec<u8> {
    let mut frames = frame(1, 4, id, &[0x88]);
    frames.extend(frame(0, u8::from(last), id, b"piece"));
    frames
}

fn reset(id: u32, reason: Reason) -> Vec<u8> {
    frame(3, 0, id, &u32::from(reason).to_be_bytes())
}

/// Nothing but END_STREAM ends an answer: no reset, whatever its code, and no connection that goes away politely.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_answer_never_looks_whole() {
    type Case = (&'static str, fn(u32) -> Vec<u8>, bool);
    let cases: [Case; 4] = [
        (
            "no error",
            |id| [begun(id, false), reset(id, Reason::NO_ERROR)].concat(),
            false,
        ),
        (
            "cancel",
            |id| [begun(id, false), reset(id, Reason::CANCEL)].concat(),
            false,
        ),
        (
            "goaway",
            |id| {
                let goaway = frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
                [begun(id, false), goaway].concat()
            },
            true,
        ),
        ("closed", |id| begun(id, false), true),
    ];
    for (name, answer, closes) in cases {
        let upstream = by_hand(answer, closes);
        let stage = Stage::builder().trusting(&upstream).start().await;
        for way in [Way::H1, Way::H2] {
            for (method, body) in [("GET", ""), ("POST", "body")] {
                let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
                let body = client::full(body);
                let outcome = agent.ask(method, "/", &[], body).await;
                assert!(outcome.is_err(), "{name} {way:?} {method} {outcome:?}");
            }
        }
        for record in stage.logged(4).await {
            assert_eq!(record.error_code, "upstream_truncated", "{name} {record:?}");
        }
    }
}

/// A peer that has answered and wants no more of the request says so with a reset (RFC 9113 section 8.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_after_a_whole_answer_takes_nothing_of_it() {
    let upstream = by_hand(
        |id| [begun(id, true), reset(id, Reason::NO_ERROR)].concat(),
        false,
    );
    let stage = Stage::builder().trusting(&upstream).start().await;
    for way in [Way::H1, Way::H2] {
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent
            .ask("POST", "/", &[], client::full("body"))
            .await
            .unwrap();
        assert_eq!(answer.text(), "piece", "{way:?}");
    }
}

/// An agent's own connection, to send what no ordinary client sends.
async fn bare(stage: &Stage, authority: &str) -> (h2::client::SendRequest<Bytes>, JoinSet<()>) {
    let stream = inside(stage, authority, "h2").await;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(4 << 20)
        .initial_connection_window_size(64 << 20)
        .max_local_error_reset_streams(None)
        .handshake(stream)
        .await
        .unwrap();
    let mut driving = JoinSet::new();
    driving.spawn(async move { connection.await.unwrap_or_default() });
    (sender.ready().await.unwrap(), driving)
}

fn request(method: &str, authority: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://{authority}{path}"))
        .body(())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_upload_never_looks_whole() {
    for far in [Far::H1, Far::H2] {
        for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
            let upstream = far.start();
            let stage = Stage::builder().trusting(&upstream).start().await;
            let authority = upstream.authority_of(HOST);
            let (mut sender, _driving) = bare(&stage, &authority).await;
            let (_response, mut upload) = sender
                .send_request(request("POST", &authority, "/x"), false)
                .unwrap();
            upload.send_data("half".into(), false).unwrap();
            let seen = upstream.wait_for_path("/x").await;
            seen.body_reached(4).await;
            upload.send_reset(reason);
            let end = seen.body_ended().await;
            assert_ne!(end, BodyEnd::Complete, "{far:?} {reason:?}");
        }
    }
}

/// Thousands of answers that their agent gives up in the middle: the connection that it shares with others, and its own,
/// stay whole, and so do their windows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_leaves_nothing_behind() {
    let upstream = Far::H2.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut other = Agent::open(&stage, Way::H1, &authority).await;
    let held = other
        .send("GET", "/bytes/100000000", &[], client::empty())
        .await
        .unwrap();
    let (sender, _driving) = bare(&stage, &authority).await;
    for _ in 0..40 {
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            let mut sender = sender.clone().ready().await.unwrap();
            let request = request("GET", &authority, "/bytes/10000000");
            asking.spawn(async move {
                let (response, _) = sender.send_request(request, true).unwrap();
                let mut body = response.await.unwrap().into_body();
                body.data().await.unwrap().unwrap();
            });
        }
        while let Some(asked) = within("heads", asking.join_next()).await {
            asked.unwrap();
        }
    }
    let body = within("the other's answer", client::Answer::read(held)).await;
    assert_eq!(body.unwrap().body.len(), 100_000_000);
    let mut agent = Agent::open(&stage, Way::H2, &authority).await;
    assert_eq!(agent.get("/bytes/3000000", &[]).await.body.len(), 3_000_000);
}

type Handler = fn(Request<RecvStream>, SendResponse<Bytes>, Arc<Semaphore>);

/// An upstream that takes so many streams at once, on h2's own server. `opened` counts its connections.
fn taking(
    streams: u32,
    opened: &Arc<AtomicUsize>,
    gate: &Arc<Semaphore>,
    then: Handler,
) -> Upstream {
    let (opened, gate) = (Arc::clone(opened), Arc::clone(gate));
    Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H2Only)
        .raw(move |stream| {
            opened.fetch_add(1, Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move {
                let mut connection = h2::server::Builder::new()
                    .max_concurrent_streams(streams)
                    .handshake::<_, Bytes>(stream)
                    .await
                    .unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    then(request, respond, Arc::clone(&gate));
                }
            }
        })
        .start()
}

/// A burst to an upstream that takes few streams at once, of requests that all last until all have come: none is refused,
/// and none waits behind another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_keeps_to_what_the_peer_takes() {
    const BURST: usize = 24;
    let (opened, arrived) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let upstream = taking(3, &opened, &arrived, |request, mut respond, arrived| {
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                let length = data.unwrap().len();
                body.flow_control().release_capacity(length).unwrap();
            }
            arrived.add_permits(1);
            let all = u32::try_from(BURST).unwrap();
            let _all = arrived.acquire_many(all).await.unwrap();
            respond.send_response(Response::new(()), true).unwrap();
        });
    });
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut asking = JoinSet::new();
    for _ in 0..BURST {
        let mut agent = Agent::open(&stage, Way::H1, &authority).await;
        asking.spawn(async move {
            // More than is kept to be sent again.
            let body = client::full(vec![b'x'; 100_000]);
            agent.ask("POST", "/", &[], body).await.unwrap()
        });
    }
    while let Some(answer) = within("all at once", asking.join_next()).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.received());
    }
    assert!(opened.load(Ordering::SeqCst) >= BURST / 3);
}

/// An upload that goes on after its answer was whole still is one of the streams that the peer takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_takes_its_place_until_it_has_left() {
    let (opened, gate) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let upstream = taking(1, &opened, &gate, |request, mut respond, gate| {
        respond.send_response(Response::new(()), true).unwrap();
        tokio::spawn(async move {
            // The body is neither read nor refused.
            let _body = request.into_body();
            let _open = gate.acquire().await.unwrap();
        });
    });
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let (mut sender, _driving) = bare(&stage, &authority).await;
    let (response, mut upload) = sender
        .send_request(request("POST", &authority, "/"), false)
        .unwrap();
    upload.send_data("half".into(), false).unwrap();
    assert_eq!(within("an answer", response).await.unwrap().status(), 200);
    let mut agent = Agent::open(&stage, Way::H2, &authority).await;
    assert_eq!(agent.get("/", &[]).await.status, 200);
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    // What is left of the first goes through, and its connection is used again.
    upload.send_data("rest".into(), true).unwrap();
    gate.close();
}

/// An answer to HEAD may announce a length and end in a frame of its own. It is whole without content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_head_may_end_later() {
    let (opened, gate) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let upstream = taking(10, &opened, &gate, |_, mut respond, gate| {
        let response = Response::builder().header("content-length", "10");
        let mut stream = respond
            .send_response(response.body(()).unwrap(), false)
            .unwrap();
        tokio::spawn(async move {
            gate.acquire().await.unwrap().forget();
            stream.send_data(Bytes::new(), true).unwrap_or_default();
        });
    });
    let stage = Stage::builder().trusting(&upstream).start().await;
    for way in [Way::H1, Way::H2] {
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        let answer = agent.send("HEAD", "/", &[], client::empty()).await.unwrap();
        gate.add_permits(1);
        let answer = client::Answer::read(answer).await.unwrap();
        assert_eq!(answer.headers["content-length"], "10", "{way:?}");
        assert_eq!(stage.last_logged(1).await.error_code, "", "{way:?}");
    }
}
