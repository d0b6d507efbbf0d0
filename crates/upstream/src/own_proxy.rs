//! A client's way to an Agent Vault proxy on another machine, over TLS.
//!
//! Not guarded as upstreams are: the person at this machine named it. Nobody is believed but the server's own root, under a
//! name that every server has, so that it does not matter by what address, or through how many forwarded ports, it is
//! reached.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect::{ConnectFailure, connect};
use crate::guard::GuardedAddr;
use crate::resolve::{CachingResolver, Resolver, SystemResolver};

/// A TCP connection to the proxy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The TLS handshake with it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a proxy of ours is, and how it is known.
pub struct OwnProxy {
    host: ProxyHost,
    port: u16,
    name: ServerName<'static>,
    connector: TlsConnector,
    resolver: CachingResolver,
}

enum ProxyHost {
    Address(IpAddr),
    Name(Host),
}

/// Why the proxy is not reached, or is not the one that was meant.
#[derive(Debug, thiserror::Error)]
pub enum OwnProxyError {
    /// The host, the name or the root cannot be used.
    #[error("{0}")]
    Settings(String),
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
    /// What answers there does not prove to be the server whose root this is.
    #[error("TLS failed: {0}")]
    Tls(io::Error),
}

impl OwnProxy {
    /// `host` is an address, in brackets or not, or a DNS name. `root_pem` is the only root that is believed, for `name`.
    ///
    /// # Errors
    /// [`OwnProxyError::Settings`].
    pub fn new(host: &str, port: u16, root_pem: &str, name: &str) -> Result<Self, OwnProxyError> {
        let wrong = |error: &dyn fmt::Display| OwnProxyError::Settings(error.to_string());
        let host = host.trim_matches(['[', ']']);
        let host = match host.parse::<IpAddr>() {
            Ok(address) => ProxyHost::Address(address),
            Err(_) => ProxyHost::Name(Host::parse(host).map_err(|error| wrong(&error))?),
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(root_pem.as_bytes()) {
            roots
                .add(certificate.map_err(|error| wrong(&error))?)
                .map_err(|error| wrong(&error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            host,
            port,
            name: ServerName::try_from(name.to_owned()).map_err(|error| wrong(&error))?,
            connector: TlsConnector::from(Arc::new(config)),
            resolver: CachingResolver::new(Arc::new(SystemResolver::new())),
        })
    }

    /// Opens a connection, within twenty seconds.
    ///
    /// # Errors
    /// [`OwnProxyError::Unreachable`] and [`OwnProxyError::Tls`].
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>, OwnProxyError> {
        let addresses: Arc<[IpAddr]> = match &self.host {
            ProxyHost::Address(address) => Arc::from([*address]),
            ProxyHost::Name(name) => self
                .resolver
                .resolve(name)
                .await
                .map_err(|error| OwnProxyError::Unreachable(error.to_string()))?,
        };
        let addresses: Vec<GuardedAddr> = addresses
            .iter()
            .map(|ip| GuardedAddr::of_operator_proxy(*ip, self.port))
            .collect();
        let (tcp, _): (TcpStream, SocketAddr) = connect(&addresses, CONNECT_TIMEOUT)
            .await
            .map_err(|failure| {
                OwnProxyError::Unreachable(match failure {
                    ConnectFailure::TimedOut => "it does not answer".to_owned(),
                    ConnectFailure::Refused(error) => error.to_string(),
                })
            })?;
        let handshake = self.connector.connect(self.name.clone(), tcp);
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(OwnProxyError::Tls)
    }
}

impl fmt::Debug for OwnProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnProxy")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
