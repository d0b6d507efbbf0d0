//! `agent-vault server`: start in the foreground or detached, and stop.

mod detach;
mod logging;
mod unlock;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use agent_vault_seal::SecretBytes;
use clap::{Args, Subcommand};
use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) use unlock::{open_local, strong_enough};

use super::{check_password, new_password, password_text};
use crate::cli::App;
use crate::client::{Call, Client, Transport};
use crate::config::{ServerConfig, ServerFlags, TlsMode, secret_in, secret_of};
use crate::connect::Address;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home::{Home, OWN_ROOT, write_atomically};
use crate::lock::{self, ServerLock};
use crate::server::{self, Local, Server, StartError};
use crate::signals::is_ignored;

/// How long `server stop` waits.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a stopping server may drain before it ends anyway.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// `agent-vault server`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  agent-vault server
  agent-vault server --detach
  agent-vault server --host 0.0.0.0 --password-stdin < /run/secrets/master-password
  agent-vault server stop

Both ports take TLS and plain HTTP. The proxy port takes SOCKS 5 too
(socks5h://TOKEN:VAULT@host:port), and the PROXY protocol from the load balancers
that AGENT_VAULT_PROXY_PROTOCOL_FROM names."
)]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    command: Option<ServerCommand>,
    #[command(flatten)]
    flags: ServerFlags,
    /// Go on in the background once the store is unlocked
    #[arg(short, long)]
    detach: bool,
    /// Read the master password from the first line of stdin; an empty line means none
    #[arg(long)]
    password_stdin: bool,
    /// Create this owner at the first start, with the password of `--owner-password-file` [env: AGENT_VAULT_OWNER_EMAIL]
    #[arg(long, value_name = "EMAIL")]
    owner_email: Option<String>,
    /// File with the password of that owner [env: AGENT_VAULT_OWNER_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    owner_password_file: Option<std::path::PathBuf>,
    /// Print every setting with its origin, and do not start
    #[arg(long)]
    print_config: bool,
}

#[derive(Subcommand)]
enum ServerCommand {
    /// Stop the server of this data folder
    Stop {
        /// Data folder [default: ~/.agent-vault] [env: AGENT_VAULT_HOME]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<std::path::PathBuf>,
    },
}

pub(crate) async fn run(app: &App, args: ServerArgs) -> Result {
    if let Some(ServerCommand::Stop { data_dir }) = args.command {
        return stop(app, data_dir);
    }
    let config = ServerConfig::load(&args.flags, &app.env)?;
    if args.print_config {
        for (name, value, origin) in config.lines() {
            app.ui.line(&format!("{name} = {value}  ({origin})"))?;
        }
        return Ok(());
    }
    let detached_child = app.env.get(&env_vars::DETACHED)?.is_some();
    if detached_child {
        // A session of its own: the terminal that started it may go.
        let _ = rustix::process::setsid();
    } else if !args.detach {
        unlock::take_password_out_of_environment(app)?;
    }
    let home = Home::at(config.data_dir.value.clone());
    // What would fail anyway fails before anybody types a password.
    if let Some(other) = lock::running(&home)? {
        return Err(CliError::new(format!(
            "a server already runs on {} (pid {}, {})",
            home.dir().display(),
            other.pid,
            other.address
        ))
        .hint("stop it with `agent-vault server stop`"));
    }
    check_ports(&config)?;
    let state = Server::inspect(&config).await.map_err(|e| e.error)?;
    let unlock = unlock::Plan::make(app, state.key, args.password_stdin)?;
    let given = owner_given(
        app,
        args.owner_email.as_deref(),
        args.owner_password_file.as_deref(),
    )?;
    let owner = match (state.has_owner, given) {
        (true, _) => Owner::Enough,
        // Whoever started it has asked already.
        (false, _) if detached_child => Owner::Later,
        (false, Some(given)) => Owner::Given(given),
        (false, None) if unlock.is_interactive() => Owner::Ask,
        (false, None) => Owner::Later,
    };
    if args.detach && !detached_child {
        return detach::run(app, &args.flags, &config, &home, unlock, owner).await;
    }
    Box::pin(foreground(app, config, &home, unlock, owner)).await
}

fn stop(app: &App, data_dir: Option<std::path::PathBuf>) -> Result {
    let home = match data_dir {
        Some(dir) => Home::at(app.env.cwd().join(dir)),
        None => Home::locate(&app.env)?,
    };
    let stopped = lock::stop(&home, STOP_PATIENCE)?;
    app.ui
        .success(&format!("stopped the server (pid {})", stopped.pid))
}

async fn foreground(
    app: &App,
    config: ServerConfig,
    home: &Home,
    unlock: unlock::Plan,
    owner: Owner,
) -> Result {
    // Before the first await that matters, so that no early signal is lost.
    let mut signals = Signals::listen()?;
    logging::start(config.log_level.value, config.log_format.value);
    let mut held = ServerLock::acquire(home)?;
    let server = unlock
        .open(app, |key| Server::build(config.clone(), key))
        .await?;
    owner
        .create(app, &server.local().map_err(|e| e.error)?)
        .await?;
    if held.is_after_crash() {
        tracing::warn!(
            "the server before this one did not stop in order: what was acknowledged is there, log rows of its last moment may be missing"
        );
        server.note_crash();
    }
    let endpoints = server.endpoints().clone();
    let scheme = server::scheme(&config);
    // By it commands of this machine know the server when they speak TLS to it.
    if let Err(e) = write_atomically(&home.path(OWN_ROOT), server.ca_pem().as_bytes(), 0o600) {
        app.ui.warn(e.message());
    }
    if let Err(e) = held.announce(&local_url(scheme, endpoints.api)) {
        app.ui.warn(e.message());
    }
    // Whoever started us may not listen any more: that is no reason not to serve.
    let tell = |line: &str| {
        let _ = app.ui.line(line);
    };
    tell(&format!(
        "Agent Vault {} at {}",
        env!("CARGO_PKG_VERSION"),
        endpoints.base_url
    ));
    match endpoints.proxy {
        Some(proxy) => tell(&format!("proxy at {proxy}")),
        None => tell("proxy switched off"),
    }
    if !endpoints.api.ip().is_loopback() && config.tls.value == TlsMode::Optional {
        app.ui.note("both listeners take plain HTTP besides TLS: whoever uses http:// sends tokens in clear; `--tls required` refuses it");
    }
    if matches!(owner, Owner::Later) {
        let token = match config.allow_remote_setup.value {
            true => None,
            false => server.setup_token().await,
        };
        let lines = how_to_register(
            scheme,
            endpoints.api,
            config.base_url.value.as_deref(),
            token.as_deref(),
        );
        lines.iter().for_each(|line| tell(line));
    }
    let shutdown = CancellationToken::new();
    let serving = server.run(shutdown.clone());
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = signals.next() => {
            // stdout may be gone by now; that must not keep us from draining.
            let _ = app.ui.line("stopping");
            shutdown.cancel();
            tokio::select! {
                ended = &mut serving => ended,
                () = tokio::time::sleep(DRAIN_LIMIT) => {
                    app.ui.warn(&format!("not drained within {} s", DRAIN_LIMIT.as_secs()));
                    Ok(())
                }
                () = signals.next() => Ok(()),
            }
        }
    };
    drop(held);
    ended.map_err(|e: StartError| e.error)?;
    let _ = app.ui.line("stopped");
    Ok(())
}

/// The signals that end a server. One that was ignored at the start, by `nohup` for example, stays so.
struct Signals(Vec<tokio::signal::unix::Signal>);

impl Signals {
    fn listen() -> Result<Signals> {
        [Signal::INT, Signal::TERM, Signal::HUP]
            .into_iter()
            .filter(|s| !is_ignored(*s))
            .map(|s| signal(SignalKind::from_raw(s.as_raw())))
            .collect::<std::io::Result<_>>()
            .map(Signals)
            .map_err(|e| CliError::new(format!("cannot listen for signals: {e}")))
    }

    /// Returns when one of them comes.
    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let came = self
                .0
                .iter_mut()
                .any(|stream| stream.poll_recv(context).is_ready());
            if came {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

/// A base URL that reaches a listener from this machine, even one that is bound to every address.
fn local_url(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// How the first owner comes to be. `token` is what a request needs that may have come from another machine.
fn how_to_register(
    scheme: &str,
    api: SocketAddr,
    base_url: Option<&str>,
    token: Option<&str>,
) -> Vec<String> {
    let public = base_url.filter(|url| is_public(url));
    let token = token.map(|token| format!(" --setup-token {token}"));
    let token = token.as_deref().unwrap_or_default();
    let register = |address: &str, token: &str| {
        format!("`agent-vault auth register --address {address}{token}`")
    };
    // With a public address, a client of this machine may be a reverse proxy that speaks for others.
    let here = if public.is_some() { token } else { "" };
    let mut lines = vec![format!(
        "no owner yet: run {}",
        register(&local_url(scheme, api), here)
    )];
    match public {
        Some(url) => lines.push(format!("from another machine: {}", register(url, token))),
        None if !api.ip().is_loopback() && !token.is_empty() => {
            lines.push(format!(
                "from another machine, add `{}`",
                token.trim_start()
            ));
        }
        None => {}
    }
    lines
}

fn is_public(base_url: &str) -> bool {
    Address::parse(base_url).is_ok_and(|address| !address.is_loopback())
}

/// Says early, and in words, that a port cannot be had. The server binds for itself later.
fn check_ports(config: &ServerConfig) -> Result {
    let ports = [
        (Some(config.api_port.value), "management API", "--port"),
        (config.proxy_port.value, "proxy", "--mitm-port"),
    ];
    for (port, what, flag) in ports {
        let Some(port) = port else { continue };
        let address = SocketAddr::new(config.host.value, port);
        if let Err(e) = TcpListener::bind(address) {
            let why = match e.kind() {
                std::io::ErrorKind::AddrInUse => String::from("the port is taken"),
                std::io::ErrorKind::AddrNotAvailable => {
                    String::from("this machine has no such address")
                }
                std::io::ErrorKind::PermissionDenied => {
                    String::from("ports below 1024 need a privilege")
                }
                _ => e.to_string(),
            };
            return Err(
                CliError::new(format!("cannot listen on {address} for the {what}: {why}"))
                    .hint(format!("choose another with `{flag}`")),
            );
        }
    }
    Ok(())
}

/// Where the first owner comes from.
enum Owner {
    /// There is one.
    Enough,
    /// The environment names one: e-mail and password.
    Given((String, SecretBytes)),
    /// A person is there to be asked.
    Ask,
    /// Somebody registers later.
    Later,
}

/// The owner that flags or environment name.
///
/// # Errors
/// One of the two variables without the other; a password that is too short.
fn owner_given(
    app: &App,
    email: Option<&str>,
    password_file: Option<&std::path::Path>,
) -> Result<Option<(String, SecretBytes)>> {
    let email = match email {
        Some(email) => Some(email),
        None => app.env.get(&env_vars::OWNER_EMAIL)?,
    };
    let password = match password_file {
        Some(path) => Some(secret_of(app.env.cwd(), path, &"--owner-password-file")?),
        None => secret_in(
            &app.env,
            &env_vars::OWNER_PASSWORD,
            &env_vars::OWNER_PASSWORD_FILE,
        )?,
    };
    match (email, password) {
        (None, None) => Ok(None),
        (Some(email), Some(password)) => {
            check_password(&password).map_err(|e| e.context("the owner's password"))?;
            Ok(Some((email.to_owned(), password)))
        }
        _ => Err(CliError::new(format!(
            "{} and {} go together",
            env_vars::OWNER_EMAIL.name,
            env_vars::OWNER_PASSWORD.name
        ))),
    }
}

impl Owner {
    /// Creates the first owner through the API, in-process, if one is to be created now.
    async fn create(&self, app: &App, local: &Local) -> Result {
        let (email, password) = match self {
            Owner::Enough | Owner::Later => return Ok(()),
            Owner::Given((email, password)) => (email.clone(), password.duplicate()),
            Owner::Ask => {
                app.ui.progress("No owner yet. Who owns this server?");
                (
                    app.ui.ask("E-mail", "agent-vault auth register")?,
                    new_password(app, false, "Password")?,
                )
            }
        };
        let client = Client::new(
            Transport::InProcess(local.router.clone()),
            Some(local.token.duplicate()),
        );
        let body = json!({"email": email, "password": password_text(&password)?});
        client
            .send(&Call::new(Method::POST, "/v1/auth/register").json(&body))
            .await
            .map_err(CliError::from)?;
        app.ui.progress(&format!(
            "owner {email} created; log in with `agent-vault auth login`"
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn whoever_may_register_is_told_how() {
        let lines = |api: &str, base, token| {
            super::how_to_register("http", api.parse().unwrap(), base, token).join("\n")
        };
        let here = "no owner yet: run `agent-vault auth register --address http://127.0.0.1:1`";
        assert_eq!(lines("127.0.0.1:1", None, Some("T")), here);
        let local = Some("http://localhost:1");
        assert_eq!(lines("127.0.0.1:1", local, Some("T")), here);
        assert_eq!(
            lines("0.0.0.0:1", None, Some("T")),
            format!("{here}\nfrom another machine, add `--setup-token T`")
        );
        // The API takes a loopback client for a remote one then, so that it needs the token too.
        let public = Some("https://vault.example");
        let told = lines("127.0.0.1:1", public, Some("T"));
        assert!(
            told.contains("http://127.0.0.1:1 --setup-token T`"),
            "{told}"
        );
        assert!(
            told.contains("https://vault.example --setup-token T`"),
            "{told}"
        );
        // Remote setup is allowed: nobody needs it.
        assert!(!lines("0.0.0.0:1", public, None).contains("--setup-token"));
    }

    #[test]
    fn w45_urls_of_every_listener_can_be_used() {
        for (bound, url) in [
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:1", "http://[::1]:1"),
            ("[fd00::1]:1", "http://[fd00::1]:1"),
            ("10.0.0.1:1", "http://10.0.0.1:1"),
        ] {
            assert_eq!(super::local_url("http", bound.parse().unwrap()), url);
        }
    }
}
