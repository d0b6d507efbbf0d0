//! Invitations of people by address.

use agent_vault_seal::TokenHash;
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{ActorRef, InstanceRole, Store, StoreError, Tx, VaultRole, email_lookup};

/// Rows that one purge removes, so that it never holds the writer for long.
const PURGE_BATCH: i64 = 1000;

words! {
    /// What became of an invitation. Whether it is too old is told by its end, not here.
    InviteStatus("invite status") {
        /// Nobody has used it.
        Pending = "pending",
        /// It made an account, or gave one its roles.
        Accepted = "accepted",
        /// Somebody took it back.
        Revoked = "revoked",
    }
}

/// One invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Row number.
    pub id: i64,
    /// Handle that may be shown, 20 hex characters.
    pub public_id: String,
    /// Who is invited.
    pub email: String,
    /// Instance role of the new account.
    pub role: InstanceRole,
    /// What became of it.
    pub status: InviteStatus,
    /// Who invited; `None` for the local operator.
    pub created_by: Option<ActorRef>,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
    /// Vaults that it opens: id, name, role.
    pub vaults: Vec<InviteVault>,
}

/// A vault that an invitation opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteVault {
    /// Id of the vault.
    pub vault_id: Uuid,
    /// Its present name; not written.
    pub vault_name: String,
    /// Role there.
    pub role: VaultRole,
}

impl Invite {
    /// Whether it can be accepted at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.status == InviteStatus::Pending && now <= self.expires_at
    }
}

fn read(row: &Row) -> Result<Invite, StoreError> {
    Ok(Invite {
        id: row.int("id")?,
        public_id: row.text("public_id")?,
        email: row.text("email")?,
        role: row.word("role")?,
        status: row.word("status")?,
        created_by: ActorRef::from_columns(
            row.opt_text("created_by_type")?.as_deref(),
            row.opt_text("created_by")?.as_deref(),
        ),
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        vaults: Vec::new(),
    })
}

async fn with_vaults(
    connection: &mut Connection,
    invites: &mut [Invite],
) -> Result<(), StoreError> {
    for invite in invites {
        let rows = sqlx::query(
            "select i.vault_id, v.name, i.vault_role from user_invite_vaults i
             join vaults v on v.id = i.vault_id where i.invite_id = $1 order by v.name",
        )
        .bind(invite.id)
        .fetch_all(&mut *connection)
        .await?;
        invite.vaults = row::all(rows, |row| {
            Ok(InviteVault {
                vault_id: row.id("vault_id")?,
                vault_name: row.text("name")?,
                role: row.word("vault_role")?,
            })
        })?;
    }
    Ok(())
}

async fn invites(connection: &mut Connection) -> Result<Vec<Invite>, StoreError> {
    let rows = sqlx::query(
        "select id, public_id, email, role, status, created_by_type, created_by, created_at, expires_at
         from user_invites order by id desc",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut invites = row::all(rows, read)?;
    with_vaults(connection, &mut invites).await?;
    Ok(invites)
}

async fn invite_by_token(
    connection: &mut Connection,
    hash: TokenHash,
) -> Result<Option<Invite>, StoreError> {
    let row = sqlx::query(
        "select id, public_id, email, role, status, created_by_type, created_by, created_at, expires_at
         from user_invites where token_hash = $1",
    )
    .bind(hash.to_hex())
    .fetch_optional(&mut *connection)
    .await?;
    let mut found: Vec<Invite> = row::one(row, read)?.into_iter().collect();
    with_vaults(connection, &mut found).await?;
    Ok(found.pop())
}

async fn invite_by_public_id(
    connection: &mut Connection,
    public_id: &str,
) -> Result<Option<Invite>, StoreError> {
    let row = sqlx::query(
        "select id, public_id, email, role, status, created_by_type, created_by, created_at, expires_at
         from user_invites where public_id = $1",
    )
    .bind(public_id)
    .fetch_optional(&mut *connection)
    .await?;
    let mut found: Vec<Invite> = row::one(row, read)?.into_iter().collect();
    with_vaults(connection, &mut found).await?;
    Ok(found.pop())
}

async fn live_invite_for(
    connection: &mut Connection,
    email: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from user_invites
         where email_lookup = $1 and status = 'pending' and expires_at >= $2",
    )
    .bind(email_lookup(email))
    .bind(now.as_millisecond())
    .fetch_one(connection)
    .await?;
    Ok(count > 0)
}

async fn live_invite_count(connection: &mut Connection, now: Timestamp) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from user_invites where status = 'pending' and expires_at >= $1",
    )
    .bind(now.as_millisecond())
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}

reads! {
    /// Every invitation that is still on record, newest first.
    invites() -> Vec<Invite>;
    /// The invitation that a token opens, live or not.
    invite_by_token(hash: TokenHash) -> Option<Invite>;
    /// The invitation with this public id.
    invite_by_public_id(public_id: &str) -> Option<Invite>;
    /// Whether an address has an invitation that can be accepted at `now`.
    live_invite_for(email: &str, now: Timestamp) -> bool;
    /// How many invitations can be accepted at `now`.
    live_invite_count(now: Timestamp) -> u64;
}

impl Tx {
    /// Adds an invitation, which `token` opens; its `id` is ignored.
    ///
    /// # Errors
    /// `NotFound` when one of its vaults does not exist.
    pub async fn insert_invite(
        &mut self,
        invite: &Invite,
        token: TokenHash,
    ) -> Result<(), StoreError> {
        let id: i64 = sqlx::query_scalar(
            "insert into user_invites (public_id, token_hash, email, email_lookup, role, status, created_by_type,
                 created_by, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id",
        )
        .bind(&invite.public_id)
        .bind(token.to_hex())
        .bind(&invite.email)
        .bind(email_lookup(&invite.email))
        .bind(invite.role.as_str())
        .bind(invite.status.as_str())
        .bind(invite.created_by.map(|actor| actor.kind.as_str()))
        .bind(invite.created_by.map(|actor| actor.id.to_string()))
        .bind(invite.created_at.as_millisecond())
        .bind(invite.expires_at.as_millisecond())
        .fetch_one(self.connection())
        .await?;
        for vault in &invite.vaults {
            sqlx::query(
                "insert into user_invite_vaults (invite_id, vault_id, vault_role) values ($1, $2, $3)",
            )
            .bind(id)
            .bind(vault.vault_id.to_string())
            .bind(vault.role.as_str())
            .execute(self.connection())
            .await?;
        }
        Ok(())
    }

    /// Ends a pending invitation as `status`. Answers whether it was pending.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_invite(
        &mut self,
        id: i64,
        status: InviteStatus,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let ended = sqlx::query(
            "update user_invites set status = $2, ended_at = $3 where id = $1 and status = 'pending'",
        )
        .bind(id)
        .bind(status.as_str())
        .bind(at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(ended.rows_affected() > 0)
    }
}

impl Store {
    /// Removes up to a thousand invitations that could be accepted until before `oldest` or ended
    /// before it; answers how many. They open nothing any more, so this is no management action.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn purge_invites(&self, oldest: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from user_invites where id in (
                 select id from user_invites
                 where (status = 'pending' and expires_at < $1) or ended_at < $1 limit $2)",
        )
        .bind(oldest.as_millisecond())
        .bind(PURGE_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
