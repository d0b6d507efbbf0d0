//! What somebody sees before deciding: how services change, and which stored keys would go to which host (W21). Pure.

use std::collections::BTreeSet;

use agent_vault_policy::Service;

use super::input::{ProposedAction, Slot};
use super::merge::Merged;
use crate::services::{ServiceChange, changes};

/// A key that would go to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFlow {
    /// The credential's key.
    pub key: String,
    /// Host, port and path joined.
    pub host: String,
    /// The service that puts it there.
    pub service: String,
    /// Whether it is the value that the vault has now, as opposed to one given with the proposal or its approval.
    pub stored: bool,
    /// Whether no enabled service puts this key on this host now.
    pub new: bool,
}

/// What happens to a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPreview {
    /// Its key.
    pub key: String,
    /// What is to happen.
    pub action: ProposedAction,
    /// Whether the vault has it now: its value would be replaced, or go.
    pub exists: bool,
    /// Whether the one who approves must give a value.
    pub needs_value: bool,
    /// The services that use it after.
    pub used_by: Vec<String>,
}

/// What a proposal would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// How services change.
    pub changes: Vec<ServiceChange>,
    /// Which keys the changed services would send where.
    pub flows: Vec<KeyFlow>,
    /// What happens to credentials.
    pub credentials: Vec<SlotPreview>,
    /// What deserves a second look, in sentences.
    pub warnings: Vec<String>,
    /// The revision of the services that this was made for. An approval that names it does just this, or is refused.
    pub revision: u64,
}

pub(super) fn preview(
    existing: &[Service],
    merged: &Merged,
    slots: &[Slot],
    known: &[String],
    revision: u64,
) -> Preview {
    let changes = changes(existing, &merged.services);
    let given: BTreeSet<&str> = slots
        .iter()
        .filter(|slot| slot.action == ProposedAction::Set && !slot.is_oauth())
        .map(|slot| slot.key.as_str())
        .collect();
    let consents: BTreeSet<&str> = slots
        .iter()
        .filter(|slot| slot.is_oauth())
        .map(|slot| slot.key.as_str())
        .collect();
    let goes_there = |key: &str, service: &Service| {
        existing.iter().any(|other| {
            other.enabled
                && other.same_matcher(service)
                && other.keys().iter().any(|used| used.as_str() == key)
        })
    };
    let mut flows = Vec::new();
    let mut warnings = Vec::new();
    for change in &changes {
        let Some(service) = &change.after else {
            continue;
        };
        if let Some(before) = &change.before
            && !before.same_matcher(service)
        {
            warnings.push(format!(
                "service `{}` is for `{}` now and would be for `{}`",
                service.name,
                before.inline_host(),
                service.inline_host()
            ));
        } else if change
            .before
            .as_ref()
            .is_some_and(|before| before.auth != service.auth)
        {
            warnings.push(format!(
                "service `{}` exists, and how it authenticates would be replaced",
                service.name
            ));
        }
        if !service.require_tls
            && change
                .before
                .as_ref()
                .is_none_or(|before| before.require_tls)
        {
            warnings.push(format!(
                "service `{}` would send its credentials in clear over http",
                service.name
            ));
        }
        for key in service.keys() {
            let flow = KeyFlow {
                host: service.inline_host(),
                service: service.name.to_string(),
                stored: !given.contains(key.as_str())
                    && known.iter().any(|known| known == key.as_str()),
                new: !goes_there(key.as_str(), service),
                key: key.to_string(),
            };
            if flow.stored && flow.new {
                warnings.push(format!(
                    "the stored value of {} would go to `{}`, where it does not go now",
                    flow.key, flow.host
                ));
            }
            flows.push(flow);
        }
    }
    let credentials: Vec<SlotPreview> = slots
        .iter()
        .map(|slot| SlotPreview {
            key: slot.key.clone(),
            action: slot.action,
            exists: known.contains(&slot.key),
            needs_value: slot.action == ProposedAction::Set && !slot.has_value && !slot.is_oauth(),
            used_by: users(&merged.services, &slot.key),
        })
        .collect();
    for slot in &credentials {
        match slot.action {
            ProposedAction::Set if slot.exists && !consents.contains(slot.key.as_str()) => warnings
                .push(format!(
                    "the value that the vault has of {} would be replaced",
                    slot.key
                )),
            ProposedAction::Delete if !slot.used_by.is_empty() => warnings.push(format!(
                "{} would go, and is still used by: {}",
                slot.key,
                slot.used_by.join(", ")
            )),
            ProposedAction::Set | ProposedAction::Delete => {}
        }
    }
    for key in consents {
        warnings.push(format!(
            "{key} works once a person has connected it: `agent-vault vault credential oauth connect {key}`"
        ));
    }
    Preview {
        changes,
        flows,
        credentials,
        warnings,
        revision,
    }
}

fn users(services: &[Service], key: &str) -> Vec<String> {
    services
        .iter()
        .filter(|service| service.keys().iter().any(|used| used.as_str() == key))
        .map(|service| service.name.to_string())
        .collect()
}
