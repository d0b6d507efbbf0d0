//! Master password, rotation of the data key under `kill -9`, backup and restore: with the real binary.

use std::path::Path;

use agent_vault_testing::Home;
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::stage::instance::Instance;
use crate::stage::process::Run;

const VALUES: usize = 400;

fn set_many(instance: &Instance) {
    let values: serde_json::Map<String, Value> = (0..VALUES)
        .map(|n| (format!("KEY_{n}"), json!(format!("value-{n}"))))
        .collect();
    let body = json!({"vault": "default", "credentials": values}).to_string();
    let reply = instance.api("POST", "/v1/credentials", &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn check_many(instance: &Instance) {
    let reply = instance.api("GET", "/v1/credentials?vault=default&reveal=true", "");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let all = body["credentials"].as_array().expect("a list");
    assert_eq!(all.len(), VALUES);
    for item in all {
        let key = item["key"].as_str().unwrap_or_default();
        let wanted = key.replace("KEY_", "value-");
        assert_eq!(item["value"], wanted, "{key}");
    }
}

fn key(instance: &Instance) -> Value {
    instance.api("GET", "/v1/instance/keys", "").json()
}

#[test]
fn m3_rotations_that_are_killed_lose_no_value_and_come_to_their_end() {
    let mut instance = Instance::builder()
        .env("AGENT_VAULT_RATELIMIT_PROFILE", "off")
        .start();
    instance.register();
    set_many(&instance);
    let first = key(&instance)["key_id"].clone();
    for _ in 0..4 {
        let reply = instance.api("POST", "/v1/instance/keys/rotate", "{}");
        assert!(matches!(reply.status, 200 | 409), "{}", reply.text());
        // At once: the values are being sealed again.
        instance.kill();
        instance.start();
        check_many(&instance);
    }
    // No sleep: each look is a whole request.
    while key(&instance)["rotating"] == true {}
    let last = key(&instance);
    assert_ne!(last["key_id"], first);
    assert_eq!(last["remaining"], 0);
    check_many(&instance);
    let file = std::fs::read_to_string(instance.data_folder().join("data.key")).unwrap();
    assert_eq!(
        file.trim().rsplit(':').next().unwrap().len(),
        64,
        "one key, the new one"
    );
}

fn run(home: &Home, folder: &Path, arguments: &[&str]) -> Run {
    Run::agent_vault(home)
        .args(arguments)
        .env("AGENT_VAULT_HOME", folder)
}

#[test]
fn w38_a_master_password_comes_and_goes_without_a_terminal() {
    let home = Home::new();
    let folder = home.path().join("vault");
    run(&home, &folder, &["vault", "credential", "set", "KEY=-"])
        .stdin("the value")
        .succeed();
    let password = |arguments: &[&str], lines: &str| {
        let arguments = [&["master-password"], arguments, &["--password-stdin"]].concat();
        run(&home, &folder, &arguments).stdin(lines)
    };
    password(&["change"], "a\nb\n")
        .fail(1)
        .says(&["no master password"]);
    password(&["set"], "short\n").fail(1).says(&["at least 8"]);
    password(&["set"], "correct horse\n").succeed();
    assert!(!folder.join("data.key").exists());
    let get = |variable: &str| {
        run(&home, &folder, &["vault", "credential", "get", "KEY"])
            .env("AGENT_VAULT_MASTER_PASSWORD", variable)
    };
    get("wrong horse").fail(1);
    assert_eq!(get("correct horse").succeed().stdout, "the value");
    password(&["set"], "another one\n")
        .fail(1)
        .says(&["has a master password"]);
    password(&["change"], "wrong horse\nbattery staple\n").fail(1);
    assert_eq!(get("correct horse").succeed().stdout, "the value");
    password(&["change"], "correct horse\nbattery staple\n").succeed();
    assert_eq!(get("battery staple").succeed().stdout, "the value");
    password(&["remove"], "battery staple\n").succeed();
    let plain = run(&home, &folder, &["vault", "credential", "get", "KEY"]).succeed();
    assert_eq!(plain.stdout, "the value");
}

#[test]
fn a_backup_of_a_running_server_brokers_on_an_empty_machine() {
    let mut stage = Stage::bearer();
    let away = Home::new();
    let file = away.path().join("vault.avb").to_string_lossy().into_owned();
    let passphrase = "four random words";
    let line = ["backup", &file, "--passphrase-stdin"];
    let owner = stage.instance.home();
    Run::agent_vault(owner)
        .args(&line)
        .stdin(passphrase)
        .succeed();
    stage.secret.assert_absent_in_tree(away.path());
    // Nothing is overwritten, on either side.
    Run::agent_vault(owner)
        .args(&line)
        .stdin(passphrase)
        .fail(1)
        .says(&["exists"]);
    let back = ["restore", &file, "--passphrase-stdin"];
    Run::agent_vault(owner)
        .args(&back)
        .stdin(passphrase)
        .fail(1)
        .says(&["nothing is overwritten"]);

    // The machine is lost.
    stage.instance.kill();
    std::fs::remove_dir_all(stage.instance.data_folder()).unwrap();
    let owner = stage.instance.home();
    Run::agent_vault(owner)
        .args(&back)
        .stdin("wrong words here")
        .fail(1)
        .says(&["does not open"]);
    assert!(!stage.instance.data_folder().join("agent-vault.db").exists());
    Run::agent_vault(owner)
        .args(&back)
        .stdin(passphrase)
        .succeed();
    stage.instance.start();
    let url = format!("https://{}/restored", stage.upstream.authority());
    let script = r#"exec curl -sS --fail -H "Authorization: Bearer $DEMO_KEY" "$1""#;
    stage.client(&["sh", "-c", script, "sh", &url]).succeed();
    stage.saw_bearer("/restored");
}
