//! Ownership of spawned tasks: whoever holds [`Tasks`] owns them, and dropping it ends them.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owner of a set of tasks; they end when it is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    spawner: Spawner,
}

/// A handle that starts tasks for the [`Tasks`] it came from. Also serves hyper as its executor.
#[derive(Clone, Debug, Default)]
pub struct Spawner {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Creates an owner of no tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives out a handle that starts tasks owned by `self`.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Ends every task and waits until the last one is gone.
    pub async fn stop(self) {
        self.spawner.stop.cancel();
        self.spawner.tracker.close();
        self.spawner.tracker.wait().await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.spawner.stop.cancel();
    }
}

impl Spawner {
    /// Runs `future` until it is done or the owner goes. Needs a tokio runtime around the caller.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = future => {}
            }
        });
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}
