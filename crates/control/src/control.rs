//! [`Control`]: the handle, and how it keeps the broker in step with the database.

use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, RwLock, Weak};

use agent_vault_broker::{Broker, BrokerOptions, SessionKind, TokenEndpoint};
use agent_vault_seal::{Keyring, Token, TokenHash, TokenKind};
use agent_vault_store::Store;
use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::error::ControlError;
use crate::hashing::Hasher;
use crate::instance::Loaded;
use crate::keys::KeyKeeping;
use crate::limits::EffectiveLimits;
use crate::options::ControlOptions;
use crate::outbox::Outbox;
use crate::refusals::RefusalBudget;
use crate::renewal::Renewer;
use crate::stores::Lending;
use crate::touch::TouchGate;
use crate::write::{Ended, Publication};
use crate::{
    Account, Agents, Authority, Codes, Credentials, Devices, Discovery, Instance, Invites, Logs,
    Members, OAuth, Proposals, Registration, SecondFactors, Services, Sessions, Settings, Stores,
    Tokens, Users, Vaults, publish,
};

/// The management plane. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    store: Store,
    keyring: Arc<Keyring>,
    broker: Arc<Broker>,
    clock: Clock,
    options: ControlOptions,
    instance_id: Vec<u8>,
    hasher: Hasher,
    touches: TouchGate,
    refusals: RefusalBudget,
    /// The settings of the instance as of the version that the broker shows.
    loaded: RwLock<Arc<Loaded>>,
    outbox: Outbox,
    tasks: TaskTracker,
    /// Held from the begin of a write until it is published, so that the broker sees writes in their order. Holds the version of
    /// the database that the broker shows.
    gate: Arc<Mutex<i64>>,
    /// Set once an owner exists; never unset.
    initialized: AtomicBool,
    /// Counts the batches that this process appended to the request log.
    log_news: watch::Sender<u64>,
    key_keeping: KeyKeeping,
    token_endpoint: OnceLock<Arc<dyn TokenEndpoint>>,
    lending: Lending,
    /// Given to the operator while there is no owner.
    setup: Token,
}

/// The management plane, for those whom it owns itself.
pub(crate) struct WeakControl(Weak<Inner>);

impl WeakControl {
    /// The management plane, while there is one.
    pub(crate) fn upgrade(&self) -> Option<Control> {
        self.0.upgrade().map(Control)
    }
}

impl Control {
    /// Opens the management plane on a database and loads the broker from it.
    ///
    /// # Errors
    /// When the database cannot be read, or the system has no randomness.
    pub async fn open(
        store: Store,
        keyring: Arc<Keyring>,
        clock: Clock,
        options: ControlOptions,
    ) -> Result<Self, ControlError> {
        let instance_id = store.instance_id().as_bytes().to_vec();
        let loaded = Loaded::read(&store, &options.limits).await?;
        let broker = Arc::new(Broker::new(
            Arc::clone(&keyring),
            BrokerOptions {
                limits: loaded.limits.limits.proxy,
            },
        ));
        let control = Self(Arc::new(Inner {
            store,
            keyring,
            broker,
            clock,
            options,
            instance_id,
            hasher: Hasher::new(),
            touches: TouchGate::default(),
            refusals: RefusalBudget::default(),
            loaded: RwLock::new(Arc::new(loaded)),
            outbox: Outbox::default(),
            tasks: TaskTracker::new(),
            gate: Arc::new(Mutex::new(0)),
            initialized: AtomicBool::new(false),
            log_news: watch::Sender::new(0),
            key_keeping: KeyKeeping::default(),
            token_endpoint: OnceLock::new(),
            lending: Lending::default(),
            setup: Token::generate(TokenKind::Invite)?,
        }));
        let renewer = Renewer::new(WeakControl(Arc::downgrade(&control.0)));
        control.broker().use_source(Arc::new(renewer));
        let mut gate = control.gate().await;
        control.load_everything(&mut gate).await?;
        drop(gate);
        Ok(control)
    }

    /// What the proxy sees.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.0.broker
    }

    /// Whether an owner exists. Asks the database while the answer is no, because another process may have made one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_initialized(&self) -> Result<bool, ControlError> {
        if self.0.initialized.load(Ordering::Acquire) {
            return Ok(true);
        }
        let initialized = self.0.store.user_count().await? > 0;
        if initialized {
            self.0.initialized.store(true, Ordering::Release);
        }
        Ok(initialized)
    }

    /// The one-time token with which the first owner may be registered from elsewhere. Print it for the operator while
    /// [`Control::is_initialized`] is false; it opens nothing afterwards.
    #[must_use]
    pub fn setup_token(&self) -> &str {
        self.0.setup.expose()
    }

    /// Waits until every write that has begun has ended. No new ones should begin.
    pub async fn drain(&self) {
        self.settle().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The rate limits that count now.
    #[must_use]
    pub fn limits(&self) -> Arc<EffectiveLimits> {
        Arc::clone(&self.loaded().limits)
    }

    /// Settings of the instance.
    #[must_use]
    pub fn instance(&self) -> Instance<'_> {
        Instance(self)
    }

    /// Codes that go by mail: confirming an address, setting a new password.
    #[must_use]
    pub fn codes(&self) -> Codes<'_> {
        Codes(self)
    }

    /// Invitations.
    #[must_use]
    pub fn invites(&self) -> Invites<'_> {
        Invites(self)
    }

    /// Logins that a device asks for and a person approves elsewhere.
    #[must_use]
    pub fn devices(&self) -> Devices<'_> {
        Devices(self)
    }

    /// Second factors of people.
    #[must_use]
    pub fn second_factors(&self) -> SecondFactors<'_> {
        SecondFactors(self)
    }

    /// New accounts.
    #[must_use]
    pub fn registration(&self) -> Registration<'_> {
        Registration(self)
    }

    /// Logins, and authentication of tokens.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(self)
    }

    /// One's own account.
    #[must_use]
    pub fn account(&self) -> Account<'_> {
        Account(self)
    }

    /// The user directory.
    #[must_use]
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }

    /// Vaults.
    #[must_use]
    pub fn vaults(&self) -> Vaults<'_> {
        Vaults(self)
    }

    /// People and agents in a vault.
    #[must_use]
    pub fn members(&self) -> Members<'_> {
        Members(self)
    }

    /// Sealed values.
    #[must_use]
    pub fn credentials(&self) -> Credentials<'_> {
        Credentials(self)
    }

    /// OAuth grants of credentials.
    #[must_use]
    pub fn oauth(&self) -> OAuth<'_> {
        OAuth(self)
    }

    /// Says who asks the token endpoints of OAuth providers. Once: the first word counts. Without it none is asked.
    pub fn use_token_endpoint(&self, endpoint: Arc<dyn TokenEndpoint>) {
        if self.0.token_endpoint.set(endpoint).is_err() {
            tracing::debug!("token endpoints are asked by another already");
        }
    }

    pub(crate) fn token_endpoint(&self) -> Option<&Arc<dyn TokenEndpoint>> {
        self.0.token_endpoint.get()
    }

    /// Rules.
    #[must_use]
    pub fn services(&self) -> Services<'_> {
        Services(self)
    }

    /// What agents ask to change, and the decisions on it.
    #[must_use]
    pub fn proposals(&self) -> Proposals<'_> {
        Proposals(self)
    }

    /// Settings of a vault.
    #[must_use]
    pub fn settings(&self) -> Settings<'_> {
        Settings(self)
    }

    /// Agents.
    #[must_use]
    pub fn agents(&self) -> Agents<'_> {
        Agents(self)
    }

    /// Scoped sessions.
    #[must_use]
    pub fn tokens(&self) -> Tokens<'_> {
        Tokens(self)
    }

    /// What an agent may know.
    #[must_use]
    pub fn discovery(&self) -> Discovery<'_> {
        Discovery(self)
    }

    /// The request log.
    #[must_use]
    pub fn logs(&self) -> Logs<'_> {
        Logs(self)
    }

    /// External credential stores.
    #[must_use]
    pub fn stores(&self) -> Stores<'_> {
        Stores(self)
    }

    /// The certificate authority's record.
    #[must_use]
    pub fn authority(&self) -> Authority<'_> {
        Authority(self)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    pub(crate) fn options(&self) -> &ControlOptions {
        &self.0.options
    }

    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.0.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the environment says about how long the request log is kept.
    #[must_use]
    pub fn retention_knobs(&self) -> crate::RetentionKnobs {
        self.0.options.retention
    }

    /// Whether mail is set up; it may fail all the same.
    #[must_use]
    pub fn can_mail(&self) -> bool {
        self.0.options.mailer.is_some()
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    pub(crate) fn instance_id(&self) -> &[u8] {
        &self.0.instance_id
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.0.hasher
    }

    pub(crate) fn touches(&self) -> &TouchGate {
        &self.0.touches
    }

    pub(crate) fn refusals(&self) -> &RefusalBudget {
        &self.0.refusals
    }

    pub(crate) fn key_keeping(&self) -> &KeyKeeping {
        &self.0.key_keeping
    }

    pub(crate) fn lending(&self) -> &Lending {
        &self.0.lending
    }

    pub(crate) fn log_news(&self) -> &watch::Sender<u64> {
        &self.0.log_news
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn is_setup_token(&self, token: &str) -> bool {
        TokenHash::of(token) == self.0.setup.hash()
    }

    pub(crate) fn mark_initialized(&self) {
        self.0.initialized.store(true, Ordering::Release);
    }

    pub(crate) async fn gate(&self) -> OwnedMutexGuard<i64> {
        Arc::clone(&self.0.gate).lock_owned().await
    }

    /// Loads the broker anew when the database is not at the version that the broker shows.
    pub(crate) async fn catch_up(&self) -> Result<bool, ControlError> {
        if self.0.store.version().await? == *self.0.gate.lock().await {
            return Ok(false);
        }
        let mut gate = self.gate().await;
        // A write of our own may have been published while we waited for the gate.
        if self.0.store.version().await? == *gate {
            return Ok(false);
        }
        self.load_everything(&mut gate).await?;
        Ok(true)
    }

    /// Shows the broker what was committed as `version`. When another process has written in between, loads everything.
    pub(crate) async fn published(
        &self,
        gate: &mut i64,
        version: i64,
        publications: Vec<Publication>,
    ) -> Result<(), ControlError> {
        let wide = publications.iter().any(|publication| {
            matches!(publication, Publication::Everything | Publication::Keys(_))
        });
        // Before anything is loaded: it is sealed with them.
        for publication in &publications {
            if let Publication::Keys(keyring) = publication {
                self.0.keyring.replace(keyring);
            }
        }
        if wide || version != gate.saturating_add(1) {
            return self.load_everything(gate).await;
        }
        for publication in publications {
            self.apply(publication);
        }
        *gate = version;
        Ok(())
    }

    fn apply(&self, publication: Publication) {
        let broker = &self.0.broker;
        match publication {
            Publication::Vault(record) => broker.put_vault(*record),
            Publication::VaultGone(id) => {
                broker.drop_vault(id);
                self.lends_no_more(id);
            }
            Publication::Agent(record) => broker.put_agent(record),
            Publication::AgentGone(id) => broker.drop_agent(id),
            Publication::Session(record) => broker.put_session(*record),
            Publication::Sessions(ended) => {
                broker
                    .drop_sessions(|session| has_ended(&ended, &session.public_id, &session.kind));
            }
            Publication::Keys(_) | Publication::Everything => {}
        }
    }

    pub(crate) async fn load_again(&self) -> Result<(), ControlError> {
        let mut gate = self.gate().await;
        self.load_everything(&mut gate).await
    }

    async fn load_everything(&self, gate: &mut i64) -> Result<(), ControlError> {
        self.reload_keys().await?;
        let (image, version) = publish::image(
            &self.0.store,
            &self.0.instance_id,
            self.0.options.unmatched,
            self.now(),
        )
        .await?;
        self.0.broker.replace_all(image);
        let stores = self.0.store.external_stores().await?;
        self.adopt_stores(stores, self.0.store.all_dynamic_secrets().await?)?;
        let loaded = Loaded::read(&self.0.store, &self.0.options.limits).await?;
        self.0.broker.set_limits(loaded.limits.limits.proxy);
        *self
            .0
            .loaded
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        *gate = version;
        Ok(())
    }
}

fn has_ended(ended: &Ended, public_id: &str, kind: &SessionKind) -> bool {
    match (ended, kind) {
        (Ended::One(ended), _) => ended == public_id,
        (Ended::OfAgent(ended), SessionKind::Agent { agent }) => ended == agent,
        (
            Ended::MintedBy(actor, within),
            SessionKind::Scoped {
                vault, minted_by, ..
            },
        ) => {
            within.is_none_or(|within| within == *vault)
                && minted_by
                    .as_ref()
                    .is_some_and(|minter| minter.id == actor.id)
        }
        _ => false,
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}
