//! What the proxy costs, beside a bare TLS-to-TLS relay on hyper and rustls and the peers that are installed, in one run.
//!
//! Upstream, relay, product and peers each run in a process of their own, so that the processor time of each can be read
//! alone. Rounds alternate between them, so that all meet the same weather.

mod child;
mod cpu;
mod instructions;
mod load;
mod peers;
mod plane;
mod relay;
mod report;
mod row;
mod target;
mod upstream;
mod vault;

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_vault_testing::Home;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::child::{Child, Wrapper};
use crate::load::Load;
use crate::report::{PRODUCT, RELAY, Report};
use crate::row::{ROWS, Row, Version, Work};
use crate::target::{Kind, Target};

/// Measures Agent Vault against a bare relay and its peers.
#[derive(Debug, Parser)]
#[command(name = "agent-vault-bench")]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Counts instructions for each request with valgrind, and compares them with what is checked in.
    Instructions {
        /// The counts to compare with.
        #[arg(long, value_name = "FILE", default_value = "bench/instructions.json")]
        checked_in: PathBuf,
        /// Write the counts there instead.
        #[arg(long)]
        update: bool,
        /// Keep the profiles in this folder, for `callgrind_annotate`.
        #[arg(long, value_name = "FOLDER")]
        profiles: Option<PathBuf>,
    },
    /// The upstream.
    #[command(hide = true)]
    Upstream {
        #[arg(long)]
        ca_out: PathBuf,
        #[arg(long)]
        bytes: usize,
        #[arg(long)]
        http1: bool,
    },
    /// The data plane by itself.
    #[command(hide = true)]
    Plane {
        #[arg(long)]
        ca_out: PathBuf,
        #[arg(long)]
        token_out: PathBuf,
        #[arg(long)]
        upstream_ca: PathBuf,
        #[arg(long)]
        authority: String,
    },
    /// The bare relay.
    #[command(hide = true)]
    Relay {
        #[arg(long)]
        ca_out: PathBuf,
        #[arg(long)]
        upstream_ca: PathBuf,
        #[arg(long)]
        http1: bool,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// The product's binary; it is set up in a temporary home [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    agent_vault: Option<PathBuf>,
    #[command(flatten)]
    running: Running,
    /// Only rows whose name contains one of these.
    #[arg(long, value_name = "TEXT")]
    row: Vec<String>,
    /// Leave out the peers that are installed.
    #[arg(long)]
    no_peers: bool,
    /// Rounds of each target and row; the median of the rounds is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each round, after one second of warming up.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Bytes of each small answer.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// MiB of each large transfer.
    #[arg(long, default_value_t = 1024)]
    bulk: u64,
    /// Connections, in the place of those of each row.
    #[arg(long)]
    connections: Option<usize>,
    /// Let new tunnels resume TLS sessions.
    #[arg(long)]
    resume: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Also write `results.json`, `results.md` and `results.svg` into this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// A proxy that runs already, set up by somebody else for the upstream at `--upstream`. Rows that need more than one
/// service are left out.
#[derive(Debug, Args)]
struct Running {
    /// Its address.
    #[arg(long, value_name = "ADDRESS", requires_all = ["proxy_pid", "proxy_ca", "proxy_token", "upstream"])]
    proxy: Option<SocketAddr>,
    /// Its process, whose processor time is read.
    #[arg(long, value_name = "PID")]
    proxy_pid: Option<u32>,
    /// The certificate of its authority, as PEM.
    #[arg(long, value_name = "FILE")]
    proxy_ca: Option<PathBuf>,
    /// The agent's token, or `token:vault`.
    #[arg(long, env = "AGENT_VAULT_TOKEN", hide_env_values = true)]
    proxy_token: Option<String>,
    /// `host:port` of an upstream that runs already.
    #[arg(long, value_name = "AUTHORITY", requires = "upstream_ca")]
    upstream: Option<String>,
    /// The certificate of that upstream's authority, as PEM, for the relay.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// That upstream speaks HTTP/1.1 only.
    #[arg(long)]
    upstream_http1: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Upstream {
            ca_out,
            bytes,
            http1,
        }) => upstream::main(&ca_out, bytes, http1),
        Some(Role::Relay {
            ca_out,
            upstream_ca,
            http1,
        }) => relay::main(&ca_out, &upstream_ca, http1),
        Some(Role::Plane {
            ca_out,
            token_out,
            upstream_ca,
            authority,
        }) => plane::main(&ca_out, &token_out, &upstream_ca, &authority),
        Some(Role::Instructions {
            checked_in,
            update,
            profiles,
        }) => one_thread(async move {
            let counts = instructions::count(profiles.as_deref()).await?;
            instructions::compare(&counts, &checked_in, update)
        }),
        None => one_thread(run(arguments.run)),
    }
}

/// One thread makes the load, so that it leaves the other cores to what is measured.
fn one_thread(run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run)
}

/// Progress, for whoever waits.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody may be listening, which is no reason to stop.
    writeln!(out, "{line}").unwrap_or_default();
}

/// `given`, or the product beside this program.
fn binary(given: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    if given.is_some() {
        return Ok(given);
    }
    let beside = std::env::current_exe()?.with_file_name("agent-vault");
    Ok(beside.is_file().then_some(beside))
}

/// Starts an upstream that offers `offered`: itself, its authority, and the file with its certificate.
pub(crate) async fn start_upstream(
    home: &Home,
    offered: Version,
    bytes: usize,
) -> anyhow::Result<(Child, String, PathBuf)> {
    let ca = home.join(format!("upstream-{offered}.pem"));
    let bytes = bytes.to_string();
    let mut arguments = ["upstream", "--bytes", &bytes, "--ca-out"]
        .map(OsStr::new)
        .to_vec();
    arguments.push(ca.as_os_str());
    if offered == Version::H1 {
        arguments.push("--http1".as_ref());
    }
    let child = Child::of_self(&arguments).await?;
    let authority = format!("localhost:{}", child.addr().port());
    Ok((child, authority, ca))
}

/// Starts a relay to an upstream that offers `offered`.
pub(crate) async fn start_relay(
    home: &Home,
    authority: &str,
    upstream_ca: &Path,
    offered: Version,
    wrapper: Option<&Wrapper>,
) -> anyhow::Result<(Child, Target)> {
    let ca = home.join(format!("relay-{offered}.pem"));
    let mut arguments: Vec<&OsStr> = vec![
        "relay".as_ref(),
        "--ca-out".as_ref(),
        ca.as_os_str(),
        "--upstream-ca".as_ref(),
        upstream_ca.as_os_str(),
    ];
    if offered == Version::H1 {
        arguments.push("--http1".as_ref());
    }
    let relay = Child::of_self_in(wrapper, &arguments).await?;
    let pem = std::fs::read_to_string(&ca).context("the relay's certificate")?;
    let (pid, addr) = (relay.pid(), relay.addr());
    let target = Target::new(RELAY, Kind::Relay, pid, addr, &pem, authority, &[]);
    Ok((relay, target))
}

async fn run(run: Run) -> anyhow::Result<()> {
    let mut report = Report::default();
    let binary = if run.running.proxy.is_some() {
        None
    } else {
        binary(run.agent_vault.clone())?
    };
    for offered in [Version::H1, Version::H2] {
        let rows: Vec<Row> = ROWS
            .into_iter()
            .filter(|row| row.upstream == offered && run.wants(row, offered))
            .collect();
        if !rows.is_empty() {
            against(&run, binary.as_deref(), offered, &rows, &mut report).await?;
        }
    }
    let mut out = std::io::stdout().lock();
    if run.json {
        writeln!(out, "{:#}", report.to_json())?;
    } else {
        write!(out, "{}", report.to_text())?;
    }
    if let Some(folder) = &run.out {
        std::fs::create_dir_all(folder)?;
        child::write(
            &folder.join("results.json"),
            &format!("{:#}\n", report.to_json()),
        )?;
        child::write(&folder.join("results.md"), &report.to_text())?;
        child::write(&folder.join("results.svg"), &report.to_svg())?;
    }
    Ok(())
}

impl Run {
    fn wants(&self, row: &Row, offered: Version) -> bool {
        let named = self.row.is_empty() || self.row.iter().any(|text| row.name.contains(text));
        let reachable = self.running.upstream.is_none()
            || self.running.upstream_http1 == (offered == Version::H1);
        named && reachable
    }
}

/// Measures `rows`, whose upstream offers `offered`, through every target.
async fn against(
    run: &Run,
    binary: Option<&Path>,
    offered: Version,
    rows: &[Row],
    report: &mut Report,
) -> anyhow::Result<()> {
    let home = Home::new();
    let running = &run.running;
    let (upstream, authority, upstream_ca) = match (&running.upstream, &running.upstream_ca) {
        (Some(authority), Some(ca)) => (None, authority.clone(), ca.clone()),
        _ => {
            let (child, authority, ca) = start_upstream(&home, offered, run.bytes).await?;
            (Some(child), authority, ca)
        }
    };
    let (relay, relay_target) = start_relay(&home, &authority, &upstream_ca, offered, None).await?;
    let mut targets = vec![relay_target];
    let mut vault = None;
    if let Some(binary) = binary {
        let product = vault::setup(binary, &authority, &upstream_ca).await?;
        targets.push(product.target(&authority));
        if offered == Version::H1 && run.row.is_empty() {
            report.set_run_overhead(product.run_overhead(15)?);
        }
        vault = Some(product);
    } else if let Running {
        proxy: Some(proxy),
        proxy_pid: Some(pid),
        proxy_ca: Some(ca),
        proxy_token,
        ..
    } = running
    {
        let pem = std::fs::read_to_string(ca).context("the proxy's certificate")?;
        let token: Vec<String> = proxy_token.iter().cloned().collect();
        targets.push(Target::new(
            PRODUCT,
            Kind::Running,
            *pid,
            *proxy,
            &pem,
            &authority,
            &token,
        ));
    }
    let peers = if run.no_peers || !rows.iter().any(Row::is_for_peers) {
        Vec::new()
    } else {
        peers::installed(&home, &authority, &upstream_ca).await
    };
    targets.extend(peers.iter().map(|peer| peer.target().clone()));
    for row in rows {
        measure(run, row, &targets, report).await?;
    }
    drop((relay, upstream, vault, peers));
    Ok(())
}

/// Measures one row: rounds in turn.
async fn measure(
    run: &Run,
    row: &Row,
    targets: &[Target],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut load = Load {
        row: *row,
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(run.seconds.max(1)),
        resume: run.resume,
        bulk_bytes: run.bulk.max(1) << 20,
        pace: None,
    };
    if let Some(connections) = run.connections {
        load.row.connections = connections.max(1);
    }
    if row.work == Work::HalfLoad {
        let relay = targets.first().context("no relay")?;
        let mut full = load.clone();
        full.row.work = Work::Requests(row::Ask::Small);
        load.pace = Some(full.run(relay).await?.rate / 2.0);
    }
    for _ in 0..run.rounds.max(1) {
        for target in targets.iter().filter(|target| runs(target, row)) {
            say(&format!("{} through {}", row.name, target.name));
            match load.run(target).await {
                Ok(sample) => report.add(row, &target.name, sample),
                // A peer that fails is not our failure, but it is said.
                Err(error) if target.kind() == Kind::Peer => {
                    say(&format!("{} through {}: {error:#}", row.name, target.name));
                }
                Err(error) => {
                    return Err(error.context(format!("{} through {}", row.name, target.name)));
                }
            }
        }
    }
    Ok(())
}

/// Whether `target` can run `row` at all.
fn runs(target: &Target, row: &Row) -> bool {
    use row::Ask::{ManyRules, Substituted};
    match target.kind() {
        Kind::Product => true,
        Kind::Relay => row.work != Work::ColdHosts,
        Kind::Running => !matches!(
            row.work,
            Work::Requests(ManyRules | Substituted) | Work::Idle
        ),
        Kind::Peer => row.is_for_peers(),
    }
}
