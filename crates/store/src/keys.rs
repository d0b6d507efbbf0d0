//! The row that says how the data key is protected. The key itself is never in it: it lies wrapped
//! here, or in a file beside the database.

use agent_vault_seal::{Sealed, WrappedKey};
use jiff::Timestamp;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{StoreError, Tx};

/// How the data key is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKey {
    /// In the key file beside the database.
    KeyFile {
        /// Opens with the right key only.
        sentinel: Sealed,
    },
    /// Wrapped with the master password.
    Password {
        /// Opens with the right key only.
        sentinel: Sealed,
        /// The key, wrapped.
        wrapped: WrappedKey,
    },
}

impl MasterKey {
    /// What proves that a key belongs to this database.
    pub fn sentinel(&self) -> &Sealed {
        match self {
            Self::KeyFile { sentinel } | Self::Password { sentinel, .. } => sentinel,
        }
    }
}

fn read(row: &Row) -> Result<MasterKey, StoreError> {
    let sentinel = row.sealed("sentinel")?;
    match row.text("mode")?.as_str() {
        "key-file" => Ok(MasterKey::KeyFile { sentinel }),
        "password" => Ok(MasterKey::Password {
            sentinel,
            wrapped: WrappedKey {
                salt: row.bytes("salt")?,
                memory_kib: row.uint("memory_kib")?,
                iterations: row.uint("iterations")?,
                parallelism: row.uint("parallelism")?,
                sealed: row
                    .opt_bytes("wrapped")?
                    .ok_or_else(|| unreadable("wrapped"))?,
            },
        }),
        _ => Err(unreadable("mode")),
    }
}

async fn master_key(connection: &mut Connection) -> Result<Option<MasterKey>, StoreError> {
    let row = sqlx::query(
        "select mode, sentinel, salt, memory_kib, iterations, parallelism, wrapped from master_key where id = 1",
    )
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

reads! {
    /// How the data key is protected, once there is one.
    master_key() -> Option<MasterKey>;
}

impl Tx {
    /// Stores the record unless there is one: the first writer wins. Answers whether this one was
    /// stored.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn insert_master_key_if_absent(
        &mut self,
        record: &MasterKey,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.master_key().await?.is_some() {
            return Ok(false);
        }
        self.put_master_key(record, at).await?;
        Ok(true)
    }

    /// Stores the record in place of any other.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn put_master_key(
        &mut self,
        record: &MasterKey,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (mode, wrapped) = match record {
            MasterKey::KeyFile { .. } => ("key-file", None),
            MasterKey::Password { wrapped, .. } => ("password", Some(wrapped)),
        };
        sqlx::query(
            "insert into master_key (id, mode, sentinel, salt, memory_kib, iterations, parallelism, wrapped,
                 created_at, updated_at)
             values (1, $1, $2, $3, $4, $5, $6, $7, $8, $8)
             on conflict (id) do update set mode = excluded.mode, sentinel = excluded.sentinel,
                 salt = excluded.salt, memory_kib = excluded.memory_kib, iterations = excluded.iterations,
                 parallelism = excluded.parallelism, wrapped = excluded.wrapped, updated_at = excluded.updated_at",
        )
        .bind(mode)
        .bind(record.sentinel().as_bytes())
        .bind(wrapped.map(|wrapped| wrapped.salt.as_slice()))
        .bind(wrapped.map(|wrapped| i64::from(wrapped.memory_kib)))
        .bind(wrapped.map(|wrapped| i64::from(wrapped.iterations)))
        .bind(wrapped.map(|wrapped| i64::from(wrapped.parallelism)))
        .bind(wrapped.map(|wrapped| wrapped.sealed.as_slice()))
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }
}
