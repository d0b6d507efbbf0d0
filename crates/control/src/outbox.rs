//! Work that a request begins and does not wait for: mail, and whatever would tell by its duration whether an account exists.
//!
//! Bounded: when too much waits, requests are turned away alike, whatever they ask.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::Control;
use crate::error::{ControlError, ErrorKind};

/// Pieces of work that may wait or run.
const MAX_WAITING: u32 = 256;
/// Pieces that run at one time.
const MAX_RUNNING: usize = 4;
/// Longest that one piece may take.
const MAX_TIME: Duration = Duration::from_mins(2);
/// Shortest time that an answer takes which must not tell what was found.
const FLOOR: Duration = Duration::from_millis(250);

/// Places for such work.
#[derive(Debug)]
pub(crate) struct Outbox {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_WAITING as usize)),
            turns: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }
}

impl Control {
    /// Has `work` done soon. What it fails with is for the log.
    ///
    /// # Errors
    /// `Unavailable` when too much waits already.
    pub(crate) fn later(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<(), ControlError>> + Send + 'static,
    ) -> Result<(), ControlError> {
        let place = Arc::clone(&self.outbox().places)
            .try_acquire_owned()
            .map_err(|_| {
                ControlError::new(ErrorKind::Unavailable, "Too much mail is waiting")
                    .hint("try again in a minute")
            })?;
        let turns = Arc::clone(&self.outbox().turns);
        self.tasks().spawn(async move {
            let _place = place;
            let Ok(_turn) = turns.acquire().await else {
                return;
            };
            match tokio::time::timeout(MAX_TIME, work).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "{what} failed");
                }
                Err(_) => tracing::warn!("{what} took too long and was given up"),
            }
        });
        Ok(())
    }

    /// Returns once nothing that requests left to be done is waiting or running.
    pub async fn settle(&self) {
        let all = self.outbox().places.acquire_many(MAX_WAITING).await;
        drop(all);
    }
}

/// Makes an answer take as long whatever was found: begun before the work, waited for before the answer.
pub(crate) struct Floor(tokio::time::Instant);

impl Floor {
    pub(crate) fn begin() -> Self {
        Self(tokio::time::Instant::now() + FLOOR)
    }

    pub(crate) async fn reach(self) {
        tokio::time::sleep_until(self.0).await;
    }
}
