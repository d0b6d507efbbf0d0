//! What went wrong with a logged request, in one sentence, and the command that mends it.
//!
//! `vault logs` and the summary of `run` both use this, so that nothing fails silently in either.

mod bodies;
mod failure;
mod lacking;
mod placeholders;

use std::collections::BTreeMap;

pub(crate) use lacking::{Lacking, ServiceKeys};
pub(crate) use placeholders::{Quotations, tells_of_placeholder};

use bodies::{unscrubbed, unsearched};
use failure::failure;
use placeholders::{Unreplaced, left_unreplaced};

use crate::client::types::LogRow;

/// The method of a row that adds warnings to an earlier one and is no request.
const ADDENDUM: &str = "ADDENDUM";

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

/// The host without the port that its scheme implies.
pub(crate) fn host_of(row: &LogRow) -> String {
    row.host
        .strip_suffix(":443")
        .unwrap_or(&row.host)
        .to_owned()
}

#[cfg(test)]
mod tests;
