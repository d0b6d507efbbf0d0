//! `agent-vault ca fetch`: the proxy's root certificate.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{AddressArg, App};
use crate::client::Call;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::home::write_atomically;

/// `agent-vault ca`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct CaArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: CaCommand,
}

#[derive(Subcommand)]
enum CaCommand {
    /// Print the root certificate, or write it to a file
    #[command(
        after_help = "Example: agent-vault ca fetch -o /usr/local/share/ca-certificates/agent-vault.crt"
    )]
    Fetch {
        /// File to write, readable by everyone
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

pub(crate) async fn run(app: &App, args: CaArgs) -> Result {
    let CaCommand::Fetch { output } = args.command;
    let connection = Connection::anonymous(app, args.address.address.as_deref()).await?;
    let pem = match &connection.local {
        // No proxy listens between runs, but its root is the same in every run.
        Some(local) => local.ca_pem(),
        None => fetch(app, &connection).await?.pem,
    };
    match output {
        None => app.ui.data(&pem),
        Some(path) => {
            // A certificate is public, and a trust folder is read by every user.
            write_atomically(&app.env.cwd().join(&path), pem.as_bytes(), 0o644)?;
            app.ui.note(&format!("wrote {}", path.display()));
            Ok(())
        }
    }
}

/// The proxy's root and port.
pub(crate) struct Ca {
    pub(crate) pem: String,
    pub(crate) proxy_port: u16,
    pub(crate) tls: ProxyTls,
}

/// Whether the proxy speaks TLS on its port, as the server tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyTls {
    /// An older server, which does not.
    No,
    /// Beside plain HTTP.
    Optional,
    /// Alone.
    Required,
}

/// Fetches the root; it also tells where the proxy listens.
///
/// # Errors
/// The proxy is switched off; the answer is no certificate.
pub(crate) async fn fetch(app: &App, connection: &Connection) -> Result<Ca> {
    let reply = match connection.try_send(app, Call::get("/v1/mitm/ca.pem")).await {
        Ok(reply) => reply,
        Err(e) if e.status == 404 => {
            return Err(CliError::new("the proxy is switched off on this server")
                .hint("start the server without `--mitm-port 0`, and see that the port is free"));
        }
        Err(e) => return Err(connection.explain(e)),
    };
    let pem = reply.text();
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(CliError::new("the server's answer is not a certificate")
            .hint("check the address: something else may answer there"));
    }
    let proxy_port = reply
        .header("x-mitm-port")
        .and_then(|port| port.parse().ok())
        .unwrap_or(crate::config::DEFAULT_PROXY_PORT);
    let tls = match reply.header("x-mitm-tls") {
        Some("required") => ProxyTls::Required,
        Some(_) => ProxyTls::Optional,
        None => ProxyTls::No,
    };
    Ok(Ca {
        pem,
        proxy_port,
        tls,
    })
}
