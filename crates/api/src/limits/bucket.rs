//! Token buckets by key.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::{Allowance, BucketKnobs, Exceeded, TIER_MESSAGE};

/// Most keys that are remembered; beyond it the full buckets, which say nothing, are forgotten first.
const MAX_KEYS: usize = 10_000;

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// One token bucket that reports what is left in it.
#[derive(Debug)]
pub(crate) struct Bucket {
    limiter: Limiter,
    burst: NonZeroU32,
    clock: DefaultClock,
}

impl Bucket {
    pub(crate) fn new(knobs: BucketKnobs) -> Self {
        let quota = Quota::per_second(knobs.rate).allow_burst(knobs.burst);
        Self {
            limiter: RateLimiter::direct(quota).with_middleware(),
            burst: knobs.burst,
            clock: DefaultClock::default(),
        }
    }

    /// Takes one token.
    pub(crate) fn take(&self, message: &'static str) -> Result<Allowance, Exceeded> {
        match self.limiter.check() {
            Ok(state) => Ok(Allowance {
                limit: self.burst.get(),
                remaining: state.remaining_burst_capacity(),
            }),
            Err(early) => Err(Exceeded {
                limit: self.burst.get(),
                retry_after: early.wait_time_from(self.clock.now()),
                message,
            }),
        }
    }
}

/// Buckets by key.
#[derive(Debug)]
pub(crate) struct Buckets {
    knobs: BucketKnobs,
    buckets: Mutex<HashMap<String, (Arc<Bucket>, u32)>>,
}

impl Buckets {
    pub(crate) fn new(knobs: BucketKnobs) -> Self {
        Self {
            knobs,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one token from the bucket of `key`.
    pub(crate) fn take(&self, key: String) -> Result<Allowance, Exceeded> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(&key) && buckets.len() >= MAX_KEYS {
            make_room(&mut buckets);
        }
        let (bucket, last) = buckets
            .entry(key)
            .or_insert_with(|| (Arc::new(Bucket::new(self.knobs)), self.knobs.burst.get()));
        let taken = bucket.take(TIER_MESSAGE);
        *last = taken.as_ref().map_or(0, |allowance| allowance.remaining);
        taken
    }
}

/// Drops the half of the buckets that was fullest when last seen.
fn make_room(buckets: &mut HashMap<String, (Arc<Bucket>, u32)>) {
    let mut levels: Vec<u32> = buckets.values().map(|(_, last)| *last).collect();
    let middle = levels.len() / 2;
    let (_, median, _) = levels.select_nth_unstable(middle);
    let median = *median;
    buckets.retain(|_, (_, last)| *last < median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(burst: u32) -> BucketKnobs {
        BucketKnobs {
            rate: NonZeroU32::MIN,
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    #[test]
    fn refuses_when_empty_and_says_for_how_long() {
        let buckets = Buckets::new(knobs(2));
        assert_eq!(buckets.take("a".to_owned()).unwrap().remaining, 1);
        assert_eq!(buckets.take("a".to_owned()).unwrap().remaining, 0);
        let refused = buckets.take("a".to_owned()).unwrap_err();
        assert_eq!(refused.limit, 2);
        assert!(!refused.retry_after.is_zero());
        assert!(buckets.take("b".to_owned()).is_ok());
    }

    #[test]
    fn keys_are_bounded_and_a_spent_bucket_is_kept() {
        let buckets = Buckets::new(knobs(3));
        for _ in 0..3 {
            buckets.take("spent".to_owned()).unwrap();
        }
        for key in 0..MAX_KEYS + 10 {
            buckets.take(key.to_string()).unwrap();
        }
        assert!(buckets.buckets.lock().unwrap().len() <= MAX_KEYS);
        assert!(buckets.take("spent".to_owned()).is_err());
    }
}
