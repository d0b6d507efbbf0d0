//! Credentials: sealed values with their versions.

use agent_vault_seal::{SealContext, SealKind, Sealed};
use jiff::Timestamp;
use uuid::Uuid;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns};
use crate::{OAuthHealth, StoreError, Tx};

/// Versions of a credential that are kept, the current one included; older ones are removed as new
/// ones are written.
pub const MAX_CREDENTIAL_VERSIONS: u32 = 10;

words! {
    /// Where a credential's value comes from.
    CredentialType("credential type") {
        /// Typed in.
        Static = "static",
        /// From an OAuth grant.
        OAuth = "oauth",
    }
}

/// A credential with its current value, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub id: Uuid,
    /// The vault it belongs to.
    pub vault_id: Uuid,
    /// Its name, unique in the vault.
    pub key: String,
    /// Where its value comes from.
    pub kind: CredentialType,
    /// Counts the values that it has had, from 1.
    pub version: u32,
    /// The value, sealed for (vault, key, version).
    pub sealed: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last got a value.
    pub updated_at: Timestamp,
    /// From when on its value counts as absent.
    pub expires_at: Option<Timestamp>,
    /// How the grant behind it is, when it has one.
    pub oauth: Option<OAuthHealth>,
}

/// One value that a credential has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialVersion {
    /// Its number.
    pub version: u32,
    /// The value, sealed for (vault, key, version).
    pub sealed: Sealed,
    /// When it was written.
    pub created_at: Timestamp,
    /// From when on it counts as absent.
    pub expires_at: Option<Timestamp>,
    /// The version that it was brought back from.
    pub restored_from: Option<u32>,
}

/// A new value for a credential.
#[derive(Debug, Clone)]
pub struct CredentialWrite<'a> {
    /// The vault.
    pub vault_id: Uuid,
    /// The name.
    pub key: &'a str,
    /// Where the value comes from.
    pub kind: CredentialType,
    /// What [`Tx::next_credential_version`] answered; `sealed` is bound to it.
    pub version: u32,
    /// The value, sealed for (vault, key, version).
    pub sealed: &'a Sealed,
    /// From when on it counts as absent.
    pub expires_at: Option<Timestamp>,
    /// The version that it is brought back from.
    pub restored_from: Option<u32>,
    /// Now.
    pub at: Timestamp,
}

impl Credential {
    /// The place that a credential's value is sealed for. `vault_id` is the hyphenated id.
    pub fn seal_context<'a>(vault_id: &'a str, key: &'a str, version: u32) -> SealContext<'a> {
        SealContext {
            kind: SealKind::Credential,
            owner: vault_id,
            name: key,
            version,
        }
    }
}

fn read(row: &Row) -> Result<Credential, StoreError> {
    Ok(Credential {
        id: row.id("id")?,
        vault_id: row.id("vault_id")?,
        key: row.text("key")?,
        kind: row.word("type")?,
        version: row.uint("version")?,
        sealed: row.sealed("sealed")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        expires_at: row.opt_time("expires_at")?,
        oauth: row
            .flag("has_grant")?
            .then(|| {
                Ok::<_, StoreError>(OAuthHealth {
                    connected: row.opt_time("connected_at")?.is_some(),
                    token_expires_at: row.opt_time("token_expires_at")?,
                    renewable: row.flag("renewable")?,
                })
            })
            .transpose()?,
    })
}

fn read_version(row: &Row) -> Result<CredentialVersion, StoreError> {
    Ok(CredentialVersion {
        version: row.uint("version")?,
        sealed: row.sealed("sealed")?,
        created_at: row.time("created_at")?,
        expires_at: row.opt_time("expires_at")?,
        restored_from: row
            .opt_int("restored_from")?
            .map(|version| u32::try_from(version).map_err(|_| row::unreadable("restored_from")))
            .transpose()?,
    })
}

pub(crate) async fn all_credentials(
    connection: &mut Connection,
) -> Result<Vec<Credential>, StoreError> {
    let rows = sqlx::query(
        "select c.id, c.vault_id, c.key, c.type, c.version, v.sealed, c.created_at, c.updated_at, v.expires_at,
             o.credential_id is not null as has_grant, o.connected_at, o.token_expires_at,
             coalesce(o.refresh_token is not null and o.refresh_refused = 0 and o.token_url not in ('', 'manual'), 0) as renewable
         from credentials c
         join credential_versions v on v.credential_id = c.id and v.version = c.version
         left join credential_oauth o on o.credential_id = c.id",
    )
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn credentials(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<Credential>, StoreError> {
    let rows = sqlx::query(
        "select c.id, c.vault_id, c.key, c.type, c.version, v.sealed, c.created_at, c.updated_at, v.expires_at,
             o.credential_id is not null as has_grant, o.connected_at, o.token_expires_at,
             coalesce(o.refresh_token is not null and o.refresh_refused = 0 and o.token_url not in ('', 'manual'), 0) as renewable
         from credentials c
         join credential_versions v on v.credential_id = c.id and v.version = c.version
         left join credential_oauth o on o.credential_id = c.id
         where c.vault_id = $1 order by c.key",
    )
    .bind(vault_id.to_string())
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

async fn credential(
    connection: &mut Connection,
    vault_id: Uuid,
    key: &str,
) -> Result<Option<Credential>, StoreError> {
    let row = sqlx::query(
        "select c.id, c.vault_id, c.key, c.type, c.version, v.sealed, c.created_at, c.updated_at, v.expires_at,
             o.credential_id is not null as has_grant, o.connected_at, o.token_expires_at,
             coalesce(o.refresh_token is not null and o.refresh_refused = 0 and o.token_url not in ('', 'manual'), 0) as renewable
         from credentials c
         join credential_versions v on v.credential_id = c.id and v.version = c.version
         left join credential_oauth o on o.credential_id = c.id
         where c.vault_id = $1 and c.key = $2",
    )
    .bind(vault_id.to_string())
    .bind(key)
    .fetch_optional(connection)
    .await?;
    row::one(row, read)
}

async fn credential_keys(
    connection: &mut Connection,
    vault_id: Uuid,
) -> Result<Vec<String>, StoreError> {
    Ok(
        sqlx::query_scalar("select key from credentials where vault_id = $1 order by key")
            .bind(vault_id.to_string())
            .fetch_all(connection)
            .await?,
    )
}

async fn credential_versions(
    connection: &mut Connection,
    vault_id: Uuid,
    key: &str,
) -> Result<Vec<CredentialVersion>, StoreError> {
    let rows = sqlx::query(
        "select v.version, v.sealed, v.created_at, v.expires_at, v.restored_from
         from credential_versions v join credentials c on c.id = v.credential_id
         where c.vault_id = $1 and c.key = $2 order by v.version desc",
    )
    .bind(vault_id.to_string())
    .bind(key)
    .fetch_all(connection)
    .await?;
    row::all(rows, read_version)
}

async fn live_credential_keys(
    connection: &mut Connection,
    vault_id: Uuid,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "select c.key from credentials c
         join credential_versions v on v.credential_id = c.id and v.version = c.version
         where c.vault_id = $1 and (v.expires_at is null or v.expires_at > $2) order by c.key",
    )
    .bind(vault_id.to_string())
    .bind(now.as_millisecond())
    .fetch_all(connection)
    .await?)
}

reads! {
    /// A vault's credentials, by key.
    credentials(vault_id: Uuid) -> Vec<Credential>;
    /// One credential of a vault.
    credential(vault_id: Uuid, key: &str) -> Option<Credential>;
    /// The names of a vault's credentials, sorted.
    credential_keys(vault_id: Uuid) -> Vec<String>;
    /// The names of those whose value has not ended by `now`, sorted.
    live_credential_keys(vault_id: Uuid, now: Timestamp) -> Vec<String>;
    /// The values of a credential that are kept, the newest first; none for an unknown one.
    credential_versions(vault_id: Uuid, key: &str) -> Vec<CredentialVersion>;
}

impl Tx {
    /// The version that the next value of this credential must be sealed for.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn next_credential_version(
        &mut self,
        vault_id: Uuid,
        key: &str,
    ) -> Result<u32, StoreError> {
        let current = self
            .head(vault_id, key)
            .await?
            .map_or(0, |(_, version)| version);
        current
            .checked_add(1)
            .ok_or_else(|| StoreError::conflict("the credential has had too many versions"))
    }

    /// Writes a new value: adds the credential, or its next version, and forgets versions beyond
    /// [`MAX_CREDENTIAL_VERSIONS`].
    ///
    /// # Errors
    /// `Conflict` when `version` is not the next one, `NotFound` when there is no such vault.
    pub async fn put_credential(&mut self, write: &CredentialWrite<'_>) -> Result<(), StoreError> {
        let head = self.head(write.vault_id, write.key).await?;
        let expected = head
            .as_ref()
            .map_or(Some(1), |(_, version)| version.checked_add(1));
        if expected != Some(write.version) {
            return Err(StoreError::conflict(
                "the credential was changed in the meantime",
            ));
        }
        let at = write.at.as_millisecond();
        let id = match head {
            Some((id, _)) => {
                sqlx::query(
                    "update credentials set type = $2, version = $3, updated_at = $4 where id = $1",
                )
                .bind(&id)
                .bind(write.kind.as_str())
                .bind(i64::from(write.version))
                .bind(at)
                .execute(self.connection())
                .await?;
                if write.kind != CredentialType::OAuth {
                    // A value that was typed in is not fetched anew: the grant behind the former one goes.
                    sqlx::query("delete from credential_oauth where credential_id = $1")
                        .bind(&id)
                        .execute(self.connection())
                        .await?;
                }
                id
            }
            None => {
                let id = Uuid::new_v4().to_string();
                sqlx::query(
                    "insert into credentials (id, vault_id, key, type, version, created_at, updated_at)
                     values ($1, $2, $3, $4, $5, $6, $6)",
                )
                .bind(&id)
                .bind(write.vault_id.to_string())
                .bind(write.key)
                .bind(write.kind.as_str())
                .bind(i64::from(write.version))
                .bind(at)
                .execute(self.connection())
                .await?;
                id
            }
        };
        sqlx::query(
            "insert into credential_versions (credential_id, version, sealed, created_at, expires_at, restored_from)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&id)
        .bind(i64::from(write.version))
        .bind(write.sealed.as_bytes())
        .bind(at)
        .bind(write.expires_at.map(Timestamp::as_millisecond))
        .bind(write.restored_from.map(i64::from))
        .execute(self.connection())
        .await?;
        sqlx::query("delete from credential_versions where credential_id = $1 and version <= $2")
            .bind(&id)
            .bind(i64::from(write.version) - i64::from(MAX_CREDENTIAL_VERSIONS))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    /// Sets from when on the current value counts as absent, or takes that away. Answers whether the credential exists.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn set_credential_expiry(
        &mut self,
        vault_id: Uuid,
        key: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "update credential_versions set expires_at = $3
             where (credential_id, version) = (select id, version from credentials where vault_id = $1 and key = $2)",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .bind(expires_at.map(Timestamp::as_millisecond))
        .execute(self.connection())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Removes one former value. The current one stays whatever is asked. Answers whether one was removed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_credential_version(
        &mut self,
        vault_id: Uuid,
        key: &str,
        version: u32,
    ) -> Result<bool, StoreError> {
        let deleted = sqlx::query(
            "delete from credential_versions where version = $3 and credential_id in
                 (select id from credentials where vault_id = $1 and key = $2 and version <> $3)",
        )
        .bind(vault_id.to_string())
        .bind(key)
        .bind(i64::from(version))
        .execute(self.connection())
        .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Removes a credential with all its versions. Answers whether it existed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written.
    pub async fn delete_credential(
        &mut self,
        vault_id: Uuid,
        key: &str,
    ) -> Result<bool, StoreError> {
        let deleted = sqlx::query("delete from credentials where vault_id = $1 and key = $2")
            .bind(vault_id.to_string())
            .bind(key)
            .execute(self.connection())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    async fn head(
        &mut self,
        vault_id: Uuid,
        key: &str,
    ) -> Result<Option<(String, u32)>, StoreError> {
        let row =
            sqlx::query("select id, version from credentials where vault_id = $1 and key = $2")
                .bind(vault_id.to_string())
                .bind(key)
                .fetch_optional(self.connection())
                .await?;
        row::one(row, |row| Ok((row.text("id")?, row.uint("version")?)))
    }
}
