//! The task that keeps copies fresh, and what is told of how they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::SecretStore;
use agent_vault_store::{ExternalStore, SyncStatus};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::refresh::{self, NotRefreshed};
use super::{Stores, is_stale};
use crate::Control;
use crate::error::{ControlError, ErrorKind};

/// Time between two looks at which vaults are due.
const TICK: Duration = Duration::from_secs(10);
/// Vaults that are refreshed at one time.
const MAX_RUNNING: usize = 8;
/// How often the log says again that copies are stale.
const SAID_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// How the external stores of all vaults are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether this server can refresh any.
    pub configured: bool,
    /// Vaults with an external store.
    pub vaults: u64,
    /// Of these, those whose last refresh failed.
    pub failing: u64,
    /// Of these, those whose copies may be out of date.
    pub stale: u64,
    /// Seconds since the last good refresh, of the vault where that is longest ago.
    pub oldest_seconds: u64,
    /// Leases of dynamic secrets that this process holds.
    pub leases: u64,
}

impl Stores<'_> {
    /// How they are. For the process itself: no names, no permission asked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn health(&self) -> Result<StoreHealth, ControlError> {
        let (now, rows) = (self.0.now(), self.0.store().external_stores().await?);
        let count = |wanted: &dyn Fn(&ExternalStore) -> bool| {
            u64::try_from(rows.iter().filter(|row| wanted(row)).count()).unwrap_or(u64::MAX)
        };
        let age = |row: &ExternalStore| {
            let since = row.last_success_at.unwrap_or(row.created_at);
            u64::try_from(now.duration_since(since).as_secs()).unwrap_or_default()
        };
        Ok(StoreHealth {
            configured: self.is_configured(),
            vaults: count(&|_| true),
            failing: count(&|row| row.last_sync_status == Some(SyncStatus::Error)),
            stale: count(&|row| is_stale(row, now)),
            oldest_seconds: rows.iter().map(age).max().unwrap_or_default(),
            leases: u64::try_from(self.0.lending().live()).unwrap_or(u64::MAX),
        })
    }
}

impl Control {
    /// Refreshes vaults when they are due and looks after leases, until cancelled. Without an external store it only says, now and
    /// then, that copies get stale.
    pub async fn keep_stores(&self, cancelled: CancellationToken) {
        let closing = self.lending().closing().clone();
        let mut turns = tokio::time::interval(TICK);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut running = JoinSet::new();
        let mut told = HashMap::new();
        let refreshing = async {
            loop {
                tokio::select! {
                    () = cancelled.cancelled() => break,
                    () = closing.cancelled() => break,
                    _ = turns.tick() => {}
                }
                while running.try_join_next().is_some() {}
                if let Err(error) = self.refresh_due(&mut running, &mut told).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "external stores cannot be looked over"
                    );
                }
            }
            while running.join_next().await.is_some() {}
        };
        let lending = async {
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = self.keep_lending() => {}
            }
        };
        tokio::join!(refreshing, lending);
    }

    /// Begins to refresh the vaults whose time has come.
    async fn refresh_due(
        &self,
        running: &mut JoinSet<()>,
        told: &mut HashMap<Uuid, Timestamp>,
    ) -> Result<(), ControlError> {
        let now = self.now();
        let rows = self.store().external_stores().await?;
        tell_stale(&rows, told, now);
        let Some(store) = self.lending().store() else {
            return Ok(());
        };
        for row in rows.into_iter().filter(|row| is_due(row, now)) {
            if running.len() >= MAX_RUNNING {
                break;
            }
            let (control, store) = (self.clone(), Arc::clone(store));
            running.spawn(async move { refresh_one(&control, &store, &row).await });
        }
        Ok(())
    }
}

async fn refresh_one(control: &Control, store: &Arc<dyn SecretStore>, row: &ExternalStore) {
    let vault = row.vault_id;
    match refresh::by_schedule(control, store, row).await {
        Ok(()) | Err(NotRefreshed::Busy | NotRefreshed::Stopping) => {}
        // Somebody connected the vault to something else in the meantime.
        Err(NotRefreshed::Control(error)) if error.kind() == ErrorKind::Gone => {}
        Err(failed) => {
            let error = failed.shown_to(true);
            tracing::warn!(%vault, error = error.message(), "a vault could not be refreshed; its last copies are served");
        }
    }
}

/// Whether a vault's refresh is due: never refreshed, or last longer ago than its interval, however it ended.
fn is_due(row: &ExternalStore, now: Timestamp) -> bool {
    let interval = SignedDuration::from_secs(i64::from(row.poll_interval_seconds));
    row.last_synced_at
        .is_none_or(|last| now.duration_since(last) >= interval)
}

/// Says which vaults got stale, once and then each hour, and which are fresh again.
fn tell_stale(rows: &[ExternalStore], told: &mut HashMap<Uuid, Timestamp>, now: Timestamp) {
    told.retain(|vault, _| rows.iter().any(|row| row.vault_id == *vault));
    for row in rows {
        let vault = row.vault_id;
        if !is_stale(row, now) {
            if told.remove(&vault).is_some() {
                tracing::info!(%vault, "the vault's copies are fresh again");
            }
            continue;
        }
        let due = |last: &Timestamp| now.duration_since(*last) >= SAID_AGAIN;
        if told.get(&vault).is_none_or(due) {
            told.insert(vault, now);
            tracing::error!(
                %vault,
                last_success = row.last_success_at.map(|at| at.to_string()),
                error = row.last_sync_error,
                "the vault was not refreshed from its external store for long; the values that it serves may be out of date"
            );
        }
    }
}
