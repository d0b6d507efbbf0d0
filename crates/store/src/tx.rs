//! [`Tx`]: the only way to change anything that is managed.

use crate::audit;
use crate::dialect::{Connection, Database};
use crate::{AuditEntry, StoreError};

/// A writing transaction. It holds the database's single writer from the start, so what it reads
/// stays true until it ends; keep it short and do no slow work (hashing, network) inside.
///
/// Dropped without [`commit`](Self::commit), it leaves no trace.
pub struct Tx {
    transaction: sqlx::Transaction<'static, Database>,
}

impl Tx {
    pub(crate) fn new(transaction: sqlx::Transaction<'static, Database>) -> Self {
        Self { transaction }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Appends `entry` to the audit log, advances the instance's version and makes everything
    /// durable. There is no commit without a record. Answers the new version.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then nothing of the transaction stays.
    pub async fn commit(mut self, entry: &AuditEntry) -> Result<i64, StoreError> {
        audit::append(self.connection(), entry).await?;
        let version: i64 = sqlx::query_scalar(
            "update instance_version set counter = counter + 1 where id = 1 returning counter",
        )
        .fetch_one(self.connection())
        .await?;
        self.transaction.commit().await?;
        Ok(version)
    }

    /// Undoes everything, and waits until that is done. Dropping does the same in the background.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; nothing of the transaction stays all the same.
    pub async fn rollback(self) -> Result<(), StoreError> {
        Ok(self.transaction.rollback().await?)
    }
}
