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

use crate::target::Target;

/// How long the server may take to listen.
const START: Duration = Duration::from_secs(15);

/// The name of the vault, the service and the agent that the load uses.
const VAULT: &str = "default";
const NAME: &str = "bench";

/// A server of the product with everything that the load needs.
#[derive(Debug)]
pub(crate) struct Vault {
    process: std::process::Child,
    proxy: SocketAddr,
    ca_pem: String,
    token: String,
    // Deleted after the process has ended.
    _home: Home,
}

/// Starts `binary` and prepares it: an owner, a credential, a bearer service for `authority`, and an agent.
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
        .stderr(Stdio::inherit());
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
        token: String::new(),
        _home: home,
    };
    vault.listening(&[api, proxy]).await?;

    let cli = Cli {
        binary,
        address: format!("http://{api}"),
        home: &vault._home,
    };
    let register = [
        "auth",
        "register",
        "--email",
        "bench@example.test",
        "--password-stdin",
    ];
    cli.run(&register, b"a password for the benchmark\n")?;
    cli.run(
        &[
            "vault",
            "credential",
            "set",
            "BENCH_TOKEN=bench-credential-0123456789",
        ],
        b"",
    )?;
    let service = [
        "vault", "service", "add", "--name", NAME, "--host", authority,
    ];
    cli.run(
        &[
            &service[..],
            &["--auth-type", "bearer", "--token-key", "BENCH_TOKEN"],
        ]
        .concat(),
        b"",
    )?;
    let grant = format!("{VAULT}:proxy");
    vault.token = cli
        .run(
            &["agent", "create", NAME, "--vault", &grant, "--token-only"],
            b"",
        )?
        .trim()
        .to_owned();
    vault.ca_pem = cli.run(&["ca", "fetch"], b"")?;
    Ok(vault)
}

impl Vault {
    pub(crate) fn target(&self, authority: &str) -> Target {
        let token = format!("{}:{VAULT}", self.token);
        Target::new(
            "agent-vault",
            self.process.id(),
            self.proxy,
            &self.ca_pem,
            authority,
            Some(&token),
        )
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

struct Cli<'a> {
    binary: PathBuf,
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
        let mut command: Command = self.home.command(&self.binary);
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
