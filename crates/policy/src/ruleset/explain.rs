//! Why each rule does or does not decide a request: for people who ask, never on the request path.

use std::sync::Arc;

use super::decide::is_for;
use super::{Decision, Denial, Facts, Rule, RuleSet};

/// How one rule stands to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleStanding {
    /// It decides: its credential goes on the request.
    Chosen,
    /// It decides, and the decision is a refusal.
    Refuses,
    /// It matches like another, and nothing in the request tells which is meant.
    Undecided,
    /// It is for other hosts.
    OtherHost,
    /// It is for another port.
    OtherPort,
    /// It is for other paths.
    OtherPath,
    /// It is for other agents.
    OtherAgent,
    /// It matches like the chosen one, and the request means that one.
    OtherAccount,
    /// It matches, and this more specific rule comes first.
    LessSpecific {
        /// Name of the rule that comes first.
        than: String,
    },
}

/// A decision, and how every rule stands to it.
#[derive(Debug)]
pub struct Explanation<'r> {
    /// What [`RuleSet::decide`] says.
    pub decision: Decision<'r>,
    /// Every rule in stored order.
    pub rules: Vec<(&'r Arc<Rule>, RuleStanding)>,
}

impl RuleSet {
    /// Decides as [`RuleSet::decide`] does, and says of each rule why it is or is not the one.
    #[must_use]
    pub fn explain<'r>(&'r self, facts: &Facts<'_>) -> Explanation<'r> {
        let decision = self.decide(facts);
        let rules = self
            .rules
            .iter()
            .map(|rule| (rule, standing(rule, facts, &decision)))
            .collect();
        Explanation { decision, rules }
    }
}

fn standing(rule: &Rule, facts: &Facts<'_>, decision: &Decision<'_>) -> RuleStanding {
    let service = rule.service();
    if !service.host.matches(facts.authority.host()) {
        return RuleStanding::OtherHost;
    }
    if service
        .port
        .is_some_and(|port| port != facts.authority.port())
    {
        return RuleStanding::OtherPort;
    }
    let on_path = service
        .path
        .as_ref()
        .is_none_or(|path| facts.target.readings().any(|reading| path.matches(reading)));
    if !on_path {
        return RuleStanding::OtherPath;
    }
    if !is_for(rule, facts.agent) {
        return RuleStanding::OtherAgent;
    }
    match decision {
        Decision::Inject(chosen) if chosen.index() == rule.index() => RuleStanding::Chosen,
        Decision::Inject(chosen) if chosen.service().same_matcher(service) => {
            RuleStanding::OtherAccount
        }
        Decision::Inject(chosen) => RuleStanding::LessSpecific {
            than: chosen.name().to_owned(),
        },
        Decision::Deny(denial) => match denial {
            Denial::Disabled { service } | Denial::TlsRequired { service } => {
                beside(rule, std::slice::from_ref(service), RuleStanding::Refuses)
            }
            Denial::AmbiguousPath { services } | Denial::AmbiguousAccount { services } => {
                beside(rule, services, RuleStanding::Undecided)
            }
            Denial::NoMatch { .. } => RuleStanding::OtherPath,
        },
        Decision::Forward => RuleStanding::OtherPath,
    }
}

/// The standing of a rule that is among those named, or else comes after them.
fn beside(rule: &Rule, named: &[String], standing: RuleStanding) -> RuleStanding {
    match named.first() {
        Some(first) if !named.iter().any(|name| name == rule.name()) => {
            RuleStanding::LessSpecific {
                than: first.clone(),
            }
        }
        _ => standing,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderMap;

    use super::*;
    use crate::authority::{Authority, Scheme};
    use crate::ruleset::UnmatchedPolicy;
    use crate::service::{Service, ValidationOptions};
    use crate::target::RequestTarget;

    fn standings(
        scheme: Scheme,
        authority: &str,
        target: &str,
        agent: Option<&str>,
    ) -> Vec<RuleStanding> {
        let services = Service::list_from_json(
            r#"[{"name":"all","host":"api.x.com","auth":{"type":"bearer","token":"A"}},
                {"name":"one","host":"api.x.com/v1/*","auth":{"type":"bearer","token":"B"}},
                {"name":"off","host":"api.x.com/off/*","enabled":false,"auth":{"type":"bearer","token":"C"}},
                {"name":"port","host":"api.x.com:8443","auth":{"type":"bearer","token":"D"}},
                {"name":"bot","host":"api.x.com/v1/*","auth":{"type":"bearer","token":"E"},"select":{"agents":["bot"]}},
                {"name":"other","host":"api.y.com","auth":{"type":"bearer","token":"F"}}]"#,
            &ValidationOptions { dev_mode: true },
        )
        .unwrap();
        let rules = RuleSet::compile(services, UnmatchedPolicy::Deny, &BTreeMap::new());
        let authority = Authority::parse(authority).unwrap();
        let target = RequestTarget::parse(target).unwrap();
        let facts = Facts {
            scheme,
            authority: &authority,
            target: &target,
            agent,
            headers: &HeaderMap::new(),
        };
        let explained = rules.explain(&facts);
        explained
            .rules
            .into_iter()
            .map(|(_, standing)| standing)
            .collect()
    }

    #[test]
    fn each_rule_has_its_reason() {
        use RuleStanding::{
            Chosen, OtherAccount, OtherAgent, OtherHost, OtherPath, OtherPort, Refuses,
        };
        let after = |than: &str| RuleStanding::LessSpecific { than: than.into() };
        let https = Scheme::Https;
        assert_eq!(
            standings(https, "api.x.com:443", "/v1/a", None),
            [
                after("one"),
                Chosen,
                OtherPath,
                OtherPort,
                OtherAgent,
                OtherHost
            ]
        );
        assert_eq!(
            standings(https, "api.x.com:443", "/v1/a", Some("bot")),
            [
                after("bot"),
                OtherAccount,
                OtherPath,
                OtherPort,
                Chosen,
                OtherHost
            ]
        );
        assert_eq!(
            standings(https, "api.x.com:443", "/off/a", None),
            [
                after("off"),
                OtherPath,
                Refuses,
                OtherPort,
                OtherPath,
                OtherHost
            ]
        );
        assert_eq!(
            standings(https, "api.x.com:8443", "/v1/a", None),
            [
                after("port"),
                after("port"),
                OtherPath,
                Chosen,
                OtherAgent,
                OtherHost
            ]
        );
        assert_eq!(
            standings(Scheme::Http, "api.x.com:80", "/", None),
            [
                Refuses, OtherPath, OtherPath, OtherPort, OtherPath, OtherHost
            ]
        );
        assert_eq!(
            standings(https, "api.z.com:443", "/", None),
            vec![OtherHost; 6]
        );
    }
}
