//! Placeholders that left for an upstream: sent as values, which somebody has to mend, or only quoted.

use std::collections::BTreeSet;

use agent_vault_policy::CredentialKey;

use super::{Finding, Known};
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
/// Where the log has found a placeholder outside the body, one of them.
const HEAD_SURFACES: &str = "header,path,query";
/// What makes good one that was found in the body: a command replaces what an earlier one has set, so it takes in the others.
const WITH_BODY: &str = "header,path,query,body";
/// The same for a message.
const ALL_SURFACES: &str = "header,path,query,body,websocket";

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
pub(super) struct Unreplaced<'r> {
    /// A credential's key, or the text of a placeholder that no key stands behind any more.
    placeholder: &'r str,
    /// Where it stood, as it is said behind a comma.
    place: &'static str,
    /// Where a substitution has to look to replace it.
    surfaces: &'static str,
}

impl<'r> Unreplaced<'r> {
    /// Reads a warning; `None` where it tells of something else.
    pub(super) fn read(warning: &'r str) -> Option<Self> {
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

/// What to do about one that was sent as a value.
pub(super) fn left_unreplaced(
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

/// A word as a shell takes it whole.
pub(super) fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:/@=+%".contains(&b);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
