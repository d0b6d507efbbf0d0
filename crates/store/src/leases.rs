//! Leases of dynamic secrets: which are to be given back, and which process uses them. Never the leased values.
//!
//! A process is alive while it is seen; what a process held that is gone is for the others to revoke. A row goes only when its
//! lease is revoked or has ended.

use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{Store, StoreError};

/// Rows that one look for orphans finds.
const ORPHANS: i64 = 100;

/// A lease that is to be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretLease {
    /// What the store calls it.
    pub lease_id: String,
    /// The vault that it was made for; it may be gone.
    pub vault_id: Uuid,
    /// The dynamic secret.
    pub secret: String,
    /// The project that it is in.
    pub project_id: String,
    /// The environment.
    pub environment: String,
    /// The folder.
    pub secret_path: String,
    /// The process that uses it.
    pub holder: Uuid,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

fn read(row: &Row) -> Result<SecretLease, StoreError> {
    Ok(SecretLease {
        lease_id: row.text("lease_id")?,
        vault_id: row.id("vault_id")?,
        secret: row.text("dynamic_secret_name")?,
        project_id: row.text("project_id")?,
        environment: row.text("environment")?,
        secret_path: row.text("secret_path")?,
        holder: row.id("holder")?,
        expires_at: row.opt_time("expires_at")?,
        created_at: row.time("created_at")?,
    })
}

async fn secret_leases(connection: &mut Connection) -> Result<Vec<SecretLease>, StoreError> {
    let rows = sqlx::query(
        "select lease_id, vault_id, dynamic_secret_name, project_id, environment, secret_path, holder, expires_at, created_at
         from dynamic_secret_leases order by created_at, lease_id",
    )
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn orphaned_leases(
    connection: &mut Connection,
    alive_since: Timestamp,
) -> Result<Vec<SecretLease>, StoreError> {
    let rows = sqlx::query(
        "select lease_id, vault_id, dynamic_secret_name, project_id, environment, secret_path, holder, expires_at, created_at
         from dynamic_secret_leases
         where holder not in (select id from lease_holders where seen_at >= $1) order by created_at, lease_id limit $2",
    )
    .bind(alive_since.as_millisecond())
    .bind(ORPHANS)
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

reads! {
    /// Every lease that is to be given back, oldest first.
    secret_leases() -> Vec<SecretLease>;
    /// Leases of processes that were not seen since `alive_since`, at most a hundred, oldest first.
    orphaned_leases(alive_since: Timestamp) -> Vec<SecretLease>;
}

impl Store {
    /// Notes a lease that was made or renewed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn put_secret_lease(&self, lease: &SecretLease) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "insert into dynamic_secret_leases (lease_id, vault_id, dynamic_secret_name, project_id, environment, secret_path,
                 holder, expires_at, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (lease_id) do update set holder = $7, expires_at = $8",
        )
        .bind(&lease.lease_id)
        .bind(lease.vault_id.to_string())
        .bind(&lease.secret)
        .bind(&lease.project_id)
        .bind(&lease.environment)
        .bind(&lease.secret_path)
        .bind(lease.holder.to_string())
        .bind(lease.expires_at.map(Timestamp::as_millisecond))
        .bind(lease.created_at.as_millisecond())
        .execute(&mut *writer)
        .await?;
        Ok(())
    }

    /// Forgets a lease that is revoked or has ended.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_secret_lease(&self, lease_id: &str) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("delete from dynamic_secret_leases where lease_id = $1")
            .bind(lease_id)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// Says that a process that may hold leases is alive, and forgets those that were not seen since `forget_before`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn see_lease_holder(
        &self,
        holder: Uuid,
        now: Timestamp,
        forget_before: Timestamp,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "insert into lease_holders (id, seen_at) values ($1, $2) on conflict (id) do update set seen_at = $2",
        )
        .bind(holder.to_string())
        .bind(now.as_millisecond())
        .execute(&mut *writer)
        .await?;
        sqlx::query("delete from lease_holders where seen_at < $1")
            .bind(forget_before.as_millisecond())
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// Says that a process is about to end: what it could not give back is for the others.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn drop_lease_holder(&self, holder: Uuid) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("delete from lease_holders where id = $1")
            .bind(holder.to_string())
            .execute(&mut *writer)
            .await?;
        Ok(())
    }
}
