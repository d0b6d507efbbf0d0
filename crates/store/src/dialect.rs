//! What is SQLite's own. A second dialect is a second file like this one and a second migration
//! folder; everything else in the crate is shared text.

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::Connection as _;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{StoreError, StoreErrorKind};

/// The driver.
pub(crate) type Database = sqlx::Sqlite;
/// One connection.
pub(crate) type Connection = sqlx::SqliteConnection;
/// A pool of them.
pub(crate) type Pool = sqlx::SqlitePool;
/// A result row.
pub(crate) type Row = sqlx::sqlite::SqliteRow;

/// How long a statement waits for another process's lock before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a task waits for a free connection of a pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Reader connections. WAL readers never block the writer; a few are enough, since nothing on the
/// request path reads.
const READERS: u32 = 4;

/// Starts a writing transaction and takes the write lock at once: a lock taken later, at the first
/// write, can fail with a snapshot that cannot be waited for.
pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// Starts a transaction that no other process may overlap while the schema changes.
pub(crate) const BEGIN_MIGRATION: &str = "BEGIN EXCLUSIVE";
/// Whether our bookkeeping table is there.
pub(crate) const HAS_MIGRATIONS: &str =
    "select count(*) from sqlite_master where type = 'table' and name = 'schema_migrations'";
/// How many tables there are, ours or not.
pub(crate) const COUNT_TABLES: &str = "select count(*) from sqlite_master where type = 'table'";
/// Structure check without the cost of verifying every index; one finding is enough.
pub(crate) const QUICK_CHECK: &str = "pragma quick_check(1)";
/// Moves everything from the WAL into the database file and empties it, so that overwritten rows
/// leave no copy there.
pub(crate) const TRUNCATE_WAL: &str = "pragma wal_checkpoint(truncate)";

/// Copies the whole database, as one state of it, into the empty file `$1`.
pub(crate) const COPY_INTO: &str = "vacuum into $1";

/// Numbered schema steps, oldest first. Append only: a released step never changes.
pub(crate) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (
        1,
        "0001_initial",
        include_str!("migrations/sqlite/0001_initial.sql"),
    ),
    (
        2,
        "0002_small_log_rows",
        include_str!("migrations/sqlite/0002_small_log_rows.sql"),
    ),
    (
        3,
        "0003_scrubs",
        include_str!("migrations/sqlite/0003_scrubs.sql"),
    ),
    (
        10,
        "0010_people",
        include_str!("migrations/sqlite/0010_people.sql"),
    ),
    (
        20,
        "0020_versions",
        include_str!("migrations/sqlite/0020_versions.sql"),
    ),
    (
        21,
        "0021_audit",
        include_str!("migrations/sqlite/0021_audit.sql"),
    ),
    (
        22,
        "0022_keys",
        include_str!("migrations/sqlite/0022_keys.sql"),
    ),
    (
        30,
        "0030_proposals",
        include_str!("migrations/sqlite/0030_proposals.sql"),
    ),
    (
        40,
        "0040_oauth",
        include_str!("migrations/sqlite/0040_oauth.sql"),
    ),
    (
        45,
        "0045_external_stores",
        include_str!("migrations/sqlite/0045_external_stores.sql"),
    ),
    (
        50,
        "0050_webhooks",
        include_str!("migrations/sqlite/0050_webhooks.sql"),
    ),
    (
        60,
        "0060_token_bounds",
        include_str!("migrations/sqlite/0060_token_bounds.sql"),
    ),
];

/// The statement that appends a number of log rows; written once per process for each number.
///
/// Anonymous parameters: SQLite looks a named one up from the start of the list at each bind, which for
/// thousands of them costs more than all the rest.
pub(crate) fn insert_logs(rows: usize) -> &'static str {
    let sql = format!(
        "insert into request_logs (vault_no, id, source_id, path, latency_ms, scrubs, created_at) values {}",
        vec!["(?, ?, ?, ?, ?, ?, ?)"; rows].join(",")
    );
    Box::leak(sql.into_boxed_str())
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
}

/// The one connection that writes. In SQLite there is one writer per database, so queueing here,
/// fairly, beats fighting for the file lock.
pub(crate) async fn connect_writer(path: &Path) -> Result<Pool, sqlx::Error> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL syncs the WAL at each commit: what was acknowledged survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        // Deleted rows are overwritten with zeros instead of left in free pages.
        .pragma("secure_delete", "on");
    pool(1)
        .before_acquire(|connection, _| Box::pin(is_between_transactions(connection)))
        .connect_with(options)
        .await
}

/// Whether a connection may begin something new; one that may not is replaced.
///
/// A full disk makes SQLite undo a transaction by itself. The rollback that follows fails then, for there is nothing to
/// undo, and the driver goes on believing that the transaction is open: it would refuse every other one.
async fn is_between_transactions(connection: &mut Connection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A rollback may still be on its way; an answer comes after it.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Connections that refuse to write. They are opened read-write, since SQLite's read-only open needs
/// the WAL index to exist already; `query_only` is what forbids writing.
pub(crate) async fn connect_readers(path: &Path) -> Result<Pool, sqlx::Error> {
    pool(READERS)
        .connect_with(options(path).pragma("query_only", "on"))
        .await
}

/// A connection that only reads a database that may be nobody's at this moment, a copy on a read-only disk for example.
pub(crate) async fn connect_to_read(path: &Path) -> Result<Connection, sqlx::Error> {
    let careful = options(path).pragma("query_only", "on");
    match careful.connect().await {
        Ok(connection) => Ok(connection),
        // Without the right to make the index of the write-ahead log, what lies in the file itself is read.
        Err(_) => {
            options(path)
                .read_only(true)
                .immutable(true)
                .connect()
                .await
        }
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Sorts a driver error by SQLite's result code (<https://sqlite.org/rescode.html>): the low byte
/// is the primary code.
pub(crate) fn classify(error: &sqlx::Error) -> StoreErrorKind {
    match error {
        sqlx::Error::Database(error) => classify_code(&**error),
        sqlx::Error::PoolTimedOut => StoreErrorKind::Locked,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreErrorKind::Damaged,
        _ => StoreErrorKind::Internal,
    }
}

/// `SQLITE_CONSTRAINT_TRIGGER`.
const RAISED: i64 = 1811;

fn classify_code(error: &dyn DatabaseError) -> StoreErrorKind {
    match error.kind() {
        ErrorKind::UniqueViolation => return StoreErrorKind::Conflict,
        ErrorKind::ForeignKeyViolation => return StoreErrorKind::NotFound,
        ErrorKind::CheckViolation | ErrorKind::NotNullViolation => return StoreErrorKind::Invalid,
        _ => {}
    }
    let code = error
        .code()
        .and_then(|code| code.parse::<i64>().ok())
        .unwrap_or_default();
    match code & 0xff {
        // A trigger of ours: what was to be written is made with a key that another process has rotated away just now.
        19 if code == RAISED => StoreErrorKind::Locked,
        5 | 6 => StoreErrorKind::Locked,
        8 | 14 => StoreErrorKind::NotWritable,
        11 | 26 => StoreErrorKind::Damaged,
        13 => StoreErrorKind::DiskFull,
        _ => StoreErrorKind::Internal,
    }
}

/// Whether the database passes its structure check.
pub(crate) async fn quick_check(connection: &mut Connection) -> Result<(), StoreError> {
    let finding: String = sqlx::query_scalar(QUICK_CHECK)
        .fetch_one(connection)
        .await?;
    if finding == "ok" {
        Ok(())
    } else {
        Err(StoreError::damaged(format!("it is damaged ({finding})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn kind_of(connection: &mut Connection, sql: &'static str) -> StoreErrorKind {
        let error = StoreError::from(sqlx::raw_sql(sql).execute(connection).await.unwrap_err());
        assert!(!error.message().contains('\n'));
        error.kind()
    }

    #[tokio::test]
    async fn result_codes_become_kinds() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        std::fs::File::create(&path).unwrap();
        let pool = connect_writer(&path).await.unwrap();
        let mut writer = pool.acquire().await.unwrap();
        sqlx::raw_sql("create table t (a integer primary key, b text not null check (b <> 'x')); insert into t values (1, 'y')")
            .execute(&mut *writer)
            .await
            .unwrap();
        for (sql, kind) in [
            ("insert into t values (1, 'y')", StoreErrorKind::Conflict),
            ("insert into t values (2, null)", StoreErrorKind::Invalid),
            ("insert into t values (2, 'x')", StoreErrorKind::Invalid),
            // What SQLite answers when the file may not grow, as on a full disk.
            (
                "pragma max_page_count = 2; insert into t values (3, hex(randomblob(100000)))",
                StoreErrorKind::DiskFull,
            ),
            (
                "pragma query_only = on; insert into t values (4, 'y')",
                StoreErrorKind::NotWritable,
            ),
            ("nonsense", StoreErrorKind::Internal),
        ] {
            assert_eq!(kind_of(&mut writer, sql).await, kind, "{sql}");
        }
        sqlx::raw_sql("pragma query_only = off; begin immediate")
            .execute(&mut *writer)
            .await
            .unwrap();
        let other = pool_with_no_patience(&path).await;
        let mut other = other.acquire().await.unwrap();
        assert_eq!(
            kind_of(&mut other, BEGIN_WRITE).await,
            StoreErrorKind::Locked
        );
    }

    async fn pool_with_no_patience(path: &Path) -> Pool {
        pool(1)
            .connect_with(options(path).busy_timeout(Duration::ZERO))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn writers_are_durable_and_readers_only_read() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.db");
        std::fs::File::create(&path).unwrap();
        let writer = connect_writer(&path).await.unwrap();
        let value = async |pragma: &'static str| {
            sqlx::query_scalar::<_, String>(pragma)
                .fetch_one(&writer)
                .await
                .unwrap()
        };
        assert_eq!(
            value("select journal_mode from pragma_journal_mode").await,
            "wal"
        );
        assert_eq!(
            value("select cast(synchronous as text) from pragma_synchronous").await,
            "2"
        );
        assert_eq!(
            value("select cast(foreign_keys as text) from pragma_foreign_keys").await,
            "1"
        );
        assert_eq!(
            value("select cast(secure_delete as text) from pragma_secure_delete").await,
            "1"
        );
        assert_eq!(
            value("select cast(timeout as text) from pragma_busy_timeout").await,
            "5000"
        );
        let readers = connect_readers(&path).await.unwrap();
        let mut reader = readers.acquire().await.unwrap();
        assert_eq!(
            kind_of(&mut reader, "create table t (a)").await,
            StoreErrorKind::NotWritable
        );
    }
}
