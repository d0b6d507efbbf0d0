//! Everything that a server and a local vault have in common: one opened data folder and what works on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_vault_api::{ApiState, FlushLogs, RateLimits, ServerInfo};
use agent_vault_broker::SecretStore;
use agent_vault_ca::{LeafIssuer, OwnIdentity, RootCa};
use agent_vault_control::{Clock, Control, ControlOptions};
use agent_vault_proxy::{Journal, Proxy, ProxyOptions};
use agent_vault_seal::{Keyring, SecretBytes, Token, TokenKind};
use agent_vault_sources::infisical::Infisical;
use agent_vault_sources::oauth::TokenClient;
use agent_vault_store::{
    DATABASE_FILE, KeyHome, MasterKey, OpenOptions, Protection, Store, StoreError, UnlockError,
};
use agent_vault_upstream::Upstream;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::courier::OutboundCourier;
use super::log_sink::StoreSink;
use super::{
    Endpoints, KeyState, StartError, StoreState, Unlock, knobs, mail, metrics, outbound, own_tls,
    stores,
};
use crate::config::{ServerConfig, TlsMode};
use crate::error::CliError;

/// An opened data folder, and the parts that work on it.
pub(super) struct Engine {
    store: Store,
    control: Control,
    issuer: Arc<LeafIssuer>,
    identity: Arc<OwnIdentity>,
    ca_pem: Arc<str>,
    upstream: Arc<Upstream>,
    journal: Journal,
    infisical: Option<Arc<Infisical>>,
    config: ServerConfig,
    proxy_listening: Arc<AtomicBool>,
    /// The server before this one did not stop in order.
    after_crash: Arc<AtomicBool>,
    /// Whatever runs besides the listeners: the log writer, retention, the watch on the database, local listeners.
    tasks: TaskTracker,
    /// Ends them.
    closing: CancellationToken,
}

/// Looks at the store without opening one that is not there.
pub(super) async fn inspect(config: &ServerConfig) -> Result<StoreState, StartError> {
    let folder = &config.data_dir.value;
    if !folder.join(DATABASE_FILE).exists() {
        return Ok(StoreState {
            key: KeyState::New,
            has_owner: false,
        });
    }
    let store = open_store(config, Timestamp::now()).await?;
    let key = match store
        .master_key()
        .await
        .map_err(|error| store_failed(&error))?
    {
        None => KeyState::New,
        Some(MasterKey::KeyFile { .. }) => KeyState::Passwordless,
        Some(MasterKey::Password { .. }) => KeyState::Protected,
    };
    let users = store
        .user_count()
        .await
        .map_err(|error| store_failed(&error))?;
    store.close().await;
    Ok(StoreState {
        key,
        has_owner: users > 0,
    })
}

impl Engine {
    /// Opens and unlocks the store, loads rules and CA, starts what runs in the background.
    pub(super) async fn open(config: &ServerConfig, unlock: Unlock) -> Result<Engine, StartError> {
        let clock = Clock::system();
        let extra_roots = outbound::extra_roots(config)?;
        let given = own_tls::given(config)?;
        let store = open_store(config, clock.now()).await?;
        let (keyring, home) = unlocked(&store, unlock, clock.now()).await?;
        let keyring = Arc::new(keyring);
        let control = Control::open(
            store.clone(),
            Arc::clone(&keyring),
            clock.clone(),
            ControlOptions {
                limits: config.rate_limits.limits.clone(),
                mailer: mail::mailer(config, extra_roots.clone())?,
                retention: knobs::retention(config),
                dev_mode: config.dev_mode.value,
                unmatched: config.unmatched_host_policy.value,
            },
        )
        .await
        .map_err(|error| CliError::new(format!("the database cannot be loaded: {error}")))?;
        control.keep_keys_in(home);
        let root = root_ca(&control, clock.now()).await?;
        let ca_pem: Arc<str> = Arc::from(root.cert_pem());
        let upstream = Arc::new(outbound::upstream(config, extra_roots, &ca_pem)?);
        control.use_token_endpoint(Arc::new(TokenClient::new(Arc::clone(&upstream))));
        let infisical = stores::client(config, &upstream, &clock)?;
        if let Some(client) = &infisical {
            let store: Arc<dyn SecretStore> = Arc::<Infisical>::clone(client);
            control.use_secret_store(store);
            // Vaults were loaded before there was anybody to ask.
            control.reload().await.map_err(|error| {
                CliError::new(format!("the database cannot be loaded: {error}"))
            })?;
        }
        let issuer = LeafIssuer::new(root)
            .map_err(|error| CliError::new(format!("certificates cannot be issued: {error}")))?;
        let issuer = Arc::new(issuer);
        let (identity, renewal) = own_tls::identity(config, &issuer, given)?;
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        if let Some(renewal) = renewal {
            tasks.spawn(renewal.run(closing.clone()));
        }
        let journal = Journal::start(
            Arc::new(StoreSink(control.log_writer())),
            &tasks,
            closing.clone(),
        );
        let engine = Engine {
            store,
            control,
            issuer,
            identity,
            ca_pem,
            upstream,
            journal,
            infisical,
            config: config.clone(),
            proxy_listening: Arc::new(AtomicBool::new(false)),
            after_crash: Arc::new(AtomicBool::new(false)),
            tasks,
            closing,
        };
        engine.start_background();
        Ok(engine)
    }

    fn start_background(&self) {
        let watching = self.control.clone();
        let closing = self.closing.clone();
        self.tasks
            .spawn(async move { watching.watch_database(closing).await });
        let trimming = self.control.clone();
        let closing = self.closing.clone();
        let retention = knobs::retention(&self.config);
        self.tasks
            .spawn(async move { trimming.keep_retention(retention, closing).await });
        let tidying = self.control.clone();
        let closing = self.closing.clone();
        self.tasks
            .spawn(async move { tidying.keep_people(closing).await });
        let rotating = self.control.clone();
        let closing = self.closing.clone();
        self.tasks
            .spawn(async move { rotating.keep_rotating(closing).await });
        let cutting = self.control.clone();
        let closing = self.closing.clone();
        let age = u32::try_from(self.config.audit_max_age_days.value).unwrap_or(u32::MAX);
        self.tasks
            .spawn(async move { cutting.keep_audit(age, closing).await });
        let noting = self.control.clone();
        let closing = self.closing.clone();
        self.tasks
            .spawn(async move { noting.keep_uses(closing).await });
        let counting = self.control.clone();
        let closing = self.closing.clone();
        self.tasks
            .spawn(async move { counting.keep_budgets(closing).await });
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Notes that the server before this one did not stop in order.
    pub(super) fn note_crash(&self) {
        self.after_crash.store(true, Ordering::Release);
    }

    pub(super) fn ca_pem(&self) -> &Arc<str> {
        &self.ca_pem
    }

    pub(super) async fn setup_token(&self) -> Option<String> {
        match self.control.is_initialized().await {
            Ok(false) => Some(self.control.setup_token().to_owned()),
            Ok(true) => None,
            Err(error) => {
                tracing::warn!(%error, "whether there is an owner cannot be read");
                None
            }
        }
    }

    /// The management API without a socket, for the operator of this machine.
    pub(super) fn local_api(
        &self,
        endpoints: &Endpoints,
    ) -> Result<(axum::Router, SecretBytes), StartError> {
        let token = Token::generate(TokenKind::UserSession)
            .map_err(|error| CliError::new(format!("no randomness: {error}")))?;
        let state = ApiState::with_local_operator(
            self.control.clone(),
            self.info(endpoints, self.closing.clone()),
            &RateLimits::off(),
            &token,
        );
        Ok((
            agent_vault_api::router(state),
            SecretBytes::new(token.expose().as_bytes().to_vec()),
        ))
    }

    /// Serves the API and, where there is one, the proxy, and tells webhooks, until `shutdown`; then lets what is open end.
    pub(super) async fn serve(
        &self,
        endpoints: &Endpoints,
        api: TcpListener,
        proxy: Option<TcpListener>,
        shutdown: CancellationToken,
    ) {
        let info = self.info(endpoints, shutdown.clone());
        let state = ApiState::new(self.control.clone(), info);
        let router = agent_vault_api::router(state);
        if let Some(client) = &self.infisical {
            let (client, closing) = (Arc::clone(client), self.closing.clone());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = closing.cancelled() => {}
                    () = stores::first_login(client) => {}
                }
            });
        }
        let (keeping, closing) = (self.control.clone(), self.closing.clone());
        self.tasks
            .spawn(async move { keeping.keep_stores(closing).await });
        // Bound is as good as listening, and said before the API can be asked for it.
        self.proxy_listening
            .store(proxy.is_some(), Ordering::Release);
        let api = agent_vault_api::serve(
            api,
            router,
            Some(own_tls::for_api(&self.config, &self.identity)),
            shutdown.clone(),
        );
        let proxy = async {
            let Some(listener) = proxy else {
                return;
            };
            self.proxy(endpoints, shutdown.clone())
                .serve(listener)
                .await;
            self.proxy_listening.store(false, Ordering::Release);
        };
        let courier = Arc::new(OutboundCourier(Arc::clone(&self.upstream)));
        let hooks = Box::pin(self.control.keep_webhooks(courier, shutdown.clone()));
        tokio::join!(api, proxy, hooks);
    }

    fn proxy(&self, endpoints: &Endpoints, shutdown: CancellationToken) -> Proxy {
        let control = self.control.clone();
        let cap = |bytes: u64| (bytes > 0).then_some(bytes);
        Proxy::new(
            Arc::clone(self.control.broker()),
            Arc::clone(&self.issuer),
            Arc::clone(&self.upstream),
            self.journal.clone(),
            ProxyOptions {
                base_url: Some(Arc::from(endpoints.base_url.as_str())),
                max_request_bytes: cap(self.config.max_request_bytes.value),
                max_response_bytes: cap(self.config.max_response_bytes.value),
                log_paths: self.config.log_paths.value,
                auth_failures: Arc::new(move || {
                    let auth = control.limits().limits.auth?;
                    Some((auth.max, auth.window))
                }),
                own_identity: Some(Arc::clone(&self.identity)),
                require_tls: self.config.tls.value == TlsMode::Required,
                proxy_protocol_from: self.config.proxy_protocol_from.value.clone(),
                clock: Arc::new(Timestamp::now),
            },
            shutdown,
        )
    }

    fn info(&self, endpoints: &Endpoints, closing: CancellationToken) -> ServerInfo {
        let journal = self.journal.clone();
        let flush: FlushLogs = Arc::new(move || {
            let journal = journal.clone();
            Box::pin(async move { journal.flush().await })
        });
        ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            base_url: endpoints.base_url.clone(),
            base_url_is_explicit: self.config.base_url.value.is_some(),
            proxy_port: endpoints
                .proxy
                .map_or(0, |address: SocketAddr| address.port()),
            proxy_listening: Arc::clone(&self.proxy_listening),
            own_tls: own_tls::mode(&self.config),
            ca_pem: Arc::clone(&self.ca_pem),
            flush_logs: Some(flush),
            trusted_proxies: self.config.trusted_proxies.value.clone(),
            allow_remote_setup: self.config.allow_remote_setup.value,
            closing,
            metrics: Some(metrics::exposition(metrics::Sources {
                control: self.control.clone(),
                meters: Arc::clone(self.journal.meters()),
                upstream: Arc::clone(&self.upstream),
                issuer: Arc::clone(&self.issuer),
                after_crash: Arc::clone(&self.after_crash),
            })),
            metrics_token: self.config.metrics_token.value,
            tasks: self.tasks.clone(),
        }
    }

    /// Returns when every finished request is in the log.
    pub(super) async fn flush(&self) {
        self.journal.flush().await;
    }

    /// Ends the background: connections closed, the log written, the database checkpointed.
    pub(super) async fn close(&self) {
        // While there is a way out to give leases back by.
        self.control.stop_stores().await;
        self.upstream.close().await;
        self.control.drain().await;
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // What the last requests have to tell is sent by whoever serves next.
        if let Err(error) = self.control.queue_notices().await {
            tracing::warn!(%error, "events for webhooks were lost");
        }
        if self.journal.lost() > 0 {
            tracing::warn!(
                records = self.journal.lost(),
                "request log records were lost"
            );
        }
        self.store.close().await;
    }
}

async fn open_store(config: &ServerConfig, now: Timestamp) -> Result<Store, StartError> {
    Store::open(&config.data_dir.value, OpenOptions { now })
        .await
        .map_err(|error| store_failed(&error))
}

fn store_failed(error: &StoreError) -> StartError {
    let failed = CliError::new(error.to_string());
    StartError::new(match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    })
}

async fn unlocked(
    store: &Store,
    unlock: Unlock,
    now: Timestamp,
) -> Result<(Keyring, KeyHome), StartError> {
    let password = match unlock {
        Unlock::Passwordless => None,
        Unlock::Password(password) => Some(password),
    };
    let unlocked = store.unlock(password, now).await.map_err(|error| {
        let failed = CliError::new(error.to_string());
        StartError {
            wrong_password: matches!(error, UnlockError::WrongPassword),
            error: match error.hint() {
                Some(hint) => failed.hint(hint),
                None => failed,
            },
        }
    })?;
    if unlocked.password_unused {
        return Err(StartError::new(
            CliError::new("a master password was given, but this data folder has none, so it protects nothing")
                .hint("leave the password out"),
        ));
    }
    if unlocked.created && unlocked.protection == Protection::KeyFile {
        tracing::info!(
            "made a data key without a master password; it lies in the data folder, for this user only"
        );
    }
    Ok((unlocked.keyring, unlocked.home))
}

/// The root certificate: made at the first start, by whoever comes first where several processes share the database.
async fn root_ca(control: &Control, now: Timestamp) -> Result<RootCa, StartError> {
    let failed = |error: &dyn std::fmt::Display| {
        StartError::new(CliError::new(format!(
            "the certificate authority cannot be opened: {error}"
        )))
    };
    let authority = control.authority();
    let (cert_pem, key) = match authority.load().await.map_err(|error| failed(&error))? {
        Some(stored) => stored,
        None => {
            let (_, material) = RootCa::generate(now).map_err(|error| failed(&error))?;
            authority
                .install(material.cert_pem, &material.key_der)
                .await
                .map_err(|error| failed(&error))?
        }
    };
    RootCa::load(&cert_pem, &key).map_err(|error| failed(&error))
}
