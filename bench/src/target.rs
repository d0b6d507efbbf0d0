//! What is measured: a proxy, how to authenticate to it, and whom its certificates come from.

use std::net::SocketAddr;
use std::sync::Arc;

use agent_vault_testing::client::{Http, dial};
use agent_vault_testing::{BoxError, pki};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::net::TcpSocket;

/// One proxy under load.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) proxy: SocketAddr,
    pub(crate) authority: String,
    ca_pem: String,
    /// What an agent presents; nothing where a proxy asks for nothing. Several agents, for what one may not have alone.
    agents: Vec<String>,
    kind: Kind,
}

/// What a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The floor that the others are compared with.
    Relay,
    /// The product, set up by this program, with its vaults.
    Product,
    /// The product, set up by somebody else, with one service.
    Running,
    /// Somebody else's proxy.
    Peer,
}

/// The vault that has one bearer service for the upstream.
pub(crate) const PLAIN: &str = "default";
/// The vault that has 199 other services besides.
pub(crate) const MANY_RULES: &str = "many-rules";
/// The vault whose service also replaces a placeholder in bodies.
pub(crate) const SUBSTITUTING: &str = "substituting";

impl Target {
    /// `agents` are tokens, or `user:password`.
    pub(crate) fn new(
        name: &str,
        kind: Kind,
        pid: u32,
        proxy: SocketAddr,
        ca_pem: &str,
        authority: &str,
        agents: &[String],
    ) -> Self {
        Self {
            name: name.to_owned(),
            pid,
            proxy,
            authority: authority.to_owned(),
            ca_pem: ca_pem.to_owned(),
            agents: agents.to_vec(),
            kind,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// `Proxy-Authorization` of one of the agents for `vault`.
    pub(crate) fn authorization(&self, vault: &str, agent: usize) -> Option<String> {
        let token = self.agents.get(agent % self.agents.len().max(1))?;
        let pair = match self.kind {
            Kind::Product => format!("{token}:{vault}"),
            _ if token.contains(':') => token.clone(),
            _ => format!("{token}:"),
        };
        Some(format!("Basic {}", STANDARD.encode(pair)))
    }

    /// A client configuration that offers `alpn` alone.
    pub(crate) fn tls(&self, alpn: &str, resume: bool) -> Arc<ClientConfig> {
        let mut config = pki::client_config(&self.ca_pem, &[alpn]);
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Arc::new(config)
    }

    /// Opens a tunnel to the upstream, with TLS and HTTP inside.
    pub(crate) async fn open(
        &self,
        tls: &Arc<ClientConfig>,
        vault: &str,
    ) -> Result<Http, BoxError> {
        let authorization = self.authorization(vault, 0);
        Http::through(self.proxy, &self.authority, authorization.as_deref(), tls).await
    }

    /// Opens the tunnel number `nth` of many, which come from several addresses and agents.
    pub(crate) async fn open_nth(
        &self,
        tls: &Arc<ClientConfig>,
        nth: usize,
    ) -> Result<Http, BoxError> {
        let share = nth / 1000;
        let authorization = self.authorization(PLAIN, share);
        let socket = TcpSocket::new_v4()?;
        let last = u8::try_from(share % 200)?.saturating_add(1);
        socket.bind((std::net::Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        let stream = socket.connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        Http::through_stream(stream, &self.authority, authorization.as_deref(), tls).await
    }

    /// Connects and speaks TLS to `host`, as which nobody was served before.
    pub(crate) async fn open_cold(
        &self,
        tls: &Arc<ClientConfig>,
        host: &str,
    ) -> Result<Http, BoxError> {
        let authorization = self.authorization(PLAIN, 0);
        let stream = dial(self.proxy).await?;
        Http::through_stream(
            stream,
            &format!("{host}:443"),
            authorization.as_deref(),
            tls,
        )
        .await
    }
}
