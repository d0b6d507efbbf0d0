//! Lengths of windows in the words of settings and variables.

use std::fmt;
use std::time::Duration;

/// Longest window.
const MAX_WINDOW: Duration = Duration::from_hours(24);

pub(super) const EXPECTED: &str = "give a duration such as `90s`, `5m` or `1h30m`, at most 24h";

/// A duration as clients of the original read it: `5m0s`, `1h30m0s`, `1.5s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    struct Seconds(Duration);
    impl fmt::Display for Seconds {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (seconds, millis) = (self.0.as_secs() % 60, self.0.subsec_millis());
            if millis == 0 {
                return write!(f, "{seconds}s");
            }
            let fraction = format!("{millis:03}");
            write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
        }
    }
    let minutes = duration.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (0, 0) => Seconds(duration).to_string(),
        (0, minutes) => format!("{minutes}m{}", Seconds(duration)),
        (hours, minutes) => format!("{hours}h{minutes}m{}", Seconds(duration)),
    }
}

/// Reads `1h30m`, `90s`, `1500ms`; more than zero, at most [`MAX_WINDOW`].
pub(super) fn read(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let one = match unit {
            "h" => Duration::from_hours(1),
            "m" => Duration::from_mins(1),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = tail;
    }
    (!total.is_zero() && total <= MAX_WINDOW).then_some(total)
}
