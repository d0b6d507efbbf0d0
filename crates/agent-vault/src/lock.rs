//! One server per data folder, and which process it is.
//!
//! A server holds an advisory lock on `agent-vault.lock` for as long as it lives; the kernel drops it with the process.
//! So a lock that is held proves that the recorded process is our server, and a number left behind by a crash is never
//! mistaken for one. `agent-vault.pid` is written beside it for scripts.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Result};
use crate::home::{Home, write_atomically};

const LOCK_FILE: &str = "agent-vault.lock";
const PID_FILE: &str = "agent-vault.pid";
/// How long a start waits for a reader that holds the lock only to look.
const LOOK_ASIDE: Duration = Duration::from_millis(300);
const STOP_POLL: Duration = Duration::from_millis(50);

/// Who holds the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Process number of the server.
    pub(crate) pid: u32,
    /// Base address of its management API on this machine.
    pub(crate) address: String,
}

/// The held lock; dropping it lets the next server in.
pub(crate) struct ServerLock {
    file: File,
    home: Home,
    after_crash: bool,
}

impl ServerLock {
    /// Takes the data folder for this process.
    ///
    /// # Errors
    /// Another server holds it; the folder cannot be written.
    pub(crate) fn acquire(home: &Home) -> Result<ServerLock> {
        home.create()?;
        let path = home.path(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| {
                CliError::new(format!(
                    "cannot write in the data folder: {}: {e}",
                    path.display()
                ))
            })?;
        let start = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    // Whoever stops in order leaves it empty.
                    let after_crash = file.metadata().is_ok_and(|left| left.len() > 0);
                    return Ok(ServerLock {
                        file,
                        home: home.clone(),
                        after_crash,
                    });
                }
                Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < LOOK_ASIDE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let who = running(home)?
                        .map_or_else(String::new, |r| format!(" (pid {}, {})", r.pid, r.address));
                    return Err(CliError::new(format!(
                        "a server already runs on {}{who}",
                        home.dir().display()
                    ))
                    .hint("stop it with `agent-vault server stop`"));
                }
                Err(e) => {
                    return Err(CliError::new(format!(
                        "cannot lock {}: {}",
                        path.display(),
                        io::Error::from(e)
                    )));
                }
            }
        }
    }

    /// Whether the server before this one was killed, or the machine stopped under it.
    pub(crate) fn is_after_crash(&self) -> bool {
        self.after_crash
    }

    /// Records that this process serves at `address`, once it does.
    pub(crate) fn announce(&mut self, address: &str) -> Result {
        let running = Running {
            pid: std::process::id(),
            address: address.to_owned(),
        };
        let text = serde_json::to_vec(&running).map_err(|e| CliError::new(e.to_string()))?;
        self.file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(&text))
            .map_err(|e| CliError::new(format!("cannot record the running server: {e}")))?;
        write_atomically(
            &self.home.path(PID_FILE),
            format!("{}\n", running.pid).as_bytes(),
            0o600,
        )
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        // The lock file itself stays: removing it would let two servers lock two files of one name.
        let _ = self.file.set_len(0);
        let _ = std::fs::remove_file(self.home.path(PID_FILE));
    }
}

/// The server that holds this data folder now, if any does.
pub(crate) fn running(home: &Home) -> Result<Option<Running>> {
    let mut file = match File::open(home.path(LOCK_FILE)) {
        Ok(file) => file,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(e) => {
            return Err(CliError::new(format!(
                "cannot look for a running server: {e}"
            )));
        }
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            file.read_to_string(&mut text)
                .map_err(|e| CliError::new(format!("cannot look for a running server: {e}")))?;
            // Held but not announced: a server in mid-start.
            Ok(Some(serde_json::from_str(&text).unwrap_or(Running {
                pid: 0,
                address: String::from("starting"),
            })))
        }
        Err(e) => Err(CliError::new(format!(
            "cannot look for a running server: {}",
            io::Error::from(e)
        ))),
    }
}

/// Asks the server of this data folder to stop and waits for it, up to `patience`.
///
/// # Errors
/// No server runs; it does not end in time.
pub(crate) fn stop(home: &Home, patience: Duration) -> Result<Running> {
    let Some(server) = running(home)? else {
        let _ = std::fs::remove_file(home.path(PID_FILE));
        return Err(CliError::new(format!(
            "no server runs on {}",
            home.dir().display()
        )));
    };
    let Some(pid) = i32::try_from(server.pid).ok().and_then(Pid::from_raw) else {
        return Err(CliError::new("the server is still starting").hint("try again in a moment"));
    };
    signal(home, pid, &server)?;
    let start = Instant::now();
    while running(home)?.is_some_and(|r| r.pid == server.pid) {
        if start.elapsed() > patience {
            return Err(CliError::new(format!(
                "the server (pid {}) did not stop within {} s",
                server.pid,
                patience.as_secs()
            ))
            .hint(format!(
                "`kill -9 {}` ends it; nothing acknowledged is lost",
                server.pid
            )));
        }
        std::thread::sleep(STOP_POLL);
    }
    Ok(server)
}

/// Signals the process that holds the lock and no other: the handle is taken first, then the lock is looked at again.
#[cfg(target_os = "linux")]
fn signal(home: &Home, pid: Pid, server: &Running) -> Result {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let failed = |e: rustix::io::Errno| {
        CliError::new(format!(
            "cannot signal the server (pid {}): {}",
            server.pid,
            io::Error::from(e)
        ))
    };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        // An old kernel, or a sandbox without it.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            return rustix::process::kill_process(pid, Signal::TERM).map_err(failed);
        }
        Err(e) => return Err(failed(e)),
    };
    if running(home)?.as_ref() != Some(server) {
        return Ok(());
    }
    pidfd_send_signal(&handle, Signal::TERM).map_err(failed)
}

#[cfg(not(target_os = "linux"))]
fn signal(_home: &Home, pid: Pid, server: &Running) -> Result {
    rustix::process::kill_process(pid, Signal::TERM).map_err(|e| {
        CliError::new(format!(
            "cannot signal the server (pid {}): {}",
            server.pid,
            io::Error::from(e)
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ServerLock, running, stop};
    use crate::home::{Home, write_atomically};

    #[test]
    fn one_holder_at_a_time_and_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        assert_eq!(running(&home).unwrap(), None);
        let mut lock = ServerLock::acquire(&home).unwrap();
        lock.announce("http://127.0.0.1:1").unwrap();
        assert_eq!(running(&home).unwrap().unwrap().pid, std::process::id());
        let error = ServerLock::acquire(&home).err().unwrap();
        assert!(error.message().contains("http://127.0.0.1:1"));
        drop(lock);
        assert_eq!(running(&home).unwrap(), None);
        drop(ServerLock::acquire(&home).unwrap());
    }

    #[test]
    fn w37_w49_a_stale_pid_file_names_a_stranger_who_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().to_owned());
        // This very process: a stop that believed the file would end the test.
        write_atomically(
            &home.path("agent-vault.pid"),
            format!("{}\n", std::process::id()).as_bytes(),
            0o600,
        )
        .unwrap();
        assert!(
            stop(&home, Duration::from_secs(1))
                .unwrap_err()
                .message()
                .contains("no server runs")
        );
        assert!(!home.path("agent-vault.pid").exists());
    }
}
