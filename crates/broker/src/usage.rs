//! When a token was last presented: one number per token, noted without a lock and written elsewhere.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Uses closer together than this are one, so that a busy token's number is read and seldom written.
const GRAIN_MS: i64 = 1000;
/// Nothing that was not taken yet.
const NONE: i64 = i64::MIN;

/// The last use of a token that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct LastUse(AtomicI64);

impl Default for LastUse {
    fn default() -> Self {
        Self(AtomicI64::new(NONE))
    }
}

impl LastUse {
    /// Notes a use. An older one than what is noted changes nothing.
    pub(crate) fn note(&self, now: Timestamp) {
        let now = now.as_millisecond();
        if now.saturating_sub(self.0.load(Ordering::Relaxed)) >= GRAIN_MS {
            self.0.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// The last use since the last time that this was asked.
    pub(crate) fn take(&self) -> Option<Timestamp> {
        match self.0.swap(NONE, Ordering::Relaxed) {
            NONE => None,
            at => Timestamp::from_millisecond(at).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn the_latest_use_is_taken_once() {
        let last = LastUse::default();
        assert_eq!(last.take(), None);
        let start = Timestamp::UNIX_EPOCH;
        let after = |seconds| start + SignedDuration::from_secs(seconds);
        last.note(after(5));
        last.note(after(3));
        last.note(start + SignedDuration::from_millis(5999));
        assert_eq!(last.take(), Some(after(5)));
        assert_eq!(last.take(), None);
        last.note(after(6));
        assert_eq!(last.take(), Some(after(6)));
        last.note(start);
        assert_eq!(last.take(), Some(start));
    }
}
