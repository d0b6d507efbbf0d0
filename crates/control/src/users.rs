//! The user directory.

use agent_vault_store::{ActorRef, InstanceRole, User, VaultRole, email_lookup};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Control;
use crate::access::{self, AnyActor, InstanceMember, InstanceOwner, Rows as _};
use crate::actor::Actor;
use crate::agents;
use crate::error::ControlError;
use crate::owners;
use crate::write::{Publication, Write};

/// A person as the directory shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Identity. It may stand wherever an address may, and tells nothing to whoever keeps access logs (H42).
    pub id: Uuid,
    /// Address.
    pub email: String,
    /// Instance role.
    pub role: InstanceRole,
    /// Vaults and roles there; only owners, and oneself, see them.
    pub vaults: Option<Vec<(String, VaultRole)>>,
    /// Since when.
    pub created_at: Timestamp,
}

/// What becomes of the agents that a person made who is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeAgents {
    /// Their tokens end: the person may have kept them.
    Revoke,
    /// They go on.
    Keep,
}

/// A person who is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedUser {
    /// Address.
    pub email: String,
    /// Names of agents that they had made and that were revoked.
    pub agents_revoked: Vec<String>,
}

/// Actions on the user directory.
#[derive(Debug, Clone, Copy)]
pub struct Users<'c>(pub(crate) &'c Control);

impl Users<'_> {
    /// Everybody, by address.
    ///
    /// # Errors
    /// Below instance member.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<UserView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<InstanceMember>(&mut rows, actor).await?;
        let mut views = Vec::new();
        for user in rows.users().await? {
            let vaults = if access.is_owner() {
                Some(self.vaults_of(&user).await?)
            } else {
                None
            };
            views.push(view(user, vaults));
        }
        Ok(views)
    }

    /// One person; `me` is the one who asks.
    ///
    /// # Errors
    /// `Forbidden` for somebody else unless an owner asks; `Invalid` for `me` when no person asks.
    pub async fn get(&self, actor: &Actor, email: &str) -> Result<UserView, ControlError> {
        let mut rows = self.0.store().clone();
        access::instance::<AnyActor>(&mut rows, actor).await?;
        let own = match actor {
            Actor::User(user) => Some(user),
            _ => None,
        };
        let user = match own {
            Some(me) if email == "me" || email_lookup(email) == email_lookup(&me.email) => {
                rows.user(me.id).await?
            }
            None if email == "me" => {
                return Err(ControlError::invalid(
                    "`me` is for people; this token is an agent's",
                ));
            }
            Some(_) | None => {
                access::instance::<InstanceOwner>(&mut rows, actor).await?;
                rows.user_named(email).await?
            }
        };
        let user = user.ok_or_else(unknown)?;
        let vaults = self.vaults_of(&user).await?;
        Ok(view(user, Some(vaults)))
    }

    /// Changes a person's instance role.
    ///
    /// # Errors
    /// Unless an owner asks; `Conflict` for the last owner.
    pub async fn set_role(
        &self,
        actor: &Actor,
        email: &str,
        role: InstanceRole,
    ) -> Result<UserView, ControlError> {
        let target = format!("user:{}", access::shown(email));
        let mut write = self.0.begin(actor, "user.role", target).await?;
        let outcome = set_role(&mut write, actor, email, role).await;
        write.finish(outcome).await
    }

    /// Removes a person with their logins, grants and the scoped sessions they minted. Agents that they made are revoked, or stay as they
    /// are.
    ///
    /// # Errors
    /// Unless an owner asks; `Conflict` for the last owner, and for the last admin of a vault.
    pub async fn delete(
        &self,
        actor: &Actor,
        email: &str,
        agents: MadeAgents,
    ) -> Result<RemovedUser, ControlError> {
        let target = format!("user:{}", access::shown(email));
        let mut write = self.0.begin(actor, "user.delete", target).await?;
        let outcome = delete(&mut write, actor, email, agents).await;
        write.finish(outcome).await
    }

    async fn vaults_of(&self, user: &User) -> Result<Vec<(String, VaultRole)>, ControlError> {
        let memberships = self.0.store().vaults_of(ActorRef::user(user.id)).await?;
        Ok(memberships
            .into_iter()
            .map(|membership| (membership.vault.name, membership.role))
            .collect())
    }
}

async fn set_role(
    write: &mut Write,
    actor: &Actor,
    email: &str,
    role: InstanceRole,
) -> Result<UserView, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let user = write.tx().user_named(email).await?.ok_or_else(unknown)?;
    if role != InstanceRole::Owner && user.is_active {
        owners::keep_an_owner(
            write.tx(),
            ActorRef::user(user.id),
            user.role,
            owners::Loss::Demotion,
        )
        .await?;
    }
    let now = write.now();
    write.tx().set_user_role(user.id, role, now).await?;
    write.note("before", user.role.as_str());
    write.note("role", role.as_str());
    Ok(view(User { role, ..user }, None))
}

async fn delete(
    write: &mut Write,
    actor: &Actor,
    email: &str,
    made: MadeAgents,
) -> Result<RemovedUser, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let user = write.tx().user_named(email).await?.ok_or_else(unknown)?;
    if user.is_active {
        owners::keep_an_owner(
            write.tx(),
            ActorRef::user(user.id),
            user.role,
            owners::Loss::Removal,
        )
        .await?;
        owners::keep_admins_everywhere(write.tx(), ActorRef::user(user.id)).await?;
    }
    let agents_revoked = match made {
        MadeAgents::Revoke => agents::revoke_made_by(write, ActorRef::user(user.id)).await?,
        MadeAgents::Keep => {
            write.note("agents", "kept");
            Vec::new()
        }
    };
    write.tx().delete_user(user.id).await?;
    write.publish(Publication::Everything);
    Ok(RemovedUser {
        email: user.email,
        agents_revoked,
    })
}

fn view(user: User, vaults: Option<Vec<(String, VaultRole)>>) -> UserView {
    UserView {
        id: user.id,
        email: user.email,
        role: user.role,
        vaults,
        created_at: user.created_at,
    }
}

fn unknown() -> ControlError {
    ControlError::not_found("User not found").hint("list people with `GET /v1/users`")
}
