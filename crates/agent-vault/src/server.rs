//! PLACEHOLDER: the composition of the server comes here. The signatures are what `commands/server.rs`, `connect.rs` and
//! `run/` call; the bodies are to be replaced.
#![expect(
    dead_code,
    reason = "placeholder: the real composition uses all of this"
)]

use std::net::SocketAddr;

use agent_vault_seal::SecretBytes;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::error::CliError;

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

/// The addresses that a built server is bound to.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) api: SocketAddr,
    pub(crate) proxy: Option<SocketAddr>,
    pub(crate) base_url: String,
}

/// A server that is bound and unlocked, and serves once it runs.
pub(crate) struct Server {
    endpoints: Endpoints,
}

impl Server {
    /// Looks at the store; changes nothing, and opens no store that is not there.
    pub(crate) async fn inspect(config: &ServerConfig) -> Result<StoreState, StartError> {
        let _ = config
            .upstream_proxy
            .value
            .as_ref()
            .and_then(|proxy| proxy.expose_credentials());
        Ok(StoreState {
            key: KeyState::New,
            has_owner: false,
        })
    }

    /// Opens and unlocks the store, loads the rules and the CA, binds both listeners.
    pub(crate) async fn build(
        _config: ServerConfig,
        _unlock: Unlock,
    ) -> Result<Server, StartError> {
        Err(StartError {
            wrong_password: false,
            error: CliError::new("the server is not part of this build"),
        })
    }

    /// Where it listens.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The same API in-process, as the local operator: creates the first owner.
    pub(crate) fn local(&self) -> Local {
        Local {
            router: axum::Router::new(),
            token: SecretBytes::new(Vec::new()),
        }
    }

    /// Serves until `shutdown`, then drains.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), StartError> {
        shutdown.cancelled().await;
        Ok(())
    }
}

/// The local vault, without a listener: the management API in-process and a token that opens it.
pub(crate) struct Local {
    pub(crate) router: axum::Router,
    pub(crate) token: SecretBytes,
}

impl Local {
    /// Opens the local vault.
    pub(crate) async fn open(_config: &ServerConfig, _unlock: Unlock) -> Result<Local, StartError> {
        Err(StartError {
            wrong_password: false,
            error: CliError::new("the server is not part of this build"),
        })
    }

    /// Starts proxy and API on loopback, on ports that the system chooses, over the same vault.
    pub(crate) async fn serve(&self) -> Result<LocalServer, StartError> {
        Err(StartError {
            wrong_password: false,
            error: CliError::new("the server is not part of this build"),
        })
    }
}

/// Listeners that live as long as one command.
pub(crate) struct LocalServer {
    pub(crate) api_addr: SocketAddr,
    pub(crate) proxy_addr: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) shutdown: CancellationToken,
}

impl LocalServer {
    /// Ends the listeners and waits until the request log is written.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
    }
}
