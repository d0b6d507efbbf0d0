//! The management commands against a running server: accounts, vaults, credentials, services, and how they talk.

use std::sync::{Arc, Mutex, Weak};

use agent_vault_testing::Canary;

use crate::stage::instance::{EMAIL, Instance, PASSWORD};
use crate::stage::process::Run;
use crate::stage::{KEY, Slot, Stage, http};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// A vault of a test's own, so that tests do not see each other's changes.
fn vault<'a>(stage: &Stage, name: &'a str) -> &'a str {
    stage.instance.person(&["vault", "create", name]).succeed();
    name
}

#[test]
fn accounts() {
    let stage = stage();
    let second = agent_vault_testing::Home::new();
    let address = stage.instance.address();
    let av = |arguments: &[&str]| Run::agent_vault(&second).args(arguments);
    // Wrong password: one line, and nobody is logged in.
    let wrong = av(&[
        "auth",
        "login",
        "--address",
        &address,
        "--email",
        EMAIL,
        "--password-stdin",
    ])
    .stdin("not the password\n")
    .fail(1);
    assert_eq!(
        wrong
            .stderr
            .lines()
            .filter(|l| l.starts_with("error:"))
            .count(),
        1,
        "{wrong:?}"
    );
    assert!(!second.join(".agent-vault/session.json").exists());
    // A password on stdin needs an e-mail; a prompt needs a terminal.
    av(&["auth", "login", "--address", &address, "--password-stdin"])
        .fail(2)
        .says(&["--email"]);
    av(&["auth", "login", "--address", &address, "--email", EMAIL])
        .fail(1)
        .one_error_with_hint()
        .says(&["not a terminal", "--password-stdin"]);
    av(&[
        "auth",
        "login",
        "--address",
        &address,
        "--email",
        EMAIL,
        "--password-stdin",
        "--device-label",
        "second",
    ])
    .stdin(format!("{PASSWORD}\n"))
    .succeed();
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path)
            .expect("a file")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&second.join(".agent-vault/session.json")), 0o600);
    assert_eq!(mode(&second.join(".agent-vault")), 0o700);
    let me = av(&["account", "whoami"]).succeed();
    assert!(
        me.stdout.contains(EMAIL) && me.stdout.contains("owner"),
        "{me:?}"
    );
    let sessions = av(&["auth", "sessions", "list"]).succeed();
    assert!(sessions.stdout.contains("second"), "{sessions:?}");
    // The login is sent to the server that issued it and to no other.
    let elsewhere = stage.upstream.url_of("127.0.0.1", "");
    av(&["vault", "list", "--address", &elsewhere])
        .fail(1)
        .one_error_with_hint()
        .says(&["not logged in", "sent nowhere else"]);
    assert!(
        stage
            .upstream
            .requests()
            .iter()
            .all(|r| !r.target.contains("/v1/"))
    );
    av(&["auth", "logout"]).succeed();
    assert!(!second.join(".agent-vault/session.json").exists());
    stage.instance.person(&["vault", "list"]).succeed();
}

#[test]
fn vaults() {
    let stage = stage();
    let person = |arguments: &[&str]| stage.instance.person(arguments);
    person(&["vault", "create", "alpha"]).succeed();
    person(&["vault", "create", "alpha"])
        .fail(1)
        .says(&["alpha"]);
    person(&["vault", "create", "Not A Slug"]).fail(1);
    let list = person(&["vault", "list"]).succeed();
    assert!(
        list.stdout.contains("alpha") && list.stdout.contains("NAME"),
        "{list:?}"
    );
    let json = person(&["vault", "list", "--json"]).succeed().json();
    let names: Vec<_> = json["vaults"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|vault| vault["name"].as_str())
        .collect();
    assert!(
        names.contains(&"alpha") && names.contains(&"default"),
        "{names:?}"
    );
    person(&["vault", "rename", "alpha", "beta"]).succeed();
    person(&["vault", "delete", "beta"])
        .fail(1)
        .one_error_with_hint()
        .says(&["--yes"]);
    person(&["vault", "delete", "beta", "--yes"]).succeed();
    let json = person(&["vault", "list", "--json"]).succeed();
    assert!(!json.stdout.contains("\"beta\""), "{json:?}");
    person(&["vault", "credential", "list", "--vault", "beta"])
        .fail(1)
        .says(&["beta"]);
}

#[test]
fn credentials_come_in_by_stdin_file_and_environment() {
    let stage = stage();
    let vault = vault(&stage, "credentials");
    let home = stage.instance.home();
    let file = home.write("value.txt", "from-a-file\n");
    let set = |arguments: &[&str]| {
        stage
            .instance
            .person(&["vault", "credential", "set", "--vault", vault])
            .args(arguments)
    };
    set(&["BY_STDIN", "--stdin"])
        .stdin("from-stdin\n")
        .succeed();
    set(&["BY_DASH=-"]).stdin("from-dash").succeed();
    set(&["--from-file", &format!("BY_FILE={}", file.display())]).succeed();
    set(&["--from-env", "BY_ENV=OTHER"])
        .env("OTHER", "from-env")
        .succeed();
    set(&["BY_ARGUMENT=from-argument"])
        .succeed()
        .says(&["prefer"]);
    let get = |key: &str| {
        stage
            .instance
            .person(&["vault", "credential", "get", "--vault", vault, key])
            .succeed()
            .stdout
    };
    for (key, value) in [
        ("BY_STDIN", "from-stdin"),
        ("BY_DASH", "from-dash"),
        ("BY_FILE", "from-a-file"),
        ("BY_ENV", "from-env"),
        ("BY_ARGUMENT", "from-argument"),
    ] {
        assert_eq!(get(key), value, "{key}");
    }
    let list = stage
        .instance
        .person(&["vault", "credential", "list", "--vault", vault])
        .succeed();
    assert!(
        list.stdout.contains("BY_STDIN") && !list.stdout.contains("from-stdin"),
        "{list:?}"
    );
    // Without a terminal there is no prompt to wait at; a bad key is a usage error; nothing of either is stored.
    set(&["BY_PROMPT"])
        .fail(1)
        .one_error_with_hint()
        .says(&["not a terminal", "BY_PROMPT=-"]);
    set(&["lower-case=x"]).fail(2);
    set(&["EMPTY", "--stdin"])
        .stdin("\n")
        .fail(1)
        .says(&["empty"]);
    stage
        .instance
        .person(&["vault", "credential", "get", "--vault", vault, "BY_PROMPT"])
        .fail(1)
        .one_error_with_hint();
    stage
        .instance
        .person(&[
            "vault",
            "credential",
            "delete",
            "--vault",
            vault,
            "BY_STDIN",
            "--yes",
        ])
        .succeed();
    let list = stage
        .instance
        .person(&["vault", "credential", "list", "--vault", vault])
        .succeed();
    assert!(!list.stdout.contains("BY_STDIN"), "{list:?}");
    // The agent's role may broker with a value, not read it.
    let outcome = stage
        .as_agent(&["vault", "credential", "get", KEY])
        .finish();
    assert!(!outcome.status.success(), "{outcome:?}");
    stage.sweep_stage();
}

#[test]
fn a_service_file_is_applied_whole_or_not_at_all() {
    let stage = stage();
    let vault = vault(&stage, "services");
    let home = stage.instance.home();
    let good = "\
services:
  - name: pay
    host: api.pay.example.com
    auth: {type: bearer, token: PAY_KEY}
  - name: llm
    host: api.llm.example.com:8443/v1/*
    auth: {type: api-key, key: LLM_KEY, header: x-api-key, prefix: \"\"}
";
    let set = |content: &str| {
        let file = home.write("services.yaml", content);
        stage
            .instance
            .person(&["vault", "service", "set", "--vault", vault, "--yes", "-f"])
            .args(&[&file.to_string_lossy()])
    };
    let list = || {
        stage
            .instance
            .person(&["vault", "service", "list", "--vault", vault])
            .succeed()
            .stdout
    };
    set(good).succeed();
    let before = list();
    assert!(
        before.contains("api.pay.example.com") && before.contains("api.llm.example.com:8443/v1/*"),
        "{before}"
    );
    for (broken, line, field) in [
        (good.replace("host: api.llm", "hots: api.llm"), 6, "hots"),
        (
            good.replace("token: PAY_KEY", "token: pay-key"),
            4,
            "services[0].auth.token",
        ),
        (
            good.replace("type: api-key", "type: magic"),
            7,
            "services[1].auth.type",
        ),
        (good.replace("name: llm", "name: pay"), 5, "pay"),
        (good.replace("name: pay", "name: [pay"), 2, ""),
    ] {
        let outcome = set(&broken).fail(1);
        outcome.one_error_with_hint().says(&[
            "services.yaml",
            &format!("line {line}"),
            field,
            "nothing was changed",
        ]);
        assert_eq!(list(), before, "a broken file changed something");
    }
    // What was listed can be given back, by stdin too.
    stage
        .instance
        .person(&["vault", "service", "set", "--vault", vault, "-f", "-"])
        .stdin(&before)
        .succeed();
    assert_eq!(list(), before);
}

#[test]
fn services_by_flags() {
    let stage = stage();
    let vault = vault(&stage, "flags");
    let service = |arguments: &[&str]| {
        let (verb, rest) = arguments.split_first().expect("a verb");
        stage
            .instance
            .person(&["vault", "service", verb, "--vault", vault])
            .args(rest)
    };
    service(&[
        "add",
        "--name",
        "bot",
        "--host",
        "api.bot.example.com",
        "--auth-type",
        "passthrough",
    ])
    .args(&["--substitute", "BOT_TOKEN=__bot_token__@path,body"])
    .succeed();
    let list = service(&["list", "--json"]).succeed().json();
    let bot = &list["services"][0];
    assert_eq!(bot["substitutions"][0]["key"], "BOT_TOKEN", "{list}");
    assert_eq!(
        bot["substitutions"][0]["placeholder"], "__bot_token__",
        "{list}"
    );
    // Changing one thing keeps the others, and a disabled service stays disabled.
    service(&["disable", "bot"]).succeed();
    service(&["add", "--name", "bot", "--host", "api2.bot.example.com"]).succeed();
    let list = service(&["list", "--json"]).succeed().json();
    assert_eq!(
        list["services"][0]["host"], "api2.bot.example.com",
        "{list}"
    );
    assert_eq!(list["services"][0]["enabled"], false, "{list}");
    assert_eq!(
        list["services"][0]["substitutions"][0]["key"], "BOT_TOKEN",
        "{list}"
    );
    service(&[
        "add",
        "--host",
        "api.bad.example.com",
        "--auth-type",
        "bearer",
    ])
    .finish()
    .says(&["--token-key"]);
    service(&["add", "--host", "*", "--auth-type", "passthrough"])
        .fail(2)
        .says(&["host", "wildcard"]);
    service(&["remove", "nothing-there", "--yes"])
        .fail(1)
        .says(&["nothing-there"]);
    service(&["remove", "bot", "--yes"]).succeed();
    assert_eq!(
        service(&["list", "--json"]).succeed().json()["services"],
        serde_json::json!([])
    );
}

#[test]
fn addresses_that_lead_nowhere_are_named_with_a_hint() {
    let stage = stage();
    let port = crate::stage::ports::free_port();
    let address = format!("http://127.0.0.1:{port}");
    Run::agent_vault(&stage.agent)
        .args(&["status", "--address", &address])
        .fail(1)
        .one_error_with_hint()
        .says(&["cannot reach", &address]);
    Run::agent_vault(&stage.agent)
        .args(&["ca", "fetch", "--address", "ftp://x"])
        .fail(1)
        .one_error_with_hint()
        .says(&["--address", "ftp://x"]);
    Run::agent_vault(&stage.agent)
        .args(&["vault", "list"])
        .env("AGENT_VAULT_TOKEN", &stage.token)
        .fail(1)
        .one_error_with_hint()
        .says(&["AGENT_VAULT_TOKEN", "AGENT_VAULT_ADDR"]);
    let outcome = stage
        .instance
        .person(&["vault", "credential", "list", "--vault", "nowhere"])
        .fail(1);
    outcome.says(&["nowhere"]);
    assert_eq!(
        outcome
            .stderr
            .lines()
            .filter(|line| line.contains("nowhere"))
            .count(),
        1,
        "{outcome:?}"
    );
}

#[test]
fn output_has_colours_only_for_a_terminal_and_a_closed_pipe_is_quiet() {
    let stage = stage();
    for run in [
        stage.instance.person(&["vault", "list"]),
        stage
            .instance
            .person(&["vault", "list"])
            .env("NO_COLOR", "1")
            .env("TERM", "xterm-256color"),
        stage.instance.person(&["--help"]),
    ] {
        let outcome = run.succeed();
        assert!(
            !outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'),
            "{outcome:?}"
        );
    }
    // On a terminal, NO_COLOR still holds.
    let script = r#"script -qec "$1 vault list" /dev/null"#;
    for (no_color, coloured) in [("", true), ("1", false)] {
        let outcome = Run::program(stage.instance.home(), "sh")
            .args(&[
                "-c",
                script,
                "sh",
                &crate::stage::binary::agent_vault().to_string_lossy(),
            ])
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm-256color")
            .succeed();
        assert_eq!(outcome.stdout.contains("\u{1b}["), coloured, "{outcome:?}");
    }
    let binary = crate::stage::binary::agent_vault()
        .to_string_lossy()
        .into_owned();
    for arguments in ["vault list", "vault logs", "--help", "vault service list"] {
        let outcome = Run::program(stage.instance.home(), "bash")
            .args(&[
                "-c",
                "set -o pipefail; $1 $2 | true; echo ${PIPESTATUS[0]}",
                "bash",
                &binary,
                arguments,
            ])
            .succeed();
        assert!(["0", "141"].contains(&outcome.stdout.trim()), "{outcome:?}");
        assert_eq!(outcome.stderr.matches("error").count(), 0, "{outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
    }
}

#[test]
fn the_first_owner_is_needed_and_there_is_one() {
    let instance = Instance::builder().start();
    let gated = http::call(instance.api_addr(), "GET", "/v1/vaults", &[], b"");
    assert_eq!(gated.status, 503, "{gated:?}");
    assert_eq!(gated.json()["error"], "not_initialized");
    Run::agent_vault(instance.home())
        .args(&[
            "auth",
            "login",
            "--address",
            &instance.address(),
            "--email",
            EMAIL,
            "--password-stdin",
        ])
        .stdin("x\n")
        .fail(1)
        .one_error_with_hint()
        .says(&["auth register"]);
    let short = instance
        .person(&[
            "auth",
            "register",
            "--address",
            &instance.address(),
            "--email",
            EMAIL,
            "--password-stdin",
        ])
        .stdin("short\n")
        .fail(1);
    assert!(!short.stderr.contains("short\n\n"), "{short:?}");
    instance.register();
    let status = instance.person(&["status"]).succeed();
    assert!(
        status.stdout.contains(EMAIL) && status.stdout.contains("default"),
        "{status:?}"
    );
}

#[test]
fn tokens_and_passwords_are_stored_as_hashes() {
    let stage = stage();
    stage.as_agent(&["run", "--quiet", "--", "true"]).succeed();
    stage.instance.sweep(&Canary::of(stage.token.clone()));
    stage.instance.sweep(&Canary::of(PASSWORD));
}
