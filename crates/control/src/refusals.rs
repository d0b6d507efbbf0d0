//! How many refused attempts are put on record, so that a hostile client cannot fill the disk with them.
//!
//! The audit log is only ever appended to. Each actor may leave a burst of records and then one every ten seconds; what is left out
//! is counted and the count goes into the actor's next record.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Records that an actor may leave at once.
const BURST: u32 = 100;
/// Seconds until one more may be left.
const SECONDS_EACH: i64 = 10;
/// Most actors that are remembered; beyond it those with a full budget are forgotten.
const MAX_ACTORS: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Budget {
    left: u32,
    /// Up to when `left` has been topped up.
    at: Timestamp,
    left_out: u64,
}

impl Budget {
    fn top_up(&mut self, now: Timestamp) {
        let seconds = now.as_second().saturating_sub(self.at.as_second()).max(0);
        let more = u32::try_from(seconds / SECONDS_EACH).unwrap_or(BURST);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.at = now;
        }
    }
}

/// The budgets by actor.
#[derive(Debug, Default)]
pub(crate) struct RefusalBudget(Mutex<HashMap<String, Budget>>);

impl RefusalBudget {
    /// Spends one record of `who`; answers how many were left out since the last one, or nothing when this one is to be left out.
    pub(crate) fn spend(&self, who: String, now: Timestamp) -> Option<u64> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !budgets.contains_key(&who) && budgets.len() >= MAX_ACTORS {
            budgets.retain(|_, budget| {
                budget.top_up(now);
                budget.left < BURST || budget.left_out > 0
            });
            if budgets.len() >= MAX_ACTORS {
                return None;
            }
        }
        let budget = budgets.entry(who).or_insert(Budget {
            left: BURST,
            at: now,
            left_out: 0,
        });
        budget.top_up(now);
        match budget.left.checked_sub(1) {
            Some(left) => {
                budget.left = left;
                Some(std::mem::take(&mut budget.left_out))
            }
            None => {
                budget.left_out = budget.left_out.saturating_add(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_burst_then_a_trickle_and_nothing_is_forgotten() {
        let budget = RefusalBudget::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let spend = |now| budget.spend("agent 1".to_owned(), now);
        let recorded = (0..150).filter_map(|_| spend(now)).count();
        assert_eq!(recorded, 100);
        now += SignedDuration::from_secs(9);
        assert_eq!(spend(now), None);
        now += SignedDuration::from_secs(1);
        assert_eq!(spend(now), Some(51));
        assert_eq!(spend(now), None);
        assert_eq!(budget.spend("agent 2".to_owned(), now), Some(0));
    }
}
