//! The audit log: read, checked, exported and cut by age.

use std::time::Duration;

use agent_vault_store::{AuditExportHead, AuditQuery, AuditRecord, AuditVerdict};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::Control;
use crate::access::{self, InstanceOwner};
use crate::actor::Actor;
use crate::error::ControlError;

/// Time between two looks for records that are too old.
const INTERVAL: Duration = Duration::from_hours(24);
/// Cuts in one look; what is left waits for the next.
const MAX_CUTS: usize = 100;

/// Actions on the audit log. For instance owners.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'c>(pub(crate) &'c Control);

impl Audit<'_> {
    /// Records that fit: newest first, or oldest first after one.
    ///
    /// # Errors
    /// Unless an instance owner asks.
    pub async fn records(
        &self,
        actor: &Actor,
        query: &AuditQuery,
    ) -> Result<Vec<AuditRecord>, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        Ok(rows.audit_records(query).await?)
    }

    /// Checks the whole chain.
    ///
    /// # Errors
    /// Unless an instance owner asks.
    pub async fn verify(&self, actor: &Actor) -> Result<AuditVerdict, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        Ok(rows.verify_audit().await?)
    }

    /// Begins an export; its records are read with [`Audit::records`] up to `end`.
    ///
    /// # Errors
    /// Unless an instance owner asks.
    pub async fn export(&self, actor: &Actor) -> Result<AuditExportHead, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        let newest = rows.audit_page(None, 1).await?;
        Ok(AuditExportHead {
            instance_id: rows.instance_id().to_owned(),
            cut: rows.audit_cut().await?,
            end: newest.first().map_or(0, |record| record.seq),
            head: newest.first().map_or([0; 32], |record| record.hash),
        })
    }
}

impl Control {
    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> Audit<'_> {
        Audit(self)
    }

    /// Cuts off audit records that are older than `max_age_days`, at once and each day, until cancelled. 0 keeps all.
    pub async fn keep_audit(&self, max_age_days: u32, cancelled: CancellationToken) {
        if max_age_days == 0 {
            return;
        }
        let mut turns = tokio::time::interval(INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return,
                _ = turns.tick() => {}
            }
            tokio::select! {
                () = cancelled.cancelled() => return,
                cut = self.cut_audit(max_age_days) => match cut {
                    Ok(0) => {}
                    Ok(records) => tracing::info!(records, "cut the audit log"),
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cutting the audit log failed"
                    ),
                },
            }
        }
    }

    /// One look; answers how many records went.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn cut_audit(&self, max_age_days: u32) -> Result<u64, ControlError> {
        let now = self.now();
        let age = SignedDuration::from_hours(24 * i64::from(max_age_days));
        let before = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        // What an earlier look was stopped at.
        let mut deleted = self.store().delete_cut_audit().await?;
        for _ in 0..MAX_CUTS {
            let mut gate = self.gate().await;
            let mut tx = self.store().begin().await?;
            let Some(cut) = tx.cut_audit(before).await? else {
                tx.rollback().await?;
                break;
            };
            let version = tx.commit(&cut.entry(now)).await?;
            self.published(&mut gate, version, Vec::new()).await?;
            drop(gate);
            deleted += self.store().delete_cut_audit().await?;
        }
        Ok(deleted)
    }
}
