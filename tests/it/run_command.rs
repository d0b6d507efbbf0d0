//! `agent-vault run`: the token's life, exit codes, signals, stdin; with a server and without one.

use std::sync::{Arc, Mutex, Weak};

use agent_vault_testing::{Canary, Home, Upstream};
use rustix::process::Signal;

use crate::stage::instance::LOCAL;
use crate::stage::process::Run;
use crate::stage::{KEY, Slot, Stage, http};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// `agent-vault run -- sh -c SCRIPT` as the person who is logged in.
fn sh(stage: &Stage, script: &str) -> Run {
    stage.instance.person(&["run", "--", "sh", "-c", script])
}

#[test]
fn the_token_is_minted_labelled_and_revoked() {
    let stage = stage();
    let (running, stdin) =
        sh(&stage, r#"echo "token=$AGENT_VAULT_TOKEN;"; read -r go"#).spawn_open();
    let token = running.stdout.wait_for("the child's token", |text| {
        let rest = text.split_once("token=")?.1;
        Some(rest.split_once(';')?.0.to_owned())
    });
    let list = stage
        .instance
        .person(&["vault", "token", "list", "--json"])
        .succeed();
    let label = |list: &serde_json::Value| {
        list["sessions"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|session| session["label"] == "run: sh")
            .count()
    };
    assert!(label(&list.json()) >= 1, "{list:?}");
    assert!(!list.stdout.contains(&token), "a token is shown once");
    let discover = |token: &str| {
        let authorization = format!("Bearer {token}");
        http::call(
            stage.instance.api_addr(),
            "GET",
            "/discover",
            &[("authorization", &authorization)],
            b"",
        )
        .status
    };
    assert_eq!(discover(&token), 200);
    drop(stdin);
    running.finish();
    assert_eq!(discover(&token), 401, "the run's token outlived the run");
}

#[test]
fn the_exit_is_the_childs() {
    let stage = stage();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
    ] {
        let outcome = sh(&stage, script).finish();
        assert_eq!(outcome.shell_code(), code, "{outcome:?}");
    }
}

#[test]
fn a_command_that_is_not_there_mints_nothing() {
    let stage = stage();
    let outcome = stage
        .instance
        .person(&["run", "--", "no-such-command-here"])
        .finish();
    assert!(!outcome.status.success(), "{outcome:?}");
    outcome
        .one_error_with_hint()
        .says(&["no-such-command-here", "not found"]);
    let list = stage
        .instance
        .person(&["vault", "token", "list", "--json"])
        .succeed();
    assert!(!list.stdout.contains("no-such-command-here"), "{list:?}");
}

#[test]
fn signals_reach_the_child_and_its_answer_comes_back() {
    let stage = stage();
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
    ] {
        let script = format!(
            "trap 'echo got {name}; exit 42' {name}; echo up; while :; do sleep 0.02; done"
        );
        let running = sh(&stage, &script).spawn();
        running.stdout.wait_for_text("up");
        running.signal(signal);
        let outcome = running.finish();
        assert_eq!(outcome.status.code(), Some(42), "{outcome:?}");
        assert!(
            outcome.stdout.contains(&format!("got {name}")),
            "{outcome:?}"
        );
    }
    // A child without a handler dies of it, and so it looks from outside.
    let running = sh(&stage, "echo up; exec sleep 60").spawn();
    running.stdout.wait_for_text("up");
    running.signal(Signal::TERM);
    assert_eq!(running.finish().shell_code(), 128 + 15);
}

#[test]
fn stdin_stdout_and_stderr_are_the_childs() {
    let stage = stage();
    let input = "line\n".repeat(100_000);
    let outcome = stage
        .instance
        .person(&["run", "--", "sh", "-c", "cat; echo to-stderr >&2"])
        .stdin(&input)
        .succeed();
    assert!(
        outcome.stdout == input,
        "{} bytes came back",
        outcome.stdout.len()
    );
    outcome.says(&["to-stderr"]);
    let quiet = stage
        .instance
        .person(&["run", "--quiet", "--", "sh", "-c", "echo only >&2"])
        .succeed();
    assert_eq!(
        (quiet.stdout.as_str(), quiet.stderr.as_str()),
        ("", "only\n")
    );
}

#[test]
fn an_agents_token_is_used_as_it_is_and_survives() {
    let stage = stage();
    let outcome = stage
        .as_agent(&[
            "run",
            "--",
            "sh",
            "-c",
            r#"[ "$AGENT_VAULT_TOKEN" = "$1" ] && echo same"#,
            "sh",
            &stage.token,
        ])
        .succeed();
    assert_eq!(outcome.stdout, "same\n");
    stage.as_agent(&["run", "--", "true"]).succeed();
    let bad = stage
        .as_agent(&["run", "--", "true"])
        .env("AGENT_VAULT_TOKEN", format!("av_agt_{}", "0".repeat(64)))
        .fail(1);
    bad.one_error_with_hint().says(&["AGENT_VAULT_TOKEN"]);
}

#[test]
fn a_wrong_vault_is_named_with_what_to_do() {
    let stage = stage();
    let outcome = stage
        .instance
        .person(&["run", "--vault", "no-such-vault", "--", "true"])
        .fail(1);
    outcome.one_error_with_hint().says(&["no-such-vault"]);
    let outcome = stage
        .as_agent(&["run", "--vault", "no-such-vault", "--", "true"])
        .fail(1);
    outcome.one_error_with_hint().says(&["no-such-vault"]);
}

/// A home without any server, and an upstream for it.
struct Alone {
    home: Home,
    upstream: Upstream,
    secret: Canary,
}

impl Alone {
    fn new() -> Self {
        let alone = Self {
            home: Home::new(),
            upstream: Upstream::start(),
            secret: Canary::new("sk-canary-"),
        };
        alone.home.write("upstream-ca.pem", alone.upstream.ca_pem());
        alone
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::agent_vault(&self.home)
            .args(arguments)
            .envs(&LOCAL)
            .env("AGENT_VAULT_UPSTREAM_CA", self.home.join("upstream-ca.pem"))
    }

    fn set_up(&self) {
        self.run(&["vault", "credential", "set", KEY, "--stdin"])
            .stdin(self.secret.expose())
            .succeed();
        self.run(&[
            "vault",
            "service",
            "add",
            "--host",
            &self.upstream.authority(),
        ])
        .args(&["--auth-type", "bearer", "--token-key", KEY])
        .succeed();
    }
}

#[test]
fn without_any_server_it_brings_its_own() {
    let alone = Alone::new();
    alone.set_up();
    let url = alone.upstream.url("/echo");
    let outcome = alone
        .run(&[
            "run",
            "--",
            "sh",
            "-c",
            r#"env; exec curl -sS --fail --noproxy "" "$1""#,
            "sh",
            &url,
        ])
        .succeed();
    let request = alone.upstream.latest("/echo").expect("a request");
    assert!(request.header("authorization") == Some(&format!("Bearer {}", alone.secret.expose())));
    alone.secret.assert_absent("stdout", &outcome.stdout);
    alone.secret.assert_absent("stderr", &outcome.stderr);
    alone.secret.assert_absent_in_tree(alone.home.path());
    outcome.says(&["brokering", "1 request: 1 brokered"]);
    // Nothing of the run stays: no listener, no bundle, no token.
    let left: Vec<_> = std::fs::read_dir(alone.home.join(".agent-vault/run"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    let logs = alone.run(&["vault", "logs"]).succeed();
    assert!(logs.stdout.contains("/echo"), "{logs:?}");
}

#[test]
fn two_at_once_share_the_local_vault() {
    let alone = Alone::new();
    alone.set_up();
    let script =
        r#"echo up; read -r go; curl -sS --fail --noproxy "" "$1" >/dev/null && echo fetched"#;
    let start = |target: &str| {
        let url = alone.upstream.url(target);
        alone
            .run(&["run", "--", "sh", "-c", script, "sh", &url])
            .spawn_open()
    };
    let (first, first_stdin) = start("/echo?case=first");
    let (second, second_stdin) = start("/echo?case=second");
    first.stdout.wait_for_text("up");
    second.stdout.wait_for_text("up");
    // What one changes, the other brokers: a new value while both run.
    let rotated = Canary::new("sk-rotated-");
    alone
        .run(&["vault", "credential", "set", KEY, "--stdin"])
        .stdin(rotated.expose())
        .succeed();
    drop(first_stdin);
    let first = first.finish();
    assert!(first.stdout.contains("fetched"), "{first:?}");
    // The end of one does not end the other.
    drop(second_stdin);
    let second = second.finish();
    assert!(second.stdout.contains("fetched"), "{second:?}");
    for request in alone.upstream.requests() {
        let bearer = request
            .header("authorization")
            .unwrap_or_default()
            .to_owned();
        assert!(
            bearer == format!("Bearer {}", rotated.expose())
                || bearer == format!("Bearer {}", alone.secret.expose()),
            "a request without the credential"
        );
    }
    let logs = alone.run(&["vault", "logs", "--json"]).succeed().json();
    assert_eq!(logs["logs"].as_array().map(Vec::len), Some(2), "{logs}");
    for canary in [&alone.secret, &rotated] {
        canary.assert_absent_in_tree(alone.home.path());
    }
}

#[test]
fn an_address_without_a_login_is_an_error_with_a_hint() {
    let stage = stage();
    let outcome = Run::agent_vault(&stage.agent)
        .args(&["vault", "list"])
        .env("AGENT_VAULT_ADDR", stage.instance.address())
        .fail(1);
    outcome
        .one_error_with_hint()
        .says(&["not logged in", "auth login"]);
}

#[test]
fn a_local_vault_can_have_a_master_password() {
    let alone = Alone::new();
    let password = Canary::new("master-");
    let with_password = |arguments: &[&str]| {
        alone
            .run(arguments)
            .env("AGENT_VAULT_MASTER_PASSWORD", password.expose())
    };
    with_password(&["vault", "credential", "set", KEY, "--stdin"])
        .stdin(alone.secret.expose())
        .succeed();
    with_password(&[
        "vault",
        "service",
        "add",
        "--host",
        &alone.upstream.authority(),
    ])
    .args(&["--auth-type", "bearer", "--token-key", KEY])
    .succeed();
    for wrong in [None, Some("not the password")] {
        let run = alone.run(&["run", "--", "true"]);
        let run = match wrong {
            None => run,
            Some(wrong) => run.env("AGENT_VAULT_MASTER_PASSWORD", wrong),
        };
        run.fail(1).says(&["password"]);
    }
    let url = alone.upstream.url("/echo");
    let outcome = with_password(&[
        "run",
        "--",
        "sh",
        "-c",
        r#"env; exec curl -sS --fail "$1""#,
        "sh",
        &url,
    ])
    .succeed();
    password.assert_absent("the child's environment", &outcome.stdout);
    let request = alone.upstream.latest("/echo").expect("a request");
    assert!(request.header("authorization") == Some(&format!("Bearer {}", alone.secret.expose())));
    for canary in [&password, &alone.secret] {
        canary.assert_absent_in_tree(alone.home.path());
    }
}
