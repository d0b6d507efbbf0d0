//! Times as people type them: an instant, or how long from or before now.

use jiff::{SignedDuration, Timestamp};

use crate::error::{CliError, Result};

/// Longest span that can be typed: a century.
const MAX_SECONDS: i64 = 100 * 366 * 86_400;

/// Reads an instant in RFC 3339, a date (its midnight in UTC), or a span such as `30m`, `24h`, `7d`, `2w`, which `apply` turns into an
/// instant.
fn read(text: &str, apply: impl Fn(SignedDuration) -> Option<Timestamp>) -> Result<Timestamp> {
    let bad = || {
        CliError::usage(format!("`{text}` is neither a time nor a span"))
            .hint("give a time such as `2030-01-31T12:00:00Z`, a date such as `2030-01-31`, or a span such as `30m`, `24h`, `7d`")
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return format!("{day}T00:00:00Z").parse().map_err(|_| bad());
    }
    span(text).and_then(apply).ok_or_else(bad)
}

fn span(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let seconds = number.checked_mul(seconds)?;
    (0..=MAX_SECONDS)
        .contains(&seconds)
        .then(|| SignedDuration::from_secs(seconds))
}

/// How long something lasts, in seconds: `90s`, `10m`, `24h`, `7d`.
///
/// # Errors
/// What cannot be read.
pub(crate) fn seconds(text: &str) -> Result<u64> {
    span(text)
        .and_then(|span| u64::try_from(span.as_secs()).ok())
        .ok_or_else(|| {
            CliError::usage(format!("`{text}` is no span of time"))
                .hint("give one such as `90s`, `10m`, `24h` or `7d`")
        })
}

/// A time that is past: a span counts back from `now`.
///
/// # Errors
/// What cannot be read.
pub(crate) fn ago(text: &str, now: Timestamp) -> Result<Timestamp> {
    read(text, |span| now.checked_sub(span).ok())
}

/// A time to come: a span counts from `now`.
///
/// # Errors
/// What cannot be read.
pub(crate) fn ahead(text: &str, now: Timestamp) -> Result<Timestamp> {
    read(text, |span| now.checked_add(span).ok())
}

#[cfg(test)]
mod tests {
    use super::{ago, ahead, seconds};

    #[test]
    fn instants_dates_and_spans() {
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        for (text, before, after) in [
            (
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00Z",
            ),
            ("2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("90s", "2026-03-01T11:58:30Z", "2026-03-01T12:01:30Z"),
            ("24h", "2026-02-28T12:00:00Z", "2026-03-02T12:00:00Z"),
            ("1w", "2026-02-22T12:00:00Z", "2026-03-08T12:00:00Z"),
        ] {
            assert_eq!(ago(text, now).unwrap().to_string(), before, "{text}");
            assert_eq!(ahead(text, now).unwrap().to_string(), after, "{text}");
        }
        assert_eq!(seconds("10m").unwrap(), 600);
        for bad in ["", "h", "-1h", "1y", "99999999999999999w", "soon", "é"] {
            assert_eq!(ago(bad, now).unwrap_err().code(), 2, "{bad}");
            assert_eq!(seconds(bad).unwrap_err().code(), 2, "{bad}");
        }
    }
}
