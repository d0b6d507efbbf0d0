//! Sealing again, with the key in force, what older keys sealed: in small steps, each a transaction of its own, so that a
//! process killed at any point leaves every value readable and the rest for the next start.
//!
//! Every table with sealed values has its entry in [`PLACES`]. One that is forgotten there does no harm but one: its rows are
//! found by [`Store::sealed_with`], and then the old key stays.

use agent_vault_seal::{KeyId, Keyring, SealContext, SealError, SealKind, Sealed};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::dialect::BEGIN_WRITE;
use crate::row::Columns;
use crate::{CaRecord, Store, StoreError};

/// Values that one step seals again. The writer is free between steps.
const BATCH: i64 = 64;

/// Where sealed values lie.
struct Place {
    table: &'static str,
    kind: SealKind,
    /// Rows after `$1` that are not sealed with the key `$2`, `$3` of them: `row`, `sealed`, `owner`, `name`, `version`.
    select: &'static str,
    /// Puts `$2` in the place of `$3` in the row `$1`.
    update: &'static str,
}

static PLACES: &[Place] = &[
    Place {
        table: "credential_versions",
        kind: SealKind::Credential,
        select: "select v.rowid as row, v.sealed, c.vault_id as owner, c.key as name, v.version
                 from credential_versions v join credentials c on c.id = v.credential_id
                 where v.rowid > $1 and substr(v.sealed, 2, 8) <> $2 order by v.rowid limit $3",
        update: "update credential_versions set sealed = $2 where rowid = $1 and sealed = $3",
    },
    Place {
        table: "ca_state",
        kind: CaRecord::SEAL_CONTEXT.kind,
        select: "select rowid as row, root_key as sealed, 'instance' as owner, 'root' as name, 1 as version
                 from ca_state where rowid > $1 and substr(root_key, 2, 8) <> $2 order by rowid limit $3",
        update: "update ca_state set root_key = $2 where rowid = $1 and root_key = $3",
    },
    Place {
        table: "email_codes",
        kind: SealKind::Person,
        select: "select rowid as row, sealed, user_id as owner, id as name, 1 as version
                 from email_codes where rowid > $1 and substr(sealed, 2, 8) <> $2 order by rowid limit $3",
        update: "update email_codes set sealed = $2 where rowid = $1 and sealed = $3",
    },
    Place {
        table: "user_totp",
        kind: SealKind::Person,
        select: "select rowid as row, sealed, user_id as owner, 'totp' as name, 1 as version
                 from user_totp where rowid > $1 and substr(sealed, 2, 8) <> $2 order by rowid limit $3",
        update: "update user_totp set sealed = $2 where rowid = $1 and sealed = $3",
    },
    Place {
        table: "credential_oauth",
        kind: SealKind::OAuth,
        select: "select o.rowid as row, o.client_secret as sealed, c.vault_id as owner, c.key || '/client_secret' as name,
                     1 as version
                 from credential_oauth o join credentials c on c.id = o.credential_id
                 where o.rowid > $1 and substr(o.client_secret, 2, 8) <> $2 order by o.rowid limit $3",
        update: "update credential_oauth set client_secret = $2 where rowid = $1 and client_secret = $3",
    },
    Place {
        table: "credential_oauth",
        kind: SealKind::OAuth,
        select: "select o.rowid as row, o.refresh_token as sealed, c.vault_id as owner, c.key || '/refresh_token' as name,
                     1 as version
                 from credential_oauth o join credentials c on c.id = o.credential_id
                 where o.rowid > $1 and substr(o.refresh_token, 2, 8) <> $2 order by o.rowid limit $3",
        update: "update credential_oauth set refresh_token = $2 where rowid = $1 and refresh_token = $3",
    },
    Place {
        table: "oauth_consents",
        kind: SealKind::OAuth,
        select: "select rowid as row, client_secret as sealed, vault_id as owner, 'consent/' || id || '/client_secret' as name,
                     1 as version
                 from oauth_consents where rowid > $1 and substr(client_secret, 2, 8) <> $2 order by rowid limit $3",
        update: "update oauth_consents set client_secret = $2 where rowid = $1 and client_secret = $3",
    },
    Place {
        table: "oauth_consents",
        kind: SealKind::OAuth,
        select: "select rowid as row, verifier as sealed, vault_id as owner, 'consent/' || id || '/verifier' as name,
                     1 as version
                 from oauth_consents where rowid > $1 and substr(verifier, 2, 8) <> $2 order by rowid limit $3",
        update: "update oauth_consents set verifier = $2 where rowid = $1 and verifier = $3",
    },
    Place {
        table: "proposal_values",
        kind: SealKind::Proposal,
        select: "select rowid as row, sealed, vault_id as owner, proposal_id || '/' || key as name, 1 as version
                 from proposal_values where rowid > $1 and substr(sealed, 2, 8) <> $2 order by rowid limit $3",
        update: "update proposal_values set sealed = $2 where rowid = $1 and sealed = $3",
    },
    Place {
        table: "webhook_secrets",
        kind: SealKind::Webhook,
        select: "select s.rowid as row, s.sealed, coalesce(w.vault_id, 'instance') as owner, w.id as name, s.version
                 from webhook_secrets s join webhooks w on w.id = s.webhook_id
                 where s.rowid > $1 and substr(s.sealed, 2, 8) <> $2 order by s.rowid limit $3",
        update: "update webhook_secrets set sealed = $2 where rowid = $1 and sealed = $3",
    },
];

/// How far a pass over all places has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResealPass {
    place: usize,
    row: i64,
    /// Values that were sealed again.
    pub resealed: u64,
    /// Values that no key opens. They stay as they are.
    pub unreadable: u64,
}

impl ResealPass {
    /// Whether every place was looked at.
    pub fn is_over(&self) -> bool {
        self.place >= PLACES.len()
    }
}

impl Store {
    /// One step of a pass: seals some values again with the key of `keyring` that seals.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then the step left nothing.
    pub async fn reseal_step(
        &self,
        keyring: &Keyring,
        pass: &mut ResealPass,
    ) -> Result<(), StoreError> {
        let Some(place) = PLACES.get(pass.place) else {
            return Ok(());
        };
        let mut next = *pass;
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(BEGIN_WRITE).await?;
        let rows = sqlx::query(place.select)
            .bind(pass.row)
            .bind(keyring.key_id().as_bytes().as_slice())
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        for row in &rows {
            next.row = row.int("row")?;
            let (owner, name) = (row.text("owner")?, row.text("name")?);
            let context = SealContext {
                kind: place.kind,
                owner: &owner,
                name: &name,
                version: row.uint("version")?,
            };
            let old = row.bytes("sealed")?;
            let Some(new) = again(keyring, &context, &old)? else {
                tracing::warn!(
                    table = place.table,
                    row = next.row,
                    "a sealed value opens with no key"
                );
                next.unreadable += 1;
                continue;
            };
            sqlx::query(place.update)
                .bind(next.row)
                .bind(new.as_bytes())
                .bind(old)
                .execute(&mut *transaction)
                .await?;
            next.resealed += 1;
        }
        transaction.commit().await?;
        if rows.is_empty() {
            next.place += 1;
            next.row = 0;
        }
        *pass = next;
        Ok(())
    }

    /// How many values each table holds that these keys have sealed, tables that this version does not know of included.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn sealed_with(&self, keys: &[KeyId]) -> Result<Vec<(String, u64)>, StoreError> {
        let mut connection = self.reader().await?;
        let mut snapshot = connection.begin().await?;
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c
             where m.type = 'table' and upper(c.type) = 'BLOB' order by 1, 2",
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let mut found = Vec::new();
        for (table, column) in columns {
            let (table_name, column) = (table.replace('"', "\"\""), column.replace('"', "\"\""));
            let sql = format!(
                "select count(*) from \"{table_name}\" where substr(\"{column}\", 2, 8) = $1"
            );
            let mut count = 0;
            for key in keys {
                // The names are those of our own schema, quoted.
                let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql.clone()))
                    .bind(key.as_bytes().as_slice())
                    .fetch_one(&mut *snapshot)
                    .await?;
                count += rows.unsigned_abs();
            }
            if count > 0 {
                found.push((table, count));
            }
        }
        snapshot.commit().await?;
        Ok(found)
    }
}

/// The value, sealed with the key in force; `None` when it does not open.
fn again(
    keyring: &Keyring,
    context: &SealContext<'_>,
    old: &[u8],
) -> Result<Option<Sealed>, StoreError> {
    let opened = Sealed::from_bytes(old.to_vec()).and_then(|sealed| keyring.open(context, &sealed));
    match opened {
        Ok(value) => match keyring.seal(context, value.expose()) {
            Ok(sealed) => Ok(Some(sealed)),
            Err(error) => Err(failed(error)),
        },
        Err(SealError::Tampered | SealError::UnknownKey { .. } | SealError::Format) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: SealError) -> StoreError {
    StoreError::new(
        crate::StoreErrorKind::Internal,
        format!("a value cannot be sealed: {error}"),
    )
}
