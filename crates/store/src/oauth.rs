//! OAuth grants of credentials: the client, the refresh token, and how its last use went.

use agent_vault_seal::{SealContext, SealKind, Sealed};
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{Store, StoreError, Tx};

words! {
    /// How a client shows a token endpoint who it is.
    TokenAuthMethod("token auth method") {
        /// Id and secret in the form.
        Post = "client_secret_post",
        /// Id and secret in an `Authorization` header.
        Basic = "client_secret_basic",
    }
}

/// A client at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// Where a person consents; empty where tokens are given by hand.
    pub authorization_url: String,
    /// Where tokens come from; empty where nothing can be refreshed.
    pub token_url: String,
    /// Who we are there.
    pub client_id: String,
    /// What only we know, sealed.
    pub client_secret: Option<Sealed>,
    /// Scopes as they are asked for.
    pub scopes: String,
    /// What stands between them.
    pub scope_separator: String,
    /// Whether a code is bound to us by PKCE (RFC 7636).
    pub pkce: bool,
    /// How we show who we are.
    pub token_auth_method: TokenAuthMethod,
}

/// The grant behind a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthGrant {
    /// The client that it was given to.
    pub client: OAuthClient,
    /// Gets the next access token, sealed.
    pub refresh_token: Option<Sealed>,
    /// The provider said that it is good no more.
    pub refresh_refused: bool,
    /// When the access token ends, where that is known.
    pub token_expires_at: Option<Timestamp>,
    /// The life that the provider gave a token last, in seconds.
    pub token_life: Option<u32>,
    /// When somebody consented; `None` while there is no token.
    pub connected_at: Option<Timestamp>,
    /// When the token was last fetched anew.
    pub last_refreshed_at: Option<Timestamp>,
    /// Why it could not be; empty when it could.
    pub last_refresh_error: String,
    /// When that was.
    pub last_refresh_error_at: Option<Timestamp>,
}

/// What the data plane must know of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OAuthHealth {
    /// Whether there is an access token.
    pub connected: bool,
    /// When it ends.
    pub token_expires_at: Option<Timestamp>,
    /// Whether the next one can be fetched.
    pub renewable: bool,
}

/// A grant that one process may refresh now.
#[derive(Debug)]
pub struct OAuthLease {
    /// The grant as it is at this moment.
    pub grant: OAuthGrant,
    /// The version of the access token beside it.
    pub version: u32,
}

/// What came of asking for the right to refresh.
#[derive(Debug)]
pub enum OAuthClaim {
    /// It is this process's turn.
    Granted(Box<OAuthLease>),
    /// Another process refreshes.
    Taken,
    /// There is no such grant.
    Gone,
}

/// The parts of a grant that are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthPart {
    /// The client secret.
    ClientSecret,
    /// The refresh token.
    RefreshToken,
}

impl OAuthPart {
    /// The name that a part of `key` is sealed for; the owner is the vault.
    #[must_use]
    pub fn name(self, key: &str) -> String {
        match self {
            Self::ClientSecret => format!("{key}/client_secret"),
            Self::RefreshToken => format!("{key}/refresh_token"),
        }
    }
}

impl OAuthGrant {
    /// The place that a part is sealed for. `vault` is the hyphenated id, `name` is [`OAuthPart::name`] or that of a consent.
    #[must_use]
    pub fn seal_context<'a>(vault: &'a str, name: &'a str) -> SealContext<'a> {
        SealContext {
            kind: SealKind::OAuth,
            owner: vault,
            name,
            version: 1,
        }
    }
}

/// Reads an optional sealed value.
pub(crate) fn opt_sealed(row: &Row, column: &'static str) -> Result<Option<Sealed>, StoreError> {
    row.opt_bytes(column)?
        .map(|bytes| Sealed::from_bytes(bytes).map_err(|_| unreadable(column)))
        .transpose()
}

pub(crate) fn read_client(row: &Row) -> Result<OAuthClient, StoreError> {
    Ok(OAuthClient {
        authorization_url: row.text("authorization_url")?,
        token_url: row.text("token_url")?,
        client_id: row.text("client_id")?,
        client_secret: opt_sealed(row, "client_secret")?,
        scopes: row.text("scopes")?,
        scope_separator: row.text("scope_separator")?,
        pkce: row.flag("pkce")?,
        token_auth_method: row.word("token_auth_method")?,
    })
}

fn read(row: &Row) -> Result<OAuthGrant, StoreError> {
    Ok(OAuthGrant {
        client: read_client(row)?,
        refresh_token: opt_sealed(row, "refresh_token")?,
        refresh_refused: row.flag("refresh_refused")?,
        token_expires_at: row.opt_time("token_expires_at")?,
        token_life: row
            .opt_int("token_life")?
            .map(|life| u32::try_from(life).map_err(|_| unreadable("token_life")))
            .transpose()?,
        connected_at: row.opt_time("connected_at")?,
        last_refreshed_at: row.opt_time("last_refreshed_at")?,
        last_refresh_error: row.text("last_refresh_error")?,
        last_refresh_error_at: row.opt_time("last_refresh_error_at")?,
    })
}

async fn oauth_grant(
    connection: &mut Connection,
    vault_id: Uuid,
    key: &str,
) -> Result<Option<OAuthGrant>, StoreError> {
    let row = sqlx::query(
        "select o.* from credential_oauth o join credentials c on c.id = o.credential_id
         where c.vault_id = $1 and c.key = $2",
    )
    .bind(vault_id.to_string())
    .bind(key)
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn oauth_grants(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<(String, OAuthGrant)>, StoreError> {
    let rows = sqlx::query(
        "select c.key as credential_key, o.* from credential_oauth o join credentials c on c.id = o.credential_id
         where c.vault_id = $1 order by c.key",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, |row| Ok((row.text("credential_key")?, read(row)?)))
}

reads! {
    /// The grant behind a credential, if it has one.
    oauth_grant(vault_id: Uuid, key: &str) -> Option<OAuthGrant>;
    /// The grants of a vault's credentials, by key.
    oauth_grants(vault_id: Uuid) -> Vec<(String, OAuthGrant)>;
}

impl Tx {
    /// Puts a grant behind a credential that exists, in the place of what was there. Ends whoever refreshes.
    ///
    /// # Errors
    /// `NotFound` when there is no such credential.
    pub async fn put_oauth_grant(
        &mut self,
        vault_id: Uuid,
        key: &str,
        grant: &OAuthGrant,
    ) -> Result<(), StoreError> {
        let client = &grant.client;
        let put = sqlx::query(
            "insert or replace into credential_oauth (credential_id, authorization_url, token_url, client_id,
                 client_secret, scopes, scope_separator, pkce, token_auth_method, refresh_token, refresh_refused,
                 token_expires_at, token_life, connected_at, last_refreshed_at, last_refresh_error, last_refresh_error_at)
             select id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
             from credentials where vault_id = $1 and key = $2",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .bind(&client.authorization_url)
        .bind(&client.token_url)
        .bind(&client.client_id)
        .bind(client.client_secret.as_ref().map(Sealed::as_bytes))
        .bind(&client.scopes)
        .bind(&client.scope_separator)
        .bind(client.pkce)
        .bind(client.token_auth_method.as_str())
        .bind(grant.refresh_token.as_ref().map(Sealed::as_bytes))
        .bind(grant.refresh_refused)
        .bind(grant.token_expires_at.map(Timestamp::as_millisecond))
        .bind(grant.token_life.map(i64::from))
        .bind(grant.connected_at.map(Timestamp::as_millisecond))
        .bind(grant.last_refreshed_at.map(Timestamp::as_millisecond))
        .bind(&grant.last_refresh_error)
        .bind(grant.last_refresh_error_at.map(Timestamp::as_millisecond))
        .execute(self.connection())
        .await?;
        if put.rows_affected() == 0 {
            return Err(StoreError::not_found("the credential is gone"));
        }
        Ok(())
    }

    /// Takes the grant from behind a credential. Answers whether it had one.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_oauth_grant(
        &mut self,
        vault_id: Uuid,
        key: &str,
    ) -> Result<bool, StoreError> {
        let deleted = sqlx::query(
            "delete from credential_oauth where credential_id =
                 (select id from credentials where vault_id = $1 and key = $2)",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .execute(self.connection())
        .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Whether `lease` is still the right of its holder: nobody has put another grant in its place, nor waited it out.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn holds_oauth_lease(
        &mut self,
        vault_id: Uuid,
        key: &str,
        lease: &str,
    ) -> Result<bool, StoreError> {
        let found: i64 = sqlx::query_scalar(
            "select count(*) from credential_oauth o join credentials c on c.id = o.credential_id
             where c.vault_id = $1 and c.key = $2 and o.lease = $3",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .bind(lease)
        .fetch_one(self.connection())
        .await?;
        Ok(found > 0)
    }
}

impl Store {
    /// Takes the right to refresh a grant until `until`, unless another process has it at `now`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn claim_oauth_refresh(
        &self,
        vault_id: Uuid,
        key: &str,
        lease: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<OAuthClaim, StoreError> {
        let mut writer = self.writer().await?;
        let row = sqlx::query(
            "update credential_oauth set lease = $3, lease_until = $5
             where (lease_until is null or lease_until < $4)
                 and credential_id = (select id from credentials where vault_id = $1 and key = $2)
             returning *, (select version from credentials where id = credential_id) as version",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .bind(lease)
        .bind(now.as_millisecond())
        .bind(until.as_millisecond())
        .fetch_optional(&mut *writer)
        .await?;
        if let Some(row) = row {
            return Ok(OAuthClaim::Granted(Box::new(OAuthLease {
                grant: read(&row)?,
                version: row.uint("version")?,
            })));
        }
        match oauth_grant(&mut writer, vault_id, key).await? {
            Some(_) => Ok(OAuthClaim::Taken),
            None => Ok(OAuthClaim::Gone),
        }
    }

    /// Gives the right to refresh back.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn release_oauth_refresh(
        &self,
        vault_id: Uuid,
        key: &str,
        lease: &str,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "update credential_oauth set lease = null, lease_until = null
             where lease = $3 and credential_id = (select id from credentials where vault_id = $1 and key = $2)",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .bind(lease)
        .execute(&mut *writer)
        .await?;
        Ok(())
    }
}
