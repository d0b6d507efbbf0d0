//! The recording upstream as a program: prints its address on the first line, then one JSON line for each request.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use agent_vault_testing::{Alpn, Upstream};
use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// A TLS server on loopback that shows what it receives.
#[derive(Debug, Parser)]
#[command(name = "echo-upstream")]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to write the certificate of the authority that clients must trust, as PEM.
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Where to write the address, as on the first line of the output.
    #[arg(long, value_name = "FILE")]
    addr_out: Option<PathBuf>,
    /// Where to append the requests, one JSON object a line; `-` is the standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    log: PathBuf,
    /// Speak without TLS.
    #[arg(long)]
    plain: bool,
    /// Which HTTP versions to offer.
    #[arg(long, value_enum, default_value_t = Versions::Both)]
    versions: Versions,
    /// A further name or address for the certificate, beside localhost, 127.0.0.1 and ::1.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Serve git repositories below /git/ to this user, given as `user:password`.
    #[arg(long, value_name = "USER:PASSWORD")]
    git: Option<String>,
    /// An empty repository to make below /git/.
    #[arg(long, value_name = "NAME", requires = "git")]
    git_repository: Vec<String>,
    /// Answer everything with a small fixed body as fast as possible and record nothing.
    #[arg(long)]
    bench: bool,
    /// The length of that body in bytes.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "bench")]
    plain_response_bytes: usize,
    /// End when the standard input ends, so that no server outlives whoever started it.
    #[arg(long)]
    until_stdin_ends: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Versions {
    Both,
    H1,
    H2,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut builder = Upstream::builder()
        .listen(arguments.listen)
        .alpn(match arguments.versions {
            Versions::Both => Alpn::Both,
            Versions::H1 => Alpn::H1Only,
            Versions::H2 => Alpn::H2Only,
        });
    for name in &arguments.name {
        builder = builder.name(name);
    }
    if arguments.plain {
        builder = builder.plain();
    }
    if let Some((user, password)) = arguments
        .git
        .as_deref()
        .and_then(|pair| pair.split_once(':'))
    {
        builder = builder.git(user, password);
    }
    if arguments.bench {
        builder = builder.bench(arguments.plain_response_bytes);
    } else {
        let log = Mutex::new(open_log(&arguments.log)?);
        builder = builder.observer(move |request| {
            let Ok(mut log) = log.lock() else { return };
            // Whoever read the log may have left; the server goes on.
            writeln!(log, "{}", request.to_json())
                .and_then(|()| log.flush())
                .unwrap_or_default();
        });
    }
    let upstream = builder.start();
    for name in &arguments.git_repository {
        upstream.git_repository(name);
    }
    if let Some(path) = &arguments.ca_out {
        replace(path, upstream.ca_pem())?;
    }
    let line = format!("{}\n", upstream.addr());
    if let Some(path) = &arguments.addr_out {
        replace(path, &line)?;
    }
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot print the address")?;
    drop(out);
    wait(arguments.until_stdin_ends)
}

/// Waits for SIGINT, SIGTERM, or the end of the standard input where that is wanted.
fn wait(until_stdin_ends: bool) -> anyhow::Result<()> {
    // Reading the standard input blocks, so it has a thread of its own, which the end of the process ends.
    let (end, mut ended) = oneshot::channel();
    if until_stdin_ends {
        std::thread::spawn(move || {
            io::copy(&mut io::stdin(), &mut io::sink()).unwrap_or_default();
            end.send(()).unwrap_or_default();
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = &mut ended, if until_stdin_ends => {}
        }
        Ok(())
    })
}

fn open_log(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::options().create(true).append(true).open(path);
    Ok(Box::new(file.with_context(|| {
        format!("cannot open {}", path.display())
    })?))
}

/// Writes a file that appears whole or not at all.
fn replace(path: &Path, content: &str) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    file.write_all(content.as_bytes())?;
    file.persist(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
