//! The other processes of a run: this program again in another role. Each prints its address when it is ready, and
//! ends when its standard input does, so that none outlives the run.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

/// A program that runs another one.
#[derive(Clone, Debug)]
pub(crate) struct Wrapper {
    pub(crate) program: OsString,
    /// What stands before the other program's path.
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

/// A child that is ready.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    pid: u32,
    addr: SocketAddr,
}

impl Child {
    /// Starts this program with `arguments` and waits until it listens.
    pub(crate) async fn of_self(arguments: &[&OsStr]) -> anyhow::Result<Self> {
        Self::of_self_in(None, arguments).await
    }

    /// The same, inside another program that runs it, such as one that counts its instructions.
    pub(crate) async fn of_self_in(
        wrapper: Option<&Wrapper>,
        arguments: &[&OsStr],
    ) -> anyhow::Result<Self> {
        let this = std::env::current_exe()?;
        let mut command = match wrapper {
            None => Command::new(this),
            Some(wrapper) => {
                let mut command = Command::new(&wrapper.program);
                command.args(&wrapper.arguments).arg(this);
                command.envs(wrapper.environment.iter().copied());
                command
            }
        };
        let mut process = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().context("a child that has ended")?;
        let stdout = process.stdout.take().context("a child without output")?;
        let line = BufReader::new(stdout)
            .lines()
            .next_line()
            .await?
            .context("a child that did not get ready")?;
        Ok(Self {
            process,
            pid,
            addr: line.parse().context("the address of a child")?,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // `kill_on_drop` ends it; asking first costs nothing.
        drop(self.process.stdin.take());
    }
}

/// Tells the parent where this child listens.
pub(crate) fn ready(addr: SocketAddr) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{addr}")?;
    out.flush()?;
    Ok(())
}

/// Blocks until the parent has gone.
pub(crate) fn wait_for_parent() -> anyhow::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Writes a small file that others wait for.
pub(crate) fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let mut file =
        std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content.as_bytes())?;
    Ok(())
}
