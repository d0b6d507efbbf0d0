//! The composition: from a configuration to a running server, with the owner of every task and of shutdown.
//!
//! ```text
//! store ─ unlock ─ control ─┬─ broker ─ proxy ─ (journal → store)
//!                           └─ api
//! ```
//!
//! [`Server`] has listeners of its own; [`Local`] is the same engine for one command: the management API in-process and, for
//! `run`, both listeners on ports that the system chooses. Several engines may share one data folder.

mod courier;
mod engine;
mod knobs;
mod listen;
mod log_sink;
mod mail;
mod metrics;
mod outbound;
mod own_tls;
mod stores;

use std::net::SocketAddr;
use std::sync::Arc;

use agent_vault_seal::SecretBytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{DEFAULT_API_PORT, ServerConfig, TlsMode};
use crate::error::CliError;

use engine::Engine;

/// How the data key is to be had.
pub(crate) enum Unlock {
    /// No master password: make or use a passwordless store.
    Passwordless,
    /// The master password: wraps the data key on a first start, unwraps it later.
    Password(SecretBytes),
}

/// What a store needs before it can be opened, seen without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// No store, or no key in it yet.
    New,
    /// The data key lies beside the database.
    Passwordless,
    /// The data key is wrapped with a master password.
    Protected,
}

/// A store as seen before the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreState {
    pub(crate) key: KeyState,
    /// At least one user exists.
    pub(crate) has_owner: bool,
}

/// Why a server or a local vault does not start.
#[derive(Debug)]
pub(crate) struct StartError {
    /// True if the master password was wrong, so that asking again makes sense.
    pub(crate) wrong_password: bool,
    /// The clear line, with its hint.
    pub(crate) error: CliError,
}

impl StartError {
    /// Anything but a wrong password.
    pub(crate) fn new(error: CliError) -> Self {
        Self {
            wrong_password: false,
            error,
        }
    }
}

impl From<CliError> for StartError {
    fn from(error: CliError) -> Self {
        Self::new(error)
    }
}

/// The scheme under which a server is reached for certain.
pub(crate) fn scheme(config: &ServerConfig) -> &'static str {
    match config.tls.value {
        TlsMode::Optional => "http",
        TlsMode::Required => "https",
    }
}

/// The addresses that a built server is bound to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) api: SocketAddr,
    pub(crate) proxy: Option<SocketAddr>,
    pub(crate) base_url: String,
}

/// A server that is bound and unlocked, and serves once it runs.
pub(crate) struct Server {
    engine: Arc<Engine>,
    endpoints: Endpoints,
    api: TcpListener,
    proxy: Option<TcpListener>,
}

impl Server {
    /// Looks at the store; changes nothing, and opens no store that is not there.
    pub(crate) async fn inspect(config: &ServerConfig) -> Result<StoreState, StartError> {
        engine::inspect(config).await
    }

    /// Opens and unlocks the store, loads the rules and the CA, binds both listeners.
    pub(crate) async fn build(config: ServerConfig, unlock: Unlock) -> Result<Server, StartError> {
        // Taken ports are found before anything is opened or made.
        let host = config.host.value;
        let api = listen::bind(host, config.api_port.value, "management API", "--port").await?;
        let proxy = match config.proxy_port.value {
            Some(port) => Some(listen::bind(host, port, "proxy", "--mitm-port").await?),
            None => None,
        };
        let endpoints = Endpoints {
            api: listen::address(&api)?,
            proxy: proxy.as_ref().map(listen::address).transpose()?,
            base_url: String::new(),
        };
        let endpoints = Endpoints {
            base_url: config
                .base_url
                .value
                .clone()
                .unwrap_or_else(|| format!("{}://{}", scheme(&config), endpoints.api)),
            ..endpoints
        };
        let engine = Arc::new(Engine::open(&config, unlock).await?);
        Ok(Server {
            engine,
            endpoints,
            api,
            proxy,
        })
    }

    /// Where it listens.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Notes that the server before this one did not stop in order, for the metrics.
    pub(crate) fn note_crash(&self) {
        self.engine.note_crash();
    }

    /// Our root certificate, in PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        self.engine.ca_pem()
    }

    /// The token with which the first owner may be registered from another machine, while there is no owner.
    pub(crate) async fn setup_token(&self) -> Option<String> {
        self.engine.setup_token().await
    }

    /// The same API in-process, as the local operator: creates the first owner.
    pub(crate) fn local(&self) -> Result<Local, StartError> {
        Local::over(&self.engine, &self.endpoints)
    }

    /// Serves until `shutdown`, then drains.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), StartError> {
        let Server {
            engine,
            endpoints,
            api,
            proxy,
        } = self;
        engine.serve(&endpoints, api, proxy, shutdown).await;
        engine.close().await;
        Ok(())
    }
}

/// The local vault, without a listener: the management API in-process and a token that opens it.
pub(crate) struct Local {
    pub(crate) router: axum::Router,
    pub(crate) token: SecretBytes,
    engine: Arc<Engine>,
}

impl Local {
    /// Opens the local vault.
    pub(crate) async fn open(config: &ServerConfig, unlock: Unlock) -> Result<Local, StartError> {
        let engine = Arc::new(Engine::open(config, unlock).await?);
        Local::over(
            &engine,
            &Endpoints {
                api: SocketAddr::from(([127, 0, 0, 1], DEFAULT_API_PORT)),
                proxy: None,
                base_url: format!("http://127.0.0.1:{DEFAULT_API_PORT}"),
            },
        )
    }

    fn over(engine: &Arc<Engine>, endpoints: &Endpoints) -> Result<Local, StartError> {
        let (router, token) = engine.local_api(endpoints)?;
        Ok(Local {
            router,
            token,
            engine: Arc::clone(engine),
        })
    }

    /// Starts proxy and API on loopback, on ports that the system chooses, over the same vault.
    pub(crate) async fn serve(&self) -> Result<LocalServer, StartError> {
        let host = std::net::IpAddr::from([127, 0, 0, 1]);
        let api = listen::bind(host, 0, "management API", "--port").await?;
        let proxy = listen::bind(host, 0, "proxy", "--mitm-port").await?;
        let endpoints = Endpoints {
            api: listen::address(&api)?,
            proxy: Some(listen::address(&proxy)?),
            base_url: format!("http://{}", listen::address(&api)?),
        };
        let shutdown = CancellationToken::new();
        let serving = Arc::clone(&self.engine);
        let ended = shutdown.clone();
        let here = endpoints.clone();
        let task = self.engine.tasks().spawn(async move {
            serving.serve(&here, api, Some(proxy), ended).await;
        });
        Ok(LocalServer {
            api_addr: endpoints.api,
            proxy_addr: listen::proxy_address(&endpoints)?,
            ca_pem: self.engine.ca_pem().to_string(),
            shutdown,
            engine: Arc::clone(&self.engine),
            task,
        })
    }

    /// The root certificate of the proxy that [`Local::serve`] starts, in PEM.
    pub(crate) fn ca_pem(&self) -> String {
        self.engine.ca_pem().to_string()
    }

    /// What is to be closed when nobody uses the vault any more.
    pub(crate) fn opened(&self) -> Opened {
        Opened(Arc::clone(&self.engine))
    }
}

/// A local vault that is open, for whoever closes it.
pub(crate) struct Opened(Arc<Engine>);

impl Opened {
    /// Ends what the vault has running and waits until everything is written.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}

/// Listeners that live as long as one command.
pub(crate) struct LocalServer {
    pub(crate) api_addr: SocketAddr,
    pub(crate) proxy_addr: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) shutdown: CancellationToken,
    engine: Arc<Engine>,
    task: tokio::task::JoinHandle<()>,
}

impl LocalServer {
    /// Ends the listeners and waits until the request log is written.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the local server did not end well");
        }
        self.engine.flush().await;
    }
}
