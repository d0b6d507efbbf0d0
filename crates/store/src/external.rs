//! External credential stores: which vault copies from where, how the last refresh went, and who is refreshing now.

use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{Store, StoreError, Tx};

words! {
    /// Where a vault's static credentials are copied from.
    ExternalKind("credential store") {
        /// Infisical.
        Infisical = "infisical",
    }
}

words! {
    /// How a refresh ended.
    SyncStatus("sync status") {
        /// Well.
        Ok = "ok",
        /// Not; what was copied before stays.
        Error = "error",
    }
}

/// A vault's external store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalStore {
    /// The vault.
    pub vault_id: Uuid,
    /// What kind of store it is.
    pub kind: ExternalKind,
    /// Where in the store to look, JSON. No secret.
    pub config_json: String,
    /// Seconds between two refreshes.
    pub poll_interval_seconds: u32,
    /// Another one with each connect and each refresh by hand.
    pub revision: Uuid,
    /// When the last refresh ended, however it ended.
    pub last_synced_at: Option<Timestamp>,
    /// How it ended.
    pub last_sync_status: Option<SyncStatus>,
    /// Why it failed; empty when it did not.
    pub last_sync_error: String,
    /// When the last refresh ended that went well.
    pub last_success_at: Option<Timestamp>,
    /// When it was connected.
    pub created_at: Timestamp,
    /// When it was last connected anew.
    pub updated_at: Timestamp,
}

/// A secret of an external store that is made on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicSecret {
    /// The vault.
    pub vault_id: Uuid,
    /// What the store calls it.
    pub name: String,
    /// The fields of the last lease, as the store names them; none before the first.
    pub fields: Vec<String>,
    /// Whether the last lease was refused.
    pub unavailable: bool,
}

fn read(row: &Row) -> Result<ExternalStore, StoreError> {
    Ok(ExternalStore {
        vault_id: row.id("vault_id")?,
        kind: row.word("kind")?,
        config_json: row.text("config_json")?,
        poll_interval_seconds: row.uint("poll_interval_seconds")?,
        revision: row.id("revision")?,
        last_synced_at: row.opt_time("last_synced_at")?,
        last_sync_status: row.opt_word("last_sync_status")?,
        last_sync_error: row.text("last_sync_error")?,
        last_success_at: row.opt_time("last_success_at")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

fn read_dynamic(row: &Row) -> Result<DynamicSecret, StoreError> {
    Ok(DynamicSecret {
        vault_id: row.id("vault_id")?,
        name: row.text("name")?,
        fields: serde_json::from_str(&row.text("fields_json")?)
            .map_err(|_| unreadable("fields_json"))?,
        unavailable: row.flag("unavailable")?,
    })
}

async fn external_stores(connection: &mut Connection) -> Result<Vec<ExternalStore>, StoreError> {
    let rows = sqlx::query(
        "select vault_id, kind, config_json, poll_interval_seconds, revision, last_synced_at, last_sync_status,
             last_sync_error, last_success_at, created_at, updated_at
         from vault_credential_stores order by vault_id",
    )
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn external_store(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Option<ExternalStore>, StoreError> {
    let row = sqlx::query(
        "select vault_id, kind, config_json, poll_interval_seconds, revision, last_synced_at, last_sync_status,
             last_sync_error, last_success_at, created_at, updated_at
         from vault_credential_stores where vault_id = $1",
    )
    .bind(vault_id.to_string())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn dynamic_secrets(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<DynamicSecret>, StoreError> {
    let rows = sqlx::query(
        "select vault_id, name, fields_json, unavailable from dynamic_secrets where vault_id = $1 order by name",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, read_dynamic)
}

async fn all_dynamic_secrets(
    connection: &mut Connection,
) -> Result<Vec<DynamicSecret>, StoreError> {
    let rows = sqlx::query(
        "select vault_id, name, fields_json, unavailable from dynamic_secrets order by name",
    )
    .fetch_all(connection)
    .await?;
    row::all(rows, read_dynamic)
}

reads! {
    /// Every external store.
    external_stores() -> Vec<ExternalStore>;
    /// A vault's external store; `None` where the vault keeps its own credentials.
    external_store(vault_id: Uuid) -> Option<ExternalStore>;
    /// Secrets of a vault's external store that are made on demand, by name.
    dynamic_secrets(vault_id: Uuid) -> Vec<DynamicSecret>;
    /// Those of every vault.
    all_dynamic_secrets() -> Vec<DynamicSecret>;
}

impl Tx {
    /// Connects a vault to an external store, or anew. Whoever refreshes it at the moment writes nothing any more.
    ///
    /// # Errors
    /// `NotFound` when there is no such vault.
    pub async fn put_external_store(&mut self, store: &ExternalStore) -> Result<(), StoreError> {
        sqlx::query(
            "insert into vault_credential_stores (vault_id, kind, config_json, poll_interval_seconds, revision, last_synced_at,
                 last_sync_status, last_sync_error, last_success_at, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (vault_id) do update set kind = $2, config_json = $3, poll_interval_seconds = $4, revision = $5,
                 last_synced_at = $6, last_sync_status = $7, last_sync_error = $8, last_success_at = $9, updated_at = $11,
                 claim = null, claimed_until = null",
        )
        .bind(store.vault_id.to_string())
        .bind(store.kind.as_str())
        .bind(&store.config_json)
        .bind(i64::from(store.poll_interval_seconds))
        .bind(store.revision.to_string())
        .bind(store.last_synced_at.map(Timestamp::as_millisecond))
        .bind(store.last_sync_status.map(|status| status.as_str()))
        .bind(&store.last_sync_error)
        .bind(store.last_success_at.map(Timestamp::as_millisecond))
        .bind(store.created_at.as_millisecond())
        .bind(store.updated_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Takes a vault off its external store. Answers whether it had one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_external_store(&mut self, vault_id: Uuid) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from vault_credential_stores where vault_id = $1")
            .bind(vault_id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Notes which secrets are made on demand. What is known of those that stay is kept. Answers whether anything changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn put_dynamic_secrets(
        &mut self,
        vault_id: Uuid,
        names: &[String],
    ) -> Result<bool, StoreError> {
        let known = dynamic_secrets(self.connection(), vault_id).await?;
        let mut changed = false;
        for gone in known.iter().filter(|known| !names.contains(&known.name)) {
            sqlx::query("delete from dynamic_secrets where vault_id = $1 and name = $2")
                .bind(vault_id.to_string())
                .bind(&gone.name)
                .execute(self.connection())
                .await?;
            changed = true;
        }
        for name in names {
            if known.iter().any(|known| known.name == *name) {
                continue;
            }
            sqlx::query(
                "insert into dynamic_secrets (vault_id, name) values ($1, $2) on conflict do nothing",
            )
            .bind(vault_id.to_string())
            .bind(name)
            .execute(self.connection())
            .await?;
            changed = true;
        }
        Ok(changed)
    }

    /// Notes that a refresh went well, if it is still the one that `claim` names and the store is connected as it was. Answers
    /// whether it is: if not, what was fetched must not be written. `revision` takes the place of the former one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_sync(
        &mut self,
        vault_id: Uuid,
        claim: Uuid,
        former: Uuid,
        revision: Uuid,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let ended = sqlx::query(
            "update vault_credential_stores set revision = $4, last_synced_at = $5, last_success_at = $5,
                 last_sync_status = 'ok', last_sync_error = '', claim = null, claimed_until = null
             where vault_id = $1 and claim = $2 and revision = $3",
        )
        .bind(vault_id.to_string())
        .bind(claim.to_string())
        .bind(former.to_string())
        .bind(revision.to_string())
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(ended.rows_affected() > 0)
    }
}

impl Store {
    /// Begins a refresh unless one is under way in any process. Answers whether it may begin.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn claim_sync(
        &self,
        vault_id: Uuid,
        revision: Uuid,
        claim: Uuid,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        let claimed = sqlx::query(
            "update vault_credential_stores set claim = $3, claimed_until = $5
             where vault_id = $1 and revision = $2 and (claim is null or claimed_until <= $4)",
        )
        .bind(vault_id.to_string())
        .bind(revision.to_string())
        .bind(claim.to_string())
        .bind(now.as_millisecond())
        .bind(until.as_millisecond())
        .execute(&mut *writer)
        .await?;
        Ok(claimed.rows_affected() > 0)
    }

    /// Ends a refresh that found nothing new, or failed for the reason given. One that is not the claimed one changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn note_sync(
        &self,
        vault_id: Uuid,
        claim: Uuid,
        at: Timestamp,
        failed: Option<&str>,
    ) -> Result<bool, StoreError> {
        let status = match failed {
            None => SyncStatus::Ok,
            Some(_) => SyncStatus::Error,
        };
        let mut writer = self.writer().await?;
        let noted = sqlx::query(
            "update vault_credential_stores set last_synced_at = $3, last_sync_status = $4, last_sync_error = $5,
                 last_success_at = case when $4 = 'ok' then $3 else last_success_at end, claim = null, claimed_until = null
             where vault_id = $1 and claim = $2",
        )
        .bind(vault_id.to_string())
        .bind(claim.to_string())
        .bind(at.as_millisecond())
        .bind(status.as_str())
        .bind(failed.unwrap_or_default())
        .execute(&mut *writer)
        .await?;
        Ok(noted.rows_affected() > 0)
    }

    /// Ends a refresh as if it had not begun.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn drop_sync_claim(&self, vault_id: Uuid, claim: Uuid) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "update vault_credential_stores set claim = null, claimed_until = null where vault_id = $1 and claim = $2",
        )
        .bind(vault_id.to_string())
        .bind(claim.to_string())
        .execute(&mut *writer)
        .await?;
        Ok(())
    }

    /// Notes what the last lease of a secret has shown of it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn note_dynamic_secret(
        &self,
        vault_id: Uuid,
        name: &str,
        fields: Option<&[String]>,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let query = match fields {
            Some(fields) => sqlx::query(
                "update dynamic_secrets set fields_json = $3, unavailable = 0 where vault_id = $1 and name = $2",
            )
            .bind(vault_id.to_string())
            .bind(name.to_owned())
            .bind(serde_json::Value::from(fields.to_vec()).to_string()),
            None => sqlx::query(
                "update dynamic_secrets set unavailable = 1 where vault_id = $1 and name = $2",
            )
            .bind(vault_id.to_string())
            .bind(name.to_owned()),
        };
        query.execute(&mut *writer).await?;
        Ok(())
    }
}
