//! What a management write does to traffic: it holds for the next request, and ends what it takes the ground from.

use std::sync::{Arc, Mutex, Weak};

use rustix::process::Signal;

use agent_vault_testing::{Canary, Upstream};

use crate::stage::instance::Instance;
use crate::stage::process::Run;
use crate::stage::{KEY, Slot, Stage};

fn stage() -> Arc<Stage> {
    static SLOT: Slot = Mutex::new(Weak::new());
    Stage::shared(&SLOT, Stage::bearer)
}

/// A vault of a test's own, so that tests do not see each other's changes.
fn vault<'a>(stage: &Stage, name: &'a str) -> &'a str {
    stage.instance.person(&["vault", "create", name]).succeed();
    name
}

/// `curl` for `path` through the proxy with `token`: the status that it got, `000` for none.
fn fetch(stage: &Stage, token: &str, vault: &str, path: &str) -> String {
    let proxy = format!("http://{token}:{vault}@{}", stage.instance.proxy_addr());
    let outcome = Run::program(&stage.agent, "curl")
        .args(&[
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{http_connect}",
            "--noproxy",
            "",
            "--proxy",
            &proxy,
        ])
        .args(&["--cacert", &stage.root, &stage.upstream.url(path)])
        .finish();
    assert!(
        !outcome.stdout.starts_with("000 200"),
        "the tunnel broke: {outcome:?}\n{}",
        stage.instance.log()
    );
    outcome.stdout
}

#[test]
fn a_token_works_at_once_and_not_after_its_end() {
    let stage = stage();
    let minted = stage
        .instance
        .person(&[
            "vault", "token", "--label", "by hand", "--ttl", "600", "--json",
        ])
        .succeed()
        .json();
    let token = minted["token"].as_str().expect("a token");
    assert_eq!(fetch(&stage, token, "default", "/token-works"), "200 200");
    stage.saw_bearer("/token-works");
    let list = stage
        .instance
        .person(&["vault", "token", "list", "--json"])
        .succeed()
        .json();
    let session = list["sessions"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|session| session["label"] == "by hand")
        .unwrap_or_else(|| panic!("{list}"));
    let id = session["id"].as_str().expect("an id");
    stage
        .instance
        .person(&["vault", "token", "revoke", id, "--yes"])
        .succeed();
    assert_eq!(fetch(&stage, token, "default", "/token-revoked"), "000 407");
    assert!(stage.upstream.latest("/token-revoked").is_none());
    // The same for an agent's token: a rotation ends the old one with its next request.
    let create = [
        "agent",
        "create",
        "short-lived",
        "--vault",
        "default",
        "--token-only",
    ];
    let old = stage
        .instance
        .person(&create)
        .succeed()
        .stdout
        .trim()
        .to_owned();
    assert_eq!(fetch(&stage, &old, "default", "/agent-works"), "200 200");
    let new = stage
        .instance
        .person(&["agent", "rotate", "short-lived", "--token-only", "--yes"])
        .succeed()
        .stdout
        .trim()
        .to_owned();
    assert_eq!(fetch(&stage, &old, "default", "/agent-rotated"), "000 407");
    assert_eq!(fetch(&stage, &new, "default", "/agent-new"), "200 200");
    stage
        .instance
        .person(&["agent", "revoke", "short-lived", "--yes"])
        .succeed();
    assert_eq!(fetch(&stage, &new, "default", "/agent-revoked"), "000 407");
}

#[test]
fn writes_are_visible_to_the_next_request() {
    let stage = stage();
    let vault = vault(&stage, "fresh");
    let token = stage
        .instance
        .person(&["vault", "token", "--vault", vault])
        .succeed()
        .stdout;
    assert_eq!(fetch(&stage, &token, vault, "/fresh-before"), "200 200");
    assert!(stage.saw("/fresh-before").header("authorization").is_none());
    stage
        .instance
        .person(&[
            "vault",
            "credential",
            "set",
            "--vault",
            vault,
            "FRESH_KEY",
            "--stdin",
        ])
        .stdin(stage.secret.expose())
        .succeed();
    stage
        .instance
        .person(&[
            "vault",
            "service",
            "add",
            "--vault",
            vault,
            "--name",
            "fresh",
            "--host",
            &stage.upstream.authority(),
        ])
        .args(&["--auth-type", "bearer", "--token-key", "FRESH_KEY"])
        .succeed();
    assert_eq!(fetch(&stage, &token, vault, "/fresh-after"), "200 200");
    stage.saw_bearer("/fresh-after");
    stage
        .instance
        .person(&["vault", "service", "disable", "--vault", vault, "fresh"])
        .succeed();
    assert_eq!(fetch(&stage, &token, vault, "/fresh-disabled"), "403 200");
    stage
        .instance
        .person(&[
            "vault", "service", "remove", "--vault", vault, "fresh", "--yes",
        ])
        .succeed();
    stage
        .instance
        .person(&[
            "vault",
            "settings",
            "--vault",
            vault,
            "--unmatched-host-policy",
            "deny",
        ])
        .succeed();
    // The tunnel may open; the request in it is refused either way.
    let denied = fetch(&stage, &token, vault, "/fresh-denied");
    assert!(denied.contains("403"), "{denied}");
    let settings = stage
        .instance
        .person(&["vault", "settings", "--vault", vault, "get"])
        .succeed();
    assert!(settings.stdout.contains("deny"), "{settings:?}");
    stage
        .instance
        .person(&["vault", "delete", vault, "--yes"])
        .succeed();
    let gone = fetch(&stage, &token, vault, "/fresh-gone");
    assert!(gone.starts_with("000 4"), "{gone}");
}

#[test]
fn logs_show_and_follow() {
    let stage = stage();
    let vault = vault(&stage, "logged");
    let token = stage
        .instance
        .person(&["vault", "token", "--vault", vault, "--label", "the label"])
        .succeed()
        .stdout;
    let empty = stage
        .instance
        .person(&["vault", "logs", "--vault", vault])
        .succeed();
    empty.says(&["no requests logged"]);
    fetch(&stage, &token, vault, "/logged-first?secret=query-value");
    let (following, _stdin) = stage
        .instance
        .person(&["vault", "logs", "--vault", vault, "--follow"])
        .spawn_open();
    following.stdout.wait_for_text("/logged-first");
    fetch(&stage, &token, vault, "/logged-second");
    following.stdout.wait_for_text("/logged-second");
    following.signal(Signal::INT);
    let followed = following.finish();
    assert!(followed.stdout.contains("the label"), "{followed:?}");
    assert!(
        followed.stdout.contains("passed without a credential"),
        "{followed:?}"
    );
    assert!(
        !followed.stdout.contains("query-value"),
        "query values are not logged: {followed:?}"
    );
    let json = stage
        .instance
        .person(&["vault", "logs", "--vault", vault, "--json"])
        .succeed()
        .json();
    let rows = json["logs"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{json}");
    assert_eq!(rows[0]["path"], "/logged-second", "newest first: {json}");
    assert_eq!(rows[0]["status"], 200, "{json}");
    assert_eq!(rows[0]["method"], "GET", "{json}");
}

#[test]
fn a_revoked_token_ends_what_is_open() {
    let stage = stage();
    let vault = vault(&stage, "streaming");
    let minted = stage
        .instance
        .person(&["vault", "token", "--vault", vault, "--json"])
        .succeed()
        .json();
    let token = minted["token"].as_str().expect("a token");
    let proxy = format!("http://{token}:{vault}@{}", stage.instance.proxy_addr());
    let open = |version: &str| {
        Run::program(&stage.agent, "curl")
            .args(&[
                "-sS",
                "-N",
                version,
                "--noproxy",
                "",
                "--proxy",
                &proxy,
                "--cacert",
                &stage.root,
            ])
            .args(&[&stage
                .upstream
                .url(&format!("/sse?n=100&gate=streaming{version}"))])
            .spawn()
    };
    let streams = [open("--http1.1"), open("--http2")];
    // One event each, so that both are in the middle of an answer.
    for (stream, version) in streams.iter().zip(["--http1.1", "--http2"]) {
        stage
            .upstream
            .gate(&format!("streaming{version}"))
            .release(1);
        stream
            .stdout
            .wait_for("an event", |text| text.contains("data:").then_some(()));
    }
    let list = stage
        .instance
        .person(&["vault", "token", "--vault", vault, "list", "--json"])
        .succeed()
        .json();
    let id = list["sessions"][0]["id"].as_str().expect("an id");
    stage
        .instance
        .person(&["vault", "token", "revoke", "--vault", vault, id, "--yes"])
        .succeed();
    for stream in streams {
        let ended = stream.finish();
        assert!(!ended.status.success(), "{ended:?}");
    }
}

/// An operator closes every vault that has not been opened; a vault's own setting, either way, is heeded before.
#[test]
fn s7_the_operators_policy_holds_where_a_vault_has_none() {
    let stage = Stage::on(
        Instance::builder().env("AGENT_VAULT_UNMATCHED_HOST_POLICY", "deny"),
        Canary::new("sk-canary-"),
        Upstream::builder(),
    );
    stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
    let person = |arguments: &[&str]| stage.instance.person(arguments).succeed();
    person(&["vault", "create", "other"]);
    let token = |vault: &str| {
        let minted = person(&["vault", "token", "--vault", vault, "--json"]).json();
        minted["token"].as_str().expect("a token").to_owned()
    };
    let (default, other) = (token("default"), token("other"));
    let shown = person(&["vault", "settings", "--vault", "other", "--json"]).json();
    assert_eq!(shown["unmatched_host_policy"], "deny");
    assert_eq!(fetch(&stage, &other, "other", "/closed"), "403 200");
    assert!(stage.upstream.latest("/closed").is_none());
    person(&[
        "vault",
        "settings",
        "--vault",
        "other",
        "--unmatched-host-policy",
        "passthrough",
    ]);
    assert_eq!(fetch(&stage, &other, "other", "/opened"), "200 200");
    // A service is what opens a vault without such a setting.
    assert_eq!(fetch(&stage, &default, "default", "/served"), "200 200");
    stage.saw_bearer("/served");
}
