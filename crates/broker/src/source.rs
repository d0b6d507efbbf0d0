//! Values that end by themselves: who fetches the next one, and one fetch for all who wait for it.
//!
//! The proxy asks, a [`Source`] fetches on a task of its own and lands the outcome. Whoever asked may leave at any time: the fetch
//! goes on, because a provider may have given away a new refresh token already. After a failure the source rests for a while, so
//! that a broken provider is not asked again by every request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agent_vault_policy::CredentialKey;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

/// How long a request waits for a new value.
pub const MAX_RENEWAL_WAIT: Duration = Duration::from_secs(40);
/// Values that are fetched, or rest, at a time; more are refused until some are done.
const MAX_FLIGHTS: usize = 10_000;
/// The first rest after a failure; each further one is twice as long.
const FIRST_REST: SignedDuration = SignedDuration::from_secs(2);
/// The longest rest.
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(5);
/// How long a value that was fetched by force is not fetched by force again: an upstream that refuses everybody is not a reason to
/// bother the provider with each request.
const FORCED_REST: SignedDuration = SignedDuration::from_mins(1);

/// A value that is wanted anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalOrder {
    /// The vault.
    pub vault: Uuid,
    /// The credential.
    pub key: CredentialKey,
    /// The version that has ended, or is about to. Nothing is fetched when the credential has another one by now.
    pub version: u32,
    /// Fetch it although it has not ended: an upstream refused it.
    pub forced: bool,
}

/// Fetches values.
pub trait Source: Send + Sync {
    /// Begins to fetch, and lands the outcome once the broker shows it. Must not block.
    fn renew(&self, order: RenewalOrder, landing: Landing);
}

/// Why there is no new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewalFault {
    /// A person has to do something first.
    #[error("a new value is refused until somebody connects it again")]
    Refused,
    /// It may work in a while.
    #[error("a new value could not be fetched")]
    Failed,
}

type Outcome = Result<(), RenewalFault>;
type Key = (Uuid, CredentialKey);

enum State {
    /// Somebody fetches.
    Flying(watch::Receiver<Option<Outcome>>),
    /// A fetch for this version came to nothing.
    Resting {
        version: u32,
        failures: u32,
        until: Timestamp,
        fault: RenewalFault,
    },
    /// A fetch by force went well.
    Settled { until: Timestamp },
}

/// What is fetched, and what rests.
#[derive(Default)]
pub(crate) struct Flights {
    states: Mutex<HashMap<Key, State>>,
    source: OnceLock<Arc<dyn Source>>,
}

/// What became of a wish for a new value.
pub enum Renewal {
    /// Somebody fetches it.
    Under(Waiting),
    /// Nobody does, and nobody will for a while.
    Not(RenewalFault),
}

/// A fetch that is under way.
pub struct Waiting(watch::Receiver<Option<Outcome>>);

impl Waiting {
    /// Waits until it has landed, at most [`MAX_RENEWAL_WAIT`].
    ///
    /// # Errors
    /// [`RenewalFault`].
    pub async fn landed(mut self) -> Outcome {
        let landed = self.0.wait_for(Option::is_some);
        match tokio::time::timeout(MAX_RENEWAL_WAIT, landed).await {
            Ok(Ok(outcome)) => outcome.unwrap_or(Err(RenewalFault::Failed)),
            Ok(Err(_)) | Err(_) => Err(RenewalFault::Failed),
        }
    }
}

impl Flights {
    /// Says who fetches; the first word counts.
    pub(crate) fn use_source(&self, source: Arc<dyn Source>) {
        if self.source.set(source).is_err() {
            // Said once, by the composition.
        }
    }

    /// Joins the fetch that is under way, or begins one.
    pub(crate) fn join(self: &Arc<Self>, order: RenewalOrder, now: Timestamp) -> Renewal {
        let Some(source) = self.source.get() else {
            return Renewal::Not(RenewalFault::Failed);
        };
        let key = (order.vault, order.key.clone());
        let mut failures = 0;
        let landing = {
            let mut states = self.lock();
            match states.get(&key) {
                Some(State::Flying(outcome)) => return Renewal::Under(Waiting(outcome.clone())),
                Some(State::Resting {
                    version,
                    failures: known,
                    until,
                    fault,
                }) if *version == order.version => {
                    if now < *until {
                        return Renewal::Not(*fault);
                    }
                    failures = *known;
                }
                Some(State::Settled { until }) if order.forced && now < *until => {
                    return Renewal::Not(RenewalFault::Failed);
                }
                Some(State::Resting { .. } | State::Settled { .. }) | None => {}
            }
            if states.len() >= MAX_FLIGHTS && !states.contains_key(&key) {
                states.retain(|_, state| match state {
                    State::Flying(_) => true,
                    State::Resting { until, .. } | State::Settled { until } => now < *until,
                });
                if states.len() >= MAX_FLIGHTS {
                    return Renewal::Not(RenewalFault::Failed);
                }
            }
            let (sender, receiver) = watch::channel(None);
            states.insert(key.clone(), State::Flying(receiver.clone()));
            let landing = Landing {
                flights: Arc::clone(self),
                key,
                version: order.version,
                forced: order.forced,
                failures,
                begun: now,
                outcome: sender,
                landed: false,
            };
            (landing, receiver)
        };
        let (landing, receiver) = landing;
        source.renew(order, landing);
        Renewal::Under(Waiting(receiver))
    }

    fn land(&self, landing: &Landing, outcome: Outcome, now: Timestamp) {
        let mut states = self.lock();
        let until = |rest| now.saturating_add(rest).unwrap_or(Timestamp::MAX);
        match outcome {
            Ok(()) if landing.forced => {
                states.insert(
                    landing.key.clone(),
                    State::Settled {
                        until: until(FORCED_REST),
                    },
                );
            }
            Ok(()) => {
                states.remove(&landing.key);
            }
            Err(fault) => {
                let failures = landing.failures.saturating_add(1);
                states.insert(
                    landing.key.clone(),
                    State::Resting {
                        version: landing.version,
                        failures,
                        until: until(rest(failures)),
                        fault,
                    },
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rest(failures: u32) -> SignedDuration {
    let factor = 1_i32 << failures.saturating_sub(1).min(16);
    FIRST_REST
        .checked_mul(factor)
        .map_or(LONGEST_REST, |rest| rest.min(LONGEST_REST))
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// The end of a fetch. Dropped without a word, it counts as failed.
pub struct Landing {
    flights: Arc<Flights>,
    key: Key,
    version: u32,
    forced: bool,
    failures: u32,
    begun: Timestamp,
    outcome: watch::Sender<Option<Outcome>>,
    landed: bool,
}

impl Landing {
    /// Tells everybody who waits. What went well must be in the broker by now.
    pub fn land(mut self, outcome: Outcome, now: Timestamp) {
        self.tell(outcome, now);
    }

    fn tell(&mut self, outcome: Outcome, now: Timestamp) {
        self.landed = true;
        self.flights.land(self, outcome, now);
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.landed {
            let begun = self.begun;
            self.tell(Err(RenewalFault::Failed), begun);
        }
    }
}

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Hangar(Mutex<Vec<Landing>>);

    impl Source for Hangar {
        fn renew(&self, _: RenewalOrder, landing: Landing) {
            self.0.lock().unwrap().push(landing);
        }
    }

    fn order(version: u32, forced: bool) -> RenewalOrder {
        RenewalOrder {
            vault: Uuid::from_u128(1),
            key: CredentialKey::parse("KEY").unwrap(),
            version,
            forced,
        }
    }

    fn stage() -> (Arc<Flights>, Arc<Hangar>) {
        let flights = Arc::new(Flights::default());
        let hangar = Arc::new(Hangar::default());
        flights.use_source(Arc::clone(&hangar) as Arc<dyn Source>);
        (flights, hangar)
    }

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    fn waiting(renewal: Renewal) -> Waiting {
        match renewal {
            Renewal::Under(waiting) => waiting,
            Renewal::Not(fault) => panic!("{fault}"),
        }
    }

    fn refused(renewal: Renewal) -> RenewalFault {
        match renewal {
            Renewal::Under(_) => panic!("it is fetched"),
            Renewal::Not(fault) => fault,
        }
    }

    #[tokio::test]
    async fn m28_m29_one_fetch_for_all_and_it_survives_the_first_who_asked() {
        let (flights, hangar) = stage();
        let first = waiting(flights.join(order(1, false), START));
        let second = waiting(flights.join(order(1, false), START));
        assert_eq!(hangar.0.lock().unwrap().len(), 1);
        drop(first);
        hangar.0.lock().unwrap().pop().unwrap().land(Ok(()), START);
        assert_eq!(second.landed().await, Ok(()));
        waiting(flights.join(order(2, false), START));
        assert_eq!(hangar.0.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn m27_c5_after_a_failure_nobody_asks_for_a_while() {
        let (flights, hangar) = stage();
        let first = waiting(flights.join(order(1, false), START));
        drop(hangar.0.lock().unwrap().pop().unwrap());
        assert_eq!(first.landed().await, Err(RenewalFault::Failed));
        assert_eq!(
            refused(flights.join(order(1, false), after(1))),
            RenewalFault::Failed
        );
        waiting(flights.join(order(1, false), after(2)));
        let landing = hangar.0.lock().unwrap().pop().unwrap();
        landing.land(Err(RenewalFault::Refused), after(2));
        assert_eq!(
            refused(flights.join(order(1, false), after(5))),
            RenewalFault::Refused
        );
        // Another value: whatever was wrong may be mended.
        waiting(flights.join(order(2, false), after(5)));
    }

    #[test]
    fn rests_grow_to_a_bound() {
        assert_eq!(rest(1), FIRST_REST);
        assert_eq!(rest(2), SignedDuration::from_secs(4));
        assert_eq!(rest(u32::MAX), LONGEST_REST);
    }

    #[tokio::test]
    async fn what_was_fetched_by_force_is_not_so_again_at_once() {
        let (flights, hangar) = stage();
        drop(waiting(flights.join(order(1, true), START)));
        hangar.0.lock().unwrap().pop().unwrap().land(Ok(()), START);
        refused(flights.join(order(2, true), after(59)));
        waiting(flights.join(order(2, true), after(60)));
    }

    #[test]
    fn without_a_source_nothing_is_fetched() {
        let flights = Arc::new(Flights::default());
        refused(flights.join(order(1, false), START));
    }
}
