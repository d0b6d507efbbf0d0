//! Retention of the audit log: old records go, and the chain can still be checked.
//!
//! A cut names the last record that goes and its hash, in a row of its own and in a record at the new end of the chain. The
//! records go after that, in small steps; a process killed in between leaves some that the next pass deletes.

use jiff::Timestamp;
use serde_json::json;

use crate::audit::hash;
use crate::dialect::Connection;
use crate::row::{self, Columns};
use crate::{AuditEntry, AuditRecord, Store, StoreError, Tx};

/// What a cut is recorded as.
const ACTION: &str = "audit.cut";
/// Most records that one cut takes.
const MAX_CUT: i64 = 10_000;
/// Records that one statement deletes. The writer is free in between.
const BATCH: i64 = 1000;

/// How far a chain was cut off at its old end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditCut {
    /// The last record that went.
    pub through: i64,
    /// Its hash: what the first one that stayed follows.
    pub hash: [u8; 32],
}

impl AuditCut {
    /// The record that tells of it.
    #[must_use]
    pub fn entry(&self, at: Timestamp) -> AuditEntry {
        AuditEntry {
            detail: json!({"through": self.through, "hash": hex(&self.hash)}),
            ..AuditEntry::system(ACTION, "audit", at)
        }
    }

    /// Whether a record tells of this very cut.
    pub(crate) fn is_told_by(&self, record: &AuditRecord) -> bool {
        record.action == ACTION
            && serde_json::from_str::<serde_json::Value>(&record.detail).is_ok_and(|detail| {
                detail.get("through").and_then(serde_json::Value::as_i64) == Some(self.through)
                    && detail.get("hash").and_then(serde_json::Value::as_str)
                        == Some(hex(&self.hash).as_str())
            })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) async fn read(connection: &mut Connection) -> Result<Option<AuditCut>, StoreError> {
    let row = sqlx::query("select through, hash from audit_cut where id = 1")
        .fetch_optional(connection)
        .await?;
    row::one(row, |row| {
        Ok(AuditCut {
            through: row.int("through")?,
            hash: hash(row, "hash")?,
        })
    })
}

async fn audit_cut(connection: &mut Connection) -> Result<Option<AuditCut>, StoreError> {
    read(connection).await
}

reads! {
    /// How far the audit log was cut off, if it was.
    audit_cut() -> Option<AuditCut>;
}

impl Tx {
    /// Marks the oldest records for deletion, those from before `before` and at most ten thousand; commit with
    /// [`AuditCut::entry`], then call [`Store::delete_cut_audit`]. `None` when there is nothing to cut.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn cut_audit(&mut self, before: Timestamp) -> Result<Option<AuditCut>, StoreError> {
        let done = self.audit_cut().await?.map_or(0, |cut| cut.through);
        let rows =
            sqlx::query("select seq, at, hash from audit_log where seq > $1 order by seq limit $2")
                .bind(done)
                .bind(MAX_CUT)
                .fetch_all(self.connection())
                .await?;
        let mut last = None;
        for row in &rows {
            if row.time("at")? >= before {
                break;
            }
            last = Some(row);
        }
        let Some(last) = last else { return Ok(None) };
        let cut = AuditCut {
            through: last.int("seq")?,
            hash: hash(last, "hash")?,
        };
        sqlx::query(
            "insert into audit_cut (id, through, hash) values (1, $1, $2)
             on conflict (id) do update set through = excluded.through, hash = excluded.hash",
        )
        .bind(cut.through)
        .bind(cut.hash.as_slice())
        .execute(self.connection())
        .await?;
        Ok(Some(cut))
    }
}

impl Store {
    /// Deletes what was cut, in small steps; answers how many records went. Safe to stop at any point and to call again.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; what was deleted before stays deleted.
    pub async fn delete_cut_audit(&self) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let mut writer = self.writer().await?;
            let count = sqlx::query(
                "delete from audit_log where seq in (select seq from audit_log
                     where seq <= (select through from audit_cut) order by seq limit $1)",
            )
            .bind(BATCH)
            .execute(&mut *writer)
            .await?
            .rows_affected();
            deleted += count;
            if count == 0 {
                return Ok(deleted);
            }
        }
    }
}
