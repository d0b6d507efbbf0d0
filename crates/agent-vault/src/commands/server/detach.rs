//! `agent-vault server --detach`: unlocks in the foreground, then goes on in a process of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Owner;
use super::unlock::Plan;
use crate::cli::App;
use crate::client::{Call, Client};
use crate::config::{ServerConfig, ServerFlags};
use crate::connect::{Address, transport};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::Home;
use crate::lock;
use crate::server::Local;

/// How long the parent waits for the child to serve.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn run(
    app: &App,
    flags: &ServerFlags,
    config: &ServerConfig,
    home: &Home,
    plan: Plan,
    owner: Owner,
) -> Result {
    // A wrong password or a damaged store shows here, where somebody looks.
    let (local, password) = plan
        .open_keeping(app, |key| Local::open(config, key))
        .await?;
    owner.create(app, &local).await?;
    local.opened().close().await;
    drop(local);
    home.create()?;
    let log_path = home.path("server.log");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .map_err(|e| CliError::new(format!("cannot write {}: {e}", log_path.display())))?;
    let failed =
        |e: std::io::Error| CliError::new(format!("cannot start the background server: {e}"));
    let log_too = log.try_clone().map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .arg("server")
        .arg("--password-stdin")
        .args(forwarded(flags, config))
        .env(env_vars::DETACHED.name, "1")
        .env_remove(env_vars::MASTER_PASSWORD.name)
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(log_too);
    if let Some(proxy) = &flags.upstream_proxy {
        // It may hold a password, and argv is public.
        command.env(env_vars::UPSTREAM_PROXY.name, proxy);
    }
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        let line = password.as_ref().map_or(&[][..], |p| p.expose());
        pipe.write_all(line)
            .and_then(|()| pipe.write_all(b"\n"))
            .map_err(failed)?;
    }
    let pid = child.id();
    let address = wait(app, home, &mut child, &log_path.display().to_string()).await?;
    app.ui
        .success(&format!("server running at {address} (pid {pid})"))?;
    app.ui.line(&format!("log: {}", log_path.display()))?;
    if matches!(owner, Owner::Later) {
        app.ui.line(&format!(
            "no owner yet; how to register one is in {}",
            log_path.display()
        ))?;
    }
    app.ui.note("stop it with `agent-vault server stop`");
    Ok(())
}

/// The flags as given; everything else reaches the child by environment and file.
fn forwarded(flags: &ServerFlags, config: &ServerConfig) -> Vec<std::ffi::OsString> {
    let mut args = vec![
        "--data-dir".into(),
        config.data_dir.value.clone().into_os_string(),
    ];
    let given = [
        ("--port", &flags.port),
        ("--host", &flags.host),
        ("--mitm-port", &flags.mitm_port),
        ("--log-level", &flags.log_level),
        ("--log-format", &flags.log_format),
        ("--max-request-bytes", &flags.max_request_bytes),
        ("--max-response-bytes", &flags.max_response_bytes),
        ("--upstream-ca", &flags.upstream_ca),
        ("--tls", &flags.tls),
        ("--tls-cert", &flags.tls_cert),
        ("--tls-key", &flags.tls_key),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            args.push(name.into());
            args.push(value.into());
        }
    }
    args
}

/// Waits until the very process that was started holds the folder and answers.
async fn wait(app: &App, home: &Home, child: &mut Child, log: &str) -> Result<String> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(
                CliError::new(format!("the background server ended at once ({status})"))
                    .hint(format!("its last words are in {log}")),
            );
        }
        if let Some(running) = lock::running(home)?.filter(|r| r.pid == child.id()) {
            let address = Address::parse(&running.address)?;
            let client = Client::new(transport(app, home, &address, true)?, None);
            if client.send(&Call::get("/health")).await.is_ok() {
                return Ok(running.address);
            }
        }
        tokio::time::sleep(POLL).await;
    }
    app.ui.warn("the background server goes on starting");
    Err(CliError::new(format!(
        "the background server does not answer after {} s",
        PATIENCE.as_secs()
    ))
    .hint(format!("look into {log}")))
}
