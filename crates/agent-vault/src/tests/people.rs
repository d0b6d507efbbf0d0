use serde_json::json;

use super::Shell;
use super::fake::Fake;

#[tokio::test]
async fn w6_codes_from_the_command_line() {
    let fake = Fake::start().await;
    fake.on(
        "POST /v1/auth/register",
        201,
        json!({"email": "me@x.example", "requires_verification": true, "email_sent": true, "message": "a code is on its way"}),
    );
    fake.on(
        "POST /v1/auth/verify",
        200,
        json!({"email": "me@x.example", "authenticated": true, "token": "av_sess_verified"}),
    );
    fake.on(
        "POST /v1/auth/forgot-password",
        200,
        json!({"message": "a code is on its way", "email_sent": false}),
    );
    fake.on(
        "POST /v1/auth/reset-password",
        401,
        json!({"error": "second_factor_required", "message": "A code of the authenticator app is needed"}),
    );
    let shell = Shell::new().set("AGENT_VAULT_ADDR", &fake.address);
    let done = shell
        .run_with(
            &[
                "auth",
                "register",
                "--email",
                "me@x.example",
                "--password-stdin",
            ],
            "long enough\n",
        )
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    // What it names is a command that there is.
    assert!(done.out.contains("agent-vault auth verify"), "{}", done.out);
    let done = shell
        .run(&[
            "auth",
            "verify",
            "--email",
            "me@x.example",
            "--code",
            "123456",
        ])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(
        fake.asked_for("POST /v1/auth/verify")[0].body["code"],
        "123456"
    );
    let session = std::fs::read_to_string(shell.home().join("session.json")).unwrap();
    assert!(session.contains("av_sess_verified"));

    let done = shell
        .run(&["auth", "forgot-password", "--email", "me@x.example"])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("owner codes"), "{}", done.err);
    let reset = [
        "auth",
        "reset-password",
        "--email",
        "me@x.example",
        "--code",
        "123456",
        "--password-stdin",
    ];
    let done = shell.run_with(&reset, "another one\n").await;
    assert_eq!(done.code, 1);
    assert!(done.err.contains("--totp"), "{}", done.err);
    fake.on(
        "POST /v1/auth/reset-password",
        200,
        json!({"authenticated": true, "token": "av_sess_reset"}),
    );
    let with_code: Vec<&str> = reset.into_iter().chain(["--totp", "654321"]).collect();
    let done = shell.run_with(&with_code, "another one\n").await;
    assert_eq!(done.code, 0, "{}", done.err);
    let asked = fake.asked_for("POST /v1/auth/reset-password");
    assert_eq!(asked[1].body["totp_code"], "654321");
    assert_eq!(asked[1].body["new_password"], "another one");
    let session = std::fs::read_to_string(shell.home().join("session.json")).unwrap();
    assert!(session.contains("av_sess_reset"));
}

#[tokio::test]
async fn a_login_by_a_code_that_is_approved_elsewhere() {
    let fake = Fake::start().await;
    fake.on(
        "POST /v1/auth/device",
        200,
        json!({"device_code": "av_dev_x", "user_code": "BCDF-GHJK", "verification_uri": "https://v.example/device", "expires_in": 600, "interval": 1}),
    );
    fake.on(
        "POST /v1/auth/device/token",
        200,
        json!({"email": "me@x.example", "token": "av_sess_device"}),
    );
    let shell = Shell::new();
    let login = ["auth", "login", "--address", &fake.address, "--device"];
    let done = shell.run(&login).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.err.contains("BCDF-GHJK") && done.err.contains("https://v.example/device"),
        "{}",
        done.err
    );
    assert!(!format!("{}{}", done.out, done.err).contains("av_dev_x"));
    assert_eq!(
        fake.asked_for("POST /v1/auth/device/token")[0].body["device_code"],
        "av_dev_x"
    );
    let session = std::fs::read_to_string(shell.home().join("session.json")).unwrap();
    assert!(session.contains("av_sess_device"));
    fake.on(
        "POST /v1/auth/device/token",
        400,
        json!({"error": "access_denied", "message": "The login was denied"}),
    );
    let done = shell.run(&login).await;
    assert_eq!((done.code, done.err.contains("was denied")), (1, true));

    fake.on(
        "GET /v1/auth/device/BCDF-GHJK",
        200,
        json!({"user_code": "BCDF-GHJK", "device_label": "far box", "ip": "203.0.113.9", "expires_at": "2026-01-02T03:04:05Z"}),
    );
    fake.on(
        "POST /v1/auth/device/BCDF-GHJK/approve",
        200,
        json!({"status": "approved"}),
    );
    let approve = ["auth", "device", "approve", "BCDF-GHJK"];
    let done = shell.run(&approve).await;
    assert_eq!(done.code, 1);
    assert!(done.out.contains("203.0.113.9") && done.err.contains("--yes"));
    assert!(fake.asked_for("POST /v1/auth/device/BCDF").is_empty());
    let yes: Vec<&str> = approve.into_iter().chain(["--yes"]).collect();
    assert_eq!(shell.run(&yes).await.code, 0);
}

#[tokio::test]
async fn w36_info_of_a_person_with_vaults_and_ids_that_revoke() {
    let fake = Fake::start().await;
    fake.on(
        "GET /v1/admin/users/ada@x.io",
        200,
        json!({"email": "ada@x.io", "role": "member", "vaults": ["work", "play"], "created_at": "2026-01-02T03:04:05Z"}),
    );
    fake.on(
        "GET /v1/admin/users/ada%40x.io",
        200,
        json!({"email": "ada@x.io", "role": "member", "vaults": ["work", "play"], "created_at": "2026-01-02T03:04:05Z"}),
    );
    fake.on(
        "GET /v1/users/invites",
        200,
        json!({"invites": [{"id": "00112233445566778899", "token": "00112233445566778899", "email": "b@x.io", "role": "member", "status": "pending",
            "created_by_name": "me@x.example", "vaults": [{"vault_name": "work", "vault_role": "admin"}],
            "created_at": "2026-01-02T03:04:05Z", "expires_at": "2026-01-04T03:04:05Z"}]}),
    );
    fake.on(
        "DELETE /v1/users/invites/00112233445566778899",
        200,
        json!({"message": "Invite revoked"}),
    );
    fake.on(
        "POST /v1/users/invites",
        201,
        json!({"id": "x", "email": "c@x.io", "email_sent": false, "invite_link": "https://v.example/invite/av_uinv_1", "expires_at": "2026-01-04T03:04:05Z"}),
    );
    let shell = Shell::logged_in(&fake.address);
    let info = shell.run(&["owner", "user", "info", "ada@x.io"]).await;
    assert_eq!(info.code, 0, "{}", info.err);
    assert!(info.out.contains("work, play"), "{}", info.out);
    let list = shell.run(&["user", "invite", "list"]).await;
    assert!(
        list.out.contains("00112233445566778899") && list.out.contains("work:admin"),
        "{}{}",
        list.out,
        list.err
    );
    let revoke = ["user", "invite", "revoke", "00112233445566778899"];
    assert_eq!(shell.run(&revoke).await.code, 1);
    let yes: Vec<&str> = revoke.into_iter().chain(["--yes"]).collect();
    assert_eq!(shell.run(&yes).await.code, 0);
    // The link alone on stdout, so that a script can hand it on.
    let made = shell
        .run(&["user", "invite", "c@x.io", "--vault", "work:admin"])
        .await;
    assert_eq!(
        made.out, "https://v.example/invite/av_uinv_1\n",
        "{}",
        made.err
    );
    assert_eq!(
        fake.asked_for("POST /v1/users/invites")[0].body,
        json!({"email": "c@x.io", "role": "member", "vaults": [{"vault_name": "work", "vault_role": "admin"}]})
    );
    let bad = shell
        .run(&["user", "invite", "c@x.io", "--vault", "work:proxy"])
        .await;
    assert_eq!(bad.code, 2, "{}", bad.err);
    assert_eq!(shell.run(&["user", "invite"]).await.code, 0);
}

#[tokio::test]
async fn settings_are_shown_and_only_what_is_named_is_sent() {
    let fake = Fake::start().await;
    let settings = json!({"allowed_email_domains": ["x.example"], "invite_only": true, "smtp_configured": false,
        "rate_limit": {"profile": "default", "locked": false, "off": false, "tiers": {"AUTH": {"max": 50, "window": "5m0s", "source": "default"}}},
        "logs_retention": {"max_age_hours": 168, "max_rows_per_vault": 10000, "from_environment": false}});
    fake.on("GET /v1/admin/settings", 200, settings.clone());
    fake.on("PUT /v1/admin/settings", 200, settings);
    let shell = Shell::logged_in(&fake.address);
    let shown = shell.run(&["owner", "config", "get"]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(
        shown.out.contains("x.example") && shown.out.contains("5m0s"),
        "{}",
        shown.out
    );
    assert_eq!(shell.run(&["owner", "config", "set"]).await.code, 2);
    let sent = |number: usize| {
        fake.asked_for("PUT /v1/admin/settings")[number]
            .body
            .clone()
    };
    for arguments in [
        vec!["--invite-only=false"],
        vec!["--allowed-domains", ""],
        vec!["--logs-max-rows", "500"],
        vec![
            "--rate-limit",
            "auth.max=20",
            "--rate-limit",
            "AUTH.window=1m",
        ],
    ] {
        let line: Vec<&str> = ["owner", "config", "set"]
            .into_iter()
            .chain(arguments)
            .collect();
        let done = shell.run(&line).await;
        assert_eq!(done.code, 0, "{}", done.err);
    }
    assert_eq!(sent(0), json!({"invite_only": false}));
    assert_eq!(sent(1), json!({"allowed_email_domains": []}));
    assert_eq!(
        sent(2),
        json!({"logs_retention": {"max_age_hours": 168, "max_rows_per_vault": 500}})
    );
    assert_eq!(
        sent(3),
        json!({"rate_limit": {"overrides": {"AUTH": {"max": 20, "window": "1m"}}}})
    );
    let wrong = shell
        .run(&["owner", "config", "set", "--rate-limit", "AUTH=20"])
        .await;
    assert_eq!(wrong.code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w39_w49_m54_reset_is_about_the_local_folder_alone() {
    let fake = Fake::start().await;
    // Logged in to a server elsewhere, where one may be an owner: it is not asked.
    let shell = Shell::logged_in(&fake.address);
    let empty = shell.run(&["owner", "reset", "--yes"]).await;
    assert_eq!(empty.code, 1);
    let local = Shell::new();
    let made = local.run(&["vault", "create", "work"]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let database = local.home().join("agent-vault.db");
    let key = local.home().join("data.key");
    assert!(database.exists() && key.exists());
    let dry = local.run(&["owner", "reset", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{}", dry.err);
    let unasked = local.run(&["owner", "reset"]).await;
    assert_eq!(unasked.code, 1);
    assert!(database.exists() && key.exists());
    let done = local.run(&["owner", "reset", "--yes"]).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(!database.exists() && !key.exists());
    assert!(fake.asked().is_empty());
}
