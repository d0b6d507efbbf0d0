//! What a child of `run` finds in its environment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::stage::process::Run;
use crate::stage::{KEY, Slot, Stage};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// The environment that `run` gives to a child.
fn environment(run: Run) -> BTreeMap<String, String> {
    let outcome = run.succeed();
    outcome
        .stdout
        .split('\0')
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn child(stage: &Stage) -> Run {
    stage
        .instance
        .person(&["run", "--quiet", "--", "env", "-0"])
}

/// Variables that name the proxy.
const PROXY: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/// Variables that name the roots to trust.
const ROOTS: [&str; 10] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
];

#[test]
fn proxy_variables_are_set_in_both_cases_and_never_inherited() {
    let stage = stage();
    let mut run = child(&stage)
        .env("ALL_PROXY", "http://elsewhere:1")
        .env("all_proxy", "http://elsewhere:1");
    for name in PROXY {
        run = run.env(name, "http://elsewhere:1");
    }
    let found = environment(run);
    let port = stage.instance.proxy_addr().port();
    let token = &found["AGENT_VAULT_TOKEN"];
    for name in PROXY {
        assert_eq!(
            found[name],
            format!("http://{token}:default@127.0.0.1:{port}"),
            "{name}"
        );
    }
    assert!(
        !found.values().any(|value| value.contains("elsewhere")),
        "{found:?}"
    );
    assert_eq!(found["AGENT_VAULT_ADDR"], stage.instance.address());
    assert_eq!(found["AGENT_VAULT_VAULT"], "default");
    assert_eq!(found["NODE_USE_ENV_PROXY"], "1");
}

#[test]
fn the_bundle_is_the_systems_roots_and_ours_for_every_runtime() {
    let stage = stage();
    let mut run = stage.instance.person(&[
        "run",
        "--quiet",
        "--",
        "sh",
        "-c",
        r#"cp "$SSL_CERT_FILE" "$HOME/bundle.pem"; env -0"#,
    ]);
    for name in ROOTS {
        run = run.env(name, "/nowhere/inherited.pem");
    }
    let found = environment(run.env("SSL_CERT_DIR", "/nowhere"));
    let path = &found["SSL_CERT_FILE"];
    for name in ROOTS {
        assert_eq!(&found[name], path, "{name}");
    }
    assert!(!found.contains_key("SSL_CERT_DIR"));
    let bundle =
        std::fs::read_to_string(stage.instance.home().join("bundle.pem")).expect("the bundle");
    let ours = stage.instance.person(&["ca", "fetch"]).succeed().stdout;
    assert!(
        bundle.contains(ours.trim()),
        "our root is not in the bundle"
    );
    let system = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let count = |text: &str| text.matches("-----BEGIN CERTIFICATE-----").count();
    assert!(
        count(&bundle) > count(&system),
        "{} of {}",
        count(&bundle),
        count(&system)
    );
    assert!(
        !std::path::Path::new(path).exists(),
        "the bundle outlived the run"
    );
}

#[test]
fn placeholders_stand_in_for_keys_and_differ_between_vaults() {
    let stage = stage();
    stage
        .instance
        .person(&["vault", "create", "second"])
        .succeed();
    for vault in ["default", "second"] {
        for key in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"] {
            stage
                .instance
                .person(&[
                    "vault",
                    "credential",
                    "set",
                    "--vault",
                    vault,
                    key,
                    "--stdin",
                ])
                .stdin(stage.secret.expose())
                .succeed();
            let name = key.to_lowercase().replace('_', "-");
            let host = format!("{name}.example.com");
            stage
                .instance
                .person(&[
                    "vault", "service", "add", "--vault", vault, "--name", &name, "--host", &host,
                ])
                .args(&["--auth-type", "bearer", "--token-key", key])
                .succeed();
        }
    }
    let real = "sk-proj-the-callers-own-real-key-0123456789";
    let of = |vault: &str| {
        let run = stage
            .instance
            .person(&["run", "--quiet", "--vault", vault, "--", "env", "-0"])
            .env("OPENAI_API_KEY", real)
            .env("UNRELATED", "kept");
        let found = environment(run);
        assert_eq!(found["UNRELATED"], "kept");
        assert!(
            !found.values().any(|value| value.contains(real)),
            "the caller's key was inherited"
        );
        for value in found.values() {
            stage.secret.assert_absent("a child's environment", value);
        }
        found
    };
    let (one, two) = (of("default"), of("second"));
    for key in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"] {
        assert_ne!(one[key], two[key], "{key} is alike in two vaults");
        assert_eq!(
            one[key],
            of("default")[key],
            "{key} differs between two runs"
        );
    }
    assert!(
        one["OPENAI_API_KEY"].starts_with("sk-"),
        "{}",
        one["OPENAI_API_KEY"]
    );
    assert!(
        one["ANTHROPIC_API_KEY"].starts_with("sk-ant-"),
        "{}",
        one["ANTHROPIC_API_KEY"]
    );
    assert!(
        one.contains_key(KEY),
        "a credential without a known shape has a placeholder too"
    );
    assert!(!two.contains_key(KEY), "the second vault has no {KEY}");
}

#[test]
fn no_proxy_is_merged_but_leads_past_no_service() {
    let stage = stage();
    stage
        .instance
        .person(&[
            "vault",
            "service",
            "add",
            "--name",
            "corp",
            "--host",
            "api.corp.example.com",
        ])
        .args(&["--auth-type", "bearer", "--token-key", KEY])
        .succeed();
    let outcome = stage
        .instance
        .person(&["run", "--", "env", "-0"])
        .env("NO_PROXY", "intranet.example.net,.corp.example.com")
        .env("no_proxy", "db.example.net")
        .succeed();
    let no_proxy = outcome
        .stdout
        .split('\0')
        .find_map(|entry| entry.strip_prefix("NO_PROXY="))
        .expect("NO_PROXY");
    for entry in ["intranet.example.net", "db.example.net"] {
        assert!(
            no_proxy.split(',').any(|found| found == entry),
            "{no_proxy}"
        );
    }
    assert!(!no_proxy.contains("corp.example.com"), "{no_proxy}");
    outcome.says(&[".corp.example.com", "NO_PROXY"]);
    assert!(
        outcome.stdout.contains(&format!("no_proxy={no_proxy}\0")),
        "{outcome:?}"
    );
}

#[test]
fn the_master_password_does_not_reach_the_child() {
    let stage = stage();
    let found = environment(child(&stage).env("AGENT_VAULT_MASTER_PASSWORD", "do-not-pass-on"));
    assert!(!found.values().any(|value| value.contains("do-not-pass-on")));
}
