//! The server while what it depends on fails, and while it is ended under load.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_vault_testing::client::{self, Http};
use agent_vault_testing::{BoxError, Canary, PATIENCE, Upstream, pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;

use crate::health::{SCRAPE, scrape, total};
use crate::stage::http;
use crate::stage::instance::{Instance, InstanceBuilder};
use crate::stage::process::Run;
use crate::stage::{KEY, Stage};

/// Longer than the server waits for another writer of its database.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

fn stage_on(instance: InstanceBuilder) -> Stage {
    let stage = Stage::on(
        instance
            .env("AGENT_VAULT_METRICS_TOKEN", SCRAPE)
            .env("AGENT_VAULT_RATELIMIT_PROFILE", "off"),
        Canary::new("sk-canary-"),
        Upstream::builder(),
    );
    stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
    stage
}

/// An agent of `stage` that asks over HTTP/2 in one tunnel, or over HTTP/1.1.
#[derive(Clone)]
struct Agent {
    proxy: SocketAddr,
    authority: String,
    auth: String,
    config: Arc<rustls::ClientConfig>,
}

impl Agent {
    fn of(stage: &Stage, alpn: &str) -> Self {
        let pem = std::fs::read_to_string(&stage.root).expect("the root");
        Self {
            proxy: stage.instance.proxy_addr(),
            authority: stage.upstream.authority(),
            auth: format!(
                "Basic {}",
                STANDARD.encode(format!("{}:default", stage.token))
            ),
            config: Arc::new(pki::client_config(&pem, &[alpn])),
        }
    }

    async fn open(&self) -> Result<Http, BoxError> {
        Http::through(self.proxy, &self.authority, Some(&self.auth), &self.config).await
    }

    async fn get(&self, path: &str) -> Result<client::Answer, BoxError> {
        self.open().await?.get(&self.authority, path, &[]).await
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Insists that agents are served, with the credential.
fn brokers(stage: &Stage, path: &str) {
    let answer = runtime().block_on(Agent::of(stage, "http/1.1").get(path));
    assert_eq!(answer.expect("an answer").status, 200, "{path}");
    stage.saw_bearer(path);
}

/// One write of the management API, which may take as long as the server waits for the database.
fn write(stage: &Stage, name: &str) -> http::Reply {
    let mut socket = http::connect(stage.instance.api_addr());
    socket
        .set_read_timeout(Some(LOCK_PATIENCE))
        .expect("a socket");
    let body = format!(r#"{{"name":"{name}"}}"#);
    let request = format!(
        "POST /v1/vaults HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        stage.instance.api_addr(),
        stage.instance.session(),
        body.len(),
    );
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    http::parse(&answer).expect("a whole answer")
}

fn lost(stage: &Stage) -> f64 {
    total(
        &scrape(&stage.instance),
        "agent_vault_log_rows_total",
        &["outcome=\"lost\""],
    )
}

fn ready(stage: &Stage) -> serde_json::Value {
    http::call(stage.instance.api_addr(), "GET", "/ready", &[], b"").json()
}

/// Waits until the log has a row for `path`.
fn logged(stage: &Stage, path: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = stage
            .instance
            .api("GET", "/v1/vaults/default/logs?limit=50", "");
        if page.text().contains(&format!("\"{path}\"")) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "no row for {path}: {}",
            page.text()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_that_another_process_has_locked() {
    let stage = stage_on(Instance::builder());
    brokers(&stage, "/before");
    logged(&stage, "/before");
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        db.execute('begin immediate')\n\
        print('locked', flush=True)\n\
        sys.stdin.read()\n\
        db.execute('rollback')\n";
    let database = stage.instance.data_folder().join("agent-vault.db");
    let (holder, release) = Run::program(stage.instance.home(), "python3")
        .args(&["-c", script, &database.to_string_lossy()])
        .spawn_open();
    holder.stdout.wait_for_text("locked");

    brokers(&stage, "/during");
    assert_eq!(ready(&stage)["status"], "ready");
    let refused = write(&stage, "refused");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let said = refused.json();
    let said = format!("{} {}", said["error"], said["hint"]);
    assert!(said.contains("another process"), "{said}");
    // Rows are not waited for without end, and what is lost is counted.
    let deadline = Instant::now() + LOCK_PATIENCE;
    while lost(&stage) == 0.0 {
        assert!(Instant::now() < deadline, "no row was ever given up");
        std::thread::sleep(Duration::from_millis(50));
    }
    let counted = lost(&stage);
    assert!(stage.instance.log().contains("request log records lost"));

    drop(release);
    assert!(holder.finish().status.success());
    let made = write(&stage, "made");
    assert_eq!(made.status, 201, "{}", made.text());
    brokers(&stage, "/after");
    logged(&stage, "/after");
    assert_eq!(lost(&stage), counted);
    let vaults = stage.instance.api("GET", "/v1/vaults", "").text();
    assert!(
        vaults.contains("\"made\"") && !vaults.contains("\"refused\""),
        "{vaults}"
    );
}

/// What cannot be logged harms nobody: the process log goes to a file that takes nothing.
#[test]
fn a_process_log_that_cannot_be_written() {
    let stage =
        stage_on(Instance::builder().inside(&["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"]));
    for n in 0..3 {
        brokers(&stage, &format!("/{n}"));
    }
    assert_eq!(ready(&stage)["status"], "ready");
}

/// The data folder, with the process log, on a disk of its own of a few MiB.
#[test]
fn a_full_disk() {
    let probe = std::process::Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    let permitted = probe.as_ref().is_ok_and(|probe| probe.status.success());
    if !permitted {
        // Only a system that forbids unprivileged mounts takes this way; it is said, and CI's own permits them.
        eprintln!("not run: no file system of one's own may be mounted here ({probe:?})");
        return;
    }
    let home = agent_vault_testing::Home::new();
    let folder = home.join("small");
    std::fs::create_dir(&folder).expect("a folder");
    let folder = folder.to_string_lossy().into_owned();
    let script = format!(
        "mount -t tmpfs -o size=6m,mode=0700 tmpfs '{folder}' && exec \"$@\" 2>>'{folder}/process.log'"
    );
    let stage = stage_on(
        Instance::builder()
            .flag(&format!("--data-dir={folder}"))
            .inside(&["unshare", "-rm", "sh", "-c", &script, "sh"]),
    );
    brokers(&stage, "/before");
    logged(&stage, "/before");
    // Its mounts are seen by way of the process.
    let inside = format!("/proc/{}/root{folder}", stage.instance.pid());
    let ballast = format!("{inside}/ballast");
    let mut file = std::fs::File::create(&ballast).expect("a file on the small disk");
    let full = loop {
        if let Err(error) = file.write_all(&[7; 512]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    // What there is room for in files that exist already may still be written; not for long.
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut n = 0;
    let refused = loop {
        let reply = write(&stage, &format!("vault-{n}"));
        n += 1;
        if reply.status != 201 {
            break reply;
        }
        assert!(Instant::now() < deadline, "a full disk takes everything");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    let said = refused.json();
    let said = format!("{} {}", said["error"], said["hint"]);
    assert!(
        said.contains("disk is full") || said.contains("free some space"),
        "{said}"
    );
    let mut asked = 0;
    while lost(&stage) == 0.0 {
        asked += 1;
        brokers(&stage, &format!("/during/{asked}"));
        assert!(Instant::now() < deadline, "no row was ever lost");
    }
    brokers(&stage, "/during");
    assert_eq!(ready(&stage)["status"], "ready");
    // Reading goes on, and what was refused is not there.
    let vaults = stage.instance.api("GET", "/v1/vaults", "");
    assert_eq!(vaults.status, 200);
    assert!(!vaults.text().contains(&format!("\"vault-{}\"", n - 1)));

    drop(file);
    std::fs::remove_file(&ballast).expect("room again");
    let made = write(&stage, "made");
    let log = std::fs::read_to_string(format!("{inside}/process.log")).expect("the process log");
    assert_eq!(made.status, 201, "{}: {log}", made.text());
    brokers(&stage, "/after");
    logged(&stage, "/after");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn sigterm_under_load_lets_what_is_open_end() {
    let mut stage = stage_on(Instance::builder());
    let agent = Agent::of(&stage, "h2");
    let runtime = runtime();
    // Three exchanges that are under way, of which one has begun to be answered.
    let slow = stage.upstream.gate("slow");
    let stall = stage.upstream.gate("stall");
    let under_way: Vec<_> = ["/slow?gate=slow", "/slow?gate=slow", "/stall?gate=stall"]
        .into_iter()
        .map(|path| {
            let agent = agent.clone();
            runtime.spawn(async move { agent.get(path).await })
        })
        .collect();
    runtime.block_on(async {
        agent_vault_testing::within("slow requests to arrive", slow.arrived(2)).await;
        agent_vault_testing::within("a stalled answer", stall.arrived(1)).await;
    });
    // And others that come and go all the time.
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let (agent, stop) = (agent.clone(), Arc::clone(&stop));
            runtime.spawn(async move {
                let mut whole = 0_u32;
                while !stop.load(Ordering::SeqCst) {
                    match agent.get("/bytes/20000").await {
                        // Whatever was answered was answered whole.
                        Ok(answer) => {
                            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 20_000));
                            whole += 1;
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                whole
            })
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while total(&scrape(&stage.instance), "agent_vault_requests_total", &[]) < 20.0 {
        assert!(Instant::now() < deadline, "no load");
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.instance.signal(Signal::TERM);
    // No new one is let in from then on: its connection is refused or closed, never answered half.
    let deadline = Instant::now() + PATIENCE;
    while runtime.block_on(agent.get("/bytes/1")).is_ok() {
        assert!(Instant::now() < deadline, "a stopping server lets more in");
    }
    slow.open();
    stall.open();
    for exchange in under_way {
        let answer = runtime.block_on(exchange).expect("a task");
        let answer = answer.expect("an exchange that was under way ends");
        assert_eq!(answer.status, 200);
    }
    let status = stage.instance.wait();
    assert_eq!(status.code(), Some(0), "{status:?}");
    stop.store(true, Ordering::SeqCst);
    let whole: u32 = busy
        .into_iter()
        .map(|worker| runtime.block_on(worker).expect("a worker"))
        .sum();
    assert!(whole > 0);

    // What had ended is on record.
    stage.instance.start();
    let page = stage
        .instance
        .api("GET", "/v1/vaults/default/logs?limit=200", "");
    for path in ["/slow", "/stall"] {
        assert!(
            page.text().contains(&format!("\"{path}\"")),
            "{}",
            page.text()
        );
    }
    let readings = scrape(&stage.instance);
    assert_eq!(
        total(&readings, "agent_vault_started_after_crash", &[]),
        0.0
    );
}

#[test]
fn kill_9_under_load_keeps_every_row_that_was_seen() {
    let mut stage = stage_on(Instance::builder());
    let agent = Agent::of(&stage, "http/1.1");
    let runtime = runtime();
    for round in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..4)
            .map(|worker| {
                let (agent, stop) = (agent.clone(), Arc::clone(&stop));
                runtime.spawn(async move {
                    let mut n = 0;
                    while !stop.load(Ordering::SeqCst) {
                        n += 1;
                        let path = format!("/{round}/{worker}/{n}");
                        if agent.get(&path).await.is_err() {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                })
            })
            .collect();
        // Rows that somebody has read are acknowledged.
        let seen = loop {
            let page = stage
                .instance
                .api("GET", "/v1/vaults/default/logs?limit=200", "");
            let ids = ids(&page.json());
            if ids.len() > 40 * (round + 1) {
                break ids;
            }
        };
        stage.instance.kill();
        stop.store(true, Ordering::SeqCst);
        for worker in load {
            runtime.block_on(worker).expect("a worker");
        }
        stage.instance.start();
        let page = stage
            .instance
            .api("GET", "/v1/vaults/default/logs?limit=200", "");
        let kept = ids(&page.json());
        let oldest = kept.iter().min().copied().unwrap_or_default();
        for id in seen.iter().filter(|id| **id >= oldest) {
            assert!(kept.contains(id), "round {round}: row {id} is gone");
        }
        // The gap is told: nobody can count what was never written.
        let readings = scrape(&stage.instance);
        assert_eq!(
            total(&readings, "agent_vault_started_after_crash", &[]),
            1.0
        );
        assert!(stage.instance.log().contains("did not stop in order"));
        brokers(&stage, &format!("/after/{round}"));
    }
}

fn ids(page: &serde_json::Value) -> Vec<u64> {
    page["logs"]
        .as_array()
        .unwrap_or_else(|| panic!("{page}"))
        .iter()
        .map(|row| row["id"].as_u64().expect("an id"))
        .collect()
}
