//! Permission, as values that only a check can make.
//!
//! | check | gives | passes |
//! |---|---|---|
//! | [`vault`] | [`VaultAccess`] | a role in the vault, by grant or baked into a scoped session |
//! | [`vault_control`] | [`VaultControl`] | vault admin by grant, or instance owner; never a scoped session |
//! | [`instance`] | [`InstanceAccess`] | an instance role |
//!
//! Whatever acts on a vault takes one of these, so a forgotten check does not compile. Checks read the actor's present role
//! on the connection that they are given: inside a transaction for writes, so that a role that ended a moment ago counts no more.

use std::future::Future;
use std::marker::PhantomData;

use agent_vault_store::{
    ActorKind, ActorRef, AgentStatus, Grant, InstanceRole, Store, StoreError, Tx, User, Vault,
    VaultRole,
};
use uuid::Uuid;

use crate::actor::Actor;
use crate::error::ControlError;

/// What permission checks read; the same on a reader and inside a transaction.
pub(crate) trait Rows: Send {
    fn vault_named(
        &mut self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Vault>, StoreError>> + Send;
    fn vault_with(
        &mut self,
        id: Uuid,
    ) -> impl Future<Output = Result<Option<Vault>, StoreError>> + Send;
    fn grant_of(
        &mut self,
        actor: ActorRef,
        vault: Uuid,
    ) -> impl Future<Output = Result<Option<Grant>, StoreError>> + Send;
    /// The instance role of an actor that can act; `None` when it is gone, unconfirmed or revoked.
    fn role_of(
        &mut self,
        actor: ActorRef,
    ) -> impl Future<Output = Result<Option<InstanceRole>, StoreError>> + Send;
    /// The vaults that an actor has a grant on.
    fn vaults_granted(
        &mut self,
        actor: ActorRef,
    ) -> impl Future<Output = Result<Vec<Vault>, StoreError>> + Send;
    /// A person by address or id.
    fn user_named(
        &mut self,
        reference: &str,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;
    /// Address or name of an actor; `None` when it is gone.
    fn display_name(
        &mut self,
        actor: ActorRef,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;
}

macro_rules! rows {
    ($type:ty) => {
        impl Rows for $type {
            async fn vault_named(&mut self, name: &str) -> Result<Option<Vault>, StoreError> {
                self.vault_by_name(name).await
            }

            async fn vault_with(&mut self, id: Uuid) -> Result<Option<Vault>, StoreError> {
                self.vault(id).await
            }

            async fn grant_of(
                &mut self,
                actor: ActorRef,
                vault: Uuid,
            ) -> Result<Option<Grant>, StoreError> {
                self.grant(actor, vault).await
            }

            async fn role_of(
                &mut self,
                actor: ActorRef,
            ) -> Result<Option<InstanceRole>, StoreError> {
                Ok(match actor.kind {
                    ActorKind::User => self
                        .user(actor.id)
                        .await?
                        .filter(|user| user.is_active)
                        .map(|user| user.role),
                    ActorKind::Agent => self
                        .agent(actor.id)
                        .await?
                        .filter(|agent| agent.status == AgentStatus::Active)
                        .map(|agent| agent.role),
                })
            }

            async fn vaults_granted(&mut self, actor: ActorRef) -> Result<Vec<Vault>, StoreError> {
                let memberships = self.vaults_of(actor).await?;
                Ok(memberships
                    .into_iter()
                    .map(|membership| membership.vault)
                    .collect())
            }

            async fn user_named(&mut self, reference: &str) -> Result<Option<User>, StoreError> {
                // No address is an id: it has an `@`.
                match Uuid::try_parse(reference) {
                    Ok(id) => self.user(id).await,
                    Err(_) => self.user_by_email(reference).await,
                }
            }

            async fn display_name(
                &mut self,
                actor: ActorRef,
            ) -> Result<Option<String>, StoreError> {
                Ok(match actor.kind {
                    ActorKind::User => self.user(actor.id).await?.map(|user| user.email),
                    ActorKind::Agent => self.agent(actor.id).await?.map(|agent| agent.name),
                })
            }
        }
    };
}
rows!(Tx);
rows!(Store);

/// A vault role that an action needs.
pub(crate) trait NeededRole {
    const ROLE: VaultRole;
    const REFUSAL: &'static str;
}

/// Any role.
pub(crate) struct AnyRole;
/// Member or admin.
pub(crate) struct Member;
/// Admin.
pub(crate) struct Admin;

impl NeededRole for AnyRole {
    const ROLE: VaultRole = VaultRole::Proxy;
    const REFUSAL: &'static str = NO_ACCESS;
}

impl NeededRole for Member {
    const ROLE: VaultRole = VaultRole::Member;
    const REFUSAL: &'static str = "Member role required";
}

impl NeededRole for Admin {
    const ROLE: VaultRole = VaultRole::Admin;
    const REFUSAL: &'static str = "Vault admin role required";
}

const NO_ACCESS: &str = "No access to this vault";

/// Permission to act on the contents of one vault with at least the role `R`.
pub(crate) struct VaultAccess<R> {
    vault: Vault,
    role: VaultRole,
    needed: PhantomData<R>,
}

impl<R> VaultAccess<R> {
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn id(&self) -> Uuid {
        self.vault.id
    }

    pub(crate) fn role(&self) -> VaultRole {
        self.role
    }
}

/// Permission to rename, delete or configure a vault; says nothing about its contents.
pub(crate) struct VaultControl {
    vault: Vault,
}

impl VaultControl {
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }
}

/// Which vault an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultRef<'a> {
    /// The client named it.
    Named(&'a str),
    /// The client named none: the session's own vault, or the only one that an agent can use, or `default`.
    Implied,
}

impl<'a> VaultRef<'a> {
    /// An optional name, as bodies and queries carry it; empty counts as none.
    #[must_use]
    pub fn from_input(name: Option<&'a str>) -> Self {
        match name {
            Some(name) if !name.is_empty() => Self::Named(name),
            _ => Self::Implied,
        }
    }
}

/// Checks that the actor has at least the role `R` in a vault.
///
/// A caller without rights gets one answer whether the vault exists or not (H18); owners are told the truth, since they may
/// list every vault.
pub(crate) async fn vault<R: NeededRole>(
    rows: &mut impl Rows,
    actor: &Actor,
    vault: VaultRef<'_>,
) -> Result<VaultAccess<R>, ControlError> {
    let (vault, role) = match actor {
        Actor::LocalOperator => (named_or_default(rows, vault).await?, VaultRole::Admin),
        Actor::Scoped(scoped) => {
            let own = rows
                .vault_with(scoped.vault)
                .await?
                .ok_or_else(|| ControlError::unauthenticated("Invalid or expired session"))?;
            match vault {
                VaultRef::Named(name) if name != own.name => {
                    return Err(
                        ControlError::forbidden("Session not authorized for this vault")
                            .hint(format!("this token is for the vault `{}`", own.name)),
                    );
                }
                VaultRef::Named(_) | VaultRef::Implied => (own, scoped.role),
            }
        }
        Actor::User(_) | Actor::Agent(_) => granted(rows, actor, vault).await?,
    };
    if role < R::ROLE {
        return Err(ControlError::forbidden(R::REFUSAL).hint(format!(
            "the role here is `{role}`; ask an admin of `{}` for `{}`",
            vault.name,
            R::ROLE
        )));
    }
    Ok(VaultAccess {
        vault,
        role,
        needed: PhantomData,
    })
}

async fn granted(
    rows: &mut impl Rows,
    actor: &Actor,
    vault: VaultRef<'_>,
) -> Result<(Vault, VaultRole), ControlError> {
    let (identity, instance_role) = standing(rows, actor).await?;
    let owner = instance_role == InstanceRole::Owner;
    let name = match vault {
        VaultRef::Named(name) => name.to_owned(),
        VaultRef::Implied => implied(rows, actor, identity).await?,
    };
    let Some(vault) = rows.vault_named(&name).await? else {
        return Err(if owner {
            no_vault(&name)
        } else {
            no_access(&name, false)
        });
    };
    match rows.grant_of(identity, vault.id).await? {
        Some(grant) => Ok((vault, grant.role)),
        None => Err(no_access(&name, owner)),
    }
}

/// The vault that an actor means who names none: an agent's only one (H52), else `default`.
async fn implied(
    rows: &mut impl Rows,
    actor: &Actor,
    identity: ActorRef,
) -> Result<String, ControlError> {
    if !matches!(actor, Actor::Agent(_)) {
        return Ok(agent_vault_store::DEFAULT_VAULT_NAME.to_owned());
    }
    let mut vaults = rows.vaults_granted(identity).await?;
    match (vaults.len(), vaults.pop()) {
        (0, _) | (_, None) => Err(ControlError::forbidden("This agent has no vault")
            .hint("ask a vault admin for a grant: `agent-vault vault agent add <agent>`")),
        (1, Some(only)) => Ok(only.name),
        (_, Some(last)) => {
            let mut names: Vec<String> = vaults.into_iter().map(|vault| vault.name).collect();
            names.push(last.name);
            names.sort();
            Err(
                ControlError::invalid("Name a vault: this agent may use several")
                    .hint(format!("one of: {}", names.join(", "))),
            )
        }
    }
}

/// Checks that the actor may rename, delete or configure a vault.
pub(crate) async fn vault_control(
    rows: &mut impl Rows,
    actor: &Actor,
    name: &str,
) -> Result<VaultControl, ControlError> {
    let refused = || {
        ControlError::forbidden("Vault admin or instance owner required")
            .hint("ask an admin of the vault or an instance owner")
    };
    let owner = match actor {
        Actor::LocalOperator => true,
        Actor::Scoped(_) => return Err(refused()),
        Actor::User(_) | Actor::Agent(_) => standing(rows, actor).await?.1 == InstanceRole::Owner,
    };
    let Some(vault) = rows.vault_named(name).await? else {
        return Err(if owner { no_vault(name) } else { refused() });
    };
    if !owner {
        let grant = match actor.identity() {
            Some(identity) => rows.grant_of(identity, vault.id).await?,
            None => None,
        };
        if grant.is_none_or(|grant| grant.role < VaultRole::Admin) {
            return Err(refused());
        }
    }
    Ok(VaultControl { vault })
}

/// An instance role that an action needs.
pub(crate) trait NeededInstanceRole {
    const ROLE: InstanceRole;
    const REFUSAL: &'static str;
}

/// Any user or agent.
pub(crate) struct AnyActor;
/// Instance member or owner.
pub(crate) struct InstanceMember;
/// Instance owner.
pub(crate) struct InstanceOwner;

impl NeededInstanceRole for AnyActor {
    const ROLE: InstanceRole = InstanceRole::NoAccess;
    const REFUSAL: &'static str = "Authentication required";
}

impl NeededInstanceRole for InstanceMember {
    const ROLE: InstanceRole = InstanceRole::Member;
    const REFUSAL: &'static str = "Instance member role required";
}

impl NeededInstanceRole for InstanceOwner {
    const ROLE: InstanceRole = InstanceRole::Owner;
    const REFUSAL: &'static str = "Owner role required";
}

/// Permission to act on the instance with at least the role `R`.
pub(crate) struct InstanceAccess<R> {
    identity: Option<ActorRef>,
    role: InstanceRole,
    needed: PhantomData<R>,
}

impl<R> InstanceAccess<R> {
    /// The user or agent; `None` for the local operator.
    pub(crate) fn identity(&self) -> Option<ActorRef> {
        self.identity
    }

    pub(crate) fn role(&self) -> InstanceRole {
        self.role
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.role == InstanceRole::Owner
    }
}

/// Checks that the actor has at least the instance role `R`.
pub(crate) async fn instance<R: NeededInstanceRole>(
    rows: &mut impl Rows,
    actor: &Actor,
) -> Result<InstanceAccess<R>, ControlError> {
    let (identity, role) = match actor {
        Actor::LocalOperator => (None, InstanceRole::Owner),
        Actor::Scoped(_) => return Err(scoped_refused()),
        Actor::User(_) | Actor::Agent(_) => {
            let (identity, role) = standing(rows, actor).await?;
            (Some(identity), role)
        }
    };
    if role < R::ROLE {
        return Err(ControlError::forbidden(R::REFUSAL).hint(format!(
            "the instance role is `{role}`; an owner can change it"
        )));
    }
    Ok(InstanceAccess {
        identity,
        role,
        needed: PhantomData,
    })
}

async fn standing(
    rows: &mut impl Rows,
    actor: &Actor,
) -> Result<(ActorRef, InstanceRole), ControlError> {
    let identity = actor.identity().ok_or_else(scoped_refused)?;
    let role = rows
        .role_of(identity)
        .await?
        .ok_or_else(|| ControlError::unauthenticated("Invalid or expired session"))?;
    Ok((identity, role))
}

async fn named_or_default(
    rows: &mut impl Rows,
    vault: VaultRef<'_>,
) -> Result<Vault, ControlError> {
    let name = match vault {
        VaultRef::Named(name) => name,
        VaultRef::Implied => agent_vault_store::DEFAULT_VAULT_NAME,
    };
    rows.vault_named(name).await?.ok_or_else(|| no_vault(name))
}

fn scoped_refused() -> ControlError {
    ControlError::forbidden("Authentication required")
        .hint("a vault token cannot do this; use a login or an agent token")
}

pub(crate) fn no_vault(name: &str) -> ControlError {
    ControlError::not_found(format!("Vault \"{}\" not found", shown(name)))
        .hint("list the vaults with `agent-vault vault list`")
}

fn no_access(name: &str, owner: bool) -> ControlError {
    let name = shown(name);
    ControlError::forbidden(NO_ACCESS).hint(if owner {
        format!("join it first: `agent-vault vault join {name}`")
    } else {
        format!("no vault `{name}` is open to you; list yours with `agent-vault vault list`")
    })
}

/// A name that somebody sent, short enough for a message and without control characters.
pub(crate) fn shown(name: &str) -> String {
    const MAX_SHOWN_CHARS: usize = 64;
    name.chars()
        .filter(|c| !c.is_control())
        .take(MAX_SHOWN_CHARS)
        .collect()
}
