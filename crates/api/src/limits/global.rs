//! The GLOBAL tier: requests per second and requests in flight, for the whole server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bucket::Bucket;
use super::{BucketKnobs, Exceeded};

/// Longest wait for a place among the requests in flight.
const PLACE_WAIT: Duration = Duration::from_millis(500);

/// A place among the requests in flight; given back on drop.
#[derive(Debug)]
pub(crate) struct InFlight(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

#[derive(Debug)]
pub(crate) struct Global {
    bucket: Option<Bucket>,
    places: Option<(Arc<Semaphore>, u32)>,
}

impl Global {
    pub(crate) fn new(bucket: Option<BucketKnobs>, in_flight: Option<u32>) -> Self {
        Self {
            bucket: bucket.map(Bucket::new),
            places: in_flight.map(|places| (Arc::new(Semaphore::new(places as usize)), places)),
        }
    }

    pub(crate) async fn enter(&self) -> Result<InFlight, Exceeded> {
        if let Some(bucket) = &self.bucket {
            bucket.take("Server busy, try again shortly")?;
        }
        let Some((places, limit)) = &self.places else {
            return Ok(InFlight(None));
        };
        match tokio::time::timeout(PLACE_WAIT, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(InFlight(Some(place))),
            Ok(Err(_)) | Err(_) => Err(Exceeded {
                limit: *limit,
                retry_after: Duration::from_secs(1),
                message: "Server at capacity, try again shortly",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_server_turns_away_and_a_place_comes_back() {
        let global = Global::new(None, Some(1));
        let place = global.enter().await.unwrap();
        let refused = global.enter().await.unwrap_err();
        assert_eq!(refused.message, "Server at capacity, try again shortly");
        drop(place);
        assert!(global.enter().await.is_ok());
    }
}
