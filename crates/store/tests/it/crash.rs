//! Processes that are killed while they write.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use agent_vault_store::{AuditVerdict, DEFAULT_VAULT_ID, LogQuery};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{at, entry, open, temp, vault};

/// Names the data folder; set only for the child processes of these tests.
const FOLDER: &str = "STORE_CRASH_FOLDER";
/// Tells the children of one folder apart.
const WRITER: &str = "STORE_CRASH_WRITER";

/// Not a test of its own: the body of the child processes. It opens the database from scratch, makes
/// or finds the key, and then writes for ever, printing what was acknowledged.
#[tokio::test]
async fn writer_process() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let writer = std::env::var(WRITER).unwrap();
    let store = open(Path::new(&folder)).await;
    let unlocked = store.unlock(None, at(1)).await.unwrap();
    say(&format!("key {}", unlocked.keyring.key_id()));
    for n in 0.. {
        let name = format!("vault-{writer}-{n}");
        let mut tx = store.begin().await.unwrap();
        tx.insert_vault(&vault(&name)).await.unwrap();
        tx.commit(&entry("vault.create")).await.unwrap();
        say(&format!("vault {name}"));
        store
            .append_logs(&[crate::logs::row(DEFAULT_VAULT_ID, n).as_append()])
            .await
            .unwrap();
    }
}

/// The harness catches `print!`, so the line goes to the pipe directly, and at once.
fn say(line: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "ack {line}").unwrap();
    stderr.flush().unwrap();
}

fn spawn(folder: &Path, writer: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::writer_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .env(WRITER, writer)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What a child acknowledged: reads up to `wanted` lines, kills it, and reads what was still said.
async fn acknowledged(mut child: Child, wanted: usize) -> Vec<String> {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (mut said, mut other) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next_line().await.unwrap() {
        match line.split_once("ack ") {
            Some((_, what)) => said.push(what.to_owned()),
            None => other.push(line),
        }
        if said.len() == wanted {
            // SIGKILL: no destructor, no flush, no goodbye.
            child.start_kill().unwrap();
        }
    }
    let status = child.wait().await.unwrap();
    assert!(
        status.code().is_none(),
        "the writer ended by itself: {other:#?}"
    );
    said
}

async fn check(folder: &Path, said: &[String], keys: &mut BTreeSet<String>) {
    let store = open(folder).await;
    let unlocked = store.unlock(None, at(1)).await.unwrap();
    let known: BTreeSet<String> = store
        .vaults()
        .await
        .unwrap()
        .into_iter()
        .map(|vault| vault.name)
        .collect();
    for line in said {
        match line.split_once(' ').unwrap() {
            ("vault", name) => assert!(known.contains(name), "lost {name}"),
            (_, key) => {
                keys.insert(key.to_owned());
            }
        }
    }
    keys.insert(unlocked.keyring.key_id().to_string());
    assert_eq!(keys.len(), 1, "one key for ever");
    // Each vault came with its record and its version, or not at all.
    let commits = store.version().await.unwrap();
    assert_eq!(
        known.len() as i64,
        commits,
        "`default` for the key's own commit"
    );
    let verdict = store.verify_audit().await.unwrap();
    assert!(
        matches!(verdict, AuditVerdict::Intact { records, .. } if records as i64 == commits),
        "{verdict:?}"
    );
    store
        .log_page(&LogQuery::newest(DEFAULT_VAULT_ID))
        .await
        .unwrap();
    store.close().await;
}

#[tokio::test]
async fn killed_writers_lose_nothing_that_was_acknowledged() {
    let temp = temp();
    let (mut said, mut keys) = (Vec::new(), BTreeSet::new());
    for round in 0..12_usize {
        // Killed after the key, the first write, and ever later ones.
        let child = spawn(temp.path(), &round.to_string());
        said.extend(acknowledged(child, 1 + round * round / 2).await);
        check(temp.path(), &said, &mut keys).await;
    }
    assert!(said.len() > 100);
}

#[tokio::test]
async fn first_starts_killed_at_any_point_heal() {
    let temp = temp();
    let mut keys = BTreeSet::new();
    for round in 0..8_u32 {
        // Killed while it creates folder, database, schema, key file or record: wherever the
        // scheduler let it get to by the time its files reach this stage.
        let folder = temp.path().join(format!("start-{}", round / 4));
        let mut child = spawn(&folder, &round.to_string());
        let stage = folder.join(
            [
                "agent-vault.db",
                "agent-vault.db-wal",
                "data.key",
                "data.key",
            ][round as usize % 4],
        );
        while !stage.exists() && child.try_wait().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        child.start_kill().unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(
            output.status.code().is_none(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if round % 4 == 3 {
            keys.clear();
            check(&folder, &[], &mut keys).await;
        }
    }
}

#[tokio::test]
async fn two_processes_share_a_file_while_one_is_killed() {
    let temp = temp();
    let folder = temp.path();
    let (one, two) = tokio::join!(
        acknowledged(spawn(folder, "one"), 20),
        acknowledged(spawn(folder, "two"), 60),
    );
    let said = [one, two].concat();
    check(folder, &said, &mut BTreeSet::new()).await;
}
