//! [`AuditChain`]: checking records one after the other. Pure, so that the same check serves a database and an export.

use agent_vault_seal::audit::GENESIS;

use crate::{AuditCut, AuditRecord};

/// What checking the chain found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every record follows from the one before.
    Intact {
        /// How many were checked.
        records: u64,
        /// The last one's hash. Kept elsewhere, it later proves that none were cut off the end.
        head: [u8; 32],
        /// The last record that retention has cut off the beginning; 0 when none was.
        cut_through: i64,
    },
    /// A record was changed, removed or inserted.
    Broken {
        /// The first record that does not follow.
        seq: i64,
    },
}

/// The check of a chain, between two records.
#[derive(Debug)]
pub struct AuditChain {
    cut: Option<AuditCut>,
    /// Number and hash of the last record.
    last: Option<(i64, [u8; 32])>,
    records: u64,
    /// A record of the chain says that it was cut where it begins.
    witnessed: bool,
}

impl AuditChain {
    /// Begins at the first record, or where `cut` says that older ones were cut off.
    pub fn new(cut: Option<AuditCut>) -> Self {
        Self {
            cut,
            last: None,
            records: 0,
            witnessed: false,
        }
    }

    /// Takes the next record; answers whether it follows.
    pub fn push(&mut self, record: &AuditRecord) -> bool {
        let follows = match (self.last, self.cut) {
            (Some((seq, hash)), _) => {
                seq.checked_add(1) == Some(record.seq) && record.previous == hash
            }
            (None, None) => record.seq == 1 && record.previous == GENESIS,
            // What is to be deleted and still there: it ends in the hash of the cut.
            (None, Some(cut)) if record.seq <= cut.through => true,
            (None, Some(cut)) => {
                cut.through.checked_add(1) == Some(record.seq) && record.previous == cut.hash
            }
        };
        let at_cut = self
            .cut
            .is_none_or(|cut| cut.through != record.seq || cut.hash == record.hash);
        if !follows || !at_cut || record.hash != record.computed_hash() {
            return false;
        }
        self.witnessed |= self.cut.is_some_and(|cut| cut.is_told_by(record));
        self.last = Some((record.seq, record.hash));
        self.records = self.records.saturating_add(1);
        true
    }

    /// The verdict when the next record does not follow or cannot be read.
    pub fn broken(&self) -> AuditVerdict {
        AuditVerdict::Broken {
            seq: self.expected(),
        }
    }

    /// The verdict after the last record.
    pub fn end(&self) -> AuditVerdict {
        match self.cut {
            // Only what is to be deleted is there, or nobody has recorded the cut.
            Some(cut) if !self.witnessed => AuditVerdict::Broken {
                seq: cut.through.saturating_add(1),
            },
            cut => AuditVerdict::Intact {
                records: self.records,
                head: self.last.map_or(GENESIS, |(_, hash)| hash),
                cut_through: cut.map_or(0, |cut| cut.through),
            },
        }
    }

    fn expected(&self) -> i64 {
        match (self.last, self.cut) {
            (Some((seq, _)), _) => seq.saturating_add(1),
            (None, Some(cut)) => cut.through.saturating_add(1),
            (None, None) => 1,
        }
    }
}
