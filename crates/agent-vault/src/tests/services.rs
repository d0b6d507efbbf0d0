use serde_json::json;

use super::Shell;
use super::fake::Fake;

#[tokio::test]
async fn w33_changing_a_service_keeps_what_is_not_said() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let done = shell
        .run(&[
            "vault",
            "service",
            "add",
            "--name",
            "pay",
            "--host",
            "api.pay.example",
            "--auth-type",
            "bearer",
            "--token-key",
            "NEW_KEY",
        ])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    let sent = &fake.asked_for("POST /v1/vaults/work/services")[0].body["services"][0];
    assert_eq!(sent["auth"]["token"], "NEW_KEY");
    assert_eq!(sent["enabled"], false);
    assert_eq!(sent["substitutions"][0]["placeholder"], "__other__");
    assert!(
        done.err.contains("no credential NEW_KEY yet"),
        "{}",
        done.err
    );
}

#[tokio::test]
async fn w51_a_substitution_is_added_to_a_service_by_name() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let done = shell
        .run(&[
            "vault",
            "service",
            "add",
            "--name",
            "pay",
            "--substitute",
            "PAY_KEY=__pay__@header,body",
        ])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    let sent = &fake.asked_for("POST /v1/vaults/work/services")[0].body["services"][0];
    assert_eq!(sent["auth"]["token"], "PAY_KEY");
    assert_eq!(sent["substitutions"].as_array().unwrap().len(), 2);
    let absent = shell
        .run(&[
            "vault",
            "service",
            "add",
            "--name",
            "other",
            "--substitute",
            "PAY_KEY=__pay__",
        ])
        .await;
    assert!(
        absent.code == 2 && absent.err.contains("--host"),
        "{}",
        absent.err
    );
}

#[tokio::test]
async fn a_new_service_gets_a_name_of_its_own() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let done = shell
        .run(&[
            "vault",
            "service",
            "add",
            "--host",
            "api.new.example",
            "--token-key",
            "PAY_KEY",
        ])
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    let sent = &fake.asked_for("POST /v1/vaults/work/services")[0].body["services"][0];
    assert_eq!(sent["host"], "api.new.example");
    assert!(
        sent["name"].as_str().is_some_and(|n| n.contains("new")),
        "{sent}"
    );
}

#[tokio::test]
async fn a_broken_file_names_line_and_field_and_sends_nothing() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    shell.file("s.yaml", "services:\n  - name: pay\n    host: api.pay.example\n    auth: {type: bearer, token: pay-key}\n");
    for args in [
        &["vault", "service", "set", "-f", "s.yaml", "--yes"][..],
        &["vault", "service", "add", "-f", "s.yaml"],
    ] {
        let done = shell.run(args).await;
        assert_eq!(done.code, 1);
        assert!(
            done.err
                .starts_with("error: s.yaml, line 4: services[0].auth.token: "),
            "{}",
            done.err
        );
    }
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn set_tells_the_difference_and_does_not_remove_unasked() {
    let fake = Fake::start().await;
    fake.on("PUT /v1/vaults/work/services?dry_run=true", 200, json!({"vault": "work", "dry_run": true, "services_count": 1, "revision": 1, "changes": [
        {"name": "new", "change": "added", "before": null, "after": {"name": "new", "host": "api.new.example", "auth": {"type": "passthrough"}}},
        {"name": "pay", "change": "removed", "before": {"name": "pay", "host": "api.pay.example"}, "after": null},
    ]}));
    let shell = Shell::logged_in(&fake.address);
    shell.file(
        "s.yaml",
        "services: [{name: new, host: api.new.example, auth: {type: passthrough}}]\n",
    );
    let dry = shell
        .run(&["vault", "service", "set", "-f", "s.yaml", "--dry-run"])
        .await;
    assert_eq!(dry.code, 0);
    assert!(
        dry.err.contains("+ new") && dry.err.contains("- pay"),
        "{}",
        dry.err
    );
    assert_eq!(
        shell
            .run(&["vault", "service", "set", "-f", "s.yaml"])
            .await
            .code,
        1
    );
    let writes = || -> Vec<_> {
        let mut asked = fake.asked_for("PUT");
        asked.retain(|asked| !asked.line.contains("dry_run"));
        asked
    };
    assert!(writes().is_empty());
    assert_eq!(
        shell
            .run(&["vault", "service", "set", "-f", "s.yaml", "--yes"])
            .await
            .code,
        0
    );
    assert_eq!(
        writes()[0].body,
        json!({"services": [{"name": "new", "host": "api.new.example", "auth": {"type": "passthrough"}}]})
    );
}

#[tokio::test]
async fn what_list_prints_set_takes() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let list = shell.run(&["vault", "service", "list"]).await;
    let done = shell
        .run_with(&["vault", "service", "set", "-f", "-"], &list.out)
        .await;
    assert_eq!(done.code, 0, "{}\n{}", done.err, list.out);
    assert!(!done.err.contains("- pay"));
}

#[tokio::test]
async fn an_ambiguous_reference_lists_the_candidates() {
    let fake = Fake::start().await;
    fake.on("PATCH /v1/vaults/work/services/", 409, json!({"error": "Several services match", "candidates": [{"name": "a", "host": "h"}, {"name": "b", "host": "h"}]}));
    let done = Shell::logged_in(&fake.address)
        .run(&["vault", "service", "disable", "api.pay.example:443/v1"])
        .await;
    assert!(done.err.contains("one of: a, b"), "{}", done.err);
    assert_eq!(
        fake.asked_for("PATCH")[0].line,
        "PATCH /v1/vaults/work/services/api.pay.example%3A443%2Fv1"
    );
}

#[tokio::test]
async fn a_new_service_that_only_substitutes_passes_the_rest() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let start = ["vault", "service", "add", "--host", "api.bot.example"];
    let end = ["--substitute", "PAY_KEY=__pay__@path"];
    for named in [&["--name", "bot"][..], &[]] {
        let args: Vec<_> = [&start[..], named, &end[..]].concat();
        let done = shell.run(&args).await;
        assert_eq!(done.code, 0, "{}", done.err);
        let sent = fake
            .asked_for("POST /v1/vaults/work/services")
            .pop()
            .unwrap();
        assert_eq!(sent.body["services"][0]["auth"]["type"], "passthrough");
    }
}

#[tokio::test]
async fn w9_a_service_that_is_not_there_has_one_hint() {
    let fake = Fake::start().await;
    fake.on(
        "DELETE /v1/vaults/work/services/",
        404,
        json!({"error": "no service is called `nope`", "hint": "list them"}),
    );
    fake.on(
        "DELETE /v1/vaults/gone/services/",
        404,
        json!({"error": "Vault \"gone\" not found", "hint": "list the vaults"}),
    );
    let shell = Shell::logged_in(&fake.address);
    let remove = ["vault", "service", "remove", "nope", "--yes", "--vault"];
    for (vault, told) in [
        ("work", "service list --vault work"),
        ("gone", "list the vaults"),
    ] {
        let done = shell.run(&[&remove[..], &[vault]].concat()).await;
        assert_eq!(done.code, 1);
        assert_eq!(done.err.matches("hint:").count(), 1, "{}", done.err);
        assert!(done.err.contains(told), "{}", done.err);
    }
}

#[tokio::test]
async fn w44_the_catalogue_needs_no_server_and_makes_no_vault() {
    let shell = Shell::new();
    let table = shell.run(&["catalog"]).await;
    assert_eq!(table.code, 0, "{}", table.err);
    for shown in [
        "anthropic",
        "api.telegram.org",
        "passthrough + substitution",
        "TELEGRAM_BOT_TOKEN",
    ] {
        assert!(table.out.contains(shown), "{}", table.out);
    }
    let json = shell.run(&["catalog", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["services"].as_array().unwrap().len(), 35);
    assert!(!shell.home().exists());

    // A server's own is shown as it is.
    let fake = Fake::start().await;
    fake.on(
        "GET /v1/service-catalog",
        200,
        json!({"services": [{"id": "own", "name": "Own", "host": "own.example", "description": "", "auth_type": "bearer",
            "suggested_credential_key": "OWN_KEY"}]}),
    );
    let own = shell.run(&["catalog", "--address", &fake.address]).await;
    assert!(own.out.contains("own.example"), "{}{}", own.out, own.err);
    assert_eq!(fake.asked()[0].token, None);
}

#[tokio::test]
async fn w3_a_preset_fills_what_is_not_said() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    let add = ["vault", "service", "add", "--preset"];
    for (flags, service) in [
        (
            &["openai"][..],
            json!({"name": "openai", "host": "api.openai.com", "auth": {"type": "bearer", "token": "OPENAI_API_KEY"}}),
        ),
        (
            &["anthropic", "--name", "claude", "--api-key-key", "MY_KEY"],
            json!({"name": "claude", "host": "api.anthropic.com",
                "auth": {"type": "api-key", "key": "MY_KEY", "header": "x-api-key"}}),
        ),
        (
            &[
                "jira",
                "--username-key",
                "JIRA_USER",
                "--host",
                "acme.atlassian.net",
            ],
            json!({"name": "jira", "host": "acme.atlassian.net",
                "auth": {"type": "basic", "username": "JIRA_USER", "password": "JIRA_API_TOKEN"}}),
        ),
        (
            &["pagerduty"],
            json!({"name": "pagerduty", "host": "api.pagerduty.com",
                "auth": {"type": "custom", "headers": {"Authorization": "Token token={{ PAGERDUTY_TOKEN }}"}}}),
        ),
        (
            &["telegram"],
            json!({"name": "telegram", "host": "api.telegram.org", "auth": {"type": "passthrough"},
                "substitutions": [{"key": "TELEGRAM_BOT_TOKEN", "placeholder": "__TELEGRAM_BOT_TOKEN__", "in": ["path"]}]}),
        ),
    ] {
        let done = shell.run(&[&add[..], flags].concat()).await;
        assert_eq!(done.code, 0, "{flags:?}: {}", done.err);
        let sent = fake
            .asked_for("POST /v1/vaults/work/services")
            .pop()
            .unwrap();
        assert_eq!(sent.body["services"][0], service, "{flags:?}");
    }
    for (flags, told) in [
        (&["nothing"][..], "agent-vault catalog"),
        (&["jira"], "--username-key"),
        (&["aws-s3"], "--header"),
        (&["openai", "--auth-type", "basic"], "auth type `bearer`"),
        (&["openai", "--api-key-header", "x"], "does not go with"),
        (&["openai", "-f", "x.yaml"], "cannot be used with"),
    ] {
        let done = shell.run(&[&add[..], flags].concat()).await;
        assert_eq!(done.code, 2, "{flags:?}: {}", done.err);
        assert!(done.err.contains(told), "{flags:?}: {}", done.err);
    }
}

/// Each preset is a service that is good as it is, or says what it needs.
#[tokio::test]
async fn every_preset_can_be_added() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for template in agent_vault_control::catalog::TEMPLATES {
        let mut line = vec!["vault", "service", "add", "--preset", template.id];
        match template.id {
            "aws-s3" => line.extend(["--header", "Authorization: {{ AWS_SECRET_ACCESS_KEY }}"]),
            _ if template.auth_type() == "basic" => line.extend(["--username-key", "USER_NAME"]),
            _ => {}
        }
        let done = shell.run(&line).await;
        assert_eq!(done.code, 0, "{}: {}", template.id, done.err);
    }
}
