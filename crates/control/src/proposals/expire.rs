//! Proposals that nobody decided in time: ended one by one, each with its record, and told.

use agent_vault_store::Proposal;

use super::note;
use super::view::view;
use crate::Control;
use crate::error::{ControlError, ErrorKind};
use crate::webhooks::{self, Event, Proposed};
use crate::write::Write;

/// Proposals that are read at a time.
const BATCH: u32 = 100;
/// Such reads in one sweep.
const MAX_BATCHES: usize = 100;

impl Control {
    /// Ends proposals whose time is over, with the values that came with them, and tells of it.
    ///
    /// # Errors
    /// When the database cannot be read or written; the rest is for the next sweep.
    pub async fn expire_proposals(&self) -> Result<(), ControlError> {
        for _ in 0..MAX_BATCHES {
            let overdue = self.store().overdue_proposals(self.now(), BATCH).await?;
            if overdue.is_empty() {
                break;
            }
            for proposal in overdue {
                let mut write = self.begin_unattributed("proposal.expire", "vault:").await?;
                let outcome = expire(&mut write, proposal).await;
                match write.finish(outcome).await {
                    // Another process was faster, or the vault is gone.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Ok(()) => self.hooks().wake(),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

async fn expire(write: &mut Write, proposal: Proposal) -> Result<(), ControlError> {
    let (vault_id, id, now) = (proposal.vault_id, proposal.id, write.now());
    let vault = write.tx().vault(vault_id).await?;
    let vault = vault.ok_or_else(|| ControlError::not_found("the vault is gone"))?;
    write.retarget(format!("vault:{}", vault.name));
    write.note("proposal", id);
    if !write.tx().expire_proposal(vault_id, id, now).await? {
        return Err(ControlError::not_found("it waits no more"));
    }
    let view = view(&vault.name, proposal, now)?;
    note(write, &view);
    let event = Event::Expired(Proposed::from(&view));
    webhooks::queue(write, Some(&vault), &event).await?;
    Ok(())
}
