//! From a row to what its readers see.

use agent_vault_store::{Proposal, ProposalStatus};
use jiff::Timestamp;

use super::input::{ProposedService, Slot};
use crate::access::{AnyRole, VaultAccess};
use crate::error::ControlError;

/// A proposal as its readers see it. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposalView {
    /// Its number in the vault.
    pub id: u32,
    /// The vault's name.
    pub vault: String,
    /// What became of it.
    pub status: ProposalStatus,
    /// Changes to services, every name filled in.
    pub services: Vec<ProposedService>,
    /// Changes to credentials.
    pub credentials: Vec<Slot>,
    /// The agent's own words.
    pub message: String,
    /// What it says to the person.
    pub user_message: String,
    /// Name of the agent, or label of the vault token.
    pub author: String,
    /// What the one who decided said.
    pub review_note: String,
    /// Who decided; empty while nobody has.
    pub reviewed_by: String,
    /// When it was decided, or ran out.
    pub reviewed_at: Option<Timestamp>,
    /// When it was raised.
    pub created_at: Timestamp,
    /// Until when it can be decided.
    pub expires_at: Timestamp,
}

pub(super) fn views(
    access: &VaultAccess<AnyRole>,
    rows: Vec<Proposal>,
    now: Timestamp,
) -> Result<Vec<ProposalView>, ControlError> {
    rows.into_iter()
        .map(|row| view(&access.vault().name, row, now))
        .collect()
}

pub(super) fn view(
    vault: &str,
    row: Proposal,
    now: Timestamp,
) -> Result<ProposalView, ControlError> {
    let status = row.status_at(now);
    Ok(ProposalView {
        id: row.id,
        vault: vault.to_owned(),
        status,
        services: parse(&row.services_json)?,
        credentials: parse(&row.credentials_json)?,
        message: row.message,
        user_message: row.user_message,
        author: row.author_name,
        review_note: row.review_note,
        reviewed_by: row.reviewed_by_name,
        reviewed_at: row
            .ended_at
            .or((status == ProposalStatus::Expired).then_some(row.expires_at)),
        created_at: row.created_at,
        expires_at: row.expires_at,
    })
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<Vec<T>, ControlError> {
    serde_json::from_str(json)
        .map_err(|error| ControlError::internal("The stored proposal cannot be read", error))
}

pub(super) fn json<T: serde::Serialize>(items: &[T]) -> Result<String, ControlError> {
    serde_json::to_string(items)
        .map_err(|error| ControlError::internal("the proposal cannot be written", error))
}
