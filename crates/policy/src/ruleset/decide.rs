//! The decision: which rule a request falls under.
//!
//! 1. The best matching rule is looked for under every reading of the path. The readings must agree, or nobody can say which rule the
//!    upstream's own reading would fall under.
//! 2. Rules that match alike (same host, port and path) are accounts of one service; agent and placeholder choose among them.
//! 3. The chosen rule refuses when it is disabled, or when its credential would go out in the clear.

use super::index::{Bucket, Entry};
use super::{Decision, Denial, Facts, Rule, RuleSet, UnmatchedPolicy};
use crate::authority::Scheme;
use crate::surface::{Finder, basic_credentials};
use std::sync::Arc;

impl RuleSet {
    /// Decides. Pure, and without allocation unless it refuses or several rules match alike.
    #[must_use]
    pub fn decide<'r>(&'r self, facts: &Facts<'_>) -> Decision<'r> {
        let buckets = self.index.buckets(facts.authority.host());
        let winner = match agreed_group(&buckets, facts) {
            Ok(winner) => winner,
            Err(services) => return Decision::Deny(Denial::AmbiguousPath { services }),
        };
        let Some(group) = winner else {
            return match self.unmatched {
                UnmatchedPolicy::Passthrough => Decision::Forward,
                UnmatchedPolicy::Deny => Decision::Deny(Denial::NoMatch {
                    host: facts.authority.host_header(facts.scheme),
                }),
            };
        };
        let rule = match choose(group, facts) {
            Ok(rule) => rule,
            Err(denial) => return Decision::Deny(denial),
        };
        if !rule.service.enabled {
            return Decision::Deny(Denial::Disabled {
                service: rule.name().to_owned(),
            });
        }
        if facts.scheme == Scheme::Http && rule.service.require_tls && !rule.keys.is_empty() {
            return Decision::Deny(Denial::TlsRequired {
                service: rule.name().to_owned(),
            });
        }
        Decision::Inject(rule)
    }
}

/// Rules that match alike, in stored order.
type Group<'r> = &'r [Arc<Rule>];

/// The group that wins under every reading of the path; the names of all winners when the readings disagree.
fn agreed_group<'r>(
    buckets: &[Option<&'r Bucket>; 2],
    facts: &Facts<'_>,
) -> Result<Option<Group<'r>>, Vec<String>> {
    let mut readings = facts.target.readings();
    let first = readings.next().and_then(|path| best(buckets, facts, path));
    let mut agree = true;
    for path in readings {
        agree = agree && same_group(first, best(buckets, facts, path));
    }
    if agree && facts.target.has_bad_escape() {
        agree = !candidates(buckets, facts)
            .any(|entry| entry.rule.service.path.is_some() || entry.rule.surfaces.on_path());
    }
    if agree {
        return Ok(first);
    }
    let mut rules: Vec<&Arc<Rule>> = facts
        .target
        .readings()
        .filter_map(|path| best(buckets, facts, path))
        .flatten()
        .collect();
    rules.sort_by_key(|rule| rule.index);
    rules.dedup_by_key(|rule| rule.index);
    Err(rules.iter().map(|rule| rule.name().to_owned()).collect())
}

fn same_group(one: Option<Group<'_>>, other: Option<Group<'_>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        _ => false,
    }
}

/// The group of the best rule for one reading of the path.
fn best<'r>(
    buckets: &[Option<&'r Bucket>; 2],
    facts: &Facts<'_>,
    path: &[u8],
) -> Option<Group<'r>> {
    for bucket in buckets.iter().flatten() {
        let fits = |entry: &&Entry| {
            concerns(&entry.rule, facts)
                && entry
                    .rule
                    .service
                    .path
                    .as_ref()
                    .is_none_or(|glob| glob.matches(path))
        };
        if let Some(entry) = bucket.order.iter().find(fits) {
            return bucket.groups.get(entry.group).map(Vec::as_slice);
        }
    }
    None
}

/// The rules that would match if the path were right.
fn candidates<'r>(
    buckets: &[Option<&'r Bucket>; 2],
    facts: &Facts<'_>,
) -> impl Iterator<Item = &'r Entry> {
    buckets
        .iter()
        .flatten()
        .flat_map(|bucket| &bucket.order)
        .filter(|entry| concerns(&entry.rule, facts))
}

/// Port and agent: a rule for certain agents does not exist for anybody else.
fn concerns(rule: &Rule, facts: &Facts<'_>) -> bool {
    rule.service
        .port
        .is_none_or(|port| port == facts.authority.port())
        && is_for(rule, facts.agent)
}

pub(super) fn is_for(rule: &Rule, agent: Option<&str>) -> bool {
    let agents = &rule.service.select.agents;
    agents.is_empty()
        || agent.is_some_and(|agent| agents.iter().any(|known| known.as_str() == agent))
}

/// Chooses among rules that match alike: first by agent, then by placeholder. Never the first for want of a better.
fn choose<'r>(group: Group<'r>, facts: &Facts<'_>) -> Result<&'r Arc<Rule>, Denial> {
    if let [only] = group
        && only.account.required.is_none()
    {
        return Ok(only);
    }
    let members: Vec<&'r Arc<Rule>> = group
        .iter()
        .filter(|rule| is_for(rule, facts.agent))
        .collect();
    let mut left: Vec<&'r Arc<Rule>> = Vec::new();
    let mut best = (false, false);
    for rule in &members {
        let carried = match &rule.account.required {
            Some(required) => {
                if !carries(facts, required) {
                    continue;
                }
                true
            }
            None => {
                members.len() > 1
                    && rule
                        .account
                        .own
                        .as_ref()
                        .is_some_and(|own| carries(facts, own))
            }
        };
        let rank = (!rule.service.select.agents.is_empty(), carried);
        if left.is_empty() || rank > best {
            left.clear();
            best = rank;
        }
        if rank == best {
            left.push(rule);
        }
    }
    let undecided = if left.is_empty() { &members } else { &left };
    match undecided.as_slice() {
        [only] if !left.is_empty() => Ok(only),
        [first, ..] if !first.service.enabled => Err(Denial::Disabled {
            service: first.name().to_owned(),
        }),
        _ => {
            let mut enabled = left.iter().filter(|rule| rule.service.enabled);
            match (enabled.next(), enabled.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Denial::AmbiguousAccount {
                    services: undecided
                        .iter()
                        .map(|rule| rule.name().to_owned())
                        .collect(),
                }),
            }
        }
    }
}

/// Whether the request carries one of the texts: in a header value, inside Basic credentials, in path or query.
fn carries(facts: &Facts<'_>, finder: &Finder) -> bool {
    finder.first(facts.target.as_str().as_bytes()).is_some()
        || facts.headers.values().any(|value| {
            finder.first(value.as_bytes()).is_some()
                || basic_credentials(value.as_bytes())
                    .is_some_and(|inside| finder.first(&inside).is_some())
        })
}
