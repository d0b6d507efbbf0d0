//! What a process has few of: descriptors, and places in caches for names that nobody asked for before.

use std::process::Stdio;
use std::time::Duration;

use agent_vault_testing::client;
use agent_vault_testing::{Canary, within};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::lanes::{guarded, serves_on};
use crate::fixture::{Agent, Far, HOST, Stage, Way};

/// Descriptors that the proxy's process may have open.
const DESCRIPTORS: usize = 96;
/// Set for the process that is the proxy.
const CHILD: &str = "AGENT_VAULT_TEST_EXHAUSTED";

/// A proxy in a process of its own with few descriptors: more connections than it can take wait in the kernel, the loop that accepts
/// them rests in between, and once they are gone it serves as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_without_descriptors_rests_and_serves_on() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--ignored"])
        .arg("attacks::exhaustion::the_exhausted_process")
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addr = within("the address of the proxy", async {
        loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("a line of the child's");
            if let Some((_, addr)) = line.split_once("listening on ") {
                return addr.trim().parse::<std::net::SocketAddr>().unwrap();
            }
        }
    })
    .await;

    let pid = child.id().unwrap();
    let mut held: Vec<TcpStream> = Vec::new();
    for round in 0..3 {
        // They stay without a word, as slow clients do; those beyond the limit are not accepted.
        while held.len() < 2 * DESCRIPTORS {
            held.push(client::dial(addr).await.unwrap());
        }
        if round == 0 {
            // Many times the pause of the loop. A loop that does not rest takes all of this time of a processor, or what it gets.
            let before = processor_time(pid);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let spent = processor_time(pid) - before;
            assert!(
                spent < 50,
                "{spent} hundredths of a second were spent on waiting"
            );
        }
        held.clear();
        within("an answer after the flood", async {
            loop {
                let mut socket = client::dial(addr).await.unwrap();
                let _ = socket
                    .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    .await;
                let (answer, _) = crate::doors::read_until(&mut socket, |_| false).await;
                if answer.starts_with("HTTP/1.1 400 ") {
                    return;
                }
            }
        })
        .await;
    }
    drop(child.stdin.take());
    within("the proxy to end", child.wait()).await.unwrap();
}

/// User and system time of a process, in clock ticks (hundredths of a second).
fn processor_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').unwrap_or(("", ""));
    rest.split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

/// The proxy of the test above; it ends when its standard input does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of another test"]
async fn the_exhausted_process() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let stage = Stage::builder().start().await;
    let mut out = std::io::stdout();
    std::io::Write::write_all(
        &mut out,
        format!("\nlistening on {}\n", stage.addr).as_bytes(),
    )
    .unwrap();
    std::io::Write::flush(&mut out).unwrap();
    let ended = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    ended.await.unwrap().unwrap();
}

/// One agent asks for hosts that nobody knows, each a new certificate, a new look-up and a new route. What is known before stays as
/// quick as it was, and all of it is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_new_names_leaves_nothing_behind() {
    const NAMES: usize = 400;

    let upstream = Far::H1.start();
    let (stage, secret) = guarded(&upstream).await;
    serves_on(&stage, Way::H1, &upstream).await;
    let port = upstream.port();
    let mut storm = tokio::task::JoinSet::new();
    let config = stage.tls(&["http/1.1"]);
    let (addr, auth) = (stage.addr, stage.auth());
    for lane in 0..8 {
        let (config, auth) = (std::sync::Arc::clone(&config), auth.clone());
        storm.spawn(async move {
            for index in 0..NAMES / 8 {
                // A name that no upstream has a certificate for: refused after everything was made for it.
                let authority = format!("n{index}-{lane}.storm.test:{port}");
                let mut http = client::Http::through(addr, &authority, Some(&auth), &config)
                    .await
                    .unwrap();
                let answer = http.get(&authority, "/", &[]).await.unwrap();
                assert_eq!(answer.status, 502);
            }
        });
    }
    // Others are served while it blows.
    for _ in 0..5 {
        serves_on(&stage, Way::H1, &upstream).await;
    }
    while let Some(ended) = storm.join_next().await {
        ended.unwrap();
    }
    let mut agent = Agent::open(&stage, Way::H1, &upstream.authority_of(HOST)).await;
    assert_eq!(agent.get("/", &[]).await.status, 200);
    assert!(upstream.requests().iter().all(|seen| {
        seen.header("authorization")
            .is_some_and(|value| value.ends_with(secret.expose()))
    }));
    let other = Canary::of(stage.token.clone());
    other.assert_absent("the log", format!("{:?}", stage.logged(NAMES).await));
}
