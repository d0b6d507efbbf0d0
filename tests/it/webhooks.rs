//! Webhooks with the real binary: every kind of event, signatures as the page describes them, receivers that do badly, and a server
//! that dies in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_vault_testing::{Canary, PATIENCE, Recorded, Upstream};
use serde_json::{Value, json};

use crate::stage::instance::Instance;
use crate::stage::process::{Outcome, Run};
use crate::stage::{KEY, Stage, programs};

/// The page with the check that receivers are shown.
const PAGE: &str = include_str!("../../docs/webhooks.md");

/// What a receiver in Python does: the check of the page, over cases from stdin.
const HARNESS: &str = r#"
import json, sys
for case in json.load(sys.stdin):
    print(is_genuine(case["secret"], case["headers"], case["body"].encode()))
"#;

/// What the check of the page says of each case, `(secret, headers, body)`.
fn is_genuine(stage: &Stage, cases: &[Value]) -> Vec<bool> {
    let begin = PAGE.find("```python\n").expect("a block of Python") + "```python\n".len();
    let (check, _) = PAGE[begin..].split_once("```").expect("its end");
    let said = Run::program(&stage.agent, programs::python())
        .args(&["-c", &format!("{check}{HARNESS}")])
        .stdin(Value::from(cases.to_vec()).to_string())
        .succeed();
    said.stdout.lines().map(|line| line == "True").collect()
}

fn case(secret: &str, request: &Recorded) -> Value {
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    json!({
        "secret": secret,
        "headers": {
            "webhook-id": header("webhook-id"),
            "webhook-timestamp": header("webhook-timestamp"),
            "webhook-signature": header("webhook-signature"),
        },
        "body": request.body_text(),
    })
}

/// Adds a webhook for a path of the stage's upstream; answers its id and its secret.
fn add(stage: &Stage, noun: &str, path: &str) -> (String, String) {
    let url = stage.upstream.url(path);
    let added = stage
        .instance
        .person(&[noun, "webhook", "add", &url, "--json"])
        .succeed()
        .json();
    let text = |name: &str| added[name].as_str().expect("text").to_owned();
    (text("id"), text("secret"))
}

/// Everything that came to `path`, once there are `n` with a whole body.
fn came(stage: &Stage, path: &str, n: usize) -> Vec<Arc<Recorded>> {
    let end = Instant::now() + PATIENCE + Duration::from_secs(20);
    loop {
        let mut all = stage.upstream.requests();
        all.retain(|request| {
            let announced = request.header("content-length").unwrap_or("0");
            request.target == path && announced == request.body_length().to_string()
        });
        if all.len() >= n {
            return all;
        }
        assert!(
            Instant::now() < end,
            "{} of {n} came to {path}: {}",
            all.len(),
            stage.instance.log()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn payload(request: &Recorded) -> Value {
    serde_json::from_str(&request.body_text()).expect("JSON")
}

/// `curl` as the agent.
fn fetch(stage: &Stage, path: &str) {
    let proxy = format!("http://{}@{}", stage.token, stage.instance.proxy_addr());
    Run::program(&stage.agent, "curl")
        .args(&["-sS", "-o", "/dev/null", "--noproxy", ""])
        .args(&["--proxy", &proxy, "--cacert", &stage.root])
        .args(&[&stage.upstream.url(path)])
        .succeed();
}

/// Insists on parts of what a command printed.
fn prints(outcome: &Outcome, parts: &[&str]) {
    let printed = format!("{}\n{}", outcome.stdout, outcome.stderr);
    for part in parts {
        assert!(printed.contains(part), "no {part:?} in {outcome:?}");
    }
}

fn propose(stage: &Stage, key: &str) {
    let credential = format!("{key}=for a test");
    stage
        .as_agent(&["vault", "proposal", "create", "--credential", &credential])
        .args(&["--message", "Please"])
        .succeed();
}

#[test]
fn every_kind_of_event_arrives_signed_as_the_page_says_and_tells_no_secret() {
    let instance = Instance::builder()
        .env("AGENT_VAULT_RATELIMIT_PROXY_RATE", "1")
        .env("AGENT_VAULT_RATELIMIT_PROXY_BURST", "4");
    let mut stage = Stage::on(instance, Canary::new("sk-canary-"), Upstream::builder());
    stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
    let (id, secret) = add(&stage, "vault", "/hook");
    let (_, own_secret) = add(&stage, "owner", "/own-hook");

    let said = stage
        .instance
        .person(&["vault", "webhook", "test", &id])
        .succeed();
    prints(&said, &["delivered: it answered 200"]);
    propose(&stage, "ONE");
    stage
        .instance
        .person(&["vault", "proposal", "reject", "1", "--reason", "not now"])
        .succeed();
    fetch(&stage, "/status/401");
    fetch(&stage, "/status/403");
    stage
        .instance
        .person(&["vault", "credential", "delete", KEY, "--yes"])
        .succeed();
    fetch(&stage, "/missing");
    for _ in 0..6 {
        fetch(&stage, "/too-often");
    }
    came(&stage, "/hook", 6);
    // A proposal that ran out while nobody served.
    propose(&stage, "TWO");
    came(&stage, "/hook", 7);
    stage.instance.stop();
    let database = stage.instance.data_folder().join("agent-vault.db");
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        assert db.execute('update proposals set expires_at = 1 where id = 2').rowcount == 1\n\
        db.commit()";
    Run::program(&stage.agent, programs::python())
        .args(&["-c", script, &database.to_string_lossy()])
        .succeed();
    stage.instance.start();
    let heard = came(&stage, "/hook", 8);
    let mut types: Vec<String> = heard
        .iter()
        .map(|request| {
            payload(request)["type"]
                .as_str()
                .expect("a type")
                .to_owned()
        })
        .collect();
    types.sort();
    assert_eq!(
        types,
        [
            "credential.missing",
            "limit.hit",
            "proposal.decided",
            "proposal.expired",
            "proposal.raised",
            "proposal.raised",
            "upstream.auth_failing",
            "webhook.test",
        ]
    );
    let of = |kind: &str| {
        let found = heard.iter().map(|request| payload(request));
        let mut found = found.filter(|payload| payload["type"] == kind);
        found.next().expect("an event")["data"].clone()
    };
    let failing = of("upstream.auth_failing");
    assert_eq!(failing["service"], "demo");
    assert_eq!(failing["host"], stage.upstream.authority());
    assert_eq!(failing["keys"], json!([KEY]));
    assert_eq!(of("credential.missing")["missing"], json!([KEY]));
    assert_eq!(of("limit.hit")["limit"], "rate");
    assert_eq!(of("proposal.raised")["credentials"][0]["key"], "ONE");
    assert_eq!(of("proposal.decided")["note"], "not now");
    assert_eq!(of("proposal.expired")["proposal"], 2);

    // The check of the page takes each, and nothing that was touched.
    let own = came(&stage, "/own-hook", 7);
    let genuine: Vec<Value> = heard
        .iter()
        .map(|request| case(&secret, request))
        .chain(own.iter().map(|request| case(&own_secret, request)))
        .collect();
    let said = is_genuine(&stage, &genuine);
    assert_eq!(said, vec![true; heard.len() + own.len()]);
    let good = &genuine[0];
    let touched = |edit: &dyn Fn(&mut Value)| {
        let mut case = good.clone();
        edit(&mut case);
        case
    };
    let forged = [
        touched(&|case| case["secret"] = json!(own_secret)),
        touched(&|case| case["body"] = json!("{}")),
        touched(&|case| case["headers"]["webhook-id"] = json!("evt_other")),
        touched(&|case| case["headers"]["webhook-timestamp"] = json!("1")),
        touched(&|case| case["headers"]["webhook-timestamp"] = json!("soon")),
        touched(&|case| case["headers"]["webhook-signature"] = json!("")),
        touched(&|case| case["headers"]["webhook-signature"] = json!("v1,AAAA")),
    ];
    assert_eq!(is_genuine(&stage, &forged), vec![false; forged.len()]);

    for request in heard.iter().chain(&own) {
        let text = request.to_json().to_string() + &request.body_text();
        stage.secret.assert_absent("what a webhook is sent", &text);
        for hidden in ["av_", "whsec_", &stage.token, &secret, &own_secret] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
    // Nor do logs and files hold what signs.
    stage.instance.sweep(&Canary::of(secret));
    stage.instance.sweep(&Canary::of(own_secret));
    stage.sweep_stage();
}

#[test]
fn a_receiver_that_does_badly_is_named_and_no_redirect_is_followed() {
    let stage = Stage::bearer();
    let stranger = Upstream::start();
    let elsewhere = format!("/redirect?to={}", stage.upstream.url("/elsewhere"));
    let refused = [
        (stage.upstream.url("/status/500"), "it answered 500"),
        (stage.upstream.url(&elsewhere), "redirects are not followed"),
        (stage.upstream.url("/reset-connection"), "closed"),
        (
            stage.upstream.url("/slow?gate=never"),
            "it did not answer within 10 s",
        ),
        // A certificate of somebody whom nobody vouches for.
        (stranger.url("/hook"), "certificate"),
        // What policy keeps every request from.
        (
            "https://169.254.169.254/latest/meta-data".to_owned(),
            "may not be connected to",
        ),
        (
            "https://[::ffff:a9fe:a9fe]/latest".to_owned(),
            "may not be connected to",
        ),
        ("https://10.0.0.1/".to_owned(), "may not be connected to"),
    ];
    let mut waiting = Vec::new();
    for (url, reason) in &refused {
        let added = stage
            .instance
            .person(&["vault", "webhook", "add", url, "--json"])
            .succeed()
            .json();
        let id = added["id"].as_str().expect("an id").to_owned();
        let test = stage
            .instance
            .person(&["vault", "webhook", "test", &id])
            .spawn();
        waiting.push((test, id, url, reason));
    }
    for (test, id, url, reason) in waiting {
        let said = test.finish_within(PATIENCE * 3);
        assert_eq!(said.shell_code(), 1, "{url}: {said:?}");
        said.one_error_with_hint().says(&["not delivered"]);
        let shown = stage
            .instance
            .person(&["vault", "webhook", "show", &id, "--json"])
            .succeed()
            .json();
        let error = shown["last_error"].as_str().expect("a reason");
        assert!(error.contains(reason), "{url}: {error}");
        assert_eq!(shown["pending"], 1, "{shown}");
    }
    assert!(stage.upstream.latest("/elsewhere").is_none());
    assert!(stranger.requests().is_empty());
    stage.instance.assert_alive();
}

#[test]
fn an_address_that_requests_may_not_reach_is_out_of_reach_for_webhooks_too() {
    let instance = Instance::builder().env("AGENT_VAULT_NETWORK_ALLOWLIST", "192.0.2.1/32");
    let stage = Stage::on(instance, Canary::new("sk-canary-"), Upstream::builder());
    let port = stage.upstream.port();
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        let url = format!("https://{host}:{port}/hook");
        let added = stage
            .instance
            .person(&["owner", "webhook", "add", &url, "--json"])
            .succeed()
            .json();
        let id = added["id"].as_str().expect("an id");
        stage
            .instance
            .person(&["owner", "webhook", "test", id])
            .fail(1)
            .one_error_with_hint()
            .says(&["not delivered", "may not be connected to"]);
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[test]
fn what_was_being_sent_when_the_server_was_killed_is_sent_again() {
    let mut stage = Stage::bearer();
    let held = "/slow?gate=held";
    let (_, secret) = add(&stage, "vault", held);
    propose(&stage, "ONE");
    came(&stage, held, 1);
    // The request has arrived and was not answered.
    stage.instance.kill();
    stage.upstream.gate("held").open();
    stage.instance.start();
    let both = came(&stage, held, 2);
    let id = |n: usize| both[n].header("webhook-id").map(str::to_owned);
    assert!(id(0).is_some() && id(0) == id(1));
    assert_eq!(both[0].body_text(), both[1].body_text());
    let cases: Vec<Value> = both.iter().map(|request| case(&secret, request)).collect();
    assert_eq!(is_genuine(&stage, &cases), [true, true]);
}

#[test]
fn what_waits_is_sent_after_a_restart_once_the_receiver_is_well() {
    let mut stage = Stage::bearer();
    let (id, old) = add(&stage, "vault", "/status/503");
    let hook = |line: &[&str]| {
        let mut whole = vec!["vault", "webhook"];
        whole.extend_from_slice(line);
        stage.instance.person(&whole)
    };
    hook(&["test", &id]).fail(1).says(&["it answered 503"]);
    prints(
        &hook(&["deliveries", &id]).succeed(),
        &["webhook.test", "pending", "it answered 503"],
    );
    prints(
        &hook(&["list"]).succeed(),
        &["/status/503", "active", "it answered 503"],
    );
    let rotated = hook(&["rotate", &id, "--json"]).succeed().json();
    let new = rotated["secret"].as_str().expect("a secret").to_owned();
    let (first, second) = ("/well", stage.upstream.url("/well"));
    stage.instance.stop();
    stage.instance.start();
    let hook = |line: &[&str]| {
        let mut whole = vec!["vault", "webhook"];
        whole.extend_from_slice(line);
        stage.instance.person(&whole)
    };
    hook(&["edit", &id, "--url", &second]).succeed();
    let came = came(&stage, first, 1);
    // Both secrets sign while they overlap.
    let cases = [case(&old, &came[0]), case(&new, &came[0])];
    assert_eq!(is_genuine(&stage, &cases), [true, true]);
    prints(&hook(&["disable", &id]).succeed(), &["is off"]);
    hook(&["test", &id])
        .fail(1)
        .one_error_with_hint()
        .says(&["off", "enable"]);
    prints(&hook(&["enable", &id]).succeed(), &["is on"]);
    prints(&hook(&["test", &id]).succeed(), &["delivered"]);
    hook(&["remove", &id, "--yes"]).succeed();
    hook(&["show", &id]).fail(1).one_error_with_hint();
    hook(&["add", "http://hooks.example.com/"])
        .fail(1)
        .one_error_with_hint()
        .says(&["url", "https://"]);
}
