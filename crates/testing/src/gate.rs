//! Gates: a handler of the upstream stands still at one until the test lets it through. They replace sleeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

/// Where handlers wait for the test.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    permits: Semaphore,
    arrived: watch::Sender<usize>,
}

/// Gates by name; each exists from its first mention.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Gate>>);

impl Gate {
    fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                permits: Semaphore::new(0),
                arrived: watch::Sender::new(0),
            }),
        }
    }

    /// One that belongs to no upstream.
    #[must_use]
    pub(crate) fn alone() -> Self {
        Self::new()
    }

    /// Lets `n` arrivals pass, those that wait now or those that come later.
    pub fn release(&self, n: usize) {
        self.inner.permits.add_permits(n);
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.inner.permits.close();
    }

    /// Waits until `n` arrivals have been seen since the beginning, whether they have passed or not.
    pub async fn arrived(&self, n: usize) {
        let mut seen = self.inner.arrived.subscribe();
        let found = crate::within(
            "a handler to reach its gate",
            seen.wait_for(|count| *count >= n),
        )
        .await;
        found.expect("the gate outlives its watchers");
    }

    /// Waits for the test to let this arrival through.
    pub(crate) async fn pass(&self) {
        self.inner.arrived.send_modify(|count| *count += 1);
        // An error means that the gate is open for good.
        if let Ok(permit) = self.inner.permits.acquire().await {
            permit.forget();
        }
    }
}

impl Gates {
    pub(crate) fn get(&self, name: &str) -> Gate {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .entry(name.to_owned())
            .or_insert_with(Gate::new)
            .clone()
    }
}
