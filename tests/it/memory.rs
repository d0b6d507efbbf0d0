//! Secrets in the memory of the running server: a core image is searched for them, in every form that we give them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_vault_testing::client::{self, Http};
use agent_vault_testing::{BoxError, Canary, Upstream, pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::health::{SCRAPE, scrape, total};
use crate::stage::instance::Instance;
use crate::stage::{KEY, Stage};

/// Bytes of a secret that count as the secret: what an allocator overwrites of a freed block must not hide the rest.
const PIECE: usize = 20;

/// Findings in buffers of connections that are kept: two pieces, in what was written last on each.
const BUFFERED: usize = 16;

/// Where pieces of `needles` are in the writable memory of process `pid`.
fn found_in(pid: u32, needles: &[(&'static str, Vec<u8>)]) -> Vec<(String, &'static str, Vec<u8>)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the map of a child");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the memory of a child");
    let mut found = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (
            fields.next().expect("a range"),
            fields.next().expect("rights"),
        );
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("two ends");
        let from = u64::from_str_radix(from, 16).expect("an address");
        let to = u64::from_str_radix(to, 16).expect("an address");
        let mut region = vec![0; usize::try_from(to - from).expect("a region that fits")];
        // What cannot be read is not there: stacks are mapped further than they reach.
        if memory.read_exact_at(&mut region, from).is_err() {
            continue;
        }
        for (form, needle) in needles {
            for at in memchr::memmem::find_iter(&region, needle) {
                let around =
                    &region[at.saturating_sub(48)..(at + needle.len() + 48).min(region.len())];
                let name = line.rsplit(' ').next().unwrap_or_default();
                found.push((
                    format!("{name} {:#x}", from + at as u64),
                    *form,
                    around.to_vec(),
                ));
            }
        }
    }
    found
}

/// Findings with the secret itself left out.
fn shown(found: &[(String, &'static str, Vec<u8>)], secret: &Canary) -> String {
    found
        .iter()
        .map(|(place, form, around)| {
            let text = String::from_utf8_lossy(around).into_owned();
            let hidden = text.replace(secret.expose(), "[the secret]");
            format!("\n{place} {form}: {}", hidden.escape_debug())
        })
        .collect()
}

/// What is looked for of a value: pieces of itself, and of the `Basic` credentials that it makes with `user`.
fn needles(user: &str, secret: &Canary) -> Vec<(&'static str, Vec<u8>)> {
    let value = secret.expose();
    let basic = STANDARD.encode(format!("{user}:{value}"));
    let piece = |text: &str, from: usize| text.as_bytes()[from..from + PIECE].to_vec();
    vec![
        ("raw", piece(value, 10)),
        ("raw", piece(value, 10 + PIECE)),
        ("base64", piece(&basic, 24)),
        ("base64", piece(&basic, 24 + PIECE)),
    ]
}

/// The user name of the service that sends `Basic`.
const USER: &str = "somebody";

struct Agents {
    stage: Stage,
    h1: Arc<rustls::ClientConfig>,
    h2: Arc<rustls::ClientConfig>,
    auth: String,
}

impl Agents {
    fn new() -> Self {
        let stage = Stage::on(
            Instance::builder().env("AGENT_VAULT_METRICS_TOKEN", SCRAPE),
            Canary::new("sk-canary-"),
            Upstream::builder(),
        );
        stage.add_service(&[
            "--auth-type",
            "bearer",
            "--token-key",
            KEY,
            "--substitute",
            "DEMO_KEY=__demo__@path,query,header,body,websocket",
        ]);
        stage
            .instance
            .person(&["vault", "credential", "set", "USER", "--stdin"])
            .stdin(USER)
            .succeed();
        stage.add_service_named(
            "basic",
            &format!("127.0.0.1:{}", stage.upstream.port()),
            &[
                "--auth-type",
                "basic",
                "--username-key",
                "USER",
                "--password-key",
                KEY,
            ],
        );
        let pem = std::fs::read_to_string(&stage.root).expect("the root");
        let config = |alpn: &[&str]| Arc::new(pki::client_config(&pem, alpn));
        Self {
            h1: config(&["http/1.1"]),
            h2: config(&["h2"]),
            auth: format!(
                "Basic {}",
                STANDARD.encode(format!("{}:default", stage.token))
            ),
            stage,
        }
    }

    /// Everything that carries the secret out and back: both versions, every place, an upload, a WebSocket, an exchange that
    /// is given up, one that breaks.
    async fn use_it(&self) -> Result<(), BoxError> {
        let bearer = self.stage.upstream.authority();
        let basic = self.stage.upstream.authority_of("127.0.0.1");
        for config in [&self.h1, &self.h2] {
            for authority in [&bearer, &basic] {
                let proxy = self.stage.instance.proxy_addr();
                let mut http = Http::through(proxy, authority, Some(&self.auth), config).await?;
                for path in [
                    "/echo",
                    "/echo?q=__demo__",
                    "/echo/__demo__",
                    "/gzip",
                    "/trailers",
                ] {
                    let fields = [("x-own", "__demo__"), ("content-type", "application/json")];
                    let body = client::full(r#"{"token":"__demo__"}"#);
                    let answer = http
                        .exchange("POST", authority, path, &fields, body)
                        .await?;
                    self.stage.secret.assert_absent(path, answer.received());
                }
                if authority == &bearer {
                    let mut socket = http
                        .websocket(authority, "/ws", &[])
                        .await?
                        .expect("a WebSocket");
                    socket.send_text("__demo__").await?;
                    socket.expect_text().await;
                    socket.send_close(1000, "").await?;
                    while let Ok(Some(_)) = socket.next().await {}
                }
                let mut http = Http::through(proxy, authority, Some(&self.auth), config).await?;
                drop(http.get(authority, "/reset", &[]).await);
                let mut http = Http::through(proxy, authority, Some(&self.auth), config).await?;
                let request = http.request("GET", authority, "/bytes/8000000");
                drop(http.send(request).await);
            }
        }
        Ok(())
    }

    /// Waits until nothing of agents' is open.
    fn settle(&self) {
        let deadline = Instant::now() + agent_vault_testing::PATIENCE;
        while total(&scrape(&self.stage.instance), "agent_vault_open", &[]) > 0.0 {
            assert!(Instant::now() < deadline, "something stays open");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn image(&self) -> Vec<(String, &'static str, Vec<u8>)> {
        found_in(
            self.stage.instance.pid(),
            &needles(USER, &self.stage.secret),
        )
    }
}

#[test]
fn a_secret_is_in_the_cache_as_long_as_its_service_and_nowhere_else() {
    let agents = Agents::new();
    let use_it = |times: usize| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        for _ in 0..times {
            runtime.block_on(agents.use_it()).expect("exchanges");
        }
        // Connections that nobody drives any more do not end by themselves.
        drop(runtime);
        agents.settle();
        agents.image()
    };
    // The cache: the opened value, the header that is made of it, what it is searched for by. Besides, the buffers of
    // connections to upstreams that are kept.
    let once = use_it(1);
    assert!(!once.is_empty(), "the search finds nothing at all");
    let often = use_it(4);
    assert!(
        often.len() <= once.len() + BUFFERED,
        "every use leaves copies behind: {} after one, {} after five: {}",
        once.len(),
        often.len(),
        shown(&often, &agents.stage.secret),
    );

    // Without service, value and connection there is nothing that it could be needed for.
    for service in ["demo", "basic"] {
        agents
            .stage
            .instance
            .person(&["vault", "service", "remove", service, "--yes"])
            .succeed();
    }
    agents
        .stage
        .instance
        .person(&["vault", "credential", "delete", KEY, "--yes"])
        .succeed();
    let Agents { stage, .. } = agents;
    let Stage {
        instance,
        upstream,
        secret,
        ..
    } = stage;
    drop(upstream);
    let deadline = Instant::now() + 3 * agent_vault_testing::PATIENCE;
    loop {
        let readings = scrape(&instance);
        if total(
            &readings,
            "agent_vault_upstream_connections",
            &["state=\"open\""],
        ) == 0.0
        {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "connections stay open: {readings:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let left = found_in(instance.pid(), &needles(USER, &secret));
    assert!(
        left.is_empty(),
        "{} copies are left: {}",
        left.len(),
        shown(&left, &secret)
    );
}
