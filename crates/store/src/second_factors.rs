//! Second factors of people: the secret of an authenticator app, sealed, and recovery codes as hashes.

use agent_vault_seal::{SealContext, SealKind, Sealed, TokenHash};
use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{Store, StoreError, Tx};

/// The authenticator app of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totp {
    /// Whose it is.
    pub user_id: Uuid,
    /// The shared secret, sealed for [`Totp::seal_context`].
    pub sealed: Sealed,
    /// Whether a first code has shown that the secret arrived. Until then it guards nothing.
    pub confirmed: bool,
    /// The time step of the last code that was taken.
    pub last_step: u64,
    /// Guesses since the last right one.
    pub guesses: u32,
    /// No code is looked at before.
    pub locked_until: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Totp {
    /// The place that a user's secret is sealed for. `user` is the id as text.
    pub fn seal_context(user: &str) -> SealContext<'_> {
        SealContext {
            kind: SealKind::Person,
            owner: user,
            name: "totp",
            version: 1,
        }
    }
}

fn read(row: &Row) -> Result<Totp, StoreError> {
    Ok(Totp {
        user_id: row.id("user_id")?,
        sealed: row.sealed("sealed")?,
        confirmed: row.flag("confirmed")?,
        last_step: row.int("last_step")?.unsigned_abs(),
        guesses: row.uint("guesses")?,
        locked_until: row.time("locked_until")?,
        created_at: row.time("created_at")?,
    })
}

async fn totp(connection: &mut Connection, user_id: Uuid) -> Result<Option<Totp>, StoreError> {
    let row = sqlx::query(
        "select user_id, sealed, confirmed, last_step, guesses, locked_until, created_at from user_totp
         where user_id = $1",
    )
    .bind(user_id.to_string())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn recovery_code_count(
    connection: &mut Connection,
    user_id: Uuid,
) -> Result<u64, StoreError> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from user_recovery_codes where user_id = $1")
            .bind(user_id.to_string())
            .fetch_one(connection)
            .await?;
    Ok(count.unsigned_abs())
}

async fn has_recovery_code(
    connection: &mut Connection,
    user_id: Uuid,
    code: TokenHash,
) -> Result<bool, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from user_recovery_codes where user_id = $1 and code_hash = $2",
    )
    .bind(user_id.to_string())
    .bind(code.to_hex())
    .fetch_one(connection)
    .await?;
    Ok(count > 0)
}

reads! {
    /// A user's authenticator app, confirmed or not.
    totp(user_id: Uuid) -> Option<Totp>;
    /// How many recovery codes a user has left.
    recovery_code_count(user_id: Uuid) -> u64;
    /// Whether a user has this recovery code.
    has_recovery_code(user_id: Uuid, code: TokenHash) -> bool;
}

impl Tx {
    /// Writes a user's authenticator app, in place of the one before.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn put_totp(&mut self, totp: &Totp) -> Result<(), StoreError> {
        sqlx::query(
            "insert into user_totp (user_id, sealed, confirmed, last_step, guesses, locked_until, created_at)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (user_id) do update set sealed = excluded.sealed, confirmed = excluded.confirmed,
                 last_step = excluded.last_step, guesses = excluded.guesses,
                 locked_until = excluded.locked_until, created_at = excluded.created_at",
        )
        .bind(totp.user_id.to_string())
        .bind(totp.sealed.as_bytes())
        .bind(totp.confirmed)
        .bind(i64::try_from(totp.last_step).unwrap_or(i64::MAX))
        .bind(i64::from(totp.guesses))
        .bind(totp.locked_until.as_millisecond())
        .bind(totp.created_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Takes a user's second factor away, recovery codes too. Answers whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_totp(&mut self, user_id: Uuid) -> Result<bool, StoreError> {
        self.replace_recovery_codes(user_id, &[]).await?;
        let deleted = sqlx::query("delete from user_totp where user_id = $1")
            .bind(user_id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Replaces a user's recovery codes.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn replace_recovery_codes(
        &mut self,
        user_id: Uuid,
        codes: &[TokenHash],
    ) -> Result<(), StoreError> {
        sqlx::query("delete from user_recovery_codes where user_id = $1")
            .bind(user_id.to_string())
            .execute(self.connection())
            .await?;
        for code in codes {
            sqlx::query("insert into user_recovery_codes (user_id, code_hash) values ($1, $2)")
                .bind(user_id.to_string())
                .bind(code.to_hex())
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Uses a recovery code up. Answers whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn spend_recovery_code(
        &mut self,
        user_id: Uuid,
        code: TokenHash,
    ) -> Result<bool, StoreError> {
        let deleted =
            sqlx::query("delete from user_recovery_codes where user_id = $1 and code_hash = $2")
                .bind(user_id.to_string())
                .bind(code.to_hex())
                .execute(self.connection())
                .await?;
        Ok(deleted.rows_affected() > 0)
    }
}

impl Store {
    /// Spends a guess on a user's confirmed app, unless it is locked; answers the app to compare with.
    /// Spent before it is compared, so that requests at the same time give no more guesses. From the fifth on
    /// each locks the app, for a minute at first and twice as long each time, up to a day; [`Tx::put_totp`] with
    /// a right code starts anew. No management action.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn spend_totp_guess(
        &self,
        user_id: Uuid,
        now: Timestamp,
    ) -> Result<Option<Totp>, StoreError> {
        let mut writer = self.writer().await?;
        let row = sqlx::query(
            "update user_totp set guesses = guesses + 1, locked_until = case
                 when guesses + 1 < 5 then locked_until
                 when guesses + 1 > 15 then $2 + 86400000
                 else $2 + (60000 << (guesses - 4)) end
             where user_id = $1 and confirmed = true and locked_until <= $2
             returning user_id, sealed, confirmed, last_step, guesses, locked_until, created_at",
        )
        .bind(user_id.to_string())
        .bind(now.as_millisecond())
        .fetch_optional(&mut *writer)
        .await?;
        row::one(row, read)
    }
}
