//! What other processes write to the same database reaches our broker too.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Control;

/// Time between two looks at the database's version.
const INTERVAL: Duration = Duration::from_millis(250);
/// Longest time between two looks while the database does not answer.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

impl Control {
    /// Looks at the database's version until cancelled, and loads the broker anew when another process has written.
    ///
    /// While the database cannot be read the broker keeps what it has.
    pub async fn watch_database(&self, cancelled: CancellationToken) {
        let mut wait = INTERVAL;
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            match self.catch_up().await {
                Ok(changed) => {
                    if changed {
                        tracing::debug!("loaded what another process wrote");
                    }
                    wait = INTERVAL;
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the database does not answer; brokering goes on with what is loaded"
                    );
                    wait = (wait * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Loads everything anew, whatever the database's version is: for a composition that has told something new since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reload(&self) -> Result<(), crate::ControlError> {
        self.load_again().await
    }

    /// Brings the broker up to the database at once, without waiting for the watch.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn refresh(&self) -> Result<(), crate::ControlError> {
        self.catch_up().await.map(|_| ())
    }
}
