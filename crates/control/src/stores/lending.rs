//! Secrets that a store makes on demand: made at first use, held in memory only, renewed beside the traffic, given back.
//!
//! What is lent is bound to the vault's connection: another revision of it, by whichever process, ends it here too, before it is
//! revoked. A row without the value tells every process that shares the database what is to be given back, should this one end.
//! Nothing is made by looking.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agent_vault_broker::{
    OAuthState, RenewalFault, RenewalOrder, SealedCredential, SecretStore, StoreFailure,
    StoreFault, StoreLease, StorePlace, credential_context,
};
use agent_vault_policy::CredentialKey;
use agent_vault_seal::{Sealed, SecretBytes};
use agent_vault_store::{DynamicSecret, ExternalStore, SecretLease};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::names::{DynamicKey, secret_of};
use super::{place, refresh};
use crate::Control;
use crate::credentials::MAX_VALUE_BYTES;
use crate::error::ControlError;

/// A lease with less life than this is renewed while it is used.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_secs(60);
/// Names are asked for at most this often for a key that fits none.
const LIST_PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// Most secrets that are lent to one vault at a time.
const MAX_LENT: usize = 64;
/// Fields of one lease that count.
const MAX_FIELDS: usize = 64;
/// Longest that giving back may take where somebody waits for it.
const GIVE_BACK_TIME: Duration = Duration::from_secs(5);
/// A process that was not seen for that long is gone.
const HOLDER_DEAD: SignedDuration = SignedDuration::from_mins(2);
/// How often one says that it is alive.
const HOLDER_BEAT: SignedDuration = SignedDuration::from_secs(30);
/// How often leases of processes that are gone are looked for.
const SWEEP: SignedDuration = SignedDuration::from_mins(1);
/// How long after its end a lease's row is kept when the store does not answer.
const ROW_GRACE: SignedDuration = SignedDuration::from_hours(1);
/// Time between two looks at what has to be done.
const UPKEEP: Duration = Duration::from_secs(10);

/// What is lent to the vaults of this process.
pub(crate) struct Lending {
    /// Names this process in rows.
    holder: Uuid,
    store: OnceLock<Arc<dyn SecretStore>>,
    state: Mutex<State>,
    /// There is something to give back.
    wake: Notify,
    closing: CancellationToken,
    /// One gives back at a time, so that whoever waits for it knows that it is done.
    giving_back: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    vaults: HashMap<Uuid, Borrower>,
    /// To be revoked.
    given_up: Vec<SecretLease>,
    /// Numbers leases, as versions number stored values.
    number: u32,
}

struct Borrower {
    revision: Uuid,
    place: Arc<StorePlace>,
    names: Vec<(String, DynamicKey)>,
    /// How often the names have changed.
    changes: u32,
    listed_at: Option<Timestamp>,
    lent: HashMap<String, Lent>,
    /// Leases that are being made or renewed, by secret.
    flights: HashMap<String, watch::Receiver<Option<Outcome>>>,
}

struct Lent {
    row: SecretLease,
    number: u32,
    values: Vec<Value>,
    renew_from: Option<Timestamp>,
}

struct Value {
    key: CredentialKey,
    secret: SecretBytes,
    sealed: Sealed,
}

type Outcome = Result<(), RenewalFault>;

impl Default for Lending {
    fn default() -> Self {
        Self {
            holder: Uuid::new_v4(),
            store: OnceLock::new(),
            state: Mutex::default(),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            giving_back: tokio::sync::Mutex::default(),
        }
    }
}

impl fmt::Debug for Lending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lending").finish_non_exhaustive()
    }
}

impl Lending {
    /// The external store of this server, if it has one.
    pub(crate) fn store(&self) -> Option<&Arc<dyn SecretStore>> {
        self.store.get()
    }

    /// Ends fetches when the server stops.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Whether a key would be made on demand for a vault.
    pub(super) fn lends(&self, vault: Uuid, key: &str) -> bool {
        self.lock()
            .vaults
            .get(&vault)
            .is_some_and(|borrower| secret_of(&borrower.names, key).is_some())
    }

    /// The value of a key that is lent.
    pub(crate) fn value(&self, vault: Uuid, key: &str) -> Option<SecretBytes> {
        let state = self.lock();
        let lent = state.vaults.get(&vault)?.lent.values();
        let mut values = lent.flat_map(|lent| &lent.values);
        values
            .find(|value| value.key.as_str() == key)
            .map(|value| value.secret.duplicate())
    }

    /// How many leases there are.
    pub(super) fn live(&self) -> usize {
        let state = self.lock();
        state
            .vaults
            .values()
            .map(|borrower| borrower.lent.len())
            .sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_up(&mut self, borrower: Borrower) {
        self.given_up
            .extend(borrower.lent.into_values().map(|lent| lent.row));
    }
}

impl Control {
    /// Connects this server to an external store of secrets. Once, before anything is served.
    pub fn use_secret_store(&self, store: Arc<dyn SecretStore>) {
        if self.lending().store.set(store).is_err() {
            tracing::error!("the external store was said twice");
        }
    }

    /// Takes over which vaults are connected to what: what was lent under another connection ends here at once, and is revoked soon.
    pub(crate) fn adopt_stores(
        &self,
        rows: Vec<ExternalStore>,
        dynamic: Vec<DynamicSecret>,
    ) -> Result<(), ControlError> {
        let lending = self.lending();
        let mut names: HashMap<Uuid, Vec<String>> = HashMap::new();
        for secret in dynamic {
            names.entry(secret.vault_id).or_default().push(secret.name);
        }
        let mut guard = lending.lock();
        let state = &mut *guard;
        let ended: Vec<Uuid> = state
            .vaults
            .iter()
            .filter(|(vault, borrower)| {
                !rows
                    .iter()
                    .any(|row| row.vault_id == **vault && row.revision == borrower.revision)
            })
            .map(|(vault, _)| *vault)
            .collect();
        for vault in ended {
            self.broker().set_leased(vault, None, Vec::new());
            if let Some(borrower) = state.vaults.remove(&vault) {
                state.give_up(borrower);
            }
        }
        if lending.store().is_some() {
            for row in rows {
                let names = names.remove(&row.vault_id).unwrap_or_default();
                self.adopt(state, &row, names)?;
            }
        }
        if !state.given_up.is_empty() {
            lending.wake.notify_one();
        }
        Ok(())
    }

    /// A vault is gone: what was lent to it is given back soon.
    pub(crate) fn lends_no_more(&self, vault: Uuid) {
        let lending = self.lending();
        let mut guard = lending.lock();
        let state = &mut *guard;
        if let Some(borrower) = state.vaults.remove(&vault) {
            state.give_up(borrower);
            lending.wake.notify_one();
        }
    }

    fn adopt(
        &self,
        state: &mut State,
        row: &ExternalStore,
        names: Vec<String>,
    ) -> Result<(), ControlError> {
        let place = Arc::new(place::from_json(&row.config_json)?);
        let mut changed = false;
        let borrower = state.vaults.entry(row.vault_id).or_insert_with(|| {
            changed = true;
            Borrower {
                revision: row.revision,
                place,
                names: Vec::new(),
                changes: 0,
                listed_at: None,
                lent: HashMap::new(),
                flights: HashMap::new(),
            }
        });
        changed |= borrower.rename(names);
        changed |= self.seal_again(row.vault_id, borrower)?;
        if changed {
            self.publish_lent(row.vault_id, borrower);
        }
        Ok(())
    }

    /// What an older key sealed is sealed with the one in force. Answers whether there was anything.
    fn seal_again(&self, vault: Uuid, borrower: &mut Borrower) -> Result<bool, ControlError> {
        let (owner, key_id) = (vault.to_string(), self.keyring().key_id());
        let mut any = false;
        for lent in borrower.lent.values_mut() {
            for value in &mut lent.values {
                if value.sealed.key_id() != Some(key_id) {
                    let context = credential_context(&owner, value.key.as_str(), lent.number);
                    value.sealed = self.keyring().seal(&context, value.secret.expose())?;
                    any = true;
                }
            }
        }
        Ok(any)
    }

    fn publish_lent(&self, vault: Uuid, borrower: &Borrower) {
        let lent = borrower
            .lent
            .values()
            .flat_map(|lent| lent.values.iter().map(move |value| (lent, value)))
            .map(|(lent, value)| {
                let state = OAuthState {
                    connected: true,
                    ends: lent.row.expires_at,
                    renew_from: lent.renew_from,
                    renewable: true,
                };
                let sealed = SealedCredential {
                    sealed: value.sealed.clone(),
                    version: lent.number,
                    expires_at: None,
                    oauth: Some(state),
                };
                (value.key.clone(), sealed)
            })
            .collect();
        self.broker()
            .set_leased(vault, Some(borrower.changes), lent);
    }

    /// Has the secret made, or renewed, that a key belongs to. `None` when the key is none that a store lends: then it is somebody
    /// else's to fetch.
    pub(crate) async fn lend(&self, order: &RenewalOrder) -> Option<Outcome> {
        let (vault, key) = (order.vault, order.key.as_str());
        let lending = self.lending();
        if !lending.lock().vaults.contains_key(&vault) {
            return None;
        }
        match self.store().credential(vault, key).await {
            Ok(None) => {}
            // A stored one wins, whoever fetches it.
            Ok(Some(_)) => return None,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "nothing is lent");
                return Some(Err(RenewalFault::Failed));
            }
        }
        Some(self.borrow(vault, key).await)
    }

    /// The same for somebody who asks for a value by name.
    pub(crate) async fn borrow(&self, vault: Uuid, key: &str) -> Outcome {
        let lending = self.lending();
        let store = lending.store().cloned().ok_or(RenewalFault::Failed)?;
        if !lending.lends(vault, key) {
            self.list_again(&*store, vault).await;
        }
        let flight = {
            let now = self.now();
            let mut state = lending.lock();
            let borrower = state.vaults.get_mut(&vault).ok_or(RenewalFault::Failed)?;
            let secret = secret_of(&borrower.names, key)
                .ok_or(RenewalFault::Failed)?
                .to_owned();
            if let Some(lent) = borrower.lent.get(&secret) {
                if !lent.values.iter().any(|value| value.key.as_str() == key) {
                    return Err(RenewalFault::Failed);
                }
                if lent.renew_from.is_none_or(|from| now < from) {
                    return Ok(());
                }
            } else if borrower.lent.len() >= MAX_LENT {
                tracing::warn!(%vault, most = MAX_LENT, "too many secrets are lent to the vault");
                return Err(RenewalFault::Failed);
            }
            match borrower.flights.get(&secret) {
                Some(flight) => flight.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    borrower.flights.insert(secret.clone(), receiver.clone());
                    let control = self.clone();
                    // On a task of its own: it goes on when whoever asked first has left.
                    self.tasks().spawn(async move {
                        let outcome = control.make(&*store, vault, &secret).await;
                        let mut state = control.lending().lock();
                        if let Some(borrower) = state.vaults.get_mut(&vault) {
                            borrower.flights.remove(&secret);
                        }
                        drop(state);
                        sender.send_replace(Some(outcome));
                    });
                    receiver
                }
            }
        };
        let mut flight = flight;
        let outcome = match flight.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.unwrap_or(Err(RenewalFault::Failed)),
            Err(_) => Err(RenewalFault::Failed),
        };
        outcome?;
        if lending.value(vault, key).is_some() {
            Ok(())
        } else {
            // The secret has no such field.
            Err(RenewalFault::Failed)
        }
    }

    /// Asks for the names anew, unless that was done a moment ago.
    async fn list_again(&self, store: &dyn SecretStore, vault: Uuid) {
        let lending = self.lending();
        let now = self.now();
        let place = {
            let mut state = lending.lock();
            let Some(borrower) = state.vaults.get_mut(&vault) else {
                return;
            };
            let due = |at: Timestamp| now.duration_since(at) >= LIST_PAUSE;
            if !borrower.listed_at.is_none_or(due) {
                return;
            }
            borrower.listed_at = Some(now);
            Arc::clone(&borrower.place)
        };
        let listed = tokio::select! {
            () = lending.closing.cancelled() => return,
            listed = store.dynamic_names(&place) => listed,
        };
        match listed {
            Ok(names) => {
                let mut state = lending.lock();
                if let Some(borrower) = state.vaults.get_mut(&vault)
                    && borrower.place == place
                    && borrower.rename(refresh::usable(names))
                {
                    self.publish_lent(vault, borrower);
                }
            }
            Err(error) => {
                tracing::warn!(%vault, %error, "the names of dynamic secrets cannot be read");
            }
        }
    }

    /// Renews what is lent, or has it made.
    async fn make(&self, store: &dyn SecretStore, vault: Uuid, secret: &str) -> Outcome {
        let lending = self.lending();
        let (place, revision, held) = {
            let state = lending.lock();
            let borrower = state.vaults.get(&vault).ok_or(RenewalFault::Failed)?;
            let held = borrower.lent.get(secret).map(|lent| lent.row.clone());
            (Arc::clone(&borrower.place), borrower.revision, held)
        };
        let work = async {
            if let Some(mut row) = held
                && row.expires_at.is_none_or(|end| self.now() < end)
            {
                match store.renew(&place, &row.lease_id).await {
                    Ok(end) if lasts(end, row.expires_at) => {
                        row.expires_at = end;
                        return self.renewed(vault, revision, secret, row).await;
                    }
                    // It has reached its longest life.
                    Ok(_) => {}
                    Err(error) => {
                        tracing::info!(%vault, secret, %error, "a lease was not renewed; another is made");
                    }
                }
            }
            match store.lease(&place, secret).await {
                Ok(lease) => {
                    self.made(store, vault, revision, &place, secret, lease)
                        .await
                }
                Err(error) => Err(self.refused(vault, secret, &error).await),
            }
        };
        tokio::select! {
            biased;
            () = lending.closing.cancelled() => Err(RenewalFault::Failed),
            outcome = work => outcome,
        }
    }

    async fn refused(&self, vault: Uuid, secret: &str, error: &StoreFailure) -> RenewalFault {
        tracing::warn!(%vault, secret, %error, "a dynamic secret could not be leased");
        if matches!(error.fault, StoreFault::Refused | StoreFault::Absent)
            && let Err(error) = self.store().note_dynamic_secret(vault, secret, None).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "not noted");
        }
        RenewalFault::Failed
    }

    async fn renewed(
        &self,
        vault: Uuid,
        revision: Uuid,
        secret: &str,
        row: SecretLease,
    ) -> Outcome {
        if let Err(error) = self.store().put_secret_lease(&row).await {
            // The row is there already; it only says that the lease ends earlier than it does.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a renewal was not noted"
            );
        }
        let now = self.now();
        let mut state = self.lending().lock();
        let borrower = state
            .vaults
            .get_mut(&vault)
            .filter(|borrower| borrower.revision == revision)
            .ok_or(RenewalFault::Failed)?;
        let lent = borrower.lent.get_mut(secret).ok_or(RenewalFault::Failed)?;
        lent.renew_from = renew_from(now, row.expires_at);
        lent.row = row;
        self.publish_lent(vault, borrower);
        Ok(())
    }

    async fn made(
        &self,
        store: &dyn SecretStore,
        vault: Uuid,
        revision: Uuid,
        place: &Arc<StorePlace>,
        secret: &str,
        lease: StoreLease,
    ) -> Outcome {
        let (lending, now) = (self.lending(), self.now());
        let row = SecretLease {
            lease_id: lease.id,
            vault_id: vault,
            secret: secret.to_owned(),
            project_id: place.project_id.clone(),
            environment: place.environment.clone(),
            secret_path: place.secret_path.clone(),
            holder: lending.holder,
            expires_at: lease.expires_at,
            created_at: now,
        };
        // Before anybody uses it: whatever happens to this process, somebody knows that it is to be given back.
        if let Err(error) = self.note_lease(&row).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a lease could not be noted and is given back"
            );
            if let Err(error) = store.revoke(place, &row.lease_id).await {
                tracing::error!(%vault, secret, lease = row.lease_id, %error, "it could not be given back either");
            }
            return Err(RenewalFault::Failed);
        }
        let prefix = DynamicKey::of_secret(secret).ok_or(RenewalFault::Failed)?;
        let fields: Vec<String> = lease.fields.iter().map(|(name, _)| name.clone()).collect();
        let outcome = self.keep_lent(vault, revision, row, &prefix, lease.fields);
        if let Err(error) = self
            .store()
            .note_dynamic_secret(vault, secret, Some(&fields))
            .await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "fields were not noted"
            );
        }
        outcome
    }

    fn keep_lent(
        &self,
        vault: Uuid,
        revision: Uuid,
        row: SecretLease,
        prefix: &DynamicKey,
        fields: Vec<(String, SecretBytes)>,
    ) -> Outcome {
        let lending = self.lending();
        let mut guard = lending.lock();
        let state = &mut *guard;
        state.number = state.number.saturating_add(1);
        let number = state.number;
        let owner = vault.to_string();
        let values: Result<Vec<Value>, _> = fields
            .into_iter()
            .filter(|(_, secret)| secret.len() <= MAX_VALUE_BYTES)
            .filter_map(|(field, secret)| Some((prefix.field(&field)?, secret)))
            .take(MAX_FIELDS)
            .map(|(key, secret)| {
                let context = credential_context(&owner, key.as_str(), number);
                let sealed = self.keyring().seal(&context, secret.expose())?;
                Ok::<_, agent_vault_seal::SealError>(Value {
                    key,
                    secret,
                    sealed,
                })
            })
            .collect();
        let borrower = state
            .vaults
            .get_mut(&vault)
            .filter(|borrower| borrower.revision == revision);
        let (Ok(values), Some(borrower)) = (values, borrower) else {
            // The vault was connected anew in the meantime.
            state.given_up.push(row);
            lending.wake.notify_one();
            return Err(RenewalFault::Failed);
        };
        let lent = Lent {
            renew_from: renew_from(self.now(), row.expires_at),
            number,
            values,
            row,
        };
        let before = borrower.lent.insert(lent.row.secret.clone(), lent);
        self.publish_lent(vault, borrower);
        if let Some(before) = before {
            state.given_up.push(before.row);
            lending.wake.notify_one();
        }
        Ok(())
    }

    async fn note_lease(&self, row: &SecretLease) -> Result<(), ControlError> {
        self.see_holder().await?;
        Ok(self.store().put_secret_lease(row).await?)
    }

    async fn see_holder(&self) -> Result<(), ControlError> {
        let now = self.now();
        let forget = now.saturating_sub(HOLDER_DEAD * 10).unwrap_or(now);
        Ok(self
            .store()
            .see_lease_holder(self.lending().holder, now, forget)
            .await?)
    }

    /// Gives back what is to be given back, within five seconds; the rest is tried again later, by whichever process.
    pub(crate) async fn give_back(&self) {
        let lending = self.lending();
        let Some(store) = lending.store() else {
            return;
        };
        let _one = lending.giving_back.lock().await;
        let mut waiting = std::mem::take(&mut lending.lock().given_up);
        waiting.reverse();
        let all = async {
            while let Some(row) = waiting.last() {
                let done = revoke(store.as_ref(), row).await;
                let Some(row) = waiting.pop() else {
                    return;
                };
                self.settle_lease(row, done).await;
            }
        };
        if tokio::time::timeout(GIVE_BACK_TIME, all).await.is_err() {
            tracing::warn!("leases could not be given back in time; they are tried again");
        }
        for row in waiting {
            self.settle_lease(row, false).await;
        }
    }

    /// Forgets a lease that is over; one that is not is left to whoever sweeps next.
    async fn settle_lease(&self, row: SecretLease, done: bool) {
        let settled = if done {
            self.store().delete_secret_lease(&row.lease_id).await
        } else {
            let orphan = SecretLease {
                holder: Uuid::nil(),
                ..row
            };
            self.store().put_secret_lease(&orphan).await
        };
        if let Err(error) = settled {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a lease's row was not changed"
            );
        }
    }

    /// Gives back what processes held that are gone.
    pub(crate) async fn sweep_leases(&self) -> Result<(), ControlError> {
        let Some(store) = self.lending().store() else {
            return Ok(());
        };
        let now = self.now();
        let alive = now.saturating_sub(HOLDER_DEAD).unwrap_or(now);
        for row in self.store().orphaned_leases(alive).await? {
            let long_over = row
                .expires_at
                .is_some_and(|end| now.duration_since(end) > ROW_GRACE);
            if long_over || revoke(store.as_ref(), &row).await {
                self.store().delete_secret_lease(&row.lease_id).await?;
            }
        }
        Ok(())
    }

    /// Gives back, says that this process is alive, and sweeps, until the server stops.
    pub(super) async fn keep_lending(&self) {
        let lending = self.lending();
        if lending.store().is_none() {
            return;
        }
        let (mut beaten, mut swept) = (None, None);
        loop {
            let now = self.now();
            let due = |last: Option<Timestamp>, every| {
                last.is_none_or(|last| now.duration_since(last) >= every)
            };
            self.drop_lapsed(now);
            self.give_back().await;
            if lending.live() > 0 && due(beaten, HOLDER_BEAT) {
                beaten = Some(now);
                if let Err(error) = self.see_holder().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "leases may be given back by others"
                    );
                }
            }
            if due(swept, SWEEP) {
                swept = Some(now);
                let ended = tokio::select! {
                    () = lending.closing.cancelled() => return,
                    ended = self.sweep_leases() => ended,
                };
                if let Err(error) = ended {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "leases were not swept"
                    );
                }
            }
            tokio::select! {
                () = lending.closing.cancelled() => return,
                () = lending.wake.notified() => {}
                () = tokio::time::sleep(UPKEEP) => {}
            }
        }
    }

    /// Lets go of leases that have ended because nobody used them.
    fn drop_lapsed(&self, now: Timestamp) {
        let mut guard = self.lending().lock();
        let state = &mut *guard;
        for (vault, borrower) in &mut state.vaults {
            let over = |lent: &Lent| lent.row.expires_at.is_some_and(|end| end <= now);
            let lapsed: Vec<String> = borrower
                .lent
                .iter()
                .filter(|(secret, lent)| over(lent) && !borrower.flights.contains_key(*secret))
                .map(|(secret, _)| secret.clone())
                .collect();
            if lapsed.is_empty() {
                continue;
            }
            for secret in &lapsed {
                if let Some(lent) = borrower.lent.remove(secret) {
                    state.given_up.push(lent.row);
                }
            }
            self.publish_lent(*vault, borrower);
        }
    }

    /// Ends fetches and gives everything back, within seconds: before the way out is closed.
    pub async fn stop_stores(&self) {
        let lending = self.lending();
        lending.closing.cancel();
        {
            let mut guard = lending.lock();
            let state = &mut *guard;
            for (vault, borrower) in state.vaults.drain().collect::<Vec<_>>() {
                self.broker().set_leased(vault, None, Vec::new());
                state.give_up(borrower);
            }
        }
        self.give_back().await;
        if let Err(error) = self.store().drop_lease_holder(lending.holder).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "leases may be swept later"
            );
        }
    }
}

impl Borrower {
    /// Takes over names; answers whether they are others.
    fn rename(&mut self, names: Vec<String>) -> bool {
        let names: Vec<(String, DynamicKey)> = names
            .into_iter()
            .filter_map(|name| {
                let key = DynamicKey::of_secret(&name)?;
                Some((name, key))
            })
            .collect();
        if names == self.names {
            return false;
        }
        self.names = names;
        self.changes = self.changes.wrapping_add(1);
        true
    }
}

/// Whether a renewal has given a lease more life.
fn lasts(now: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    match (now, before) {
        (None, _) => true,
        (Some(_), None) => true,
        (Some(now), Some(before)) => now > before,
    }
}

/// From when on a lease is renewed while it is used: a minute before its end, or the last third of a short one.
fn renew_from(now: Timestamp, end: Option<Timestamp>) -> Option<Timestamp> {
    let end = end?;
    let third = end.duration_since(now) / 3;
    let ahead = third.min(RENEW_BEFORE).max(SignedDuration::ZERO);
    end.checked_sub(ahead).ok()
}

/// Gives a lease back; true when it is over.
async fn revoke(store: &dyn SecretStore, row: &SecretLease) -> bool {
    let place = StorePlace {
        project_id: row.project_id.clone(),
        environment: row.environment.clone(),
        secret_path: row.secret_path.clone(),
    };
    match store.revoke(&place, &row.lease_id).await {
        Ok(()) => true,
        Err(error) if error.fault == StoreFault::Absent => true,
        Err(error) => {
            tracing::warn!(vault = %row.vault_id, secret = row.secret, %error, "a lease was not given back");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn leases_are_renewed_a_minute_ahead_and_short_ones_in_their_last_third() {
        assert_eq!(renew_from(at(0), Some(at(3600))), Some(at(3540)));
        assert_eq!(renew_from(at(0), Some(at(30))), Some(at(20)));
        assert_eq!(renew_from(at(50), Some(at(30))), Some(at(30)));
        assert_eq!(renew_from(at(0), None), None);
    }

    #[test]
    fn a_renewal_counts_when_it_lasts_longer() {
        assert!(lasts(Some(at(2)), Some(at(1))));
        assert!(!lasts(Some(at(1)), Some(at(1))));
        assert!(lasts(None, Some(at(1))));
    }
}
