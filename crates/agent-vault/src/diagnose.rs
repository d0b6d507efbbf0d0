//! What went wrong with a logged request, in one sentence, and the command that mends it.
//!
//! `vault logs` and the summary of `run` both use this, so that nothing fails silently in either.

use std::collections::BTreeMap;

use agent_vault_policy::{CredentialKey, Service, ServiceDraft, ValidationOptions};
use serde_json::{Map, Value};

use crate::client::types::LogRow;

/// Put before the key in a row's `warnings` when a placeholder left for an upstream unreplaced.
const UNREPLACED: &str = "placeholder_unreplaced:";

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
    "substitution_error",
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

/// Everything that a person should mend about a row.
pub(crate) fn findings(row: &LogRow, vault: &str, lacking: &Lacking) -> Vec<Finding> {
    let host = host_of(row);
    let unreplaced = row
        .warnings
        .iter()
        .filter_map(|w| w.strip_prefix(UNREPLACED));
    unreplaced
        .map(|key| left_unreplaced(row, &host, key, vault))
        .chain(failure(row, &host, vault, lacking))
        .collect()
}

/// `placeholder` is a credential's key, or the text of a placeholder that no key stands behind any more.
fn left_unreplaced(row: &LogRow, host: &str, placeholder: &str, vault: &str) -> Finding {
    let (named, key, text) = match CredentialKey::parse(placeholder) {
        Ok(_) => (
            format!("of {placeholder}"),
            placeholder,
            "<the placeholder>",
        ),
        Err(_) => (format!("`{placeholder}`"), "<KEY>", placeholder),
    };
    let add = format!("agent-vault vault service add --vault {vault}");
    let mend = match (row.matched_service.as_str(), key) {
        ("", "<KEY>") => {
            format!("{add} --host {host} --substitute {key}={text}@header,body,query,path")
        }
        ("", key) => format!("{add} --host {host} --auth-type bearer --token-key {key}"),
        (service, key) => {
            format!("{add} --name {service} --substitute {key}={text}@header,body,query,path")
        }
    };
    Finding {
        what: format!("the placeholder {named} left for {host} unreplaced"),
        mend,
    }
}

fn failure(row: &LogRow, host: &str, vault: &str, lacking: &Lacking) -> Option<Finding> {
    let service = &row.matched_service;
    let keys = row.credential_keys.join(" ");
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
            let missing = lacking.0.get(service).map_or(keys, |keys| keys.join(" "));
            return Some(lacks(service, &missing, vault));
        }
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
        "upstream_error" if host_is_private(host) => (
            format!("{host} could not be reached: private addresses are guarded"),
            String::from(
                "start with AGENT_VAULT_NETWORK_ALLOWLIST=<address> if it is meant to be reached",
            ),
        ),
        "" if matches!(row.status, 401 | 403) && outcome(row) == Outcome::Brokered => {
            let (named, typed) = match keys.as_str() {
                "" => ("the credential", "<KEY>"),
                keys => (keys, keys),
            };
            (
                format!(
                    "{host} answered {} to a brokered request: it does not accept {named}",
                    row.status
                ),
                format!("agent-vault vault credential set {typed} --vault {vault}"),
            )
        }
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

fn host_is_private(host: &str) -> bool {
    let bare = host
        .rsplit_once(':')
        .map_or(host, |(h, _)| h)
        .trim_matches(['[', ']']);
    match bare.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        Ok(std::net::IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Err(_) => bare == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Lacking, Outcome, ServiceKeys, findings, outcome};
    use crate::client::types::LogRow;

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
            let found = findings(&row, "work", &Lacking::default());
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
    fn a_placeholder_without_a_key_is_quoted() {
        let row = row(
            "passed",
            "",
            &[],
            200,
            "",
            &["placeholder_unreplaced:__bot_token__"],
        );
        let found = findings(&row, "work", &Lacking::default());
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
            "work",
            &lacking,
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
