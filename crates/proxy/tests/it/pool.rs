//! Upstream connections: reused, kept apart per vault, and what happens when one has gone stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_vault_testing::upstream::read_head;
use agent_vault_testing::{Alpn, Upstream, client, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::fixture::{Agent, Far, HOST, PATHS, Stage, Way, basic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_used_again() {
    for (way, far) in PATHS {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("sk-secret-value")
            .start()
            .await;
        let authority = upstream.authority_of(HOST);
        for _ in 0..3 {
            let mut agent = Agent::open(&stage, way, &authority).await;
            for path in [
                "/",
                "/bytes/100000",
                "/chunks/1000",
                "/status/204",
                "/status/304",
                "/bytes/0",
                "/gzip",
            ] {
                assert!(agent.get(path, &[]).await.status.as_u16() < 400);
                let posted = agent
                    .ask("POST", "/echo-stream", &[], client::full("x"))
                    .await
                    .unwrap();
                assert_eq!(posted.body, "x");
                let head = agent
                    .ask("HEAD", "/bytes/10", &[], client::empty())
                    .await
                    .unwrap();
                assert_eq!(head.status, 200);
            }
        }
        assert_eq!(upstream.connections(), 1, "{way:?} {far:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_close_is_not() {
    let upstream = Far::H1.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    for _ in 0..3 {
        assert_eq!(agent.get("/close", &[]).await.text(), "bye\n");
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_shares_one_h2_connection() {
    let upstream = Far::H2.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut agents = Vec::new();
    for _ in 0..16 {
        agents.push(Agent::open(&stage, Way::H1, &authority).await);
    }
    let mut asking = JoinSet::new();
    for mut agent in agents {
        asking.spawn(async move { agent.get("/", &[]).await.status });
    }
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vaults_share_nothing() {
    for far in [Far::H1, Far::H2] {
        let upstream = far.start();
        let stage = Stage::builder()
            .trusting(&upstream)
            .bearer("value-of-vault-one")
            .start()
            .await;
        let other = Uuid::from_u128(2);
        let mut vault = crate::fixture::Vault {
            id: other,
            name: "other".to_owned(),
            services: stage.vault.services.clone(),
            credentials: vec![("TOKEN".to_owned(), "value-of-vault-two".to_owned())],
            placeholders: Vec::new(),
            unmatched: stage.vault.unmatched,
            broken: false,
        };
        stage.broker.put_vault(vault.record(&stage.keyring));
        let theirs = basic(&format!("{}:other", stage.session(other).expose()));
        let authority = upstream.authority_of(HOST);
        let mut one = Agent::open(&stage, Way::H1, &authority).await;
        let mut two = Agent::with_auth(&stage, Way::H1, &authority, &theirs)
            .await
            .unwrap();
        for _ in 0..2 {
            one.get("/one", &[]).await;
            two.get("/two", &[]).await;
        }
        let mut by_vault = [
            std::collections::HashSet::new(),
            std::collections::HashSet::new(),
        ];
        for seen in upstream.requests() {
            let of_two = seen.path() == "/two";
            by_vault[usize::from(of_two)].insert(seen.connection);
            let value = if of_two { "two" } else { "one" };
            assert_eq!(
                seen.header("authorization").unwrap(),
                format!("Bearer value-of-vault-{value}")
            );
        }
        assert!(
            by_vault[0].is_disjoint(&by_vault[1]),
            "{far:?} {by_vault:?}"
        );
        // A sealed value that was moved to another vault does not open there.
        vault.credentials.clear();
        let mut record = vault.record(&stage.keyring);
        record.credentials = stage.vault.record(&stage.keyring).credentials;
        stage.broker.put_vault(record);
        let refused = two.get("/", &[]).await;
        assert_eq!(refused.status, 502);
        assert_eq!(refused.json()["error"], "credential_not_found");
        stage
            .logged_that(|record| record.error_code == "credential_unreadable")
            .await;
    }
}

/// An upstream that reads a second request on each connection and closes it instead of answering.
fn forgetful(seen: &Arc<AtomicUsize>) -> Upstream {
    let seen = Arc::clone(seen);
    Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H1Only)
        .raw(move |mut stream| {
            let seen = Arc::clone(&seen);
            async move {
                if read_head(&mut stream).await.is_empty() {
                    return;
                }
                seen.fetch_add(1, Ordering::SeqCst);
                stream.write_all(OK).await.unwrap();
                if !read_head(&mut stream).await.is_empty() {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .start()
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream closes what it promised to keep. The next request finds that out before it is sent, and takes another
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_connection_costs_nothing() {
    let let_go = Arc::new(Semaphore::new(0));
    let noticed = Arc::clone(&let_go);
    let upstream = Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H1Only)
        .raw(move |mut stream| {
            let noticed = Arc::clone(&noticed);
            async move {
                if read_head(&mut stream).await.is_empty() {
                    return;
                }
                stream.write_all(OK).await.unwrap();
                stream.shutdown().await.unwrap();
                // The proxy closes its own end when it has seen ours; a reset is as good.
                let mut body = Vec::new();
                stream.read_to_end(&mut body).await.unwrap_or(0);
                assert!(body.len() <= b"not twice".len(), "{body:?}");
                noticed.add_permits(1);
            }
        })
        .start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    for _ in 0..4 {
        let answer = agent
            .ask("POST", "/", &[], client::full("not twice"))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.received());
        within("the proxy to let go", let_go.acquire())
            .await
            .unwrap()
            .forget();
    }
    assert_eq!(upstream.connections(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_sent_is_never_repeated() {
    let seen = Arc::new(AtomicUsize::new(0));
    let upstream = forgetful(&seen);
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    assert_eq!(agent.get("/", &[]).await.status, 200);
    let answer = agent.get("/again", &[]).await;
    assert_eq!(answer.status, 502, "{}", answer.received());
    assert_eq!(seen.load(Ordering::SeqCst), 2, "read once, not twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_cannot_be_reached_or_believed() {
    use agent_vault_testing::Certificate;
    let good = Far::H1.start();
    let stage = Stage::builder().trusting(&good).start().await;
    let bad = |certificate| {
        Upstream::builder()
            .name(HOST)
            .certificate(certificate)
            .start()
    };
    let strangers = [
        bad(Certificate::SelfSigned),
        bad(Certificate::Stranger),
        bad(Certificate::Expired),
    ];
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut targets: Vec<String> = strangers.iter().map(|u| u.authority_of(HOST)).collect();
    targets.push(format!("{HOST}:{closed}"));
    stage.names.script("nowhere.example.test", &[&[]]);
    targets.push("nowhere.example.test:443".to_owned());
    for authority in targets {
        for way in [Way::H1, Way::H2] {
            let mut agent = Agent::open(&stage, way, &authority).await;
            let answer = agent.get("/", &[]).await;
            assert_eq!(answer.status, 502, "{authority}");
            assert_eq!(crate::fixture::refusal(&answer)["error"], "upstream_error");
        }
    }
    assert!(strangers.iter().all(|u| u.requests().is_empty()));
}

/// An answer with chunks and a length: the chunks count, the length is dropped, the connection is not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_framed_twice_spoils_its_connection() {
    let upstream = Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H1Only)
        .raw(|mut stream| async move {
            while !read_head(&mut stream).await.is_empty() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        })
        .start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    for (round, way) in [Way::H1, Way::H2].into_iter().enumerate() {
        let mut agent = Agent::open(&stage, way, &upstream.authority_of(HOST)).await;
        for _ in 0..2 {
            let answer = agent.get("/", &[]).await;
            assert_eq!(answer.text(), "ok");
            assert_eq!(answer.headers.get("content-length"), None);
        }
        assert_eq!(upstream.connections(), 2 * (round as u64 + 1));
    }
}

/// A peer that allows two streams at once gets a further connection rather than a queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peers_own_limit_of_streams_is_kept() {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&opened);
    let upstream = Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H2Only)
        .raw(move |stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut connection = h2::server::Builder::new()
                    .max_concurrent_streams(2)
                    .handshake::<_, bytes::Bytes>(stream)
                    .await
                    .unwrap();
                let mut kept = Vec::new();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut body = respond
                        .send_response(http::Response::new(()), false)
                        .unwrap();
                    body.send_data("x".into(), false).unwrap();
                    kept.push(body);
                }
            }
        })
        .start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(agent.send("GET", "/", &[], client::empty()).await.unwrap());
    }
    assert_eq!(opened.load(Ordering::SeqCst), 3);
}

/// An h2 server by hand: its first connection does `then` to everything after the first request, later ones answer.
fn moody(then: fn(u32) -> Vec<u8>, requests: &Arc<AtomicUsize>) -> Upstream {
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = Arc::clone(requests);
    Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H2Only)
        .raw(move |mut stream| {
            let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
            let requests = Arc::clone(&requests);
            async move {
                let mut preface = [0; 24];
                if stream.read_exact(&mut preface).await.is_err() {
                    return;
                }
                stream
                    .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
                loop {
                    let mut head = [0; 9];
                    if stream.read_exact(&mut head).await.is_err() {
                        return;
                    }
                    let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                    stream.read_exact(&mut payload).await.unwrap();
                    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    if head[3] != 1 {
                        continue;
                    }
                    requests.fetch_add(1, Ordering::SeqCst);
                    let answer = if first && id > 1 {
                        then(id)
                    } else {
                        // `:status: 200` from the static table, END_STREAM and END_HEADERS.
                        let mut frame = vec![0, 0, 1, 1, 5];
                        frame.extend(id.to_be_bytes());
                        frame.push(0x88);
                        frame
                    };
                    if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        })
        .start()
}

/// GOAWAY that counts only the first stream.
fn go_away(_: u32) -> Vec<u8> {
    vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
}

/// RST_STREAM with this code.
fn reset(id: u32, code: u8) -> Vec<u8> {
    let mut frame = vec![0, 0, 4, 3, 0];
    frame.extend(id.to_be_bytes());
    frame.extend([0, 0, 0, code]);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_h2_peer_says_it_did_not_process_is_sent_again_and_nothing_else() {
    type Case = (&'static str, fn(u32) -> Vec<u8>, usize, u16);
    let cases: [Case; 7] = [
        ("goaway", go_away, 0, 200),
        ("goaway", go_away, 4, 200),
        ("goaway", go_away, 60 * 1024, 200),
        // Of a larger one no more has left than the peer's window took.
        ("goaway", go_away, 1024 * 1024, 200),
        // INTERNAL_ERROR: it may have been acted upon.
        ("internal error", |id| reset(id, 2), 0, 502),
        // REFUSED_STREAM again and again: another connection is opened.
        ("refused", |id| reset(id, 7), 0, 200),
        ("refused", |id| reset(id, 7), 4, 200),
    ];
    for (name, then, length, status) in cases {
        let requests = Arc::new(AtomicUsize::new(0));
        let upstream = moody(then, &requests);
        let stage = Stage::builder().trusting(&upstream).start().await;
        let mut agent = Agent::open(&stage, Way::H2, &upstream.authority_of(HOST)).await;
        assert_eq!(agent.get("/", &[]).await.status, 200);
        let answer = agent
            .ask("POST", "/", &[], client::full(vec![b'x'; length]))
            .await
            .unwrap();
        assert_eq!(
            answer.status,
            status,
            "{name} {length} {}",
            answer.received()
        );
        assert!(requests.load(Ordering::SeqCst) <= 5, "{name} {requests:?}");
    }
}

/// Agents share an h2 connection to an upstream. One that does not read its answers must not stop the others' (the
/// connection's flow-control window is not what stops it).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_read_stalls_nobody_else() {
    let upstream = Far::H2.start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let mut lazy = Vec::new();
    for _ in 0..24 {
        let mut agent = Agent::open(&stage, Way::H1, &authority).await;
        let response = agent
            .send("GET", "/bytes/100000000", &[], client::empty())
            .await
            .unwrap();
        lazy.push((agent, response));
    }
    // While the windows fill, and when they are full.
    for round in 0..12 {
        let way = if round % 2 == 0 { Way::H1 } else { Way::H2 };
        let mut agent = Agent::open(&stage, way, &authority).await;
        assert_eq!(agent.get("/bytes/3000000", &[]).await.body.len(), 3_000_000);
    }
    assert_eq!(upstream.connections(), 1);
}

/// As above, for uploads of one agent over its own connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_an_upstream_does_not_read_stall_no_other_upload() {
    let upstream = Far::H1.builder().keep_body(0).start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let authority = upstream.authority_of(HOST);
    let tasks = agent_vault_testing::tasks::Tasks::new();
    let mut connection = client::ProxyConnection::open(stage.addr, &tasks.spawner())
        .await
        .unwrap();
    let stream = connection
        .connect(&authority, Some(&stage.auth()))
        .await
        .unwrap()
        .opened();
    let (stream, _) = client::tls(stream, HOST, &stage.tls(&["h2"]))
        .await
        .unwrap();
    let (sender, driver) = hyper::client::conn::http2::Builder::new(tasks.spawner())
        .handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .unwrap();
    tasks.spawner().spawn(driver);
    let post = |path: &str, length: usize| {
        let mut sender = sender.clone();
        let request = http::Request::post(format!("https://{authority}{path}"))
            .body(client::full(vec![b'u'; length]))
            .unwrap();
        async move {
            let response = sender.send_request(request).await.unwrap();
            client::Answer::read(response).await.unwrap()
        }
    };
    let mut stuck = JoinSet::new();
    for _ in 0..24 {
        stuck.spawn(post("/unread", 30_000_000));
    }
    upstream.gate("gate").arrived(24).await;
    // While the windows fill, and when they are full.
    for _ in 0..12 {
        let answer = within("the other upload", post("/x", 2_000_000)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(upstream.latest("/x").unwrap().body_length(), 2_000_000);
    }
}

/// A burst to a name that resolves to nothing, slowly, finds that out together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_to_a_dead_host_fails_together() {
    let stage = Stage::builder().start().await;
    let authority = "dead.example.test:443";
    stage.names.script("dead.example.test", &[&[]]);
    stage.names.hold();
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let mut agent = Agent::open(&stage, Way::H1, authority).await;
        asking.spawn(async move { agent.get("/", &[]).await.status });
    }
    within("a look-up", async {
        while stage.names.asked() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stage.names.release();
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 502);
    }
    // Those who came while it was being asked share the answer; stragglers ask again.
    assert!(stage.names.asked() < 10, "{} look-ups", stage.names.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_of_a_response_never_reach_the_next_request() {
    // More bytes than announced: the connection's framing cannot be trusted any more.
    let upstream = Upstream::builder()
        .name(HOST)
        .alpn(Alpn::H1Only)
        .raw(|mut stream| async move {
            loop {
                if read_head(&mut stream).await.is_empty() {
                    return;
                }
                let poisoned = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
                if stream.write_all(poisoned).await.is_err() {
                    return;
                }
                let mut rest = [0; 1];
                if stream.read(&mut rest).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        })
        .start();
    let stage = Stage::builder().trusting(&upstream).start().await;
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    for _ in 0..5 {
        let answer = agent.get("/", &[]).await;
        assert_ne!(answer.text(), "poison");
    }
}
