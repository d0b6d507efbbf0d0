//! Vaults.

use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{StoreError, Tx};

/// The id of the seeded vault.
pub const DEFAULT_VAULT_ID: Uuid = Uuid::nil();
/// The name of the seeded vault, which can be neither renamed nor removed (the caller's rule).
pub const DEFAULT_VAULT_NAME: &str = "default";

/// A vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Its id.
    pub id: Uuid,
    /// Its unique name, a slug.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last renamed.
    pub updated_at: Timestamp,
}

pub(crate) fn read(row: &Row) -> Result<Vault, StoreError> {
    Ok(Vault {
        id: row.id("id")?,
        name: row.text("name")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

async fn vaults(connection: &mut Connection) -> Result<Vec<Vault>, StoreError> {
    let rows = sqlx::query("select id, name, created_at, updated_at from vaults order by name")
        .fetch_all(connection)
        .await?;
    row::all(rows, read)
}

async fn vault(connection: &mut Connection, id: Uuid) -> Result<Option<Vault>, StoreError> {
    let row = sqlx::query("select id, name, created_at, updated_at from vaults where id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn vault_by_name(
    connection: &mut Connection,
    name: &str,
) -> Result<Option<Vault>, StoreError> {
    let row = sqlx::query("select id, name, created_at, updated_at from vaults where name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

reads! {
    /// Every vault, by name.
    vaults() -> Vec<Vault>;
    /// The vault with this id.
    vault(id: Uuid) -> Option<Vault>;
    /// The vault with this name.
    vault_by_name(name: &str) -> Option<Vault>;
}

impl Tx {
    /// Adds a vault with an empty list of services.
    ///
    /// # Errors
    /// `Conflict` when the name is taken.
    pub async fn insert_vault(&mut self, vault: &Vault) -> Result<(), StoreError> {
        insert(self.connection(), vault).await
    }

    /// Renames a vault.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `NotFound` when there is no such vault.
    pub async fn rename_vault(
        &mut self,
        id: Uuid,
        name: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let taken = vault_by_name(self.connection(), name)
            .await?
            .is_some_and(|other| other.id != id);
        if taken {
            return Err(name_taken(name));
        }
        let changed = sqlx::query("update vaults set name = $2, updated_at = $3 where id = $1")
            .bind(id.to_string())
            .bind(name)
            .bind(at.as_millisecond())
            .execute(self.connection())
            .await?;
        match changed.rows_affected() {
            0 => Err(StoreError::not_found("no such vault")),
            _ => Ok(()),
        }
    }

    /// Removes a vault and everything in it: credentials, services, settings, grants, scoped
    /// sessions and logs. Answers whether it existed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_vault(&mut self, id: Uuid) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from vaults where id = $1")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}

/// Adds the vault and its empty broker configuration.
pub(crate) async fn insert(connection: &mut Connection, vault: &Vault) -> Result<(), StoreError> {
    let id = vault.id.to_string();
    // `do nothing` instead of an error: no dialect's error text is read, and a transaction that a
    // failed statement would abort elsewhere stays usable.
    let inserted = sqlx::query(
        "insert into vaults (id, name, created_at, updated_at) values ($1, $2, $3, $4) on conflict do nothing",
    )
    .bind(&id)
    .bind(&vault.name)
    .bind(vault.created_at.as_millisecond())
    .bind(vault.updated_at.as_millisecond())
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        return Err(name_taken(&vault.name));
    }
    sqlx::query(
        "insert into broker_configs (vault_id, services_json, revision, created_at, updated_at)
         values ($1, '[]', 0, $2, $2)",
    )
    .bind(&id)
    .bind(vault.created_at.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

fn name_taken(name: &str) -> StoreError {
    StoreError::conflict(format!("a vault named `{name}` already exists"))
}
