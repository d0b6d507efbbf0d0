//! The request log, read in pages. `append.rs` writes it.

use jiff::Timestamp;
use uuid::Uuid;

use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{ActorRef, StoreError};

/// Rows of a page when the caller does not say.
pub const DEFAULT_LOG_PAGE: u32 = 50;
/// Most rows of a page.
pub const MAX_LOG_PAGE: u32 = 200;
/// Longest path that is kept, in characters.
pub(crate) const MAX_PATH_CHARS: usize = 2048;
/// Longest other text that is kept, in characters.
pub(crate) const MAX_TEXT_CHARS: usize = 300;
/// Most credential names, and most warnings, that are kept for one request.
pub(crate) const MAX_KEYS: usize = 64;

/// One request, to be appended. Names only: no values, no query string, no headers, no bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The vault that it went through.
    pub vault_id: Uuid,
    /// Who sent it, or who minted the scoped session that did.
    pub actor: Option<ActorRef>,
    /// The scoped session's public id; empty for an agent's own token.
    pub session_id: String,
    /// The scoped session's label.
    pub label: String,
    /// How it came in: `mitm`.
    pub ingress: String,
    /// The method.
    pub method: String,
    /// `host:port`.
    pub host: String,
    /// The decoded path as the client sent it, without the query.
    pub path: String,
    /// The service that matched; empty for none.
    pub matched_service: String,
    /// Names of the credentials that were injected or were to be.
    pub credential_keys: Vec<String>,
    /// The status that the client got; 0 when it got none.
    pub status: u16,
    /// Milliseconds from the request's head to its end.
    pub latency_ms: u32,
    /// Why it failed; empty on success.
    pub error_code: String,
    /// How the client itself authenticated: `bearer`, `basic`, `api-key` or empty.
    pub auth_scheme: String,
    /// In which header.
    pub auth_header: String,
    /// What policy said, for example `inject`, `forward` or `deny`.
    pub decision: String,
    /// What went through but deserves a look, such as `placeholder_unreplaced:KEY`.
    pub warnings: Vec<String>,
    /// How often an injected value was found in the answer, and replaced.
    pub scrubs: u32,
    /// When the request began.
    pub created_at: Timestamp,
}

/// A stored request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number: later requests have higher ones.
    pub id: i64,
    /// What was appended.
    pub row: LogRow,
    /// The actor's address or name today; empty when it is gone.
    pub actor_name: String,
}

/// From where a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogCursor {
    /// The newest rows.
    #[default]
    Newest,
    /// The newest rows that are older than this one.
    Before(i64),
    /// The oldest rows that are newer than this one, so that a burst is read in order and nothing is
    /// skipped.
    After(i64),
}

/// A class of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusBucket {
    /// Statuses of this hundred: 2 for 200 to 299, up to 5.
    Hundred(u8),
    /// An error code is set, or the status is 400 or more.
    Error,
}

impl StatusBucket {
    /// Reads `2xx`, `3xx`, `4xx`, `5xx` or `err`; anything else is no filter.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "2xx" => Some(Self::Hundred(2)),
            "3xx" => Some(Self::Hundred(3)),
            "4xx" => Some(Self::Hundred(4)),
            "5xx" => Some(Self::Hundred(5)),
            "err" => Some(Self::Error),
            _ => None,
        }
    }
}

/// Which rows of one vault's log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// The vault.
    pub vault_id: Uuid,
    /// Rows of the page, 1 to [`MAX_LOG_PAGE`]; others are brought into that range.
    pub limit: u32,
    /// From where.
    pub cursor: LogCursor,
    /// Only these outcomes.
    pub status: Option<StatusBucket>,
    /// Only requests that matched exactly this service.
    pub service: Option<String>,
    /// Only requests that came in this way.
    pub ingress: Option<String>,
    /// Only requests of the scoped session with this public id.
    pub session: Option<String>,
}

impl LogQuery {
    /// The newest [`DEFAULT_LOG_PAGE`] rows of a vault, unfiltered.
    pub fn newest(vault_id: Uuid) -> Self {
        Self {
            vault_id,
            limit: DEFAULT_LOG_PAGE,
            cursor: LogCursor::Newest,
            status: None,
            service: None,
            ingress: None,
            session: None,
        }
    }
}

/// A page of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// Newest first, always.
    pub logs: Vec<LogEntry>,
    /// What to pass as [`LogCursor::Before`] for the next older page; `None` at the end and when
    /// following with [`LogCursor::After`].
    pub next_cursor: Option<i64>,
    /// What to pass as [`LogCursor::After`] to follow from here.
    pub latest_id: i64,
}

async fn log_page(connection: &mut Connection, query: &LogQuery) -> Result<LogPage, StoreError> {
    let limit = query.limit.clamp(1, MAX_LOG_PAGE);
    let (sql, bound) = match query.cursor {
        LogCursor::Newest => (OLDER, i64::MAX),
        LogCursor::Before(id) => (OLDER, id),
        LogCursor::After(id) => (NEWER, id),
    };
    let (lowest, highest, errors) = match query.status {
        None => (0, i64::MAX, false),
        Some(StatusBucket::Hundred(hundred)) => (
            i64::from(hundred) * 100,
            i64::from(hundred) * 100 + 99,
            false,
        ),
        Some(StatusBucket::Error) => (0, i64::MAX, true),
    };
    let rows = sqlx::query(sql)
        .bind(query.vault_id.to_string())
        .bind(bound)
        .bind(lowest)
        .bind(highest)
        .bind(errors)
        .bind(query.service.as_deref().unwrap_or_default())
        .bind(query.ingress.as_deref().unwrap_or_default())
        .bind(query.session.as_deref().unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    let full = rows.len() >= limit as usize;
    let mut logs = row::all(rows, read)?;
    let following = match query.cursor {
        LogCursor::After(id) => {
            logs.reverse();
            Some(id)
        }
        _ => None,
    };
    Ok(LogPage {
        next_cursor: logs
            .last()
            .filter(|_| full && following.is_none())
            .map(|entry| entry.id),
        latest_id: logs
            .first()
            .map(|entry| entry.id)
            .or(following)
            .unwrap_or_default(),
        logs,
    })
}

reads! {
    /// A page of a vault's request log.
    log_page(query: &LogQuery) -> LogPage;
}

/// At most `max` characters. NUL, which a decoded path may hold and databases do not take in text,
/// becomes U+FFFD.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max && !text.contains('\0') {
        return text.to_owned();
    }
    text.chars()
        .take(max)
        .map(|c| {
            if c == '\0' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn read(row: &Row) -> Result<LogEntry, StoreError> {
    Ok(LogEntry {
        id: row.int("id")?,
        row: LogRow {
            vault_id: row.id("vault_id")?,
            actor: ActorRef::from_columns(
                Some(&row.text("actor_type")?),
                Some(&row.text("actor_id")?),
            ),
            session_id: row.text("session_id")?,
            label: row.text("label")?,
            ingress: row.text("ingress")?,
            method: row.text("method")?,
            host: row.text("host")?,
            path: row.text("path")?,
            matched_service: row.text("matched_service")?,
            credential_keys: serde_json::from_str(&row.text("credential_keys")?)
                .map_err(|_| unreadable("credential_keys"))?,
            status: u16::try_from(row.int("status")?).map_err(|_| unreadable("status"))?,
            latency_ms: row.uint("latency_ms")?,
            error_code: row.text("error_code")?,
            auth_scheme: row.text("auth_scheme")?,
            auth_header: row.text("auth_header")?,
            decision: row.text("decision")?,
            warnings: serde_json::from_str(&row.text("warnings")?)
                .map_err(|_| unreadable("warnings"))?,
            scrubs: row.uint("scrubs")?,
            created_at: row.time("created_at")?,
        },
        actor_name: row.text("actor_name")?,
    })
}

/// A page downwards from an id. An empty text means no filter, so that one prepared statement
/// serves every combination.
const OLDER: &str = "
    select l.id, l.vault_id, l.actor_type, l.actor_id, l.session_id, l.label, l.ingress, l.method, l.host, l.path,
        l.matched_service, l.credential_keys, l.status, l.latency_ms, l.error_code, l.auth_scheme, l.auth_header,
        l.decision, l.warnings, l.scrubs, l.created_at, coalesce(u.email, a.name, '') as actor_name
    from request_log l
    left join users u on l.actor_type = 'user' and u.id = l.actor_id
    left join agents a on l.actor_type = 'agent' and a.id = l.actor_id
    where l.vault_no = (select no from request_log_vaults where vault_id = $1) and l.id < $2
        and l.status between $3 and $4
        and ($5 = false or l.error_code <> '' or l.status >= 400)
        and ($6 = '' or l.matched_service = $6)
        and ($7 = '' or l.ingress = $7)
        and ($8 = '' or l.session_id = $8)
    order by l.id desc limit $9";

/// A page upwards from an id.
const NEWER: &str = "
    select l.id, l.vault_id, l.actor_type, l.actor_id, l.session_id, l.label, l.ingress, l.method, l.host, l.path,
        l.matched_service, l.credential_keys, l.status, l.latency_ms, l.error_code, l.auth_scheme, l.auth_header,
        l.decision, l.warnings, l.scrubs, l.created_at, coalesce(u.email, a.name, '') as actor_name
    from request_log l
    left join users u on l.actor_type = 'user' and u.id = l.actor_id
    left join agents a on l.actor_type = 'agent' and a.id = l.actor_id
    where l.vault_no = (select no from request_log_vaults where vault_id = $1) and l.id > $2
        and l.status between $3 and $4
        and ($5 = false or l.error_code <> '' or l.status >= 400)
        and ($6 = '' or l.matched_service = $6)
        and ($7 = '' or l.ingress = $7)
        and ($8 = '' or l.session_id = $8)
    order by l.id limit $9";
