//! One refresh of one vault: claim, fetch, compare, write what changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::{SecretStore, StoreFailure, StorePlace, credential_context};
use agent_vault_policy::CredentialKey;
use agent_vault_seal::SecretBytes;
use agent_vault_store::{Credential, CredentialType, ExternalStore, Vault};
use jiff::SignedDuration;
use uuid::Uuid;

use super::names::DynamicKey;
use super::place;
use crate::Control;
use crate::access;
use crate::actor::Actor;
use crate::credentials::{self, MAX_CREDENTIALS, MAX_VALUE_BYTES, Origin};
use crate::error::{ControlError, ErrorKind};
use crate::write::{Publication, Write};

/// Longest that a fetch may take.
const FETCH_TIME: Duration = Duration::from_secs(60);
/// How long a claim lasts whose process is gone: longer than any fetch and write.
const CLAIM_LIFE: SignedDuration = SignedDuration::from_mins(3);
/// Most secrets of one vault that are made on demand.
const MAX_DYNAMIC: usize = 1000;

/// What a store holds, checked.
pub(super) struct Fetched {
    /// By key.
    secrets: BTreeMap<CredentialKey, SecretBytes>,
    /// Names of what is made on demand, sorted; `None` where the store does not say.
    dynamic: Option<Vec<String>>,
}

/// Why nothing was fetched.
#[derive(Debug)]
pub(super) enum NotFetched {
    /// A secret's name is no credential key.
    Key(String),
    /// There is more than a vault holds.
    Bounds(String),
    /// The store did not answer as it should.
    Store(StoreFailure),
    /// It took too long.
    Slow,
}

impl NotFetched {
    /// What admins and owners may read of it.
    fn text(&self) -> String {
        match self {
            Self::Key(name) => format!(
                "The secret \"{}\" has a name that no credential can have",
                access::shown(name)
            ),
            Self::Bounds(what) => what.clone(),
            Self::Store(failure) => failure.message.clone(),
            Self::Slow => format!("Infisical took longer than {} s", FETCH_TIME.as_secs()),
        }
    }

    /// As an answer; `whole` to somebody who may see what is behind it.
    pub(super) fn shown_to(&self, whole: bool) -> ControlError {
        match self {
            Self::Key(_) => {
                let text = if whole {
                    self.text()
                } else {
                    "A secret in the store has a name that no credential can have".to_owned()
                };
                ControlError::invalid(text)
                    .labelled("external_store_invalid_key")
                    .hint("names are capital letters, digits and `_`, as in `STRIPE_SECRET_KEY`; rename it in the store, or move it to another folder")
            }
            Self::Bounds(_) | Self::Store(_) | Self::Slow => {
                let text = if whole {
                    format!(
                        "The secrets cannot be fetched from Infisical: {}",
                        self.text()
                    )
                } else {
                    "The secrets cannot be fetched from Infisical".to_owned()
                };
                ControlError::new(ErrorKind::Upstream, text)
                    .labelled("infisical_fetch_failed")
                    .hint("check project, environment and path, and that the server's machine identity may read there")
            }
        }
    }
}

/// Why a refresh came to nothing.
#[derive(Debug)]
pub(super) enum NotRefreshed {
    /// Another is under way.
    Busy,
    /// The server is about to stop.
    Stopping,
    /// Nothing was fetched.
    Fetch(NotFetched),
    /// Nothing was written.
    Control(ControlError),
}

impl NotRefreshed {
    pub(super) fn shown_to(self, whole: bool) -> ControlError {
        match self {
            Self::Busy => ControlError::conflict("A refresh of this vault is under way already")
                .hint("wait a moment"),
            Self::Stopping => {
                ControlError::new(ErrorKind::Unavailable, "The server is about to stop")
            }
            Self::Fetch(failed) => failed.shown_to(whole),
            Self::Control(error) => error,
        }
    }
}

impl<E: Into<ControlError>> From<E> for NotRefreshed {
    fn from(error: E) -> Self {
        Self::Control(error.into())
    }
}

/// Fetches what a place holds, and checks it whole: one odd secret and nothing of it counts.
pub(super) async fn fetch(
    store: &dyn SecretStore,
    place: &StorePlace,
) -> Result<Fetched, NotFetched> {
    let snapshot = tokio::time::timeout(FETCH_TIME, store.snapshot(place))
        .await
        .map_err(|_| NotFetched::Slow)?
        .map_err(NotFetched::Store)?;
    if snapshot.secrets.len() > MAX_CREDENTIALS {
        return Err(NotFetched::Bounds(format!(
            "there are more than {MAX_CREDENTIALS} secrets"
        )));
    }
    let mut secrets = BTreeMap::new();
    for (name, value) in snapshot.secrets {
        let key = CredentialKey::parse(&name).map_err(|_| NotFetched::Key(name))?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(NotFetched::Bounds(format!(
                "the value of `{key}` is larger than {MAX_VALUE_BYTES} bytes"
            )));
        }
        secrets.insert(key, value);
    }
    let dynamic = snapshot.dynamic.map(usable);
    Ok(Fetched { secrets, dynamic })
}

/// The names that keys can begin with, sorted and bounded.
pub(super) fn usable(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| DynamicKey::of_secret(name).is_some());
    names.sort();
    names.dedup();
    if names.len() > MAX_DYNAMIC {
        tracing::warn!(
            most = MAX_DYNAMIC,
            "a store makes more secrets on demand than a vault can use; the rest is left out"
        );
        names.truncate(MAX_DYNAMIC);
    }
    names
}

/// A refresh that somebody asked for. Leases are over with it.
pub(super) async fn by_hand(
    control: &Control,
    store: &dyn SecretStore,
    row: &ExternalStore,
    actor: &Actor,
    vault: &Vault,
) -> Result<(), NotRefreshed> {
    let claim = claim(control, row).await?;
    let fetched = fetched(control, store, row, claim).await?;
    let write = control
        .begin(actor, "store.sync", format!("vault:{}", vault.name))
        .await?;
    Box::pin(written(write, row, claim, Uuid::new_v4(), &fetched)).await?;
    Ok(())
}

/// A refresh whose time has come. Where nothing is new, nothing but the time of it is written.
pub(super) async fn by_schedule(
    control: &Control,
    store: &Arc<dyn SecretStore>,
    row: &ExternalStore,
) -> Result<(), NotRefreshed> {
    let claim = claim(control, row).await?;
    let fetched = fetched(control, &**store, row, claim).await?;
    if !differs(control, row.vault_id, &fetched).await? {
        control
            .store()
            .note_sync(row.vault_id, claim, control.now(), None)
            .await?;
        return Ok(());
    }
    let name = match control.store().vault(row.vault_id).await? {
        Some(vault) => vault.name,
        None => return Ok(()),
    };
    let write = control
        .begin_unattributed("store.sync", format!("vault:{name}"))
        .await?;
    Box::pin(written(write, row, claim, row.revision, &fetched)).await?;
    Ok(())
}

async fn claim(control: &Control, row: &ExternalStore) -> Result<Uuid, NotRefreshed> {
    let (claim, now) = (Uuid::new_v4(), control.now());
    let until = now.saturating_add(CLAIM_LIFE).unwrap_or(now);
    if control
        .store()
        .claim_sync(row.vault_id, row.revision, claim, now, until)
        .await?
    {
        Ok(claim)
    } else {
        Err(NotRefreshed::Busy)
    }
}

async fn fetched(
    control: &Control,
    store: &dyn SecretStore,
    row: &ExternalStore,
    claim: Uuid,
) -> Result<Fetched, NotRefreshed> {
    let place = place::from_json(&row.config_json)?;
    let closing = control.lending().closing();
    let outcome = tokio::select! {
        biased;
        () = closing.cancelled() => None,
        outcome = fetch(store, &place) => Some(outcome),
    };
    let rows = control.store();
    match outcome {
        Some(Ok(fetched)) => Ok(fetched),
        // What fails because the server stops says nothing of the store.
        Some(Err(failed)) if !closing.is_cancelled() => {
            rows.note_sync(row.vault_id, claim, control.now(), Some(&failed.text()))
                .await?;
            Err(NotRefreshed::Fetch(failed))
        }
        Some(Err(_)) | None => {
            rows.drop_sync_claim(row.vault_id, claim).await?;
            Err(NotRefreshed::Stopping)
        }
    }
}

/// Whether the vault holds anything else than what was fetched. On a reader: what it finds is looked at again in the transaction.
async fn differs(control: &Control, vault: Uuid, fetched: &Fetched) -> Result<bool, ControlError> {
    let store = control.store();
    if let Some(names) = &fetched.dynamic {
        let known = store.dynamic_secrets(vault).await?;
        if !known.iter().map(|known| &known.name).eq(names) {
            return Ok(true);
        }
    }
    let rows = store.credentials(vault).await?;
    Ok(!changes(control, vault, &rows, fetched).is_empty())
}

/// What has to be done to a vault's rows.
struct Changes<'f> {
    put: Vec<(&'f CredentialKey, &'f SecretBytes, bool)>,
    gone: Vec<String>,
}

impl Changes<'_> {
    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

fn changes<'f>(
    control: &Control,
    vault: Uuid,
    rows: &[Credential],
    fetched: &'f Fetched,
) -> Changes<'f> {
    let known: HashMap<&str, &Credential> =
        rows.iter().map(|row| (row.key.as_str(), row)).collect();
    let put = fetched
        .secrets
        .iter()
        .filter_map(|(key, value)| match known.get(key.as_str()) {
            None => Some((key, value, true)),
            // One that comes by OAuth wins over a copy.
            Some(row) if row.kind != CredentialType::Static => None,
            Some(row) => (!is_same(control, vault, row, value)).then_some((key, value, false)),
        })
        .collect();
    let gone = rows
        .iter()
        .filter(|row| row.kind == CredentialType::Static)
        .filter(|row| !fetched.secrets.contains_key(row.key.as_str()))
        .map(|row| row.key.clone())
        .collect();
    Changes { put, gone }
}

/// Whether a row holds this value and no end. One that does not open does not.
fn is_same(control: &Control, vault: Uuid, row: &Credential, value: &SecretBytes) -> bool {
    let owner = vault.to_string();
    let context = credential_context(&owner, &row.key, row.version);
    row.expires_at.is_none()
        && control
            .keyring()
            .open(&context, &row.sealed)
            .is_ok_and(|known| known.constant_time_eq(value.expose()))
}

async fn written(
    mut write: Write,
    row: &ExternalStore,
    claim: Uuid,
    revision: Uuid,
    fetched: &Fetched,
) -> Result<(), ControlError> {
    let outcome = write_in(&mut write, row, claim, revision, fetched).await;
    write.finish(outcome).await
}

async fn write_in(
    write: &mut Write,
    row: &ExternalStore,
    claim: Uuid,
    revision: Uuid,
    fetched: &Fetched,
) -> Result<(), ControlError> {
    let now = write.now();
    // With the database's writer in hand: nobody can switch the store between this and the commit.
    let same = write
        .tx()
        .end_sync(row.vault_id, claim, row.revision, revision, now)
        .await?;
    if !same {
        return Err(ControlError::new(
            ErrorKind::Gone,
            "The vault's store was switched while its secrets were fetched",
        ));
    }
    let names_changed = apply(write, row.vault_id, fetched).await?;
    if names_changed || revision != row.revision {
        write.publish(Publication::Everything);
        Ok(())
    } else {
        write.publish_vault(row.vault_id).await
    }
}

/// Makes the vault's static credentials what was fetched. Rows that hold it already stay as they are. Answers whether other secrets
/// are made on demand than before.
pub(super) async fn apply(
    write: &mut Write,
    vault: Uuid,
    fetched: &Fetched,
) -> Result<bool, ControlError> {
    let rows = write.tx().credentials(vault).await?;
    let changes = changes(write.control(), vault, &rows, fetched);
    let (mut added, mut changed) = (Vec::new(), Vec::new());
    for (key, value, is_new) in changes.put {
        credentials::put_unasked(write, vault, key, value, Origin::default()).await?;
        if is_new { &mut added } else { &mut changed }.push(key.to_string());
    }
    for key in &changes.gone {
        write.tx().delete_credential(vault, key).await?;
    }
    write.note("added", added);
    write.note("changed", changed);
    write.note("removed", changes.gone);
    match &fetched.dynamic {
        Some(names) => Ok(write.tx().put_dynamic_secrets(vault, names).await?),
        None => Ok(false),
    }
}
