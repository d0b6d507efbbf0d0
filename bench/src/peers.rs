//! Other proxies that open TLS, where they are installed: an adapter for each.
//!
//! An adapter writes a configuration into the run's temporary folder and starts the proxy on a free port, with an
//! authority of its own and the upstream's as the only one that it trusts. No peer injects a credential or masks one.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_vault_testing::Home;
use agent_vault_testing::client::dial;
use agent_vault_testing::home::free_port;
use anyhow::{Context as _, bail, ensure};

use crate::child;
use crate::target::{Kind, Target};

/// How long a peer may take to listen.
const START: Duration = Duration::from_secs(30);

/// How long it may take to end.
const STOP: Duration = Duration::from_secs(4);

/// A peer that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    target: Target,
}

impl Peer {
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Asked first, so that it takes its shared memory with it. It may have ended already.
        drop(
            Command::new("kill")
                .arg(self.process.id().to_string())
                .output(),
        );
        let begin = Instant::now();
        while begin.elapsed() < STOP && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.process.kill().unwrap_or_default();
        drop(self.process.wait());
    }
}

/// Starts every peer that is installed, for the upstream at `authority`. What cannot be started is said and left out.
pub(crate) async fn installed(home: &Home, authority: &str, upstream_ca: &Path) -> Vec<Peer> {
    let mut peers = Vec::new();
    for (name, started) in [
        ("squid", squid(home, authority, upstream_ca).await),
        ("mitmproxy", mitmproxy(home, authority, upstream_ca).await),
    ] {
        match started {
            Ok(Some(peer)) => peers.push(peer),
            Ok(None) => crate::say(&format!("{name} is not installed")),
            Err(error) => crate::say(&format!("{name} is left out: {error:#}")),
        }
    }
    peers
}

/// squid with ssl-bump, as Debian's `squid-openssl` has it.
async fn squid(home: &Home, authority: &str, upstream_ca: &Path) -> anyhow::Result<Option<Peer>> {
    let (Some(squid), generator) = (find("squid"), "/usr/lib/squid/security_file_certgen") else {
        return Ok(None);
    };
    if !Path::new(generator).exists() {
        return Ok(None);
    }
    let folder = folder(home, "squid")?;
    let (key, certificate) = authority_files(&folder)?;
    let trusted = folder.join("upstream.pem");
    std::fs::copy(upstream_ca, &trusted)?;
    let store = folder.join("certificates");
    let made = Command::new(generator)
        .args(["-c", "-s"])
        .arg(&store)
        .args(["-M", "4MB"])
        .output()?;
    ensure!(
        made.status.success(),
        "its store of certificates could not be made"
    );
    let user = squid_user(home, &folder)?;
    let port = free_port();
    let configuration = format!(
        "http_port 127.0.0.1:{port} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB \
         tls-cert={certificate} tls-key={key}\n\
         sslcrtd_program {generator} -s {store} -M 4MB\n\
         sslcrtd_children 2\n\
         tls_outgoing_options cafile={upstream_ca}\n\
         acl step1 at_step SslBump1\n\
         ssl_bump peek step1\n\
         ssl_bump bump all\n\
         http_access allow all\n\
         cache deny all\n\
         access_log none\n\
         cache_log {folder}/cache.log\n\
         pid_filename {folder}/squid.pid\n\
         cache_effective_user {user}\n\
         coredump_dir {folder}\n\
         via off\n\
         forwarded_for delete\n\
         pinger_enable off\n\
         shutdown_lifetime 1 seconds\n",
        certificate = certificate.display(),
        key = key.display(),
        store = store.display(),
        folder = folder.display(),
        upstream_ca = trusted.display(),
    );
    let file = folder.join("squid.conf");
    child::write(&file, &configuration)?;
    let mut command = Command::new(squid);
    // A name of its own, by which it calls its shared memory: another squid may run here.
    command.args(["-N", "-n", &format!("bench{port}"), "-f"]);
    command.arg(&file);
    let peer = start(command, "squid", port, &certificate, authority).await?;
    Ok(Some(peer))
}

/// mitmproxy's `mitmdump`, as its Python package has it.
async fn mitmproxy(
    home: &Home,
    authority: &str,
    upstream_ca: &Path,
) -> anyhow::Result<Option<Peer>> {
    let Some(mitmdump) = find("mitmdump") else {
        return Ok(None);
    };
    let folder = folder(home, "mitmproxy")?;
    let (key, certificate) = authority_files(&folder)?;
    let both = std::fs::read_to_string(&key)? + &std::fs::read_to_string(&certificate)?;
    child::write(&folder.join("mitmproxy-ca.pem"), &both)?;
    let port = free_port();
    let mut command = Command::new(mitmdump);
    command
        .args(["--quiet", "--listen-host", "127.0.0.1", "--listen-port"])
        .arg(port.to_string())
        .arg("--set")
        .arg(format!("confdir={}", folder.display()))
        .arg("--set")
        .arg(format!(
            "ssl_verify_upstream_trusted_ca={}",
            upstream_ca.display()
        ))
        .args(["--set", "stream_large_bodies=64k"]);
    let peer = start(command, "mitmproxy", port, &certificate, authority).await?;
    Ok(Some(peer))
}

async fn start(
    mut command: Command,
    name: &str,
    port: u16,
    certificate: &Path,
    authority: &str,
) -> anyhow::Result<Peer> {
    let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ca_pem = std::fs::read_to_string(certificate)?;
    let target = Target::new(
        name,
        Kind::Peer,
        process.id(),
        proxy,
        &ca_pem,
        authority,
        &[],
    );
    let mut peer = Peer { process, target };
    let begin = Instant::now();
    while dial(proxy).await.is_err() {
        if let Some(status) = peer.process.try_wait()? {
            bail!("it ended at once: {status}");
        }
        ensure!(begin.elapsed() < START, "it does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(peer)
}

fn folder(home: &Home, name: &str) -> anyhow::Result<PathBuf> {
    let folder = home.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A certificate authority for a peer: its key and its certificate.
fn authority_files(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (key, certificate) = (folder.join("ca.key"), folder.join("ca.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=bench peer",
        ])
        .args(["-addext", "basicConstraints=critical,CA:TRUE"])
        .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("cannot run openssl")?;
    ensure!(made.status.success(), "openssl made no certificate");
    Ok((key, certificate))
}

/// Who squid runs as: never root, from whom it changes to Debian's `proxy`, who then has to own its folder and to reach it.
fn squid_user(home: &Home, folder: &Path) -> anyhow::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    let user = String::from_utf8(output.stdout)?.trim().to_owned();
    if user != "root" {
        return Ok(user);
    }
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o711))?;
    let owned = Command::new("chown")
        .args(["-R", "proxy:"])
        .arg(folder)
        .output()?;
    ensure!(
        owned.status.success(),
        "its folder could not be given to `proxy`"
    );
    Ok("proxy".to_owned())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
