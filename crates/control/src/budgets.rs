//! Requests that tokens have made of those that they were given: counted in memory by whoever lets them out, written here soon after.
//!
//! Where a process dies between the two, a token has so many requests more. How many that can be is bounded by whoever counts: a
//! request waits once a tenth of its token's number, or 256, are not written ([`RequestBudget::slack`]).
//!
//! [`RequestBudget::slack`]: agent_vault_broker::RequestBudget::slack

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Control;

/// For how long requests are gathered before they are written, unless one waits for it.
const GATHER: Duration = Duration::from_millis(200);
/// Time before another attempt when they could not be written.
const PAUSE: Duration = Duration::from_secs(1);
/// Tokens in one transaction, so that it never holds the writer for long.
const BATCH: usize = 500;

impl Control {
    /// Writes requests that were counted until cancelled, and once more then.
    pub async fn keep_budgets(&self, cancelled: CancellationToken) {
        let broker = self.broker();
        loop {
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = broker.spent_is_due() => {}
            }
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = broker.spent_is_urgent() => {}
                () = tokio::time::sleep(GATHER) => {}
            }
            if !self.write_spent().await {
                broker.spent_stays_due();
                tokio::select! {
                    () = cancelled.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        self.write_spent().await;
    }

    /// Writes what was counted. Answers whether it could; what could not stays counted.
    pub(crate) async fn write_spent(&self) -> bool {
        let mut written = true;
        for batch in self.broker().take_spent().chunks(BATCH) {
            match self.store().add_spent(batch).await {
                Ok(totals) => {
                    for ((token, count), total) in batch.iter().zip(totals) {
                        self.broker().settle_spent(token, *count, total);
                    }
                }
                Err(error) => {
                    written = false;
                    if self.touches().is_news(self.now()) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "requests of tokens with a budget cannot be written; such tokens are refused soon"
                        );
                    }
                }
            }
        }
        written
    }
}
