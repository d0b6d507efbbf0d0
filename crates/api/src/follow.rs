//! Answers that go on: how many there may be at once, and when each ends.
//!
//! Such an answer is made page by page as its client takes it, so that what waits for a client is never more than a page. It
//! holds a place of its own, outside the tier that counts requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;

/// Most answers that go on at one time; further ones are refused.
const MAX_TOTAL: usize = 128;
/// Most of one actor.
const MAX_EACH: usize = 8;

/// Set on each request that came over a socket: cancelled when the server stops.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(pub(crate) CancellationToken);

/// Who holds how many places.
#[derive(Debug, Default)]
pub(crate) struct Followers(Arc<Mutex<HashMap<String, usize>>>);

/// A place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    held: Arc<Mutex<HashMap<String, usize>>>,
    who: String,
}

impl Followers {
    /// A place for `who`.
    ///
    /// # Errors
    /// 429 when there are too many answers of this kind.
    pub(crate) fn enter(&self, who: String) -> Result<Place, ApiError> {
        let mut held = lock(&self.0);
        let total: usize = held.values().sum();
        let own = held.get(&who).copied().unwrap_or_default();
        if total >= MAX_TOTAL || own >= MAX_EACH {
            return Err(ApiError::coded(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                format!(
                    "Too many streams: at most {MAX_EACH} for each caller and {MAX_TOTAL} in all"
                ),
            )
            .hint("close one of them first"));
        }
        held.insert(who.clone(), own + 1);
        drop(held);
        Ok(Place {
            held: Arc::clone(&self.0),
            who,
        })
    }
}

impl Place {
    /// Whose place it is.
    pub(crate) fn who(&self) -> &str {
        &self.who
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(own) = held.get_mut(&self.who) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.remove(&self.who);
            }
        }
    }
}

fn lock(held: &Mutex<HashMap<String, usize>>) -> MutexGuard<'_, HashMap<String, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let followers = Followers::default();
        let mut mine: Vec<_> = (0..MAX_EACH)
            .map(|_| followers.enter("u:1".to_owned()).unwrap())
            .collect();
        assert!(followers.enter("u:1".to_owned()).is_err());
        let others: Vec<_> = (MAX_EACH..MAX_TOTAL)
            .map(|n| followers.enter(format!("a:{n}")).unwrap())
            .collect();
        assert!(followers.enter("a:0".to_owned()).is_err());
        mine.pop();
        assert!(followers.enter("u:1".to_owned()).is_ok());
        drop((mine, others));
        assert!(lock(&followers.0).is_empty());
    }
}
