//! When agents' tokens and vault tokens were last used: noted in memory by whoever checks them, written here now and then.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Control;

/// Time between two writes.
const INTERVAL: Duration = Duration::from_mins(1);
/// Tokens in one transaction, so that it never holds the writer for long.
const BATCH: usize = 500;

impl Control {
    /// Writes the last uses of tokens once a minute until cancelled, and once more then.
    pub async fn keep_uses(&self, cancelled: CancellationToken) {
        let mut turns = tokio::time::interval(INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancelled.cancelled() => break,
                _ = turns.tick() => self.write_uses().await,
            }
        }
        self.write_uses().await;
    }

    /// Writes what was noted since the last time. What cannot be written is noted again: it is worth no refusal.
    pub(crate) async fn write_uses(&self) {
        let uses = self.broker().take_uses();
        for batch in uses.chunks(BATCH) {
            let Err(error) = self.store().touch_tokens(batch).await else {
                continue;
            };
            for (token, at) in batch {
                self.broker().note_use(token, *at);
            }
            if self.touches().is_news(self.now()) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the last use of tokens cannot be written"
                );
            }
        }
    }
}
