//! `agent-vault server` as a process: in the background, with a master password, and its settings on show.

use crate::stage::ports::free_port;
use agent_vault_testing::{Canary, Home};

use crate::stage::http;
use crate::stage::instance::Instance;
use crate::stage::process::Run;

/// A server in the background is no child of ours: it is stopped by its own command, whatever becomes of the test.
struct Background(Home);

impl Drop for Background {
    fn drop(&mut self) {
        Run::agent_vault(&self.0).args(&["server", "stop"]).finish();
    }
}

#[test]
fn in_the_background() {
    let background = Background(Home::new());
    let home = &background.0;
    let (api, proxy) = (free_port(), free_port());
    let started = Run::agent_vault(home)
        .args(&["server", "--detach", "--password-stdin"])
        .args(&[
            "--port",
            &api.to_string(),
            "--mitm-port",
            &proxy.to_string(),
        ])
        .stdin("master password in the background\n")
        .succeed();
    let address = format!("http://127.0.0.1:{api}");
    assert!(started.stdout.contains(&address), "{started:?}");
    let health = http::call(([127, 0, 0, 1], api).into(), "GET", "/health", &[], b"");
    assert_eq!(health.status, 200);
    let pid =
        std::fs::read_to_string(home.join(".agent-vault/agent-vault.pid")).expect("a pid file");
    assert!(started.stdout.contains(pid.trim()), "{started:?}");
    let password = Canary::of("master password in the background");
    for file in ["cmdline", "environ"] {
        let content = std::fs::read(format!("/proc/{}/{file}", pid.trim())).unwrap_or_default();
        password.assert_absent(file, content);
    }
    password.assert_absent_in_tree(home.path());
    let stopped = Run::agent_vault(home).args(&["server", "stop"]).succeed();
    assert!(stopped.stdout.contains(pid.trim()), "{stopped:?}");
    // It comes back with its password, and not without.
    let run = || {
        Run::agent_vault(home).args(&["server", "--detach"]).args(&[
            "--port",
            &api.to_string(),
            "--mitm-port",
            &proxy.to_string(),
        ])
    };
    run().fail(1).one_error_with_hint();
    run()
        .env(
            "AGENT_VAULT_MASTER_PASSWORD",
            "master password in the background",
        )
        .succeed();
}

#[test]
fn a_master_password_leaves_the_environment() {
    let password = Canary::new("master-");
    let instance = Instance::builder()
        .env("AGENT_VAULT_MASTER_PASSWORD", password.expose())
        .start();
    instance.register();
    instance
        .person(&["vault", "credential", "set", "A_KEY", "--stdin"])
        .stdin("some value")
        .succeed();
    instance.sweep(&password);
    // With a master password there is no key beside the database.
    let names: Vec<_> = std::fs::read_dir(instance.data_folder())
        .expect("a data folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|name| name.contains("key")), "{names:?}");
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let instance = Instance::builder().start();
    instance.register();
    let folder = instance.data_folder();
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .expect("a file")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).expect("a data folder").flatten() {
        let path = entry.path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn settings_are_shown_with_their_origin() {
    let home = Home::new();
    let outcome = Run::agent_vault(&home)
        .args(&["server", "--print-config", "--port", "15000"])
        .env("AGENT_VAULT_LOG_LEVEL", "debug")
        .succeed();
    let line = |name: &str| {
        outcome
            .stdout
            .lines()
            .find(|line| line.starts_with(&format!("{name} = ")))
            .unwrap_or_else(|| panic!("no {name} in {outcome:?}"))
    };
    assert!(
        line("port").contains("15000") && line("port").contains("--port"),
        "{outcome:?}"
    );
    assert!(
        line("log_level").contains("AGENT_VAULT_LOG_LEVEL"),
        "{outcome:?}"
    );
    assert!(
        !home.join(".agent-vault").exists(),
        "looking at settings made a folder"
    );
}
