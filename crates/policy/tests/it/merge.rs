//! Changing a list of services.

use agent_vault_policy::{
    ReferenceError, Service, ServiceDraft, Undecodable, ValidationOptions, find_service,
    keep_unstated, remove_service, set_enabled, upsert,
};

use crate::support::{bearer, service};

const OPTIONS: ValidationOptions = ValidationOptions { dev_mode: false };

fn draft(json: &str) -> ServiceDraft {
    ServiceDraft::from_json(json).unwrap()
}

fn names(services: &[Service]) -> Vec<&str> {
    services
        .iter()
        .map(|service| service.name.as_str())
        .collect()
}

fn stored() -> Vec<Service> {
    vec![
        bearer("one", "api.x.com/v1/*", ""),
        bearer(
            "two",
            "api.x.com:8443",
            r#","enabled":false,"require_tls":false,"scrub":{"undecodable":"pass"},"substitutions":[{"key":"A","placeholder":"__a__"}]"#,
        ),
        bearer("three", "b.x.com", ""),
    ]
}

#[test]
fn upsert_by_name_replaces_in_place_and_appends() {
    let out = upsert(
        &stored(),
        vec![
            draft(r#"{"name":"two","host":"c.x.com","auth":{"type":"passthrough"}}"#),
            draft(r#"{"name":"four","host":"d.x.com","auth":{"type":"passthrough"}}"#),
        ],
        &OPTIONS,
    )
    .unwrap();
    assert_eq!(names(&out.services), ["one", "two", "three", "four"]);
    assert_eq!(
        out.upserted
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["two", "four"]
    );
    // Replaced whole.
    assert!(
        out.services[1].enabled
            && out.services[1].substitutions.is_empty()
            && out.services[1].port.is_none()
    );
}

#[test]
fn nameless_entries_adopt() {
    for host in [
        r#""host":"API.x.com/v1/*""#,
        r#""host":"api.x.com","path":"/v1/*""#,
    ] {
        let out = upsert(
            &stored(),
            vec![draft(&format!(
                r#"{{{host},"auth":{{"type":"passthrough"}}}}"#
            ))],
            &OPTIONS,
        )
        .unwrap();
        assert_eq!(names(&out.services), ["one", "two", "three"]);
        assert_eq!(out.services[0].auth.type_name(), "passthrough");
    }
    for host in ["api.x.com", "api.x.com/v2/*", "new.x.com"] {
        let error = upsert(
            &stored(),
            vec![draft(&format!(
                r#"{{"host":"{host}","auth":{{"type":"passthrough"}}}}"#
            ))],
            &OPTIONS,
        )
        .unwrap_err();
        assert_eq!(error.field, "services[0].name");
    }
    let mut twins = stored();
    twins.push(bearer("twin", "b.x.com", ""));
    let error = upsert(
        &twins,
        vec![draft(r#"{"host":"b.x.com","auth":{"type":"passthrough"}}"#)],
        &OPTIONS,
    )
    .unwrap_err();
    assert!(error.hint.unwrap().contains("three, twin"));
}

#[test]
fn a_bad_entry_changes_nothing_and_is_named() {
    assert_eq!(
        upsert(&stored(), Vec::new(), &OPTIONS).unwrap_err().field,
        "services"
    );
    let good = draft(r#"{"name":"four","host":"d.x.com","auth":{"type":"passthrough"}}"#);
    let bad = draft(r#"{"name":"five","host":"d.x.com","auth":{"type":"bearer"}}"#);
    assert_eq!(
        upsert(&stored(), vec![good.clone(), bad], &OPTIONS)
            .unwrap_err()
            .field,
        "services[1].auth.token"
    );
    assert_eq!(
        upsert(&stored(), vec![good.clone(), good], &OPTIONS)
            .unwrap_err()
            .field,
        "services[1].name"
    );
}

#[test]
fn w33_edits_may_keep_what_they_do_not_say() {
    let edit =
        draft(r#"{"name":"two","host":"api.x.com:9443","auth":{"type":"bearer","token":"NEW"}}"#);
    let merged =
        Service::from_draft(keep_unstated(&stored(), edit, &OPTIONS).unwrap(), &OPTIONS).unwrap();
    assert!(!merged.enabled && !merged.require_tls && merged.substitutions.len() == 1);
    assert_eq!(merged.scrub.undecodable, Undecodable::Pass);
    // Half of the switch leaves the other half.
    let edit = draft(r#"{"name":"two","scrub":{"enabled":false}}"#);
    let half =
        Service::from_draft(keep_unstated(&stored(), edit, &OPTIONS).unwrap(), &OPTIONS).unwrap();
    assert_eq!(
        (half.scrub.enabled, half.scrub.undecodable),
        (false, Undecodable::Pass)
    );
    assert_eq!(merged.inline_host(), "api.x.com:9443");
    // Only the state.
    let edit = draft(r#"{"name":"two","enabled":true}"#);
    let merged =
        Service::from_draft(keep_unstated(&stored(), edit, &OPTIONS).unwrap(), &OPTIONS).unwrap();
    assert_eq!(
        Service {
            enabled: false,
            ..merged
        },
        stored()[1]
    );
    // Without a name, by host.
    let edit = draft(r#"{"host":"b.x.com","enabled":false}"#);
    let merged =
        Service::from_draft(keep_unstated(&stored(), edit, &OPTIONS).unwrap(), &OPTIONS).unwrap();
    assert_eq!((merged.name.as_str(), merged.enabled), ("three", false));
    // H23: an unknown name is not made into a rule without injection.
    let edit = keep_unstated(
        &stored(),
        draft(r#"{"name":"new","host":"n.x.com","enabled":true}"#),
        &OPTIONS,
    )
    .unwrap();
    assert_eq!(
        Service::from_draft(edit, &OPTIONS).unwrap_err().field,
        "auth"
    );
    // What is said stays, an empty list included.
    let edit = draft(r#"{"name":"two","host":"b.x.com","substitutions":[]}"#);
    assert_eq!(
        keep_unstated(&stored(), edit, &OPTIONS)
            .unwrap()
            .substitutions,
        Some(Vec::new())
    );
}

#[test]
fn h43_references() {
    let mut services = stored();
    services.push(bearer("four", "*.x.com", ""));
    services.push(bearer("five", "c.x.com", ""));
    services.push(bearer("six", "c.x.com/v1", ""));
    services.push(bearer("seven", "d.x.com", ""));
    services.push(bearer("eight", "d.x.com", ""));
    services.push(service(
        r#"{"name":"b-x-com","host":"z.x.com","auth":{"type":"passthrough"}}"#,
    ));
    let at = |reference: &str| {
        find_service(&services, reference).map(|index| services[index].name.to_string())
    };
    assert_eq!(at("two").unwrap(), "two");
    assert_eq!(at("api.x.com:8443").unwrap(), "two");
    assert_eq!(at("API.x.com/v1/*").unwrap(), "one");
    assert_eq!(at("b.x.com").unwrap(), "three");
    assert_eq!(at("*.x.com").unwrap(), "four");
    assert_eq!(at("b-x-com").unwrap(), "b-x-com");
    // The whole form means the rule without a path, though others share the host.
    assert_eq!(at("c.x.com").unwrap(), "five");
    assert_eq!(at("c.x.com/v1").unwrap(), "six");
    for missing in [
        "",
        "nine",
        "x.com",
        "api.x.com:1",
        "api.x.com/v2",
        "a b",
        "\u{0}",
    ] {
        assert!(
            matches!(at(missing), Err(ReferenceError::NotFound { .. })),
            "{missing:?}"
        );
    }
    for (reference, expected) in [
        ("api.x.com", ["one", "two"]),
        ("d.x.com", ["seven", "eight"]),
    ] {
        match at(reference) {
            Err(ReferenceError::Ambiguous { candidates, .. }) => assert_eq!(candidates, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn remove_and_enable() {
    let mut services = stored();
    assert!(
        set_enabled(&mut services, "api.x.com:8443", true)
            .unwrap()
            .enabled
    );
    assert_eq!(
        remove_service(&mut services, "b.x.com")
            .unwrap()
            .name
            .as_str(),
        "three"
    );
    assert_eq!(names(&services), ["one", "two"]);
    assert!(remove_service(&mut services, "b.x.com").is_err());
    assert!(set_enabled(&mut services, "nine", true).is_err());
}
