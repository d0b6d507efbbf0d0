//! People.

use agent_vault_seal::PasswordHash;
use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{ActorRef, InstanceRole, StoreError, Tx};

/// A person's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: Uuid,
    /// The address, as typed.
    pub email: String,
    /// The hashed password.
    pub password: PasswordHash,
    /// Rights over the instance.
    pub role: InstanceRole,
    /// Whether the address is confirmed; an inactive account cannot log in.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The form in which addresses are compared: trimmed and lower case, so that one mailbox is one
/// account however it is typed.
pub fn email_lookup(email: &str) -> String {
    email.trim().to_lowercase()
}

fn read(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.id("id")?,
        email: row.text("email")?,
        password: PasswordHash {
            hash: row.bytes("password_hash")?,
            salt: row.bytes("password_salt")?,
            time: row.uint("kdf_time")?,
            memory: row.uint("kdf_memory")?,
            threads: row.uint("kdf_threads")?,
        },
        role: row.word("role")?,
        is_active: row.flag("is_active")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

async fn users(connection: &mut Connection) -> Result<Vec<User>, StoreError> {
    let rows = sqlx::query(
        "select id, email, password_hash, password_salt, kdf_time, kdf_memory, kdf_threads, role, is_active,
             created_at, updated_at
         from users order by email",
    )
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn user(connection: &mut Connection, id: Uuid) -> Result<Option<User>, StoreError> {
    let row = sqlx::query(
        "select id, email, password_hash, password_salt, kdf_time, kdf_memory, kdf_threads, role, is_active,
             created_at, updated_at
         from users where id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn user_by_email(
    connection: &mut Connection,
    email: &str,
) -> Result<Option<User>, StoreError> {
    let row = sqlx::query(
        "select id, email, password_hash, password_salt, kdf_time, kdf_memory, kdf_threads, role, is_active,
             created_at, updated_at
         from users where email_lookup = $1",
    )
    .bind(email_lookup(email))
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn user_count(connection: &mut Connection) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("select count(*) from users")
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

async fn unconfirmed_users(
    connection: &mut Connection,
    before: Timestamp,
) -> Result<Vec<User>, StoreError> {
    let rows = sqlx::query(
        "select id, email, password_hash, password_salt, kdf_time, kdf_memory, kdf_threads, role, is_active,
             created_at, updated_at
         from users where is_active = false and created_at < $1 order by created_at limit 1000",
    )
    .bind(before.as_millisecond())
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn active_owner_users(connection: &mut Connection) -> Result<u64, StoreError> {
    let count: i64 =
        sqlx::query_scalar("select count(*) from users where role = 'owner' and is_active = true")
            .fetch_one(connection)
            .await?;
    Ok(count.unsigned_abs())
}

reads! {
    /// Every user, by address.
    users() -> Vec<User>;
    /// The user with this id.
    user(id: Uuid) -> Option<User>;
    /// The user with this address, however it is typed (see [`email_lookup`]).
    user_by_email(email: &str) -> Option<User>;
    /// How many users there are; none means that the instance has no owner yet.
    user_count() -> u64;
    /// Up to a thousand accounts made before `before` whose address nobody has confirmed.
    unconfirmed_users(before: Timestamp) -> Vec<User>;
    /// How many owners are people who can log in.
    active_owner_users() -> u64;
}

impl Tx {
    /// Adds a user.
    ///
    /// # Errors
    /// `Conflict` when the address is taken.
    pub async fn insert_user(&mut self, user: &User) -> Result<(), StoreError> {
        let inserted = sqlx::query(
            "insert into users (id, email, email_lookup, password_hash, password_salt, kdf_time, kdf_memory,
                 kdf_threads, role, is_active, created_at, updated_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             on conflict do nothing",
        )
        .bind(user.id.to_string())
        .bind(&user.email)
        .bind(email_lookup(&user.email))
        .bind(&user.password.hash)
        .bind(&user.password.salt)
        .bind(i64::from(user.password.time))
        .bind(i64::from(user.password.memory))
        .bind(i64::from(user.password.threads))
        .bind(user.role.as_str())
        .bind(user.is_active)
        .bind(user.created_at.as_millisecond())
        .bind(user.updated_at.as_millisecond())
        .execute(self.connection())
        .await?;
        match inserted.rows_affected() {
            0 => Err(StoreError::conflict(
                "an account with that address already exists",
            )),
            _ => Ok(()),
        }
    }

    /// Changes a user's instance role.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn set_user_role(
        &mut self,
        id: Uuid,
        role: InstanceRole,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = sqlx::query("update users set role = $2, updated_at = $3 where id = $1")
            .bind(id.to_string())
            .bind(role.as_str())
            .bind(at.as_millisecond())
            .execute(self.connection())
            .await?;
        found(changed.rows_affected())
    }

    /// Replaces a user's password.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn set_user_password(
        &mut self,
        id: Uuid,
        password: &PasswordHash,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = sqlx::query(
            "update users set password_hash = $2, password_salt = $3, kdf_time = $4, kdf_memory = $5,
                 kdf_threads = $6, updated_at = $7
             where id = $1",
        )
        .bind(id.to_string())
        .bind(&password.hash)
        .bind(&password.salt)
        .bind(i64::from(password.time))
        .bind(i64::from(password.memory))
        .bind(i64::from(password.threads))
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        found(changed.rows_affected())
    }

    /// Lets a user log in, or stops it.
    ///
    /// # Errors
    /// `NotFound` when there is no such user.
    pub async fn set_user_active(
        &mut self,
        id: Uuid,
        active: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = sqlx::query("update users set is_active = $2, updated_at = $3 where id = $1")
            .bind(id.to_string())
            .bind(active)
            .bind(at.as_millisecond())
            .execute(self.connection())
            .await?;
        found(changed.rows_affected())
    }

    /// Removes a user with its sessions, its grants and the scoped sessions it minted. Agents and
    /// vaults that it made stay. Answers whether it existed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_user(&mut self, id: Uuid) -> Result<bool, StoreError> {
        self.delete_actor(ActorRef::user(id)).await?;
        let deleted = sqlx::query("delete from users where id = $1")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// What both kinds of actor leave behind and no foreign key covers.
    pub(crate) async fn delete_actor(&mut self, actor: ActorRef) -> Result<(), StoreError> {
        self.delete_sessions_minted_by(actor, None).await?;
        sqlx::query("delete from vault_grants where actor_id = $1 and actor_type = $2")
            .bind(actor.id.to_string())
            .bind(actor.kind.as_str())
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn found(rows: u64) -> Result<(), StoreError> {
    match rows {
        0 => Err(StoreError::not_found("no such user")),
        _ => Ok(()),
    }
}
