//! Labels: what people call a login, a scoped token or an agent's token.

use crate::ControlError;

/// Longest device label in characters; longer ones are cut.
pub const MAX_DEVICE_LABEL_CHARS: usize = 64;
/// Longest token label in characters; longer ones are refused.
pub const MAX_TOKEN_LABEL_CHARS: usize = 100;
/// Longest User-Agent that is kept, in characters.
const MAX_USER_AGENT_CHARS: usize = 256;

/// Cleans what a device calls itself: no control characters, trimmed, cut. `None` when nothing is left.
#[must_use]
pub fn device_label(text: &str) -> Option<String> {
    cut(text, MAX_DEVICE_LABEL_CHARS)
}

/// Cleans a User-Agent for the list of logins.
#[must_use]
pub fn user_agent(text: &str) -> Option<String> {
    cut(text, MAX_USER_AGENT_CHARS)
}

/// Cleans a token's label. `None` when nothing is left.
///
/// # Errors
/// When more than [`MAX_TOKEN_LABEL_CHARS`] characters are left.
pub fn token_label(text: &str) -> Result<Option<String>, ControlError> {
    let label = clean(text);
    if label.chars().count() > MAX_TOKEN_LABEL_CHARS {
        return Err(ControlError::invalid(format!(
            "label must be at most {MAX_TOKEN_LABEL_CHARS} characters"
        ))
        .hint("for example `nightly build`"));
    }
    Ok((!label.is_empty()).then_some(label))
}

fn cut(text: &str, max: usize) -> Option<String> {
    let label: String = clean(text).chars().take(max).collect();
    let label = label.trim_end();
    (!label.is_empty()).then(|| label.to_owned())
}

fn clean(text: &str) -> String {
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    printable.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_labels_are_cleaned_and_cut() {
        assert_eq!(device_label(" my\u{7} box\n "), Some("my box".to_owned()));
        assert_eq!(device_label("\u{1b}\t "), None);
        assert_eq!(device_label(&"é".repeat(80)).unwrap().chars().count(), 64);
    }

    #[test]
    fn token_labels_are_cleaned_and_refused_when_long() {
        assert_eq!(token_label(" run\u{0} ").unwrap(), Some("run".to_owned()));
        assert_eq!(token_label("  ").unwrap(), None);
        assert!(token_label(&"é".repeat(100)).unwrap().is_some());
        assert!(token_label(&"é".repeat(101)).is_err());
    }
}
