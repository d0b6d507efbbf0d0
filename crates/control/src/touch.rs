//! When a login was last used: remembered, and written at most once a minute per session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use agent_vault_seal::TokenHash;
use jiff::{SignedDuration, Timestamp};

/// Shortest time between two writes for one session.
const INTERVAL: SignedDuration = SignedDuration::from_secs(60);
/// Most sessions that are remembered; beyond it those that are due anyway are forgotten.
const MAX_SESSIONS: usize = 10_000;

/// Says when a write is due, and when a failed one is worth a line in the log.
#[derive(Debug, Default)]
pub(crate) struct TouchGate {
    last: Mutex<HashMap<TokenHash, Timestamp>>,
    warned: Mutex<Option<Timestamp>>,
}

impl TouchGate {
    /// Whether this use should be written; if so the next minute's uses should not.
    pub(crate) fn is_due(&self, session: TokenHash, now: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: &Timestamp| is_recent(*at, now);
        if last.get(&session).is_some_and(recent) {
            return false;
        }
        if last.len() >= MAX_SESSIONS {
            last.retain(|_, at| recent(at));
        }
        if last.len() < MAX_SESSIONS {
            last.insert(session, now);
        }
        true
    }

    /// Whether a failed write should be told; if so the next minute's should not, whoever's they are.
    pub(crate) fn is_news(&self, now: Timestamp) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|at| is_recent(at, now)) {
            return false;
        }
        *warned = Some(now);
        true
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at).abs() < INTERVAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_for_each_session() {
        let gate = TouchGate::default();
        let start = Timestamp::UNIX_EPOCH;
        let (a, b) = (TokenHash::of("a"), TokenHash::of("b"));
        assert!(gate.is_due(a, start));
        assert!(!gate.is_due(a, start + SignedDuration::from_secs(59)));
        assert!(gate.is_due(b, start));
        assert!(gate.is_due(a, start + SignedDuration::from_secs(60)));
    }

    #[test]
    fn a_full_disk_is_told_once_a_minute() {
        let gate = TouchGate::default();
        let start = Timestamp::UNIX_EPOCH;
        assert!(gate.is_news(start));
        assert!(!gate.is_news(start + SignedDuration::from_secs(59)));
        assert!(gate.is_news(start + SignedDuration::from_secs(60)));
    }
}
