//! The format of a backup: one file with the database and, under a passphrase, the key file.
//!
//! ```text
//! agent-vault-backup 1\n
//! {"program":…,"instance":…,…}\n          the head, readable without a passphrase
//! head of the stream ‖ sealed chunks       bound to both lines
//! ```
//!
//! The stream holds `length(8) ‖ key file ‖ length(8) ‖ database`. Without a passphrase it is sealed with the empty one: that
//! hides nothing, and shows every change and every cut all the same.

use std::io::{self, BufRead, Read, Write};

use agent_vault_seal::{
    STREAM_CHUNK_BYTES, STREAM_HEAD_BYTES, SealError, SecretBytes, StreamOpener, StreamSealer,
};
use serde::{Deserialize, Serialize};

/// The first line.
const MAGIC: &str = "agent-vault-backup 1\n";
/// Longest head.
const MAX_HEAD_BYTES: u64 = 16 * 1024;
/// Largest key file.
const MAX_KEY_BYTES: u64 = 4096;

/// What can be told of a backup without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Version of the program that made it.
    pub(crate) program: String,
    /// The instance's random id.
    pub(crate) instance: String,
    /// When, RFC 3339.
    pub(crate) created_at: String,
    /// Whether the data key is protected by a master password; else it is in a key file.
    pub(crate) master_password: bool,
    /// Whether a passphrase is needed.
    pub(crate) encrypted: bool,
    /// Whether the key file is in it.
    pub(crate) key: bool,
}

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// It is none.
    #[error("this is no backup of agent-vault")]
    Foreign,
    /// A newer program made it.
    #[error("this backup has a format that this version does not know")]
    Newer,
    /// It does not open.
    #[error(
        "the backup does not open: the passphrase is wrong, or the file was changed or cut off"
    )]
    Unopened,
    /// The sealing itself failed.
    #[error("the backup cannot be sealed or opened: {0}")]
    Seal(SealError),
    /// The file failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<SealError> for BackupError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Tampered => Self::Unopened,
            other => Self::Seal(other),
        }
    }
}

/// Writes a backup. Blocks.
pub(crate) fn write(
    out: &mut impl Write,
    head: &Head,
    passphrase: &SecretBytes,
    key: &SecretBytes,
    database: &mut impl Read,
    database_bytes: u64,
) -> Result<(), BackupError> {
    let head = serde_json::to_string(head).map_err(io::Error::other)?;
    let bound = format!("{MAGIC}{head}\n");
    out.write_all(bound.as_bytes())?;
    let sealer = StreamSealer::new(passphrase, bound.as_bytes())?;
    out.write_all(sealer.head())?;
    let mut chunks = Chunks {
        sealer,
        waiting: SecretBytes::new(Vec::new()),
        out,
    };
    chunks.put(&(key.len() as u64).to_be_bytes())?;
    chunks.put(key.expose())?;
    chunks.put(&database_bytes.to_be_bytes())?;
    let mut buffer = vec![0; STREAM_CHUNK_BYTES];
    let mut copied = 0;
    loop {
        let read = database.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        copied += read as u64;
        chunks.put(buffer.get(..read).unwrap_or_default())?;
    }
    if copied != database_bytes {
        return Err(io::Error::other("the copy of the database changed its size").into());
    }
    chunks.end()
}

struct Chunks<'a, W> {
    sealer: StreamSealer,
    waiting: SecretBytes,
    out: &'a mut W,
}

impl<W: Write> Chunks<'_, W> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), BackupError> {
        while !bytes.is_empty() {
            // A full chunk goes out once more is known to follow, so that the last one is never empty by accident.
            if self.waiting.len() == STREAM_CHUNK_BYTES {
                let sealed = self.sealer.seal(self.waiting.expose(), false)?;
                self.out.write_all(&sealed)?;
                self.waiting = SecretBytes::new(Vec::new());
            }
            let room = STREAM_CHUNK_BYTES - self.waiting.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let mut grown = Vec::with_capacity(STREAM_CHUNK_BYTES);
            grown.extend_from_slice(self.waiting.expose());
            grown.extend_from_slice(now);
            self.waiting = SecretBytes::new(grown);
            bytes = later;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), BackupError> {
        let sealed = self.sealer.seal(self.waiting.expose(), true)?;
        Ok(self.out.write_all(&sealed)?)
    }
}

/// A backup whose head has been read.
pub(crate) struct Opened<R> {
    pub(crate) head: Head,
    bound: String,
    input: R,
}

/// Reads the head of a backup.
pub(crate) fn open<R: BufRead>(mut input: R) -> Result<Opened<R>, BackupError> {
    let mut line = |max: u64| -> Result<String, BackupError> {
        let mut line = Vec::new();
        input.by_ref().take(max).read_until(b'\n', &mut line)?;
        String::from_utf8(line).map_err(|_| BackupError::Foreign)
    };
    let magic = line(MAGIC.len() as u64)?;
    if magic != MAGIC {
        return Err(match magic.starts_with("agent-vault-backup ") {
            true => BackupError::Newer,
            false => BackupError::Foreign,
        });
    }
    let text = line(MAX_HEAD_BYTES)?;
    let head = serde_json::from_str(text.trim_end()).map_err(|_| BackupError::Newer)?;
    Ok(Opened {
        head,
        bound: magic + &text,
        input,
    })
}

impl<R: BufRead> Opened<R> {
    /// Reads the rest: answers the key file's content, and writes the database. Nothing that was written may be used unless all of
    /// it was. Blocks.
    pub(crate) fn read(
        mut self,
        passphrase: &SecretBytes,
        database: &mut impl Write,
    ) -> Result<SecretBytes, BackupError> {
        let mut head = [0; STREAM_HEAD_BYTES];
        self.input.read_exact(&mut head).map_err(cut_off)?;
        let mut stream = Opening {
            opener: StreamOpener::new(head, passphrase, self.bound.as_bytes())?,
            input: self.input,
            chunk: SecretBytes::new(Vec::new()),
            at: 0,
            over: false,
        };
        let key_bytes = stream.number()?;
        if key_bytes > MAX_KEY_BYTES {
            return Err(BackupError::Unopened);
        }
        let mut key = Vec::with_capacity(MAX_KEY_BYTES as usize);
        stream.copy(key_bytes, &mut key)?;
        let key = SecretBytes::new(key);
        let database_bytes = stream.number()?;
        stream.copy(database_bytes, database)?;
        if !stream.is_at_end()? {
            return Err(BackupError::Unopened);
        }
        Ok(key)
    }
}

struct Opening<R> {
    opener: StreamOpener,
    input: R,
    chunk: SecretBytes,
    at: usize,
    over: bool,
}

impl<R: BufRead> Opening<R> {
    /// What is left of the present chunk, or the next one; empty at the end.
    fn fill(&mut self) -> Result<&[u8], BackupError> {
        while self.at >= self.chunk.len() && !self.over {
            let mut sealed = Vec::with_capacity(StreamOpener::SEALED_CHUNK_BYTES);
            let bound = StreamOpener::SEALED_CHUNK_BYTES as u64;
            self.input.by_ref().take(bound).read_to_end(&mut sealed)?;
            self.over = self.input.fill_buf()?.is_empty();
            self.chunk = self.opener.open(&sealed, self.over)?;
            self.at = 0;
        }
        Ok(self.chunk.expose().get(self.at..).unwrap_or_default())
    }

    fn copy(&mut self, mut bytes: u64, out: &mut impl Write) -> Result<(), BackupError> {
        while bytes > 0 {
            let available = self.fill()?;
            let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
            let now = available
                .get(..wanted.min(available.len()))
                .unwrap_or_default();
            if now.is_empty() {
                return Err(BackupError::Unopened);
            }
            out.write_all(now)?;
            let read = now.len();
            self.at += read;
            bytes -= read as u64;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<u64, BackupError> {
        let mut bytes = Vec::with_capacity(8);
        self.copy(8, &mut bytes)?;
        let bytes = bytes.try_into().map_err(|_| BackupError::Unopened)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn is_at_end(&mut self) -> Result<bool, BackupError> {
        Ok(self.fill()?.is_empty() && self.over)
    }
}

fn cut_off(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Unopened,
        _ => BackupError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::new(text.as_bytes().to_vec())
    }

    fn made(database: &[u8]) -> Vec<u8> {
        let head = Head {
            program: "1".to_owned(),
            instance: "i".to_owned(),
            created_at: "now".to_owned(),
            master_password: false,
            encrypted: true,
            key: true,
        };
        let mut out = Vec::new();
        let length = database.len() as u64;
        write(
            &mut out,
            &head,
            &secret("pass"),
            &secret("the key"),
            &mut &database[..],
            length,
        )
        .unwrap();
        out
    }

    fn read(bytes: &[u8], passphrase: &str) -> Result<(String, Vec<u8>), BackupError> {
        let mut database = Vec::new();
        let key = open(bytes)?.read(&secret(passphrase), &mut database)?;
        Ok((key.expose_str().unwrap().to_owned(), database))
    }

    #[test]
    fn whole_or_not_at_all() {
        // 23 bytes stand before the database: the second length fills the chunk to the byte.
        for length in [0, 1, STREAM_CHUNK_BYTES - 23, 3 * STREAM_CHUNK_BYTES + 5] {
            let database: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let backup = made(&database);
            assert!(!backup.windows(7).any(|window| window == b"the key"));
            assert_eq!(
                read(&backup, "pass").unwrap(),
                ("the key".to_owned(), database)
            );
            assert!(matches!(read(&backup, "other"), Err(BackupError::Unopened)));
            for cut in [1, 17, backup.len() / 2] {
                assert!(
                    read(&backup[..backup.len() - cut], "pass").is_err(),
                    "{cut}"
                );
            }
            let mut longer = backup.clone();
            longer.push(0);
            assert!(read(&longer, "pass").is_err());
            // The head is bound too.
            let text = String::from_utf8_lossy(&backup).into_owned();
            let at = text.find("\"key\":true").unwrap();
            let mut changed = backup.clone();
            changed.splice(at..at + 10, *b"\"key\":null");
            assert!(read(&changed, "pass").is_err());
        }
        assert!(matches!(
            read(b"SQLite format 3\0", "pass"),
            Err(BackupError::Foreign)
        ));
        assert!(matches!(
            read(b"agent-vault-backup 2\n{}", "pass"),
            Err(BackupError::Newer)
        ));
    }
}
