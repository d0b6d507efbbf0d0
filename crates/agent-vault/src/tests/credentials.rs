use serde_json::json;

use super::Shell;
use super::fake::Fake;

#[tokio::test]
async fn w18_values_come_in_by_every_door_and_show_nowhere() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address).set("FROM_ENV", "canary-env");
    shell.file("value", "canary-file\n");
    let args = [
        "vault",
        "credential",
        "set",
        "A=-",
        "B=canary-arg",
        "--from-file",
        "C=value",
        "--from-env",
        "FROM_ENV",
    ];
    let done = shell.run_with(&args, "canary-stdin\n").await;
    assert_eq!(done.code, 0, "{}", done.err);
    let body = &fake.asked_for("POST /v1/credentials")[0].body;
    assert_eq!(
        body["credentials"],
        json!({"A": "canary-stdin", "B": "canary-arg", "C": "canary-file", "FROM_ENV": "canary-env"})
    );
    assert_eq!(body["vault"], "work");
    assert!(!format!("{done:?}").contains("canary"));
    assert!(done.err.contains("B: a value on the command line"));
    let stdin = shell
        .run_with(&["vault", "creds", "set", "A", "--stdin"], "x")
        .await;
    assert_eq!(stdin.code, 0, "{}", stdin.err);
    let asks = shell.run(&["vault", "credential", "set", "A"]).await;
    assert_eq!(asks.code, 1);
    assert!(
        asks.err.contains("A=-") && asks.err.contains("--from-file"),
        "{}",
        asks.err
    );
}

#[tokio::test]
async fn what_the_server_says_of_a_value_is_shown() {
    let fake = Fake::start().await;
    fake.on(
        "POST /v1/credentials",
        200,
        json!({"set": ["PIN"], "warnings": ["PIN is short\u{1b}[2J"]}),
    );
    let done = Shell::logged_in(&fake.address)
        .run_with(&["vault", "credential", "set", "PIN=-"], "1234")
        .await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("warning: PIN is short"), "{}", done.err);
    assert!(!done.err.contains("\u{1b}[2J"));
}

#[tokio::test]
async fn bad_values_ask_no_server() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for (args, stdin) in [
        (&["vault", "credential", "set", "a=b"][..], ""),
        (&["vault", "credential", "set", "A="], ""),
        (&["vault", "credential", "set", "A=-"], ""),
        (&["vault", "credential", "set", "A=-"], "\n"),
        (
            &["vault", "credential", "set", "--from-file", "A=absent"],
            "",
        ),
        (&["vault", "credential", "set", "--from-env", "ABSENT"], ""),
        (&["vault", "credential", "set"], ""),
    ] {
        assert_ne!(shell.run_with(args, stdin).await.code, 0, "{args:?}");
    }
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn one_value_comes_out_raw() {
    let fake = Fake::start().await;
    fake.on("GET /v1/credentials?vault=work&reveal=true&key=PAY_KEY", 200, json!({"keys": ["PAY_KEY"], "credentials": [{"key": "PAY_KEY", "type": "static", "value": "v"}]}));
    fake.on(
        "GET /v1/credentials?vault=work&reveal=true&key=NOPE",
        404,
        json!({"error": "Credential not found"}),
    );
    let shell = Shell::logged_in(&fake.address);
    assert_eq!(
        shell
            .run(&["vault", "credential", "get", "PAY_KEY"])
            .await
            .out,
        "v"
    );
    let none = shell.run(&["vault", "credential", "get", "NOPE"]).await;
    assert!(none.code == 1 && none.err.contains("credential list"));
}

#[tokio::test]
async fn c19_stdin_loses_the_line_end_of_echo_and_no_more() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for args in [
        &["vault", "credential", "set", "PAY_KEY", "--stdin"][..],
        &["vault", "credential", "set", "PAY_KEY=-"],
    ] {
        let done = shell.run_with(args, "secret\n").await;
        assert_eq!(done.code, 0, "{}", done.err);
        let sent = fake.asked_for("POST /v1/credentials").pop().unwrap();
        assert_eq!(sent.body["credentials"]["PAY_KEY"], "secret");
        let refused = shell.run_with(args, "secret\n\n").await;
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("line break") && refused.err.contains("hint:"));
    }
    assert_eq!(fake.asked_for("POST /v1/credentials").len(), 2);
}

const DOTENV: &str = "\
# project
export PAY_KEY='canary-1'
OTHER_KEY=\"canary-2\" # note
debug=canary-3
EMPTY=
";

#[tokio::test]
async fn w3_a_dotenv_file_becomes_credentials() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    shell.file(".env", DOTENV);
    let import = ["vault", "credential", "import", ".env"];

    let shown = shell.run(&[&import[..], &["--dry-run"]].concat()).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("PAY_KEY, OTHER_KEY"), "{}", shown.out);
    assert!(fake.asked_for("POST ").is_empty());

    let done = shell.run(&import).await;
    assert_eq!(done.code, 0, "{}", done.err);
    let sent = &fake.asked_for("POST /v1/credentials")[0].body;
    assert_eq!(
        *sent,
        json!({"vault": "work", "credentials": {"PAY_KEY": "canary-1", "OTHER_KEY": "canary-2"}})
    );
    // What is left out is said, and nothing is shown.
    for told in ["line 4: debug", "line 5: EMPTY is empty", "still holds"] {
        assert!(done.err.contains(told), "{}", done.err);
    }
    assert!(!format!("{shown:?}{done:?}").contains("canary"));

    let one = shell.run(&[&import[..], &["OTHER_KEY"]].concat()).await;
    assert_eq!(one.code, 0, "{}", one.err);
    let sent = fake.asked_for("POST /v1/credentials").pop().unwrap();
    assert_eq!(sent.body["credentials"], json!({"OTHER_KEY": "canary-2"}));

    let stdin = shell
        .run_with(&["vault", "creds", "import", "-"], "PAY_KEY=x")
        .await;
    assert_eq!(stdin.code, 0, "{}", stdin.err);
    assert_eq!(fake.asked_for("POST /v1/credentials").len(), 3);
}

#[tokio::test]
async fn w3_a_dotenv_file_that_is_not_clear_sets_nothing() {
    let fake = Fake::start().await;
    let shell = Shell::logged_in(&fake.address);
    for (text, keys, told) in [
        (DOTENV, &["ABSENT"][..], "has no ABSENT"),
        (DOTENV, &["EMPTY"], "line 5: EMPTY is empty"),
        (DOTENV, &["debug"], "line 4: debug is not"),
        ("A_KEY=1\nA_KEY=2\n", &[], "line 2: A_KEY is given twice"),
        ("A_KEY=1\nB_KEY='canary\n", &[], "line 2: a single quote"),
        ("A_KEY=\"canary\\n\"\n", &[], "line break"),
        ("# nothing\n", &[], "holds no credential"),
    ] {
        shell.file(".env", text);
        let args = [&["vault", "credential", "import", ".env"][..], keys].concat();
        let done = shell.run(&args).await;
        assert_eq!(done.code, 1, "{text}");
        assert!(done.err.contains(told), "{told}: {}", done.err);
        assert!(!done.err.contains("canary"), "{}", done.err);
    }
    assert!(fake.asked_for("POST ").is_empty());
}
