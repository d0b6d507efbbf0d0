//! Sessions: every bearer token that can be presented, by its hash.

use agent_vault_seal::TokenHash;
use jiff::Timestamp;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{ActorRef, Store, StoreError, Tx, VaultRole};

/// Rows that one purge removes, so that it never holds the writer for long.
const PURGE_BATCH: i64 = 1000;
/// A user session's last use is written at most this often.
const TOUCH_INTERVAL_MS: i64 = 60_000;

words! {
    /// Whose token it is.
    SessionKind("session kind") {
        /// A person's login.
        User = "user",
        /// An agent's standing token.
        Agent = "agent",
        /// Bound to one vault with one role.
        Scoped = "scoped",
    }
}

/// A live or expired session. Which of the id fields are set follows from `kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the token.
    pub hash: TokenHash,
    /// Whose token it is.
    pub kind: SessionKind,
    /// The handle that may be shown, 20 hex characters.
    pub public_id: String,
    /// The user, for [`SessionKind::User`].
    pub user_id: Option<Uuid>,
    /// The agent, for [`SessionKind::Agent`].
    pub agent_id: Option<Uuid>,
    /// The vault, for [`SessionKind::Scoped`].
    pub vault_id: Option<Uuid>,
    /// The role in that vault, for [`SessionKind::Scoped`].
    pub vault_role: Option<VaultRole>,
    /// What a scoped session was minted for, for people to read.
    pub label: String,
    /// What a login was made from, for people to read.
    pub device_label: String,
    /// When it ends; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Seconds without use after which it ends; `None` is never.
    pub idle_ttl_seconds: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Timestamp>,
    /// Where it was last used from.
    pub last_ip: String,
    /// With which client.
    pub last_user_agent: String,
    /// Who minted it.
    pub created_by: Option<ActorRef>,
    /// Names of the services that it may use, for [`SessionKind::Scoped`]; `None` is all of them.
    pub services: Option<Vec<String>>,
    /// How many requests it has through the proxy; `None` is no end.
    pub budget: Option<u64>,
    /// Those that were made.
    pub budget_spent: u64,
    /// Networks that it may be used from; none is any.
    pub sources: Vec<String>,
}

impl Session {
    /// Whether it may still be used at `now`: neither past its end nor idle for too long.
    pub fn is_live(&self, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        let ended = self
            .expires_at
            .is_some_and(|end| now > end.as_millisecond());
        let last = self
            .last_used_at
            .unwrap_or(self.created_at)
            .as_millisecond();
        let idle = self
            .idle_ttl_seconds
            .filter(|seconds| *seconds > 0)
            .is_some_and(|seconds| now.saturating_sub(last) > i64::from(seconds) * 1000);
        !ended && !idle
    }
}

fn read(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        hash: TokenHash::from_hex(&row.text("id")?).map_err(|_| unreadable("id"))?,
        kind: row.word("kind")?,
        public_id: row.text("public_id")?,
        user_id: row.opt_id("user_id")?,
        agent_id: row.opt_id("agent_id")?,
        vault_id: row.opt_id("vault_id")?,
        vault_role: row.opt_word("vault_role")?,
        label: row.text("label")?,
        device_label: row.text("device_label")?,
        expires_at: row.opt_time("expires_at")?,
        idle_ttl_seconds: row
            .opt_int("idle_ttl_seconds")?
            .map(|seconds| u32::try_from(seconds).map_err(|_| unreadable("idle_ttl_seconds")))
            .transpose()?,
        created_at: row.time("created_at")?,
        last_used_at: row.opt_time("last_used_at")?,
        last_ip: row.text("last_ip")?,
        last_user_agent: row.text("last_user_agent")?,
        created_by: ActorRef::from_columns(
            row.opt_text("created_by_actor_type")?.as_deref(),
            row.opt_text("created_by_actor_id")?.as_deref(),
        ),
        services: row
            .opt_text("services")?
            .map(|text| list(&text, "services"))
            .transpose()?,
        budget: row
            .opt_int("budget")?
            .map(|count| u64::try_from(count).map_err(|_| unreadable("budget")))
            .transpose()?,
        budget_spent: u64::try_from(row.int("budget_spent")?)
            .map_err(|_| unreadable("budget_spent"))?,
        sources: row
            .opt_text("sources")?
            .map_or_else(|| Ok(Vec::new()), |text| list(&text, "sources"))?,
    })
}

/// A list of names. One that does not read is damage, and never taken for no list.
fn list(text: &str, column: &'static str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_| unreadable(column))
}

fn list_text(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}

async fn session(
    connection: &mut Connection,
    hash: TokenHash,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query(
        "select id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label, expires_at,
             idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent, created_by_actor_type,
             created_by_actor_id, services, budget, budget_spent, sources
         from sessions where id = $1",
    )
    .bind(hash.to_hex())
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn session_with_public_id(
    connection: &mut Connection,
    public_id: &str,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query(
        "select id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label, expires_at,
             idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent, created_by_actor_type,
             created_by_actor_id, services, budget, budget_spent, sources
         from sessions where public_id = $1",
    )
    .bind(public_id)
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

/// Every session that is live at `now`.
pub(crate) async fn live_sessions(
    connection: &mut Connection,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label, expires_at,
             idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent, created_by_actor_type,
             created_by_actor_id, services, budget, budget_spent, sources
         from sessions where expires_at is null or expires_at >= $1",
    )
    .bind(now.as_millisecond())
    .fetch_all(connection)
    .await?;
    live(rows, now)
}

async fn user_sessions(
    connection: &mut Connection,
    user_id: Uuid,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label, expires_at,
             idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent, created_by_actor_type,
             created_by_actor_id, services, budget, budget_spent, sources
         from sessions where user_id = $1 order by coalesce(last_used_at, created_at) desc, public_id",
    )
    .bind(user_id.to_string())
    .fetch_all(connection)
    .await?;
    live(rows, now)
}

async fn agent_sessions(
    connection: &mut Connection,
    agent_id: Uuid,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label, expires_at,
             idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent, created_by_actor_type,
             created_by_actor_id, services, budget, budget_spent, sources
         from sessions where agent_id = $1 order by created_at desc, public_id",
    )
    .bind(agent_id.to_string())
    .fetch_all(connection)
    .await?;
    live(rows, now)
}

async fn scoped_sessions(
    connection: &mut Connection,
    vault_id: Uuid,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let rows = sqlx::query(
        "select id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label, expires_at,
             idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent, created_by_actor_type,
             created_by_actor_id, services, budget, budget_spent, sources
         from sessions where vault_id = $1 order by created_at desc, public_id",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    live(rows, now)
}

fn live(rows: Vec<Row>, now: Timestamp) -> Result<Vec<Session>, StoreError> {
    let mut sessions = row::all(rows, read)?;
    sessions.retain(|session| session.is_live(now));
    Ok(sessions)
}

reads! {
    /// The session with this public id, live or not.
    session_with_public_id(public_id: &str) -> Option<Session>;
    /// The session with this token hash, live or not (see [`Session::is_live`]).
    session(hash: TokenHash) -> Option<Session>;
    /// The live logins of a user, last used first.
    user_sessions(user_id: Uuid, now: Timestamp) -> Vec<Session>;
    /// The live tokens of an agent, newest first.
    agent_sessions(agent_id: Uuid, now: Timestamp) -> Vec<Session>;
    /// The live scoped sessions of a vault, newest first.
    scoped_sessions(vault_id: Uuid, now: Timestamp) -> Vec<Session>;
}

impl Tx {
    /// Adds a session.
    ///
    /// # Errors
    /// `Conflict` for a hash or public id that exists, `NotFound` when its owner does not,
    /// `Invalid` when the id fields do not fit its kind.
    pub async fn insert_session(&mut self, session: &Session) -> Result<(), StoreError> {
        sqlx::query(
            "insert into sessions (id, kind, public_id, user_id, agent_id, vault_id, vault_role, label, device_label,
                 expires_at, idle_ttl_seconds, created_at, last_used_at, last_ip, last_user_agent,
                 created_by_actor_type, created_by_actor_id, services, budget, budget_spent, sources)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        )
        .bind(session.hash.to_hex())
        .bind(session.kind.as_str())
        .bind(&session.public_id)
        .bind(session.user_id.map(|id| id.to_string()))
        .bind(session.agent_id.map(|id| id.to_string()))
        .bind(session.vault_id.map(|id| id.to_string()))
        .bind(session.vault_role.map(VaultRole::as_str))
        .bind(&session.label)
        .bind(&session.device_label)
        .bind(session.expires_at.map(Timestamp::as_millisecond))
        .bind(session.idle_ttl_seconds.map(i64::from))
        .bind(session.created_at.as_millisecond())
        .bind(session.last_used_at.map(Timestamp::as_millisecond))
        .bind(&session.last_ip)
        .bind(&session.last_user_agent)
        .bind(session.created_by.map(|actor| actor.kind.as_str()))
        .bind(session.created_by.map(|actor| actor.id.to_string()))
        .bind(session.services.as_deref().map(list_text))
        .bind(session.budget.map(u64::cast_signed))
        .bind(session.budget_spent.cast_signed())
        .bind((!session.sources.is_empty()).then(|| list_text(&session.sources)))
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Ends one session. Answers whether it existed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_session(&mut self, hash: TokenHash) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from sessions where id = $1")
            .bind(hash.to_hex())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Ends one of a user's own logins by its public id. Answers the hash of the session that ended.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_user_session(
        &mut self,
        user_id: Uuid,
        public_id: &str,
    ) -> Result<Option<TokenHash>, StoreError> {
        let id: Option<String> = sqlx::query_scalar(
            "delete from sessions where user_id = $1 and public_id = $2 returning id",
        )
        .bind(user_id.to_string())
        .bind(public_id)
        .fetch_optional(self.connection())
        .await?;
        hash_of(id)
    }

    /// Ends one of a vault's scoped sessions by its public id. Answers the hash of the session that
    /// ended.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_scoped_session(
        &mut self,
        vault_id: Uuid,
        public_id: &str,
    ) -> Result<Option<TokenHash>, StoreError> {
        let id: Option<String> = sqlx::query_scalar(
            "delete from sessions where vault_id = $1 and public_id = $2 returning id",
        )
        .bind(vault_id.to_string())
        .bind(public_id)
        .fetch_optional(self.connection())
        .await?;
        hash_of(id)
    }

    /// Ends all logins of a user. Answers how many there were.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_user_sessions(&mut self, user_id: Uuid) -> Result<u64, StoreError> {
        let deleted = sqlx::query("delete from sessions where user_id = $1")
            .bind(user_id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected())
    }

    /// Ends all tokens of an agent. Answers how many there were.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_agent_sessions(&mut self, agent_id: Uuid) -> Result<u64, StoreError> {
        let deleted = sqlx::query("delete from sessions where agent_id = $1")
            .bind(agent_id.to_string())
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected())
    }

    /// Ends one of an agent's own tokens by its public id. Answers whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_agent_session(
        &mut self,
        agent_id: Uuid,
        public_id: &str,
    ) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from sessions where agent_id = $1 and public_id = $2")
            .bind(agent_id.to_string())
            .bind(public_id)
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Brings the end of an agent's own tokens, and of the scoped sessions that it minted, forward to `end`; what ends earlier keeps
    /// its end. Answers how many now end then.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_agent_sessions_by(
        &mut self,
        agent_id: Uuid,
        end: Timestamp,
    ) -> Result<u64, StoreError> {
        let shortened = sqlx::query(
            "update sessions set expires_at = $2
             where (agent_id = $1
                     or kind = 'scoped' and created_by_actor_type = 'agent' and created_by_actor_id = $1)
                 and (expires_at is null or expires_at > $2)",
        )
        .bind(agent_id.to_string())
        .bind(end.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(shortened.rows_affected())
    }

    /// Ends the scoped sessions that an actor minted, in one vault or in all. Answers how many there
    /// were. A token must not outlive the right of the one who gave it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_sessions_minted_by(
        &mut self,
        actor: ActorRef,
        vault_id: Option<Uuid>,
    ) -> Result<u64, StoreError> {
        let deleted = sqlx::query(
            "delete from sessions
             where kind = 'scoped' and created_by_actor_id = $1 and created_by_actor_type = $2
                 and ($3 = '' or vault_id = $3)",
        )
        .bind(actor.id.to_string())
        .bind(actor.kind.as_str())
        .bind(vault_id.map(|id| id.to_string()).unwrap_or_default())
        .execute(self.connection())
        .await?;
        Ok(deleted.rows_affected())
    }
}

impl Store {
    /// Notes that a user session was used. Writes at most once a minute per session; empty `ip` and
    /// `user_agent` keep what is there. Not a management action: no audit record, no new version.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn touch_session(
        &self,
        hash: TokenHash,
        now: Timestamp,
        ip: &str,
        user_agent: &str,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "update sessions set last_used_at = $2,
                 last_ip = case when $3 = '' then last_ip else $3 end,
                 last_user_agent = case when $4 = '' then last_user_agent else $4 end
             where id = $1 and kind = 'user' and coalesce(last_used_at, 0) <= $5",
        )
        .bind(hash.to_hex())
        .bind(now.as_millisecond())
        .bind(ip)
        .bind(user_agent)
        .bind(now.as_millisecond().saturating_sub(TOUCH_INTERVAL_MS))
        .execute(&mut *writer)
        .await?;
        Ok(())
    }

    /// Notes when agents' tokens and scoped sessions were last used, all in one transaction. An older time than what is stored
    /// changes nothing, nor does a token that is gone. Not a management action: no audit record, no new version.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then nothing was.
    pub async fn touch_tokens(&self, uses: &[(TokenHash, Timestamp)]) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(crate::dialect::BEGIN_WRITE).await?;
        for (hash, at) in uses {
            sqlx::query(
                "update sessions set last_used_at = $2
                 where id = $1 and kind <> 'user' and coalesce(last_used_at, 0) < $2",
            )
            .bind(hash.to_hex())
            .bind(at.as_millisecond())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Adds requests to what tokens have made, all in one transaction; answers in the same order what each has made then, zero for one
    /// that is gone. Not a management action: no audit record, no new version.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then nothing was.
    pub async fn add_spent(&self, spent: &[(TokenHash, u64)]) -> Result<Vec<u64>, StoreError> {
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(crate::dialect::BEGIN_WRITE).await?;
        let mut totals = Vec::with_capacity(spent.len());
        for (hash, count) in spent {
            let total: Option<i64> = sqlx::query_scalar(
                "update sessions set budget_spent = budget_spent + $2 where id = $1 returning budget_spent",
            )
            .bind(hash.to_hex())
            .bind(count.cast_signed())
            .fetch_optional(&mut *transaction)
            .await?;
            totals.push(total.unwrap_or(0).unsigned_abs());
        }
        transaction.commit().await?;
        Ok(totals)
    }

    /// Removes up to a thousand sessions that ended before `now`; answers how many. They are dead
    /// already, so this is no management action. Call again while it answers a thousand.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn purge_expired_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from sessions where id in (
                 select id from sessions
                 where expires_at < $1
                     or (idle_ttl_seconds > 0
                         and coalesce(last_used_at, created_at) + idle_ttl_seconds * 1000 < $1)
                 limit $2)",
        )
        .bind(now.as_millisecond())
        .bind(PURGE_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}

fn hash_of(id: Option<String>) -> Result<Option<TokenHash>, StoreError> {
    id.map(|id| TokenHash::from_hex(&id).map_err(|_| unreadable("id")))
        .transpose()
}
