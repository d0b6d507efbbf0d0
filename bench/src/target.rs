//! What is measured: a proxy, how to authenticate to it, and whom its certificates come from.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_vault_testing::pki;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::client::Resumption;

/// One proxy under load.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) proxy: SocketAddr,
    pub(crate) authorization: Option<String>,
    pub(crate) authority: String,
    ca_pem: String,
}

impl Target {
    /// `token` is what stands before the last colon of the proxy credentials, or all of them.
    pub(crate) fn new(
        name: &str,
        pid: u32,
        proxy: SocketAddr,
        ca_pem: &str,
        authority: &str,
        token: Option<&str>,
    ) -> Self {
        let authorization = token.map(|token| {
            let pair = if token.contains(':') {
                token.to_owned()
            } else {
                format!("{token}:")
            };
            format!("Basic {}", STANDARD.encode(pair))
        });
        Self {
            name: name.to_owned(),
            pid,
            proxy,
            authorization,
            authority: authority.to_owned(),
            ca_pem: ca_pem.to_owned(),
        }
    }

    /// A client configuration that offers `alpn` alone.
    pub(crate) fn tls(&self, alpn: &str, resume: bool) -> Arc<ClientConfig> {
        let mut config = pki::client_config(&self.ca_pem, &[alpn]);
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Arc::new(config)
    }
}
