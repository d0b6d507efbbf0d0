//! One-time codes that go to somebody's mailbox, sealed.

use agent_vault_seal::{SealContext, SealKind, Sealed};
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{Store, StoreError, Tx};

/// Rows that one purge removes, so that it never holds the writer for long.
const PURGE_BATCH: i64 = 1000;

words! {
    /// What a code is good for.
    CodePurpose("code purpose") {
        /// Confirms the address of a new account.
        Verify = "verify",
        /// Sets a new password.
        Reset = "reset",
    }
}

/// One code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailCode {
    /// Its id.
    pub id: Uuid,
    /// What it is good for.
    pub purpose: CodePurpose,
    /// Whose it is.
    pub user_id: Uuid,
    /// The digits, sealed for [`EmailCode::seal_context`].
    pub sealed: Sealed,
    /// Whether a mail took it away.
    pub mailed: bool,
    /// How often something was compared with it.
    pub guesses: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl EmailCode {
    /// The place that its digits are sealed for. `user` and `id` as text.
    pub fn seal_context<'a>(user: &'a str, id: &'a str) -> SealContext<'a> {
        SealContext {
            kind: SealKind::Person,
            owner: user,
            name: id,
            version: 1,
        }
    }
}

fn read(row: &Row) -> Result<EmailCode, StoreError> {
    Ok(EmailCode {
        id: row.id("id")?,
        purpose: row.word("purpose")?,
        user_id: row.id("user_id")?,
        sealed: row.sealed("sealed")?,
        mailed: row.flag("mailed")?,
        guesses: row.uint("guesses")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

async fn email_codes(
    connection: &mut Connection,
    user_id: Uuid,
    purpose: CodePurpose,
    now: Timestamp,
) -> Result<Vec<EmailCode>, StoreError> {
    let rows = sqlx::query(
        "select id, purpose, user_id, sealed, mailed, guesses, created_at, expires_at from email_codes
         where user_id = $1 and purpose = $2 and expires_at >= $3 order by created_at, id",
    )
    .bind(user_id.to_string())
    .bind(purpose.as_str())
    .bind(now.as_millisecond())
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn waiting_codes(
    connection: &mut Connection,
    now: Timestamp,
) -> Result<Vec<EmailCode>, StoreError> {
    let rows = sqlx::query(
        "select id, purpose, user_id, sealed, mailed, guesses, created_at, expires_at from email_codes
         where mailed = false and expires_at >= $1 order by created_at desc, id limit 1000",
    )
    .bind(now.as_millisecond())
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

reads! {
    /// The codes of a user that have not run out at `now`, oldest first.
    email_codes(user_id: Uuid, purpose: CodePurpose, now: Timestamp) -> Vec<EmailCode>;
    /// Up to a thousand codes that no mail took away and that have not run out, newest first.
    waiting_codes(now: Timestamp) -> Vec<EmailCode>;
}

impl Tx {
    /// Adds a code.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn insert_email_code(&mut self, code: &EmailCode) -> Result<(), StoreError> {
        sqlx::query(
            "insert into email_codes (id, purpose, user_id, sealed, mailed, guesses, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(code.id.to_string())
        .bind(code.purpose.as_str())
        .bind(code.user_id.to_string())
        .bind(code.sealed.as_bytes())
        .bind(code.mailed)
        .bind(i64::from(code.guesses))
        .bind(code.created_at.as_millisecond())
        .bind(code.expires_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Removes every code of a user with this purpose.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_email_codes(
        &mut self,
        user_id: Uuid,
        purpose: CodePurpose,
    ) -> Result<(), StoreError> {
        sqlx::query("delete from email_codes where user_id = $1 and purpose = $2")
            .bind(user_id.to_string())
            .bind(purpose.as_str())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

impl Store {
    /// Spends a guess on each code of a user with this purpose that has been compared with fewer than
    /// `max` and has not run out; answers those, to be compared with. Spent before it is compared, durably, for every
    /// process: no number of requests or servers gives more guesses. No management action.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn spend_code_guess(
        &self,
        user_id: Uuid,
        purpose: CodePurpose,
        max: u32,
        now: Timestamp,
    ) -> Result<Vec<EmailCode>, StoreError> {
        let mut writer = self.writer().await?;
        let rows = sqlx::query(
            "update email_codes set guesses = guesses + 1
             where user_id = $1 and purpose = $2 and guesses < $3 and expires_at >= $4
             returning id, purpose, user_id, sealed, mailed, guesses, created_at, expires_at",
        )
        .bind(user_id.to_string())
        .bind(purpose.as_str())
        .bind(i64::from(max))
        .bind(now.as_millisecond())
        .fetch_all(&mut *writer)
        .await?;
        row::all(rows, read)
    }

    /// Notes whether a mail took a code away. No management action.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn note_mailed(&self, id: Uuid, mailed: bool) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("update email_codes set mailed = $2 where id = $1")
            .bind(id.to_string())
            .bind(mailed)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// Removes up to a thousand codes that ran out before `now`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn purge_email_codes(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from email_codes where id in (
                 select id from email_codes where expires_at < $1 limit $2)",
        )
        .bind(now.as_millisecond())
        .bind(PURGE_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
