//! The audit log: one record for each management commit, each hashing the one before.

use std::path::Path;

use agent_vault_seal::audit::{Canonical, GENESIS, chain_hash};
use jiff::Timestamp;
use sqlx::Connection as _;

use crate::actors::words;
use crate::dialect::{self, Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{AuditChain, AuditVerdict, Store, StoreError, audit_cut, migrate};

/// Records that are read at once while verifying.
const VERIFY_BATCH: i64 = 1000;
/// Longest record text field, in characters; longer ones are cut.
const MAX_FIELD_CHARS: usize = 4096;
/// Largest page of records.
pub const MAX_AUDIT_PAGE: u32 = 500;
/// What new records are hashed as.
const FORMAT: u32 = 2;

words! {
    /// What kind of principal did it.
    AuditActor("audit actor") {
        /// A person, by login.
        User = "user",
        /// An agent, by its token.
        Agent = "agent",
        /// A session bound to one vault; the id is its public id.
        Scoped = "scoped",
        /// The operator of the machine, working on the data folder directly.
        Local = "local",
        /// The program itself, for example at its first start.
        System = "system",
    }
}

words! {
    /// How it ended.
    AuditOutcome("audit outcome") {
        /// It was done.
        Done = "done",
        /// It was refused, and nothing was changed.
        Refused = "refused",
    }
}

/// What a commit is recorded as. Never put a secret in any field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// What kind of principal did it.
    pub actor_type: AuditActor,
    /// Which one: a user, agent or session id; empty for the local operator and the program.
    pub actor_id: String,
    /// What it is called: an address, an agent's name, a session's label; may be empty.
    pub actor_name: String,
    /// The client's address; empty on this machine and for what the program does by itself.
    pub source: String,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// What was done, as `noun.verb`.
    pub action: String,
    /// To what, for example `vault:default/credential:STRIPE_KEY`.
    pub target: String,
    /// More, as a JSON object; `{}` for nothing.
    pub detail: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

impl AuditEntry {
    /// An act of the program itself.
    pub fn system(action: impl Into<String>, target: impl Into<String>, at: Timestamp) -> Self {
        Self {
            actor_type: AuditActor::System,
            actor_id: String::new(),
            actor_name: String::new(),
            source: String::new(),
            outcome: AuditOutcome::Done,
            action: action.into(),
            target: target.into(),
            detail: serde_json::Value::Object(serde_json::Map::new()),
            at,
        }
    }
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// What kind of principal did it.
    pub actor_type: AuditActor,
    /// Which one.
    pub actor_id: String,
    /// What it was called then.
    pub actor_name: String,
    /// From which address; empty on this machine.
    pub source: String,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// What was done.
    pub action: String,
    /// To what.
    pub target: String,
    /// More, as JSON text.
    pub detail: String,
    /// When.
    pub at: Timestamp,
    /// The hash of the record before; zeros for the first.
    pub previous: [u8; 32],
    /// This record's hash.
    pub hash: [u8; 32],
    /// Which fields the hash covers: 1 for those of the first release, 2 for all.
    pub format: u32,
}

/// Which records to read. `default()` is the newest of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Records of the page, up to [`MAX_AUDIT_PAGE`]; 0 for 50.
    pub limit: u32,
    /// The newest that are older than this one.
    pub before: Option<i64>,
    /// The oldest that are newer than this one, oldest first. Wins over `before`.
    pub after: Option<i64>,
    /// Only of the actor with this id or name.
    pub actor: Option<String>,
    /// Only of this kind of principal.
    pub actor_type: Option<AuditActor>,
    /// Only this action, or those of this noun.
    pub action: Option<String>,
    /// Only where this text is in the target.
    pub target: Option<String>,
    /// Only what ended so.
    pub outcome: Option<AuditOutcome>,
    /// Only from this address.
    pub source: Option<String>,
    /// Only at this time or later.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
}

impl AuditRecord {
    /// The hash that the record should have.
    pub(crate) fn computed_hash(&self) -> [u8; 32] {
        let canonical = Canonical::new()
            .number(self.seq)
            .number(self.at.as_millisecond())
            .text(self.actor_type.as_str())
            .text(&self.actor_id)
            .text(&self.action)
            .text(&self.target)
            .text(&self.detail);
        // Each field lies behind its length, so bytes of one format are never those of another.
        let canonical = match self.format {
            1 => canonical,
            _ => canonical
                .text(&self.actor_name)
                .text(&self.source)
                .text(self.outcome.as_str()),
        };
        chain_hash(&self.previous, canonical.as_bytes())
    }
}

/// Appends a record. The caller's transaction holds the writer, so the tail cannot move.
pub(crate) async fn append(
    connection: &mut Connection,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let tail = sqlx::query("select seq, hash from audit_log order by seq desc limit 1")
        .fetch_optional(&mut *connection)
        .await?;
    let (seq, previous) = match row::one(tail, |row| Ok((row.int("seq")?, hash(row, "hash")?)))? {
        Some((seq, hash)) => (seq.saturating_add(1), hash),
        None => (1, GENESIS),
    };
    let mut record = AuditRecord {
        seq,
        actor_type: entry.actor_type,
        actor_id: cut(&entry.actor_id),
        actor_name: cut(&entry.actor_name),
        source: cut(&entry.source),
        outcome: entry.outcome,
        action: cut(&entry.action),
        target: cut(&entry.target),
        detail: detail(&entry.detail),
        // The column holds milliseconds; hash what will be read back.
        at: Timestamp::from_millisecond(entry.at.as_millisecond()).unwrap_or(entry.at),
        previous,
        hash: GENESIS,
        format: FORMAT,
    };
    record.hash = record.computed_hash();
    sqlx::query(
        "insert into audit_log (seq, at, actor_type, actor_id, action, target, detail, previous, hash, format, actor_name,
             source, outcome)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(record.seq)
    .bind(record.at.as_millisecond())
    .bind(record.actor_type.as_str())
    .bind(&record.actor_id)
    .bind(&record.action)
    .bind(&record.target)
    .bind(&record.detail)
    .bind(record.previous.as_slice())
    .bind(record.hash.as_slice())
    .bind(i64::from(record.format))
    .bind(&record.actor_name)
    .bind(&record.source)
    .bind(record.outcome.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\0')
        .take(MAX_FIELD_CHARS)
        .collect()
}

/// The detail as JSON text; one that is too long is replaced whole, since half a JSON text is none.
fn detail(detail: &serde_json::Value) -> String {
    let text = detail.to_string();
    if text.chars().count() > MAX_FIELD_CHARS {
        r#"{"truncated":true}"#.to_owned()
    } else {
        text
    }
}

fn read(row: &Row) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        seq: row.int("seq")?,
        actor_type: row.word("actor_type")?,
        actor_id: row.text("actor_id")?,
        actor_name: row.text("actor_name")?,
        source: row.text("source")?,
        outcome: row.word("outcome")?,
        action: row.text("action")?,
        target: row.text("target")?,
        detail: row.text("detail")?,
        at: row.time("at")?,
        previous: hash(row, "previous")?,
        hash: hash(row, "hash")?,
        format: row.uint("format")?,
    })
}

pub(crate) fn hash(row: &Row, column: &'static str) -> Result<[u8; 32], StoreError> {
    row.bytes(column)?
        .try_into()
        .map_err(|_| unreadable(column))
}

/// The columns of a record.
macro_rules! record_columns {
    () => {
        "seq, at, actor_type, actor_id, action, target, detail, previous, hash, format, actor_name, source, outcome"
    };
}

/// A page in one direction; an empty text means no filter, so that one prepared statement serves every combination.
macro_rules! page_sql {
    ($beyond:literal, $order:literal) => {
        concat!(
            "select ",
            record_columns!(),
            " from audit_log where seq ",
            $beyond,
            " $1
                 and ($2 = '' or actor_id = $2 or actor_name = $2)
                 and ($3 = '' or actor_type = $3)
                 and ($4 = '' or action = $4 or substr(action, 1, length($4) + 1) = $4 || '.')
                 and ($5 = '' or instr(target, $5) > 0)
                 and ($6 = '' or outcome = $6)
                 and ($7 = '' or source = $7)
                 and at >= $8 and at < $9
             order by seq ",
            $order,
            " limit $10"
        )
    };
}

async fn audit_records(
    connection: &mut Connection,
    query: &AuditQuery,
) -> Result<Vec<AuditRecord>, StoreError> {
    let limit = match query.limit {
        0 => 50,
        limit => limit.min(MAX_AUDIT_PAGE),
    };
    let (sql, bound) = match (query.after, query.before) {
        (Some(after), _) => (page_sql!(">", "asc"), after),
        (None, before) => (page_sql!("<", "desc"), before.unwrap_or(i64::MAX)),
    };
    let time = |bound: Option<Timestamp>, open| bound.map_or(open, Timestamp::as_millisecond);
    let rows = sqlx::query(sql)
        .bind(bound)
        .bind(query.actor.as_deref().unwrap_or_default())
        .bind(query.actor_type.map(AuditActor::as_str).unwrap_or_default())
        .bind(query.action.as_deref().unwrap_or_default())
        .bind(query.target.as_deref().unwrap_or_default())
        .bind(query.outcome.map(AuditOutcome::as_str).unwrap_or_default())
        .bind(query.source.as_deref().unwrap_or_default())
        .bind(time(query.since, i64::MIN))
        .bind(time(query.until, i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(connection)
        .await?;
    row::all(rows, read)
}

async fn audit_page(
    connection: &mut Connection,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRecord>, StoreError> {
    let query = AuditQuery {
        limit,
        before,
        ..AuditQuery::default()
    };
    audit_records(connection, &query).await
}

reads! {
    /// Audit records, newest first, at most 500, those before `before` only.
    audit_page(before: Option<i64>, limit: u32) -> Vec<AuditRecord>;
    /// Audit records that fit.
    audit_records(query: &AuditQuery) -> Vec<AuditRecord>;
}

impl Store {
    /// Checks the whole chain, in batches.
    ///
    /// Finds any record that was changed, removed or inserted by something other than this program.
    /// Records cut off the end, or a chain rebuilt from some point, are found only by comparing
    /// the head with one that was kept elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        let mut connection = self.reader().await?;
        // One state of the database, whatever is appended or cut meanwhile.
        let mut snapshot = connection.begin().await?;
        let verdict = verify(&mut snapshot).await?;
        snapshot.commit().await?;
        Ok(verdict)
    }
}

/// Checks the chain of a database file as [`Store::verify_audit`] does, without opening it as a store: nothing is migrated, made
/// or unlocked, and a server may be running on it.
///
/// # Errors
/// `NotWritable` when there is no such file, `Damaged` when it is no database of ours, `NewerSchema`.
pub async fn verify_audit_file(path: &Path) -> Result<AuditVerdict, StoreError> {
    let verified = async {
        // SQLite would make an empty one.
        std::fs::metadata(path).map_err(|error| StoreError::file("read", path, error))?;
        let mut connection = dialect::connect_to_read(path).await?;
        migrate::check_readable(&mut connection).await?;
        let mut snapshot = connection.begin().await?;
        verify(&mut snapshot).await
    };
    verified.await.map_err(|error: StoreError| error.at(path))
}

async fn verify(connection: &mut Connection) -> Result<AuditVerdict, StoreError> {
    let mut chain = AuditChain::new(audit_cut::read(connection).await?);
    // From the very bottom, so that a record slipped in below the first one is met.
    let mut after = i64::MIN;
    loop {
        let rows = sqlx::query(concat!(
            "select ",
            record_columns!(),
            " from audit_log where seq > $1 order by seq limit $2"
        ))
        .bind(after)
        .bind(VERIFY_BATCH)
        .fetch_all(&mut *connection)
        .await?;
        if rows.is_empty() {
            return Ok(chain.end());
        }
        for row in &rows {
            // A row that cannot even be read was tampered with too.
            match read(row) {
                Ok(record) if chain.push(&record) => after = record.seq,
                Ok(_) | Err(_) => return Ok(chain.broken()),
            }
        }
    }
}
