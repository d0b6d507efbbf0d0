//! [`Store`]: opening a database, and handing out its connections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::pool::PoolConnection;

use crate::append::Sources;
use crate::dialect::{self, BEGIN_WRITE, Database, Pool, TRUNCATE_WAL};
use crate::files::Location;
use crate::{INSTANCE_ID_KEY, KeyFile, StoreError, StoreErrorKind, Tx, migrate, settings};

/// The database's name in a data folder.
pub const DATABASE_FILE: &str = "agent-vault.db";

/// Attempts to open or to begin while another process holds the lock. Each waits for the busy
/// timeout first, except where SQLite answers at once to avoid a deadlock.
const LOCK_ATTEMPTS: u32 = 4;
/// Pause before the next attempt, times the number of attempts so far.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Databases up to this size are checked whole when opened; beyond, reading all of it would delay
/// the start by seconds, and damage shows when the damaged page is read.
const MAX_CHECKED_BYTES: u64 = 256 * 1024 * 1024;

/// How to open a database.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Now: the time that a new database's first rows get.
    pub now: Timestamp,
}

/// A database. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Pool,
    readers: Pool,
    location: Location,
    instance_id: String,
    log_sources: Sources,
}

impl Store {
    /// Opens the database, and makes it if there is none. `path` is the database file when it ends
    /// in `.db`, else the data folder. Creates the folder with mode 0700 and files with 0600, and
    /// takes excess rights away from existing ones.
    ///
    /// # Errors
    /// [`StoreError`] of kind `NotWritable`, `Damaged`, `NewerSchema`, `Locked` or `DiskFull`, with one
    /// clear message and a hint. A database that is damaged or too new is not touched.
    pub async fn open(path: &Path, options: OpenOptions) -> Result<Self, StoreError> {
        let location = Location::of(path);
        location.prepare()?;
        let mut attempt = 1;
        loop {
            match Self::connect(&location, options).await {
                Err(error) if error.is_transient() && attempt < LOCK_ATTEMPTS => {
                    tokio::time::sleep(LOCK_PAUSE * attempt).await;
                    attempt += 1;
                }
                other => return other.map_err(|error| error.at(location.database())),
            }
        }
    }

    async fn connect(location: &Location, options: OpenOptions) -> Result<Self, StoreError> {
        let writer = dialect::connect_writer(location.database()).await?;
        let opened = async {
            if location.size() <= MAX_CHECKED_BYTES {
                let mut connection = writer.acquire().await?;
                dialect::quick_check(&mut connection).await?;
            }
            migrate::run(&writer, options.now).await?;
            let readers = dialect::connect_readers(location.database()).await?;
            let instance_id =
                settings::instance_setting(&mut *readers.acquire().await?, INSTANCE_ID_KEY)
                    .await?
                    .ok_or_else(|| StoreError::damaged("it has no instance id"))?;
            location.tighten_files()?;
            Ok((readers, instance_id))
        }
        .await;
        match opened {
            Ok((readers, instance_id)) => Ok(Self {
                inner: Arc::new(Inner {
                    writer,
                    readers,
                    location: location.clone(),
                    instance_id,
                    log_sources: Sources::default(),
                }),
            }),
            Err(error) => {
                writer.close().await;
                Err(error)
            }
        }
    }

    /// This instance's random id, made with the database: 32 hex characters.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    pub(crate) fn log_sources(&self) -> &Sources {
        &self.inner.log_sources
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        self.inner.location.database()
    }

    /// The key file beside the database, whether it exists or not.
    pub fn key_file(&self) -> KeyFile {
        self.inner.location.key_file()
    }

    /// Starts a writing transaction. Waits in a fair queue for this process's writer, then for other
    /// processes.
    ///
    /// # Errors
    /// `Locked` when the wait is too long; other kinds when the database does not work.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let mut attempt = 1;
        loop {
            match self.inner.writer.begin_with(BEGIN_WRITE).await {
                Ok(transaction) => return Ok(Tx::new(transaction)),
                Err(error) => {
                    let error = StoreError::from(error);
                    if error.kind() != StoreErrorKind::Locked || attempt >= LOCK_ATTEMPTS {
                        return Err(error.at(self.path()));
                    }
                    tokio::time::sleep(LOCK_PAUSE * attempt).await;
                    attempt += 1;
                }
            }
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.version().await.map(|_| ())
    }

    /// Moves everything into the database file and empties the write-ahead log, so that replaced
    /// rows leave no copy there.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn truncate_wal(&self) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(TRUNCATE_WAL).execute(&mut *writer).await?;
        Ok(())
    }

    /// Writes a consistent copy of the whole database into a file that is empty, without deleted rows. Others go on reading and
    /// writing meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written.
    pub async fn copy_into(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_str().ok_or_else(|| {
            StoreError::new(StoreErrorKind::Invalid, "the path of the copy is not UTF-8")
        })?;
        let mut writer = self.writer().await?;
        sqlx::query(dialect::COPY_INTO)
            .bind(path)
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    /// Closes all connections, after what is running has ended. The last process to close also
    /// empties the write-ahead log.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<Database>, StoreError> {
        Ok(self.inner.readers.acquire().await?)
    }

    /// The writing connection for a single statement that is no management action.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Database>, StoreError> {
        Ok(self.inner.writer.acquire().await?)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path().display())
    }
}
