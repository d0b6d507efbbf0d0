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
    // As the original has it: nought is the server's default.
    let token = shell.run(&["vault", "token", "--ttl", "0"]).await;
    assert_eq!(token.code, 0, "{}", token.err);
    assert_eq!(
        fake.asked_for("POST /v1/sessions")[1].body,
        json!({"vault": "work"})
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

#[tokio::test]
async fn w13_membership_and_hosts_that_nothing_covers() {
    let fake = Fake::start().await;
    for action in ["join", "leave"] {
        fake.on(
            &format!("POST /v1/vaults/work/{action}"),
            200,
            json!({"message": "done"}),
        );
    }
    fake.on(
        "GET /v1/vaults/work/discovered-hosts",
        200,
        json!({"hosts": [{"host": "api.new.example", "request_count": 3, "last_seen": "2026-01-02T03:04:05Z",
            "auth_scheme": "Bearer", "auth_header": "Authorization"}], "total": 7}),
    );
    let shell = Shell::logged_in(&fake.address);
    assert_eq!(shell.run(&["vault", "use", "work"]).await.code, 0);
    let joined = shell.run(&["vault", "join", "work"]).await;
    assert_eq!(joined.code, 0, "{}", joined.err);
    let hosts = shell.run(&["vault", "hosts", "--limit", "5"]).await;
    assert_eq!(hosts.code, 0, "{}", hosts.err);
    for shown in ["api.new.example", "3", "Bearer in Authorization"] {
        assert!(hosts.out.contains(shown), "{}", hosts.out);
    }
    assert!(
        hosts.err.contains("1 of 7") && hosts.err.contains("service add --vault work"),
        "{}",
        hosts.err
    );
    assert_eq!(
        fake.asked_for("GET /v1/vaults/work/discovered-hosts?limit=5")
            .len(),
        1
    );
    let number = shell.run(&["vault", "hosts", "-n", "0"]).await;
    assert_eq!(number.out, "7\n");
    assert_eq!(shell.run(&["vault", "hosts", "-n", "101"]).await.code, 2);

    // The vault that one left is no longer the one that commands use.
    let left = shell.run(&["vault", "leave", "work", "--yes"]).await;
    assert_eq!(left.code, 0, "{}", left.err);
    let current = shell.run(&["vault", "current"]).await;
    assert!(!current.err.contains("vault use"), "{}", current.err);
}
