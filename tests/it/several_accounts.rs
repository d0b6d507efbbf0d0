//! Several accounts on one host: the agent or a placeholder chooses, and a choice that is open is an error with a hint.

use std::sync::{Arc, Mutex, Weak};

use agent_vault_testing::{Canary, Upstream};

use crate::stage::process::{Outcome, Run};
use crate::stage::{Slot, Stage};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, || Stage::without_service(Upstream::builder()))
}

/// A vault with the credentials `FIRST_KEY` and `SECOND_KEY`.
fn vault(stage: &Stage, name: &str) -> (Canary, Canary) {
    stage.instance.person(&["vault", "create", name]).succeed();
    let canaries = (Canary::new("first-"), Canary::new("second-"));
    for (key, canary) in [("FIRST_KEY", &canaries.0), ("SECOND_KEY", &canaries.1)] {
        stage
            .instance
            .person(&[
                "vault",
                "credential",
                "set",
                "--vault",
                name,
                key,
                "--stdin",
            ])
            .stdin(canary.expose())
            .succeed();
    }
    canaries
}

fn service(stage: &Stage, vault: &str, name: &str, flags: &[&str]) -> Run {
    let host = stage.upstream.authority();
    stage
        .instance
        .person(&[
            "vault", "service", "add", "--vault", vault, "--name", name, "--host", &host,
        ])
        .args(flags)
}

/// curl inside `run`, with the token of an agent or, without one, as the person who is logged in.
fn fetch(stage: &Stage, vault: &str, token: Option<&str>, target: &str, header: &str) -> Outcome {
    let url = stage.upstream.url(target);
    let line = [
        "run",
        "--vault",
        vault,
        "--",
        "curl",
        "-sS",
        "-i",
        "--http1.1",
        "-H",
        header,
        &url,
    ];
    let run = match token {
        None => stage.instance.person(&line),
        Some(token) => stage.as_agent(&line).env("AGENT_VAULT_TOKEN", token),
    };
    run.succeed()
}

#[test]
fn the_agent_chooses() {
    let stage = stage();
    let (first, second) = vault(&stage, "by-agent");
    for (name, agent, key) in [
        ("first", "agent-one", "FIRST_KEY"),
        ("second", "agent-two", "SECOND_KEY"),
    ] {
        service(
            &stage,
            "by-agent",
            name,
            &[
                "--auth-type",
                "bearer",
                "--token-key",
                key,
                "--agents",
                agent,
            ],
        )
        .succeed();
    }
    for (agent, canary) in [("agent-one", &first), ("agent-two", &second)] {
        let token = stage
            .instance
            .person(&[
                "agent",
                "create",
                agent,
                "--vault",
                "by-agent",
                "--token-only",
            ])
            .succeed()
            .stdout;
        let target = format!("/echo?by={agent}");
        let outcome = fetch(
            &stage,
            "by-agent",
            Some(token.trim()),
            &target,
            "x-nothing: 1",
        );
        let sent = stage.saw(&target).header_all("authorization");
        assert!(
            sent == [format!("Bearer {}", canary.expose())],
            "{agent} got another account"
        );
        canary.assert_absent("the answer", &outcome.stdout);
    }
}

#[test]
fn a_placeholder_chooses_and_an_open_choice_is_an_error() {
    let stage = stage();
    let (first, second) = vault(&stage, "by-placeholder");
    for (name, key, placeholder) in [
        ("first", "FIRST_KEY", "__first_account__"),
        ("second", "SECOND_KEY", "__second_account__"),
    ] {
        service(
            &stage,
            "by-placeholder",
            name,
            &[
                "--auth-type",
                "bearer",
                "--token-key",
                key,
                "--select-placeholder",
                placeholder,
            ],
        )
        .succeed();
    }
    for (placeholder, canary) in [
        ("__first_account__", &first),
        ("__second_account__", &second),
    ] {
        let target = format!("/echo?by={}", placeholder.trim_matches('_'));
        let header = format!("authorization: Bearer {placeholder}");
        let outcome = fetch(&stage, "by-placeholder", None, &target, &header);
        let sent = stage.saw(&target).header_all("authorization");
        assert!(
            sent == [format!("Bearer {}", canary.expose())],
            "{placeholder} chose another account: {outcome:?}"
        );
    }
    let outcome = fetch(
        &stage,
        "by-placeholder",
        None,
        "/echo?by=both",
        "authorization: Bearer __first_account__ __second_account__",
    );
    assert!(
        stage
            .upstream
            .requests()
            .iter()
            .all(|request| request.target != "/echo?by=both")
    );
    assert!(
        outcome
            .stdout
            .to_lowercase()
            .contains("x-agent-vault-proxy-error: true"),
        "{outcome:?}"
    );
    assert!(outcome.stdout.contains("hint"), "{outcome:?}");
    outcome.says(&["1 refused", "several services fit"]);
}
