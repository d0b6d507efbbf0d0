use serde_json::json;

use super::Shell;
use super::fake::Fake;

#[tokio::test]
async fn an_agent_and_its_token() {
    let fake = Fake::start().await;
    fake.on("POST /v1/agents", 201, json!({"av_agent_token": "av_agt_secret", "name": "bot", "role": "no-access", "vaults": [{"vault_name": "work", "vault_role": "proxy"}]}));
    let shell = Shell::logged_in(&fake.address);
    let only = shell
        .run(&["agent", "create", "bot", "--vault", "work", "--token-only"])
        .await;
    assert_eq!(
        (only.code, only.out.as_str(), only.err.as_str()),
        (0, "av_agt_secret\n", "")
    );
    assert_eq!(
        fake.asked()[0].body,
        json!({"name": "bot", "role": "no-access", "vaults": [{"vault_name": "work", "vault_role": "proxy"}]})
    );
    let told = shell
        .run(&["agent", "create", "bot", "--vault", "work:admin"])
        .await;
    assert!(told.out.contains("av_agt_secret") && told.err.contains("AGENT_VAULT_VAULT=work"));
    assert!(
        !told.err.contains("av_agt_secret"),
        "no token inside a shell line"
    );
    assert_eq!(
        shell
            .run(&["agent", "create", "bot", "--vault", "work:boss"])
            .await
            .code,
        2
    );
}

#[tokio::test]
async fn vault_tokens_and_settings() {
    let fake = Fake::start().await;
    fake.on("GET /v1/sessions", 200, json!({"sessions": [{"id": "0123", "label": "nightly", "vault_role": "proxy", "created_by": {"display_name": "me@x.example"}, "created_at": "2026-01-02T03:04:05Z"}]}));
    fake.on(
        "PATCH /v1/vaults/work/settings",
        200,
        json!({"unmatched_host_policy": "deny"}),
    );
    fake.on(
        "GET /v1/vaults/work/settings",
        200,
        json!({"unmatched_host_policy": "passthrough"}),
    );
    fake.on("POST /v1/vaults/work/agents", 201, json!({"message": "ok"}));
    let shell = Shell::logged_in(&fake.address);
    let token = shell
        .run(&["vault", "token", "--ttl", "600", "--label", "nightly"])
        .await;
    assert_eq!(token.out, "av_sess_scoped");
    assert_eq!(
        fake.asked_for("POST /v1/sessions")[0].body,
        json!({"vault": "work", "ttl_seconds": 600, "label": "nightly"})
    );
    assert!(
        shell
            .run(&["vault", "token", "list"])
            .await
            .out
            .contains("nightly")
    );
    assert!(
        shell
            .run(&["vault", "settings", "get"])
            .await
            .out
            .contains("passthrough")
    );
    assert_eq!(
        shell
            .run(&["vault", "settings", "set", "--unmatched-host", "deny"])
            .await
            .code,
        0
    );
    assert_eq!(
        fake.asked_for("PATCH")[0].body,
        json!({"unmatched_host_policy": "deny"})
    );
    assert_eq!(shell.run(&["vault", "agent", "add", "bot"]).await.code, 0);
    assert_eq!(
        fake.asked_for("POST /v1/vaults/work/agents")[0].body,
        json!({"name": "bot", "role": "proxy"})
    );
}

#[tokio::test]
async fn the_project_file() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    assert_eq!(shell.run(&["vault", "init"]).await.code, 0);
    let text = std::fs::read_to_string(shell.cwd().join("agent-vault.json")).unwrap();
    assert_eq!(text, "{\n  \"vault\": \"work\"\n}\n");
    assert_eq!(
        shell.run(&["vault", "init", "--vault", "other"]).await.code,
        1
    );
    assert_eq!(
        shell
            .run(&["vault", "init", "--vault", "other", "--yes"])
            .await
            .code,
        0
    );
}
