//! The guards "never without an owner" and "never without an admin", read inside the transaction that they protect.

use agent_vault_store::{ActorKind, ActorRef, InstanceRole, Tx, VaultRole};
use uuid::Uuid;

use crate::error::ControlError;

/// What is about to happen to somebody who may be the last owner.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// The role goes, the account stays.
    Demotion,
    /// The account goes, or can no longer act.
    Removal,
}

/// Refuses to take the owner role from `actor` when nobody would be left with it.
///
/// People and agents count apart (H28): an agent that is an owner does not make the last person dispensable, since nobody could log
/// in to repair things.
pub(crate) async fn keep_an_owner(
    tx: &mut Tx,
    actor: ActorRef,
    role: InstanceRole,
    loss: Loss,
) -> Result<(), ControlError> {
    if role != InstanceRole::Owner {
        return Ok(());
    }
    let people = tx.active_owner_users().await?;
    let last = match actor.kind {
        ActorKind::User => people <= 1,
        ActorKind::Agent => people == 0 && tx.active_owner_agents().await? <= 1,
    };
    if last {
        let text = match loss {
            Loss::Demotion => "Cannot demote the last owner",
            Loss::Removal => "Cannot remove the last owner",
        };
        return Err(ControlError::conflict(text).hint("make somebody else an owner first"));
    }
    Ok(())
}

/// Refuses to take the admin role in a vault from `actor` when nobody would be left with it.
pub(crate) async fn keep_an_admin(
    tx: &mut Tx,
    actor: ActorRef,
    vault: Uuid,
) -> Result<(), ControlError> {
    let holds = tx
        .grant(actor, vault)
        .await?
        .is_some_and(|grant| grant.role == VaultRole::Admin);
    if !holds || !can_act(tx, actor).await? {
        return Ok(());
    }
    if tx.vault_admin_count(vault).await? <= 1 {
        return Err(
            ControlError::conflict("Cannot remove the last admin of the vault")
                .hint("make somebody else an admin of the vault first"),
        );
    }
    Ok(())
}

/// As [`keep_an_admin`], for every vault that an actor who is about to go administers.
pub(crate) async fn keep_admins_everywhere(
    tx: &mut Tx,
    actor: ActorRef,
) -> Result<(), ControlError> {
    for membership in tx.vaults_of(actor).await? {
        if membership.role == VaultRole::Admin {
            keep_an_admin(tx, actor, membership.vault.id)
                .await
                .map_err(|refused| {
                    ControlError::conflict(format!(
                        "{} `{}`",
                        refused.message(),
                        membership.vault.name
                    ))
                    .hint("make somebody else an admin of that vault, or delete the vault, first")
                })?;
        }
    }
    Ok(())
}

/// A revoked agent or an unconfirmed user is no admin that anybody could turn to.
async fn can_act(tx: &mut Tx, actor: ActorRef) -> Result<bool, ControlError> {
    use crate::access::Rows;
    Ok(tx.role_of(actor).await?.is_some())
}
