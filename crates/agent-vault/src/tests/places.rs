use serde_json::json;

use super::Shell;
use super::fake::Fake;

#[tokio::test]
async fn w17_a_login_is_sent_to_its_own_server_only() {
    let (mine, other) = (Fake::start().await, Fake::start().await);
    let shell = Shell::logged_in(&mine.address);
    let done = shell
        .run(&["vault", "list", "--address", &other.address])
        .await;
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains("error: not logged in at")
            && done
                .err
                .contains("hint: log in with `agent-vault auth login --address"),
        "{}",
        done.err
    );
    let by_env = Shell::logged_in(&mine.address).set("AGENT_VAULT_ADDR", &other.address);
    assert_eq!(by_env.run(&["vault", "list"]).await.code, 1);
    assert!(other.asked().is_empty());
    assert_eq!(shell.run(&["vault", "list"]).await.code, 0);
    assert_eq!(mine.asked()[0].token.as_deref(), Some("av_sess_me"));
}

#[tokio::test]
async fn w4_one_address_rule_for_every_command() {
    let fake = Fake::start().await;
    let shell = Shell::new()
        .set("AGENT_VAULT_TOKEN", "av_agt_x")
        .set("AGENT_VAULT_ADDR", &format!("{}/", fake.address));
    for args in [
        &["vault", "list"][..],
        &["vault", "service", "list"],
        &["vault", "credential", "list"],
        &["vault", "logs"],
        &["vault", "discover"],
        &["ca", "fetch"],
        &["status"],
    ] {
        let done = shell.run(args).await;
        assert_eq!(done.code, 0, "{args:?}: {}", done.err);
        assert!(!fake.asked().is_empty());
    }
    // The flag beats the variable.
    let other = Fake::start().await;
    assert_eq!(
        shell
            .run(&["vault", "list", "--address", &other.address])
            .await
            .code,
        0
    );
    assert_eq!(other.asked().len(), 1);
}

#[tokio::test]
async fn a_token_without_an_address_is_an_error() {
    let done = Shell::new()
        .set("AGENT_VAULT_TOKEN", "av_agt_x")
        .run(&["vault", "credential", "list"])
        .await;
    assert_eq!(done.code, 1);
    assert!(done.err.contains("AGENT_VAULT_ADDR"));
}

#[tokio::test]
async fn w5_the_vault_rule_in_its_order() {
    let fake = Fake::start().await;
    let asked_vault = |fake: &Fake| {
        fake.asked_for("GET /v1/credentials")
            .last()
            .unwrap()
            .line
            .clone()
    };
    let shell = Shell::logged_in(&fake.address);
    assert_eq!(shell.run(&["vault", "credential", "list"]).await.code, 0);
    assert!(asked_vault(&fake).contains("vault=work"), "the only one");
    fake.on(
        "GET /v1/vaults",
        200,
        json!({"vaults": [{"name": "a"}, {"name": "b"}]}),
    );
    let none = shell.run(&["vault", "credential", "list"]).await;
    assert_eq!(none.code, 1);
    assert!(none.err.contains("a, b") && none.err.contains("--vault"));
    assert_eq!(shell.run(&["vault", "use", "b"]).await.code, 0);
    assert_eq!(shell.run(&["vault", "use", "c"]).await.code, 1);
    assert_eq!(shell.run(&["vault", "creds", "list"]).await.code, 0);
    assert!(asked_vault(&fake).contains("vault=b"), "the active one");
    shell.file("agent-vault.json", r#"{"vault": "project"}"#);
    assert_eq!(shell.run(&["vault", "credential", "list"]).await.code, 0);
    assert!(asked_vault(&fake).contains("vault=project"));
    let shell = shell.set("AGENT_VAULT_VAULT", "env");
    shell.run(&["vault", "credential", "list"]).await;
    assert!(asked_vault(&fake).contains("vault=env"));
    shell
        .run(&["vault", "credential", "list", "--vault", "flag"])
        .await;
    assert!(asked_vault(&fake).contains("vault=flag"));
    shell
        .run(&["vault", "--vault", "flag2", "credential", "list"])
        .await;
    assert!(asked_vault(&fake).contains("vault=flag2"));
    let current = shell.run(&["vault", "current"]).await;
    assert_eq!(current.out, "env\n");
}

#[tokio::test]
async fn w9_errors_are_said_once_with_a_hint() {
    let fake = Fake::start().await;
    fake.on(
        "GET /v1/vaults",
        503,
        json!({"error": "not_initialized", "message": "There is no owner yet"}),
    );
    let done = Shell::logged_in(&fake.address)
        .run(&["vault", "list"])
        .await;
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    assert_eq!(
        done.err,
        "error: There is no owner yet\nhint: create the owner with `agent-vault auth register`\n"
    );
    let gone = Shell::logged_in("http://127.0.0.1:1")
        .run(&["vault", "list"])
        .await;
    assert!(
        gone.err
            .starts_with("error: cannot reach http://127.0.0.1:1: ")
            && gone.err.contains("\nhint: "),
        "{}",
        gone.err
    );
    fake.on("GET /v1/vaults", 401, json!({"error": "Session expired"}));
    let expired = Shell::logged_in(&fake.address)
        .run(&["vault", "list"])
        .await;
    assert!(
        expired.err.contains("Session expired") && expired.err.contains("auth login --address"),
        "{}",
        expired.err
    );
}

#[tokio::test]
async fn w14_words_that_nobody_knows_are_errors() {
    let shell = Shell::new();
    for args in [
        &["server", "stpo"][..],
        &["vault", "lst"],
        &["--nope"],
        &["vault", "create"],
        &["version", "x"],
    ] {
        let done = shell.run(args).await;
        assert_eq!(done.code, 2, "{args:?}");
        assert!(done.err.starts_with("error:"), "{}", done.err);
    }
    assert!(!shell.home().exists());
    for args in [&[][..], &["vault"], &["auth"], &["agent", "--help"]] {
        let done = shell.run(args).await;
        assert_eq!(done.code, 0, "{args:?}");
        assert!(done.out.contains("Usage:"), "{}", done.out);
    }
    let version = shell.run(&["--telemetry=false", "version"]).await;
    let lines: Vec<_> = version.out.lines().collect();
    assert_eq!(lines.len(), 5, "{}", version.out);
    for (line, start) in lines.iter().zip([
        "agent-vault ",
        "commit: ",
        "built: ",
        "rust: rustc 1.",
        std::env::consts::OS,
    ]) {
        assert!(line.starts_with(start), "{}", version.out);
    }
}

#[tokio::test]
async fn status_is_one_screen() {
    let fake = Fake::start().await;
    fake.on(
        "GET /v1/auth/me",
        200,
        json!({"type": "user", "email": "me@x.example", "role": "owner"}),
    );
    let done = Shell::logged_in(&fake.address).run(&["status"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    for word in [
        " up",
        "port 14999",
        "me@x.example (owner)",
        "work (from the only one)",
        "api.pay.example",
        "PAY_KEY",
    ] {
        assert!(done.out.contains(word), "{word}: {}", done.out);
    }
    let json = Shell::logged_in(&fake.address)
        .run(&["status", "--json"])
        .await;
    let value: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(value["vault"], "work");
    let gone = Shell::logged_in("http://127.0.0.1:1")
        .run(&["status"])
        .await;
    assert_eq!(gone.code, 1);
    assert!(gone.out.contains("cannot be reached"));
    // Nothing is made by looking.
    let nobody = Shell::new();
    let done = nobody.run(&["status"]).await;
    assert_eq!(done.code, 0);
    assert!(done.out.contains("none; commands work on the local vault") && !nobody.home().exists());
}

#[tokio::test]
async fn json_is_the_servers_own_answer() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for args in [
        &["vault", "list", "--json"][..],
        &["vault", "service", "list", "--json"],
        &["vault", "credential", "list", "--json"],
        &["vault", "logs", "--json"],
        &["vault", "discover", "--json"],
    ] {
        let done = shell.run(args).await;
        assert_eq!(done.code, 0, "{args:?} {}", done.err);
        assert!(done.out.ends_with('\n') && done.out.lines().count() == 1);
        serde_json::from_str::<serde_json::Value>(&done.out).unwrap();
    }
    // A person names the vault, and gets what an agent gets.
    fake.on(
        "GET /discover",
        200,
        json!({"vault": "work", "anything": [1]}),
    );
    let person = shell.run(&["vault", "discover", "--json"]).await;
    assert_eq!(person.out, "{\"anything\":[1],\"vault\":\"work\"}\n");
    let asked = fake.asked_for("GET /discover");
    assert!(asked.iter().all(|a| a.vault.as_deref() == Some("work")));
}

#[tokio::test]
async fn names_from_elsewhere_cannot_steer_the_terminal() {
    let fake = Fake::start().await;
    fake.on(
        "GET /v1/vaults",
        200,
        json!({"vaults": [{"name": "x\u{1b}]0;owned\u{7}"}]}),
    );
    let done = Shell::logged_in(&fake.address)
        .run(&["vault", "list"])
        .await;
    assert!(
        !done.out.contains('\u{1b}') && done.out.contains("u{1b}"),
        "{}",
        done.out
    );
}

#[tokio::test]
async fn w12_what_cannot_be_undone_wants_yes() {
    let fake = Fake::start().await;
    fake.on(
        "DELETE /v1/",
        200,
        json!({"removed": "pay", "deleted": true}),
    );
    fake.on(
        "POST /v1/agents/bot/",
        200,
        json!({"av_agent_token": "av_agt_new", "name": "bot"}),
    );
    fake.on(
        "POST /v1/vaults/work/leave",
        200,
        json!({"message": "left"}),
    );
    fake.on(
        "GET /v1/admin/users/me",
        200,
        json!({"email": "me@x.example", "role": "member"}),
    );
    let shell = Shell::logged_in(&fake.address);
    for args in [
        &["vault", "delete", "work"][..],
        &["vault", "service", "remove", "pay"],
        &["vault", "service", "clear"],
        &["vault", "credential", "delete", "PAY_KEY"],
        &["vault", "token", "revoke", "0123"],
        &["vault", "agent", "remove", "bot"],
        &["agent", "revoke", "bot"],
        &["agent", "delete", "bot"],
        &["agent", "rotate", "bot"],
        &["vault", "leave", "work"],
        &["account", "delete"],
    ] {
        let before = fake
            .asked()
            .iter()
            .filter(|a| !a.line.starts_with("GET"))
            .count();
        let done = shell.run(args).await;
        assert_eq!(done.code, 1, "{args:?}");
        assert!(done.err.contains("--yes"), "{}", done.err);
        assert_eq!(
            fake.asked()
                .iter()
                .filter(|a| !a.line.starts_with("GET"))
                .count(),
            before
        );
        let yes: Vec<_> = args.iter().copied().chain(["--yes"]).collect();
        let done = shell.run(&yes).await;
        assert_eq!(done.code, 0, "{args:?}: {}", done.err);
    }
}

#[tokio::test]
async fn every_setting_of_the_server_tells_its_origin() {
    let shell = Shell::new().set("AGENT_VAULT_LOG_LEVEL", "debug");
    let done = shell
        .run(&["server", "--port", "7", "--print-config"])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    for line in [
        "port = 7  (--port)",
        "log_level = debug  (AGENT_VAULT_LOG_LEVEL)",
        "mitm_port = 14322  (default)",
    ] {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
    assert!(!shell.home().exists());
    let bad = Shell::new()
        .set("PORT", "http")
        .run(&["server", "--print-config"])
        .await;
    assert!(
        bad.code == 1 && bad.err.contains("environment variable PORT"),
        "{}",
        bad.err
    );
    // W40: what another program's environment holds. A database that is not ours is left alone.
    let foreign = Shell::new()
        .set("DATABASE_URL", "postgres://elsewhere/db")
        .set("PORT", "8080")
        .run(&["server", "--print-config"])
        .await;
    assert_eq!(foreign.code, 0, "{}", foreign.err);
    assert!(
        foreign.out.contains("port = 8080  (PORT)") && !foreign.out.contains("postgres"),
        "{}",
        foreign.out
    );
    let half = Shell::new()
        .set("AGENT_VAULT_OWNER_EMAIL", "a@b")
        .run(&["server", "--port", "0", "--mitm-port", "0"])
        .await;
    assert!(
        half.code == 1 && half.err.contains("go together"),
        "{}",
        half.err
    );
}

#[tokio::test]
async fn a_command_on_the_local_vault_closes_it() {
    let shell = Shell::new();
    let done = shell.run(&["vault", "list"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let names: Vec<_> = std::fs::read_dir(shell.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.ends_with(".db")), "{names:?}");
    // SQLite removes its write-ahead log with the last connection.
    assert!(
        !names.iter().any(|name| name.ends_with("-wal")),
        "{names:?}"
    );
}

#[tokio::test]
async fn an_empty_name_asks_no_server() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for args in [
        &["agent", "revoke", "", "--yes"][..],
        &["agent", "rotate", "", "--yes"],
        &["vault", "delete", "", "--yes"],
        &["vault", "service", "remove", "", "--yes"],
        &["vault", "token", "revoke", "", "--yes"],
    ] {
        let done = shell.run(args).await;
        assert_eq!(done.code, 2, "{args:?}: {}", done.err);
        assert!(done.err.contains("a name is empty"), "{}", done.err);
    }
    assert!(fake.asked().iter().all(|a| a.line.starts_with("GET ")));
}
