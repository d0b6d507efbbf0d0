//! Where the files lie, and with which modes: folder 0700, files 0600, without relying on the umask.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::open::DATABASE_FILE;
use crate::{KeyFile, StoreError, StoreErrorKind};

const FOLDER_MODE: u32 = 0o700;
/// Mode of every file that is ours: the owner reads and writes.
pub(crate) const FILE_MODE: u32 = 0o600;

/// The paths of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    folder: PathBuf,
    database: PathBuf,
    key_file: PathBuf,
    /// The folder is ours to tighten: the caller named it as the data folder.
    owns_folder: bool,
}

impl Location {
    /// `path` is the database when it ends in `.db`, else the data folder.
    pub(crate) fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "db") {
            let folder = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
                _ => PathBuf::from("."),
            };
            let key_file = if path.file_name().is_some_and(|name| name == DATABASE_FILE) {
                folder.join("data.key")
            } else {
                path.with_extension("key")
            };
            Self {
                folder,
                database: path.to_path_buf(),
                key_file,
                owns_folder: false,
            }
        } else {
            Self {
                folder: path.to_path_buf(),
                database: path.join(DATABASE_FILE),
                key_file: path.join("data.key"),
                owns_folder: true,
            }
        }
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    pub(crate) fn key_file(&self) -> KeyFile {
        KeyFile::at(self.key_file.clone())
    }

    /// Makes folder and database file with their modes before SQLite opens anything, and tightens
    /// what is there.
    pub(crate) fn prepare(&self) -> Result<(), StoreError> {
        self.prepare_folder()?;
        if self.database.is_dir() {
            return Err(StoreError::new(
                StoreErrorKind::NotWritable,
                format!(
                    "`{}` is a folder, not a database file",
                    self.database.display()
                ),
            ));
        }
        // Created by us with its mode: SQLite would use the umask. The WAL and its index take over the
        // database file's mode.
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&self.database)
            .map_err(|error| StoreError::file("open the database", &self.database, error))?;
        self.tighten_files()
    }

    /// Sets the modes of the database and of the files that SQLite keeps beside it.
    pub(crate) fn tighten_files(&self) -> Result<(), StoreError> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.database.clone().into_os_string();
            path.push(suffix);
            tighten(Path::new(&path), FILE_MODE)
                .map_err(|error| StoreError::file("set the mode of", Path::new(&path), error))?;
        }
        Ok(())
    }

    pub(crate) fn size(&self) -> u64 {
        fs::metadata(&self.database).map_or(0, |metadata| metadata.len())
    }

    fn prepare_folder(&self) -> Result<(), StoreError> {
        if !self.folder.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(&self.folder)
                .map_err(|error| StoreError::file("create the data folder", &self.folder, error))?;
        }
        // A folder that holds other things as well (a home folder, /tmp) is not ours to close.
        let ours = self.owns_folder
            && (self.database.exists() || is_empty(&self.folder).unwrap_or(false))
            && fs::metadata(&self.folder).is_ok_and(|metadata| metadata.mode() & 0o1000 == 0);
        if ours {
            tighten(&self.folder, FOLDER_MODE)
                .map_err(|error| StoreError::file("set the mode of", &self.folder, error))?;
        }
        Ok(())
    }
}

/// Takes the rights of group and others away. A missing file is fine; one that belongs to somebody
/// else is an error, since it cannot be made safe.
fn tighten(path: &Path, mode: u32) -> io::Result<()> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        // SQLite may remove its files at any moment.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// Makes what was done in a folder (create, link, rename, remove) durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}
