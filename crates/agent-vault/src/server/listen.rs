//! Binding listeners, and saying clearly why one cannot be had.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

use super::{Endpoints, StartError};
use crate::error::CliError;

/// Binds a listener, or says clearly why not.
pub(super) async fn bind(
    host: IpAddr,
    port: u16,
    what: &str,
    flag: &str,
) -> Result<TcpListener, StartError> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).await.map_err(|error| {
        let failed = CliError::new(format!(
            "cannot listen on {address} for the {what}: {error}"
        ));
        StartError::new(match error.kind() {
            io::ErrorKind::AddrInUse => failed
                .hint(format!(
                    "another process has that port; choose one with `{flag}`"
                ))
                .hint("if it is an Agent Vault server, stop it with `agent-vault server stop`"),
            io::ErrorKind::AddrNotAvailable => {
                failed.hint("this machine has no such address; choose one with `--host`")
            }
            io::ErrorKind::PermissionDenied => failed.hint(format!(
                "ports below 1024 need privileges; choose another with `{flag}`"
            )),
            _ => failed,
        })
    })
}

/// Where a listener is bound.
pub(super) fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| {
        StartError::new(CliError::new(format!("a listener has no address: {error}")))
    })
}

/// Where the proxy is bound.
pub(super) fn proxy_address(endpoints: &Endpoints) -> Result<SocketAddr, StartError> {
    endpoints
        .proxy
        .ok_or_else(|| StartError::new(CliError::new("the proxy is not listening")))
}
