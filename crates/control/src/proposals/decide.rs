//! Deciding: approval merges, seals, writes and ends the proposal in one transaction; a rejection only ends it.

use agent_vault_policy::Service;
use agent_vault_seal::{Sealed, SecretBytes};
use agent_vault_store::{Proposal, ProposalEnd, ProposalStatus, Reviewer, VaultRole};
use uuid::Uuid;

use super::input::{Offered, ProposedAction, ProposedService};
use super::merge::{Merged, Moment, merge};
use super::view::{ProposalView, parse, view};
use super::{Approval, context, is_own, needed, note, references, unknown, value_name};
use crate::access::{self, Admin, Member, Rows, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::credentials::{self, Origin};
use crate::error::ControlError;
use crate::line_breaks;
use crate::oauth;
use crate::services::{self, Conditions, ServiceListing};
use crate::stores;
use crate::webhooks::{self, Event, Proposed};
use crate::write::Write;

pub(super) async fn approve(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: u32,
    approval: Approval,
) -> Result<(), ControlError> {
    let (access, row) = open(write, actor, vault, id).await?;
    if is_own(actor, &row) {
        return Err(
            ControlError::forbidden("Nobody approves a proposal of their own")
                .hint("a person decides: `agent-vault vault proposal approve`"),
        );
    }
    let own = VaultRef::Named(&access.vault().name);
    let admin = match needed(&parse::<ProposedService>(&row.services_json)?) {
        VaultRole::Admin => Some(access::vault::<Admin>(write.tx(), actor, own).await?),
        _ => None,
    };
    let vault_id = access.id();
    let view = view(&access.vault().name, row, write.now())?;
    let present = services::listing(write.tx().services(vault_id).await?)?;
    let seen = Conditions {
        revision: approval.revision,
        ..Conditions::default()
    };
    services::check(&present, &seen)?;
    let merged = merge(
        &present.services,
        &view.services,
        &services::options(write),
        Moment::Decided,
    )?;
    let known = write.tx().credential_keys(vault_id).await?;
    if !view.credentials.is_empty() {
        stores::keeps_its_own(write, vault_id).await?;
    }
    {
        let stores = write.control().stores();
        let lent = |key: &str| stores.lends(vault_id, key);
        references(&merged, &view.credentials, &known, &lent, Moment::Decided)?;
    }
    let values = values(write, vault_id, &view, approval.values).await?;
    credentials::room(&known, &values)?;
    let mut versions = Vec::with_capacity(values.len());
    for (key, value) in &values {
        line_breaks::check_headers(&merged.services, key, value.expose())?;
        versions.push(credentials::put(write, &access, key, value, Origin::default()).await?);
    }
    for slot in &view.credentials {
        if slot.action == ProposedAction::Set
            && let Some(client) = &slot.oauth
        {
            oauth::prepare(write, &access, &slot.key, client).await?;
        }
        if slot.action == ProposedAction::Delete
            && !write.tx().delete_credential(vault_id, &slot.key).await?
        {
            return Err(ControlError::conflict(format!(
                "Credential `{}` is gone since the proposal was made",
                slot.key
            ))
            .hint("reject the proposal"));
        }
    }
    end(write, actor, &access, &view, ProposalStatus::Applied, "").await?;
    note(write, &view);
    write.note("versions", versions);
    match admin {
        None => write.publish_vault(vault_id).await,
        Some(admin) => {
            let set: Vec<&Service> = merged.set.iter().map(|(_, service)| service).collect();
            credentials::check_headers(write, &admin, &set).await?;
            store(write, &admin, &present, &merged).await
        }
    }
}

async fn store(
    write: &mut Write,
    admin: &VaultAccess<Admin>,
    present: &ServiceListing,
    merged: &Merged,
) -> Result<(), ControlError> {
    services::store(write, admin, present, &merged.services, ())
        .await
        .map(|_| ())
}

pub(super) async fn reject(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: u32,
    reason: &str,
) -> Result<(), ControlError> {
    let (access, row) = open(write, actor, vault, id).await?;
    let view = view(&access.vault().name, row, write.now())?;
    end(
        write,
        actor,
        &access,
        &view,
        ProposalStatus::Rejected,
        reason,
    )
    .await
}

/// A pending proposal, for one who decides.
async fn open(
    write: &mut Write,
    actor: &Actor,
    vault: VaultRef<'_>,
    id: u32,
) -> Result<(VaultAccess<Member>, Proposal), ControlError> {
    let access = access::vault::<Member>(write.tx(), actor, vault).await?;
    write.retarget(format!("vault:{}", access.vault().name));
    write.note("proposal", id);
    if matches!(actor, Actor::Scoped(_)) {
        return Err(ControlError::forbidden("A vault token decides nothing")
            .hint("log in with `agent-vault auth login`"));
    }
    let row = write.tx().proposal(access.id(), id).await?;
    let row = row.ok_or_else(|| unknown(id))?;
    match row.status_at(write.now()) {
        ProposalStatus::Pending => Ok((access, row)),
        ended => Err(decided(id, ended)),
    }
}

async fn end(
    write: &mut Write,
    actor: &Actor,
    access: &VaultAccess<Member>,
    view: &ProposalView,
    status: ProposalStatus,
    note: &str,
) -> Result<(), ControlError> {
    let by = reviewer(write, actor).await?;
    let end = ProposalEnd {
        vault_id: access.id(),
        id: view.id,
        status,
        note,
        by: &by,
        at: write.now(),
    };
    if !write.tx().end_proposal(&end).await? {
        return Err(decided(view.id, status));
    }
    let event = Event::Decided {
        proposal: Proposed::from(view),
        status: status.as_str(),
        note: note.to_owned(),
        by: by.name,
    };
    webhooks::queue(write, Some(access.vault()), &event).await?;
    Ok(())
}

/// The value of each slot that is set: what the person gives, else what the agent gave.
async fn values(
    write: &mut Write,
    vault: Uuid,
    view: &ProposalView,
    given: Vec<(String, SecretBytes)>,
) -> Result<Offered, ControlError> {
    let mut offered: Vec<(String, Sealed)> = write.tx().proposal_values(vault, view.id).await?;
    let mut given = given;
    let owner = vault.to_string();
    let mut found = Vec::new();
    for slot in &view.credentials {
        if slot.action != ProposedAction::Set || slot.is_oauth() {
            continue;
        }
        let value = if let Some(at) = given.iter().position(|(key, _)| *key == slot.key) {
            given.swap_remove(at).1
        } else if let Some(at) = offered.iter().position(|(key, _)| *key == slot.key) {
            let (key, sealed) = offered.swap_remove(at);
            let name = value_name(view.id, &key);
            write
                .control()
                .keyring()
                .open(&context(&owner, &name), &sealed)
                .map_err(|error| {
                    ControlError::internal(
                        format!("the offered value of `{key}` cannot be opened"),
                        error,
                    )
                    .hint("give a value with the approval")
                })?
        } else {
            return Err(ControlError::invalid(format!(
                "Missing value for credential {}",
                slot.key
            ))
            .hint(format!(
                "give one, for example `\"credentials\": {{\"{}\": \"…\"}}`",
                slot.key
            )));
        };
        if value.is_empty() {
            return Err(ControlError::invalid(format!(
                "The value for credential {} is empty",
                slot.key
            ))
            .hint("give one, or reject the proposal"));
        }
        found.push((slot.key.clone(), value));
    }
    credentials::checked(found)
}

async fn reviewer(write: &mut Write, actor: &Actor) -> Result<Reviewer, ControlError> {
    let Some(identity) = actor.identity() else {
        return Ok(Reviewer {
            kind: "local",
            id: None,
            name: "local operator".to_owned(),
        });
    };
    let name = write.tx().display_name(identity).await?;
    Ok(Reviewer {
        kind: identity.kind.as_str(),
        id: Some(identity.id),
        name: name.unwrap_or_default(),
    })
}

fn decided(id: u32, status: ProposalStatus) -> ControlError {
    ControlError::conflict(format!("Proposal {id} is {status}, not pending"))
        .hint("what has ended stays as it is")
}
