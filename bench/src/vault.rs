//! The product under load: the real binary, set up through its own command line in a temporary home.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_vault_testing::Home;
use agent_vault_testing::client::dial;
use agent_vault_testing::home::free_port;
use anyhow::{Context as _, bail, ensure};

use crate::load::PLACEHOLDER;
use crate::target::{Kind, MANY_RULES, PLAIN, SUBSTITUTING, Target};

/// How long the server may take to listen.
const START: Duration = Duration::from_secs(15);

/// The name of the service and the agents that the load uses.
const NAME: &str = "bench";
/// Agents: one alone may not have as many tunnels as are measured.
const AGENTS: usize = 4;
/// Services in the vault that has many.
const RULES: usize = 200;

/// A server of the product with everything that the load needs.
#[derive(Debug)]
pub(crate) struct Vault {
    process: std::process::Child,
    proxy: SocketAddr,
    ca_pem: String,
    agents: Vec<String>,
    binary: PathBuf,
    api: SocketAddr,
    // Deleted after the process has ended.
    home: Home,
}

/// Starts `binary` and prepares it: an owner, a vault for each kind of request with a
/// bearer service for `authority`, and agents.
pub(crate) async fn setup(
    binary: &Path,
    authority: &str,
    upstream_ca: &Path,
) -> anyhow::Result<Vault> {
    let binary = binary
        .canonicalize()
        .with_context(|| format!("no binary at {}", binary.display()))?;
    let home = Home::new();
    let api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (api_port, proxy_port) = (api.port().to_string(), proxy.port().to_string());

    let mut server = home.command(&binary);
    server
        .args([
            "server",
            "--port",
            &api_port,
            "--mitm-port",
            &proxy_port,
            "--password-stdin",
        ])
        .env("AGENT_VAULT_DEV_MODE", "true")
        .env("AGENT_VAULT_NETWORK_ALLOWLIST", "127.0.0.0/8,::1/128")
        .env("AGENT_VAULT_RATELIMIT_PROFILE", "off")
        .env("AGENT_VAULT_UPSTREAM_CA", upstream_ca)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = server.spawn().context("cannot start the server")?;
    // An empty line: no master password.
    process
        .stdin
        .take()
        .context("a server without input")?
        .write_all(b"\n")?;
    let mut vault = Vault {
        process,
        proxy,
        ca_pem: String::new(),
        agents: Vec::new(),
        binary,
        api,
        home,
    };
    vault.listening(&[api, proxy]).await?;
    vault.ca_pem = vault.prepare(authority)?;
    Ok(vault)
}

impl Vault {
    /// Makes vaults, services and agents, and returns the certificate of the authority.
    fn prepare(&mut self, authority: &str) -> anyhow::Result<String> {
        let cli = Cli {
            binary: &self.binary,
            address: format!("http://{}", self.api),
            home: &self.home,
        };
        let register = [
            "auth",
            "register",
            "--email",
            "bench@example.test",
            "--password-stdin",
        ];
        cli.run(&register, b"a password for the benchmark\n")?;
        for vault in [PLAIN, MANY_RULES, SUBSTITUTING] {
            if vault != PLAIN {
                cli.run(&["vault", "create", vault], b"")?;
            }
            let set = ["vault", "credential", "set", "--vault", vault];
            let credential = ["BENCH_TOKEN=bench-credential-0123456789"];
            cli.run(&[&set[..], &credential].concat(), b"")?;
            let set = [
                "vault", "service", "set", "--yes", "--vault", vault, "-f", "-",
            ];
            cli.run(&set, services(vault, authority).as_bytes())?;
        }
        let grants = [PLAIN, MANY_RULES, SUBSTITUTING].map(|vault| format!("{vault}:proxy"));
        for agent in 0..AGENTS {
            let name = format!("{NAME}-{agent}");
            let mut create = vec!["agent", "create", &name, "--token-only"];
            for grant in &grants {
                create.extend(["--vault", grant]);
            }
            let token = cli.run(&create, b"")?.trim().to_owned();
            self.agents.push(token);
        }
        cli.run(&["ca", "fetch"], b"")
    }

    pub(crate) fn target(&self, authority: &str) -> Target {
        Target::new(
            "agent-vault",
            Kind::Product,
            self.process.id(),
            self.proxy,
            &self.ca_pem,
            authority,
            &self.agents,
        )
    }

    /// What `run` adds to a command that does nothing, in milliseconds: the median of `times`.
    pub(crate) fn run_overhead(&self, times: usize) -> anyhow::Result<f64> {
        let command = |program: &str| {
            let mut command = self.home.command(program);
            command
                .env("AGENT_VAULT_ADDR", format!("http://{}", self.api))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let mut added = Vec::new();
        for _ in 0..times.max(1) {
            let mut bare = command("true");
            let mut run = command(self.binary.to_str().context("an odd path")?);
            run.args(["run", "--", "true"]);
            added.push(timed(&mut run)? - timed(&mut bare)?);
        }
        added.sort_by(f64::total_cmp);
        added.get(added.len() / 2).copied().context("no run")
    }

    /// Waits until the server takes connections on all of `addrs`.
    async fn listening(&mut self, addrs: &[SocketAddr]) -> anyhow::Result<()> {
        let begin = Instant::now();
        for addr in addrs {
            while dial(*addr).await.is_err() {
                if let Some(status) = self.process.try_wait()? {
                    bail!("the server ended at once: {status}");
                }
                ensure!(
                    begin.elapsed() < START,
                    "the server does not listen on {addr}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().unwrap_or_default();
        drop(self.process.wait());
    }
}

/// Milliseconds that `command` takes.
fn timed(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let status = command.status()?;
    let elapsed = begin.elapsed();
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(elapsed.as_secs_f64() * 1000.0)
}

/// The services of `vault`, as a file.
fn services(vault: &str, authority: &str) -> String {
    let mut file = format!(
        "services:\n  - name: {NAME}\n    host: \"{authority}\"\n    auth: {{type: bearer, token: BENCH_TOKEN}}\n"
    );
    if vault == SUBSTITUTING {
        file.push_str(&format!(
            "    substitutions:\n      - {{key: BENCH_TOKEN, placeholder: {PLACEHOLDER}, in: [body]}}\n"
        ));
    }
    if vault == MANY_RULES {
        for number in 1..RULES {
            file.push_str(&format!(
                "  - name: other-{number}\n    host: \"h{number}.example.test\"\n    path: /v{number}/*\n    auth: {{type: bearer, \
                 token: BENCH_TOKEN}}\n"
            ));
        }
    }
    file
}

struct Cli<'a> {
    binary: &'a Path,
    address: String,
    home: &'a Home,
}

impl Cli<'_> {
    /// Runs one command of the product with `input`, and returns what it printed.
    fn run(
        &self,
        arguments: &[impl AsRef<OsStr> + std::fmt::Debug],
        input: &[u8],
    ) -> anyhow::Result<String> {
        let mut command: Command = self.home.command(self.binary);
        command
            .args(arguments)
            .env("AGENT_VAULT_ADDR", &self.address);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child
            .stdin
            .take()
            .context("a command without input")?
            .write_all(input)?;
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "agent-vault {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}
