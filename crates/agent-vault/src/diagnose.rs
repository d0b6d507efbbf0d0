//! What went wrong with a logged request, in one sentence, and the command that mends it.
//!
//! `vault logs` and the summary of `run` both use this, so that nothing fails silently in either.

use std::collections::{BTreeMap, BTreeSet};

use agent_vault_policy::{CredentialKey, Service, ServiceDraft, ValidationOptions};
use serde_json::{Map, Value};

use crate::client::types::LogRow;

/// Put before the key in a row's `warnings` when a placeholder left for an upstream unreplaced.
const UNREPLACED: &str = "placeholder_unreplaced:";
/// The same for one that was a value of the body.
const UNREPLACED_IN_BODY: &str = "placeholder_unreplaced_in_body:";
/// The same for one that was a value in a message of a WebSocket.
const UNREPLACED_IN_WEBSOCKET: &str = "placeholder_unreplaced_in_websocket:";
/// Put before the key when a placeholder left inside a longer text, or in a conversation with a model.
const QUOTED: &str = "placeholder_quoted:";
/// There were more placeholders than are named.
const MORE: &str = "placeholders_more";
/// The method of a row that adds warnings to an earlier one and is no request.
const ADDENDUM: &str = "ADDENDUM";
/// Put before the reason in a row's `warnings` when a body could not be looked into.
const UNSEARCHED: &str = "body_not_inspected:";
/// Put before the reason in a row's `warnings` when an answer was not searched for the credential.
const UNSCRUBBED: &str = "response_not_scrubbed:";
/// Where the log has found a placeholder outside the body, one of them.
const HEAD_SURFACES: &str = "header,path,query";
/// What makes good one that was found in the body: a command replaces what an earlier one has set, so it takes in the others.
const WITH_BODY: &str = "header,path,query,body";
/// The same for a message.
const ALL_SURFACES: &str = "header,path,query,body,websocket";

/// A mistake and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// What happened.
    pub(crate) what: String,
    /// A command to type, or advice.
    pub(crate) mend: String,
}

/// The keys that each enabled service of a vault uses, by the service's name.
#[derive(Debug, Default)]
pub(crate) struct ServiceKeys(BTreeMap<String, Vec<String>>);

impl ServiceKeys {
    /// Reads services as the server lists them; one that this version cannot read is left out.
    pub(crate) fn of(services: &[Map<String, Value>]) -> ServiceKeys {
        let options = ValidationOptions { dev_mode: true };
        let keys = services
            .iter()
            .filter_map(|s| serde_json::from_value::<ServiceDraft>(Value::Object(s.clone())).ok())
            .filter_map(|draft| Service::from_draft(draft, &options).ok())
            .filter(|service| service.enabled)
            .map(|s| {
                (
                    s.name.to_string(),
                    s.keys().iter().map(ToString::to_string).collect(),
                )
            })
            .collect();
        ServiceKeys(keys)
    }

    /// The keys of one service.
    pub(crate) fn get(&self, service: &str) -> Option<&[String]> {
        self.0.get(service).map(Vec::as_slice)
    }

    /// What is left of it: the keys that are not `available`.
    pub(crate) fn lacking(mut self, available: &[String]) -> Lacking {
        for keys in self.0.values_mut() {
            keys.retain(|key| !available.contains(key));
        }
        self.0.retain(|_, keys| !keys.is_empty());
        Lacking(self.0)
    }
}

/// The keys that each service names and the vault lacks.
#[derive(Debug, Default)]
pub(crate) struct Lacking(BTreeMap<String, Vec<String>>);

impl Lacking {
    /// A finding for each.
    pub(crate) fn findings(&self, vault: &str) -> impl Iterator<Item = Finding> {
        self.0
            .iter()
            .map(move |(service, keys)| lacks(service, &keys.join(" "), vault))
    }
}

/// One wording, so that what a request showed and what stands anyway are one finding.
fn lacks(service: &str, keys: &str, vault: &str) -> Finding {
    let (named, typed) = if keys.is_empty() {
        ("a credential", "<KEY>")
    } else {
        (keys, keys)
    };
    Finding {
        what: format!("service {service} names {named}, which the vault lacks"),
        mend: format!("agent-vault vault credential set {typed} --vault {vault}"),
    }
}

/// How a request was dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It left with a credential.
    Brokered,
    /// It left without one.
    Passed,
    /// It did not leave.
    Refused,
}

/// Error codes of requests that never left.
const REFUSED: &[&str] = &[
    "no_match",
    "service_disabled",
    "ambiguous_account",
    "ambiguous_path",
    "tls_required",
    "request_too_large",
    "rate_limit_scope",
    "concurrency_scope",
    "too_many_requests",
    "credential_not_found",
    "credential_unreadable",
    "rules_unreadable",
    "substitution_error",
    "malformed_request",
    "head_too_large",
    "target_too_long",
    "sni_mismatch",
    "tls_handshake_failed",
    "tls_handshake_timeout",
    "certificate_error",
    "unauthorized",
    "forbidden",
    "internal",
];

/// Sorts a row into one of three.
pub(crate) fn outcome(row: &LogRow) -> Outcome {
    match row.decision.as_str() {
        "deny" | "denied" | "refuse" | "refused" => return Outcome::Refused,
        _ => {}
    }
    if REFUSED.contains(&row.error_code.as_str()) {
        return Outcome::Refused;
    }
    match row.decision.as_str() {
        "inject" | "injected" | "brokered" | "allow" => Outcome::Brokered,
        "forward" | "forwarded" | "passthrough" | "passed" => Outcome::Passed,
        _ if !row.matched_service.is_empty() && !row.credential_keys.is_empty() => {
            Outcome::Brokered
        }
        _ => Outcome::Passed,
    }
}

/// What is known of the vault that a row is from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// Its name.
    pub(crate) vault: &'a str,
    /// What its services lack.
    pub(crate) lacking: &'a Lacking,
    /// What an agent holds instead of each key.
    pub(crate) placeholders: &'a BTreeMap<String, String>,
}

/// Everything that a person should mend about a row.
pub(crate) fn findings(row: &LogRow, known: Known<'_>) -> Vec<Finding> {
    let host = host_of(row);
    let unreplaced = row.warnings.iter().filter_map(|w| Unreplaced::read(w));
    let failure = if is_addendum(row) {
        // The row that it adds to has told.
        None
    } else {
        failure(row, &host, known)
    };
    unreplaced
        .map(|unreplaced| left_unreplaced(row, &host, unreplaced, known))
        .chain(unsearched(row, &host))
        .chain(unscrubbed(row, &host))
        .chain(failure)
        .collect()
}

/// Whether a row only adds to an earlier one: what was found in a WebSocket's messages, or in the rest of a body whose request was on
/// record already.
pub(crate) fn is_addendum(row: &LogRow) -> bool {
    row.method == ADDENDUM
}

/// Placeholders that left inside texts, which nobody has to mend.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Quotations {
    keys: BTreeSet<String>,
    /// More than the log names.
    more: bool,
}

impl Quotations {
    /// Adds a row's. One that was also sent as a value is told as that.
    pub(crate) fn add(&mut self, row: &LogRow) {
        let sent = |key: &str| {
            let mut sent = row.warnings.iter().filter_map(|w| Unreplaced::read(w));
            sent.any(|unreplaced| unreplaced.placeholder == key)
        };
        let quoted = row.warnings.iter().filter_map(|w| w.strip_prefix(QUOTED));
        self.keys
            .extend(quoted.filter(|key| !sent(key)).map(str::to_owned));
        self.more |= row.warnings.iter().any(|w| w == MORE);
    }

    /// One sentence; nothing when there is nothing to say.
    pub(crate) fn note(&self) -> Option<String> {
        let mut named: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        let which = match (named.is_empty(), self.more) {
            (true, false) => return None,
            (true, true) => {
                return Some(String::from(
                    "more placeholders left unreplaced than the log names",
                ));
            }
            (false, more) => {
                if more {
                    named.push("more");
                }
                named.join(", ")
            }
        };
        Some(format!(
            "the placeholder of {which} was quoted in text that left, as it is; nothing to mend, unless the key was meant there"
        ))
    }
}

/// Whether a placeholder left unreplaced.
pub(crate) fn tells_of_placeholder(row: &LogRow) -> bool {
    row.warnings.iter().any(|w| Unreplaced::read(w).is_some())
}

/// What a warning says of a placeholder that left unreplaced.
#[derive(Debug, Clone, Copy)]
struct Unreplaced<'r> {
    /// A credential's key, or the text of a placeholder that no key stands behind any more.
    placeholder: &'r str,
    /// Where it stood, as it is said behind a comma.
    place: &'static str,
    /// Where a substitution has to look to replace it.
    surfaces: &'static str,
}

impl<'r> Unreplaced<'r> {
    fn read(warning: &'r str) -> Option<Self> {
        [
            (UNREPLACED, "", HEAD_SURFACES),
            (UNREPLACED_IN_BODY, ", in a body", WITH_BODY),
            (
                UNREPLACED_IN_WEBSOCKET,
                ", in a WebSocket message",
                ALL_SURFACES,
            ),
        ]
        .into_iter()
        .find_map(|(prefix, place, surfaces)| {
            Some(Self {
                placeholder: warning.strip_prefix(prefix)?,
                place,
                surfaces,
            })
        })
    }
}

fn left_unreplaced(
    row: &LogRow,
    host: &str,
    unreplaced: Unreplaced<'_>,
    known: Known<'_>,
) -> Finding {
    let Unreplaced {
        placeholder,
        place,
        surfaces,
    } = unreplaced;
    let (named, key, text) = match CredentialKey::parse(placeholder) {
        Ok(_) => (
            format!("of {placeholder}"),
            placeholder,
            known.placeholders.get(placeholder).map(String::as_str),
        ),
        Err(_) => (format!("`{placeholder}`"), "<KEY>", Some(placeholder)),
    };
    let service = match row.matched_service.as_str() {
        "" => format!("--host {host}"),
        service => format!("--name {service}"),
    };
    let text = match text {
        Some(text) => shell_word(&format!("{text}@{surfaces}")),
        None => format!("<the placeholder>@{surfaces}"),
    };
    Finding {
        what: format!("the placeholder {named} left for {host} unreplaced{place}"),
        mend: format!(
            "agent-vault vault service add --vault {} {service} --substitute {key}={text}",
            known.vault
        ),
    }
}

/// A body that a service should have looked into and could not.
fn unsearched(row: &LogRow, host: &str) -> Option<Finding> {
    let why = row
        .warnings
        .iter()
        .find_map(|w| w.strip_prefix(UNSEARCHED))?;
    Some(Finding {
        what: format!("placeholders in a body for {host} were not looked for: {why}"),
        mend: String::from("send the body uncompressed, as JSON, a form or text"),
    })
}

/// An answer that should have been searched for the credential and could not.
fn unscrubbed(row: &LogRow, host: &str) -> Option<Finding> {
    row.warnings
        .iter()
        .find(|w| w.starts_with(UNSCRUBBED))
        .map(|_| Finding {
            what: format!("an answer of {host} was passed on without a search for the credential"),
            mend: String::from(
                "send `Accept-Encoding: gzip`, or set `--scrub-undecodable refuse` on the service",
            ),
        })
}

/// A word as a shell takes it whole.
fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:/@=+%".contains(&b);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn failure(row: &LogRow, host: &str, known: Known<'_>) -> Option<Finding> {
    let vault = known.vault;
    let service = &row.matched_service;
    let keys = row.credential_keys.join(" ");
    let (named, typed) = match keys.as_str() {
        "" => ("the credential", "<KEY>"),
        keys => (keys, keys),
    };
    let (what, mend) = match row.error_code.as_str() {
        "no_match" => (
            format!("{host} was refused: no service is for it"),
            format!(
                "agent-vault vault service add --vault {vault} --host {host} --auth-type bearer --token-key <KEY>"
            ),
        ),
        "service_disabled" => (
            format!("{host} was refused: service {service} is disabled"),
            format!("agent-vault vault service enable {service} --vault {vault}"),
        ),
        "credential_not_found" => {
            let missing = known
                .lacking
                .0
                .get(service)
                .map_or(keys, |keys| keys.join(" "));
            return Some(lacks(service, &missing, vault));
        }
        "credential_unreadable" => (
            format!("{host} was refused: a stored value of service {service} cannot be opened"),
            format!("agent-vault vault credential set {typed} --vault {vault}"),
        ),
        "substitution_error" => (
            format!("{host} was refused: {named} does not fit where service {service} puts it"),
            format!(
                "agent-vault vault credential set {typed} --vault {vault}, with a value in one line"
            ),
        ),
        "rules_unreadable" => (
            format!("{host} was refused: the stored services cannot be read"),
            format!("agent-vault vault service set -f <file> --vault {vault}"),
        ),
        "tls_required" => (
            format!("{host} was refused: service {service} brokers only https"),
            format!(
                "use https, or agent-vault vault service add --vault {vault} --name {service} --require-tls=false"
            ),
        ),
        "ambiguous_account" => (
            format!("{host} was refused: several services fit and nothing chooses among them"),
            format!(
                "agent-vault vault service list --vault {vault}; give each `--agents` or `--select-placeholder`"
            ),
        ),
        "ambiguous_path" => (
            format!("{host} was refused: the path can be read in more than one way"),
            String::from("send the path without `//`, `..`, `%2F` or `%2E`"),
        ),
        "malformed_request" | "http2_not_spoken" => (
            format!("a client sent {host} something that is not HTTP/1.1"),
            String::from("look at the client, or at what stands between it and the proxy"),
        ),
        "head_too_large" | "target_too_long" => (
            format!("{host} was refused: the request head is too large"),
            String::from("send fewer or shorter header fields, and long values in the body"),
        ),
        "sni_mismatch" => (
            format!("{host} was refused: the client asked for another host in TLS"),
            String::from("let the client connect through the proxy to the host that it means"),
        ),
        "tls_handshake_failed" | "tls_handshake_timeout" => (
            format!(
                "the client gave up TLS with the proxy for {host}: it may not trust its certificate"
            ),
            String::from("agent-vault ca fetch -o <file>, and let the client trust that file"),
        ),
        "certificate_error" => (
            format!("{host} was refused: no certificate could be made for it"),
            String::from("check the host's name; the server's log says more"),
        ),
        "response_not_scrubbable" => (
            format!("the answer of {host} was held back: it cannot be searched for {named}"),
            String::from("send `Accept-Encoding: gzip` or `identity`"),
        ),
        "upstream_blocked" => (
            format!("{host} was not reached: it is an address that the network guard keeps closed"),
            String::from(
                "if agents may reach it, start the server with AGENT_VAULT_NETWORK_ALLOWLIST=<its network>",
            ),
        ),
        "upstream_tls_untrusted" => (
            format!("{host} was not reached: its certificate is not trusted"),
            String::from("start the server with --upstream-ca <PEM file of its authority>"),
        ),
        "upstream_tls_expired" | "upstream_tls_not_yet_valid" => (
            format!("{host} was not reached: its certificate is not valid at this time"),
            String::from(
                "check the clock of the machine that the server runs on; else the host's operator has to renew it",
            ),
        ),
        "upstream_tls_wrong_name" => (
            format!("{host} was not reached: its certificate is for another name"),
            String::from("use a name that stands in the certificate"),
        ),
        "upstream_tls_revoked" | "upstream_tls_wrong_purpose" => (
            format!("{host} was not reached: its certificate may not be used there"),
            String::from("the host's operator has to replace it"),
        ),
        "upstream_tls" => (
            format!("{host} was not reached: TLS with it failed"),
            String::from("the client's answer says why; the host's operator may know more"),
        ),
        "upstream_unresolved" => (
            format!("{host} was not reached: its name could not be resolved"),
            String::from(
                "check the host's name, and the resolver of the machine that the server runs on",
            ),
        ),
        // The log does not say which of the other reasons it was, so neither is one guessed here.
        "upstream_error" => (
            format!("{host} could not be reached, or did not answer as it should"),
            String::from("the client's answer says why, and what may help"),
        ),
        "" if matches!(row.status, 401 | 403) && outcome(row) == Outcome::Brokered => (
            format!(
                "{host} answered {} to a brokered request: it does not accept {named}",
                row.status
            ),
            format!("agent-vault vault credential set {typed} --vault {vault}"),
        ),
        _ => return None,
    };
    Some(Finding { what, mend })
}

/// The host without the port that its scheme implies.
pub(crate) fn host_of(row: &LogRow) -> String {
    row.host
        .strip_suffix(":443")
        .unwrap_or(&row.host)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::{
        Known, Lacking, Outcome, Quotations, ServiceKeys, findings, is_addendum, outcome,
        shell_word,
    };
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
}
