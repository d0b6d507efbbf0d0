//! Changing a vault's list of services: by name, and by what people see of a rule.

use std::collections::HashMap;

use crate::service::{
    MAX_SERVICES, ScrubDraft, Service, ServiceDraft, ServiceError, ValidationOptions,
};
use crate::slug::Slug;

/// The list after an upsert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserted {
    /// All services: replaced ones in their old place, new ones at the end.
    pub services: Vec<Service>,
    /// The names of the entries given, in their order.
    pub upserted: Vec<Slug>,
}

/// Puts each draft in the place of the service with its name, or at the end. A draft without a name adopts that of the single stored
/// service with the same host, port and path. The entry is replaced whole; see [`keep_unstated`] for keeping what it does not say.
///
/// # Errors
/// Names the first wrong field, as in `services[2].auth.token`; nothing is changed then.
pub fn upsert(
    existing: &[Service],
    drafts: Vec<ServiceDraft>,
    options: &ValidationOptions,
) -> Result<Upserted, ServiceError> {
    if drafts.is_empty() {
        return Err(ServiceError::new("services", "needs at least one service"));
    }
    let mut services = existing.to_vec();
    let mut places: HashMap<Slug, usize> = services
        .iter()
        .enumerate()
        .map(|(index, service)| (service.name.clone(), index))
        .collect();
    let mut upserted: Vec<Slug> = Vec::new();
    for (index, mut draft) in drafts.into_iter().enumerate() {
        let at = format!("services[{index}]");
        if draft.name.as_deref().is_none_or(str::is_empty) {
            let name =
                adopted_name(existing, &draft, options).map_err(|error| error.within(&at))?;
            draft.name = Some(name.to_string());
        }
        let service = Service::from_draft(draft, options).map_err(|error| error.within(&at))?;
        if upserted.contains(&service.name) {
            let error = ServiceError::new("name", format!("`{}` is given twice", service.name));
            return Err(error.within(&at));
        }
        upserted.push(service.name.clone());
        match places
            .get(&service.name)
            .and_then(|&place| services.get_mut(place))
        {
            Some(place) => *place = service,
            None => {
                if services.len() >= MAX_SERVICES {
                    return Err(ServiceError::new(
                        "services",
                        format!("a vault has at most {MAX_SERVICES} services"),
                    ));
                }
                places.insert(service.name.clone(), services.len());
                services.push(service);
            }
        }
    }
    Ok(Upserted { services, upserted })
}

/// Fills what a draft does not say from the stored service of the same name (or, without a name, the one it adopts). For edits that
/// only mean to change what they say; one that says nothing but a name and `enabled` flips the state of a known service and fails
/// validation for an unknown one.
///
/// # Errors
/// When the draft's host, port or path are needed to find the service and are wrong.
pub fn keep_unstated(
    existing: &[Service],
    draft: ServiceDraft,
    options: &ValidationOptions,
) -> Result<ServiceDraft, ServiceError> {
    let stored = match draft.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => existing
            .iter()
            .find(|service| service.name.as_str() == name),
        None => match same_matchers(existing, &draft, options)?.as_slice() {
            [only] => Some(*only),
            _ => None,
        },
    };
    let Some(stored) = stored.map(ServiceDraft::from) else {
        return Ok(draft);
    };
    // Host, port and path are one thing: a new host does not inherit the old path.
    let (host, port, path) = if draft.host.is_some() {
        (draft.host, draft.port, draft.path)
    } else {
        (stored.host, draft.port, draft.path)
    };
    Ok(ServiceDraft {
        name: draft.name.filter(|name| !name.is_empty()).or(stored.name),
        host,
        port,
        path,
        enabled: draft.enabled.or(stored.enabled),
        auth: draft.auth.or(stored.auth),
        substitutions: draft.substitutions.or(stored.substitutions),
        require_tls: draft.require_tls.or(stored.require_tls),
        scrub: scrub_over(draft.scrub, stored.scrub),
        select: draft.select.or(stored.select),
    })
}

/// Each half of the switch survives by itself.
fn scrub_over(draft: Option<ScrubDraft>, stored: Option<ScrubDraft>) -> Option<ScrubDraft> {
    let (Some(draft), Some(stored)) = (&draft, &stored) else {
        return draft.or(stored);
    };
    Some(ScrubDraft {
        enabled: draft.enabled.or(stored.enabled),
        undecodable: draft
            .undecodable
            .clone()
            .or_else(|| stored.undecodable.clone()),
    })
}

/// Why a reference does not lead to one service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing has this name, joined form or host.
    #[error("no service is called `{reference}` or is for that host")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// Several services are for this host.
    #[error("several services are for `{reference}`: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// Their names, in stored order.
        candidates: Vec<String>,
    },
}

/// Finds the one service that a reference means: by exact name, else by the joined form `host[:port][/path]`, else by the bare host.
///
/// # Errors
/// When there is none, or more than one.
pub fn find_service(services: &[Service], reference: &str) -> Result<usize, ReferenceError> {
    let reference = reference.trim();
    if let Some(index) = services
        .iter()
        .position(|service| service.name.as_str() == reference)
    {
        return Ok(index);
    }
    // Written hosts have one spelling; a reference is brought into it as far as it can be.
    let draft = ServiceDraft {
        host: Some(reference.to_owned()),
        ..ServiceDraft::default()
    };
    let Ok(matcher) = draft.matcher(&ValidationOptions { dev_mode: true }) else {
        return Err(ReferenceError::NotFound {
            reference: reference.to_owned(),
        });
    };
    let exact: Vec<usize> = positions(services, |service| {
        service.host == matcher.host && service.port == matcher.port && service.path == matcher.path
    });
    let by_host = || {
        let bare = matcher.port.is_none() && matcher.path.is_none();
        if bare {
            positions(services, |service| service.host == matcher.host)
        } else {
            Vec::new()
        }
    };
    let found = if exact.is_empty() { by_host() } else { exact };
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(ReferenceError::NotFound {
            reference: reference.to_owned(),
        }),
        several => Err(ReferenceError::Ambiguous {
            reference: reference.to_owned(),
            candidates: several
                .iter()
                .filter_map(|&index| services.get(index))
                .map(|service| service.name.to_string())
                .collect(),
        }),
    }
}

/// Takes the referenced service out of the list and returns it.
///
/// # Errors
/// As [`find_service`].
pub fn remove_service(
    services: &mut Vec<Service>,
    reference: &str,
) -> Result<Service, ReferenceError> {
    let index = find_service(services, reference)?;
    Ok(services.remove(index))
}

/// Enables or disables the referenced service and returns it.
///
/// # Errors
/// As [`find_service`].
pub fn set_enabled<'s>(
    services: &'s mut [Service],
    reference: &str,
    enabled: bool,
) -> Result<&'s Service, ReferenceError> {
    let index = find_service(services, reference)?;
    match services.get_mut(index) {
        Some(service) => {
            service.enabled = enabled;
            Ok(service)
        }
        None => Err(ReferenceError::NotFound {
            reference: reference.to_owned(),
        }),
    }
}

fn positions(services: &[Service], keep: impl Fn(&Service) -> bool) -> Vec<usize> {
    services
        .iter()
        .enumerate()
        .filter(|(_, service)| keep(service))
        .map(|(index, _)| index)
        .collect()
}

fn same_matchers<'s>(
    existing: &'s [Service],
    draft: &ServiceDraft,
    options: &ValidationOptions,
) -> Result<Vec<&'s Service>, ServiceError> {
    let matcher = draft.matcher(options)?;
    let same = |service: &&Service| {
        service.host == matcher.host && service.port == matcher.port && service.path == matcher.path
    };
    Ok(existing.iter().filter(same).collect())
}

fn adopted_name(
    existing: &[Service],
    draft: &ServiceDraft,
    options: &ValidationOptions,
) -> Result<Slug, ServiceError> {
    match same_matchers(existing, draft, options)?.as_slice() {
        [only] => Ok(only.name.clone()),
        [] => Err(ServiceError::new("name", "is required")
            .hint("no stored service has this host, port and path to take the name from")),
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|service| service.name.as_str())
                .collect();
            Err(ServiceError::new("name", "is required").hint(format!(
                "several stored services match alike: {}",
                names.join(", ")
            )))
        }
    }
}
