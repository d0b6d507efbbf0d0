//! Consents that a person has been sent to a provider for.

use agent_vault_seal::{Sealed, TokenHash};
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::oauth::{opt_sealed, read_client};
use crate::row::{self, Columns, unreadable};
use crate::{OAuthClient, Store, StoreError, Tx};

/// Rows that one purge removes, so that it never holds the writer for long.
const PURGE_BATCH: i64 = 1000;

words! {
    /// How far a consent has come.
    ConsentStatus("consent status") {
        /// Nobody has come back.
        Pending = "pending",
        /// Somebody has, and tokens are being fetched.
        Used = "used",
        /// The credential is connected.
        Done = "done",
        /// It came to nothing.
        Failed = "failed",
    }
}

words! {
    /// What kind of actor asked for a consent.
    ConsentActor("consent actor") {
        /// A person.
        User = "user",
        /// An agent.
        Agent = "agent",
        /// A vault token.
        Scoped = "scoped",
        /// The local operator.
        Local = "local",
    }
}

/// A consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its public id.
    pub id: String,
    /// SHA-256 of what the provider brings back.
    pub state_hash: TokenHash,
    /// SHA-256 of what the link that binds a browser carries.
    pub link_hash: TokenHash,
    /// SHA-256 of the cookie of the browser that may come back.
    pub browser_hash: Option<TokenHash>,
    /// The vault.
    pub vault_id: Uuid,
    /// The credential.
    pub key: String,
    /// Who asked.
    pub actor: ConsentActor,
    /// Their id; empty for the local operator.
    pub actor_id: String,
    /// What they were called.
    pub actor_name: String,
    /// Public id of the session that they asked with.
    pub session_id: String,
    /// Where the provider sends the browser.
    pub redirect_uri: String,
    /// What the credential's client becomes.
    pub client: OAuthClient,
    /// The PKCE verifier, sealed.
    pub verifier: Option<Sealed>,
    /// How far it has come.
    pub status: ConsentStatus,
    /// Why it came to nothing.
    pub error: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when somebody may come back.
    pub expires_at: Timestamp,
}

impl Consent {
    /// The name that the verifier is sealed for.
    #[must_use]
    pub fn verifier_name(id: &str) -> String {
        format!("consent/{id}/verifier")
    }

    /// The name that the client secret is sealed for.
    #[must_use]
    pub fn secret_name(id: &str) -> String {
        format!("consent/{id}/client_secret")
    }
}

fn hash(row: &Row, column: &'static str) -> Result<TokenHash, StoreError> {
    TokenHash::from_hex(&row.text(column)?).map_err(|_| unreadable(column))
}

fn read(row: &Row) -> Result<Consent, StoreError> {
    Ok(Consent {
        id: row.text("id")?,
        state_hash: hash(row, "state_hash")?,
        link_hash: hash(row, "link_hash")?,
        browser_hash: row
            .opt_text("browser_hash")?
            .map(|text| TokenHash::from_hex(&text).map_err(|_| unreadable("browser_hash")))
            .transpose()?,
        vault_id: row.id("vault_id")?,
        key: row.text("key")?,
        actor: row.word("actor_type")?,
        actor_id: row.text("actor_id")?,
        actor_name: row.text("actor_name")?,
        session_id: row.text("session_id")?,
        redirect_uri: row.text("redirect_uri")?,
        client: read_client(row)?,
        verifier: opt_sealed(row, "verifier")?,
        status: row.word("status")?,
        error: row.text("error")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

async fn consent_by_state(
    connection: &mut Connection,
    hash: TokenHash,
) -> Result<Option<Consent>, StoreError> {
    let row = sqlx::query("select * from oauth_consents where state_hash = $1")
        .bind(hash.to_hex())
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn consent_by_link(
    connection: &mut Connection,
    hash: TokenHash,
) -> Result<Option<Consent>, StoreError> {
    let row = sqlx::query("select * from oauth_consents where link_hash = $1")
        .bind(hash.to_hex())
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn consent(
    connection: &mut Connection,
    vault_id: Uuid,
    id: &str,
) -> Result<Option<Consent>, StoreError> {
    let row = sqlx::query("select * from oauth_consents where vault_id = $1 and id = $2")
        .bind(vault_id.to_string())
        .bind(id)
        .fetch_optional(connection)
        .await?;
    row::one(row, read)
}

async fn newest_consent(
    connection: &mut Connection,
    vault_id: Uuid,
    key: &str,
) -> Result<Option<Consent>, StoreError> {
    let row = sqlx::query(
        "select * from oauth_consents where vault_id = $1 and key = $2 order by created_at desc, rowid desc limit 1",
    )
    .bind(vault_id.to_string())
    .bind(key)
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn pending_consents(
    connection: &mut Connection,
    vault_id: Uuid,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from oauth_consents where vault_id = $1 and expires_at > $2",
    )
    .bind(vault_id.to_string())
    .bind(now.as_millisecond())
    .fetch_one(connection)
    .await?;
    Ok(count.unsigned_abs())
}

reads! {
    /// The consent that a provider's answer belongs to, run out or not.
    consent_by_state(hash: TokenHash) -> Option<Consent>;
    /// The consent that a link binds a browser to.
    consent_by_link(hash: TokenHash) -> Option<Consent>;
    /// A consent of a vault.
    consent(vault_id: Uuid, id: &str) -> Option<Consent>;
    /// The consent that was last asked for, for a credential.
    newest_consent(vault_id: Uuid, key: &str) -> Option<Consent>;
    /// How many consents of a vault have not run out by `now`.
    pending_consents(vault_id: Uuid, now: Timestamp) -> u64;
}

impl Tx {
    /// Adds a consent.
    ///
    /// # Errors
    /// `NotFound` when there is no such vault.
    pub async fn insert_consent(&mut self, consent: &Consent) -> Result<(), StoreError> {
        let client = &consent.client;
        sqlx::query(
            "insert into oauth_consents (id, state_hash, link_hash, browser_hash, vault_id, key, actor_type, actor_id,
                 actor_name, session_id, redirect_uri, authorization_url, token_url, client_id, client_secret, scopes,
                 scope_separator, pkce, token_auth_method, verifier, status, error, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
                 $23, $24)",
        )
        .bind(&consent.id)
        .bind(consent.state_hash.to_hex())
        .bind(consent.link_hash.to_hex())
        .bind(consent.browser_hash.map(TokenHash::to_hex))
        .bind(consent.vault_id.to_string())
        .bind(&consent.key)
        .bind(consent.actor.as_str())
        .bind(&consent.actor_id)
        .bind(&consent.actor_name)
        .bind(&consent.session_id)
        .bind(&consent.redirect_uri)
        .bind(&client.authorization_url)
        .bind(&client.token_url)
        .bind(&client.client_id)
        .bind(client.client_secret.as_ref().map(Sealed::as_bytes))
        .bind(&client.scopes)
        .bind(&client.scope_separator)
        .bind(client.pkce)
        .bind(client.token_auth_method.as_str())
        .bind(consent.verifier.as_ref().map(Sealed::as_bytes))
        .bind(consent.status.as_str())
        .bind(&consent.error)
        .bind(consent.created_at.as_millisecond())
        .bind(consent.expires_at.as_millisecond())
        .execute(self.connection())
        .await?;
        Ok(())
    }

    /// Says how a consent ended. What it was sealed for goes. Answers whether it was still open.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn end_consent(&mut self, id: &str, error: Option<&str>) -> Result<bool, StoreError> {
        end_consent(self.connection(), id, error).await
    }
}

async fn end_consent(
    connection: &mut Connection,
    id: &str,
    error: Option<&str>,
) -> Result<bool, StoreError> {
    let status = match error {
        Some(_) => ConsentStatus::Failed,
        None => ConsentStatus::Done,
    };
    let ended = sqlx::query(
        "update oauth_consents set status = $2, error = $3, verifier = null, client_secret = null
         where id = $1 and status in ('pending', 'used')",
    )
    .bind(id)
    .bind(status.as_str())
    .bind(error.unwrap_or_default())
    .execute(connection)
    .await?;
    Ok(ended.rows_affected() > 0)
}

impl Store {
    /// Takes a consent that a browser has come back for: the first time, in time, and from the browser that was bound. `None`
    /// otherwise, and nothing has changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn take_consent(
        &self,
        state: TokenHash,
        browser: TokenHash,
        now: Timestamp,
    ) -> Result<Option<Consent>, StoreError> {
        let mut writer = self.writer().await?;
        let row = sqlx::query(
            "update oauth_consents set status = 'used'
             where state_hash = $1 and browser_hash = $2 and status = 'pending' and expires_at > $3 returning *",
        )
        .bind(state.to_hex())
        .bind(browser.to_hex())
        .bind(now.as_millisecond())
        .fetch_optional(&mut *writer)
        .await?;
        row::one(row, read)
    }

    /// Binds a browser to a pending consent, the last one that asks. Answers whether it was pending.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn bind_consent(
        &self,
        link: TokenHash,
        state: TokenHash,
        browser: TokenHash,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        let bound = sqlx::query(
            "update oauth_consents set browser_hash = $3, state_hash = $2
             where link_hash = $1 and status = 'pending' and expires_at > $4",
        )
        .bind(link.to_hex())
        .bind(state.to_hex())
        .bind(browser.to_hex())
        .bind(now.as_millisecond())
        .execute(&mut *writer)
        .await?;
        Ok(bound.rows_affected() > 0)
    }

    /// Says that a consent came to nothing, outside of any other write.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn fail_consent(&self, id: &str, error: &str) -> Result<bool, StoreError> {
        let mut writer = self.writer().await?;
        end_consent(&mut writer, id, Some(error)).await
    }

    /// Removes up to a thousand consents that ran out before `now`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn purge_consents(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut writer = self.writer().await?;
        let deleted = sqlx::query(
            "delete from oauth_consents where id in (
                 select id from oauth_consents where expires_at < $1 limit $2)",
        )
        .bind(now.as_millisecond())
        .bind(PURGE_BATCH)
        .execute(&mut *writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
