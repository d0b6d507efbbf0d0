//! Settings: small named texts of the instance and of each vault. Their meaning is the caller's.

use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::Connection;
use crate::{StoreError, Tx};

/// The setting that holds this instance's random id, made with the database and never changed.
pub const INSTANCE_ID_KEY: &str = "instance_id";

pub(crate) async fn instance_setting(
    connection: &mut Connection,
    key: &str,
) -> Result<Option<String>, StoreError> {
    Ok(
        sqlx::query_scalar("select value from instance_settings where key = $1")
            .bind(key)
            .fetch_optional(connection)
            .await?,
    )
}

async fn instance_settings(
    connection: &mut Connection,
) -> Result<Vec<(String, String)>, StoreError> {
    Ok(
        sqlx::query_as("select key, value from instance_settings order by key")
            .fetch_all(connection)
            .await?,
    )
}

async fn vault_setting(
    connection: &mut Connection,
    vault_id: Uuid,
    key: &str,
) -> Result<Option<String>, StoreError> {
    Ok(
        sqlx::query_scalar("select value from vault_settings where vault_id = $1 and key = $2")
            .bind(vault_id.to_string())
            .bind(key)
            .fetch_optional(connection)
            .await?,
    )
}

async fn vault_settings(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<(String, String)>, StoreError> {
    Ok(
        sqlx::query_as("select key, value from vault_settings where vault_id = $1 order by key")
            .bind(vault_id.to_string())
            .fetch_all(connection)
            .await?,
    )
}

reads! {
    /// One setting of the instance.
    instance_setting(key: &str) -> Option<String>;
    /// All settings of the instance, by key.
    instance_settings() -> Vec<(String, String)>;
    /// One setting of a vault.
    vault_setting(vault_id: Uuid, key: &str) -> Option<String>;
    /// All settings of a vault, by key.
    vault_settings(vault_id: Uuid) -> Vec<(String, String)>;
}

impl Tx {
    /// Writes a setting of the instance, or removes it with `None`.
    ///
    /// # Errors
    /// `Invalid` for the instance id, which never changes.
    pub async fn put_instance_setting(
        &mut self,
        key: &str,
        value: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        if key == INSTANCE_ID_KEY {
            return Err(StoreError::new(
                crate::StoreErrorKind::Invalid,
                "the instance id never changes",
            ));
        }
        match value {
            Some(value) => write_instance_setting(self.connection(), key, value, at).await,
            None => {
                sqlx::query("delete from instance_settings where key = $1")
                    .bind(key)
                    .execute(self.connection())
                    .await?;
                Ok(())
            }
        }
    }

    /// Writes a setting of a vault, or removes it with `None`.
    ///
    /// # Errors
    /// `NotFound` when there is no such vault.
    pub async fn put_vault_setting(
        &mut self,
        vault_id: Uuid,
        key: &str,
        value: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        match value {
            Some(value) => {
                sqlx::query(
                    "insert into vault_settings (vault_id, key, value, updated_at) values ($1, $2, $3, $4)
                     on conflict (vault_id, key) do update
                         set value = excluded.value, updated_at = excluded.updated_at",
                )
                .bind(vault_id.to_string())
                .bind(key)
                .bind(value)
                .bind(at.as_millisecond())
                .execute(self.connection())
                .await?;
            }
            None => {
                sqlx::query("delete from vault_settings where vault_id = $1 and key = $2")
                    .bind(vault_id.to_string())
                    .bind(key)
                    .execute(self.connection())
                    .await?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn write_instance_setting(
    connection: &mut Connection,
    key: &str,
    value: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into instance_settings (key, value, updated_at) values ($1, $2, $3)
         on conflict (key) do update set value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(key)
    .bind(value)
    .bind(at.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}
