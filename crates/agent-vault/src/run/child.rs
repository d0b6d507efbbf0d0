//! The child process: same process group, same terminal, same signals; its exit is ours.
//!
//! What the terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z) reaches the child directly, because it is in our process group; we
//! only outlive it. What somebody sends to us alone is passed on. When the child stops, so do we, so that the shell sees
//! one job; when we are continued, so is the child.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use super::program::Program;
use crate::error::{CliError, Result};
use crate::signals::is_ignored;

/// Added to a signal's number for the exit code of a command that it ended, as shells do.
const SIGNALLED: i32 = 128;

/// Starts the program, waits for its end, and returns its exit code.
pub(super) async fn run(
    program: &Program,
    environment: BTreeMap<OsString, OsString>,
) -> Result<u8> {
    // Before the child exists, so that nothing that it causes is missed. Handlers, unlike ignored signals, are not
    // inherited by the child.
    let mut signals =
        Signals::listen().map_err(|e| CliError::new(format!("cannot listen for signals: {e}")))?;
    let child = Command::new(&program.path)
        .arg0(&program.typed)
        .args(&program.args)
        .env_clear()
        .envs(environment)
        .spawn()
        .map_err(|e| {
            CliError::new(format!(
                "cannot start `{}`: {e}",
                program.typed.to_string_lossy()
            ))
        })?;
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return Err(CliError::new("the command has no process number"));
    };
    loop {
        match wait(pid).map_err(|e| CliError::new(format!("cannot wait for the command: {e}")))? {
            Change::None => {}
            Change::Stopped => {
                // Stopped by the terminal's Ctrl-Z or by itself: the shell should get its prompt back.
                let _ = kill_process(rustix::process::getpid(), Signal::STOP);
                continue;
            }
            Change::Ended(code) => return Ok(code),
        }
        match signals.next().await {
            Event::Child => {}
            Event::Continue => forward(pid, Signal::CONT),
            Event::Always(signal) => forward(pid, signal),
            Event::FromTerminal(signal) if !in_foreground() => forward(pid, signal),
            Event::FromTerminal(_) => {}
        }
    }
}

enum Change {
    None,
    Stopped,
    Ended(u8),
}

fn wait(pid: Pid) -> io::Result<Change> {
    loop {
        return match waitpid(Some(pid), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(None) => Ok(Change::None),
            Ok(Some((_, status))) if status.stopped() => Ok(Change::Stopped),
            Ok(Some((_, status))) => match exit_code(status) {
                Some(code) => Ok(Change::Ended(code)),
                None => continue,
            },
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => Err(e.into()),
        };
    }
}

fn exit_code(status: WaitStatus) -> Option<u8> {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|s| SIGNALLED + s))?;
    Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// The child may have ended a moment ago; it is not reaped before we see that, so its number is still its own.
fn forward(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// True if our process group owns the terminal: then the kernel has sent a key's signal to the child as well.
fn in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

enum Event {
    Child,
    Continue,
    /// Only ever sent by a process.
    Always(Signal),
    /// Sent by a key, or by a process.
    FromTerminal(Signal),
}

/// The signals that are listened for. One that the caller ignores stays ignored, here and in the child, as `nohup` means it.
struct Signals {
    child: Stream,
    resumed: Stream,
    terminate: Heard,
    hangup: Heard,
    user1: Heard,
    user2: Heard,
    interrupt: Heard,
    quit: Heard,
    stop_key: Heard,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let on = |s: Signal| signal(SignalKind::from_raw(s.as_raw()));
        let unless_ignored = |s: Signal| {
            let stream = if is_ignored(s) { None } else { Some(on(s)?) };
            Ok::<Heard, io::Error>(Heard(stream))
        };
        Ok(Signals {
            child: on(Signal::CHILD)?,
            resumed: on(Signal::CONT)?,
            terminate: unless_ignored(Signal::TERM)?,
            hangup: unless_ignored(Signal::HUP)?,
            user1: unless_ignored(Signal::USR1)?,
            user2: unless_ignored(Signal::USR2)?,
            interrupt: unless_ignored(Signal::INT)?,
            quit: unless_ignored(Signal::QUIT)?,
            stop_key: unless_ignored(Signal::TSTP)?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            () = self.terminate.recv() => Event::Always(Signal::TERM),
            () = self.hangup.recv() => Event::Always(Signal::HUP),
            () = self.user1.recv() => Event::Always(Signal::USR1),
            () = self.user2.recv() => Event::Always(Signal::USR2),
            () = self.interrupt.recv() => Event::FromTerminal(Signal::INT),
            () = self.quit.recv() => Event::FromTerminal(Signal::QUIT),
            () = self.stop_key.recv() => Event::FromTerminal(Signal::TSTP),
            _ = self.resumed.recv() => Event::Continue,
            _ = self.child.recv() => Event::Child,
        }
    }
}

/// A signal's stream; for an ignored one there is none, and nothing ever comes.
struct Heard(Option<Stream>);

impl Heard {
    async fn recv(&mut self) {
        match &mut self.0 {
            Some(stream) => {
                stream.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::super::program::Program;

    async fn sh(script: &str) -> u8 {
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            typed: OsString::from("sh"),
            args: vec!["-c".into(), script.into()],
            name: String::from("sh"),
        };
        super::run(
            &program,
            std::iter::once(("PATH".into(), "/usr/bin:/bin".into())).collect(),
        )
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn the_exit_is_the_childs() {
        for (script, code) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 255", 255),
            ("kill -TERM $$", 143),
            ("kill -KILL $$", 137),
        ] {
            assert_eq!(sh(script).await, code, "{script}");
        }
    }

    #[tokio::test]
    async fn the_childs_signals_are_as_in_a_shell() {
        // Nothing is ignored or blocked in the child: SIGPIPE and SIGINT end it.
        assert_eq!(sh("kill -PIPE $$").await, 141);
        assert_eq!(sh("kill -INT $$").await, 130);
    }
}
