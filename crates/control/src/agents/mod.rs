//! Agents: who may make, see and change them. Their tokens are in [`tokens`].

mod tokens;

use agent_vault_policy::Slug;
use agent_vault_seal::Token;
use agent_vault_store::{ActorRef, Agent, AgentStatus, Grant, InstanceRole, VaultRole};
use jiff::Timestamp;
use uuid::Uuid;

pub use tokens::{AgentTokenView, RotatedAgent, Rotation};

use crate::Control;
use crate::access::{self, Admin, InstanceAccess, InstanceMember, InstanceOwner, Rows, VaultRef};
use crate::actor::Actor;
use crate::error::ControlError;
use crate::owners;
use crate::write::{Ended, Publication, Write};

/// Most vaults that a new agent is granted at once.
const MAX_INITIAL_GRANTS: usize = 100;

/// A new agent.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Name, a slug.
    pub name: String,
    /// Instance role.
    pub role: InstanceRole,
    /// Vaults to grant, with the role there.
    pub vaults: Vec<(String, VaultRole)>,
    /// Life of the token in seconds; without one it never ends.
    pub ttl_seconds: Option<u64>,
    /// What the token is called.
    pub label: Option<String>,
}

/// An agent that was made, with its token, shown once.
#[derive(Debug)]
pub struct CreatedAgent {
    /// The token.
    pub token: Token,
    /// When it ends.
    pub token_expires_at: Option<Timestamp>,
    /// The agent.
    pub view: AgentView,
}

/// An agent in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// Name.
    pub name: String,
    /// Instance role.
    pub role: InstanceRole,
    /// Whether it may act.
    pub status: AgentStatus,
    /// Vaults and roles there.
    pub vaults: Vec<(String, VaultRole)>,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when it may not act.
    pub revoked_at: Option<Timestamp>,
    /// When its newest token ends; `None` is never.
    pub token_expires_at: Option<Timestamp>,
    /// When any of its tokens was last used.
    pub last_used_at: Option<Timestamp>,
}

/// An agent with what only its page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDetail {
    /// The agent.
    pub view: AgentView,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its live tokens.
    pub active_tokens: usize,
}

/// Actions on agents.
#[derive(Debug, Clone, Copy)]
pub struct Agents<'c>(pub(crate) &'c Control);

impl Agents<'_> {
    /// Makes an agent with its grants and its token.
    ///
    /// # Errors
    /// Below instance member, or without the right to give the roles asked for; `Conflict` for a taken name.
    pub async fn create(&self, actor: &Actor, new: NewAgent) -> Result<CreatedAgent, ControlError> {
        let target = target(&new.name);
        let mut write = self.0.begin(actor, "agent.create", target).await?;
        let outcome = create(&mut write, actor, new).await;
        write.finish(outcome).await
    }

    /// The agents that the one who asks may see, by name: all for owners, else one's own and those in one's vaults.
    ///
    /// # Errors
    /// Below instance member.
    pub async fn list(&self, actor: &Actor) -> Result<Vec<AgentView>, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<InstanceMember>(&mut rows, actor).await?;
        self.0.write_uses().await;
        let mut views = Vec::new();
        for agent in rows.agents().await? {
            if may_see(&mut rows, &access, &agent).await? {
                views.push(self.view(agent).await?);
            }
        }
        Ok(views)
    }

    /// One agent.
    ///
    /// # Errors
    /// `NotFound` for one that the one who asks may not see.
    pub async fn get(&self, actor: &Actor, name: &str) -> Result<AgentDetail, ControlError> {
        let mut rows = self.0.store().clone();
        let access = access::instance::<InstanceMember>(&mut rows, actor).await?;
        let agent = rows
            .agent_by_name(name)
            .await?
            .ok_or_else(|| unknown(name))?;
        if !may_see(&mut rows, &access, &agent).await? {
            return Err(unknown(name));
        }
        self.0.write_uses().await;
        let tokens = rows.agent_sessions(agent.id, self.0.now()).await?;
        Ok(AgentDetail {
            created_by: agent.created_by.map(|creator| creator.id),
            updated_at: agent.updated_at,
            active_tokens: tokens.len(),
            view: self.view(agent).await?,
        })
    }

    /// Ends an agent's tokens and the scoped sessions it minted; its name and grants stay.
    ///
    /// # Errors
    /// Unless owner or creator; `Conflict` when revoked already, or for the last owner.
    pub async fn revoke(&self, actor: &Actor, name: &str) -> Result<(), ControlError> {
        let mut write = self.0.begin(actor, "agent.revoke", target(name)).await?;
        let outcome = revoke(&mut write, actor, name).await;
        write.finish(outcome).await
    }

    /// Removes an agent with its tokens, grants and minted sessions; its name becomes free.
    ///
    /// # Errors
    /// Unless owner or creator; `Conflict` for the last owner or the last admin of a vault.
    pub async fn delete(&self, actor: &Actor, name: &str) -> Result<(), ControlError> {
        let mut write = self.0.begin(actor, "agent.delete", target(name)).await?;
        let outcome = delete(&mut write, actor, name).await;
        write.finish(outcome).await
    }

    /// Renames an agent; its tokens stay good.
    ///
    /// # Errors
    /// Unless owner or creator; `Conflict` for a taken name.
    pub async fn rename(
        &self,
        actor: &Actor,
        name: &str,
        to: &str,
    ) -> Result<String, ControlError> {
        let mut write = self.0.begin(actor, "agent.rename", target(name)).await?;
        let outcome = rename(&mut write, actor, name, to).await;
        write.finish(outcome).await
    }

    /// Changes an agent's instance role; answers the old one.
    ///
    /// # Errors
    /// Unless an owner asks; `Conflict` for a revoked agent and for the last owner.
    pub async fn set_role(
        &self,
        actor: &Actor,
        name: &str,
        role: InstanceRole,
    ) -> Result<InstanceRole, ControlError> {
        let mut write = self.0.begin(actor, "agent.role", target(name)).await?;
        let outcome = set_role(&mut write, actor, name, role).await;
        write.finish(outcome).await
    }

    async fn view(&self, agent: Agent) -> Result<AgentView, ControlError> {
        let store = self.0.store();
        let vaults = store
            .vaults_of(ActorRef::agent(agent.id))
            .await?
            .into_iter()
            .map(|membership| (membership.vault.name, membership.role))
            .collect();
        let tokens = store.agent_sessions(agent.id, self.0.now()).await?;
        let token = tokens.first();
        Ok(AgentView {
            name: agent.name,
            role: agent.role,
            status: agent.status,
            vaults,
            created_at: agent.created_at,
            revoked_at: agent.revoked_at,
            token_expires_at: token.and_then(|token| token.expires_at),
            last_used_at: tokens.iter().filter_map(|token| token.last_used_at).max(),
        })
    }
}

/// Whether the actor may know of an agent: owners of all, others of their own and of those that share a vault with them.
async fn may_see(
    rows: &mut impl Rows,
    access: &InstanceAccess<InstanceMember>,
    agent: &Agent,
) -> Result<bool, ControlError> {
    let Some(identity) = access.identity().filter(|_| !access.is_owner()) else {
        return Ok(true);
    };
    if agent.created_by == Some(identity) || identity == ActorRef::agent(agent.id) {
        return Ok(true);
    }
    let theirs = rows.vaults_granted(ActorRef::agent(agent.id)).await?;
    let own = rows.vaults_granted(identity).await?;
    Ok(theirs
        .iter()
        .any(|their| own.iter().any(|own| own.id == their.id)))
}

async fn create(
    write: &mut Write,
    actor: &Actor,
    new: NewAgent,
) -> Result<CreatedAgent, ControlError> {
    let access = access::instance::<InstanceMember>(write.tx(), actor).await?;
    let name = agent_name(&new.name)?;
    if new.role == InstanceRole::Owner && !access.is_owner() {
        return Err(ControlError::forbidden(
            "Only owners create agents with the role `owner`",
        ));
    }
    if new.vaults.len() > MAX_INITIAL_GRANTS {
        return Err(
            ControlError::invalid(format!("vaults: at most {MAX_INITIAL_GRANTS} at once"))
                .hint("grant the others later, for example `POST /v1/vaults/work/agents`"),
        );
    }
    let now = write.now();
    let expires_at = tokens::expiry(now, new.ttl_seconds)?;
    let agent = Agent {
        id: Uuid::new_v4(),
        name,
        status: AgentStatus::Active,
        role: new.role,
        created_by: access.identity(),
        created_at: now,
        updated_at: now,
        revoked_at: None,
    };
    write.tx().insert_agent(&agent).await?;
    let mut vaults: Vec<(String, VaultRole)> = Vec::new();
    for (vault, role) in new.vaults {
        if vaults.iter().any(|(known, _)| *known == vault) {
            return Err(ControlError::invalid(format!(
                "vault \"{}\" is given twice",
                access::shown(&vault)
            )));
        }
        let vault_id = grantable_vault(write, actor, access.is_owner(), &vault).await?;
        let grant = Grant {
            actor: ActorRef::agent(agent.id),
            vault_id,
            role,
            created_at: now,
        };
        write.tx().put_grant(&grant).await?;
        vaults.push((vault, role));
    }
    let (token, session) = tokens::issue(write, agent.id, expires_at, new.label.as_deref()).await?;
    write.note("role", agent.role.as_str());
    let granted: Vec<String> = vaults
        .iter()
        .map(|(vault, role)| format!("{vault}:{role}"))
        .collect();
    write.note("vaults", granted);
    write.publish_agent(agent.id).await?;
    write.publish(Publication::Session(Box::new(session)));
    let view = AgentView {
        name: agent.name,
        role: agent.role,
        status: agent.status,
        vaults,
        created_at: now,
        revoked_at: None,
        token_expires_at: expires_at,
        last_used_at: None,
    };
    Ok(CreatedAgent {
        token,
        token_expires_at: expires_at,
        view,
    })
}

/// A vault that the actor may grant on: owners everywhere, others where they are admin.
async fn grantable_vault(
    write: &mut Write,
    actor: &Actor,
    owner: bool,
    name: &str,
) -> Result<Uuid, ControlError> {
    if owner {
        let vault = write.tx().vault_by_name(name).await?;
        return vault
            .map(|vault| vault.id)
            .ok_or_else(|| access::no_vault(name));
    }
    Ok(
        access::vault::<Admin>(write.tx(), actor, VaultRef::Named(name))
            .await?
            .id(),
    )
}

/// The agent, when the actor may manage it: owners all, creators their own unless it is an owner.
async fn manageable(
    write: &mut Write,
    actor: &Actor,
    name: &str,
) -> Result<(Agent, bool), ControlError> {
    let access = access::instance::<InstanceMember>(write.tx(), actor).await?;
    let agent = write.tx().agent_by_name(name).await?;
    managed_by(write.tx(), &access, agent, name).await
}

/// The agent, and whether it is an owner who manages it.
async fn managed_by(
    rows: &mut impl Rows,
    access: &InstanceAccess<InstanceMember>,
    agent: Option<Agent>,
    name: &str,
) -> Result<(Agent, bool), ControlError> {
    let agent = agent.ok_or_else(|| unknown(name))?;
    if access.is_owner() {
        return Ok((agent, true));
    }
    if !may_see(rows, access, &agent).await? {
        return Err(unknown(name));
    }
    let own = access.identity().is_some() && agent.created_by == access.identity();
    if !own {
        return Err(ControlError::forbidden(
            "Only the agent's creator or an owner may do this",
        ));
    }
    if agent.role == InstanceRole::Owner {
        return Err(ControlError::forbidden(
            "Only owners manage agents with the role `owner`",
        ));
    }
    Ok((agent, false))
}

async fn revoke(write: &mut Write, actor: &Actor, name: &str) -> Result<(), ControlError> {
    let (agent, _) = manageable(write, actor, name).await?;
    if agent.status == AgentStatus::Revoked {
        return Err(ControlError::conflict("The agent is revoked already"));
    }
    owners::keep_an_owner(
        write.tx(),
        ActorRef::agent(agent.id),
        agent.role,
        owners::Loss::Removal,
    )
    .await?;
    end(write, agent.id).await
}

async fn end(write: &mut Write, agent: Uuid) -> Result<(), ControlError> {
    let now = write.now();
    write.tx().revoke_agent(agent, now).await?;
    let minter = ActorRef::agent(agent);
    write.publish(Publication::Sessions(Ended::OfAgent(agent)));
    write.publish(Publication::Sessions(Ended::MintedBy(minter, None)));
    write.publish_agent(agent).await
}

/// Revokes the agents that somebody made who goes: they may still hold the tokens (H17). Names and grants stay, and an owner can make
/// an agent active again with another token. Answers the names.
pub(crate) async fn revoke_made_by(
    write: &mut Write,
    maker: ActorRef,
) -> Result<Vec<String>, ControlError> {
    let agents = write.tx().agents().await?;
    let mut revoked = Vec::new();
    for agent in agents {
        if agent.created_by != Some(maker) || agent.status != AgentStatus::Active {
            continue;
        }
        let identity = ActorRef::agent(agent.id);
        owners::keep_an_owner(write.tx(), identity, agent.role, owners::Loss::Removal).await?;
        end(write, agent.id).await?;
        revoked.push(agent.name);
    }
    if !revoked.is_empty() {
        write.note("agents_revoked", revoked.clone());
    }
    Ok(revoked)
}

async fn delete(write: &mut Write, actor: &Actor, name: &str) -> Result<(), ControlError> {
    let (agent, _) = manageable(write, actor, name).await?;
    let identity = ActorRef::agent(agent.id);
    if agent.status == AgentStatus::Active {
        owners::keep_an_owner(write.tx(), identity, agent.role, owners::Loss::Removal).await?;
        owners::keep_admins_everywhere(write.tx(), identity).await?;
    }
    write.tx().delete_agent(agent.id).await?;
    write.publish(Publication::Sessions(Ended::MintedBy(identity, None)));
    write.publish(Publication::AgentGone(agent.id));
    Ok(())
}

async fn rename(
    write: &mut Write,
    actor: &Actor,
    name: &str,
    to: &str,
) -> Result<String, ControlError> {
    let (agent, _) = manageable(write, actor, name).await?;
    let new_name = agent_name(to)?;
    let now = write.now();
    write.tx().rename_agent(agent.id, &new_name, now).await?;
    write.note("new_name", new_name.as_str());
    // Wide: sessions that the agent minted carry its name.
    write.publish(Publication::Everything);
    Ok(new_name)
}

async fn set_role(
    write: &mut Write,
    actor: &Actor,
    name: &str,
    role: InstanceRole,
) -> Result<InstanceRole, ControlError> {
    access::instance::<InstanceOwner>(write.tx(), actor).await?;
    let agent = write
        .tx()
        .agent_by_name(name)
        .await?
        .ok_or_else(|| unknown(name))?;
    if agent.status == AgentStatus::Revoked {
        return Err(ControlError::conflict("The agent is revoked"));
    }
    if role != InstanceRole::Owner {
        owners::keep_an_owner(
            write.tx(),
            ActorRef::agent(agent.id),
            agent.role,
            owners::Loss::Demotion,
        )
        .await?;
    }
    let now = write.now();
    write.tx().set_agent_role(agent.id, role, now).await?;
    write.note("before", agent.role.as_str());
    write.note("role", role.as_str());
    Ok(agent.role)
}

fn agent_name(name: &str) -> Result<String, ControlError> {
    if name.is_empty() {
        return Err(ControlError::invalid("Agent name is required"));
    }
    Slug::parse(name)
        .map(|slug| slug.as_str().to_owned())
        .map_err(|error| {
            ControlError::invalid(format!("Invalid agent name: {error}"))
                .hint("3 to 64 characters: lower-case letters, digits and single hyphens, as in `my-name`")
        })
}

fn target(name: &str) -> String {
    format!("agent:{}", access::shown(name))
}

fn unknown(name: &str) -> ControlError {
    ControlError::not_found(format!("Agent \"{}\" not found", access::shown(name)))
        .hint("list agents with `agent-vault agent list`")
}
