//! External credential stores: a vault whose static credentials are copies of what Infisical holds.
//!
//! The proxy reads the copies; only this module talks to the store, through [`SecretStore`]. A refresh fetches outside any
//! transaction and writes only what changed, and only if the vault is still connected as it was when the fetch began. One process
//! refreshes a vault at a time, whoever else shares the database. Secrets that the store makes on demand are in `lending`.

mod lending;
mod names;
mod place;
mod refresh;
mod worker;

use agent_vault_broker::{SecretStore, StorePlace};
use agent_vault_store::{DynamicSecret, ExternalKind, ExternalStore, Store, SyncStatus};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

pub(crate) use lending::Lending;
pub(crate) use names::DynamicKey;
use place::StoreConfig;
pub use place::{MAX_POLL_SECONDS, MIN_POLL_SECONDS, StoreChoice};
pub use worker::StoreHealth;

use place::Chosen;
use refresh::Fetched;

use crate::Control;
use crate::access::{self, AnyActor, InstanceOwner, Member, Rows, VaultRef};
use crate::actor::Actor;
use crate::error::{ControlError, ErrorKind};
use crate::vaults::{self, VaultView};
use crate::write::{Publication, Write};

/// The least age at which a copy counts as stale, when its refreshes fail.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// Refreshes that must have been missed, too.
const STALE_INTERVALS: i64 = 3;

/// A vault's external store, as far as the one who asks may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreView {
    /// What kind of store it is.
    pub kind: &'static str,
    /// Where in it the vault's secrets are; for vault admins and instance owners.
    pub place: Option<StorePlace>,
    /// Seconds between two refreshes.
    pub poll_interval_seconds: u32,
    /// How the last refresh ended: `ok` or `error`.
    pub last_sync_status: Option<&'static str>,
    /// When.
    pub last_synced_at: Option<Timestamp>,
    /// When the last one ended that went well.
    pub last_success_at: Option<Timestamp>,
    /// Why it failed; for vault admins and instance owners.
    pub last_sync_error: Option<String>,
    /// Whether refreshes have failed for so long that the copies may be out of date.
    pub stale: bool,
}

/// A dynamic credential in a list.
#[derive(Debug)]
pub struct DynamicView {
    /// Name, or `<SECRET>_*` while its fields are not known.
    pub key: String,
    /// Whether the store refused it the last time.
    pub unavailable: bool,
    /// The value, when it was revealed.
    pub value: Option<agent_vault_seal::SecretBytes>,
}

/// Actions on external stores.
#[derive(Debug, Clone, Copy)]
pub struct Stores<'c>(pub(crate) &'c Control);

impl Stores<'_> {
    /// Whether this server is connected to an external store at all.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.0.lending().store().is_some()
    }

    /// The kinds of store that one may choose for a vault.
    ///
    /// # Errors
    /// For scoped sessions.
    pub async fn available(&self, actor: &Actor) -> Result<Vec<&'static str>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<AnyActor>(&mut rows, actor).await?;
        let mut kinds = vec!["builtin"];
        if access.is_owner() && self.is_configured() {
            kinds.push(ExternalKind::Infisical.as_str());
        }
        Ok(kinds)
    }

    /// Whether the actor may connect vaults to an external store here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn may_connect(&self, actor: &Actor) -> Result<bool, ControlError> {
        if !self.is_configured() {
            return Ok(false);
        }
        let mut rows = self.0.store().clone();
        match access::instance::<InstanceOwner>(&mut rows, actor).await {
            Ok(_) => Ok(true),
            Err(refused) if refused.kind() == ErrorKind::Forbidden => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A vault's external store as the actor may see it; `None` where the vault keeps its own credentials. For those who were let
    /// in already.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn seen_by(
        &self,
        actor: &Actor,
        vault: &str,
    ) -> Result<Option<StoreView>, ControlError> {
        let mut rows = self.0.store().clone();
        let Some(known) = rows.vault_named(vault).await? else {
            return Ok(None);
        };
        let Some(row) = rows.external_store(known.id).await? else {
            return Ok(None);
        };
        let whole = access::vault_control(&mut rows, actor, vault).await.is_ok();
        Ok(Some(view(&row, whole, self.0.now())))
    }

    /// What lists of vaults say of each external store.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn summaries(&self) -> Result<Vec<(Uuid, StoreView)>, ControlError> {
        let now = self.0.now();
        let rows = self.0.store().external_stores().await?;
        Ok(rows
            .iter()
            .map(|row| (row.vault_id, view(row, false, now)))
            .collect())
    }

    /// Makes a vault with a choice of store. Whoever may make vaults may make one that keeps its own credentials.
    ///
    /// # Errors
    /// For an external store unless an owner asks; `Unavailable` without a store; `Invalid` for a bad name or place; `Conflict` for a taken name;
    /// `Upstream` when nothing can be fetched.
    pub async fn create_vault(
        &self,
        actor: &Actor,
        name: &str,
        choice: StoreChoice,
    ) -> Result<(VaultView, Option<StoreView>), ControlError> {
        if choice.is_builtin() {
            choice.check()?;
            return Ok((self.0.vaults().create(actor, name).await?, None));
        }
        let mut rows = self.0.store().clone();
        let target = format!("vault:{}", access::shown(name));
        let owner = access::instance::<InstanceOwner>(&mut rows, actor).await;
        self.0
            .attempted(actor, "vault.create", &target, owner)
            .await?;
        let chosen = self.chosen(choice)?;
        let Chosen::Infisical(config) = chosen else {
            return Ok((self.0.vaults().create(actor, name).await?, None));
        };
        // Before anybody is asked for secrets.
        vaults::check_free(&mut rows, name).await?;
        let fetched = self.fetch(&config).await?;
        let mut write = self.0.begin(actor, "vault.create", target).await?;
        let outcome = create(&mut write, actor, name, &config, &fetched).await;
        let (vault, row) = write.finish(outcome).await?;
        Ok((vault, Some(view(&row, true, self.0.now()))))
    }

    /// Switches a vault to another store, or the same one at another place; `None` is its own. What the vault holds that was typed in
    /// is replaced by what the store holds; back, the last copies stay.
    ///
    /// # Errors
    /// Unless vault admin or owner, to an external store unless owner; else as [`Stores::create_vault`].
    pub async fn choose(
        &self,
        actor: &Actor,
        vault: &str,
        choice: StoreChoice,
    ) -> Result<Option<StoreView>, ControlError> {
        let mut rows = self.0.store().clone();
        let target = format!("vault:{}", access::shown(vault));
        if choice.is_builtin() {
            choice.check()?;
            let mut write = self.0.begin(actor, "store.disconnect", target).await?;
            let outcome = disconnect(&mut write, actor, vault).await;
            write.finish(outcome).await?;
            self.0.give_back().await;
            return Ok(None);
        }
        let allowed = access::vault_control(&mut rows, actor, vault).await;
        self.0
            .attempted(actor, "store.connect", &target, allowed)
            .await?;
        let owner = access::instance::<InstanceOwner>(&mut rows, actor).await;
        self.0
            .attempted(actor, "store.connect", &target, owner)
            .await?;
        let Chosen::Infisical(config) = self.chosen(choice)? else {
            return Ok(None);
        };
        let fetched = self.fetch(&config).await?;
        let mut write = self.0.begin(actor, "store.connect", target).await?;
        let outcome = connect(&mut write, actor, vault, &config, &fetched).await;
        let row = write.finish(outcome).await?;
        self.0.give_back().await;
        Ok(Some(view(&row, true, self.0.now())))
    }

    /// Fetches everything anew, now. Leases end: the next use of a dynamic secret makes another.
    ///
    /// # Errors
    /// Below vault member and for scoped sessions; `Invalid` where the vault keeps its own credentials; `Unavailable` without a
    /// store; `Conflict` while a refresh is under way anywhere; `Upstream` when nothing can be fetched.
    pub async fn sync(&self, actor: &Actor, vault: &str) -> Result<StoreView, ControlError> {
        let mut rows = self.0.store().clone();
        let target = format!("vault:{}", access::shown(vault));
        let access = if matches!(actor, Actor::Scoped(_)) {
            Err(ControlError::forbidden("Member role required")
                .hint("a vault token cannot refresh a store; use a login or an agent token"))
        } else {
            access::vault::<Member>(&mut rows, actor, VaultRef::Named(vault)).await
        };
        let access = self
            .0
            .attempted(actor, "store.sync", &target, access)
            .await?;
        let id = access.id();
        let whole = access::vault_control(&mut rows, actor, vault).await.is_ok();
        let row = rows.external_store(id).await?.ok_or_else(|| {
            ControlError::invalid("This vault has no external credential store")
                .hint("connect one with `agent-vault vault store connect`")
        })?;
        let store = self.store()?;
        let control = self.0.clone();
        let actor = actor.clone();
        // On a task of its own: a client that leaves must not leave the vault claimed.
        let refreshed = self.0.tasks().spawn(async move {
            refresh::by_hand(&control, &*store, &row, &actor, access.vault()).await
        });
        let refreshed = refreshed
            .await
            .map_err(|error| ControlError::internal("the refresh did not end", error))?;
        match refreshed {
            Ok(()) => {}
            Err(error) => return Err(error.shown_to(whole)),
        }
        self.0.give_back().await;
        let row = rows
            .external_store(id)
            .await?
            .ok_or_else(|| ControlError::invalid("This vault has no external credential store"))?;
        Ok(view(&row, whole, self.0.now()))
    }

    /// Whether a key of a vault would be made on demand. From memory.
    pub(crate) fn lends(&self, vault: Uuid, key: &str) -> bool {
        self.0.lending().lends(vault, key)
    }

    /// What is known of the dynamic credentials of a vault, without making any.
    pub(crate) async fn dynamic(&self, vault: Uuid) -> Result<Vec<DynamicView>, ControlError> {
        Ok(views(self.0.store().dynamic_secrets(vault).await?))
    }

    fn chosen(&self, choice: StoreChoice) -> Result<Chosen, ControlError> {
        choice.check()?;
        if !choice.is_builtin() && !self.is_configured() {
            return Err(not_configured());
        }
        choice.parse()
    }

    fn store(&self) -> Result<Arc<dyn SecretStore>, ControlError> {
        self.0.lending().store().cloned().ok_or_else(not_configured)
    }

    async fn fetch(&self, config: &StoreConfig) -> Result<Fetched, ControlError> {
        let store = self.store()?;
        refresh::fetch(&*store, &config.place)
            .await
            .map_err(|failed| failed.shown_to(true))
    }
}

/// What is told of secrets that are made on demand: their keys, as far as they are known.
pub(crate) fn views(rows: Vec<DynamicSecret>) -> Vec<DynamicView> {
    let mut views = Vec::new();
    for row in rows {
        let Some(secret) = DynamicKey::of_secret(&row.name) else {
            continue;
        };
        let before = views.len();
        let fields = row.fields.iter().filter_map(|field| secret.field(field));
        views.extend(fields.map(|key| DynamicView {
            unavailable: row.unavailable,
            ..DynamicView::of(key.as_str())
        }));
        if views.len() == before {
            views.push(DynamicView {
                unavailable: row.unavailable,
                ..DynamicView::of(&secret.glob())
            });
        }
    }
    views.sort_by(|a, b| a.key.cmp(&b.key));
    views
}

impl DynamicView {
    /// One that is available, without its value.
    pub(crate) fn of(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            unavailable: false,
            value: None,
        }
    }
}

/// Refuses what only vaults may do that keep their own credentials.
pub(crate) async fn keeps_its_own(write: &mut Write, vault: Uuid) -> Result<(), ControlError> {
    match write.tx().external_store(vault).await? {
        None => Ok(()),
        Some(_) => Err(external()),
    }
}

/// The same before anything slow is done.
pub(crate) async fn keeps_own_rows(rows: &Store, vault: Uuid) -> Result<(), ControlError> {
    match rows.external_store(vault).await? {
        None => Ok(()),
        Some(_) => Err(external()),
    }
}

fn external() -> ControlError {
    ControlError::conflict(
        "This vault's credentials come from an external store and are read-only here",
    )
    .labelled("external_credential_store")
    .hint("change them in the store; `agent-vault vault store sync` fetches them at once")
}

fn not_configured() -> ControlError {
    ControlError::new(
        ErrorKind::Unavailable,
        "This server is not connected to Infisical",
    )
    .labelled("infisical_not_configured")
    .hint(
        "set INFISICAL_URL and the variables of one login method on the server, and start it again",
    )
}

async fn create(
    write: &mut Write,
    actor: &Actor,
    name: &str,
    config: &StoreConfig,
    fetched: &Fetched,
) -> Result<(VaultView, ExternalStore), ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let vault = vaults::create(write, actor, name).await?;
    let row = put(write, vault.id, config, fetched).await?;
    Ok((vault, row))
}

async fn connect(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    config: &StoreConfig,
    fetched: &Fetched,
) -> Result<ExternalStore, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let id = access::vault_control(write.tx(), actor, vault)
        .await?
        .vault()
        .id;
    put(write, id, config, fetched).await
}

/// Writes the connection and the first copy.
async fn put(
    write: &mut Write,
    vault: Uuid,
    config: &StoreConfig,
    fetched: &Fetched,
) -> Result<ExternalStore, ControlError> {
    let now = write.now();
    let row = ExternalStore {
        vault_id: vault,
        kind: ExternalKind::Infisical,
        config_json: place::to_json(&config.place),
        poll_interval_seconds: config.poll_interval_seconds,
        revision: Uuid::new_v4(),
        last_synced_at: Some(now),
        last_sync_status: Some(SyncStatus::Ok),
        last_sync_error: String::new(),
        last_success_at: Some(now),
        created_at: now,
        updated_at: now,
    };
    write.tx().put_external_store(&row).await?;
    write.note("store", row.kind.as_str());
    write.note("place", place::to_value(&config.place));
    write.note("poll_interval_seconds", row.poll_interval_seconds);
    refresh::apply(write, vault, fetched).await?;
    write.publish(Publication::Everything);
    Ok(row)
}

async fn disconnect(write: &mut Write, actor: &Actor, vault: &str) -> Result<(), ControlError> {
    let id = access::vault_control(write.tx(), actor, vault)
        .await?
        .vault()
        .id;
    let had = write.tx().delete_external_store(id).await?;
    write.note("was_connected", had);
    write.publish(Publication::Everything);
    Ok(())
}

fn view(row: &ExternalStore, whole: bool, now: Timestamp) -> StoreView {
    let place = place::from_json(&row.config_json).ok().filter(|_| whole);
    StoreView {
        kind: row.kind.as_str(),
        place,
        poll_interval_seconds: row.poll_interval_seconds,
        last_sync_status: row.last_sync_status.map(SyncStatus::as_str),
        last_synced_at: row.last_synced_at,
        last_success_at: row.last_success_at,
        last_sync_error: Some(row.last_sync_error.clone())
            .filter(|error| whole && !error.is_empty()),
        stale: is_stale(row, now),
    }
}

/// Whether refreshes have failed for long.
fn is_stale(row: &ExternalStore, now: Timestamp) -> bool {
    let interval = SignedDuration::from_secs(i64::from(row.poll_interval_seconds));
    let missed = interval
        .checked_mul(i32::try_from(STALE_INTERVALS).unwrap_or(i32::MAX))
        .unwrap_or(SignedDuration::MAX);
    let since = row.last_success_at.unwrap_or(row.created_at);
    now.duration_since(since) > missed.max(STALE_AFTER)
}
