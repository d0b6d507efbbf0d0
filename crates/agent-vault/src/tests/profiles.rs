//! Several servers, each under a name.

use serde_json::{Value, json};

use super::Shell;
use super::fake::Fake;

/// A server that lets `person` in with any password.
async fn server(person: &str) -> Fake {
    let fake = Fake::start().await;
    let token = format!("av_sess_{person}");
    fake.on("POST /v1/auth/login", 200, json!({"token": token}));
    fake.on("POST /v1/auth/logout", 200, json!({"status": "ok"}));
    fake
}

async fn log_in(shell: &Shell, profile: &str, fake: &Fake, email: &str) {
    let line = [
        "auth",
        "login",
        "--profile",
        profile,
        "--address",
        &fake.address,
        "--email",
        email,
        "--password-stdin",
    ];
    let done = shell.run_with(&line, "password\n").await;
    assert_eq!(done.code, 0, "{}", done.err);
}

fn last_token(fake: &Fake) -> Option<String> {
    let asked = fake.asked_for("GET /v1/vaults");
    asked.last().and_then(|asked| asked.token.clone())
}

#[tokio::test]
async fn each_profile_has_its_server_login_and_vault() {
    use std::os::unix::fs::PermissionsExt as _;
    let (work, play) = (server("work").await, server("play").await);
    let shell = Shell::new();
    log_in(&shell, "work", &work, "me@work.example").await;
    log_in(&shell, "play", &play, "me@play.example").await;
    for (profile, fake) in [("work", &work), ("play", &play)] {
        let done = shell.run(&["vault", "list", "--profile", profile]).await;
        assert_eq!(done.code, 0, "{}", done.err);
        assert_eq!(last_token(fake), Some(format!("av_sess_{profile}")));
    }
    for path in ["", "/profile.json", "/session.json"] {
        let path = shell.home().join(format!("profiles/work{path}"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{}", path.display());
    }
    // Nothing of a profile reaches whoever names none.
    assert!(!shell.home().join("session.json").exists());

    work.on(
        "GET /v1/vaults",
        200,
        json!({"vaults": [{"name": "a"}, {"name": "b"}]}),
    );
    let chosen = shell.run(&["vault", "use", "b", "--profile", "work"]).await;
    assert_eq!(chosen.code, 0, "{}", chosen.err);
    let current = shell.run(&["vault", "current", "--profile", "work"]).await;
    assert_eq!(current.out, "b\n");
    let current = shell.run(&["vault", "current", "--profile", "play"]).await;
    assert_eq!(current.out, "work\n", "the only one there");

    let list = shell.run(&["profile", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let of = |name: &str| {
        let all = list["profiles"].as_array().unwrap();
        all.iter().find(|p| p["name"] == name).unwrap().clone()
    };
    assert_eq!(of("work")["address"], json!(work.address));
    assert_eq!(of("work")["email"], "me@work.example");
    assert_eq!(of("work")["vault"], "b");
    assert_eq!(of("default")["current"], true);
    assert_eq!(of("default")["address"], Value::Null);
}

#[tokio::test]
async fn the_rule_that_chooses_a_profile_and_its_address() {
    let (work, play) = (server("work").await, server("play").await);
    let shell = Shell::new();
    log_in(&shell, "work", &work, "me@x.example").await;
    log_in(&shell, "play", &play, "me@x.example").await;
    assert_eq!(shell.run(&["profile", "use", "work"]).await.code, 0);
    assert_eq!(shell.run(&["vault", "list"]).await.code, 0);
    assert_eq!(work.asked_for("GET /v1/vaults").len(), 1);
    // The variable beats `profile use`, the flag beats the variable.
    let shell = shell.set("AGENT_VAULT_PROFILE", "play");
    assert_eq!(shell.run(&["vault", "list"]).await.code, 0);
    assert_eq!(play.asked_for("GET /v1/vaults").len(), 1);
    let by_flag = ["vault", "list", "--profile", "work"];
    assert_eq!(shell.run(&by_flag).await.code, 0);
    assert_eq!(work.asked_for("GET /v1/vaults").len(), 2);
    // An address in the environment beats a profile that is not on the command line, and no other's login goes there.
    let shell = shell.set("AGENT_VAULT_ADDR", &work.address);
    let done = shell.run(&["vault", "list"]).await;
    assert_eq!(done.code, 1);
    assert!(
        done.err.contains(&format!(
            "agent-vault auth login --address {} --profile play",
            work.address
        )),
        "{}",
        done.err
    );
    assert_eq!(work.asked_for("GET /v1/vaults").len(), 2);
    let by_flag = ["vault", "list", "--profile", "play"];
    assert_eq!(shell.run(&by_flag).await.code, 0);
    assert_eq!(play.asked_for("GET /v1/vaults").len(), 2);
    // A token is an identity of its own: a profile beside it is a question, not an answer.
    let shell = shell.set("AGENT_VAULT_TOKEN", "av_agt_x");
    assert_eq!(shell.run(&["vault", "list"]).await.code, 0);
    assert_eq!(last_token(&work).as_deref(), Some("av_agt_x"));
    let done = shell.run(&by_flag).await;
    assert_eq!(done.code, 2);
    assert!(done.err.contains("AGENT_VAULT_TOKEN") && done.err.contains("--profile"));
}

#[tokio::test]
async fn a_profile_that_is_not_there_or_damaged_is_a_clear_error() {
    let work = server("work").await;
    let shell = Shell::new();
    log_in(&shell, "work", &work, "me@x.example").await;
    for line in [
        &["vault", "list", "--profile", "wrok"][..],
        &["profile", "use", "wrok"],
        &["profile", "show", "wrok"],
        &["profile", "remove", "wrok", "--yes"],
        &["auth", "login", "--profile", "wrok", "--email", "a@b.c"],
    ] {
        let done = shell.run(line).await;
        assert_eq!(done.code, 1, "{line:?}");
        assert!(
            done.err.contains("there is no profile `wrok`") && done.err.contains("default, work"),
            "{line:?}: {}",
            done.err
        );
    }
    assert_eq!(
        shell
            .run(&["vault", "list", "--profile", "../x"])
            .await
            .code,
        2
    );
    let bad_variable = Shell::new().set("AGENT_VAULT_PROFILE", "a/b");
    let done = bad_variable.run(&["vault", "list"]).await;
    assert!(
        done.code == 1
            && done
                .err
                .contains("AGENT_VAULT_PROFILE: a profile's name is")
    );

    shell.file("home/.agent-vault/profiles/work/profile.json", "{");
    let done = shell.run(&["vault", "list", "--profile", "work"]).await;
    assert_eq!(done.code, 1);
    assert!(
        done.err
            .contains("profiles/work/profile.json cannot be read")
            && done.err.contains("agent-vault profile remove work"),
        "{}",
        done.err
    );
    // The list says so and shows the others.
    let list = shell.run(&["profile", "list"]).await;
    assert_eq!(list.code, 0);
    assert!(list.out.contains("unreadable") && list.out.contains("default"));
    assert!(list.err.contains("warning:"));
    // Logging in anew mends it.
    log_in(&shell, "work", &work, "me@x.example").await;
    assert_eq!(
        shell
            .run(&["vault", "list", "--profile", "work"])
            .await
            .code,
        0
    );

    shell.file("home/.agent-vault/profile", "no name\n");
    let done = shell.run(&["vault", "list"]).await;
    assert!(
        done.code == 1 && done.err.contains("agent-vault profile use default"),
        "{}",
        done.err
    );
    assert_eq!(shell.run(&["profile", "use", "default"]).await.code, 0);
}

#[tokio::test]
async fn a_profile_is_removed_with_its_login() {
    let work = server("work").await;
    let shell = Shell::new();
    log_in(&shell, "work", &work, "me@x.example").await;
    assert_eq!(shell.run(&["profile", "use", "work"]).await.code, 0);
    assert_eq!(shell.run(&["profile", "remove", "work"]).await.code, 1);
    let done = shell.run(&["profile", "remove", "work", "--yes"]).await;
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let ended = work.asked_for("POST /v1/auth/logout");
    assert_eq!(ended[0].token.as_deref(), Some("av_sess_work"));
    assert!(!shell.home().join("profiles/work").exists());
    // Commands use `default` again.
    let show = shell.run(&["profile", "show"]).await;
    assert!(show.out.contains("default"), "{}", show.out);
    assert_eq!(
        shell
            .run(&["profile", "remove", "default", "--yes"])
            .await
            .code,
        2
    );
}

#[tokio::test]
async fn messages_say_which_server_and_a_logout_ends_one_login() {
    let work = server("work").await;
    let shell = Shell::new();
    log_in(&shell, "work", &work, "me@x.example").await;
    work.on("GET /v1/vaults", 403, json!({"error": "Forbidden"}));
    let done = shell.run(&["vault", "list", "--profile", "work"]).await;
    assert!(
        done.err
            .contains(&format!("{}, of profile work", work.address)),
        "{}",
        done.err
    );
    let status = shell.run(&["status", "--profile", "work"]).await;
    assert!(
        status.out.contains("work (from --profile)"),
        "{}",
        status.out
    );
    let done = shell.run(&["auth", "logout", "--profile", "work"]).await;
    assert_eq!(done.code, 0);
    assert!(done.out.contains(&work.address));
    let done = shell.run(&["vault", "list", "--profile", "work"]).await;
    assert!(
        done.err.contains("not logged in at") && done.err.contains("--profile work"),
        "{}",
        done.err
    );
}
