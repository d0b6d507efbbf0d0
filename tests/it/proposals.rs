//! From a refusal to a brokered request: the agent asks, a person decides, and the next request works.

use agent_vault_testing::{Canary, Upstream};

use crate::stage::Stage;
use crate::stage::process::{Outcome, Run};

/// `curl` as the agent: status of the tunnel and of the answer.
fn fetch(stage: &Stage, path: &str) -> String {
    let proxy = format!("http://{}@{}", stage.token, stage.instance.proxy_addr());
    Run::program(&stage.agent, "curl")
        .args(&[
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_connect}",
            "--noproxy",
            "",
        ])
        .args(&[
            "--proxy",
            &proxy,
            "--cacert",
            &stage.root,
            &stage.upstream.url(path),
        ])
        .finish()
        .stdout
}

/// Insists on parts of a result, which goes to stdout; warnings go to stderr.
fn prints(outcome: &Outcome, parts: &[&str]) {
    let printed = format!("{}\n{}", outcome.stdout, outcome.stderr);
    for part in parts {
        assert!(printed.contains(part), "no {part:?} in {outcome:?}");
    }
}

fn strict() -> Stage {
    let stage = Stage::without_service(Upstream::builder());
    stage
        .instance
        .person(&["vault", "settings", "--unmatched-host-policy", "deny"])
        .succeed();
    stage
}

#[test]
fn w1_w2_refused_proposed_approved_brokered() {
    let stage = strict();
    let host = stage.upstream.authority();
    assert!(fetch(&stage, "/before").contains("403"));
    assert!(stage.upstream.latest("/before").is_none());
    let raised = stage
        .as_agent(&[
            "vault",
            "proposal",
            "create",
            "--host",
            &host,
            "--auth-type",
            "bearer",
            "--token-key",
            "TEAM_KEY",
            "--credential",
            "TEAM_KEY=Key of the team",
            "--message",
            "Read the report",
            "--json",
        ])
        .succeed()
        .json();
    assert_eq!(raised["status"], "pending", "{raised}");
    assert!(
        raised["approval_url"]
            .as_str()
            .is_some_and(|url| url.contains("/approve/1?token=av_appr_"))
    );
    // The agent sees it and cannot approve it.
    let shown = stage
        .as_agent(&["vault", "proposal", "get", "1", "--json"])
        .succeed()
        .json();
    assert_eq!(shown["status"], "pending");
    let shown = stage.as_agent(&["vault", "proposal", "list"]).succeed();
    prints(&shown, &["pending", "Read the report"]);
    stage
        .as_agent(&["vault", "proposal", "approve", "1", "TEAM_KEY=x", "--yes"])
        .fail(1);
    let waiting = stage
        .as_agent(&[
            "vault",
            "proposal",
            "show",
            "1",
            "--wait",
            "--timeout",
            "120",
            "--json",
        ])
        .spawn();
    // The person sees which key would go where, and gives the value.
    let secret = Canary::new("sk-approved-");
    let shown = stage
        .instance
        .person(&["vault", "proposal", "show", "1"])
        .succeed();
    prints(
        &shown,
        &[
            "TEAM_KEY",
            &host,
            "given with the approval",
            "Read the report",
        ],
    );
    let shown = stage
        .instance
        .person(&["vault", "proposal", "approve", "1", "TEAM_KEY=-", "--yes"])
        .stdin(format!("{}\n", secret.expose()))
        .succeed();
    prints(&shown, &["applied"]);
    let decided = waiting.finish();
    assert_eq!(decided.json()["status"], "applied", "{decided:?}");
    secret.assert_absent("what the agent sees", &decided.stdout);
    // The next request works.
    assert_eq!(fetch(&stage, "/after"), "200 200");
    let wanted = format!("Bearer {}", secret.expose());
    assert_eq!(stage.saw("/after").header_all("authorization"), [wanted]);
    stage.instance.sweep(&secret);
    // A person who asks as one is told what to do instead.
    stage
        .instance
        .person(&["vault", "proposal", "create", "--credential", "KEY"])
        .fail(1)
        .one_error_with_hint()
        .says(&["vault service add"]);
}

#[test]
fn w21_a_no_reaches_the_agent_and_a_stored_key_to_a_new_host_is_pointed_out() {
    let stage = strict();
    let stored = crate::stage::KEY;
    let shown = stage
        .as_agent(&[
            "vault",
            "proposal",
            "create",
            "--host",
            "collector.example.com",
            "--auth-type",
            "bearer",
            "--token-key",
            stored,
            "-m",
            "Harmless",
        ])
        .succeed();
    prints(&shown, &["approve/1?token="]);
    let shown = stage
        .instance
        .person(&["vault", "proposal", "show", "1"])
        .succeed();
    prints(
        &shown,
        &[
            stored,
            "collector.example.com",
            "the stored value",
            "where it does not go now",
        ],
    );
    stage
        .instance
        .person(&[
            "vault",
            "proposal",
            "reject",
            "1",
            "--reason",
            "not that host",
        ])
        .succeed();
    let shown = stage
        .as_agent(&["vault", "proposal", "show", "1", "--wait", "--json"])
        .succeed()
        .json();
    assert_eq!(shown["status"], "rejected");
    assert_eq!(shown["review_note"], "not that host");
    stage
        .instance
        .person(&["vault", "proposal", "approve", "1", "--yes"])
        .fail(1)
        .says(&["rejected"]);
}

#[test]
fn an_agent_that_saves_a_credential_uses_it_without_reading_it_back() {
    let stage = strict();
    // The role `proxy` saves nothing and reads nothing.
    stage
        .as_agent(&["vault", "credential", "set", "MADE_KEY", "--stdin"])
        .stdin("x")
        .fail(1)
        .says(&["Member role required"]);
    stage
        .as_agent(&["vault", "credential", "get", crate::stage::KEY])
        .fail(1);
    let token = stage
        .instance
        .person(&[
            "agent",
            "create",
            "saver",
            "--vault",
            "default:member",
            "--token-only",
        ])
        .succeed()
        .stdout
        .trim()
        .to_owned();
    let saver = Stage { token, ..stage };
    let secret = Canary::new("sk-made-by-an-agent-");
    saver
        .as_agent(&["vault", "credential", "set", "MADE_KEY", "--stdin"])
        .stdin(secret.expose())
        .succeed();
    saver.add_service(&["--auth-type", "bearer", "--token-key", "MADE_KEY"]);
    assert_eq!(fetch(&saver, "/saved"), "200 200");
    let wanted = format!("Bearer {}", secret.expose());
    assert_eq!(saver.saw("/saved").header_all("authorization"), [wanted]);
    saver.instance.sweep(&secret);
}
