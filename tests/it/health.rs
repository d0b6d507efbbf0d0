//! What the running server says about itself: that it lives, that it can work, what it has counted.

use std::collections::BTreeMap;

use agent_vault_testing::{Canary, Upstream};

use crate::stage::http;
use crate::stage::instance::Instance;
use crate::stage::{KEY, Stage};

/// A scrape token as an operator sets one.
pub(crate) const SCRAPE: &str = "scrape-0123456789abcdef";

/// One reading of `/metrics`: series with their labels, and values.
pub(crate) fn scrape(instance: &Instance) -> BTreeMap<String, f64> {
    let bearer = format!("Bearer {SCRAPE}");
    let reply = http::call(
        instance.api_addr(),
        "GET",
        "/metrics",
        &[("authorization", &bearer)],
        b"",
    );
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

/// The sum over all series of `name` whose labels contain each of `labels`.
pub(crate) fn total(readings: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    readings
        .iter()
        .filter(|(series, _)| {
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            found == name && labels.iter().all(|label| rest.contains(label))
        })
        .map(|(_, value)| value)
        .sum()
}

#[test]
fn what_was_done_is_counted_by_closed_lists_of_labels() {
    let stage = Stage::on(
        Instance::builder().env("AGENT_VAULT_METRICS_TOKEN", SCRAPE),
        Canary::new("sk-canary-"),
        Upstream::builder(),
    );
    stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
    let before = scrape(&stage.instance);
    assert_eq!(total(&before, "agent_vault_requests_total", &[]), 0.0);
    let url = stage.upstream.url("/status/404");
    for version in ["--http1.1", "--http2"] {
        stage
            .client(&["curl", "-sS", version, "-o", "/dev/null", &url])
            .succeed();
    }
    // The upstream repeats what it was sent.
    stage
        .client(&[
            "curl",
            "-sS",
            "-o",
            "/dev/null",
            &stage.upstream.url("/echo"),
        ])
        .succeed();
    // A peer that is not there.
    let nobody = format!("https://localhost:{}/", crate::stage::ports::free_port());
    stage
        .client(&["curl", "-sS", "-o", "/dev/null", &nobody])
        .succeed();
    let after = scrape(&stage.instance);
    for (labels, count) in [
        (
            &[
                "protocol=\"http1\"",
                "decision=\"brokered\"",
                "status=\"4xx\"",
            ][..],
            1.0,
        ),
        (
            &[
                "protocol=\"http2\"",
                "decision=\"brokered\"",
                "status=\"4xx\"",
            ],
            1.0,
        ),
        (&["decision=\"passed\"", "status=\"5xx\""], 1.0),
        (&[], 4.0),
    ] {
        let found = total(&after, "agent_vault_requests_total", labels);
        assert_eq!(found, count, "{labels:?} in {after:?}");
    }
    for (name, labels, count) in [
        (
            "agent_vault_upstream_failures_total",
            &["kind=\"connect\""][..],
            1.0,
        ),
        ("agent_vault_upstream_failures_total", &[], 1.0),
        (
            "agent_vault_request_duration_seconds_count",
            &["decision=\"brokered\""],
            3.0,
        ),
        ("agent_vault_scrubs_total", &[], 1.0),
        ("agent_vault_database_up", &[], 1.0),
        ("agent_vault_build_info", &[env!("CARGO_PKG_VERSION")], 1.0),
        ("agent_vault_log_rows_total", &["outcome=\"lost\""], 0.0),
        (
            "agent_vault_webhook_events_total",
            &["outcome=\"lost\""],
            0.0,
        ),
        ("agent_vault_started_after_crash", &[], 0.0),
    ] {
        assert_eq!(total(&after, name, labels), count, "{name} {labels:?}");
    }
    assert!(total(&after, "agent_vault_leaves_signed_total", &[]) >= 1.0);
    assert!(total(&after, "process_open_fds", &[]) > 3.0);
    assert!(total(&after, "agent_vault_tasks", &[]) > 1.0);
    // Nothing that names anybody: hosts, vaults, agents, keys and paths are no labels.
    let page: String = after.keys().map(String::as_str).collect();
    for name in ["localhost", "default", "robot", "demo", KEY, "/status"] {
        assert!(!page.contains(name), "{name} in {page}");
    }
    stage.secret.assert_absent("the metrics", &page);
}

#[test]
fn the_metrics_are_not_for_agents() {
    let stage = Stage::bearer();
    let bearer = format!("Bearer {}", stage.token);
    let refused = http::call(
        stage.instance.api_addr(),
        "GET",
        "/metrics",
        &[("authorization", &bearer)],
        b"",
    );
    assert_eq!(refused.status, 403, "{}", refused.text());
    let owner = stage.instance.api("GET", "/metrics", "");
    assert_eq!(owner.status, 200, "{}", owner.text());
}

#[test]
fn a_scrape_token_that_can_be_guessed_is_an_error() {
    let refused = Instance::builder()
        .env("AGENT_VAULT_METRICS_TOKEN", "short")
        .fails_to_start();
    assert!(
        refused.contains("AGENT_VAULT_METRICS_TOKEN") && refused.contains("16 characters"),
        "{refused}"
    );
}

#[test]
fn a_server_that_was_killed_says_so_when_it_is_back() {
    let mut instance = Instance::builder()
        .env("AGENT_VAULT_METRICS_TOKEN", SCRAPE)
        .start();
    instance.kill();
    instance.start();
    let readings = scrape(&instance);
    assert_eq!(
        total(&readings, "agent_vault_started_after_crash", &[]),
        1.0
    );
    assert!(
        instance.log().contains("did not stop in order"),
        "{}",
        instance.log()
    );
    instance.stop();
    instance.start();
    let readings = scrape(&instance);
    assert_eq!(
        total(&readings, "agent_vault_started_after_crash", &[]),
        0.0
    );
}
