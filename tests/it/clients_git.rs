//! git over HTTPS: its first CONNECT carries no credentials, and it sends passwords as Basic.

use std::sync::{Arc, Mutex, Weak};

use agent_vault_testing::{Canary, Upstream};

use crate::stage::process::{Outcome, Run};
use crate::stage::{KEY, Slot, Stage};

const USER: &str = "robot";
/// What the agent has instead of the password.
const PLACEHOLDER: &str = "__git_token__";

/// Two services on one host: below `/git/basic` the user and password are put in, elsewhere a placeholder is replaced.
fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, || {
        let secret = Canary::new("ghp_canary");
        let upstream = Upstream::builder().git(USER, secret.expose());
        let stage = Stage::with_secret(secret, upstream);
        stage
            .instance
            .person(&["vault", "credential", "set", "GIT_USER=-"])
            .stdin(USER)
            .succeed();
        let host = stage.upstream.authority();
        stage.add_service_named(
            "git-basic",
            &format!("{host}/git/basic*"),
            &[
                "--auth-type",
                "basic",
                "--username-key",
                "GIT_USER",
                "--password-key",
                KEY,
            ],
        );
        stage.add_service_named(
            "git-placeholder",
            &host,
            &[
                "--auth-type",
                "passthrough",
                "--substitute",
                &format!("{KEY}={PLACEHOLDER}@header"),
            ],
        );
        stage
    })
}

/// `git …` in a folder of the agent's home.
fn git(stage: &Stage, folder: &str, arguments: &[&str]) -> Run {
    let mut line = vec![
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t.test",
        "-c",
        "init.defaultBranch=main",
    ];
    line.extend_from_slice(arguments);
    stage
        .client(&line)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CURL_VERBOSE", "1")
        .current_dir(stage.agent.join(folder))
}

/// A push in chunks as git makes them, over HTTP/1.1. Not over HTTP/2: there, libcurl 7.88 now and then asks git for
/// more after the end, and git 2.39 then waits for itself, with any server.
const CHUNKED: [&str; 2] = ["-c", "http.version=HTTP/1.1"];
/// A push in one piece, over HTTP/2.
const WHOLE: [&str; 2] = ["-c", "http.postBuffer=16777216"];

/// Clones, commits, pushes and clones again; returns what the last clone said.
fn round_trip(stage: &Stage, url: &str, name: &str, how: [&str; 2]) -> Outcome {
    let work = format!("{name}-work");
    git(stage, "", &["clone", url, &work]).succeed();
    // More than one packet and more than git buffers before it sends chunked (1 MiB).
    let noise: String = (0_u64..200_000)
        .map(|n| format!("{:016x}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    stage.agent.write(format!("{work}/file.txt"), &noise);
    git(stage, &work, &["add", "."]).succeed();
    git(stage, &work, &["commit", "--quiet", "-m", "first"]).succeed();
    let push = [&how[..], &["push", "origin", "HEAD:main"]].concat();
    git(stage, &work, &push).succeed();
    let again = format!("{name}-again");
    let outcome = git(stage, "", &["clone", url, &again]).succeed();
    let cloned = std::fs::read(stage.agent.join(format!("{again}/file.txt"))).expect("the file");
    assert_eq!(cloned.len(), noise.len());
    outcome
}

#[test]
fn clone_and_push_with_credentials_that_are_put_in() {
    let stage = stage();
    stage.upstream.git_repository("basic");
    let outcome = round_trip(
        &stage,
        &stage.upstream.url("/git/basic.git"),
        "basic",
        CHUNKED,
    );
    // The dance: refused first, then let in on the same connection.
    outcome.says(&["407"]);
    stage.sweep(&outcome);
}

#[test]
fn clone_and_push_with_a_placeholder_as_password() {
    let stage = stage();
    stage.upstream.git_repository("placeholder");
    let url = stage
        .upstream
        .url("/git/placeholder.git")
        .replace("https://", &format!("https://{USER}:{PLACEHOLDER}@"));
    let outcome = round_trip(&stage, &url, "placeholder", WHOLE);
    stage.sweep(&outcome);
}

#[test]
fn without_either_the_upstream_refuses() {
    let stage = stage();
    stage.upstream.git_repository("closed");
    let outcome = git(
        &stage,
        "",
        &["clone", &stage.upstream.url("/git/closed.git"), "closed"],
    )
    .finish();
    assert!(!outcome.status.success(), "{outcome:?}");
    stage.sweep(&outcome);
}
