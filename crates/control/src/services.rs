//! Rules of a vault. Every change reads, merges and writes inside one transaction, so that nobody's change is lost.

use agent_vault_policy::{
    CredentialKey, ReferenceError, Service, ServiceDraft, ServiceError, ValidationOptions,
    remove_service, set_enabled, upsert,
};

use crate::Control;
use crate::access::{self, Admin, AnyRole, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::credentials;
use crate::error::{Candidate, ControlError};
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

/// The result of an upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserted {
    /// Names of the entries given, in their order.
    pub names: Vec<String>,
    /// How many services the vault has.
    pub total: usize,
}

/// Actions on services.
#[derive(Debug, Clone, Copy)]
pub struct Services<'c>(pub(crate) &'c Control);

impl Services<'_> {
    /// Every service, in stored order.
    ///
    /// # Errors
    /// Without a role in the vault.
    pub async fn list(&self, actor: &Actor, vault: &str) -> Result<Vec<Service>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault)).await?;
        stored(rows.services(access.id()).await?.map(|row| row.json))
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
        let services = self.list(actor, vault).await?;
        let key = CredentialKey::parse(key)
            .map_err(|error| ControlError::invalid(format!("Invalid credential key: {error}")))?;
        Ok(services
            .iter()
            .filter(|service| service.keys().contains(&key))
            .map(name_of)
            .collect())
    }

    /// Puts each entry in the place of the one with its name, or at the end.
    ///
    /// # Errors
    /// Below vault admin; `Invalid`, naming the field, for a bad entry, or for one that puts in a header what no header carries;
    /// then nothing changes.
    pub async fn upsert(
        &self,
        actor: &Actor,
        vault: &str,
        drafts: Vec<ServiceDraft>,
    ) -> Result<Upserted, ControlError> {
        let mut write = self.begin(actor, "service.upsert", vault).await?;
        let outcome = put(&mut write, actor, vault, drafts).await;
        write.finish(outcome).await
    }

    /// Replaces the whole list; answers how many there are.
    ///
    /// # Errors
    /// Below vault admin; `Invalid`, naming the field, for a bad entry, or for one that puts in a header what no header carries;
    /// then nothing changes.
    pub async fn replace(
        &self,
        actor: &Actor,
        vault: &str,
        drafts: Vec<ServiceDraft>,
    ) -> Result<usize, ControlError> {
        let mut write = self.begin(actor, "service.replace", vault).await?;
        let outcome = replace(&mut write, actor, vault, drafts).await;
        write.finish(outcome).await
    }

    /// Enables or disables a service, by name, joined form or host.
    ///
    /// # Errors
    /// Below vault admin; `NotFound`; `Conflict` with the candidates when several are meant.
    pub async fn set_enabled(
        &self,
        actor: &Actor,
        vault: &str,
        reference: &str,
        enabled: bool,
    ) -> Result<ServiceName, ControlError> {
        let mut write = self.begin(actor, "service.enable", vault).await?;
        let outcome = toggle(&mut write, actor, vault, reference, enabled).await;
        write.finish(outcome).await
    }

    /// Removes a service, by name, joined form or host; answers it and how many are left.
    ///
    /// # Errors
    /// Below vault admin; `NotFound`; `Conflict` with the candidates when several are meant.
    pub async fn remove(
        &self,
        actor: &Actor,
        vault: &str,
        reference: &str,
    ) -> Result<(ServiceName, usize), ControlError> {
        let mut write = self.begin(actor, "service.remove", vault).await?;
        let outcome = remove(&mut write, actor, vault, reference).await;
        write.finish(outcome).await
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

async fn put(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    drafts: Vec<ServiceDraft>,
) -> Result<Upserted, ControlError> {
    let (access, existing) = read(write, actor, vault).await?;
    let merged = upsert(&existing, drafts, &options(write)).map_err(invalid)?;
    let names: Vec<String> = merged.upserted.iter().map(ToString::to_string).collect();
    write.note("services", names.clone());
    let total = merged.services.len();
    let changed: Vec<&Service> = merged
        .services
        .iter()
        .filter(|service| merged.upserted.contains(&service.name))
        .collect();
    credentials::check_headers(write, &access, &changed).await?;
    store(write, &access, &merged.services).await?;
    Ok(Upserted { names, total })
}

async fn replace(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    drafts: Vec<ServiceDraft>,
) -> Result<usize, ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let services = Service::list_from_drafts(drafts, &options(write)).map_err(invalid)?;
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    write.note("services", names);
    credentials::check_headers(write, &access, &services.iter().collect::<Vec<_>>()).await?;
    store(write, &access, &services).await?;
    Ok(services.len())
}

async fn toggle(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    reference: &str,
    enabled: bool,
) -> Result<ServiceName, ControlError> {
    let (access, mut services) = read(write, actor, vault).await?;
    let changed = match set_enabled(&mut services, reference, enabled) {
        Ok(service) => name_of(service),
        Err(error) => return Err(unresolved(&services, error)),
    };
    write.note("service", changed.name.as_str());
    write.note("enabled", enabled);
    store(write, &access, &services).await?;
    Ok(changed)
}

async fn remove(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    reference: &str,
) -> Result<(ServiceName, usize), ControlError> {
    let (access, mut services) = read(write, actor, vault).await?;
    let removed = match remove_service(&mut services, reference) {
        Ok(service) => name_of(&service),
        Err(error) => return Err(unresolved(&services, error)),
    };
    write.note("service", removed.name.as_str());
    store(write, &access, &services).await?;
    Ok((removed, services.len()))
}

async fn read(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
) -> Result<(VaultAccess<Admin>, Vec<Service>), ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let row = write.tx().services(access.id()).await?;
    Ok((access, stored(row.map(|row| row.json))?))
}

/// Writes a vault's services. Needs proof that an admin of the vault asked.
async fn store(
    write: &mut Write,
    access: &VaultAccess<Admin>,
    services: &[Service],
) -> Result<(), ControlError> {
    let now = write.now();
    write
        .tx()
        .put_services(access.id(), &Service::list_to_json(services), now)
        .await?;
    write.publish_vault(access.id()).await
}

fn options(write: &Write) -> ValidationOptions {
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
    use agent_vault_policy::find_service;

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
