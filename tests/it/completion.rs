//! A shell asks the program what may come next: names of what there is, and nothing is made by asking.

use agent_vault_testing::Home;

use crate::stage::process::Run;

/// What is offered behind the words, as fish would be told.
fn offered(home: &Home, words: &[&str]) -> Vec<String> {
    let line = [&["--", "agent-vault"], words].concat();
    let outcome = Run::agent_vault(home)
        .args(&line)
        .env("_AGENT_VAULT_COMPLETE", "fish")
        .succeed();
    assert_eq!(outcome.stderr, "", "{outcome:?}");
    outcome
        .stdout
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn names_of_what_there_is() {
    let home = Home::new();
    let av = |arguments: &[&str]| Run::agent_vault(&home).args(arguments).succeed();
    let has = |words: &[&str], name: &str| offered(&home, words).iter().any(|o| o == name);
    // Before there is a vault, asking makes none.
    assert!(!has(&["vault", "use", ""], "default"));
    assert!(!home.join(".agent-vault").exists());

    av(&["vault", "create", "work"]);
    av(&[
        "vault",
        "service",
        "add",
        "--vault",
        "work",
        "--name",
        "pay",
        "--host",
        "api.pay.example",
        "--auth-type",
        "bearer",
        "--token-key",
        "PAY_KEY",
    ]);
    Run::agent_vault(&home)
        .args(&[
            "vault",
            "credential",
            "set",
            "PAY_KEY",
            "--stdin",
            "--vault",
            "work",
        ])
        .stdin("sk-something-long\n")
        .succeed();
    assert!(has(&["vault", "use", ""], "work"));
    assert!(has(&["vault", "--vault", ""], "work"));
    assert!(has(
        &["vault", "service", "enable", "--vault", "work", "p"],
        "pay"
    ));
    assert!(!has(
        &["vault", "service", "enable", "--vault", "default", "p"],
        "pay"
    ));
    assert!(has(
        &["vault", "credential", "get", "--vault=work", ""],
        "PAY_KEY"
    ));
    // Commands, flags and words with a fixed choice.
    assert!(has(&["vault", "service", "en"], "enable"));
    assert!(has(&["vault", "service", "add", "--auth"], "--auth-type"));
    // What is about to be new is not offered what there is.
    assert!(!has(&["vault", "create", ""], "work"));
    assert!(has(&["profile", "use", ""], "default"));
}

#[test]
fn every_shell_has_a_script_that_asks() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let asks = Run::agent_vault(&home)
            .args(&["completions", shell])
            .succeed();
        assert!(asks.stdout.contains("_AGENT_VAULT_COMPLETE"), "{asks:?}");
        let fixed = Run::agent_vault(&home)
            .args(&["completions", shell, "--static"])
            .succeed();
        assert!(fixed.stdout.contains("credential"), "{shell}");
        assert!(!fixed.stdout.contains("_AGENT_VAULT_COMPLETE"), "{shell}");
    }
    let bash = Run::agent_vault(&home)
        .args(&["completions", "bash"])
        .succeed();
    Run::program(&home, "bash")
        .args(&["-n", "-c", &bash.stdout])
        .succeed();
}
