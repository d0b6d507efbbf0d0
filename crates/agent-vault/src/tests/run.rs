use serde_json::json;

use super::Shell;
use super::fake::Fake;

const DUMP: &str = "env > env.txt";

fn child_env(shell: &Shell, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(shell.cwd().join("env.txt")).unwrap();
    text.lines()
        .find_map(|l| l.strip_prefix(&format!("{name}=")))
        .map(str::to_owned)
}

async fn run_sh(shell: &Shell, flags: &[&str], script: &str) -> super::Done {
    let script = format!("cd {}; {script}", shell.cwd().display());
    let args: Vec<&str> = ["run"]
        .into_iter()
        .chain(flags.iter().copied())
        .chain(["--", "sh", "-c", &script])
        .collect();
    shell.run(&args).await
}

#[tokio::test]
async fn w29_a_token_is_minted_labelled_and_ended() {
    let fake = Fake::start().await;
    fake.on("GET /v1/vaults/work/logs", 200, json!({"logs": [
        {"id": 2, "host": "api.pay.example:443", "matched_service": "pay", "credential_keys": ["PAY_KEY"], "status": 401, "decision": "inject"},
        {"id": 1, "host": "other.example:443", "status": 200, "decision": "forward", "warnings": ["placeholder_unreplaced:PAY_KEY"]}
    ], "next_cursor": null, "latest_id": 2}));
    let shell = Shell::logged_in(&fake.address)
        .set("PAY_KEY", "sk-real-inherited")
        .set("https_proxy", "http://corp:1")
        .set("ALL_PROXY", "socks5://corp:2")
        .set("AGENT_VAULT_MASTER_PASSWORD", "");
    let done = run_sh(
        &shell,
        &["--ttl", "600"],
        &format!("{DUMP}; cp \"$SSL_CERT_FILE\" bundle.pem; exit 7"),
    )
    .await;
    assert_eq!(done.code, 7, "{}", done.err);
    assert_eq!(done.out, "");
    let mint = &fake.asked_for("POST /v1/sessions")[0];
    assert_eq!(
        mint.body,
        json!({"vault": "work", "ttl_seconds": 600, "label": "run: sh"})
    );
    let ended = fake.asked().last().unwrap().clone();
    assert_eq!(
        (ended.line.as_str(), ended.token.as_deref()),
        (
            "DELETE /v1/sessions/0123456789abcdef0123?vault=work",
            Some("av_sess_me")
        )
    );
    let discover = &fake.asked_for("GET /discover")[0];
    assert_eq!(
        (discover.token.as_deref(), discover.vault.as_deref()),
        (Some("av_sess_scoped"), Some("work"))
    );
    let url = "http://av_sess_scoped:work@127.0.0.1:14999";
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        assert_eq!(child_env(&shell, name).as_deref(), Some(url), "{name}");
    }
    assert_eq!(
        child_env(&shell, "PAY_KEY").as_deref(),
        Some("sk_test_stand_in")
    );
    assert_eq!(child_env(&shell, "ALL_PROXY"), None);
    assert_eq!(
        child_env(&shell, "AGENT_VAULT_TOKEN").as_deref(),
        Some("av_sess_scoped")
    );
    assert_eq!(
        child_env(&shell, "AGENT_VAULT_ADDR").as_deref(),
        Some(fake.address.as_str())
    );
    assert_eq!(
        child_env(&shell, "AGENT_VAULT_VAULT").as_deref(),
        Some("work")
    );
    let bundle = child_env(&shell, "SSL_CERT_FILE").unwrap();
    assert!(
        !std::path::Path::new(&bundle).exists(),
        "the bundle goes with the run"
    );
    assert!(done.err.contains("agent-vault: vault \"work\": brokering api.pay.example (PAY_KEY); host mode hides nothing"), "{}", done.err);
    assert!(
        done.err.contains(
            "agent-vault: 2 requests: 1 brokered, 1 passed without a credential, 0 refused"
        ),
        "{}",
        done.err
    );
    assert!(
        done.err.contains("answered 401")
            && done
                .err
                .contains("placeholder of PAY_KEY left for other.example"),
        "{}",
        done.err
    );
    assert!(
        fake.asked_for("GET /v1/vaults/work/logs")[0]
            .line
            .contains("session=0123456789abcdef0123")
    );
}

#[tokio::test]
async fn nothing_is_minted_for_a_command_that_cannot_run() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for (args, code) in [
        (&["run", "--", "no-such-command-here"][..], 1),
        (&["run", "--", "/etc/passwd"], 1),
        (&["run", "--ttl", "10", "--", "sh"], 2),
        (&["run", "--isolation", "container", "--", "sh"], 2),
        (&["run", "--isolation=jail", "--", "sh"], 2),
        (&["run", "--image", "x", "--", "sh"], 2),
        (&["run", "--no-such-flag", "--", "sh"], 2),
        (&["run"], 2),
    ] {
        let done = shell.run(args).await;
        assert_eq!(done.code, code, "{args:?}: {}", done.err);
    }
    assert!(fake.asked().is_empty());
    assert_eq!(
        Shell::logged_in(&fake.address)
            .set("AGENT_VAULT_ISOLATION", "container")
            .run(&["run", "sh"])
            .await
            .code,
        2
    );
}

#[tokio::test]
async fn w14_flags_after_the_command_are_the_commands() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let done = shell
        .run(&[
            "vault", "run", "--quiet", "sh", "-c", "exit $#", "x", "--vault", "--ttl",
        ])
        .await;
    assert_eq!(
        (done.code, done.err.as_str()),
        (2, ""),
        "two arguments reached the script, and quiet is quiet"
    );
}

#[tokio::test]
async fn an_agents_token_goes_to_the_child_as_it_is() {
    let fake = Fake::start().await;
    let shell = Shell::new()
        .set("AGENT_VAULT_TOKEN", "av_agt_x")
        .set("AGENT_VAULT_ADDR", &fake.address)
        .set("AGENT_VAULT_VAULT", "work");
    let done = run_sh(&shell, &[], DUMP).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(
        child_env(&shell, "AGENT_VAULT_TOKEN").as_deref(),
        Some("av_agt_x")
    );
    assert!(fake.asked_for("POST").is_empty() && fake.asked_for("DELETE").is_empty());
    assert_eq!(run_sh(&shell, &["--ttl", "600"], DUMP).await.code, 2);
    let other = Shell::new()
        .set("AGENT_VAULT_TOKEN", "av_agt_x")
        .set("AGENT_VAULT_ADDR", &fake.address);
    let mismatch = run_sh(&other, &["--vault", "other"], DUMP).await;
    assert!(
        mismatch.code == 1
            && mismatch
                .err
                .contains("for vault \"work\", not for \"other\""),
        "{}",
        mismatch.err
    );
    fake.on(
        "GET /discover",
        401,
        json!({"error": "Invalid or expired session"}),
    );
    let rejected = run_sh(&other, &[], DUMP).await;
    assert!(
        rejected
            .err
            .contains("the server rejected AGENT_VAULT_TOKEN"),
        "{}",
        rejected.err
    );
}

#[tokio::test]
async fn w48_a_vault_without_services_is_told_before_and_after() {
    let fake = Fake::start().await;
    fake.on(
        "GET /discover",
        200,
        json!({"vault": "work", "services": [], "available_credentials": []}),
    );
    let done = run_sh(&Shell::logged_in(&fake.address), &[], "true").await;
    assert!(
        done.err.contains("no service, so nothing is brokered")
            && done.err.contains("mend: agent-vault vault service add"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn a_proxy_that_is_off_mints_nothing() {
    let fake = Fake::start().await;
    fake.on("GET /v1/mitm/ca.pem", 404, json!({"error": "off"}));
    let done = run_sh(&Shell::logged_in(&fake.address), &[], "true").await;
    assert!(
        done.code == 1 && done.err.contains("proxy is switched off"),
        "{}",
        done.err
    );
    assert!(fake.asked_for("POST").is_empty());
}

#[tokio::test]
async fn a_token_is_ended_even_if_the_run_fails() {
    let fake = Fake::start().await;
    fake.on("GET /discover", 500, json!({"error": "broken"}));
    let done = run_sh(&Shell::logged_in(&fake.address), &[], "true").await;
    assert_eq!(done.code, 1);
    assert_eq!(fake.asked_for("DELETE /v1/sessions/").len(), 1);
}
