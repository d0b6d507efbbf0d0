use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::placeholders::shell_word;
use super::{Known, Lacking, Outcome, Quotations, ServiceKeys, findings, is_addendum, outcome};
use crate::client::types::LogRow;

static NOTHING: Lacking = Lacking(BTreeMap::new());
static NONE: BTreeMap<String, String> = BTreeMap::new();

fn nothing_known() -> Known<'static> {
    Known {
        vault: "work",
        lacking: &NOTHING,
        placeholders: &NONE,
    }
}

fn row(
    decision: &str,
    service: &str,
    keys: &[&str],
    status: u16,
    error: &str,
    warnings: &[&str],
) -> LogRow {
    LogRow {
        host: "api.x.example:443".into(),
        decision: decision.into(),
        matched_service: service.into(),
        credential_keys: keys.iter().map(ToString::to_string).collect(),
        status,
        error_code: error.into(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
        ..LogRow::default()
    }
}

#[test]
fn w48_every_silent_failure_has_a_command() {
    for (row, outcome_wanted, what, mend) in [
        (
            row("inject", "x", &["K"], 200, "", &[]),
            Outcome::Brokered,
            "",
            "",
        ),
        (
            row("forward", "", &[], 200, "", &[]),
            Outcome::Passed,
            "",
            "",
        ),
        (
            row("forward", "", &[], 401, "", &[]),
            Outcome::Passed,
            "",
            "",
        ),
        (
            row("inject", "x", &["K"], 401, "", &[]),
            Outcome::Brokered,
            "answered 401",
            "credential set K",
        ),
        (
            row("inject", "x", &["K"], 502, "credential_not_found", &[]),
            Outcome::Refused,
            "names K",
            "credential set K",
        ),
        (
            row("deny", "", &[], 403, "no_match", &[]),
            Outcome::Refused,
            "no service",
            "service add",
        ),
        (
            row("deny", "x", &[], 403, "service_disabled", &[]),
            Outcome::Refused,
            "disabled",
            "service enable x",
        ),
        (
            row("forward", "", &[], 200, "", &["placeholder_unreplaced:K"]),
            Outcome::Passed,
            "placeholder of K",
            "--host api.x.example",
        ),
        (
            row(
                "inject",
                "x",
                &["A"],
                200,
                "",
                &["placeholder_unreplaced:K"],
            ),
            Outcome::Brokered,
            "placeholder of K",
            "--substitute K=",
        ),
        (
            row("", "x", &["K"], 200, "", &[]),
            Outcome::Brokered,
            "",
            "",
        ),
    ] {
        assert_eq!(outcome(&row), outcome_wanted, "{row:?}");
        let found = findings(&row, nothing_known());
        if what.is_empty() {
            assert!(found.is_empty(), "{found:?}");
        } else {
            assert!(
                found[0].what.contains(what) && found[0].mend.contains(mend),
                "{found:?}"
            );
        }
    }
}

#[test]
fn w48_every_refusal_is_explained_and_no_reason_is_guessed() {
    for (code, what, mend) in [
        (
            "substitution_error",
            "K does not fit",
            "credential set K --vault work",
        ),
        (
            "credential_unreadable",
            "cannot be opened",
            "credential set K",
        ),
        (
            "rules_unreadable",
            "services cannot be read",
            "service set -f",
        ),
        ("tls_required", "only https", "--name x --require-tls=false"),
        (
            "ambiguous_account",
            "several services",
            "--select-placeholder",
        ),
        ("ambiguous_path", "more than one way", "%2F"),
        ("malformed_request", "not HTTP/1.1", "look at the client"),
        ("head_too_large", "too large", "fewer or shorter"),
        ("sni_mismatch", "another host in TLS", "through the proxy"),
        ("tls_handshake_failed", "trust", "agent-vault ca fetch"),
        (
            "response_not_scrubbable",
            "searched for K",
            "Accept-Encoding",
        ),
        ("upstream_error", "could not be reached", "says why"),
        ("upstream_blocked", "network guard", "NETWORK_ALLOWLIST"),
        ("upstream_tls_untrusted", "not trusted", "--upstream-ca"),
        ("upstream_tls_expired", "at this time", "clock"),
        ("upstream_tls_wrong_name", "another name", "stands in"),
        ("upstream_tls_wrong_purpose", "may not be used", "replace"),
        ("upstream_tls", "failed", "says why"),
        ("upstream_unresolved", "resolved", "resolver"),
    ] {
        let mut row = row("refused", "x", &["K"], 502, code, &[]);
        row.host = "127.0.0.1:8080".into();
        let found = findings(&row, nothing_known());
        assert!(
            found[0].what.contains(what) && found[0].mend.contains(mend),
            "{found:?}"
        );
        assert!(!found[0].what.contains("private"), "{found:?}");
    }
    let compressed = "body_not_inspected:the request body is compressed";
    let found = findings(
        &row("brokered", "x", &["K"], 200, "", &[compressed]),
        nothing_known(),
    );
    assert!(found[0].what.contains("is compressed") && found[0].mend.contains("uncompressed"));
    let passed = "response_not_scrubbed:unknown_coding";
    let found = findings(
        &row("brokered", "x", &["K"], 200, "", &[passed]),
        nothing_known(),
    );
    assert!(found[0].what.contains("without a search") && found[0].mend.contains("refuse"));
}

#[test]
fn the_command_for_an_unreplaced_placeholder_can_be_pasted() {
    let placeholders = BTreeMap::from([("K".to_owned(), "sk-ant-api03-standin".to_owned())]);
    let known = Known {
        placeholders: &placeholders,
        ..nothing_known()
    };
    for (service, chosen) in [("", "--host api.x.example"), ("x", "--name x")] {
        let row = row(
            "passed",
            service,
            &[],
            200,
            "",
            &["placeholder_unreplaced:K"],
        );
        assert_eq!(
            findings(&row, known)[0].mend,
            format!(
                "agent-vault vault service add --vault work {chosen} --substitute K=sk-ant-api03-standin@header,path,query"
            )
        );
    }
    let row = row(
        "brokered",
        "x",
        &["A"],
        200,
        "",
        &[
            "placeholder_unreplaced:K",
            "placeholder_unreplaced_in_body:K",
        ],
    );
    // Whoever pastes both as they are told ends with the one that does more.
    let found: BTreeSet<_> = findings(&row, known).into_iter().collect();
    let last = found.last().unwrap();
    assert_eq!(
        last.what,
        "the placeholder of K left for api.x.example unreplaced, in a body"
    );
    assert_eq!(
        last.mend,
        "agent-vault vault service add --vault work --name x --substitute K=sk-ant-api03-standin@header,path,query,body"
    );
    assert_eq!(
        shell_word("K={{ it's }}@header"),
        r"'K={{ it'\''s }}@header'"
    );
}

#[test]
fn w48_what_is_quoted_is_a_note_and_an_addendum_is_no_request() {
    let mut row = row(
        "brokered",
        "x",
        &["A"],
        401,
        "",
        &[
            "placeholder_unreplaced_in_websocket:K",
            "placeholder_quoted:K",
            "placeholder_quoted:L",
            "placeholders_more",
        ],
    );
    assert_eq!(findings(&row, nothing_known()).len(), 2);
    row.method = "ADDENDUM".into();
    assert!(is_addendum(&row));
    let found = findings(&row, nothing_known());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0]
            .what
            .ends_with("unreplaced, in a WebSocket message")
    );
    assert!(
        found[0].mend.ends_with("@header,path,query,body,websocket"),
        "{found:?}"
    );
    let mut quoted = Quotations::default();
    assert_eq!(quoted.note(), None);
    quoted.add(&row);
    let note = quoted.note().unwrap();
    assert!(
        note.starts_with("the placeholder of L, more was quoted"),
        "{note}"
    );
}

#[test]
fn a_placeholder_without_a_key_is_quoted() {
    let row = row(
        "passed",
        "",
        &[],
        200,
        "",
        &["placeholder_unreplaced:__bot_token__"],
    );
    let found = findings(&row, nothing_known());
    assert!(found[0].what.contains("placeholder `__bot_token__` left"));
    assert!(found[0].mend.contains("--substitute <KEY>=__bot_token__@"));
}

#[test]
fn a_missing_key_is_named_even_where_the_row_does_not() {
    let service = |name: &str, enabled: bool| {
        json!({"name": name, "host": "api.x.example", "enabled": enabled, "auth": {"type": "basic", "username": "HAVE", "password": "LACK"}})
            .as_object()
            .unwrap()
            .clone()
    };
    let keys = ServiceKeys::of(&[service("lacks", true), service("asleep", false)]);
    assert_eq!(keys.get("lacks").unwrap(), ["HAVE", "LACK"]);
    let lacking = keys.lacking(&["HAVE".into()]);
    let standing: Vec<_> = lacking.findings("work").collect();
    assert_eq!(standing.len(), 1);
    let shown = findings(
        &row("refused", "lacks", &[], 502, "credential_not_found", &[]),
        Known {
            lacking: &lacking,
            ..nothing_known()
        },
    );
    assert_eq!(shown, standing);
    assert!(shown[0].mend.contains("credential set LACK --vault work"));
}

#[test]
fn the_servers_words_for_what_it_did() {
    for (word, wanted) in [
        ("brokered", Outcome::Brokered),
        ("passed", Outcome::Passed),
        ("refused", Outcome::Refused),
    ] {
        assert_eq!(outcome(&row(word, "", &[], 200, "", &[])), wanted);
    }
}
