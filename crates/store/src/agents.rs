//! Agents: programs with a name and a standing token.

use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{ActorRef, InstanceRole, StoreError, Tx};

words! {
    /// Whether an agent may act.
    AgentStatus("agent status") {
        /// It may.
        Active = "active",
        /// It may not; its name stays taken and its grants stay on record.
        Revoked = "revoked",
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: Uuid,
    /// Its unique name, a slug.
    pub name: String,
    /// Whether it may act.
    pub status: AgentStatus,
    /// Rights over the instance.
    pub role: InstanceRole,
    /// Who made it; that actor may be gone.
    pub created_by: Option<ActorRef>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

pub(crate) fn read(row: &Row) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: row.id("id")?,
        name: row.text("name")?,
        status: row.word("status")?,
        role: row.word("role")?,
        created_by: ActorRef::from_columns(
            row.opt_text("created_by_type")?.as_deref(),
            row.opt_text("created_by")?.as_deref(),
        ),
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        revoked_at: row.opt_time("revoked_at")?,
    })
}

pub(crate) async fn agents(connection: &mut Connection) -> Result<Vec<Agent>, StoreError> {
    let rows = sqlx::query(
        "select id, name, status, role, created_by_type, created_by, created_at, updated_at, revoked_at
         from agents order by name",
    )
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn agent(connection: &mut Connection, id: Uuid) -> Result<Option<Agent>, StoreError> {
    let row = sqlx::query(
        "select id, name, status, role, created_by_type, created_by, created_at, updated_at, revoked_at
         from agents where id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn agent_by_name(
    connection: &mut Connection,
    name: &str,
) -> Result<Option<Agent>, StoreError> {
    let row = sqlx::query(
        "select id, name, status, role, created_by_type, created_by, created_at, updated_at, revoked_at
         from agents where name = $1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn active_owner_agents(connection: &mut Connection) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from agents where role = 'owner' and status = 'active'",
    )
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}

reads! {
    /// Every agent, revoked ones too, by name.
    agents() -> Vec<Agent>;
    /// The agent with this id.
    agent(id: Uuid) -> Option<Agent>;
    /// The agent with this name.
    agent_by_name(name: &str) -> Option<Agent>;
    /// How many owners are agents that can act.
    active_owner_agents() -> u64;
}

impl Tx {
    /// Adds an agent.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, be it by a revoked agent.
    pub async fn insert_agent(&mut self, agent: &Agent) -> Result<(), StoreError> {
        let inserted = sqlx::query(
            "insert into agents (id, name, status, role, created_by_type, created_by, created_at, updated_at,
                 revoked_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict do nothing",
        )
        .bind(agent.id.to_string())
        .bind(&agent.name)
        .bind(agent.status.as_str())
        .bind(agent.role.as_str())
        .bind(agent.created_by.map(|actor| actor.kind.as_str()))
        .bind(agent.created_by.map(|actor| actor.id.to_string()))
        .bind(agent.created_at.as_millisecond())
        .bind(agent.updated_at.as_millisecond())
        .bind(agent.revoked_at.map(Timestamp::as_millisecond))
        .execute(self.connection())
        .await?;
        match inserted.rows_affected() {
            0 => Err(name_taken(&agent.name)),
            _ => Ok(()),
        }
    }

    /// Renames an agent.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `NotFound` when there is no such agent.
    pub async fn rename_agent(
        &mut self,
        id: Uuid,
        name: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        if agent_by_name(self.connection(), name)
            .await?
            .is_some_and(|other| other.id != id)
        {
            return Err(name_taken(name));
        }
        let changed = sqlx::query("update agents set name = $2, updated_at = $3 where id = $1")
            .bind(id.to_string())
            .bind(name)
            .bind(at.as_millisecond())
            .execute(self.connection())
            .await?;
        found(changed.rows_affected())
    }

    /// Changes an agent's instance role.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub async fn set_agent_role(
        &mut self,
        id: Uuid,
        role: InstanceRole,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let changed = sqlx::query("update agents set role = $2, updated_at = $3 where id = $1")
            .bind(id.to_string())
            .bind(role.as_str())
            .bind(at.as_millisecond())
            .execute(self.connection())
            .await?;
        found(changed.rows_affected())
    }

    /// Makes an agent act again: active, not revoked. Its tokens are the caller's business.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub async fn activate_agent(&mut self, id: Uuid, at: Timestamp) -> Result<(), StoreError> {
        let changed = sqlx::query(
            "update agents set status = 'active', revoked_at = null, updated_at = $2 where id = $1",
        )
        .bind(id.to_string())
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        found(changed.rows_affected())
    }

    /// Revokes an agent: its tokens and the scoped sessions it minted end, its name and its grants
    /// stay.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub async fn revoke_agent(&mut self, id: Uuid, at: Timestamp) -> Result<(), StoreError> {
        let changed = sqlx::query(
            "update agents set status = 'revoked', revoked_at = $2, updated_at = $2 where id = $1",
        )
        .bind(id.to_string())
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        found(changed.rows_affected())?;
        self.delete_agent_sessions(id).await?;
        self.delete_sessions_minted_by(ActorRef::agent(id), None)
            .await?;
        Ok(())
    }

    /// Removes an agent with its tokens, its grants and the scoped sessions it minted. Answers
    /// whether it existed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_agent(&mut self, id: Uuid) -> Result<bool, StoreError> {
        self.delete_actor(ActorRef::agent(id)).await?;
        let deleted = sqlx::query("delete from agents where id = $1")
            .bind(id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}

fn found(rows: u64) -> Result<(), StoreError> {
    match rows {
        0 => Err(StoreError::not_found("no such agent")),
        _ => Ok(()),
    }
}

fn name_taken(name: &str) -> StoreError {
    StoreError::conflict(format!("an agent named `{name}` already exists"))
}
