use serde_json::json;

use super::Shell;
use super::fake::Fake;

#[tokio::test]
async fn login_saves_and_logout_forgets() {
    let fake = Fake::start().await;
    fake.on(
        "POST /v1/auth/login",
        200,
        json!({"token": "av_sess_new", "expires_at": "2027-01-01T00:00:00Z"}),
    );
    fake.on("POST /v1/auth/logout", 200, json!({"status": "ok"}));
    let shell = Shell::new();
    let args = [
        "auth",
        "login",
        "--address",
        &fake.address,
        "--email",
        "me@x.example",
        "--password-stdin",
    ];
    let done = shell.run_with(&args, "hunter22\nnext line").await;
    assert_eq!(done.code, 0, "{}", done.err);
    let login = &fake.asked_for("POST /v1/auth/login")[0];
    assert_eq!(login.body["password"], "hunter22");
    assert!(login.body["device_label"].is_string() && login.token.is_none());
    assert!(!format!("{}{}", done.out, done.err).contains("hunter22"));
    let saved = std::fs::read_to_string(shell.home().join("session.json")).unwrap();
    assert!(saved.contains("av_sess_new") && saved.contains(&fake.address));
    assert_eq!(shell.run(&["auth", "logout"]).await.code, 0);
    assert_eq!(
        fake.asked_for("POST /v1/auth/logout")[0].token.as_deref(),
        Some("av_sess_new")
    );
    assert!(!shell.home().join("session.json").exists());
    assert_eq!(shell.run(&["auth", "logout"]).await.code, 0);
}

#[tokio::test]
async fn bad_logins_save_nothing() {
    let fake = Fake::start().await;
    fake.on(
        "POST /v1/auth/login",
        401,
        json!({"error": "Invalid email or password"}),
    );
    let shell = Shell::new();
    let args = [
        "auth",
        "login",
        "--address",
        &fake.address,
        "--email",
        "me@x.example",
        "--password-stdin",
    ];
    let done = shell.run_with(&args, "wrong-one\n").await;
    assert_eq!(
        (done.code, done.err.as_str()),
        (1, "error: Invalid email or password\n")
    );
    assert!(!shell.home().exists());
    // Without a terminal the questions name their flags.
    let done = shell
        .run(&["auth", "login", "--address", &fake.address])
        .await;
    assert!(done.code == 1 && done.err.contains("--email"));
    let done = shell
        .run(&[
            "auth",
            "login",
            "--address",
            &fake.address,
            "--email",
            "a@b",
        ])
        .await;
    assert!(done.code == 1 && done.err.contains("--password-stdin"));
    assert_eq!(
        shell
            .run(&[
                "auth",
                "login",
                "--address",
                &fake.address,
                "--password-stdin"
            ])
            .await
            .code,
        2
    );
    fake.on("GET /v1/status", 200, json!({"initialized": false}));
    let done = shell.run_with(&args, "x\n").await;
    assert!(done.err.contains("auth register"));
}

#[tokio::test]
async fn the_first_owner_is_registered_and_logged_in() {
    let fake = Fake::start().await;
    fake.on("POST /v1/auth/register", 201, json!({"email": "me@x.example", "role": "owner", "authenticated": true, "token": "av_sess_owner"}));
    let shell = Shell::new();
    let args = [
        "auth",
        "register",
        "--address",
        &fake.address,
        "--email",
        "me@x.example",
        "--password-stdin",
    ];
    assert_eq!(shell.run_with(&args, "short\n").await.code, 1);
    assert!(fake.asked().is_empty());
    let done = shell.run_with(&args, "long enough\r\n").await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(fake.asked()[0].body["password"], "long enough");
    assert!(
        std::fs::read_to_string(shell.home().join("session.json"))
            .unwrap()
            .contains("av_sess_owner")
    );
}

#[tokio::test]
async fn sessions_and_account() {
    let fake = Fake::start().await;
    fake.on("GET /v1/auth/sessions", 200, json!({"sessions": [{"id": "aa", "device_label": "laptop", "created_at": "2026-01-02T03:04:05Z", "current": true}]}));
    fake.on(
        "DELETE /v1/auth/sessions/aa",
        200,
        json!({"status": "revoked", "current": true}),
    );
    fake.on("GET /v1/admin/users/me", 200, json!({"email": "me@x.example", "role": "owner", "vaults": ["work"], "created_at": "2026-01-02T03:04:05Z"}));
    fake.on(
        "POST /v1/auth/change-password",
        401,
        json!({"error": "Wrong password"}),
    );
    let shell = Shell::logged_in(&fake.address);
    let who = shell.run(&["account", "whoami"]).await;
    assert!(
        who.out.contains("me@x.example")
            && who.out.contains("2026-01-02 03:04:05")
            && who.out.contains(&fake.address)
    );
    let wrong = shell
        .run_with(
            &["account", "change-password", "--password-stdin"],
            "old-one-1\nnew-one-1\n",
        )
        .await;
    assert_eq!(wrong.err, "error: Wrong password\n");
    fake.on(
        "POST /v1/auth/change-password",
        200,
        json!({"token": "av_sess_after"}),
    );
    let right = shell
        .run_with(
            &["account", "change-password", "--password-stdin"],
            "old-one-1\nnew-one-1\n",
        )
        .await;
    assert_eq!(right.code, 0);
    assert!(
        std::fs::read_to_string(shell.home().join("session.json"))
            .unwrap()
            .contains("av_sess_after")
    );
    let list = shell.run(&["auth", "sessions", "list"]).await;
    assert!(list.out.contains("laptop") && list.out.contains('✓'));
    assert_eq!(
        shell
            .run(&["auth", "sessions", "revoke", "aa", "--yes"])
            .await
            .code,
        0
    );
    assert!(!shell.home().join("session.json").exists());
}

#[tokio::test]
async fn w12_an_account_that_is_deleted_is_forgotten_here_too() {
    let fake = Fake::start().await;
    fake.on(
        "GET /v1/admin/users/me",
        200,
        json!({"email": "me@x.example", "role": "owner"}),
    );
    fake.on(
        "DELETE /v1/auth/account",
        409,
        json!({"error": "Owners cannot delete their account"}),
    );
    let shell = Shell::logged_in(&fake.address);
    let session = shell.home().join("session.json");
    let refused = shell.run(&["account", "delete", "--yes"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("Owners cannot"), "{}", refused.err);
    assert!(session.exists());

    fake.on(
        "DELETE /v1/auth/account",
        200,
        json!({"status": "deleted", "email": "me@x.example"}),
    );
    let done = shell.run(&["account", "delete", "--yes"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("me@x.example"), "{}", done.out);
    assert!(!session.exists());
}
