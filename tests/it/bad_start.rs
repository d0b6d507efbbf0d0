//! Servers that do not start: each says why in one clear line with the right exit code, and leaves everything as it was.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use crate::stage::ports::free_port;
use agent_vault_testing::{Canary, Home};

use crate::stage::instance::Instance;
use crate::stage::process::{Outcome, Run};
use crate::stage::{Slot, Stage};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// A server on the data folder of `home` that is expected not to start.
fn refused(home: &Home, arguments: &[&str]) -> Outcome {
    let (api, proxy) = (free_port().to_string(), free_port().to_string());
    let outcome = Run::agent_vault(home)
        .args(&["server", "--port", &api, "--mitm-port", &proxy])
        .args(arguments)
        .fail(1);
    one_line(&outcome);
    outcome
}

/// One `error:` line, no panic, no backtrace, no usage text.
fn one_line(outcome: &Outcome) {
    let errors = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .count();
    assert_eq!(errors, 1, "{outcome:?}");
    for word in ["panicked", "Usage:", "stack backtrace"] {
        assert!(!outcome.stderr.contains(word), "{outcome:?}");
    }
}

/// Names, sizes and contents of all files of a data folder.
fn picture(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a data folder")
        .flatten()
        .filter(|entry| entry.path().is_file())
        // Held and released by every server that looks, empty when nobody serves.
        .filter(|entry| entry.file_name() != "agent-vault.lock")
        .map(|entry| {
            let content = std::fs::read(entry.path()).expect("a readable file");
            (entry.file_name().to_string_lossy().into_owned(), content)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_wrong_master_password_touches_nothing() {
    let mut instance = Instance::builder()
        .flag("--password-stdin")
        .stdin("the master password\n")
        .start();
    instance.register();
    let secret = Canary::new("sk-canary-");
    instance
        .person(&["vault", "credential", "set", "A_KEY", "--stdin"])
        .stdin(secret.expose())
        .succeed();
    instance.stop();
    let folder = instance.data_folder();
    let before = picture(&folder);
    for attempt in ["wrong", "the master password ", "x".repeat(4000).as_str()] {
        let outcome = Run::agent_vault(instance.home())
            .args(&[
                "server",
                "--port",
                "0",
                "--mitm-port",
                &free_port().to_string(),
                "--password-stdin",
            ])
            .stdin(format!("{attempt}\n"))
            .fail(1);
        one_line(&outcome);
        outcome.says(&["password"]);
        let by_variable = Run::agent_vault(instance.home())
            .args(&[
                "server",
                "--port",
                "0",
                "--mitm-port",
                &free_port().to_string(),
            ])
            .env("AGENT_VAULT_MASTER_PASSWORD", attempt)
            .fail(1);
        one_line(&by_variable);
    }
    // None at all, without a terminal: no prompt that nobody answers.
    refused(instance.home(), &[]).says(&["master password", "--password-stdin"]);
    assert!(
        picture(&folder) == before,
        "a refused start changed the data folder"
    );
    // The right one opens everything as it was.
    instance.start();
    let value = instance
        .person(&["vault", "credential", "get", "A_KEY"])
        .succeed();
    assert!(value.stdout == secret.expose());
    // There is no key beside the database for whoever copies the folder.
    secret.assert_absent_in_tree(instance.home().path());
    Canary::of("the master password").assert_absent_in_tree(&folder);
}

#[test]
fn a_password_for_a_store_without_one_is_an_error() {
    let mut instance = Instance::builder().start();
    instance.stop();
    let outcome = Run::agent_vault(instance.home())
        .args(&[
            "server",
            "--port",
            "0",
            "--mitm-port",
            &free_port().to_string(),
        ])
        .env("AGENT_VAULT_MASTER_PASSWORD", "protects nothing")
        .fail(1);
    one_line(&outcome);
    outcome.one_error_with_hint();
}

#[test]
fn a_taken_port_is_named() {
    let stage = stage();
    let home = Home::new();
    let taken = stage.instance.api_addr().port().to_string();
    for (api, proxy, flag) in [
        (taken.as_str(), free_port().to_string(), "--port"),
        (&free_port().to_string(), taken.clone(), "--mitm-port"),
    ] {
        let outcome = Run::agent_vault(&home)
            .args(&["server", "--port", api, "--mitm-port", &proxy])
            .fail(1);
        one_line(&outcome);
        outcome.one_error_with_hint().says(&[&taken, "taken", flag]);
    }
    assert!(
        !home.join(".agent-vault/agent-vault.db").exists(),
        "a start that failed made a store"
    );
}

#[test]
fn a_second_server_on_one_folder_is_refused() {
    let stage = stage();
    let outcome = refused(stage.instance.home(), &[]);
    outcome
        .one_error_with_hint()
        .says(&["already runs", &stage.instance.address(), "server stop"]);
    stage.instance.assert_alive();
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let home = Home::new();
    // A file where the folder should be: nobody can write there, not even root.
    home.write("in-the-way", "");
    let outcome = refused(
        &home,
        &[
            "--data-dir",
            &home.join("in-the-way/data").to_string_lossy(),
        ],
    );
    outcome.says(&["in-the-way"]);
    if rustix::process::geteuid().is_root() {
        return;
    }
    let folder = home.join("closed");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).expect("its mode");
    let outcome = refused(&home, &["--data-dir", &folder.to_string_lossy()]);
    outcome.says(&["closed"]);
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let mut instance = Instance::builder().start();
    instance.register();
    instance.stop();
    let database = instance.data_folder().join("agent-vault.db");
    let whole = std::fs::read(&database).expect("a database");
    let mut flipped = whole.clone();
    for byte in flipped.iter_mut().skip(4096).step_by(7) {
        *byte ^= 0x5a;
    }
    for (what, content) in [
        (
            "not a database",
            b"this was never a database, whatever its name says".repeat(200),
        ),
        ("pages of noise", flipped),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
    ] {
        for file in ["agent-vault.db-wal", "agent-vault.db-shm"] {
            std::fs::remove_file(instance.data_folder().join(file)).unwrap_or_default();
        }
        instance
            .home()
            .write(".agent-vault/agent-vault.db", &content);
        let outcome = refused(instance.home(), &[]);
        outcome.one_error_with_hint().says(&["agent-vault.db"]);
        let after = std::fs::read(&database).expect("a database");
        assert!(
            after == content,
            "{what}: a damaged database was written to"
        );
        let client = instance
            .person(&["vault", "list"])
            .env("HOME", instance.home().path())
            .finish();
        assert!(!client.stderr.contains("panicked"), "{client:?}");
    }
    // The whole one still starts.
    for file in ["agent-vault.db-wal", "agent-vault.db-shm"] {
        std::fs::remove_file(instance.data_folder().join(file)).unwrap_or_default();
    }
    instance.home().write(".agent-vault/agent-vault.db", &whole);
    instance.start();
    instance
        .person(&["vault", "list", "--address", &instance.address()])
        .finish();
    instance.assert_alive();
}

#[test]
fn a_newer_schema_is_named_and_left_alone() {
    let mut instance = Instance::builder().start();
    instance.stop();
    let script = r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
columns = [row[1] for row in db.execute("pragma table_info(schema_migrations)")]
row = list(db.execute("select * from schema_migrations order by version desc limit 1").fetchone())
row[columns.index("version")] = row[columns.index("id")] = 9999
row[columns.index("name")] = "from the future"
db.execute("insert into schema_migrations values (%s)" % ",".join("?" * len(row)), row)
db.commit()
db.execute("pragma wal_checkpoint(truncate)")
"#;
    Run::program(instance.home(), "python3")
        .args(&[
            "-c",
            script,
            &instance
                .data_folder()
                .join("agent-vault.db")
                .to_string_lossy(),
        ])
        .succeed();
    let before = picture(&instance.data_folder());
    let outcome = refused(instance.home(), &[]);
    outcome.one_error_with_hint().says(&["9999"]);
    let database = |files: &[(String, Vec<u8>)]| {
        files
            .iter()
            .find(|(name, _)| name == "agent-vault.db")
            .cloned()
    };
    assert!(database(&before) == database(&picture(&instance.data_folder())));
}

#[test]
fn settings_that_cannot_be_read_are_named_with_their_origin() {
    let home = Home::new();
    for (arguments, variable, words) in [
        (&["--port", "port"][..], ("X", ""), ["--port", "port"]),
        (
            &[],
            ("AGENT_VAULT_PORT", "70000"),
            ["AGENT_VAULT_PORT", "70000"],
        ),
        (&["--log-level", "loud"], ("X", ""), ["--log-level", "loud"]),
        (
            &[],
            ("AGENT_VAULT_NETWORK_ALLOWLIST", "everything"),
            ["AGENT_VAULT_NETWORK_ALLOWLIST", "everything"],
        ),
        (
            &["--upstream-ca", "/nowhere/ca.pem"],
            ("X", ""),
            ["upstream-ca", "/nowhere/ca.pem"],
        ),
        (
            &["--database-url", "postgres://x/y"],
            ("X", ""),
            ["PostgreSQL", "--database-url"],
        ),
    ] {
        let outcome = Run::agent_vault(&home)
            .args(&["server", "--mitm-port", &free_port().to_string()])
            .args(arguments)
            .env("AGENT_VAULT_PORT", free_port().to_string())
            .env(variable.0, variable.1)
            .finish();
        assert!(matches!(outcome.status.code(), Some(1 | 2)), "{outcome:?}");
        one_line(&outcome);
        outcome.says(&words);
    }
    // A word that no command knows starts nothing.
    let stray = Run::agent_vault(&home).args(&["server", "strat"]).fail(2);
    assert!(!stray.stderr.contains("panicked"), "{stray:?}");
    assert!(!home.join(".agent-vault/agent-vault.db").exists());
}

#[test]
fn a_broken_certificate_is_told_before_anything_is_made() {
    let home = Home::new();
    let ca = agent_vault_testing::pki::TestCa::new();
    let pair = |name: &str| {
        let validity = agent_vault_testing::pki::Validity::CURRENT;
        ca.issue(&[name.to_owned()], validity).to_pem()
    };
    let ((certificate, key), (_, other)) = (pair("one.example"), pair("two.example"));
    let write = |name: &str, content: &str| {
        let file = home.write(name, content);
        file.to_string_lossy().into_owned()
    };
    let (good, good_key) = (write("good.crt", &certificate), write("good.key", &key));
    let (other, empty) = (write("other.key", &other), write("empty", ""));
    for (certificate, key, says) in [
        ("/nonexistent", good_key.as_str(), "/nonexistent"),
        (&good, "/nonexistent", "/nonexistent"),
        (&empty, &good_key, "holds no certificate"),
        (&good, &empty, "holds no unencrypted private key"),
        (&good, &other, "does not belong"),
    ] {
        refused(&home, &["--tls-cert", certificate, "--tls-key", key])
            .says(&["the TLS certificate (--tls-cert, --tls-key)", says]);
    }
    refused(&home, &["--tls-cert", &good]).says(&["go together", "--tls-key"]);
    assert!(!home.join(".agent-vault/agent-vault.db").exists());
}
