//! A vault's services, as the JSON array that the rule language reads and writes.

use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::Connection;
use crate::row::{self, Columns};
use crate::{StoreError, Tx};

/// A vault's services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// The JSON array. This crate does not look inside.
    pub json: String,
    /// Counts the writes, from 0.
    pub revision: u64,
    /// When it was last written.
    pub updated_at: Timestamp,
}

async fn services(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Option<Services>, StoreError> {
    let row = sqlx::query(
        "select services_json, revision, updated_at from broker_configs where vault_id = $1",
    )
    .bind(vault_id.to_string())
    .fetch_optional(connection)
    .await?;
    row::one(row, |row| {
        Ok(Services {
            json: row.text("services_json")?,
            revision: row.int("revision")?.unsigned_abs(),
            updated_at: row.time("updated_at")?,
        })
    })
}

reads! {
    /// A vault's services; `None` when there is no such vault.
    services(vault_id: Uuid) -> Option<Services>;
}

impl Tx {
    /// Replaces a vault's services. Reading them in the same transaction makes a change safe: nobody
    /// else can write in between.
    ///
    /// # Errors
    /// `NotFound` when there is no such vault.
    pub async fn put_services(
        &mut self,
        vault_id: Uuid,
        json: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = sqlx::query(
            "update broker_configs set services_json = $2, revision = revision + 1, updated_at = $3
             where vault_id = $1",
        )
        .bind(vault_id.to_string())
        .bind(json)
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        match changed.rows_affected() {
            0 => Err(StoreError::not_found("no such vault")),
            _ => Ok(()),
        }
    }
}
