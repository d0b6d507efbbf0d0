//! Sliding windows by key, in constant memory per key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Allowance, Exceeded, WindowKnobs};

/// Most keys that are remembered; beyond it the one that began longest ago is forgotten.
const MAX_KEYS: usize = 10_000;

/// Counts of two adjacent fixed windows; the older one fades out linearly, which approximates a sliding window from two
/// numbers.
#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    current: u32,
    previous: u32,
}

/// Windows by key.
#[derive(Debug)]
pub(crate) struct Windows<K> {
    knobs: WindowKnobs,
    windows: Mutex<HashMap<K, Window>>,
}

impl<K: Hash + Eq + Clone> Windows<K> {
    pub(crate) fn new(knobs: WindowKnobs) -> Self {
        Self {
            knobs,
            windows: Mutex::new(HashMap::new()),
        }
    }

    /// Spends one unit of `key`.
    pub(crate) fn take(
        &self,
        key: K,
        now: Instant,
        message: &'static str,
    ) -> Result<Allowance, Exceeded> {
        let WindowKnobs { max, window } = self.knobs;
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if !windows.contains_key(&key) && windows.len() >= MAX_KEYS {
            make_room(&mut windows, window, now);
        }
        let entry = windows.entry(key).or_insert(Window {
            began: now,
            current: 0,
            previous: 0,
        });
        entry.roll(window, now);
        let used = entry.used(window, now);
        if used >= max {
            return Err(Exceeded {
                limit: max,
                retry_after: entry.relief(max, window, now),
                message,
            });
        }
        entry.current = entry.current.saturating_add(1);
        Ok(Allowance {
            limit: max,
            remaining: max - used - 1,
        })
    }
}

impl Window {
    fn roll(&mut self, window: Duration, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age >= window.saturating_mul(2) {
            *self = Self {
                began: now,
                current: 0,
                previous: 0,
            };
        } else if age >= window {
            *self = Self {
                began: self.began + window,
                current: 0,
                previous: self.current,
            };
        }
    }

    fn used(&self, window: Duration, now: Instant) -> u32 {
        let age = now.saturating_duration_since(self.began);
        let left = window.saturating_sub(age).as_nanos();
        let faded = u128::from(self.previous) * left / window.as_nanos().max(1);
        self.current
            .saturating_add(u32::try_from(faded).unwrap_or(u32::MAX))
    }

    /// Until one unit is free again: the older count fades, or the present window ends.
    fn relief(&self, max: u32, window: Duration, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.began);
        let rest = window.saturating_sub(age);
        if self.current >= max || self.previous == 0 {
            return rest;
        }
        let excess = self.used(window, now).saturating_sub(max).saturating_add(1);
        rest.min(window / self.previous * excess)
    }
}

fn make_room<K: Hash + Eq + Clone>(
    windows: &mut HashMap<K, Window>,
    window: Duration,
    now: Instant,
) {
    windows
        .retain(|_, entry| now.saturating_duration_since(entry.began) < window.saturating_mul(2));
    if windows.len() < MAX_KEYS {
        return;
    }
    let oldest = windows
        .iter()
        .min_by_key(|(_, entry)| entry.began)
        .map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        windows.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn windows(max: u32) -> Windows<u32> {
        Windows::new(WindowKnobs {
            max,
            window: WINDOW,
        })
    }

    #[test]
    fn refuses_after_the_maximum_and_recovers() {
        let windows = windows(3);
        let start = Instant::now();
        let remaining: Vec<u32> = (0..3)
            .map(|_| windows.take(1, start, "m").unwrap().remaining)
            .collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = windows.take(1, start, "m").unwrap_err();
        assert_eq!(refused.retry_after, WINDOW);
        assert!(windows.take(2, start, "m").is_ok());
        assert!(windows.take(1, start + WINDOW * 2, "m").is_ok());
    }

    #[test]
    fn the_last_window_fades() {
        let windows = windows(10);
        let start = Instant::now();
        for _ in 0..10 {
            windows.take(1, start, "m").unwrap();
        }
        // Half of the older window still counts: 5 of 10 are free.
        let later = start + WINDOW + WINDOW / 2;
        let free = (0..10)
            .take_while(|_| windows.take(1, later, "m").is_ok())
            .count();
        assert_eq!(free, 5);
    }

    #[test]
    fn keys_are_bounded() {
        let windows = windows(3);
        let start = Instant::now();
        for key in 0..10_050_u32 {
            windows
                .take(key, start + Duration::from_millis(u64::from(key)), "m")
                .unwrap();
        }
        assert_eq!(windows.windows.lock().unwrap().len(), MAX_KEYS);
    }
}
