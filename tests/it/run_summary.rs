//! The lines of `run` before and after: what is brokered, what was done, and every silent failure with its remedy.

use std::sync::{Arc, Mutex, Weak};

use agent_vault_testing::Upstream;

use crate::stage::process::Outcome;
use crate::stage::{KEY, Slot, Stage};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, || {
        let stage = Stage::bearer();
        for vault in ["empty", "lacking", "denying"] {
            stage.instance.person(&["vault", "create", vault]).succeed();
        }
        let host = stage.upstream.authority();
        stage
            .instance
            .person(&[
                "vault", "service", "add", "--vault", "lacking", "--name", "lacks", "--host", &host,
            ])
            .args(&["--auth-type", "bearer", "--token-key", "MISSING_KEY"])
            .succeed();
        stage
            .instance
            .person(&[
                "vault",
                "settings",
                "--vault",
                "denying",
                "--unmatched-host-policy",
                "deny",
            ])
            .succeed();
        stage
    })
}

/// Runs a shell script with curl against the upstream, in `vault`, as the person who is logged in.
fn run(stage: &Stage, vault: &str, script: &str) -> Outcome {
    let script = format!("get() {{ curl -sS -o /dev/null --noproxy '' \"$@\"; }}; {script}");
    let outcome = stage
        .instance
        .person(&[
            "run",
            "--vault",
            vault,
            "--",
            "sh",
            "-c",
            &script,
            "sh",
            &stage.upstream.url(""),
        ])
        .finish();
    stage.secret.assert_absent("stdout", &outcome.stdout);
    stage.secret.assert_absent("stderr", &outcome.stderr);
    outcome
}

#[test]
fn every_request_is_counted_once() {
    let stage = stage();
    let plain = Upstream::builder().plain().start();
    let other = plain.url("/other");
    let outcome = run(
        &stage,
        "default",
        &format!(r#"get "$1/one"; get "$1/two" "$1/three"; get {other}"#),
    );
    assert!(outcome.status.success(), "{outcome:?}");
    outcome.says(&[
        "brokering",
        &stage.upstream.authority(),
        "host mode hides nothing",
        "4 requests: 3 brokered, 1 passed without a credential, 0 refused",
    ]);
    let request = plain.latest("/other").expect("the plain request");
    assert!(request.header("authorization").is_none());
    assert!(request.header("proxy-authorization").is_none());
}

#[test]
fn a_run_without_requests_says_so() {
    let stage = stage();
    run(&stage, "default", "true").says(&["no request came through the proxy"]);
}

#[test]
fn a_vault_without_a_service_is_named() {
    let stage = stage();
    let outcome = run(&stage, "empty", r#"get "$1/empty""#);
    outcome.says(&[
        "no service",
        "vault service add --vault empty",
        "1 passed without a credential",
    ]);
    assert!(stage.saw("/empty").header("authorization").is_none());
}

#[test]
fn a_missing_credential_is_named_and_nothing_leaves() {
    let stage = stage();
    let outcome = run(&stage, "lacking", r#"get "$1/lacking""#);
    outcome.says(&[
        "lacks",
        "MISSING_KEY",
        "vault credential set MISSING_KEY",
        "1 refused",
    ]);
    assert!(stage.upstream.latest("/lacking").is_none());
    let logs = stage
        .instance
        .person(&["vault", "logs", "--vault", "lacking"])
        .succeed();
    assert!(
        logs.stdout.contains("vault credential set MISSING_KEY"),
        "{logs:?}"
    );
}

#[test]
fn a_placeholder_that_left_unreplaced_is_named() {
    let stage = stage();
    // The key's placeholder where no substitution looks.
    let outcome = run(
        &stage,
        "default",
        r#"get -d "key=$DEMO_KEY" "$1/echo?case=unreplaced-body"; get -H "X-Key: $DEMO_KEY" "$1/echo?case=unreplaced-header""#,
    );
    outcome.says(&[
        "placeholder of DEMO_KEY",
        "unreplaced;",
        "unreplaced, in a body;",
        "--substitute DEMO_KEY=",
        "@header,path,query\n",
        "@header,path,query,body\n",
    ]);
    // One that is quoted in a text is most likely nobody's mistake: a note, and no warning.
    let transcript = r#"get --json "{\"content\":\"the key is $DEMO_KEY\",\"arguments\":\"{\\\"key\\\":\\\"$DEMO_KEY\\\"}\"}" "$1/quoted""#;
    let outcome = run(&stage, "default", transcript);
    assert!(
        !outcome.stderr.contains("unreplaced") && !outcome.stderr.contains("mend:"),
        "{outcome:?}"
    );
    outcome.says(&["note: the placeholder of DEMO_KEY was quoted"]);
    assert!(
        stage
            .upstream
            .latest("/quoted")
            .unwrap()
            .body_text()
            .contains(r#"\"key\":\""#)
    );
    let logs = stage
        .instance
        .person(&["vault", "logs", "--json"])
        .succeed();
    assert!(
        logs.stdout.contains("placeholder_unreplaced:DEMO_KEY")
            && logs
                .stdout
                .contains("placeholder_unreplaced_in_body:DEMO_KEY"),
        "{logs:?}"
    );
    let logs = stage.instance.person(&["vault", "logs"]).succeed();
    assert!(
        logs.stdout.contains("unreplaced, in a body")
            && logs.stdout.contains("@header,path,query,body\n")
            && logs
                .stdout
                .contains("note: the placeholder of DEMO_KEY was quoted"),
        "{logs:?}"
    );
    stage.saw_bearer("/echo?case=unreplaced-header");
}

#[test]
fn a_brokered_request_that_was_answered_401_is_named() {
    let stage = stage();
    for status in ["401", "403"] {
        let outcome = run(&stage, "default", &format!(r#"get "$1/status/{status}""#));
        outcome.says(&[
            &format!("answered {status}"),
            KEY,
            "vault credential set DEMO_KEY",
        ]);
    }
}

#[test]
fn a_refusal_by_policy_is_named() {
    let stage = stage();
    let outcome = run(&stage, "denying", r#"get "$1/denied""#);
    outcome.says(&["refused", "vault service add --vault denying", "1 refused"]);
    assert!(stage.upstream.latest("/denied").is_none());
}

#[test]
fn a_credential_does_not_cross_the_network_in_clear_unless_told_to() {
    let stage = stage();
    let plain = Upstream::builder().plain().start();
    let add = |flags: &[&str]| {
        stage
            .instance
            .person(&[
                "vault",
                "service",
                "add",
                "--name",
                "plain",
                "--host",
                &plain.authority(),
            ])
            .args(flags)
            .succeed();
    };
    add(&["--auth-type", "bearer", "--token-key", KEY]);
    let fetch = |target: &str| run(&stage, "default", &format!("get {}", plain.url(target)));
    fetch("/clear-refused").says(&["1 refused", "https", "--require-tls=false"]);
    assert!(plain.requests().is_empty());
    add(&["--require-tls=false"]);
    fetch("/clear-allowed").says(&["1 brokered"]);
    let request = plain.latest("/clear-allowed").expect("the request");
    assert!(request.header("authorization") == Some(&format!("Bearer {}", stage.secret.expose())));
}
