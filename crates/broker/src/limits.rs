//! Rate and concurrency limits of one principal.
//!
//! A limiter lives beside the principal's records, so its memory is bounded by them, and it survives a token rotation
//! or a reload of the snapshot.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for a free slot before a request is refused.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// Tunnels that one principal may have open at once, idle ones included.
const MAX_TUNNELS: usize = 2048;

/// The PROXY tier's knobs. `None` switches a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSettings {
    /// Requests per second and burst.
    pub rate: Option<(NonZeroU32, NonZeroU32)>,
    /// Requests in flight.
    pub concurrency: Option<u32>,
}

/// Limits shared by every connection of one principal.
#[derive(Debug)]
pub struct ScopeLimits {
    /// Swapped when the settings change, so that open tunnels hear of it as well.
    now: ArcSwap<Limiters>,
    tunnels: Arc<Semaphore>,
}

#[derive(Debug)]
struct Limiters {
    bucket: Option<DefaultDirectRateLimiter>,
    burst: u32,
    slots: Option<Arc<Semaphore>>,
    concurrency: u32,
    clock: DefaultClock,
}

/// A place among the requests in flight; given back on drop.
#[derive(Debug)]
pub struct Slot(Option<OwnedSemaphorePermit>);

/// Why a request was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The token bucket is empty.
    Rate {
        /// The bucket's size.
        limit: u32,
        /// Until one token is back.
        retry_after: Duration,
    },
    /// No slot became free in time.
    Concurrency {
        /// Number of slots.
        limit: u32,
    },
}

impl ScopeLimits {
    /// Builds the limits; counters start full.
    #[must_use]
    pub fn new(settings: LimitSettings) -> Self {
        Self {
            now: ArcSwap::from_pointee(Limiters::new(settings)),
            tunnels: Arc::new(Semaphore::new(MAX_TUNNELS)),
        }
    }

    /// Puts other settings in force, with counters that start full. What is in flight keeps its place under the old ones.
    pub(crate) fn set(&self, settings: LimitSettings) {
        self.now.store(Arc::new(Limiters::new(settings)));
    }

    /// Takes a token from the bucket, then a slot.
    ///
    /// # Errors
    /// [`Refusal`] when the bucket is empty, or when no slot came free within two seconds.
    pub async fn admit(&self) -> Result<Slot, Refusal> {
        self.now.load_full().admit().await
    }
}

impl Limiters {
    fn new(settings: LimitSettings) -> Self {
        Self {
            bucket: settings.rate.map(|(rate, burst)| {
                RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
            }),
            burst: settings.rate.map_or(0, |(_, burst)| burst.get()),
            slots: settings
                .concurrency
                .map(|slots| Arc::new(Semaphore::new(slots as usize))),
            concurrency: settings.concurrency.unwrap_or(0),
            clock: DefaultClock::default(),
        }
    }

    async fn admit(&self) -> Result<Slot, Refusal> {
        if let Some(bucket) = &self.bucket
            && let Err(early) = bucket.check()
        {
            return Err(Refusal::Rate {
                limit: self.burst,
                retry_after: early.wait_time_from(self.clock.now()),
            });
        }
        let Some(slots) = &self.slots else {
            return Ok(Slot(None));
        };
        if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            return Ok(Slot(Some(permit)));
        }
        // Boxed, so that the future of those who need not wait stays small.
        match Box::pin(tokio::time::timeout(
            SLOT_WAIT,
            Arc::clone(slots).acquire_owned(),
        ))
        .await
        {
            Ok(Ok(permit)) => Ok(Slot(Some(permit))),
            Ok(Err(_)) | Err(_) => Err(Refusal::Concurrency {
                limit: self.concurrency,
            }),
        }
    }
}

impl ScopeLimits {
    /// A place for one more tunnel, given back on drop; `None` when there is none.
    #[must_use]
    pub fn tunnel(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.tunnels).try_acquire_owned().ok()
    }
}

impl Slot {
    /// Gives the place back early: a long-lived stream (WebSocket, event stream) does not count against short requests.
    pub fn release(&mut self) {
        self.0 = None;
    }
}
