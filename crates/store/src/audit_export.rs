//! The audit log as JSON lines: a head, then every record with all that its hash covers. Written and read here, so that an export
//! can be checked wherever it lies.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{AuditChain, AuditCut, AuditRecord, AuditVerdict};

/// Longest line that is read, in bytes: six fields of 4096 characters, escaped.
pub const MAX_EXPORT_LINE_BYTES: usize = 1024 * 1024;

/// The first line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditExportHead {
    /// The instance's random id.
    pub instance_id: String,
    /// How far retention had cut the log, if it had.
    pub cut: Option<AuditCut>,
    /// The last record of the export: its number, 0 for none, and hash.
    pub end: i64,
    /// Its hash.
    pub head: [u8; 32],
}

impl AuditExportHead {
    /// The line, without its end.
    pub fn to_json(&self) -> Value {
        json!({
            "audit_export": 1,
            "instance": self.instance_id,
            "cut_through": self.cut.map_or(0, |cut| cut.through),
            "cut_hash": self.cut.map(|cut| hex(&cut.hash)),
            "end": self.end,
            "head": hex(&self.head),
        })
    }

    fn from_json(line: &Value) -> Option<Self> {
        if line.get("audit_export")? != 1 {
            return None;
        }
        let through = line.get("cut_through")?.as_i64()?;
        let cut = match through {
            0 => None,
            through => Some(AuditCut {
                through,
                hash: bytes(line.get("cut_hash")?)?,
            }),
        };
        Some(Self {
            instance_id: line.get("instance")?.as_str()?.to_owned(),
            cut,
            end: line.get("end")?.as_i64()?,
            head: bytes(line.get("head")?)?,
        })
    }
}

impl AuditRecord {
    /// The record as a line of an export. `detail` stays the text that it is, since its hash covers that text.
    pub fn to_json(&self) -> Value {
        json!({
            "seq": self.seq,
            "at": self.at.to_string(),
            "actor_type": self.actor_type.as_str(),
            "actor_id": self.actor_id,
            "actor_name": self.actor_name,
            "source": self.source,
            "action": self.action,
            "target": self.target,
            "outcome": self.outcome.as_str(),
            "detail": self.detail,
            "format": self.format,
            "previous": hex(&self.previous),
            "hash": hex(&self.hash),
        })
    }

    fn from_json(line: &Value) -> Option<Self> {
        let text = |name: &str| line.get(name)?.as_str().map(str::to_owned);
        Some(Self {
            seq: line.get("seq")?.as_i64()?,
            at: text("at")?.parse::<Timestamp>().ok()?,
            actor_type: text("actor_type")?.parse().ok()?,
            actor_id: text("actor_id")?,
            actor_name: text("actor_name")?,
            source: text("source")?,
            action: text("action")?,
            target: text("target")?,
            outcome: text("outcome")?.parse().ok()?,
            detail: text("detail")?,
            format: u32::try_from(line.get("format")?.as_u64()?).ok()?,
            previous: bytes(line.get("previous")?)?,
            hash: bytes(line.get("hash")?)?,
        })
    }
}

/// The check of an export, between two lines.
#[derive(Debug, Default)]
pub struct AuditExportCheck {
    started: Option<(AuditExportHead, AuditChain)>,
}

impl AuditExportCheck {
    /// Takes the next line.
    ///
    /// # Errors
    /// The verdict when it does not follow; `None` when the first line is not the head of an export.
    pub fn push(&mut self, line: &str) -> Result<(), Option<AuditVerdict>> {
        let value: Value = serde_json::from_str(line).unwrap_or(Value::Null);
        match &mut self.started {
            None => {
                let head = AuditExportHead::from_json(&value).ok_or(None)?;
                let chain = AuditChain::new(head.cut);
                self.started = Some((head, chain));
                Ok(())
            }
            Some((_, chain)) => match AuditRecord::from_json(&value) {
                Some(record) if chain.push(&record) => Ok(()),
                _ => Err(Some(chain.broken())),
            },
        }
    }

    /// The verdict after the last line; `None` when there was no line at all. An export that ends early is broken.
    pub fn end(self) -> Option<AuditVerdict> {
        let (head, chain) = self.started?;
        Some(match chain.end() {
            AuditVerdict::Intact { head: last, .. } if last != head.head => chain.broken(),
            verdict => verdict,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Option<[u8; 32]> {
    let text = value.as_str()?;
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Vec<u8> = pairs
        .iter()
        .map(|[high, low]| u8::try_from((digit(*high)? << 4) | digit(*low)?).ok())
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}
