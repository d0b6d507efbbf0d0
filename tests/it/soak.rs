//! A mixed load over a while: when it is over, the server holds no more than it did after a part of it.
//!
//! `AGENT_VAULT_SOAK_SECONDS` says how long (20 without it), `AGENT_VAULT_SOAK_REPORT` names a file for the figures. What is
//! compared was read when nothing was under way: after a first third of the load, and after all of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_vault_testing::client::{self, Http, ProxyConnection, Tunnel};
use agent_vault_testing::tasks::Tasks;
use agent_vault_testing::{BoxError, Canary, PATIENCE, Upstream, pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use rustls::ClientConfig;

use crate::health::{SCRAPE, scrape, total};
use crate::stage::instance::Instance;
use crate::stage::{KEY, Stage};

/// Names for which certificates are made, over and over.
const NAMES: usize = 64;

/// What the workers share.
struct Soak {
    proxy: SocketAddr,
    authority: String,
    /// The same upstream by another name, for what costs a connection that others share.
    failing: String,
    /// Where nobody listens.
    nobody: String,
    agent: String,
    /// The token that was minted last.
    minted: Mutex<String>,
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
    end: Instant,
    done: [AtomicU64; KINDS.len()],
}

const KINDS: [&str; 9] = [
    "http1 exchanges",
    "http2 exchanges",
    "websockets",
    "event streams",
    "downloads given up",
    "uploads given up",
    "upstream failures",
    "refusals",
    "cold names",
];

impl Soak {
    fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    fn count(&self, kind: usize) {
        self.done[kind].fetch_add(1, Ordering::Relaxed);
    }

    fn rotating(&self) -> String {
        basic(
            &self
                .minted
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    async fn open(&self, h2: bool, auth: &str) -> Result<Http, BoxError> {
        let config = if h2 { &self.h2 } else { &self.h1 };
        Http::through(self.proxy, &self.authority, Some(auth), config).await
    }

    /// Small exchanges, some with a body, on connections that last for a while.
    async fn exchanges(self: Arc<Self>, h2: bool) {
        while self.goes_on() {
            let Ok(mut http) = self.open(h2, &self.agent).await else {
                continue;
            };
            for n in 0..50 {
                let path = [
                    "/echo",
                    "/bytes/20000",
                    "/chunks/5000",
                    "/gzip",
                    "/trailers",
                ][n % 5];
                let body = if n % 5 == 0 {
                    client::full("some body to echo")
                } else {
                    client::empty()
                };
                let method = if n % 5 == 0 { "POST" } else { "GET" };
                let answer = http
                    .exchange(method, &self.authority, path, &[], body)
                    .await;
                match answer {
                    Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
                    Err(error) => panic!("{path}: {error}"),
                }
                self.count(usize::from(h2));
            }
            http.close().await;
        }
    }

    /// Sockets that are closed in order, and others that are just left.
    async fn websockets(self: Arc<Self>, h2: bool) {
        let mut orderly = false;
        while self.goes_on() {
            let Ok(mut http) = self.open(h2, &self.agent).await else {
                continue;
            };
            let opened = http.websocket(&self.authority, "/ws", &[]).await;
            let mut socket = opened.expect("a handshake").expect("a WebSocket");
            for n in 0..20 {
                let text = "x".repeat(n * 97);
                socket.send_text(&text).await.expect("a socket");
                assert_eq!(socket.expect_text().await, text);
            }
            orderly = !orderly;
            if orderly {
                socket.send_close(1000, "done").await.expect("a socket");
                while let Ok(Some(_)) = socket.next().await {}
            }
            drop(socket);
            self.count(2);
        }
    }

    async fn events(self: Arc<Self>, h2: bool) {
        while self.goes_on() {
            let Ok(mut http) = self.open(h2, &self.agent).await else {
                continue;
            };
            for _ in 0..5 {
                let answer = http
                    .get(&self.authority, "/sse?n=30", &[])
                    .await
                    .expect("events");
                assert!(answer.text().ends_with("event 29\n\n"));
                self.count(3);
            }
        }
    }

    /// Large answers that nobody reads to their end, and uploads that break off.
    async fn given_up(self: Arc<Self>, h2: bool) {
        while self.goes_on() {
            let Ok(mut http) = self.open(h2, &self.agent).await else {
                continue;
            };
            let request = http.request("GET", &self.authority, "/bytes/8000000");
            if let Ok(mut response) = http.send(request).await {
                for _ in 0..3 {
                    response.frame().await;
                }
                self.count(4);
            }
            let Ok(mut http) = self.open(h2, &self.agent).await else {
                continue;
            };
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let mut request = http.request("POST", &self.authority, "/echo");
            *request.body_mut() = Fed(receiver).boxed_unsync();
            let upload = async {
                for _ in 0..4 {
                    let piece = Ok(http_body::Frame::data(Bytes::from_static(&[7; 16_000])));
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
                // A body that fails breaks its stream, or its connection.
                sender
                    .send(Err("given up".into()))
                    .await
                    .unwrap_or_default();
            };
            let (answer, ()) = tokio::join!(http.send(request), upload);
            drop(answer);
            self.count(5);
        }
    }

    async fn failures(self: Arc<Self>, h2: bool) {
        while self.goes_on() {
            for path in [
                "/reset",
                "/truncate-chunked",
                "/truncate-length",
                "/reset-connection",
                "/status/500",
            ] {
                let config = if h2 { &self.h2 } else { &self.h1 };
                let opened =
                    Http::through(self.proxy, &self.failing, Some(&self.agent), config).await;
                let Ok(mut http) = opened else {
                    continue;
                };
                // What comes of it is shown elsewhere; here it only has to leave nothing behind.
                let answer = http.get(&self.failing, path, &[]).await;
                drop(answer);
                self.count(6);
            }
            let config = if h2 { &self.h2 } else { &self.h1 };
            if let Ok(mut http) =
                Http::through(self.proxy, &self.nobody, Some(&self.agent), config).await
            {
                let answer = http.get(&self.nobody, "/", &[]).await.expect("an answer");
                assert_eq!(answer.status, 502);
                self.count(6);
            }
        }
    }

    /// Tokens that come and go: what they opened ends with them.
    async fn rotated(self: Arc<Self>, h2: bool) {
        while self.goes_on() {
            let auth = self.rotating();
            let Ok(mut http) = self.open(h2, &auth).await else {
                self.count(7);
                continue;
            };
            // Until the token ends, and the connection with it.
            while self.goes_on() && http.get(&self.authority, "/sse?n=3", &[]).await.is_ok() {
                self.count(usize::from(h2));
            }
            self.count(7);
            let refused = self.open(h2, &basic("av_scoped_nobody")).await;
            assert!(refused.is_err(), "a token of nobody's opened a tunnel");
            self.count(7);
        }
    }

    /// Tunnels to ever other names, which are left as soon as there is a certificate.
    async fn cold(self: Arc<Self>) {
        let mut n = 0;
        while self.goes_on() {
            n += 1;
            let name = format!("n{}.example.test", n % NAMES);
            let tasks = Tasks::new();
            let Ok(mut connection) = ProxyConnection::open(self.proxy, &tasks.spawner()).await
            else {
                continue;
            };
            let opened = connection
                .connect(&format!("{name}:443"), Some(&self.agent))
                .await;
            if let Ok(Tunnel::Open(stream)) = opened {
                client::tls(stream, &name, &self.h2)
                    .await
                    .expect("a handshake");
                self.count(8);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

struct Fed(tokio::sync::mpsc::Receiver<Result<http_body::Frame<Bytes>, BoxError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

fn basic(token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{token}:default")))
}

/// Mints a token every second and ends the one before it, as long as the load lasts.
fn rotate(stage: &Stage, soak: &Soak) -> u64 {
    let mut before: Option<String> = None;
    let mut rotations = 0;
    while soak.goes_on() {
        let minted = stage.instance.api(
            "POST",
            "/v1/sessions",
            r#"{"vault":"default","label":"soak"}"#,
        );
        assert_eq!(minted.status, 200, "{}", minted.text());
        let minted = minted.json();
        *soak
            .minted
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) =
            minted["token"].as_str().expect("a token").to_owned();
        if let Some(id) = before.replace(minted["id"].as_str().expect("an id").to_owned()) {
            let path = format!("/v1/sessions/{id}?vault=default");
            let ended = stage.instance.api("DELETE", &path, "");
            assert_eq!(ended.status, 200, "{}", ended.text());
            rotations += 1;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    rotations
}

/// What the server holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    rss_mib: f64,
    fds: f64,
    tasks: f64,
    /// Connections to upstreams that are kept for later.
    kept: f64,
}

fn held(readings: &BTreeMap<String, f64>) -> Held {
    Held {
        rss_mib: total(readings, "process_resident_memory_bytes", &[]) / f64::from(1 << 20),
        fds: total(readings, "process_open_fds", &[]),
        tasks: total(readings, "agent_vault_tasks", &[]),
        kept: total(
            readings,
            "agent_vault_upstream_connections",
            &["state=\"open\""],
        ),
    }
}

/// Waits until agents have nothing open any more, and tells what is held then.
fn settled(stage: &Stage) -> Held {
    let deadline = Instant::now() + 3 * PATIENCE;
    loop {
        let readings = scrape(&stage.instance);
        if total(&readings, "agent_vault_open", &[]) == 0.0 {
            return held(&readings);
        }
        assert!(
            Instant::now() < deadline,
            "something stays open: {readings:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs the load for `time` and returns how much was done of each kind, and a reading for each `every`.
fn load(
    stage: &Stage,
    time: Duration,
    every: Duration,
) -> ([u64; KINDS.len()], u64, Vec<(u64, Held)>) {
    let pem = std::fs::read_to_string(&stage.root).expect("the root");
    let config = |alpn: &[&str]| Arc::new(pki::client_config(&pem, alpn));
    let began = Instant::now();
    let soak = Arc::new(Soak {
        proxy: stage.instance.proxy_addr(),
        authority: stage.upstream.authority(),
        failing: stage.upstream.authority_of("127.0.0.1"),
        nobody: format!("localhost:{}", crate::stage::ports::free_port()),
        agent: basic(&stage.token),
        minted: Mutex::default(),
        h1: config(&["http/1.1"]),
        h2: config(&["h2"]),
        end: began + time,
        done: std::array::from_fn(|_| AtomicU64::new(0)),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut workers = Vec::new();
    for h2 in [false, true] {
        workers.push(runtime.spawn(Arc::clone(&soak).exchanges(h2)));
        workers.push(runtime.spawn(Arc::clone(&soak).exchanges(h2)));
        workers.push(runtime.spawn(Arc::clone(&soak).websockets(h2)));
        workers.push(runtime.spawn(Arc::clone(&soak).events(h2)));
        workers.push(runtime.spawn(Arc::clone(&soak).given_up(h2)));
        workers.push(runtime.spawn(Arc::clone(&soak).failures(h2)));
        workers.push(runtime.spawn(Arc::clone(&soak).rotated(h2)));
    }
    workers.push(runtime.spawn(Arc::clone(&soak).cold()));
    let mut series = Vec::new();
    let rotations = std::thread::scope(|scope| {
        let rotating = scope.spawn(|| rotate(stage, &soak));
        let mut next = began + every;
        while soak.goes_on() {
            std::thread::sleep(Duration::from_millis(100));
            if Instant::now() >= next {
                series.push((began.elapsed().as_secs(), held(&scrape(&stage.instance))));
                next += every;
            }
        }
        rotating.join().expect("rotations")
    });
    runtime.block_on(async {
        for worker in workers {
            worker.await.expect("a worker that did not fail");
        }
    });
    let done = std::array::from_fn(|kind| soak.done[kind].load(Ordering::Relaxed));
    (done, rotations, series)
}

#[test]
fn a_mixed_load_leaves_nothing_behind() {
    let seconds = std::env::var("AGENT_VAULT_SOAK_SECONDS").map_or(20, |text| {
        text.parse::<u64>()
            .expect("seconds in AGENT_VAULT_SOAK_SECONDS")
    });
    let time = Duration::from_secs(seconds);
    let stage = Stage::on(
        Instance::builder()
            .env("AGENT_VAULT_METRICS_TOKEN", SCRAPE)
            .env("AGENT_VAULT_RATELIMIT_PROFILE", "off"),
        Canary::new("sk-canary-"),
        Upstream::builder(),
    );
    stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
    stage.upstream.gate("gate").open();
    let every = (time / 20).max(Duration::from_secs(1));

    let (_, _, mut series) = load(&stage, time / 3, every);
    let early = settled(&stage);
    let after_first = series.last().map_or(0, |(at, _)| *at);
    let (done, rotations, later) = load(&stage, time * 2 / 3, every);
    series.extend(later.into_iter().map(|(at, held)| (after_first + at, held)));
    let late = settled(&stage);
    let readings = scrape(&stage.instance);

    let mut report = String::new();
    let _ = writeln!(report, "after a third: {early:?}\nafter all: {late:?}\n");
    for (kind, count) in KINDS.iter().zip(done) {
        let _ = writeln!(report, "{kind} in the last two thirds: {count}");
    }
    let _ = writeln!(report, "tokens rotated: {rotations}");
    for (at, held) in &series {
        let _ = writeln!(
            report,
            "{at:>5} s  {:>7.1} MiB  {:>4} descriptors  {:>4} tasks  {:>3} kept",
            held.rss_mib, held.fds, held.tasks, held.kept
        );
    }
    for (name, value) in &readings {
        if name.starts_with("agent_vault_") && *value != 0.0 && !name.contains("_bucket") {
            let _ = writeln!(report, "{name} {value}");
        }
    }
    if let Some(path) = std::env::var_os("AGENT_VAULT_SOAK_REPORT") {
        #[expect(
            clippy::disallowed_methods,
            reason = "figures of a test run, not the product's data"
        )]
        std::fs::write(path, &report).expect("a report");
    }

    for (kind, count) in KINDS.iter().zip(done) {
        assert!(count > 0, "no {kind} at all: {report}");
    }
    // A kept connection has a descriptor and at most two tasks; beside these nothing may have come.
    assert!(
        late.fds - late.kept <= early.fds - early.kept + 4.0,
        "descriptors grow: {report}"
    );
    assert!(
        late.tasks - 2.0 * late.kept <= early.tasks - early.kept + 4.0,
        "tasks grow: {report}"
    );
    // An allocator gives memory back when it likes: only a growth that is more than its mood counts.
    assert!(
        late.rss_mib <= early.rss_mib * 1.15 + 8.0,
        "memory grows: {report}"
    );
    assert_eq!(
        total(
            &readings,
            "agent_vault_log_rows_total",
            &["outcome=\"lost\""]
        ),
        0.0,
        "{report}"
    );
    stage.instance.assert_alive();
}
