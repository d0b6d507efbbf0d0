//! What the proxy costs, beside a bare TLS-to-TLS relay on hyper and rustls, in one run.
//!
//! Upstream, relay and product each run in a process of their own, so that the processor time of each can be read
//! alone. Rounds alternate between relay and product, so that both meet the same weather.

mod child;
mod cpu;
mod load;
mod relay;
mod report;
mod target;
mod vault;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_vault_testing::{Alpn, Home, Upstream};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::child::Child;
use crate::load::{Case, Load};
use crate::report::Report;
use crate::target::Target;

/// Measures Agent Vault against a bare relay.
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
    /// The upstream: a fixed answer to everything.
    #[command(hide = true)]
    Upstream {
        #[arg(long)]
        ca_out: PathBuf,
        #[arg(long)]
        bytes: usize,
        #[arg(long)]
        http1: bool,
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
    /// The product's binary; it is set up in a temporary home. Without it, and without `--proxy`, the relay is measured alone.
    #[arg(long, value_name = "PATH")]
    agent_vault: Option<PathBuf>,
    #[command(flatten)]
    running: Running,
    /// Connections at once.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Rounds of each target and case; the median of the rounds is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measured seconds of each round, after one second of warming up.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Bytes of each answer.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// The upstream offers HTTP/1.1 only; measures the HTTP/1.1 cases.
    #[arg(long)]
    upstream_http1: bool,
    /// Only these cases.
    #[arg(long, value_enum)]
    case: Vec<Case>,
    /// Let new tunnels resume TLS sessions.
    #[arg(long)]
    resume: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// A proxy that runs already, set up by somebody else for the upstream at `--upstream`.
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
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Upstream {
            ca_out,
            bytes,
            http1,
        }) => {
            let alpn = if http1 { Alpn::H1Only } else { Alpn::Both };
            let upstream = Upstream::builder().alpn(alpn).bench(bytes).start();
            child::write(&ca_out, upstream.ca_pem())?;
            child::ready(upstream.addr())?;
            child::wait_for_parent()
        }
        Some(Role::Relay {
            ca_out,
            upstream_ca,
            http1,
        }) => relay::main(&ca_out, &upstream_ca, http1),
        // One thread makes the load, so that it leaves the other cores to what is measured.
        None => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(run(arguments.run)),
    }
}

async fn run(run: Run) -> anyhow::Result<()> {
    let home = Home::new();
    let upstream_ca = home.join("upstream.pem");
    let mut upstream = None;
    let (authority, upstream_ca) = match (&run.running.upstream, &run.running.upstream_ca) {
        (Some(authority), Some(ca)) => (authority.clone(), ca.clone()),
        _ => {
            let bytes = run.bytes.to_string();
            let mut arguments = ["upstream", "--bytes", &bytes, "--ca-out"]
                .map(OsStr::new)
                .to_vec();
            arguments.push(upstream_ca.as_os_str());
            if run.upstream_http1 {
                arguments.push("--http1".as_ref());
            }
            let child = Child::of_self(&arguments).await?;
            let authority = format!("localhost:{}", child.addr().port());
            upstream = Some(child);
            (authority, upstream_ca)
        }
    };

    let relay_ca = home.join("relay.pem");
    let mut arguments: Vec<&OsStr> = vec![
        "relay".as_ref(),
        "--ca-out".as_ref(),
        relay_ca.as_os_str(),
        "--upstream-ca".as_ref(),
        upstream_ca.as_os_str(),
    ];
    if run.upstream_http1 {
        arguments.push("--http1".as_ref());
    }
    let relay = Child::of_self(&arguments).await?;
    let relay_pem = std::fs::read_to_string(&relay_ca).context("the relay's certificate")?;
    let mut targets = vec![Target::new(
        "bare relay",
        relay.pid(),
        relay.addr(),
        &relay_pem,
        &authority,
        None,
    )];

    let mut vault = None;
    if let Some(binary) = &run.agent_vault {
        let running = vault::setup(binary, &authority, &upstream_ca).await?;
        targets.push(running.target(&authority));
        vault = Some(running);
    } else if let Running {
        proxy: Some(proxy),
        proxy_pid: Some(pid),
        proxy_ca: Some(ca),
        proxy_token,
        ..
    } = &run.running
    {
        let pem = std::fs::read_to_string(ca).context("the proxy's certificate")?;
        let token = proxy_token.as_deref().unwrap_or_default();
        targets.push(Target::new(
            "agent-vault",
            *pid,
            *proxy,
            &pem,
            &authority,
            Some(token),
        ));
    }

    let cases = if run.case.is_empty() && run.upstream_http1 {
        vec![Case::H1, Case::H1Tunnel]
    } else if run.case.is_empty() {
        Case::ALL.to_vec()
    } else {
        run.case
    };
    let mut report = Report::new(targets.iter().map(|target| target.name.clone()).collect());
    for case in cases {
        for _ in 0..run.rounds.max(1) {
            for target in &targets {
                let load = Load {
                    case,
                    connections: run.connections.max(1),
                    warm_up: Duration::from_secs(1),
                    measured: Duration::from_secs(run.seconds.max(1)),
                    resume: run.resume,
                };
                let sample = load
                    .run(target)
                    .await
                    .with_context(|| format!("{case} through {}", target.name))?;
                report.add(case, &target.name, sample);
            }
        }
    }
    report.print(run.json)?;
    drop((relay, upstream, vault));
    Ok(())
}
