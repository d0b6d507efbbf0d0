//! What a proposal does to a vault's services: the one function behind raising, showing and approving, so that what is shown is what
//! is done. Pure.

use agent_vault_policy::{
    AuthDraft, MAX_SERVICES, Service, ServiceDraft, ServiceError, Slug, ValidationOptions,
    keep_unstated,
};

use super::input::{ProposedAction, ProposedService, bad};
use crate::error::{Candidate, ControlError};

/// When the merge is made: it tells whose fault a mismatch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The agent asks: what does not fit is its mistake.
    Raised,
    /// Somebody looks or decides: what does not fit has changed since.
    Decided,
}

/// The services after a proposal.
#[derive(Debug)]
pub(super) struct Merged {
    /// All of them.
    pub(super) services: Vec<Service>,
    /// The proposal with every name filled in.
    pub(super) items: Vec<ProposedService>,
    /// What each `set` item leaves, by its place in the proposal.
    pub(super) set: Vec<(usize, Service)>,
}

/// Applies a proposal to the stored services.
///
/// A `set` with nothing but `enabled` flips a known service; one with `auth` replaces it, keeping what it does not say, or is new.
/// It takes the place of the service with its name; without one, or when nothing has that name, of the single service with the same
/// host, port and path, unless a selector tells the two apart.
///
/// # Errors
/// Names the field. `NotFound` and `Conflict` (with candidates) for a host that means none or several.
pub(super) fn merge(
    existing: &[Service],
    items: &[ProposedService],
    options: &ValidationOptions,
    moment: Moment,
) -> Result<Merged, ControlError> {
    let mut merged = Merged {
        services: existing.to_vec(),
        items: Vec::with_capacity(items.len()),
        set: Vec::new(),
    };
    let mut touched: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("services[{index}]");
        let (name, resolved) = match item.action {
            ProposedAction::Delete => {
                let (name, draft) = delete(existing, &item.draft, &at, options, moment)?;
                merged
                    .services
                    .retain(|service| service.name.as_str() != name);
                (name, draft)
            }
            ProposedAction::Set => {
                let service = set(existing, item.draft.clone(), &at, options, moment)?;
                let draft = ServiceDraft {
                    name: Some(service.name.to_string()),
                    host: Some(service.inline_host()),
                    port: None,
                    path: None,
                    ..item.draft.clone()
                };
                place(&mut merged.services, service.clone())?;
                let name = service.name.to_string();
                merged.set.push((index, service));
                (name, draft)
            }
        };
        if touched.contains(&name) {
            return Err(bad(
                &format!("{at}.name"),
                &format!("`{name}` is given twice"),
                "one entry for each service",
            ));
        }
        touched.push(name);
        merged.items.push(ProposedService {
            action: item.action,
            draft: resolved,
        });
    }
    Ok(merged)
}

fn place(services: &mut Vec<Service>, service: Service) -> Result<(), ControlError> {
    if let Some(place) = services.iter_mut().find(|other| other.name == service.name) {
        *place = service;
    } else if services.len() < MAX_SERVICES {
        services.push(service);
    } else {
        return Err(ControlError::conflict(format!(
            "a vault has at most {MAX_SERVICES} services"
        )));
    }
    Ok(())
}

fn set(
    existing: &[Service],
    mut draft: ServiceDraft,
    at: &str,
    options: &ValidationOptions,
    moment: Moment,
) -> Result<Service, ControlError> {
    let field = |name: &str| format!("{at}.{name}");
    draft.substitutions = draft.substitutions.filter(|list| !list.is_empty());
    if draft.auth.is_none() && draft.enabled.is_none() {
        return Err(bad(
            at,
            "`set` needs `auth` or `enabled`",
            r#"`"auth": {"type": "bearer", "token": "STRIPE_KEY"}`"#,
        ));
    }
    let more = [
        ("substitutions", draft.substitutions.is_some()),
        ("require_tls", draft.require_tls.is_some()),
        ("select", draft.select.is_some()),
    ];
    if let Some((name, _)) = more
        .iter()
        .find(|(_, given)| *given && draft.auth.is_none())
    {
        return Err(bad(
            &field(name),
            "needs `auth` beside it",
            r#"`"auth": {"type": "passthrough"}`"#,
        ));
    }
    let probe = probe(&draft, at, options)?;
    let named = draft.name.clone().filter(|name| !name.is_empty());
    let alike: Vec<&Service> = existing
        .iter()
        .filter(|service| service.same_matcher(&probe))
        .collect();
    let of_name = named.as_deref().and_then(|name| {
        existing
            .iter()
            .find(|service| service.name.as_str() == name)
    });
    let target = match (of_name, alike.as_slice()) {
        (Some(service), _) => Some(service),
        (None, [only]) if named.is_none() || (only.select.is_empty() && draft.select.is_none()) => {
            Some(*only)
        }
        (None, several) if named.is_none() && several.len() > 1 => {
            return Err(ambiguous(&field("host"), &probe.inline_host(), several));
        }
        _ => None,
    };
    if target.is_none() && named.is_none() {
        return Err(bad(
            &field("name"),
            "is required, as no stored service has this host, port and path",
            "`stripe`",
        ));
    }
    if draft.auth.is_some() {
        draft.name = target.map(|service| service.name.to_string()).or(named);
        let full = keep_unstated(existing, draft, options).map_err(|error| invalid(error, at))?;
        return Service::from_draft(full, options).map_err(|error| invalid(error, at));
    }
    let Some(target) = target else {
        return Err(mismatch(
            moment,
            &field("auth"),
            "is required, as there is no such service to enable or disable",
            r#"`"auth": {"type": "bearer", "token": "STRIPE_KEY"}`"#,
        ));
    };
    if !target.same_matcher(&probe) {
        return Err(other_host(moment, &field("host"), target, &probe));
    }
    Ok(Service {
        enabled: draft.enabled.unwrap_or(target.enabled),
        ..target.clone()
    })
}

fn delete(
    existing: &[Service],
    draft: &ServiceDraft,
    at: &str,
    options: &ValidationOptions,
    moment: Moment,
) -> Result<(String, ServiceDraft), ControlError> {
    let field = |name: &str| format!("{at}.{name}");
    let more = [
        ("auth", draft.auth.is_some()),
        ("enabled", draft.enabled.is_some()),
        ("substitutions", draft.substitutions.is_some()),
        ("require_tls", draft.require_tls.is_some()),
        ("select", draft.select.is_some()),
    ];
    if let Some((name, _)) = more.iter().find(|(_, given)| *given) {
        return Err(bad(
            &field(name),
            "does not go with `delete`",
            r#"`{"action": "delete", "host": "api.stripe.com"}`"#,
        ));
    }
    let host_given = draft
        .host
        .as_deref()
        .is_some_and(|host| !host.trim().is_empty());
    let named = draft.name.as_deref().filter(|name| !name.is_empty());
    let shown = |service: &Service| ServiceDraft {
        name: Some(service.name.to_string()),
        host: Some(service.inline_host()),
        ..ServiceDraft::default()
    };
    if let Some(name) = named {
        let slug: Slug = name
            .parse()
            .map_err(|error| bad(&field("name"), &format!("{error}"), "`stripe`"))?;
        let Some(service) = existing.iter().find(|service| service.name == slug) else {
            return match moment {
                // Somebody may add it before it is decided.
                Moment::Raised => Ok((name.to_owned(), draft.clone())),
                Moment::Decided => Err(ControlError::conflict(format!(
                    "Service `{name}` is gone since the proposal was made"
                ))
                .hint("reject the proposal")),
            };
        };
        if host_given {
            let probe = probe(draft, at, options)?;
            let covers = service.same_matcher(&probe)
                || (probe.port.is_none() && probe.path.is_none() && probe.host == service.host);
            if !covers {
                return Err(other_host(moment, &field("host"), service, &probe));
            }
        }
        return Ok((name.to_owned(), shown(service)));
    }
    if !host_given {
        return Err(bad(
            &field("host"),
            "is required, or `name`",
            "`api.stripe.com`",
        ));
    }
    let probe = probe(draft, at, options)?;
    let mut alike: Vec<&Service> = existing
        .iter()
        .filter(|service| service.same_matcher(&probe))
        .collect();
    if alike.is_empty() && probe.port.is_none() && probe.path.is_none() {
        alike = existing
            .iter()
            .filter(|service| service.host == probe.host)
            .collect();
    }
    match alike.as_slice() {
        [only] => Ok((only.name.to_string(), shown(only))),
        [] => Err(ControlError::not_found(format!(
            "{}: no service is for `{}`",
            field("host"),
            probe.inline_host()
        ))
        .hint("list them with `agent-vault vault discover`")),
        several => Err(ambiguous(&field("host"), &probe.inline_host(), several)),
    }
}

/// A service with the draft's host, port and path, and nothing else of it.
fn probe(
    draft: &ServiceDraft,
    at: &str,
    options: &ValidationOptions,
) -> Result<Service, ControlError> {
    if draft
        .host
        .as_deref()
        .is_none_or(|host| host.trim().is_empty())
    {
        return Err(bad(
            &format!("{at}.host"),
            "is required",
            "`api.stripe.com`",
        ));
    }
    let probe = ServiceDraft {
        name: Some("probe".to_owned()),
        host: draft.host.clone(),
        port: draft.port,
        path: draft.path.clone(),
        auth: Some(AuthDraft {
            kind: Some("passthrough".to_owned()),
            ..AuthDraft::default()
        }),
        ..ServiceDraft::default()
    };
    Service::from_draft(probe, options).map_err(|error| invalid(error, at))
}

fn invalid(error: ServiceError, at: &str) -> ControlError {
    let hint = error
        .hint
        .clone()
        .unwrap_or_else(|| r#"for example `{"action": "set", "name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}`"#.to_owned());
    ControlError::invalid(error.within(at).to_string()).hint(hint)
}

fn mismatch(moment: Moment, field: &str, rule: &str, example: &str) -> ControlError {
    match moment {
        Moment::Raised => bad(field, rule, example),
        Moment::Decided => ControlError::conflict(format!("{field}: {rule}")).hint(
            "the vault has changed since the proposal was made; reject it and ask for another",
        ),
    }
}

/// A proposal that names one service and shows the host of another (H45).
fn other_host(moment: Moment, field: &str, service: &Service, shown: &Service) -> ControlError {
    mismatch(
        moment,
        field,
        &format!(
            "service `{}` is for `{}`, not for `{}`",
            service.name,
            service.inline_host(),
            shown.inline_host()
        ),
        &format!("`{}`", service.inline_host()),
    )
}

fn ambiguous(field: &str, host: &str, several: &[&Service]) -> ControlError {
    let choices = several
        .iter()
        .map(|service| Candidate {
            name: service.name.to_string(),
            host: service.inline_host(),
        })
        .collect();
    ControlError::conflict(format!("{field}: several services are for `{host}`"))
        .hint("give the name of one of the candidates")
        .candidates(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::publish;

    const OPTIONS: ValidationOptions = ValidationOptions { dev_mode: false };

    fn stored() -> Vec<Service> {
        publish::stored_services(
            r#"[{"name":"one","host":"api.one.com","enabled":false,"auth":{"type":"bearer","token":"ONE"},
                 "substitutions":[{"key":"TWO","placeholder":"__two__","in":["path"]}]},
                {"name":"x-a","host":"api.x.com/a/*","auth":{"type":"passthrough"}},
                {"name":"x-b","host":"api.x.com/b/*","auth":{"type":"passthrough"}}]"#,
        )
        .unwrap()
    }

    fn run(items: &str, moment: Moment) -> Result<Merged, ControlError> {
        let items: Vec<ProposedService> = serde_json::from_str(items).unwrap();
        merge(&stored(), &items, &OPTIONS, moment)
    }

    fn refused(items: &str, moment: Moment) -> (ErrorKind, String) {
        let error = run(items, moment).unwrap_err();
        assert!(error.hint_text().is_some(), "{error}");
        (error.kind(), error.message().to_owned())
    }

    fn named<'m>(merged: &'m Merged, name: &str) -> &'m Service {
        merged
            .services
            .iter()
            .find(|service| service.name.as_str() == name)
            .unwrap()
    }

    #[test]
    fn a_set_replaces_and_keeps_what_it_does_not_say() {
        let merged = run(
            r#"[{"action":"set","host":"api.one.com","auth":{"type":"bearer","token":"NEW"},"substitutions":[]}]"#,
            Moment::Raised,
        )
        .unwrap();
        let one = named(&merged, "one");
        assert!(!one.enabled && one.substitutions.len() == 1);
        assert_eq!(merged.items[0].draft.name.as_deref(), Some("one"));
        assert_eq!(merged.services.len(), 3);
    }

    #[test]
    fn enabled_alone_flips_a_known_service_and_makes_none() {
        let merged = run(
            r#"[{"action":"set","name":"one","host":"api.one.com","enabled":true}]"#,
            Moment::Raised,
        )
        .unwrap();
        assert!(named(&merged, "one").enabled && named(&merged, "one").substitutions.len() == 1);
        let unknown = r#"[{"action":"set","name":"new","host":"api.new.com","enabled":true}]"#;
        assert_eq!(refused(unknown, Moment::Raised).0, ErrorKind::Invalid);
        assert_eq!(refused(unknown, Moment::Decided).0, ErrorKind::Conflict);
    }

    #[test]
    fn h45_what_is_named_and_what_is_shown_are_one() {
        for items in [
            r#"[{"action":"delete","name":"one","host":"harmless.com"}]"#,
            r#"[{"action":"set","name":"one","host":"harmless.com","enabled":false}]"#,
        ] {
            let (kind, message) = refused(items, Moment::Raised);
            assert_eq!(kind, ErrorKind::Invalid);
            assert!(
                message.starts_with("services[0].host: service `one` is for `api.one.com`"),
                "{message}"
            );
            assert_eq!(refused(items, Moment::Decided).0, ErrorKind::Conflict);
        }
        // What is stored and shown is the service's own host.
        let merged = run(r#"[{"action":"delete","name":"x-a"}]"#, Moment::Raised).unwrap();
        assert_eq!(merged.items[0].draft.host.as_deref(), Some("api.x.com/a/*"));
    }

    #[test]
    fn a_delete_by_host_means_one_service_or_says_why_not() {
        let merged = run(
            r#"[{"action":"delete","host":"api.x.com","path":"/a/*"}]"#,
            Moment::Raised,
        )
        .unwrap();
        assert_eq!(merged.items[0].draft.name.as_deref(), Some("x-a"));
        assert_eq!(merged.services.len(), 2);
        assert_eq!(
            refused(
                r#"[{"action":"delete","host":"api.none.com"}]"#,
                Moment::Raised
            )
            .0,
            ErrorKind::NotFound
        );
        let several = run(
            r#"[{"action":"delete","host":"api.x.com"}]"#,
            Moment::Raised,
        )
        .unwrap_err();
        assert_eq!(several.choices().len(), 2);
        let gone = r#"[{"action":"delete","name":"gone"}]"#;
        assert!(run(gone, Moment::Raised).is_ok());
        assert_eq!(refused(gone, Moment::Decided).0, ErrorKind::Conflict);
    }

    #[test]
    fn malformed_entries_are_named() {
        for (items, start) in [
            (
                r#"[{"action":"set","name":"new","host":"api.n.com"}]"#,
                "services[0]: `set` needs",
            ),
            (
                r#"[{"action":"set","name":"new","enabled":true}]"#,
                "services[0].host: is required",
            ),
            (
                r#"[{"action":"set","host":"api.n.com","auth":{"type":"passthrough"}}]"#,
                "services[0].name: is required",
            ),
            (
                r#"[{"action":"set","name":"one","host":"api.one.com","enabled":true,"substitutions":[{"key":"A","placeholder":"__a__"}]}]"#,
                "services[0].substitutions: needs `auth`",
            ),
            (
                r#"[{"action":"set","name":"new","host":"localhost","auth":{"type":"passthrough"}}]"#,
                "services[0].host",
            ),
            (
                r#"[{"action":"set","name":"new","host":"api.n.com","auth":{"type":"bearer"}}]"#,
                "services[0].auth.token",
            ),
            (r#"[{"action":"delete"}]"#, "services[0].host: is required"),
            (
                r#"[{"action":"delete","name":"one","enabled":true}]"#,
                "services[0].enabled: does not go",
            ),
            (
                r#"[{"action":"delete","name":"one"},{"action":"delete","host":"api.one.com"}]"#,
                "services[1].name: `one` is given twice",
            ),
        ] {
            let (kind, message) = refused(items, Moment::Raised);
            assert_eq!(kind, ErrorKind::Invalid, "{message}");
            assert!(message.starts_with(start), "{start} {message}");
        }
    }
}
