//! Grants: which user or agent may do how much in which vault.

use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{ActorKind, ActorRef, AgentStatus, StoreError, Tx, Vault, VaultRole, vaults};

/// One actor's role in one vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub actor: ActorRef,
    /// Where.
    pub vault_id: Uuid,
    /// How much.
    pub role: VaultRole,
    /// Since when.
    pub created_at: Timestamp,
}

/// A vault that an actor has a grant on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultMembership {
    /// The vault.
    pub vault: Vault,
    /// The actor's role there.
    pub role: VaultRole,
}

/// A person who has a grant on a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultUser {
    /// The user.
    pub user_id: Uuid,
    /// Their address.
    pub email: String,
    /// Whether the account is confirmed.
    pub is_active: bool,
    /// Their role in the vault.
    pub role: VaultRole,
}

/// An agent that has a grant on a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultAgent {
    /// The agent.
    pub agent_id: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it may still act.
    pub status: AgentStatus,
    /// Its role in the vault.
    pub role: VaultRole,
}

pub(crate) fn read(row: &Row) -> Result<Grant, StoreError> {
    Ok(Grant {
        actor: ActorRef {
            kind: row.word("actor_type")?,
            id: row.id("actor_id")?,
        },
        vault_id: row.id("vault_id")?,
        role: row.word("role")?,
        created_at: row.time("created_at")?,
    })
}

async fn grant(
    connection: &mut Connection,
    actor: ActorRef,
    vault_id: Uuid,
) -> Result<Option<Grant>, StoreError> {
    let row = sqlx::query(
        "select actor_type, actor_id, vault_id, role, created_at from vault_grants
         where actor_id = $1 and vault_id = $2 and actor_type = $3",
    )
    .bind(actor.id.to_string())
    .bind(vault_id.to_string())
    .bind(actor.kind.as_str())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn grants_of_vault(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<Grant>, StoreError> {
    let rows = sqlx::query(
        "select actor_type, actor_id, vault_id, role, created_at from vault_grants
         where vault_id = $1 order by created_at, actor_id",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn grants_of(connection: &mut Connection, kind: ActorKind) -> Result<Vec<Grant>, StoreError> {
    let rows = sqlx::query(
        "select actor_type, actor_id, vault_id, role, created_at from vault_grants
         where actor_type = $1 order by actor_id, created_at, vault_id",
    )
    .bind(kind.as_str())
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn vaults_of(
    connection: &mut Connection,
    actor: ActorRef,
) -> Result<Vec<VaultMembership>, StoreError> {
    let rows = sqlx::query(
        "select vaults.id, vaults.name, vaults.created_at, vaults.updated_at, vault_grants.role
         from vault_grants join vaults on vaults.id = vault_grants.vault_id
         where vault_grants.actor_id = $1 and vault_grants.actor_type = $2
         order by vault_grants.created_at, vaults.name",
    )
    .bind(actor.id.to_string())
    .bind(actor.kind.as_str())
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| {
        Ok(VaultMembership {
            vault: vaults::read(row)?,
            role: row.word("role")?,
        })
    })
}

async fn vault_users(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<VaultUser>, StoreError> {
    let rows = sqlx::query(
        "select users.id, users.email, users.is_active, vault_grants.role
         from vault_grants join users on users.id = vault_grants.actor_id
         where vault_grants.vault_id = $1 and vault_grants.actor_type = 'user'
         order by vault_grants.created_at, users.email",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| {
        Ok(VaultUser {
            user_id: row.id("id")?,
            email: row.text("email")?,
            is_active: row.flag("is_active")?,
            role: row.word("role")?,
        })
    })
}

async fn vault_agents(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<VaultAgent>, StoreError> {
    let rows = sqlx::query(
        "select agents.id, agents.name, agents.status, vault_grants.role
         from vault_grants join agents on agents.id = vault_grants.actor_id
         where vault_grants.vault_id = $1 and vault_grants.actor_type = 'agent'
         order by vault_grants.created_at, agents.name",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| {
        Ok(VaultAgent {
            agent_id: row.id("id")?,
            name: row.text("name")?,
            status: row.word("status")?,
            role: row.word("role")?,
        })
    })
}

async fn vault_admin_count(connection: &mut Connection, vault_id: Uuid) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from vault_grants g where g.vault_id = $1 and g.role = 'admin' and (
             (g.actor_type = 'user' and exists (select 1 from users u where u.id = g.actor_id and u.is_active = true))
             or (g.actor_type = 'agent'
                 and exists (select 1 from agents a where a.id = g.actor_id and a.status = 'active')))",
    )
    .bind(vault_id.to_string())
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}

reads! {
    /// The actor's grant on this vault.
    grant(actor: ActorRef, vault_id: Uuid) -> Option<Grant>;
    /// Every grant on this vault, oldest first.
    grants_of_vault(vault_id: Uuid) -> Vec<Grant>;
    /// Every grant of every user, or of every agent.
    grants_of(kind: ActorKind) -> Vec<Grant>;
    /// The vaults that this actor has a grant on, oldest grant first.
    vaults_of(actor: ActorRef) -> Vec<VaultMembership>;
    /// The people in this vault, oldest grant first.
    vault_users(vault_id: Uuid) -> Vec<VaultUser>;
    /// The agents in this vault, oldest grant first.
    vault_agents(vault_id: Uuid) -> Vec<VaultAgent>;
    /// How many admins of this vault can still act: active users and active agents.
    vault_admin_count(vault_id: Uuid) -> u64;
}

impl Tx {
    /// Gives a grant; an existing one gets the new role and keeps its date.
    ///
    /// # Errors
    /// `NotFound` when there is no such vault.
    pub async fn put_grant(&mut self, grant: &Grant) -> Result<(), StoreError> {
        sqlx::query(
            "insert into vault_grants (actor_id, actor_type, vault_id, role, created_at)
             values ($1, $2, $3, $4, $5)
             on conflict (actor_id, vault_id) do update set role = excluded.role",
        )
        .bind(grant.actor.id.to_string())
        .bind(grant.actor.kind.as_str())
        .bind(grant.vault_id.to_string())
        .bind(grant.role.as_str())
        .bind(grant.created_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Takes a grant away, with the scoped sessions that the actor minted in that vault. Answers
    /// whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_grant(
        &mut self,
        actor: ActorRef,
        vault_id: Uuid,
    ) -> Result<bool, StoreError> {
        let deleted = sqlx::query(
            "delete from vault_grants where actor_id = $1 and vault_id = $2 and actor_type = $3",
        )
        .bind(actor.id.to_string())
        .bind(vault_id.to_string())
        .bind(actor.kind.as_str())
        .execute(self.connection())
        .await?;
        self.delete_sessions_minted_by(actor, Some(vault_id))
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}
