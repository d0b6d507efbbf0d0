//! The snapshot, and the broker that swaps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_vault_policy::CredentialKey;
use agent_vault_seal::{Keyring, TokenHash};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::bounds::{Board, Bounds};
use crate::ids::ById;
use crate::limits::{LimitSettings, ScopeLimits};
use crate::principal::{Actor, ActorKind, AuthRefusal, Principal, VaultRole};
use crate::record::{
    AgentRecord, Image, SealedCredential, SessionKind, SessionRecord, VaultRecord,
};
use crate::source::{Flights, Source};
use crate::usage::LastUse;
use crate::vault::{Admission, Vault};

/// Most scopes whose limits are remembered; beyond it those that no connection uses are forgotten.
const MAX_SCOPES: usize = 10_000;

/// One consistent state. Parts are shared between snapshots, so a change copies one table of pointers.
#[derive(Default, Clone)]
struct Directory {
    vaults: Arc<ById<Uuid, Arc<Vault>>>,
    vault_names: Arc<HashMap<Arc<str>, Uuid>>,
    agents: Arc<ById<Uuid, Arc<AgentRecord>>>,
    sessions: Arc<ById<TokenHash, Live>>,
}

/// A token and when it was last used. The second outlives changes of the first.
#[derive(Clone)]
struct Live {
    record: Arc<SessionRecord>,
    used: Arc<LastUse>,
    bounds: Option<Arc<Bounds>>,
}

impl Live {
    /// The record in the place of what is known of the same token.
    fn replacing(known: &ById<TokenHash, Live>, record: SessionRecord, board: &Arc<Board>) -> Self {
        let known = known.get(&record.token);
        let used = known.map_or_else(Arc::default, |live| Arc::clone(&live.used));
        let counting = known.and_then(|live| live.bounds.as_ref());
        Self {
            bounds: Bounds::of(&record.bounds, counting, board),
            record: Arc::new(record),
            used,
        }
    }
}

/// How the broker is set up.
#[derive(Debug, Clone, Copy)]
pub struct BrokerOptions {
    /// The PROXY tier.
    pub limits: LimitSettings,
}

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
enum ScopeKey {
    Agent(Uuid, Uuid),
    Session(Arc<str>),
}

/// The limits of each scope that was used, all with the same settings.
#[derive(Debug)]
struct Scopes {
    settings: LimitSettings,
    used: HashMap<ScopeKey, Arc<ScopeLimits>>,
}

/// The proxy's view of the world. Cheap to read, swapped whole on each write.
pub struct Broker {
    current: ArcSwap<Directory>,
    writer: Mutex<()>,
    keyring: Arc<Keyring>,
    scopes: Mutex<Scopes>,
    flights: Arc<Flights>,
    /// Counts changes that may have ended a principal, so that open tunnels look again.
    revocations: watch::Sender<u64>,
    /// Where requests that were counted are announced to whoever writes them.
    board: Arc<Board>,
}

impl Broker {
    /// An empty broker that opens credentials with `keyring`.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, options: BrokerOptions) -> Self {
        Self {
            current: ArcSwap::from_pointee(Directory::default()),
            writer: Mutex::new(()),
            keyring,
            scopes: Mutex::new(Scopes {
                settings: options.limits,
                used: HashMap::new(),
            }),
            flights: Arc::default(),
            revocations: watch::Sender::new(0),
            board: Arc::default(),
        }
    }

    /// Says who fetches values that end by themselves. Once: the first word counts.
    pub fn use_source(&self, source: Arc<dyn Source>) {
        self.flights.use_source(source);
    }

    /// Changes the PROXY tier. Counts from the next request on, in open tunnels too; what is in flight keeps its place under the old one.
    pub fn set_limits(&self, settings: LimitSettings) {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if scopes.settings != settings {
            scopes.settings = settings;
            for limits in scopes.used.values() {
                limits.set(settings);
            }
        }
    }

    /// Replaces everything: at start, and when another process has written to the same database.
    pub fn replace_all(&self, image: Image) {
        let compiled: Vec<Vault> = image
            .vaults
            .into_iter()
            .map(|record| self.compile(record))
            .collect();
        let _writer = self.lock();
        let current = self.current.load();
        let known = Arc::clone(&current.sessions);
        let vaults: ById<Uuid, Arc<Vault>> = compiled
            .into_iter()
            .map(|vault| {
                let before = current.vaults.get(&vault.id).map(Arc::as_ref);
                (vault.id, Arc::new(vault.replacing(before)))
            })
            .collect();
        let next = Directory {
            vault_names: Arc::new(names(&vaults)),
            vaults: Arc::new(vaults),
            agents: Arc::new(
                image
                    .agents
                    .into_iter()
                    .map(|agent| (agent.id, Arc::new(agent)))
                    .collect(),
            ),
            sessions: Arc::new(
                image
                    .sessions
                    .into_iter()
                    .map(|session| (session.token, Live::replacing(&known, session, &self.board)))
                    .collect(),
            ),
        };
        self.current.store(Arc::new(next));
        self.announce();
    }

    /// Puts a vault in, or replaces it after any change to its name, services, settings or credentials.
    pub fn put_vault(&self, record: VaultRecord) {
        let vault = self.compile(record);
        self.change(|next| {
            let vaults = Arc::make_mut(&mut next.vaults);
            let before = vaults.get(&vault.id).map(Arc::as_ref);
            let vault = vault.replacing(before);
            vaults.insert(vault.id, Arc::new(vault));
            next.vault_names = Arc::new(names(vaults));
        });
    }

    /// Says which values are lent to a vault, in the place of those that were, and whether more can be lent on demand: then how
    /// often what can be lent has changed, so that what was refused before is asked for again. A vault that is not known stays so.
    pub fn set_leased(
        &self,
        vault: Uuid,
        leasing: Option<u32>,
        leased: Vec<(CredentialKey, SealedCredential)>,
    ) {
        let leased = leased.into_iter().collect();
        self.change(|next| {
            let keyring = Arc::new(self.keyring.snapshot());
            let vaults = Arc::make_mut(&mut next.vaults);
            let Some(known) = vaults.get(&vault) else {
                return;
            };
            let lent = known.lent(leasing, leased, keyring);
            vaults.insert(vault, Arc::new(lent));
        });
    }

    /// Forgets a vault and every session bound to it.
    pub fn drop_vault(&self, id: Uuid) {
        self.change(|next| {
            let vaults = Arc::make_mut(&mut next.vaults);
            vaults.remove(&id);
            next.vault_names = Arc::new(names(vaults));
            Arc::make_mut(&mut next.sessions).retain(
                |_, live| !matches!(live.record.kind, SessionKind::Scoped { vault, .. } if vault == id),
            );
        });
    }

    /// Puts an agent in, or replaces it after any change to its name, state or grants.
    pub fn put_agent(&self, record: AgentRecord) {
        self.change(|next| {
            Arc::make_mut(&mut next.agents).insert(record.id, Arc::new(record));
        });
    }

    /// Forgets an agent and its own tokens.
    pub fn drop_agent(&self, id: Uuid) {
        self.change(|next| {
            Arc::make_mut(&mut next.agents).remove(&id);
            Arc::make_mut(&mut next.sessions).retain(
                |_, live| !matches!(live.record.kind, SessionKind::Agent { agent } if agent == id),
            );
        });
    }

    /// Puts a session in.
    pub fn put_session(&self, record: SessionRecord) {
        self.change(|next| {
            let sessions = Arc::make_mut(&mut next.sessions);
            let live = Live::replacing(sessions, record, &self.board);
            sessions.insert(live.record.token, live);
        });
    }

    /// Forgets every session for which `ended` is true.
    pub fn drop_sessions(&self, ended: impl Fn(&SessionRecord) -> bool) {
        self.change(|next| {
            Arc::make_mut(&mut next.sessions).retain(|_, live| !ended(&live.record));
        });
    }

    /// Tells each open tunnel and stream when to present its principal again. Bounded: only the newest count is kept.
    #[must_use]
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revocations.subscribe()
    }

    /// Finds the principal behind a token. `hint` is the vault name from the proxy URL's password field.
    ///
    /// # Errors
    /// [`AuthRefusal`]; the same answer whether a named vault is missing or merely closed to this token.
    pub fn authenticate(
        &self,
        token: &str,
        hint: Option<&str>,
        now: Timestamp,
    ) -> Result<Principal, AuthRefusal> {
        let token = TokenHash::of(token);
        let directory = self.current.load();
        let live = directory
            .sessions
            .get(&token)
            .filter(|live| is_live(&live.record, now))
            .ok_or(AuthRefusal::Invalid)?;
        let session = &live.record;
        match &session.kind {
            SessionKind::User => Err(AuthRefusal::NoVault),
            SessionKind::Scoped {
                vault,
                role,
                minted_by,
            } => {
                let known = directory.vaults.get(vault).ok_or(AuthRefusal::Invalid)?;
                if hint.is_some_and(|hint| hint != &*known.name) {
                    return Err(AuthRefusal::Mismatch);
                }
                let public_id: Arc<str> = Arc::from(session.public_id.as_str());
                Ok(Principal {
                    token,
                    actor: minted_by.clone(),
                    vault: *vault,
                    role: *role,
                    label: session.label.as_deref().map(Arc::from),
                    limits: self.scope(ScopeKey::Session(Arc::clone(&public_id))),
                    session: public_id,
                    bounds: live.bounds.clone(),
                })
            }
            SessionKind::Agent { agent } => {
                let agent = directory
                    .agents
                    .get(agent)
                    .filter(|agent| agent.active)
                    .ok_or(AuthRefusal::Invalid)?;
                let (vault, role) = choose_vault(&directory, agent, hint)?;
                Ok(Principal {
                    token,
                    session: Arc::from(session.public_id.as_str()),
                    actor: Some(Actor {
                        kind: ActorKind::Agent,
                        id: agent.id,
                        name: Arc::from(agent.name.as_str()),
                    }),
                    vault,
                    role,
                    label: session.label.as_deref().map(Arc::from),
                    limits: self.scope(ScopeKey::Agent(agent.id, vault)),
                    bounds: live.bounds.clone(),
                })
            }
        }
    }

    /// Checks that a principal is still good and gives its vault as it is now. For every request, inside tunnels too.
    ///
    /// # Errors
    /// [`AuthRefusal`] once the token, the grant, the agent or the vault is gone, or the token has expired.
    pub fn admit(&self, principal: &Principal, now: Timestamp) -> Result<Admission, AuthRefusal> {
        let directory = self.current.load();
        let live = directory
            .sessions
            .get(&principal.token)
            .filter(|live| is_live(&live.record, now))
            .ok_or(AuthRefusal::Invalid)?;
        live.used.note(now);
        let session = &live.record;
        let bound = match &session.kind {
            SessionKind::User => false,
            SessionKind::Scoped { vault, .. } => *vault == principal.vault,
            SessionKind::Agent { agent } => directory.agents.get(agent).is_some_and(|agent| {
                agent.active
                    && agent
                        .grants
                        .iter()
                        .any(|(vault, _)| *vault == principal.vault)
            }),
        };
        if !bound {
            return Err(AuthRefusal::Denied);
        }
        let vault = directory
            .vaults
            .get(&principal.vault)
            .ok_or(AuthRefusal::Invalid)?;
        let bounds = live.bounds.clone();
        if !vault.former.is_empty()
            && let Some(vault) = self.age(principal.vault, now)
        {
            return Ok(Admission {
                vault,
                bounds,
                at: now,
            });
        }
        Ok(Admission {
            vault: Arc::clone(vault),
            bounds,
            at: now,
        })
    }

    /// Lets go of former values whose time is over; returns the vault if there were any.
    fn age(&self, id: Uuid, now: Timestamp) -> Option<Arc<Vault>> {
        // Not for each request under the lock.
        self.current.load().vaults.get(&id)?.aged(now)?;
        let _writer = self.lock();
        let mut next = Directory::clone(&self.current.load());
        let vault = Arc::new(next.vaults.get(&id)?.aged(now)?);
        Arc::make_mut(&mut next.vaults).insert(id, Arc::clone(&vault));
        self.current.store(Arc::new(next));
        Some(vault)
    }

    /// When a principal's token ends, if it does.
    #[must_use]
    pub fn expiry(&self, principal: &Principal) -> Option<Timestamp> {
        self.current
            .load()
            .sessions
            .get(&principal.token)
            .and_then(|live| live.record.expires_at)
    }

    /// Notes that a token was used elsewhere than through [`admit`](Self::admit). One that is not known is left out.
    pub fn note_use(&self, token: &TokenHash, now: Timestamp) {
        if let Some(live) = self.current.load().sessions.get(token) {
            live.used.note(now);
        }
    }

    /// Which tokens were used since the last time that this was asked, and when last. In no order.
    #[must_use]
    pub fn take_uses(&self) -> Vec<(TokenHash, Timestamp)> {
        self.current
            .load()
            .sessions
            .iter()
            .filter_map(|(token, live)| Some((*token, live.used.take()?)))
            .collect()
    }

    /// How many requests a token has left; `None` for one that is not known or is not counted.
    #[must_use]
    pub fn budget_left(&self, token: &TokenHash) -> Option<u64> {
        let directory = self.current.load();
        let bounds = directory.sessions.get(token)?.bounds.as_ref()?;
        bounds.budget().map(|budget| budget.left())
    }

    /// Which tokens have counted requests that were not written yet, and how many. They stay so until [`settle_spent`].
    ///
    /// [`settle_spent`]: Self::settle_spent
    #[must_use]
    pub fn take_spent(&self) -> Vec<(TokenHash, u64)> {
        self.current
            .load()
            .sessions
            .iter()
            .filter_map(|(token, live)| {
                let budget = live.bounds.as_ref()?.budget()?;
                Some((*token, budget.unwritten()?))
            })
            .collect()
    }

    /// So many requests of a token were written, after which the database has `total`.
    pub fn settle_spent(&self, token: &TokenHash, count: u64, total: u64) {
        let directory = self.current.load();
        let bounds = directory
            .sessions
            .get(token)
            .and_then(|live| live.bounds.as_ref());
        if let Some(budget) = bounds.and_then(|bounds| bounds.budget()) {
            budget.settle(count, total);
        }
    }

    /// Returns when requests were counted that are to be written.
    pub async fn spent_is_due(&self) {
        self.board.due().await;
    }

    /// Returns when they are to be written at once: a request waits for it, or soon will.
    pub async fn spent_is_urgent(&self) {
        self.board.urgent().await;
    }

    /// What was taken could not be written: it is due again.
    pub fn spent_stays_due(&self) {
        self.board.again();
    }

    fn compile(&self, record: VaultRecord) -> Vault {
        // With the keys of this moment: a rotation that ends later takes none away from a request under way.
        Vault::new(
            record,
            Arc::new(self.keyring.snapshot()),
            Arc::clone(&self.flights),
        )
    }

    fn change(&self, edit: impl FnOnce(&mut Directory)) {
        let _writer = self.lock();
        let mut next = Directory::clone(&self.current.load());
        edit(&mut next);
        self.current.store(Arc::new(next));
        self.announce();
    }

    fn announce(&self) {
        self.revocations
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scope(&self, key: ScopeKey) -> Arc<ScopeLimits> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limits) = scopes.used.get(&key) {
            return Arc::clone(limits);
        }
        if scopes.used.len() >= MAX_SCOPES {
            scopes
                .used
                .retain(|_, limits| Arc::strong_count(limits) > 1);
        }
        let limits = Arc::new(ScopeLimits::new(scopes.settings));
        if scopes.used.len() < MAX_SCOPES {
            scopes.used.insert(key, Arc::clone(&limits));
        }
        limits
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// A token is dead once now is strictly after its expiry.
fn is_live(session: &SessionRecord, now: Timestamp) -> bool {
    session.expires_at.is_none_or(|end| now <= end)
}

fn names(vaults: &ById<Uuid, Arc<Vault>>) -> HashMap<Arc<str>, Uuid> {
    vaults
        .values()
        .map(|vault| (Arc::clone(&vault.name), vault.id))
        .collect()
}

fn choose_vault(
    directory: &Directory,
    agent: &AgentRecord,
    hint: Option<&str>,
) -> Result<(Uuid, VaultRole), AuthRefusal> {
    let live = || {
        agent
            .grants
            .iter()
            .filter(|(vault, _)| directory.vaults.contains_key(vault))
    };
    if let Some(hint) = hint {
        let wanted = directory.vault_names.get(hint).ok_or(AuthRefusal::Denied)?;
        return live()
            .find(|(vault, _)| vault == wanted)
            .copied()
            .ok_or(AuthRefusal::Denied);
    }
    let mut grants = live();
    match (grants.next(), grants.next()) {
        (Some(only), None) => Ok(*only),
        (None, _) => Err(AuthRefusal::NoVault),
        (Some(_), Some(_)) => Err(AuthRefusal::Ambiguous {
            vaults: live()
                .filter_map(|(vault, _)| directory.vaults.get(vault))
                .map(|vault| vault.name.to_string())
                .collect(),
        }),
    }
}
