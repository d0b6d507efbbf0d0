//! Bringing a database to this build's schema.

use agent_vault_seal::random_hex;
use jiff::Timestamp;

use crate::dialect::{BEGIN_MIGRATION, COUNT_TABLES, Connection, HAS_MIGRATIONS, MIGRATIONS, Pool};
use crate::error::hint;
use crate::{
    DEFAULT_VAULT_ID, DEFAULT_VAULT_NAME, INSTANCE_ID_KEY, StoreError, StoreErrorKind, Vault,
    settings, vaults,
};

/// Runs what is pending, all of it in one transaction that keeps every other process out: either the
/// database has the whole schema and its seed, or it is as it was.
pub(crate) async fn run(writer: &Pool, now: Timestamp) -> Result<(), StoreError> {
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    {
        let mut connection = writer.acquire().await?;
        if applied(&mut connection).await? == newest {
            return Ok(());
        }
    }
    let mut transaction = writer.begin_with(BEGIN_MIGRATION).await?;
    // Asked again: another process may have been faster.
    let before = applied(&mut transaction).await?;
    for (version, name, sql) in MIGRATIONS
        .iter()
        .filter(|(version, _, _)| *version > before)
    {
        sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
        sqlx::query(
            "insert into schema_migrations (id, name, version, migration_time, applied_at) values ($1, $2, $1, $3, $3)",
        )
        .bind(version)
        .bind(name)
        .bind(now.as_millisecond())
        .execute(&mut *transaction)
        .await?;
    }
    if before == 0 {
        seed(&mut transaction, now).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The newest step that the database has had; 0 for a new one.
async fn applied(connection: &mut Connection) -> Result<i64, StoreError> {
    let ours: i64 = sqlx::query_scalar(HAS_MIGRATIONS)
        .fetch_one(&mut *connection)
        .await?;
    if ours == 0 {
        let tables: i64 = sqlx::query_scalar(COUNT_TABLES)
            .fetch_one(&mut *connection)
            .await?;
        return if tables == 0 {
            Ok(0)
        } else {
            Err(
                StoreError::new(StoreErrorKind::Damaged, "it belongs to another program")
                    .with_hint("choose another data folder"),
            )
        };
    }
    let version: i64 =
        sqlx::query_scalar("select coalesce(max(version), 0) from schema_migrations")
            .fetch_one(&mut *connection)
            .await?;
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    if version > newest {
        return Err(StoreError::new(
            StoreErrorKind::NewerSchema,
            format!("its schema is version {version}, this program knows {newest}"),
        )
        .with_hint(hint::NEWER));
    }
    Ok(version)
}

/// What every instance has from the start: an id of its own, and the vault `default`.
async fn seed(connection: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let instance_id = random_hex::<16>().map_err(|error| {
        StoreError::new(StoreErrorKind::Internal, error.to_string()).because(error)
    })?;
    settings::write_instance_setting(connection, INSTANCE_ID_KEY, &instance_id, now).await?;
    let vault = Vault {
        id: DEFAULT_VAULT_ID,
        name: DEFAULT_VAULT_NAME.to_owned(),
        created_at: now,
        updated_at: now,
    };
    vaults::insert(connection, &vault).await
}

/// Whether a database that is not ours to change can be read as it is.
pub(crate) async fn check_readable(connection: &mut Connection) -> Result<(), StoreError> {
    let newest = MIGRATIONS.last().map_or(0, |(version, _, _)| *version);
    match applied(connection).await? {
        0 => Err(StoreError::new(StoreErrorKind::Damaged, "it is empty")),
        version if version < newest => Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!("its schema is version {version}, and it was not opened by this version yet"),
        )
        .with_hint("use the version of agent-vault that wrote it, or check a copy that this version has opened")),
        _ => Ok(()),
    }
}
