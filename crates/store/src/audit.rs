//! The audit log: one record for each management commit, each hashing the one before.

use agent_vault_seal::audit::{Canonical, GENESIS, chain_hash};
use jiff::Timestamp;

use crate::actors::words;
use crate::dialect::{Connection, Row};
use crate::row::{self, Columns, unreadable};
use crate::{Store, StoreError};

/// Records that are read at once while verifying.
const VERIFY_BATCH: i64 = 1000;
/// Longest record text field, in characters; longer ones are cut.
const MAX_FIELD_CHARS: usize = 4096;
/// Largest page of records.
const MAX_PAGE: u32 = 500;

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

/// What a commit is recorded as. Never put a secret in any field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// What kind of principal did it.
    pub actor_type: AuditActor,
    /// Which one: a user, agent or session id; empty for the local operator and the program.
    pub actor_id: String,
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
}

/// What checking the chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every record follows from the one before.
    Intact {
        /// How many there are.
        records: u64,
        /// The last one's hash. Kept elsewhere, it later proves that none were cut off the end.
        head: [u8; 32],
    },
    /// A record was changed, removed or inserted.
    Broken {
        /// The first record that does not follow.
        seq: i64,
    },
}

impl AuditRecord {
    fn computed_hash(&self) -> [u8; 32] {
        let canonical = Canonical::new()
            .number(self.seq)
            .number(self.at.as_millisecond())
            .text(self.actor_type.as_str())
            .text(&self.actor_id)
            .text(&self.action)
            .text(&self.target)
            .text(&self.detail);
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
        action: cut(&entry.action),
        target: cut(&entry.target),
        detail: detail(&entry.detail),
        // The column holds milliseconds; hash what will be read back.
        at: Timestamp::from_millisecond(entry.at.as_millisecond()).unwrap_or(entry.at),
        previous,
        hash: GENESIS,
    };
    record.hash = record.computed_hash();
    sqlx::query(
        "insert into audit_log (seq, at, actor_type, actor_id, action, target, detail, previous, hash)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
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
        action: row.text("action")?,
        target: row.text("target")?,
        detail: row.text("detail")?,
        at: row.time("at")?,
        previous: hash(row, "previous")?,
        hash: hash(row, "hash")?,
    })
}

fn hash(row: &Row, column: &'static str) -> Result<[u8; 32], StoreError> {
    row.bytes(column)?
        .try_into()
        .map_err(|_| unreadable(column))
}

async fn audit_page(
    connection: &mut Connection,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRecord>, StoreError> {
    let rows = sqlx::query(
        "select seq, at, actor_type, actor_id, action, target, detail, previous, hash
         from audit_log where seq < $1 order by seq desc limit $2",
    )
    .bind(before.unwrap_or(i64::MAX))
    .bind(i64::from(limit.min(MAX_PAGE)))
    .fetch_all(connection)
    .await?;
    row::all(rows, read)
}

reads! {
    /// Audit records, newest first, at most 500, those before `before` only.
    audit_page(before: Option<i64>, limit: u32) -> Vec<AuditRecord>;
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
        let (mut last, mut head) = (0_i64, GENESIS);
        // From the very bottom, so that a record slipped in below the first one is met.
        let mut after = i64::MIN;
        loop {
            let rows = sqlx::query(
                "select seq, at, actor_type, actor_id, action, target, detail, previous, hash
                 from audit_log where seq > $1 order by seq limit $2",
            )
            .bind(after)
            .bind(VERIFY_BATCH)
            .fetch_all(&mut *connection)
            .await?;
            if rows.is_empty() {
                return Ok(AuditVerdict::Intact {
                    records: last.unsigned_abs(),
                    head,
                });
            }
            for row in &rows {
                // A row that cannot even be read was tampered with too.
                let sound = read(row).ok().filter(|record| {
                    record.seq == last + 1
                        && record.previous == head
                        && record.hash == record.computed_hash()
                });
                match sound {
                    Some(record) => (last, head) = (record.seq, record.hash),
                    None => return Ok(AuditVerdict::Broken { seq: last + 1 }),
                }
            }
            after = last;
        }
    }
}
