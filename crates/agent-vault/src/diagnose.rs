//! What went wrong with a logged request, in one sentence, and the command that mends it.
//!
//! `vault logs` and the summary of `run` both use this, so that nothing fails silently in either.

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
pub(crate) fn findings(row: &LogRow, vault: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let host = host_of(row);
    let service = &row.matched_service;
    let keys = row.credential_keys.join(" ");
    let mut add = |what: String, mend: String| found.push(Finding { what, mend });
    for key in row
        .warnings
        .iter()
        .filter_map(|w| w.strip_prefix(UNREPLACED))
    {
        let mend = if service.is_empty() {
            format!(
                "agent-vault vault service add --vault {vault} --host {host} --auth-type bearer --token-key {key}"
            )
        } else {
            format!(
                "agent-vault vault service add --vault {vault} --name {service} --substitute {key}=<the placeholder>@header,body,query,path"
            )
        };
        add(
            format!("the placeholder of {key} left for {host} unreplaced"),
            mend,
        );
    }
    match row.error_code.as_str() {
        "no_match" => add(
            format!("{host} was refused: no service is for it"),
            format!(
                "agent-vault vault service add --vault {vault} --host {host} --auth-type bearer --token-key <KEY>"
            ),
        ),
        "service_disabled" => add(
            format!("{host} was refused: service {service} is disabled"),
            format!("agent-vault vault service enable {service} --vault {vault}"),
        ),
        "credential_not_found" => add(
            format!(
                "service {service} names {}, which the vault lacks",
                if keys.is_empty() {
                    "a credential"
                } else {
                    &keys
                }
            ),
            format!(
                "agent-vault vault credential set {} --vault {vault}",
                if keys.is_empty() { "<KEY>" } else { &keys }
            ),
        ),
        "tls_required" => add(
            format!("{host} was refused: service {service} brokers only https"),
            format!(
                "use https, or agent-vault vault service add --vault {vault} --name {service} --require-tls=false"
            ),
        ),
        "ambiguous_account" => add(
            format!("{host} was refused: several services fit and nothing chooses among them"),
            format!(
                "agent-vault vault service list --vault {vault}; give each `--agents` or `--select-placeholder`"
            ),
        ),
        "upstream_error" if host_is_private(&host) => add(
            format!("{host} could not be reached: private addresses are guarded"),
            String::from(
                "start with AGENT_VAULT_NETWORK_ALLOWLIST=<address> if it is meant to be reached",
            ),
        ),
        "" if matches!(row.status, 401 | 403) && outcome(row) == Outcome::Brokered => add(
            format!(
                "{host} answered {} to a brokered request: it does not accept {}",
                row.status,
                if keys.is_empty() {
                    "the credential"
                } else {
                    &keys
                }
            ),
            format!(
                "agent-vault vault credential set {} --vault {vault}",
                if keys.is_empty() { "<KEY>" } else { &keys }
            ),
        ),
        _ => {}
    }
    found
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
    use super::{Outcome, findings, outcome};
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
            let found = findings(&row, "work");
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
}
