//! Which services of a vault name credentials that it lacks.

use std::collections::BTreeMap;

use agent_vault_policy::{Service, ServiceDraft, ValidationOptions};
use serde_json::{Map, Value};

use super::Finding;

/// The keys that each enabled service of a vault uses, by the service's name.
#[derive(Debug, Default)]
pub(crate) struct ServiceKeys(BTreeMap<String, Vec<String>>);

impl ServiceKeys {
    /// Reads services as the server lists them; one that this version cannot read is left out.
    pub(crate) fn of(services: &[Map<String, Value>]) -> ServiceKeys {
        let options = ValidationOptions { dev_mode: true };
        let keys = services
            .iter()
            .filter_map(|s| serde_json::from_value::<ServiceDraft>(Value::Object(s.clone())).ok())
            .filter_map(|draft| Service::from_draft(draft, &options).ok())
            .filter(|service| service.enabled)
            .map(|s| {
                (
                    s.name.to_string(),
                    s.keys().iter().map(ToString::to_string).collect(),
                )
            })
            .collect();
        ServiceKeys(keys)
    }

    /// The keys of one service.
    pub(crate) fn get(&self, service: &str) -> Option<&[String]> {
        self.0.get(service).map(Vec::as_slice)
    }

    /// What is left of it: the keys that are not `available`.
    pub(crate) fn lacking(mut self, available: &[String]) -> Lacking {
        for keys in self.0.values_mut() {
            keys.retain(|key| !available.contains(key));
        }
        self.0.retain(|_, keys| !keys.is_empty());
        Lacking(self.0)
    }
}

/// The keys that each service names and the vault lacks.
#[derive(Debug, Default)]
pub(crate) struct Lacking(pub(super) BTreeMap<String, Vec<String>>);

impl Lacking {
    /// A finding for each.
    pub(crate) fn findings(&self, vault: &str) -> impl Iterator<Item = Finding> {
        self.0
            .iter()
            .map(move |(service, keys)| lacks(service, &keys.join(" "), vault))
    }
}

/// One wording, so that what a request showed and what stands anyway are one finding.
pub(super) fn lacks(service: &str, keys: &str, vault: &str) -> Finding {
    let (named, typed) = if keys.is_empty() {
        ("a credential", "<KEY>")
    } else {
        (keys, keys)
    };
    Finding {
        what: format!("service {service} names {named}, which the vault lacks"),
        mend: format!("agent-vault vault credential set {typed} --vault {vault}"),
    }
}
