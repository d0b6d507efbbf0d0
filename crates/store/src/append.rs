//! Appending to the request log: a batch of requests in one transaction and few statements.
//!
//! What repeats (vault, actor, session, host, service, …) is stored once as a source and remembered here, so that a row
//! binds nine small values. Tens of thousands of requests a second must not cost more to log than to serve.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Row as _};

use crate::dialect::{Connection, insert_logs};
use crate::logs::{MAX_KEYS, MAX_PATH_CHARS, MAX_TEXT_CHARS, cut};
use crate::{LogRow, Store, StoreError};

/// Sources that are remembered; all are forgotten when there are more.
const MAX_SOURCES: usize = 4096;
/// How long one is used without being stored again; well below the age at which unused ones are deleted.
const SOURCE_LIFE: Duration = Duration::from_secs(3600);

/// Rows per statement, largest first; a batch is cut into these.
static STATEMENTS: LazyLock<[(usize, &'static str); 4]> =
    LazyLock::new(|| [256, 32, 4, 1].map(|rows| (rows, insert_logs(rows))));

/// What many requests have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    vault_id: uuid::Uuid,
    actor: Option<crate::ActorRef>,
    session_id: String,
    label: String,
    ingress: String,
    host: String,
    matched_service: String,
    credential_keys: Vec<String>,
    auth_scheme: String,
    auth_header: String,
    decision: String,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    vault_no: i64,
    id: i64,
    since: Instant,
}

/// The sources that this process has stored.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<HashMap<Source, Stored>>);

impl Sources {
    fn get(&self, source: &Source) -> Option<Stored> {
        self.lock()
            .get(source)
            .copied()
            .filter(|stored| stored.since.elapsed() < SOURCE_LIFE)
    }

    fn put(&self, source: Source, stored: Stored) {
        let mut sources = self.lock();
        if sources.len() >= MAX_SOURCES {
            sources.clear();
        }
        sources.insert(source, stored);
    }

    fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Source, Stored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Appends requests in one transaction; answers how many were kept. A row whose vault is gone is
    /// left out and harms no other. Text that is too long is cut. Not a management action: no audit
    /// record, no new version.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then none of the rows stay.
    pub async fn append_logs(&self, rows: &[LogRow]) -> Result<usize, StoreError> {
        if rows.is_empty() {
            return Ok(0);
        }
        let mut writer = self.writer().await?;
        let mut transaction = writer.begin_with(crate::dialect::BEGIN_WRITE).await?;
        let appended = self.append(&mut transaction, rows).await;
        match appended {
            Ok(kept) => {
                transaction.commit().await?;
                Ok(kept)
            }
            Err(error) => {
                // Sources of an undone transaction are not stored.
                self.log_sources().forget();
                Err(error)
            }
        }
    }

    async fn append(
        &self,
        connection: &mut Connection,
        rows: &[LogRow],
    ) -> Result<usize, StoreError> {
        let vaults: Vec<i64> = sqlx::query_scalar("select no from request_log_vaults")
            .fetch_all(&mut *connection)
            .await?;
        let mut vaults: std::collections::HashSet<i64> = vaults.into_iter().collect();
        let mut placed = Vec::with_capacity(rows.len());
        for row in rows {
            let source = Source::of(row);
            let known = self
                .log_sources()
                .get(&source)
                .filter(|stored| vaults.contains(&stored.vault_no));
            let stored = match known {
                Some(stored) => stored,
                None => match store_source(connection, &source, row).await? {
                    Some(stored) => {
                        vaults.insert(stored.vault_no);
                        self.log_sources().put(source, stored);
                        stored
                    }
                    None => continue,
                },
            };
            placed.push((stored, row));
        }
        let mut left = placed.as_slice();
        for (size, sql) in STATEMENTS.iter() {
            while left.len() >= *size {
                let (now, rest) = left.split_at(*size);
                insert(connection, sql, now).await?;
                left = rest;
            }
        }
        Ok(placed.len())
    }
}

impl Source {
    fn of(row: &LogRow) -> Self {
        Self {
            vault_id: row.vault_id,
            actor: row.actor,
            session_id: row.session_id.clone(),
            label: row.label.clone(),
            ingress: row.ingress.clone(),
            host: row.host.clone(),
            matched_service: row.matched_service.clone(),
            credential_keys: row.credential_keys.clone(),
            auth_scheme: row.auth_scheme.clone(),
            auth_header: row.auth_header.clone(),
            decision: row.decision.clone(),
        }
    }
}

/// Stores a source; `None` when its vault is gone.
async fn store_source(
    connection: &mut Connection,
    source: &Source,
    row: &LogRow,
) -> Result<Option<Stored>, StoreError> {
    let vault = source.vault_id.to_string();
    sqlx::query(
        "insert into request_log_vaults (vault_id) select id from vaults where id = $1 on conflict do nothing",
    )
    .bind(&vault)
    .execute(&mut *connection)
    .await?;
    let vault_no: Option<i64> =
        sqlx::query_scalar("select no from request_log_vaults where vault_id = $1")
            .bind(&vault)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(vault_no) = vault_no else {
        return Ok(None);
    };
    let stored = sqlx::query(
        "insert into request_log_sources (vault_no, actor_type, actor_id, session_id, label, ingress, host,
             matched_service, credential_keys, auth_scheme, auth_header, decision, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) returning id",
    )
    .bind(vault_no)
    .bind(source.actor.map_or("", |actor| actor.kind.as_str()))
    .bind(source.actor.map(|actor| actor.id.to_string()).unwrap_or_default())
    .bind(cut(&source.session_id, MAX_TEXT_CHARS))
    .bind(cut(&source.label, MAX_TEXT_CHARS))
    .bind(cut(&source.ingress, MAX_TEXT_CHARS))
    .bind(cut(&source.host, MAX_TEXT_CHARS))
    .bind(cut(&source.matched_service, MAX_TEXT_CHARS))
    .bind(list(&source.credential_keys))
    .bind(cut(&source.auth_scheme, MAX_TEXT_CHARS))
    .bind(cut(&source.auth_header, MAX_TEXT_CHARS))
    .bind(cut(&source.decision, MAX_TEXT_CHARS))
    .bind(row.created_at.as_millisecond())
    .fetch_one(connection)
    .await?;
    Ok(Some(Stored {
        vault_no,
        id: stored.try_get("id")?,
        since: Instant::now(),
    }))
}

async fn insert(
    connection: &mut Connection,
    sql: &'static str,
    rows: &[(Stored, &LogRow)],
) -> Result<(), StoreError> {
    let mut query = sqlx::query(sql);
    for (stored, row) in rows {
        query = query
            .bind(stored.vault_no)
            .bind(stored.id)
            .bind(cut(&row.method, MAX_TEXT_CHARS))
            .bind(cut(&row.path, MAX_PATH_CHARS))
            .bind(i64::from(row.status))
            .bind(i64::from(row.latency_ms))
            .bind(cut(&row.error_code, MAX_TEXT_CHARS))
            .bind(list(&row.warnings))
            .bind(row.created_at.as_millisecond());
    }
    query.execute(connection).await?;
    Ok(())
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() {
        return String::from("[]");
    }
    let kept: Vec<String> = texts
        .iter()
        .take(MAX_KEYS)
        .map(|text| cut(text, MAX_TEXT_CHARS))
        .collect();
    serde_json::Value::from(kept).to_string()
}
