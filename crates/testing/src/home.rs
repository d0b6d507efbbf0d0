//! A temporary home folder, and child processes that see nothing of the caller's environment but that.

use std::ffi::{OsStr, OsString};
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Variables of the caller that a child process may keep: finding programs and libraries, nothing else.
const KEPT: [&str; 5] = [
    "PATH",
    "LD_LIBRARY_PATH",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "CARGO_HOME",
];

/// A temporary `HOME`, deleted on drop.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// Makes an empty home folder with mode 0700.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("av-home-")
            .tempdir()
            .expect("a temporary folder");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700))
            .expect("a private folder");
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path inside it.
    #[must_use]
    pub fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Writes a file (mode 0600) inside it, with the folders above it, and returns its path.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(relative);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("folders in a temporary home");
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .expect("a file in a temporary home");
        file.write_all(content.as_ref())
            .expect("room for a small file");
        path
    }

    /// The whole environment of a child: `HOME`, `TMPDIR`, a plain locale, and what is needed to find programs.
    #[must_use]
    pub fn env(&self) -> Vec<(OsString, OsString)> {
        let mut env: Vec<(OsString, OsString)> = KEPT
            .iter()
            .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
            .collect();
        env.push(("HOME".into(), self.path().into()));
        env.push(("TMPDIR".into(), self.path().into()));
        env.push(("LANG".into(), "C.UTF-8".into()));
        env
    }

    /// A command with that environment and this folder as its working folder.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command
            .env_clear()
            .envs(self.env())
            .current_dir(self.path());
        command
    }

    /// The same for tokio; the child is killed when its handle is dropped.
    #[must_use]
    pub fn async_command(&self, program: impl AsRef<OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::from(self.command(program));
        command.kill_on_drop(true);
        command
    }
}

/// A TCP port of 127.0.0.1 that was free a moment ago. Only for programs that cannot take port 0 and tell.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener
        .local_addr()
        .expect("the address of a listening socket")
        .port()
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}
