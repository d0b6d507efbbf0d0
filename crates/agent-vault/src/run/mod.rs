//! `agent-vault run -- CMD`: a command whose requests get their credentials on the way out.
//!
//! The order: everything that can be checked here; who we are and which vault; a token; the child's environment; the
//! child; what was done, told in one line; the token's end.

mod bundle;
mod child;
mod environment;
mod forward;
mod program;
mod report;
mod token;

use std::ffi::OsString;
use std::net::IpAddr;
use std::time::Duration;

use agent_vault_ca::LOCAL_NAME;
use agent_vault_upstream::{OwnProxy, OwnProxyError};
use clap::Args;

use crate::cli::{App, Target};
use crate::client::Call;
use crate::client::types::{Discovery, Services};
use crate::commands::ca::{self, Ca, ProxyTls};
use crate::confine::Confine;
use crate::connect::{Address, Connection, Identity};
use crate::diagnose::ServiceKeys;
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::server::LocalServer;
use crate::vault_choice::{self, Choice};

use environment::Wiring;
use forward::Forwarder;
use report::Reporter;
use token::RunToken;

/// How long the end of a run may take once the command has ended.
const CLOSING: Duration = Duration::from_secs(5);

/// `agent-vault run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  agent-vault run -- python agent.py
  agent-vault run --vault work -- claude
  agent-vault run --services github --budget 200 -- ./nightly.sh
  agent-vault run -- curl https://api.github.com/user")]
pub(crate) struct RunArgs {
    /// Life of the command's token in seconds, 300 to 604800 [default: 86400]; it ends with the command anyway
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    #[command(flatten)]
    confine: Confine,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Speak plain HTTP to a proxy on another machine: the token then crosses the network in clear
    #[arg(long)]
    plain_proxy: bool,
    /// `host`; `container` is not in this version
    #[arg(long, value_name = "MODE")]
    isolation: Option<String>,
    /// Container mode
    #[arg(long, hide = true)]
    image: Option<String>,
    /// Container mode
    #[arg(long, hide = true)]
    mount: Vec<String>,
    /// Container mode
    #[arg(long, hide = true)]
    keep: bool,
    /// Container mode
    #[arg(long, hide = true)]
    no_firewall: bool,
    /// Container mode
    #[arg(long, hide = true)]
    home_volume_shared: bool,
    /// Container mode
    #[arg(long, hide = true)]
    share_agent_dir: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Where the child's proxy is and what it trusts.
struct Endpoint {
    /// The management API, as the child is told.
    address: Address,
    /// Takes what the child sends, and sends it on over TLS, where the proxy is on another machine.
    forwarder: Option<Forwarder>,
    /// Host of the proxy, as the child is told and as it stands in a URL.
    proxy_host: String,
    proxy_port: u16,
    ca_pem: String,
}

/// Runs the command; the value is its exit code.
pub(crate) async fn run(app: &App, target: &Target, args: RunArgs) -> Result<u8> {
    check_flags(app, &args)?;
    let program = program::resolve(&app.env, &args.command)?;
    let connection = Connection::open(app, target.address.as_deref()).await?;
    if args.ttl.is_some() && connection.identity == Identity::Agent && !args.confine.is_given() {
        return Err(CliError::usage(format!(
            "`--ttl` has no meaning with {}: the token is what it is",
            env_vars::TOKEN.name
        )));
    }
    let (vault, server) = match &connection.local {
        None => (choose_vault(app, &connection, target).await?, None),
        Some(local) => {
            let vault = vault_choice::choose(app, &connection, target.vault.as_deref()).await?;
            (vault, Some(local.serve().await.map_err(|e| e.error)?))
        }
    };
    let endpoint = endpoint(app, &connection, server.as_ref(), args.plain_proxy).await?;
    let token = RunToken::obtain(app, &connection, &vault.name, &args, &program.name).await?;
    // From here on there is a token to end, whatever happens.
    let outcome = supervised(app, &connection, &vault, &endpoint, &token, &args, &program).await;
    let closing = async {
        if let Ok((_, reporter)) = &outcome {
            reporter.after(app, &connection, &token).await;
        }
        token.end(app, &connection).await;
        if let Some(forwarder) = endpoint.forwarder {
            forwarder.stop().await;
        }
        if let Some(server) = server {
            server.stop().await;
        }
    };
    if tokio::time::timeout(CLOSING, closing).await.is_err() {
        app.ui.warn(&format!(
            "the end of the run took more than {} s; the token ends by itself",
            CLOSING.as_secs()
        ));
    }
    outcome.map(|(code, _)| code)
}

async fn supervised(
    app: &App,
    connection: &Connection,
    vault: &Choice,
    endpoint: &Endpoint,
    token: &RunToken,
    args: &RunArgs,
    program: &program::Program,
) -> Result<(u8, Reporter)> {
    let discovery = discover(app, connection, &vault.name, token).await?;
    let bundle = bundle::write(app, connection.home(), &endpoint.ca_pem)?;
    let secret = token
        .secret()
        .expose_str()
        .map_err(|_| CliError::new("the token is not text"))?;
    let environment = environment::build(
        app.env.all(),
        &Wiring {
            token: secret,
            address: &endpoint.address.to_string(),
            vault: &vault.name,
            server_host: endpoint.address.host(),
            proxy_host: &endpoint.proxy_host,
            proxy_port: endpoint.proxy_port,
            bundle: bundle.path(),
            wgetrc: &bundle.wgetrc(),
            apt_conf: &bundle.apt_conf(),
            node_proxy: &bundle.node_proxy(),
            placeholders: &discovery.placeholders,
            brokered_hosts: &discovery
                .services
                .iter()
                .map(|s| s.host.as_str())
                .collect::<Vec<_>>(),
        },
    );
    let keys = service_keys(connection, &vault.name, token).await;
    let after = match (token.id(), &discovery.session) {
        (None, Some(session)) => report::last_row(connection, &vault.name, session).await,
        _ => 0,
    };
    let reporter = Reporter::new(vault.name.clone(), args.quiet, discovery, keys, after);
    reporter.before(app, vault, endpoint, &environment.bypassing);
    let code = child::run(program, environment.variables).await?;
    drop(bundle);
    Ok((code, reporter))
}

/// The flags that only container mode knows get an honest answer before any network call.
fn check_flags(app: &App, args: &RunArgs) -> Result {
    let mode = match &args.isolation {
        Some(mode) => Some(mode.as_str()),
        None => app.env.get(&env_vars::ISOLATION)?,
    };
    match mode {
        None | Some("host") => {}
        Some("container") => {
            return Err(
                CliError::usage("container isolation is not in this version")
                    .hint("leave `--isolation` out to run on this host"),
            );
        }
        Some(other) => {
            return Err(CliError::usage(format!("`{other}` is no isolation mode"))
                .hint("this version knows `host`"));
        }
    }
    let container_only = [
        ("--image", args.image.is_some()),
        ("--mount", !args.mount.is_empty()),
        ("--keep", args.keep),
        ("--no-firewall", args.no_firewall),
        ("--home-volume-shared", args.home_volume_shared),
        ("--share-agent-dir", args.share_agent_dir),
    ];
    if let Some((flag, _)) = container_only.iter().find(|(_, given)| *given) {
        return Err(CliError::usage(format!(
            "`{flag}` needs container isolation, which is not in this version"
        )));
    }
    if let Some(ttl) = args.ttl
        && ttl != 0
        && !(300..=604_800).contains(&ttl)
    {
        return Err(CliError::usage("`--ttl` must be 300 to 604800 seconds"));
    }
    Ok(())
}

/// The vault rule; an agent's token is checked against the server here, before anything starts.
async fn choose_vault(app: &App, connection: &Connection, target: &Target) -> Result<Choice> {
    if connection.identity != Identity::Agent {
        return vault_choice::choose(app, connection, target.vault.as_deref()).await;
    }
    let named = vault_choice::named(app, connection, target.vault.as_deref())?;
    let asked = named.as_ref().map(|c| c.name.as_str());
    let reply = match connection
        .client
        .send(&Call::get("/discover").vault(asked))
        .await
    {
        Ok(reply) => reply,
        Err(e) if matches!(e.status, 401 | 403) => {
            let vault = asked.map_or_else(String::new, |v| format!(" for vault \"{v}\""));
            return Err(CliError::new(format!(
                "the server rejected {}{vault}: {}",
                env_vars::TOKEN.name,
                e.message()
            ))
            .hint(format!(
                "check {} and {}; the token may have been rotated or revoked",
                env_vars::TOKEN.name,
                env_vars::VAULT.name
            )));
        }
        Err(e) => return Err(connection.explain(e)),
    };
    let found: Discovery = reply.json()?;
    match named {
        Some(named) if named.name != found.vault => Err(CliError::new(format!(
            "{} is for vault \"{}\", not for \"{}\"",
            env_vars::TOKEN.name,
            found.vault,
            named.name
        ))),
        Some(named) => Ok(named),
        None => Ok(Choice {
            name: found.vault,
            origin: vault_choice::Origin::Token,
        }),
    }
}

async fn endpoint(
    app: &App,
    connection: &Connection,
    server: Option<&LocalServer>,
    plain: bool,
) -> Result<Endpoint> {
    match (&connection.address, server) {
        (_, Some(server)) => Ok(Endpoint {
            address: Address::parse(&format!("http://{}", server.api_addr))?,
            forwarder: None,
            proxy_host: url_host(server.proxy_addr.ip()),
            proxy_port: server.proxy_addr.port(),
            ca_pem: server.ca_pem.clone(),
        }),
        (Some(address), None) => {
            let ca = ca::fetch(app, connection).await?;
            let forwarder = match (ca.tls, plain) {
                (ProxyTls::Required, true) => {
                    return Err(CliError::usage(
                        "`--plain-proxy`: this server is spoken to over TLS only",
                    ));
                }
                (ProxyTls::Required, false) => Some(forwarder(address, &ca).await?),
                (ProxyTls::Optional, false) if !address.is_loopback() => {
                    Some(forwarder(address, &ca).await?)
                }
                (ProxyTls::Optional | ProxyTls::No, _) => None,
            };
            let (proxy_host, proxy_port) = match &forwarder {
                Some(forwarder) => {
                    let here = forwarder.address();
                    (url_host(here.ip()), here.port())
                }
                None => (address.host().to_owned(), ca.proxy_port),
            };
            Ok(Endpoint {
                address: address.clone(),
                forwarder,
                proxy_host,
                proxy_port,
                ca_pem: ca.pem,
            })
        }
        (None, None) => Err(CliError::new("there is neither a server nor a local vault")),
    }
}

/// The way to a proxy that is spoken to over TLS.
async fn forwarder(address: &Address, ca: &Ca) -> Result<Forwarder> {
    let (host, port) = (address.host(), ca.proxy_port);
    let failed = |error: OwnProxyError| {
        let failed = CliError::new(format!(
            "cannot reach the proxy at {host}:{port} over TLS: {error}"
        ));
        match (error, ca.tls) {
            (OwnProxyError::Tls(_), ProxyTls::Optional) => failed.hint(
                "its port must be reachable as it is, without TLS of something else in front; `--plain-proxy` speaks plain HTTP to it, and the token then crosses the network in clear",
            ),
            _ => failed,
        }
    };
    let proxy = OwnProxy::new(host, port, &ca.pem, LOCAL_NAME).map_err(failed)?;
    // What is wrong is told now, and not by each request of the child.
    drop(proxy.connect().await.map_err(failed)?);
    Forwarder::listen(proxy).await
}

fn url_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// What the vault brokers, as the child's own token sees it.
async fn discover(
    app: &App,
    connection: &Connection,
    vault: &str,
    token: &RunToken,
) -> Result<Discovery> {
    let call = Call::get("/discover")
        .vault(Some(vault))
        .token(token.secret());
    connection.send(app, call).await?.json()
}

/// Which key each service uses: for the lines that are told, so that not to know it stops nothing.
async fn service_keys(connection: &Connection, vault: &str, token: &RunToken) -> ServiceKeys {
    let call =
        Call::get(vault_choice::vault_path(vault).literal("/services")).token(token.secret());
    let found = match connection.client.send(&call).await {
        Ok(reply) => reply.json::<Services>().unwrap_or_default(),
        Err(_) => Services::default(),
    };
    ServiceKeys::of(&found.services)
}
