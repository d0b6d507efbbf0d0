//! Changes to a vault that an agent asks for and a person decides on.
//!
//! An end is written once: every statement that ends a proposal insists that it is still pending. Values that the agent offered
//! are deleted by the same transaction.

use agent_vault_seal::{Sealed, TokenHash};
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{Store, StoreError, Tx};

/// Rows that one purge touches, so that it never holds the writer for long.
const PURGE_BATCH: i64 = 500;

words! {
    /// What became of a proposal. Whether a pending one is too old is told by its end, not here.
    ProposalStatus("proposal status") {
        /// Nobody has decided.
        Pending = "pending",
        /// It was approved, and done.
        Applied = "applied",
        /// It was turned down.
        Rejected = "rejected",
        /// Nobody decided in time.
        Expired = "expired",
    }
}

words! {
    /// What kind of token raised a proposal.
    ProposalAuthor("proposal author") {
        /// An agent's own.
        Agent = "agent",
        /// One bound to the vault.
        Scoped = "scoped",
    }
}

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewer {
    /// `user`, `agent` or `local`.
    pub kind: &'static str,
    /// Id; `None` for the local operator.
    pub id: Option<Uuid>,
    /// Address or name at that time.
    pub name: String,
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The vault.
    pub vault_id: Uuid,
    /// Its number in the vault, from 1.
    pub id: u32,
    /// What kind of token raised it.
    pub author: ProposalAuthor,
    /// The agent's id or the token's public id.
    pub author_id: String,
    /// The agent whose hands these are.
    pub author_agent: Option<Uuid>,
    /// The agent's name or the token's label at that time.
    pub author_name: String,
    /// What became of it.
    pub status: ProposalStatus,
    /// What it would do to services, as JSON. This crate does not look inside.
    pub services_json: String,
    /// What it would do to credentials, as JSON without values.
    pub credentials_json: String,
    /// The agent's own words.
    pub message: String,
    /// What the agent says to the person.
    pub user_message: String,
    /// What the one who decided said.
    pub review_note: String,
    /// Address or name of the one who decided; empty while nobody has.
    pub reviewed_by_name: String,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Until when the approval link shows it.
    pub approval_expires_at: Timestamp,
    /// When it was raised.
    pub created_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
}

impl Proposal {
    /// What it is at `now`: one that waited too long has expired, swept or not.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> ProposalStatus {
        if self.status == ProposalStatus::Pending && now >= self.expires_at {
            ProposalStatus::Expired
        } else {
            self.status
        }
    }
}

/// How a proposal ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalEnd<'a> {
    /// The vault.
    pub vault_id: Uuid,
    /// Its number.
    pub id: u32,
    /// Applied or rejected.
    pub status: ProposalStatus,
    /// What the one who decided said.
    pub note: &'a str,
    /// Who decided.
    pub by: &'a Reviewer,
    /// When.
    pub at: Timestamp,
}

const COLUMNS: &str = "vault_id, id, author_type, author_id, author_agent, author_name, status, services_json, \
    credentials_json, message, user_message, review_note, reviewed_by_name, ended_at, approval_expires_at, created_at, expires_at";

fn read(row: &Row) -> Result<Proposal, StoreError> {
    Ok(Proposal {
        vault_id: row.id("vault_id")?,
        id: row.uint("id")?,
        author: row.word("author_type")?,
        author_id: row.text("author_id")?,
        author_agent: row.opt_id("author_agent")?,
        author_name: row.text("author_name")?,
        status: row.word("status")?,
        services_json: row.text("services_json")?,
        credentials_json: row.text("credentials_json")?,
        message: row.text("message")?,
        user_message: row.text("user_message")?,
        review_note: row.text("review_note")?,
        reviewed_by_name: row.text("reviewed_by_name")?,
        ended_at: row.opt_time("ended_at")?,
        approval_expires_at: row.time("approval_expires_at")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

async fn proposals(
    connection: &mut Connection,
    vault_id: Uuid,
    status: Option<ProposalStatus>,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Proposal>, StoreError> {
    let which = match status {
        None => "1 = 1",
        Some(ProposalStatus::Pending) => "status = 'pending' and expires_at > $2",
        Some(ProposalStatus::Applied) => "status = 'applied'",
        Some(ProposalStatus::Rejected) => "status = 'rejected'",
        Some(ProposalStatus::Expired) => {
            "(status = 'expired' or (status = 'pending' and expires_at <= $2))"
        }
    };
    let sql = format!(
        "select {COLUMNS} from proposals where vault_id = $1 and $2 = $2 and {which} order by id desc limit $3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(vault_id.to_string())
        .bind(now.as_millisecond())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    row::all(rows, read)
}

async fn proposal(
    connection: &mut Connection,
    vault_id: Uuid,
    id: u32,
) -> Result<Option<Proposal>, StoreError> {
    let sql = format!("select {COLUMNS} from proposals where vault_id = $1 and id = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(vault_id.to_string())
        .bind(i64::from(id))
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn proposal_by_token(
    connection: &mut Connection,
    hash: TokenHash,
) -> Result<Option<Proposal>, StoreError> {
    let sql = format!("select {COLUMNS} from proposals where approval_hash = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(hash.to_hex())
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn pending_proposal_count(
    connection: &mut Connection,
    vault_id: Uuid,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from proposals where vault_id = $1 and status = 'pending' and expires_at > $2",
    )
    .bind(vault_id.to_string())
    .bind(now.as_millisecond())
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}

async fn pending_proposals(
    connection: &mut Connection,
    now: Timestamp,
) -> Result<Vec<(Uuid, u64)>, StoreError> {
    let rows = sqlx::query(
        "select vault_id, count(*) as open from proposals where status = 'pending' and expires_at > $1 group by vault_id",
    )
    .bind(now.as_millisecond())
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| {
        Ok((row.id("vault_id")?, row.int("open")?.unsigned_abs()))
    })
}

async fn proposal_values(
    connection: &mut Connection,
    vault_id: Uuid,
    id: u32,
) -> Result<Vec<(String, Sealed)>, StoreError> {
    let rows = sqlx::query(
        "select key, sealed from proposal_values where vault_id = $1 and proposal_id = $2 order by key",
    )
    .bind(vault_id.to_string())
    .bind(i64::from(id))
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| Ok((row.text("key")?, row.sealed("sealed")?)))
}

async fn overdue_proposals(
    connection: &mut Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Proposal>, StoreError> {
    let sql = format!(
        "select {COLUMNS} from proposals where status = 'pending' and expires_at <= $1 order by expires_at limit $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(now.as_millisecond())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    row::all(rows, read)
}

reads! {
    /// Proposals of any vault that are marked as pending and whose time is over at `now`, the first to end first.
    overdue_proposals(now: Timestamp, limit: u32) -> Vec<Proposal>;
    /// A vault's proposals, newest first, up to `limit`; `status` is what they are at `now`.
    proposals(vault_id: Uuid, status: Option<ProposalStatus>, now: Timestamp, limit: u32) -> Vec<Proposal>;
    /// One proposal.
    proposal(vault_id: Uuid, id: u32) -> Option<Proposal>;
    /// The proposal that an approval link shows.
    proposal_by_token(hash: TokenHash) -> Option<Proposal>;
    /// How many of a vault's proposals can be decided at `now`.
    pending_proposal_count(vault_id: Uuid, now: Timestamp) -> u64;
    /// The same of every vault that has any.
    pending_proposals(now: Timestamp) -> Vec<(Uuid, u64)>;
    /// The values that came with a proposal, by key.
    proposal_values(vault_id: Uuid, id: u32) -> Vec<(String, Sealed)>;
}

impl Tx {
    /// The number of the next proposal of a vault. The newest row is never purged, so no number comes twice.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn next_proposal_id(&mut self, vault_id: Uuid) -> Result<u32, StoreError> {
        let next: i64 = sqlx::query_scalar(
            "select coalesce(max(id), 0) + 1 from proposals where vault_id = $1",
        )
        .bind(vault_id.to_string())
        .fetch_one(self.connection())
        .await?;
        u32::try_from(next).map_err(|_| row::unreadable("id"))
    }

    /// Adds a proposal.
    ///
    /// # Errors
    /// `Conflict` for a number or token that is taken; `NotFound` for an unknown vault.
    pub async fn insert_proposal(
        &mut self,
        proposal: &Proposal,
        approval: TokenHash,
        values: &[(String, Sealed)],
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into proposals (vault_id, id, author_type, author_id, author_agent, author_name, status, services_json,
                 credentials_json, message, user_message, approval_hash, approval_expires_at, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, 'pending', $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(proposal.vault_id.to_string())
        .bind(i64::from(proposal.id))
        .bind(proposal.author.as_str())
        .bind(&proposal.author_id)
        .bind(proposal.author_agent.map(|id| id.to_string()))
        .bind(&proposal.author_name)
        .bind(&proposal.services_json)
        .bind(&proposal.credentials_json)
        .bind(&proposal.message)
        .bind(&proposal.user_message)
        .bind(approval.to_hex())
        .bind(proposal.approval_expires_at.as_millisecond())
        .bind(proposal.created_at.as_millisecond())
        .bind(proposal.expires_at.as_millisecond())
        .execute(self.connection())
        .await?;
        for (key, sealed) in values {
            sqlx::query(
                "insert into proposal_values (vault_id, proposal_id, key, sealed) values ($1, $2, $3, $4)",
            )
            .bind(proposal.vault_id.to_string())
            .bind(i64::from(proposal.id))
            .bind(key)
            .bind(sealed.as_bytes())
            .execute(self.connection())
            .await?;
        }
        Ok(())
    }

    /// Ends a pending proposal and deletes the values that came with it. Answers whether it was pending.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_proposal(&mut self, end: &ProposalEnd<'_>) -> Result<bool, StoreError> {
        let ended = sqlx::query(
            "update proposals set status = $3, review_note = $4, reviewed_by_type = $5, reviewed_by = $6,
                 reviewed_by_name = $7, ended_at = $8
             where vault_id = $1 and id = $2 and status = 'pending'",
        )
        .bind(end.vault_id.to_string())
        .bind(i64::from(end.id))
        .bind(end.status.as_str())
        .bind(end.note)
        .bind(end.by.kind)
        .bind(end.by.id.map(|id| id.to_string()))
        .bind(&end.by.name)
        .bind(end.at.as_millisecond())
        .execute(self.connection())
        .await?;
        sqlx::query("delete from proposal_values where vault_id = $1 and proposal_id = $2")
            .bind(end.vault_id.to_string())
            .bind(i64::from(end.id))
            .execute(self.connection())
            .await?;
        Ok(ended.rows_affected() > 0)
    }
}

impl Tx {
    /// Marks a pending proposal whose time is over at `now` as expired and deletes the values that came with it. Answers whether
    /// it was such a one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn expire_proposal(
        &mut self,
        vault_id: Uuid,
        id: u32,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let expired = sqlx::query(
            "update proposals set status = 'expired', ended_at = expires_at
             where vault_id = $1 and id = $2 and status = 'pending' and expires_at <= $3",
        )
        .bind(vault_id.to_string())
        .bind(i64::from(id))
        .bind(now.as_millisecond())
        .execute(self.connection())
        .await?;
        if expired.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("delete from proposal_values where vault_id = $1 and proposal_id = $2")
            .bind(vault_id.to_string())
            .bind(i64::from(id))
            .execute(self.connection())
            .await?;
        Ok(true)
    }
}

impl Store {
    /// Removes up to 500 proposals that ended before `before`, never the newest of a vault; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn purge_proposals(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from proposals where (vault_id, id) in (
                 select p.vault_id, p.id from proposals p where p.ended_at < $1
                     and p.id < (select max(n.id) from proposals n where n.vault_id = p.vault_id) limit $2)",
        )
        .bind(before.as_millisecond())
        .bind(PURGE_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
