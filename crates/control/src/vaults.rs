//! Vaults.

use std::collections::HashMap;

use agent_vault_policy::Slug;
use agent_vault_store::{ActorKind, ActorRef, DEFAULT_VAULT_NAME, Grant, Store, Vault, VaultRole};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Control;
use crate::access::{
    self, AnyActor, AnyRole, InstanceAccess, InstanceMember, InstanceOwner, VaultRef,
};
use crate::actor::Actor;
use crate::error::ControlError;
use crate::owners;
use crate::write::{Ended, Publication, Write};

/// A name that the pages of the instance need for themselves.
const RESERVED_NAME: &str = "users";

/// How somebody is related to a vault in their list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// By a grant with this role.
    Explicit(VaultRole),
    /// An owner who has not joined.
    Implicit,
}

/// A vault in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultView {
    /// Identity.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// How the one who asks is related to it.
    pub membership: Membership,
    /// Since when.
    pub created_at: Timestamp,
    /// Proposals that wait for a decision; 0 where one has no role.
    pub pending_proposals: u64,
}

/// A vault that got another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenamedVault {
    /// What it was called.
    pub old_name: String,
    /// What it is called.
    pub new_name: String,
}

/// Actions on vaults.
#[derive(Debug, Clone, Copy)]
pub struct Vaults<'c>(pub(crate) &'c Control);

impl Vaults<'_> {
    /// Makes a vault; whoever asks becomes its admin.
    ///
    /// # Errors
    /// Below instance member; `Invalid` for a name that is no slug or reserved; `Conflict` for one that is taken.
    pub async fn create(&self, actor: &Actor, name: &str) -> Result<VaultView, ControlError> {
        let target = format!("vault:{}", access::shown(name));
        let mut write = self.0.begin(actor, "vault.create", target).await?;
        let outcome = create(&mut write, actor, name).await;
        write.finish(outcome).await
    }

    /// The vaults of the one who asks, by name for owners (who see all), else oldest grant first.
    ///
    /// # Errors
    /// For scoped sessions.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<VaultView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<AnyActor>(&mut rows, actor).await?;
        let mut views = visible(&mut rows, &access).await?;
        let pending: HashMap<Uuid, u64> = rows
            .pending_proposals(self.0.now())
            .await?
            .into_iter()
            .collect();
        for view in &mut views {
            if matches!(view.membership, Membership::Explicit(_)) {
                view.pending_proposals = pending.get(&view.id).copied().unwrap_or_default();
            }
        }
        Ok(views)
    }

    /// Every vault, by name.
    ///
    /// # Errors
    /// Unless an owner asks.
    pub async fn list_all(&self, actor: &Actor) -> Result<Vec<VaultView>, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<InstanceOwner>(&mut rows, actor).await?;
        let vaults = rows.vaults().await?;
        Ok(vaults
            .into_iter()
            .map(|vault| view(vault, Membership::Implicit))
            .collect())
    }

    /// The role of the one who asks in a vault.
    ///
    /// # Errors
    /// Without a grant, owners included; for scoped sessions.
    pub async fn role(&self, actor: &Actor, name: &str) -> Result<VaultRole, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<AnyActor>(&mut rows, actor).await?;
        let access = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(name)).await?;
        Ok(access.role())
    }

    /// Deletes a vault and everything in it. Sessions bound to it end.
    ///
    /// # Errors
    /// Unless vault admin or owner; `Invalid` for `default`.
    pub async fn delete(&self, actor: &Actor, name: &str) -> Result<(), ControlError> {
        refuse_default(name, "deleted")?;
        let target = format!("vault:{}", access::shown(name));
        let mut write = self.0.begin(actor, "vault.delete", target).await?;
        let outcome = delete(&mut write, actor, name).await;
        write.finish(outcome).await
    }

    /// Renames a vault. Tokens that are bound to it stay good.
    ///
    /// # Errors
    /// Unless vault admin or owner; `Invalid` for `default` and for a bad name; `Conflict` for a taken one.
    pub async fn rename(
        &self,
        actor: &Actor,
        name: &str,
        to: &str,
    ) -> Result<RenamedVault, ControlError> {
        refuse_default(name, "renamed")?;
        let target = format!("vault:{}", access::shown(name));
        let mut write = self.0.begin(actor, "vault.rename", target).await?;
        let outcome = rename(&mut write, actor, name, to).await;
        write.finish(outcome).await
    }

    /// Makes an owner of the instance admin of a vault.
    ///
    /// # Errors
    /// Unless an owner asks; `Conflict` for one who has a grant.
    pub async fn join(&self, actor: &Actor, name: &str) -> Result<(), ControlError> {
        let target = format!("vault:{}", access::shown(name));
        let mut write = self.0.begin(actor, "vault.join", target).await?;
        let outcome = join(&mut write, actor, name).await;
        write.finish(outcome).await
    }

    /// Gives up one's own grant on a vault.
    ///
    /// # Errors
    /// Without a grant; `Conflict` for the last admin.
    pub async fn leave(&self, actor: &Actor, name: &str) -> Result<(), ControlError> {
        let target = format!("vault:{}", access::shown(name));
        let mut write = self.0.begin(actor, "vault.leave", target).await?;
        let outcome = leave(&mut write, actor, name).await;
        write.finish(outcome).await
    }
}

/// The vaults that one sees, in their order.
async fn visible(
    rows: &mut Store,
    access: &InstanceAccess<AnyActor>,
) -> Result<Vec<VaultView>, ControlError> {
    let Some(identity) = access.identity() else {
        // The local operator may do everything everywhere.
        let vaults = rows.vaults().await?;
        let role = Membership::Explicit(VaultRole::Admin);
        return Ok(vaults.into_iter().map(|vault| view(vault, role)).collect());
    };
    let own = rows.vaults_of(identity).await?;
    if !access.is_owner() {
        return Ok(own
            .into_iter()
            .map(|own| view(own.vault, Membership::Explicit(own.role)))
            .collect());
    }
    Ok(rows
        .vaults()
        .await?
        .into_iter()
        .map(|vault| {
            let membership = own
                .iter()
                .find(|own| own.vault.id == vault.id)
                .map_or(Membership::Implicit, |own| Membership::Explicit(own.role));
            view(vault, membership)
        })
        .collect())
}

/// Refuses a name that is none or taken, for whoever has to do something slow before it can be taken.
pub(crate) async fn check_free(rows: &mut Store, name: &str) -> Result<(), ControlError> {
    let name = vault_name(name)?;
    match rows.vault_by_name(&name).await? {
        None => Ok(()),
        Some(_) => Err(ControlError::conflict(format!(
            "Vault \"{name}\" already exists"
        ))),
    }
}

pub(crate) async fn create(
    write: &mut Write,
    actor: &Actor,
    name: &str,
) -> Result<VaultView, ControlError> {
    let access = access::instance::<InstanceMember>(write.tx(), actor).await?;
    let name = vault_name(name)?;
    let now = write.now();
    let vault = Vault {
        id: Uuid::new_v4(),
        name,
        created_at: now,
        updated_at: now,
    };
    write.tx().insert_vault(&vault).await?;
    if let Some(creator) = access.identity() {
        grant_admin(write, creator, vault.id).await?;
    }
    write.publish_vault(vault.id).await?;
    Ok(view(vault, Membership::Explicit(VaultRole::Admin)))
}

async fn delete(write: &mut Write, actor: &Actor, name: &str) -> Result<(), ControlError> {
    let control = access::vault_control(write.tx(), actor, name).await?;
    let id = control.vault().id;
    write.note("id", id.to_string());
    write.tx().delete_vault(id).await?;
    write.publish(Publication::VaultGone(id));
    Ok(())
}

async fn rename(
    write: &mut Write,
    actor: &Actor,
    name: &str,
    to: &str,
) -> Result<RenamedVault, ControlError> {
    let control = access::vault_control(write.tx(), actor, name).await?;
    let new_name = vault_name(to)?;
    let (id, now) = (control.vault().id, write.now());
    write.tx().rename_vault(id, &new_name, now).await?;
    write.note("new_name", new_name.as_str());
    write.publish_vault(id).await?;
    Ok(RenamedVault {
        old_name: name.to_owned(),
        new_name,
    })
}

async fn join(write: &mut Write, actor: &Actor, name: &str) -> Result<(), ControlError> {
    let access = access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let vault = write
        .tx()
        .vault_by_name(name)
        .await?
        .ok_or_else(|| access::no_vault(name))?;
    let Some(identity) = access.identity() else {
        return Err(ControlError::conflict(
            "The local operator needs no membership",
        ));
    };
    if write.tx().grant(identity, vault.id).await?.is_some() {
        return Err(ControlError::conflict("Already a member of this vault"));
    }
    grant_admin(write, identity, vault.id).await
}

async fn leave(write: &mut Write, actor: &Actor, name: &str) -> Result<(), ControlError> {
    access::instance::<AnyActor>(write.tx(), actor).await?;
    let access = access::vault::<AnyRole>(write.tx(), actor, VaultRef::Named(name)).await?;
    let Some(identity) = actor.identity() else {
        return Err(ControlError::conflict(
            "The local operator is no member that could leave",
        ));
    };
    owners::keep_an_admin(write.tx(), identity, access.id()).await?;
    write.tx().delete_grant(identity, access.id()).await?;
    publish_grant(write, identity, access.id()).await
}

async fn grant_admin(write: &mut Write, actor: ActorRef, vault: Uuid) -> Result<(), ControlError> {
    let created_at = write.now();
    let grant = Grant {
        actor,
        vault_id: vault,
        role: VaultRole::Admin,
        created_at,
    };
    write.tx().put_grant(&grant).await?;
    if actor.kind == ActorKind::Agent {
        write.publish_agent(actor.id).await?;
    }
    Ok(())
}

/// Shows the broker that a grant was taken or lowered, with the scoped sessions that ended with it.
pub(crate) async fn publish_grant(
    write: &mut Write,
    actor: ActorRef,
    vault: Uuid,
) -> Result<(), ControlError> {
    write.publish(Publication::Sessions(Ended::MintedBy(actor, Some(vault))));
    if actor.kind == ActorKind::Agent {
        write.publish_agent(actor.id).await?;
    }
    Ok(())
}

fn vault_name(name: &str) -> Result<String, ControlError> {
    if name.is_empty() {
        return Err(ControlError::invalid("Vault name is required"));
    }
    let slug = Slug::parse(name).map_err(|error| {
        ControlError::invalid(format!("Invalid vault name: {error}")).hint(
            "3 to 64 characters: lower-case letters, digits and single hyphens, as in `my-name`",
        )
    })?;
    if slug.as_str() == RESERVED_NAME {
        return Err(ControlError::invalid(format!(
            "Vault name `{RESERVED_NAME}` is reserved"
        )));
    }
    Ok(slug.as_str().to_owned())
}

fn refuse_default(name: &str, what: &str) -> Result<(), ControlError> {
    if name == DEFAULT_VAULT_NAME {
        return Err(ControlError::invalid(format!(
            "The default vault cannot be {what}"
        )));
    }
    Ok(())
}

fn view(vault: Vault, membership: Membership) -> VaultView {
    VaultView {
        id: vault.id,
        name: vault.name,
        membership,
        created_at: vault.created_at,
        pending_proposals: 0,
    }
}

impl Membership {
    /// The role, if there is a grant.
    #[must_use]
    pub fn role(self) -> Option<VaultRole> {
        match self {
            Self::Explicit(role) => Some(role),
            Self::Implicit => None,
        }
    }
}
