//! Appending to the request log: a batch of requests in one transaction and few statements.
//!
//! What repeats (vault, actor, session, host, service, status, …) is stored once as a source and remembered here, so that
//! a row binds seven small values. Tens of thousands of requests a second must not cost more to log than to serve.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::{Connection as _, Row as _};
use uuid::Uuid;

use crate::dialect::{Connection, insert_logs};
use crate::logs::{MAX_KEYS, MAX_PATH_CHARS, MAX_TEXT_CHARS, cut};
use crate::{ActorRef, LogRow, Store, StoreError};

/// Sources that are remembered; all are forgotten when there are more.
const MAX_SOURCES: usize = 4096;
/// How long one is used without being stored again; well below the age at which unused ones are deleted.
const SOURCE_LIFE: Duration = Duration::from_secs(3600);

/// Rows per statement, largest first; a batch is cut into these.
static STATEMENTS: LazyLock<[(usize, &'static str); 4]> =
    LazyLock::new(|| [256, 32, 4, 1].map(|rows| (rows, insert_logs(rows))));

/// One request, to be appended, borrowed from whoever has it. The fields are those of [`LogRow`].
#[derive(Debug, Clone, Copy)]
#[expect(
    missing_docs,
    reason = "documented at the fields of the same names in `LogRow`"
)]
pub struct LogAppend<'a> {
    pub vault_id: Uuid,
    pub actor: Option<ActorRef>,
    pub session_id: &'a str,
    pub label: &'a str,
    pub ingress: &'a str,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub matched_service: &'a str,
    pub credential_keys: &'a [String],
    pub status: u16,
    pub latency_ms: u32,
    pub error_code: &'a str,
    pub auth_scheme: &'a str,
    pub auth_header: &'a str,
    pub decision: &'a str,
    pub warnings: &'a [String],
    pub scrubs: u32,
    pub created_at: Timestamp,
}

/// What many requests have in common.
#[derive(Debug)]
struct Source {
    vault_id: Uuid,
    actor: Option<ActorRef>,
    texts: [String; 10],
    status: u16,
    credential_keys: Vec<String>,
    warnings: Vec<String>,
}

impl Source {
    fn of(row: &LogAppend<'_>) -> Self {
        Self {
            vault_id: row.vault_id,
            actor: row.actor,
            texts: row.common().map(str::to_owned),
            status: row.status,
            credential_keys: row.credential_keys.to_vec(),
            warnings: row.warnings.to_vec(),
        }
    }

    fn is_of(&self, row: &LogAppend<'_>) -> bool {
        self.vault_id == row.vault_id
            && self.actor == row.actor
            && self
                .texts
                .iter()
                .zip(row.common())
                .all(|(own, of)| own == of)
            && self.status == row.status
            && self.credential_keys == row.credential_keys
            && self.warnings == row.warnings
    }
}

impl<'a> LogAppend<'a> {
    /// Whether both are of one source.
    fn is_alike(&self, other: &LogAppend<'_>) -> bool {
        self.vault_id == other.vault_id
            && self.actor == other.actor
            && self.common() == other.common()
            && self.status == other.status
            && self.credential_keys == other.credential_keys
            && self.warnings == other.warnings
    }

    /// The texts that a source holds.
    fn common(&self) -> [&'a str; 10] {
        [
            self.session_id,
            self.label,
            self.ingress,
            self.host,
            self.matched_service,
            self.auth_scheme,
            self.auth_header,
            self.decision,
            self.method,
            self.error_code,
        ]
    }
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    vault_no: i64,
    id: i64,
    since: Instant,
}

/// The sources that this process has stored, by the hash of what they are compared by.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    hashing: RandomState,
    stored: Mutex<HashMap<u64, (Source, Stored)>>,
}

impl Sources {
    fn get(&self, row: &LogAppend<'_>) -> Option<Stored> {
        self.lock()
            .get(&self.hash(row))
            .filter(|(source, stored)| source.is_of(row) && stored.since.elapsed() < SOURCE_LIFE)
            .map(|(_, stored)| *stored)
    }

    fn put(&self, row: &LogAppend<'_>, stored: Stored) {
        let mut sources = self.lock();
        if sources.len() >= MAX_SOURCES {
            sources.clear();
        }
        sources.insert(self.hash(row), (Source::of(row), stored));
    }

    fn forget(&self) {
        self.lock().clear();
    }

    fn hash(&self, row: &LogAppend<'_>) -> u64 {
        self.hashing.hash_one((
            row.vault_id,
            row.actor,
            row.common(),
            row.status,
            row.credential_keys,
            row.warnings,
        ))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Source, Stored)>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Appends requests in one transaction; answers how many were kept. A row whose vault is gone is
    /// left out and harms no other. Text that is too long is cut. Not a management action: no audit
    /// record, no new version.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; then none of the rows stay.
    pub async fn append_logs(&self, rows: &[LogAppend<'_>]) -> Result<usize, StoreError> {
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
        rows: &[LogAppend<'_>],
    ) -> Result<usize, StoreError> {
        let vaults: Vec<i64> = sqlx::query_scalar("select no from request_log_vaults")
            .fetch_all(&mut *connection)
            .await?;
        let mut vaults: HashSet<i64> = vaults.into_iter().collect();
        let mut placed: Vec<(Stored, &LogAppend<'_>)> = Vec::with_capacity(rows.len());
        for row in rows {
            // Requests come in runs: what one agent does in a second.
            let known = placed
                .last()
                .filter(|(_, previous)| previous.is_alike(row))
                .map(|(stored, _)| *stored)
                .or_else(|| self.log_sources().get(row))
                .filter(|stored| vaults.contains(&stored.vault_no));
            let stored = match known {
                Some(stored) => stored,
                None => match store_source(connection, row).await? {
                    Some(stored) => {
                        vaults.insert(stored.vault_no);
                        self.log_sources().put(row, stored);
                        stored
                    }
                    None => continue,
                },
            };
            placed.push((stored, row));
        }
        let count = i64::try_from(placed.len()).unwrap_or(i64::MAX);
        let mut next: i64 = sqlx::query_scalar(
            "update request_log_sequence set next = next + $1 returning next - $1",
        )
        .bind(count)
        .fetch_one(&mut *connection)
        .await?;
        let mut left = placed.as_slice();
        for (size, sql) in STATEMENTS.iter() {
            while left.len() >= *size {
                let (now, rest) = left.split_at(*size);
                next = insert(connection, sql, now, next).await?;
                left = rest;
            }
        }
        Ok(placed.len())
    }
}

impl LogRow {
    /// The row, to be appended.
    #[must_use]
    pub fn as_append(&self) -> LogAppend<'_> {
        LogAppend {
            vault_id: self.vault_id,
            actor: self.actor,
            session_id: &self.session_id,
            label: &self.label,
            ingress: &self.ingress,
            method: &self.method,
            host: &self.host,
            path: &self.path,
            matched_service: &self.matched_service,
            credential_keys: &self.credential_keys,
            status: self.status,
            latency_ms: self.latency_ms,
            error_code: &self.error_code,
            auth_scheme: &self.auth_scheme,
            auth_header: &self.auth_header,
            decision: &self.decision,
            warnings: &self.warnings,
            scrubs: self.scrubs,
            created_at: self.created_at,
        }
    }
}

/// Stores a source; `None` when its vault is gone.
async fn store_source(
    connection: &mut Connection,
    row: &LogAppend<'_>,
) -> Result<Option<Stored>, StoreError> {
    let vault = row.vault_id.to_string();
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
        "insert into request_log_sources (vault_no, actor_type, actor_id, session_id, label, ingress, method, host,
             matched_service, credential_keys, status, error_code, auth_scheme, auth_header, decision, warnings,
             created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) returning id",
    )
    .bind(vault_no)
    .bind(row.actor.map_or("", |actor| actor.kind.as_str()))
    .bind(row.actor.map(|actor| actor.id.to_string()).unwrap_or_default())
    .bind(cut(row.session_id, MAX_TEXT_CHARS))
    .bind(cut(row.label, MAX_TEXT_CHARS))
    .bind(cut(row.ingress, MAX_TEXT_CHARS))
    .bind(cut(row.method, MAX_TEXT_CHARS))
    .bind(cut(row.host, MAX_TEXT_CHARS))
    .bind(cut(row.matched_service, MAX_TEXT_CHARS))
    .bind(list(row.credential_keys))
    .bind(i64::from(row.status))
    .bind(cut(row.error_code, MAX_TEXT_CHARS))
    .bind(cut(row.auth_scheme, MAX_TEXT_CHARS))
    .bind(cut(row.auth_header, MAX_TEXT_CHARS))
    .bind(cut(row.decision, MAX_TEXT_CHARS))
    .bind(list(row.warnings))
    .bind(row.created_at.as_millisecond())
    .fetch_one(connection)
    .await?;
    Ok(Some(Stored {
        vault_no,
        id: stored.try_get("id")?,
        since: Instant::now(),
    }))
}

/// Inserts rows that are numbered from `first` on; answers the number after them.
async fn insert(
    connection: &mut Connection,
    sql: &'static str,
    rows: &[(Stored, &LogAppend<'_>)],
    first: i64,
) -> Result<i64, StoreError> {
    let mut query = sqlx::query(sql);
    let mut next = first;
    for (stored, row) in rows {
        query = query
            .bind(stored.vault_no)
            .bind(next)
            .bind(stored.id)
            .bind(cut(row.path, MAX_PATH_CHARS))
            .bind(i64::from(row.latency_ms))
            .bind(i64::from(row.scrubs))
            .bind(row.created_at.as_millisecond());
        next += 1;
    }
    query.execute(connection).await?;
    Ok(next)
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
