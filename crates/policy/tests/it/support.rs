//! Short ways to write rules and requests.

use std::collections::BTreeMap;

use agent_vault_policy::{
    Authority, CredentialKey, Decision, Denial, Facts, RequestTarget, RuleSet, Scheme, Service,
    ServiceDraft, UnmatchedPolicy, ValidationOptions, Values,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Values by key.
#[derive(Default)]
pub(crate) struct Vault(BTreeMap<CredentialKey, Vec<u8>>);

impl Vault {
    pub(crate) fn of(values: &[(&str, &[u8])]) -> Self {
        Self(
            values
                .iter()
                .map(|(key, value)| (key.parse().unwrap(), value.to_vec()))
                .collect(),
        )
    }
}

impl Values for Vault {
    fn value(&self, key: &CredentialKey) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }
}

/// A service from JSON.
pub(crate) fn service(json: &str) -> Service {
    Service::from_draft(
        ServiceDraft::from_json(json).unwrap(),
        &ValidationOptions::default(),
    )
    .unwrap()
}

/// A bearer service: name, inline host, and further members as JSON text.
pub(crate) fn bearer(name: &str, host: &str, more: &str) -> Service {
    service(&format!(
        r#"{{"name":"{name}","host":"{host}","auth":{{"type":"bearer","token":"TOKEN"}}{more}}}"#
    ))
}

/// A passthrough service with one substitution.
pub(crate) fn substituting(surfaces: &str) -> Service {
    service(&format!(
        r#"{{"name":"sub","host":"api.x.com","auth":{{"type":"passthrough"}},
            "substitutions":[{{"key":"A","placeholder":"__a__","in":[{surfaces}]}},{{"key":"B","placeholder":"__b__","in":[{surfaces}]}}]}}"#
    ))
}

pub(crate) fn rules(services: Vec<Service>) -> RuleSet {
    RuleSet::compile(services, UnmatchedPolicy::Passthrough, &BTreeMap::new())
}

pub(crate) fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    map
}

/// A request in one line: scheme, authority and target as an URL.
pub(crate) struct Request {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) target: RequestTarget,
    pub(crate) agent: Option<String>,
    pub(crate) headers: HeaderMap,
}

impl Request {
    pub(crate) fn to(url: &str) -> Self {
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some((_, rest)) => (Scheme::Https, rest),
            None => (Scheme::Https, url),
        };
        let (authority, target) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        Self {
            scheme,
            authority: Authority::parse_with_default(authority, scheme.default_port()).unwrap(),
            target: RequestTarget::parse(target).unwrap(),
            agent: None,
            headers: HeaderMap::new(),
        }
    }

    pub(crate) fn by(mut self, agent: &str) -> Self {
        self.agent = Some(agent.to_owned());
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
        self
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            scheme: self.scheme,
            authority: &self.authority,
            target: &self.target,
            agent: self.agent.as_deref(),
            headers: &self.headers,
        }
    }
}

/// A decision as one word: `+name`, `forward`, or the code of the refusal with the names that it carries.
pub(crate) fn shown(decision: &Decision<'_>) -> String {
    match decision {
        Decision::Inject(rule) => format!("+{}", rule.name()),
        Decision::Forward => "forward".to_owned(),
        Decision::Deny(denial) => {
            assert!(!denial.hint().is_empty());
            match denial {
                Denial::AmbiguousPath { services } | Denial::AmbiguousAccount { services } => {
                    format!("{} {}", denial.code(), services.join(" "))
                }
                Denial::NoMatch { host } => format!("{} {host}", denial.code()),
                _ => format!("{} {}", denial.code(), denial.service().unwrap_or_default()),
            }
        }
    }
}

pub(crate) fn decided(set: &RuleSet, request: &Request) -> String {
    shown(&set.decide(&request.facts()))
}
