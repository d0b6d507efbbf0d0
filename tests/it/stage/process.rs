//! Child processes that end, or are ended: their output, exit and signals, each wait with a deadline.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_vault_testing::{Home, PATIENCE};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::binary;

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// A command line before it runs.
pub(crate) struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    shown: String,
}

/// A child that runs.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    shown: String,
}

/// How a child ended and what it said.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: String,
}

/// What a child has written so far.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Run {
    /// `agent-vault`, in `home`.
    pub(crate) fn agent_vault(home: &Home) -> Self {
        Self::program(home, binary::agent_vault())
    }

    /// Any program, in `home`.
    pub(crate) fn program(home: &Home, program: impl AsRef<OsStr>) -> Self {
        let shown = Path::new(program.as_ref())
            .file_name()
            .unwrap_or(program.as_ref())
            .to_string_lossy()
            .into_owned();
        let mut command = home.command(program);
        // No terminal of whoever runs the tests takes part, and all that it starts can be ended with it.
        command.process_group(0);
        Self {
            command,
            stdin: None,
            shown,
        }
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self.shown = format!("{} {}", self.shown, arguments.join(" "));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs(mut self, variables: &[(&str, &str)]) -> Self {
        self.command.envs(variables.iter().copied());
        self
    }

    pub(crate) fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Everything that the child reads; without it, stdin is empty.
    pub(crate) fn stdin(mut self, content: impl AsRef<[u8]>) -> Self {
        self.stdin = Some(content.as_ref().to_vec());
        self
    }

    /// Starts it.
    pub(crate) fn spawn(mut self) -> Running {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", self.shown));
        let mut stdin = child.stdin.take().expect("a pipe");
        if let Some(content) = self.stdin {
            // A thread, since a child that does not read would hold us; a child that has left is no failure.
            std::thread::spawn(move || stdin.write_all(&content).unwrap_or_default());
        }
        let stdout = Output::of(child.stdout.take().expect("a pipe"));
        let stderr = Output::of(child.stderr.take().expect("a pipe"));
        Running {
            child,
            stdout,
            stderr,
            shown: self.shown,
        }
    }

    /// Starts it with a stdin that stays open until the returned end is dropped.
    pub(crate) fn spawn_open(mut self) -> (Running, impl Write) {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", self.shown));
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = Output::of(child.stdout.take().expect("a pipe"));
        let stderr = Output::of(child.stderr.take().expect("a pipe"));
        let running = Running {
            child,
            stdout,
            stderr,
            shown: self.shown,
        };
        (running, stdin)
    }

    /// Runs it to its end.
    pub(crate) fn finish(self) -> Outcome {
        self.spawn().finish()
    }

    /// Runs it and insists on success.
    pub(crate) fn succeed(self) -> Outcome {
        let outcome = self.finish();
        assert!(outcome.status.success(), "{outcome:?}");
        outcome
    }

    /// Runs it and insists on that exit code.
    pub(crate) fn fail(self, code: i32) -> Outcome {
        let outcome = self.finish();
        assert_eq!(outcome.status.code(), Some(code), "{outcome:?}");
        outcome
    }
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process number")
    }

    /// Sends it a signal. Its number is its own until [`Running::finish`] has reaped it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child to signal");
    }

    /// Kills it with all that it started.
    fn kill(&mut self) {
        kill_process_group(self.pid(), Signal::KILL).unwrap_or_default();
        self.child.wait().ok();
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Outcome {
        self.finish_within(2 * PATIENCE)
    }

    /// The same for what takes long by its nature.
    pub(crate) fn finish_within(mut self, patience: Duration) -> Outcome {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            if Instant::now() > deadline {
                self.kill();
                panic!(
                    "`{}` did not end; stdout: {}; stderr: {}",
                    self.shown,
                    self.stdout.text(),
                    self.stderr.text()
                );
            }
            std::thread::sleep(POLL);
        };
        Outcome {
            status,
            stdout: self.stdout.to_end(),
            stderr: self.stderr.to_end(),
            shown: std::mem::take(&mut self.shown),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a test that fails leaves a child behind.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

impl Outcome {
    /// The exit code as a shell would show it.
    pub(crate) fn shell_code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|signal| 128 + signal))
            .expect("an exit code or a signal")
    }

    /// Insists that stderr holds each of `parts`.
    pub(crate) fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:?}");
        }
        self
    }

    /// Insists that the failure is one `error:` line, at least one `hint:` line after it, and nothing twice.
    pub(crate) fn one_error_with_hint(&self) -> &Self {
        let errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        assert_eq!(errors, 1, "{self:?}");
        let error = self.stderr.find("error: ").expect("found above");
        let hint = self.stderr.find("hint: ");
        assert!(
            hint.is_some_and(|hint| hint > error),
            "no hint after the error: {self:?}"
        );
        assert!(
            !self.stderr.contains("Usage:"),
            "usage text after a run-time error: {self:?}"
        );
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// stdout as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}--- stderr\n{}---",
            self.shown, self.status, self.stdout, self.stderr
        )
    }
}

impl Output {
    /// Reads `source` to its end, on a thread of its own.
    pub(crate) fn of(mut source: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 8192];
            loop {
                let read = source.read(&mut buffer).unwrap_or(0);
                let mut state = writer.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.bytes.extend_from_slice(&buffer[..read]);
                state.ended = read == 0;
                writer.changed.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        Self(shared)
    }

    /// What there is so far.
    pub(crate) fn text(&self) -> String {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&state.bytes).into_owned()
    }

    /// Waits until `found` finds something in the text.
    pub(crate) fn wait_for<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let text = String::from_utf8_lossy(&state.bytes);
            if let Some(value) = found(&text) {
                return value;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !state.ended && !left.is_zero(),
                "waited in vain for {what}; there is: {text}"
            );
            state = self
                .0
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for `part` at most that long, or says that it did not come.
    pub(crate) fn reaches(&self, part: &str, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let text = String::from_utf8_lossy(&state.bytes);
            if text.contains(part) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return Err(format!("{part:?} did not come; there is: {text}"));
            }
            state = self
                .0
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for `part`.
    pub(crate) fn wait_for_text(&self, part: &str) {
        self.wait_for(&format!("{part:?}"), |text| {
            text.contains(part).then_some(())
        });
    }

    /// Everything, once the other end is closed.
    fn to_end(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "a child has ended, but something holds its output open"
            );
            state = self
                .0
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        String::from_utf8_lossy(&state.bytes).into_owned()
    }
}
