//! Rules of a vault. Every change reads, merges and writes inside one transaction, so that nobody's change is lost.

use std::collections::{BTreeMap, HashMap, HashSet};

use agent_vault_policy::{
    CredentialKey, ReferenceError, Service, ServiceDraft, ServiceError, ValidationOptions,
    find_service, remove_service, set_enabled, upsert,
};
use agent_vault_seal::fingerprint;

use crate::Control;
use crate::access::{self, Admin, AnyRole, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::credentials;
use crate::error::{Candidate, ControlError, ErrorKind};
use crate::publish;
use crate::write::Write;

/// A service by what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Name.
    pub name: String,
    /// Host, port and path joined.
    pub host: String,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// The services of a vault, as one reader found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceListing {
    /// In stored order.
    pub services: Vec<Service>,
    /// Counts the writes to the list. A write that names it is refused if there has been another since.
    pub revision: u64,
}

impl ServiceListing {
    /// Each service's version by its name. It changes with the service and with nothing else.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.services
            .iter()
            .map(|service| (service.name.to_string(), version(service)))
            .collect()
    }
}

/// What a write rests on, and whether it is only to be shown.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// The list's revision when it was read.
    pub revision: Option<u64>,
    /// For each service by name its version when it was read; `None` if there was none of that name.
    pub versions: BTreeMap<String, Option<String>>,
    /// For an edit of one service: its version when it was read.
    pub version: Option<String>,
    /// Check everything, say what would change, and change nothing.
    pub dry_run: bool,
}

/// How one service differs after a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// Its name.
    pub name: String,
    /// Before; `None` for a new one.
    pub before: Option<Service>,
    /// After; `None` for one that is gone.
    pub after: Option<Service>,
}

/// A write that was done, or shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited<T> {
    /// What the action answers.
    pub value: T,
    /// What it changed, in stored order, what is gone last. A service that only moved is not in it.
    pub changes: Vec<ServiceChange>,
    /// How many services there are then.
    pub total: usize,
    /// The list's revision then.
    pub revision: u64,
}

/// Actions on services.
#[derive(Debug, Clone, Copy)]
pub struct Services<'c>(pub(crate) &'c Control);

impl Services<'_> {
    /// Every service, in stored order.
    ///
    /// # Errors
    /// Without a role in the vault.
    pub async fn list(&self, actor: &Actor, vault: &str) -> Result<ServiceListing, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault)).await?;
        listing(rows.services(access.id()).await?)
    }

    /// One service, by name, joined form or host, and its version.
    ///
    /// # Errors
    /// Without a role in the vault; `NotFound`; `Conflict` with the candidates when several are meant.
    pub async fn get(
        &self,
        actor: &Actor,
        vault: &str,
        reference: &str,
    ) -> Result<(Service, String), ControlError> {
        let found = self.list(actor, vault).await?.services;
        match find_service(&found, reference) {
            Ok(index) => found
                .get(index)
                .map(|service| (service.clone(), version(service)))
                .ok_or_else(|| ControlError::not_found("the service is gone")),
            Err(error) => Err(unresolved(&found, error)),
        }
    }

    /// The services that use a credential, in their injection or in a substitution.
    ///
    /// # Errors
    /// Without a role in the vault; `Invalid` for what is no credential's name.
    pub async fn using(
        &self,
        actor: &Actor,
        vault: &str,
        key: &str,
    ) -> Result<Vec<ServiceName>, ControlError> {
        let found = self.list(actor, vault).await?;
        let key = CredentialKey::parse(key)
            .map_err(|error| ControlError::invalid(format!("Invalid credential key: {error}")))?;
        Ok(found
            .services
            .iter()
            .filter(|service| service.keys().contains(&key))
            .map(name_of)
            .collect())
    }

    /// Puts each entry in the place of the one with its name, or at the end; answers their names in the order given.
    ///
    /// # Errors
    /// Below vault admin; `Invalid`, naming the field, for a bad entry, or for one that puts in a header what no header carries;
    /// `Stale` when a condition does not hold; then nothing changes.
    pub async fn upsert(
        &self,
        actor: &Actor,
        vault: &str,
        drafts: Vec<ServiceDraft>,
        conditions: &Conditions,
    ) -> Result<Edited<Vec<String>>, ControlError> {
        let mut write = self.begin(actor, "service.upsert", vault).await?;
        let outcome = put(&mut write, actor, vault, drafts, conditions).await;
        end(write, outcome, conditions).await
    }

    /// Replaces the whole list.
    ///
    /// # Errors
    /// Below vault admin; `Invalid`, naming the field, for a bad entry, or for one that puts in a header what no header carries;
    /// `Stale` when a condition does not hold; then nothing changes.
    pub async fn replace(
        &self,
        actor: &Actor,
        vault: &str,
        drafts: Vec<ServiceDraft>,
        conditions: &Conditions,
    ) -> Result<Edited<()>, ControlError> {
        let mut write = self.begin(actor, "service.replace", vault).await?;
        let outcome = replace(&mut write, actor, vault, drafts, conditions).await;
        end(write, outcome, conditions).await
    }

    /// Enables or disables a service, by name, joined form or host.
    ///
    /// # Errors
    /// Below vault admin; `NotFound`; `Conflict` with the candidates when several are meant; `Stale` when a condition does not hold.
    pub async fn set_enabled(
        &self,
        actor: &Actor,
        vault: &str,
        reference: &str,
        enabled: bool,
        conditions: &Conditions,
    ) -> Result<Edited<ServiceName>, ControlError> {
        let mut write = self.begin(actor, "service.enable", vault).await?;
        let outcome = toggle(&mut write, actor, vault, reference, enabled, conditions).await;
        end(write, outcome, conditions).await
    }

    /// Removes a service, by name, joined form or host; answers it.
    ///
    /// # Errors
    /// Below vault admin; `NotFound`; `Conflict` with the candidates when several are meant; `Stale` when a condition does not hold.
    pub async fn remove(
        &self,
        actor: &Actor,
        vault: &str,
        reference: &str,
        conditions: &Conditions,
    ) -> Result<Edited<ServiceName>, ControlError> {
        let mut write = self.begin(actor, "service.remove", vault).await?;
        let outcome = remove(&mut write, actor, vault, reference, conditions).await;
        end(write, outcome, conditions).await
    }

    async fn begin(
        &self,
        actor: &Actor,
        action: &'static str,
        vault: &str,
    ) -> Result<Write, ControlError> {
        self.0
            .begin(actor, action, format!("vault:{}", access::shown(vault)))
            .await
    }
}

async fn end<T: Send + 'static>(
    write: Write,
    outcome: Result<T, ControlError>,
    conditions: &Conditions,
) -> Result<T, ControlError> {
    match outcome {
        Ok(shown) if conditions.dry_run => write.discard().await.map(|()| shown),
        outcome => write.finish(outcome).await,
    }
}

async fn put(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    drafts: Vec<ServiceDraft>,
    conditions: &Conditions,
) -> Result<Edited<Vec<String>>, ControlError> {
    let (access, present) = read(write, actor, vault).await?;
    check(&present, conditions)?;
    let merged = upsert(&present.services, drafts, &options(write)).map_err(invalid)?;
    let names: Vec<String> = merged.upserted.iter().map(ToString::to_string).collect();
    write.note("services", names.clone());
    let changed: Vec<&Service> = merged
        .services
        .iter()
        .filter(|service| merged.upserted.contains(&service.name))
        .collect();
    credentials::check_headers(write, &access, &changed).await?;
    store(write, &access, &present, &merged.services, names).await
}

async fn replace(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    drafts: Vec<ServiceDraft>,
    conditions: &Conditions,
) -> Result<Edited<()>, ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let row = write.tx().services(access.id()).await?;
    // Replacing a damaged list is the way out of it; nothing can be compared with one.
    let revision = row.as_ref().map_or(0, |row| row.revision);
    let present = listing(row).unwrap_or(ServiceListing {
        services: Vec::new(),
        revision,
    });
    check(&present, conditions)?;
    let services = Service::list_from_drafts(drafts, &options(write)).map_err(invalid)?;
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    write.note("services", names);
    credentials::check_headers(write, &access, &services.iter().collect::<Vec<_>>()).await?;
    store(write, &access, &present, &services, ()).await
}

async fn toggle(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    reference: &str,
    enabled: bool,
    conditions: &Conditions,
) -> Result<Edited<ServiceName>, ControlError> {
    let (access, present) = read(write, actor, vault).await?;
    let mut services = present.services.clone();
    check_one(&present, reference, conditions)?;
    let changed = match set_enabled(&mut services, reference, enabled) {
        Ok(service) => name_of(service),
        Err(error) => return Err(unresolved(&services, error)),
    };
    write.note("service", changed.name.as_str());
    write.note("enabled", enabled);
    store(write, &access, &present, &services, changed).await
}

async fn remove(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    reference: &str,
    conditions: &Conditions,
) -> Result<Edited<ServiceName>, ControlError> {
    let (access, present) = read(write, actor, vault).await?;
    let mut services = present.services.clone();
    check_one(&present, reference, conditions)?;
    let removed = match remove_service(&mut services, reference) {
        Ok(service) => name_of(&service),
        Err(error) => return Err(unresolved(&services, error)),
    };
    write.note("service", removed.name.as_str());
    store(write, &access, &present, &services, removed).await
}

/// Refuses a write that rests on a list or a service that has changed since.
pub(crate) fn check(present: &ServiceListing, conditions: &Conditions) -> Result<(), ControlError> {
    if let Some(expected) = conditions.revision
        && expected != present.revision
    {
        return Err(ControlError::new(
            ErrorKind::Stale,
            format!(
                "The services have changed: this write is for revision {expected}, the vault has revision {}",
                present.revision
            ),
        )
        .hint("read them again, and repeat the change on what is there now"));
    }
    for (name, expected) in &conditions.versions {
        let there = present
            .services
            .iter()
            .find(|service| service.name.as_str() == name)
            .map(version);
        if *expected != there {
            return Err(stale(name, expected.as_deref(), there.as_deref()));
        }
    }
    Ok(())
}

fn check_one(
    present: &ServiceListing,
    reference: &str,
    conditions: &Conditions,
) -> Result<(), ControlError> {
    check(present, conditions)?;
    let Some(expected) = &conditions.version else {
        return Ok(());
    };
    match find_service(&present.services, reference).map(|at| present.services.get(at)) {
        Ok(Some(service)) => {
            let there = version(service);
            if *expected == there {
                Ok(())
            } else {
                Err(stale(service.name.as_str(), Some(expected), Some(&there)))
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(unresolved(&present.services, error)),
    }
}

fn stale(name: &str, expected: Option<&str>, there: Option<&str>) -> ControlError {
    let message = match (expected, there) {
        (None, _) => format!("A service called `{name}` exists already"),
        (Some(_), None) => format!("Service `{name}` is gone"),
        (Some(expected), Some(there)) => format!(
            "Service `{name}` has changed: this write is for version {expected}, it has version {there}"
        ),
    };
    ControlError::new(ErrorKind::Stale, message)
        .hint("read it again, and repeat the change on what is there now")
}

/// A service's version: the same for the same rule, however often it was written.
#[must_use]
pub(crate) fn version(service: &Service) -> String {
    fingerprint(&service.to_wire().to_string())
}

pub(crate) fn listing(
    row: Option<agent_vault_store::Services>,
) -> Result<ServiceListing, ControlError> {
    let revision = row.as_ref().map_or(0, |row| row.revision);
    Ok(ServiceListing {
        services: stored(row.map(|row| row.json))?,
        revision,
    })
}

async fn read(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
) -> Result<(VaultAccess<Admin>, ServiceListing), ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let row = write.tx().services(access.id()).await?;
    Ok((access, listing(row)?))
}

/// Writes a vault's services. Needs proof that an admin of the vault asked.
pub(crate) async fn store<T>(
    write: &mut Write,
    access: &VaultAccess<Admin>,
    present: &ServiceListing,
    services: &[Service],
    value: T,
) -> Result<Edited<T>, ControlError> {
    let changes = changes(&present.services, services);
    note(write, &changes);
    let now = write.now();
    write
        .tx()
        .put_services(access.id(), &Service::list_to_json(services), now)
        .await?;
    write.publish_vault(access.id()).await?;
    Ok(Edited {
        value,
        changes,
        total: services.len(),
        revision: present.revision + 1,
    })
}

/// What differs between two lists.
pub(crate) fn changes(before: &[Service], after: &[Service]) -> Vec<ServiceChange> {
    let earlier: HashMap<&str, &Service> = before
        .iter()
        .map(|service| (service.name.as_str(), service))
        .collect();
    let kept: HashSet<&str> = after.iter().map(|service| service.name.as_str()).collect();
    let written = after.iter().filter_map(|service| {
        let before = earlier.get(service.name.as_str()).copied();
        (before != Some(service)).then(|| ServiceChange {
            name: service.name.to_string(),
            before: before.cloned(),
            after: Some(service.clone()),
        })
    });
    let gone = before
        .iter()
        .filter(|service| !kept.contains(service.name.as_str()))
        .map(|service| ServiceChange {
            name: service.name.to_string(),
            before: Some(service.clone()),
            after: None,
        });
    written.chain(gone).collect()
}

/// Most services that an audit record shows before and after; of the others it has the names.
const MAX_NOTED: usize = 20;

/// Rules hold names of credentials and no values, so the record may show them.
fn note(write: &mut Write, changes: &[ServiceChange]) {
    let wire = |service: &Option<Service>| service.as_ref().map(Service::to_wire);
    let noted: Vec<_> = changes
        .iter()
        .take(MAX_NOTED)
        .map(|change| {
            serde_json::json!({
                "name": change.name,
                "before": wire(&change.before),
                "after": wire(&change.after),
            })
        })
        .collect();
    write.note("changes", noted);
}

pub(crate) fn options(write: &Write) -> ValidationOptions {
    ValidationOptions {
        dev_mode: write.control().options().dev_mode,
    }
}

/// The stored services; a damaged list is our failure, and replacing it whole is the way out.
pub(crate) fn stored(json: Option<String>) -> Result<Vec<Service>, ControlError> {
    let json = json.ok_or_else(|| ControlError::not_found("the vault is gone"))?;
    publish::stored_services(&json).map_err(|error| {
        ControlError::internal("The stored services cannot be read", error)
            .hint("replace them all with `agent-vault vault service set -f <file>`")
    })
}

pub(crate) fn name_of(service: &Service) -> ServiceName {
    ServiceName {
        name: service.name.to_string(),
        host: service.inline_host(),
        enabled: service.enabled,
    }
}

fn invalid(error: ServiceError) -> ControlError {
    let refused = ControlError::invalid(format!("Invalid services: {error}"));
    match error.hint {
        Some(hint) => refused.hint(hint),
        None => refused,
    }
}

fn unresolved(services: &[Service], error: ReferenceError) -> ControlError {
    match error {
        ReferenceError::Ambiguous { ref candidates, .. } => {
            let choices = services
                .iter()
                .filter(|service| candidates.iter().any(|name| name == service.name.as_str()))
                .map(|service| Candidate {
                    name: service.name.to_string(),
                    host: service.inline_host(),
                })
                .collect();
            ControlError::conflict(error.to_string())
                .hint("use the name of one of the candidates")
                .candidates(choices)
        }
        other => ControlError::not_found(other.to_string())
            .hint("list them with `agent-vault vault service list`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ambiguous_reference_lists_its_candidates() {
        let services = publish::stored_services(
            r#"[{"name":"one","host":"api.x.com/a/*","auth":{"type":"passthrough"}},
                {"name":"two","host":"api.x.com/b/*","auth":{"type":"passthrough"}}]"#,
        )
        .unwrap();
        let error = find_service(&services, "api.x.com").unwrap_err();
        let refused = unresolved(&services, error);
        let names: Vec<&str> = refused
            .choices()
            .iter()
            .map(|choice| choice.name.as_str())
            .collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(refused.choices()[0].host, "api.x.com/a/*");
    }
}
