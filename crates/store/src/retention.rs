//! Trimming the request log by age and by number, in small steps.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::append::SOURCE_ROWS;
use crate::{Store, StoreError};

/// Rows that one statement deletes. The writer is free in between.
const BATCH: i64 = 1000;
/// Statements in one pass; what is left waits for the next pass.
const MAX_BATCHES: u32 = 1000;

/// How much of the request log stays. Zero lifts a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Oldest age in hours.
    pub max_age_hours: u32,
    /// Most rows of each vault.
    pub max_rows_per_vault: u32,
}

impl Default for Retention {
    /// A week, and ten thousand rows of each vault.
    fn default() -> Self {
        Self {
            max_age_hours: 168,
            max_rows_per_vault: 10_000,
        }
    }
}

impl Store {
    /// Deletes what `retention` no longer keeps; answers how many rows. Of each vault by age first, from
    /// the oldest row on (rows are appended in the order of their time, give or take a batch), then
    /// down to its newest rows, and at last sources that no row names.
    /// Safe to run in several processes at once, and to stop at any point.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; what was deleted before stays deleted.
    pub async fn trim_logs(&self, retention: Retention, now: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        let mut batches = MAX_BATCHES;
        if retention.max_age_hours > 0 {
            let oldest = now
                .checked_sub(SignedDuration::from_hours(i64::from(
                    retention.max_age_hours,
                )))
                .unwrap_or(Timestamp::MIN);
            for vault in self.vaults().await? {
                while batches > 0 {
                    let count = self.delete_logs_before(vault.id, oldest).await?;
                    deleted += count;
                    batches = batches.saturating_sub(1);
                    if count == 0 {
                        break;
                    }
                }
            }
        }
        if retention.max_rows_per_vault > 0 {
            for vault in self.vaults().await? {
                let Some(newest) = self
                    .first_surplus_log(vault.id, retention.max_rows_per_vault)
                    .await?
                else {
                    continue;
                };
                while batches > 0 {
                    let count = self.delete_logs_up_to(vault.id, newest).await?;
                    deleted += count;
                    batches = batches.saturating_sub(1);
                    if count == 0 {
                        break;
                    }
                }
            }
        }
        for vault in self.vaults().await? {
            while batches > 0 {
                let count = self.delete_unused_sources(vault.id).await?;
                batches = batches.saturating_sub(1);
                if count == 0 {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    /// Sources that no row of the vault can name, told by numbers alone: no row is looked at but the oldest.
    async fn delete_unused_sources(&self, vault_id: Uuid) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from request_log_sources where id in (
                 select s.id from request_log_sources s
                 where s.vault_no = (select no from request_log_vaults where vault_id = $1)
                     and s.first_row < coalesce(
                         (select min(id) from request_logs
                          where vault_no = (select no from request_log_vaults where vault_id = $1)),
                         (select next from request_log_sequence)) - $2
                 limit $3)",
        )
        .bind(vault_id.to_string())
        .bind(SOURCE_ROWS)
        .bind(BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }

    async fn delete_logs_before(
        &self,
        vault_id: Uuid,
        oldest: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from request_logs
             where vault_no = (select no from request_log_vaults where vault_id = $1) and id in (
                 select id from (
                     select id, created_at from request_logs
                     where vault_no = (select no from request_log_vaults where vault_id = $1)
                     order by id limit $3) o
                 where o.created_at < $2)",
        )
        .bind(vault_id.to_string())
        .bind(oldest.as_millisecond())
        .bind(BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// The newest row of a vault that is one too many.
    async fn first_surplus_log(
        &self,
        vault_id: Uuid,
        keep: u32,
    ) -> Result<Option<i64>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(sqlx::query_scalar(
            "select id from request_logs where vault_no = (select no from request_log_vaults where vault_id = $1)
             order by id desc limit 1 offset $2",
        )
        .bind(vault_id.to_string())
        .bind(i64::from(keep))
        .fetch_optional(&mut *reader)
        .await?)
    }

    async fn delete_logs_up_to(&self, vault_id: Uuid, newest: i64) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from request_logs
             where vault_no = (select no from request_log_vaults where vault_id = $1) and id in (
                 select id from request_logs
                 where vault_no = (select no from request_log_vaults where vault_id = $1) and id <= $2
                 order by id limit $3)",
        )
        .bind(vault_id.to_string())
        .bind(newest)
        .bind(BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
