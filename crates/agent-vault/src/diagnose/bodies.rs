//! Bodies and answers that could not be looked into.

use super::Finding;
use crate::client::types::LogRow;

/// Put before the reason in a row's `warnings` when a body could not be looked into.
const UNSEARCHED: &str = "body_not_inspected:";
/// Put before the reason in a row's `warnings` when an answer was not searched for the credential.
const UNSCRUBBED: &str = "response_not_scrubbed:";

/// A body that a service should have looked into and could not.
pub(super) fn unsearched(row: &LogRow, host: &str) -> Option<Finding> {
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
pub(super) fn unscrubbed(row: &LogRow, host: &str) -> Option<Finding> {
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
