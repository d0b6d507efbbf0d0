//! Logins that a device asks for and a person approves elsewhere.

use agent_vault_seal::TokenHash;
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{Store, StoreError, Tx};

/// Rows that one purge removes, so that it never holds the writer for long.
const PURGE_BATCH: i64 = 1000;

words! {
    /// What a person said.
    DeviceStatus("device login status") {
        /// Nothing yet.
        Pending = "pending",
        /// Yes.
        Approved = "approved",
        /// No.
        Denied = "denied",
    }
}

/// A login that a device waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLogin {
    /// SHA-256 of what the device polls with.
    pub device_hash: TokenHash,
    /// What it shows and a person types.
    pub user_code: String,
    /// What it calls itself.
    pub device_label: String,
    /// Where it asked from.
    pub ip: String,
    /// With which client.
    pub user_agent: String,
    /// What a person said.
    pub status: DeviceStatus,
    /// Who approved.
    pub user_id: Option<Uuid>,
    /// When it asked.
    pub created_at: Timestamp,
    /// Until when it waits.
    pub expires_at: Timestamp,
}

fn read(row: &Row) -> Result<DeviceLogin, StoreError> {
    Ok(DeviceLogin {
        device_hash: TokenHash::from_hex(&row.text("device_hash")?)
            .map_err(|_| unreadable("device_hash"))?,
        user_code: row.text("user_code")?,
        device_label: row.text("device_label")?,
        ip: row.text("ip")?,
        user_agent: row.text("user_agent")?,
        status: row.word("status")?,
        user_id: row.opt_id("user_id")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

async fn device_login(
    connection: &mut Connection,
    hash: TokenHash,
) -> Result<Option<DeviceLogin>, StoreError> {
    let row = sqlx::query(
        "select device_hash, user_code, device_label, ip, user_agent, status, user_id, created_at, expires_at
         from device_logins where device_hash = $1",
    )
    .bind(hash.to_hex())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn device_login_by_code(
    connection: &mut Connection,
    user_code: &str,
) -> Result<Option<DeviceLogin>, StoreError> {
    let row = sqlx::query(
        "select device_hash, user_code, device_label, ip, user_agent, status, user_id, created_at, expires_at
         from device_logins where user_code = $1",
    )
    .bind(user_code)
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn device_login_count(
    connection: &mut Connection,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from device_logins where expires_at >= $1")
            .bind(now.as_millisecond())
            .fetch_one(connection)
            .await?;
    Ok(count.unsigned_abs())
}

reads! {
    /// The login that a device polls for, run out or not.
    device_login(hash: TokenHash) -> Option<DeviceLogin>;
    /// The login that shows this code.
    device_login_by_code(user_code: &str) -> Option<DeviceLogin>;
    /// How many devices wait at `now`.
    device_login_count(now: Timestamp) -> u64;
}

impl Tx {
    /// Adds a login that a device waits for.
    ///
    /// # Errors
    /// `Conflict` for a code that is shown already.
    pub async fn insert_device_login(&mut self, login: &DeviceLogin) -> Result<(), StoreError> {
        sqlx::query(
            "insert into device_logins (device_hash, user_code, device_label, ip, user_agent, status, user_id,
                 created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(login.device_hash.to_hex())
        .bind(&login.user_code)
        .bind(&login.device_label)
        .bind(&login.ip)
        .bind(&login.user_agent)
        .bind(login.status.as_str())
        .bind(login.user_id.map(|id| id.to_string()))
        .bind(login.created_at.as_millisecond())
        .bind(login.expires_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Puts a person's answer on a pending login: approved by `user`, or denied with `None`. Answers
    /// whether it was pending.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn answer_device_login(
        &mut self,
        hash: TokenHash,
        user: Option<Uuid>,
    ) -> Result<bool, StoreError> {
        let status = match user {
            Some(_) => DeviceStatus::Approved,
            None => DeviceStatus::Denied,
        };
        let answered = sqlx::query(
            "update device_logins set status = $2, user_id = $3 where device_hash = $1 and status = 'pending'",
        )
        .bind(hash.to_hex())
        .bind(status.as_str())
        .bind(user.map(|id| id.to_string()))
        .execute(self.connection())
        .await?;
        Ok(answered.rows_affected() > 0)
    }

    /// Removes a login that a device waited for. Answers whether it was there: only one poll gets it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_device_login(&mut self, hash: TokenHash) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from device_logins where device_hash = $1")
            .bind(hash.to_hex())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Ends the logins that a user has approved and no device has fetched.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_device_logins_of(&mut self, user: Uuid) -> Result<(), StoreError> {
        sqlx::query("delete from device_logins where user_id = $1")
            .bind(user.to_string())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

impl Store {
    /// Removes up to a thousand logins that ran out before `now`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn purge_device_logins(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from device_logins where device_hash in (
                 select device_hash from device_logins where expires_at < $1 limit $2)",
        )
        .bind(now.as_millisecond())
        .bind(PURGE_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
