//! The key file: the raw data key of an instance without a master password, beside the database and
//! never in it, so that a copy of the database alone opens nothing.
//!
//! # What a crash can leave
//! The file is written elsewhere, synced, and then appears under its name whole or not at all. It is
//! made before the database's record of it. So a process killed in between leaves a key that nothing
//! was sealed with and no record: the next start finds the file and uses it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use agent_vault_seal::{Keyring, SecretBytes, random_hex};

use crate::UnlockError;
use crate::files::{FILE_MODE, sync_folder};

/// In front of the key, so that a wrong file is told from a key.
const MAGIC: &str = "agent-vault-data-key-1:";
/// Larger files are not ours.
const MAX_FILE_BYTES: u64 = 4096;
/// Rounds of create and read before giving up; each lost round means that another process won.
const MAX_ROUNDS: u32 = 8;

/// The key file of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it lies, or would.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the key; `None` when there is no file. Tightens the file's mode if it is too open.
    ///
    /// # Errors
    /// [`UnlockError::KeyFileUnreadable`] when it cannot be read or holds no key.
    pub fn read(&self) -> Result<Option<Keyring>, UnlockError> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unreadable(error.to_string())),
        };
        let mode = file
            .metadata()
            .map_err(|error| self.unreadable(error.to_string()))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
                .map_err(|error| self.unreadable(error.to_string()))?;
        }
        // Room for the whole file at once, so that no growth leaves a copy of the key behind.
        let mut bytes = Vec::with_capacity(MAX_FILE_BYTES as usize + 1);
        let result = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
        let bytes = SecretBytes::new(bytes);
        result.map_err(|error| self.unreadable(error.to_string()))?;
        parse(&bytes)
            .map(Some)
            .ok_or_else(|| self.unreadable("it holds no key".to_owned()))
    }

    /// Reads the key, or makes the file with the one that `fresh` gives. When several processes do
    /// this at once, all of them answer the same key.
    ///
    /// # Errors
    /// [`UnlockError`] when the file cannot be read or written, or `fresh` fails.
    pub fn read_or_create(
        &self,
        fresh: impl FnOnce() -> Result<Keyring, UnlockError>,
    ) -> Result<Keyring, UnlockError> {
        if let Some(keyring) = self.read()? {
            return Ok(keyring);
        }
        let keyring = fresh()?;
        for _ in 0..MAX_ROUNDS {
            let temporary = self.write_temporary(&keyring)?;
            // A link, unlike a rename, refuses to replace another process's file.
            let linked = fs::hard_link(&temporary, &self.path);
            let outcome = match linked {
                Err(error) if may_lack_links(&error) && !self.path.exists() => {
                    fs::rename(&temporary, &self.path)
                }
                other => other,
            };
            remove(&temporary).map_err(|error| self.unwritable(error))?;
            match outcome {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                    ) => {}
                Err(error) => return Err(self.unwritable(error)),
            }
            sync_folder(&self.path).map_err(|error| self.unwritable(error))?;
            if let Some(keyring) = self.read()? {
                return Ok(keyring);
            }
        }
        Err(self.unreadable("it keeps disappearing".to_owned()))
    }

    /// Writes the key, replacing any other file of this name, whose content is overwritten.
    ///
    /// # Errors
    /// [`UnlockError::KeyFileUnwritable`].
    pub fn replace(&self, keyring: &Keyring) -> Result<(), UnlockError> {
        // Held open, so that it can be wiped once the new one stands in its place.
        let former = to_wipe(&self.path).map_err(|error| self.unwritable(error))?;
        let temporary = self.write_temporary(keyring)?;
        fs::rename(&temporary, &self.path)
            .and_then(|()| sync_folder(&self.path))
            .and_then(|()| former.map_or(Ok(()), wipe))
            .map_err(|error| self.unwritable(error))
    }

    /// Removes the file and what killed processes left of their attempts to write it.
    ///
    /// # Errors
    /// [`UnlockError::KeyFileUnwritable`].
    pub fn remove(&self) -> Result<(), UnlockError> {
        let former = to_wipe(&self.path).map_err(|error| self.unwritable(error))?;
        remove(&self.path)
            .and_then(|()| former.map_or(Ok(()), wipe))
            .and_then(|()| self.remove_temporaries())
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| self.unwritable(error))
    }

    /// Removes leftovers. A process that is creating at this moment starts over and finds the file.
    pub(crate) fn remove_temporaries(&self) -> io::Result<()> {
        let (Some(folder), Some(prefix)) = (self.path.parent(), self.temporary_prefix()) else {
            return Ok(());
        };
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&prefix))
            {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn write_temporary(&self, keyring: &Keyring) -> Result<PathBuf, UnlockError> {
        let suffix = random_hex::<8>()?;
        let name = self.temporary_prefix().unwrap_or_default() + &suffix;
        let temporary = self.path.with_file_name(name);
        let text = render(keyring);
        let write = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&temporary)?;
            file.write_all(text.expose())?;
            file.sync_all()
        };
        write().map_err(|error| {
            // The first error is the one to tell; a leftover is removed at the next chance.
            let _ = fs::remove_file(&temporary);
            self.unwritable(error)
        })?;
        Ok(temporary)
    }

    fn temporary_prefix(&self) -> Option<String> {
        Some(format!(".{}.new-", self.path.file_name()?.to_str()?))
    }

    fn unreadable(&self, reason: String) -> UnlockError {
        UnlockError::KeyFileUnreadable {
            path: self.path.clone(),
            reason,
        }
    }

    fn unwritable(&self, error: io::Error) -> UnlockError {
        UnlockError::KeyFileUnwritable {
            path: self.path.clone(),
            source: error,
        }
    }
}

/// Some network and virtual file systems have no hard links.
fn may_lack_links(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound | io::ErrorKind::StorageFull
    )
}

/// Opens what is to be wiped; `None` where nothing is. A key that cannot be wiped is not left behind in silence.
fn to_wipe(path: &Path) -> io::Result<Option<fs::File>> {
    match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Overwrites a file with zeros. Where a file system writes elsewhere than where the bytes lay, this does nothing for them.
fn wipe(mut file: fs::File) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(file.metadata()?.len().min(MAX_FILE_BYTES)).unwrap_or(0)];
    file.write_all(&zeros)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn render(keyring: &Keyring) -> SecretBytes {
    let exported = keyring.export();
    let mut text = Vec::with_capacity(MAGIC.len() + 2 * exported.len() + 1);
    text.extend_from_slice(MAGIC.as_bytes());
    for byte in exported.expose() {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).map_or(b'0', |digit| digit as u8));
        }
    }
    text.push(b'\n');
    SecretBytes::new(text)
}

fn parse(bytes: &SecretBytes) -> Option<Keyring> {
    let hex = bytes.expose_str().ok()?.trim_end().strip_prefix(MAGIC)?;
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut key = Vec::with_capacity(pairs.len());
    for [high, low] in pairs {
        key.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
    }
    Keyring::from_dek(SecretBytes::new(key)).ok()
}
