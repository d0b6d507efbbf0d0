//! People and agents in a vault.

use agent_vault_store::{ActorKind, ActorRef, AgentStatus, Grant, VaultRole};
use uuid::Uuid;

use crate::Control;
use crate::access::{self, Admin, AnyRole, Rows as _, VaultAccess, VaultRef};
use crate::actor::Actor;
use crate::error::ControlError;
use crate::owners;
use crate::vaults::publish_grant;
use crate::write::Write;

/// A person in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberUser {
    /// Address.
    pub email: String,
    /// Role in the vault.
    pub role: VaultRole,
    /// Whether the account is confirmed.
    pub active: bool,
}

/// An agent in a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberAgent {
    /// Identity.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Role in the vault.
    pub role: VaultRole,
    /// Whether it may act.
    pub status: AgentStatus,
}

/// A role that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleChange {
    /// Before.
    pub old: VaultRole,
    /// Now.
    pub new: VaultRole,
}

/// Actions on the members of a vault.
#[derive(Debug, Clone, Copy)]
pub struct Members<'c>(pub(crate) &'c Control);

impl Members<'_> {
    /// The people in a vault, oldest grant first, then those who are invited to it.
    ///
    /// # Errors
    /// Without a role in the vault.
    pub async fn users(&self, actor: &Actor, vault: &str) -> Result<Vec<MemberUser>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault)).await?;
        let users = rows.vault_users(access.id()).await?;
        let mut people: Vec<MemberUser> = users
            .into_iter()
            .map(|user| MemberUser {
                email: user.email,
                role: user.role,
                active: user.is_active,
            })
            .collect();
        let now = self.0.now();
        // Newest first in the store; here the oldest first, as grants are.
        for invite in rows.invites().await?.into_iter().rev() {
            let opens = invite
                .vaults
                .iter()
                .find(|opened| opened.vault_id == access.id());
            if let Some(opened) = opens.filter(|_| invite.is_live(now)) {
                people.push(MemberUser {
                    email: invite.email.clone(),
                    role: opened.role,
                    active: false,
                });
            }
        }
        Ok(people)
    }

    /// The agents in a vault, oldest grant first, revoked ones too.
    ///
    /// # Errors
    /// Without a role in the vault.
    pub async fn agents(
        &self,
        actor: &Actor,
        vault: &str,
    ) -> Result<Vec<MemberAgent>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::vault::<AnyRole>(&mut rows, actor, VaultRef::Named(vault)).await?;
        let agents = rows.vault_agents(access.id()).await?;
        Ok(agents
            .into_iter()
            .map(|agent| MemberAgent {
                id: agent.agent_id,
                name: agent.name,
                role: agent.role,
                status: agent.status,
            })
            .collect())
    }

    /// Adds a person who has an account. `role` is `member` or `admin`.
    ///
    /// # Errors
    /// Below vault admin; `NotFound` for an unknown address; `Conflict` for a member.
    pub async fn add_user(
        &self,
        actor: &Actor,
        vault: &str,
        email: &str,
        role: VaultRole,
    ) -> Result<String, ControlError> {
        let mut write = self.begin(actor, "grant.add", vault, "user", email).await?;
        let outcome = add(&mut write, actor, vault, Subject::User(email), role).await;
        write.finish(outcome).await
    }

    /// Adds an agent.
    ///
    /// # Errors
    /// Below vault admin; `NotFound` for an unknown agent; `Conflict` for a member and for a revoked agent.
    pub async fn add_agent(
        &self,
        actor: &Actor,
        vault: &str,
        name: &str,
        role: VaultRole,
    ) -> Result<String, ControlError> {
        let mut write = self.begin(actor, "grant.add", vault, "agent", name).await?;
        let outcome = add(&mut write, actor, vault, Subject::Agent(name), role).await;
        write.finish(outcome).await
    }

    /// Removes a person; the scoped sessions that they minted here end.
    ///
    /// # Errors
    /// Below vault admin; `NotFound` for one who is no member; `Conflict` for the last admin.
    pub async fn remove_user(
        &self,
        actor: &Actor,
        vault: &str,
        email: &str,
    ) -> Result<(), ControlError> {
        let mut write = self
            .begin(actor, "grant.remove", vault, "user", email)
            .await?;
        let outcome = remove(&mut write, actor, vault, Subject::User(email)).await;
        write.finish(outcome).await
    }

    /// Removes an agent; the scoped sessions that it minted here end.
    ///
    /// # Errors
    /// Below vault admin; `NotFound` for one that is no member; `Conflict` for the last admin.
    pub async fn remove_agent(
        &self,
        actor: &Actor,
        vault: &str,
        name: &str,
    ) -> Result<(), ControlError> {
        let mut write = self
            .begin(actor, "grant.remove", vault, "agent", name)
            .await?;
        let outcome = remove(&mut write, actor, vault, Subject::Agent(name)).await;
        write.finish(outcome).await
    }

    /// Changes a person's role.
    ///
    /// # Errors
    /// Below vault admin; `NotFound` for one who is no member; `Conflict` for the last admin.
    pub async fn set_user_role(
        &self,
        actor: &Actor,
        vault: &str,
        email: &str,
        role: VaultRole,
    ) -> Result<RoleChange, ControlError> {
        let mut write = self
            .begin(actor, "grant.role", vault, "user", email)
            .await?;
        let outcome = set_role(&mut write, actor, vault, Subject::User(email), role).await;
        write.finish(outcome).await
    }

    /// Changes an agent's role.
    ///
    /// # Errors
    /// Below vault admin; `NotFound` for one that is no member; `Conflict` for the last admin.
    pub async fn set_agent_role(
        &self,
        actor: &Actor,
        vault: &str,
        name: &str,
        role: VaultRole,
    ) -> Result<RoleChange, ControlError> {
        let mut write = self
            .begin(actor, "grant.role", vault, "agent", name)
            .await?;
        let outcome = set_role(&mut write, actor, vault, Subject::Agent(name), role).await;
        write.finish(outcome).await
    }

    async fn begin(
        &self,
        actor: &Actor,
        action: &'static str,
        vault: &str,
        kind: &str,
        who: &str,
    ) -> Result<Write, ControlError> {
        let target = format!(
            "vault:{}/{kind}:{}",
            access::shown(vault),
            access::shown(who)
        );
        self.0.begin(actor, action, target).await
    }
}

/// Whose grant it is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    User(&'a str),
    Agent(&'a str),
}

struct Found {
    actor: ActorRef,
    name: String,
    revoked: bool,
}

async fn find(write: &mut Write, subject: Subject<'_>) -> Result<Found, ControlError> {
    match subject {
        Subject::User(email) => {
            let user = write.tx().user_named(email).await?.ok_or_else(|| {
                ControlError::not_found("User not found").hint("the person needs an account first")
            })?;
            Ok(Found {
                actor: ActorRef::user(user.id),
                name: user.email,
                revoked: false,
            })
        }
        Subject::Agent(name) => {
            let agent = write.tx().agent_by_name(name).await?.ok_or_else(|| {
                ControlError::not_found(format!("Agent \"{}\" not found", access::shown(name)))
                    .hint("list agents with `agent-vault agent list`")
            })?;
            Ok(Found {
                actor: ActorRef::agent(agent.id),
                name: agent.name,
                revoked: agent.status == AgentStatus::Revoked,
            })
        }
    }
}

async fn add(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    subject: Subject<'_>,
    role: VaultRole,
) -> Result<String, ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let found = find(write, subject).await?;
    if found.revoked {
        return Err(ControlError::conflict("The agent is revoked")
            .hint("`agent-vault agent rotate` makes it active again"));
    }
    if write.tx().grant(found.actor, access.id()).await?.is_some() {
        return Err(
            ControlError::conflict(format!("{} is in this vault already", found.name))
                .hint("change the role with `set-role`"),
        );
    }
    put(write, &access, found.actor, role).await?;
    Ok(found.name)
}

async fn remove(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    subject: Subject<'_>,
) -> Result<(), ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let found = find(write, subject).await?;
    owners::keep_an_admin(write.tx(), found.actor, access.id()).await?;
    if let Some(grant) = write.tx().grant(found.actor, access.id()).await? {
        write.note("before", grant.role.as_str());
    }
    if !write.tx().delete_grant(found.actor, access.id()).await? {
        return Err(not_a_member(&found.name));
    }
    publish_grant(write, found.actor, access.id()).await
}

async fn set_role(
    write: &mut Write,
    actor: &Actor,
    vault: &str,
    subject: Subject<'_>,
    role: VaultRole,
) -> Result<RoleChange, ControlError> {
    let access = access::vault::<Admin>(write.tx(), actor, VaultRef::Named(vault)).await?;
    let found = find(write, subject).await?;
    let old = write
        .tx()
        .grant(found.actor, access.id())
        .await?
        .ok_or_else(|| not_a_member(&found.name))?
        .role;
    if role < VaultRole::Admin {
        owners::keep_an_admin(write.tx(), found.actor, access.id()).await?;
    }
    if role < old {
        // A token must not outlive the right of the one who minted it (H3).
        write
            .tx()
            .delete_sessions_minted_by(found.actor, Some(access.id()))
            .await?;
        publish_grant(write, found.actor, access.id()).await?;
    }
    put(write, &access, found.actor, role).await?;
    write.note("before", old.as_str());
    Ok(RoleChange { old, new: role })
}

/// Writes a grant. Needs proof that an admin of the vault asked.
async fn put(
    write: &mut Write,
    access: &VaultAccess<Admin>,
    actor: ActorRef,
    role: VaultRole,
) -> Result<(), ControlError> {
    let created_at = write.now();
    let grant = Grant {
        actor,
        vault_id: access.id(),
        role,
        created_at,
    };
    write.tx().put_grant(&grant).await?;
    write.note("role", role.as_str());
    if actor.kind == ActorKind::Agent {
        write.publish_agent(actor.id).await?;
    }
    Ok(())
}

fn not_a_member(name: &str) -> ControlError {
    ControlError::not_found(format!("{name} is not in this vault"))
}
