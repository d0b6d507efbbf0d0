//! A naive matcher, written straight from the rules' prose, against which the compiled one is compared. Slow and plain on purpose.

use agent_vault_policy::{Facts, HostPattern, RuleSet, Scheme, Service, UnmatchedPolicy};

/// The decision in the words of `support::shown`.
pub(crate) fn decide(
    services: &[Service],
    unmatched: UnmatchedPolicy,
    own: &std::collections::BTreeMap<agent_vault_policy::CredentialKey, String>,
    facts: &Facts<'_>,
) -> String {
    let readings: Vec<Vec<u8>> = facts.target.readings().map(<[u8]>::to_vec).collect();
    let winners: Vec<Option<usize>> = readings
        .iter()
        .map(|path| winner(services, facts, path))
        .collect();
    // Rules that match alike stand for each other.
    let alike = |a: Option<usize>, b: Option<usize>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => matcher(&services[a]) == matcher(&services[b]),
        _ => false,
    };
    let mut ambiguous = winners.iter().any(|&w| !alike(w, winners[0]));
    if facts.target.has_bad_escape() {
        ambiguous |= services.iter().any(|s| {
            host_tier(s, facts) > 0
                && port_fits(s, facts)
                && agent_fits(s, facts)
                && (s.path.is_some()
                    || s.substitutions
                        .iter()
                        .any(|x| x.surfaces.contains(agent_vault_policy::Surface::Path)))
        });
    }
    if ambiguous {
        let mut all: Vec<usize> = Vec::new();
        for w in winners.into_iter().flatten() {
            all.extend(
                (0..services.len()).filter(|&i| matcher(&services[i]) == matcher(&services[w])),
            );
        }
        all.sort_unstable();
        all.dedup();
        let names: Vec<&str> = all.iter().map(|&i| services[i].name.as_str()).collect();
        return format!("ambiguous_path {}", names.join(" "));
    }
    let Some(first) = winners[0] else {
        return match unmatched {
            UnmatchedPolicy::Passthrough => "forward".to_owned(),
            UnmatchedPolicy::Deny => {
                format!("no_match {}", facts.authority.host_header(facts.scheme))
            }
        };
    };
    let members: Vec<&Service> = services
        .iter()
        .filter(|s| matcher(s) == matcher(&services[first]) && agent_fits(s, facts))
        .collect();
    let carries = |text: &str| {
        facts.target.as_str().contains(text)
            || facts
                .headers
                .values()
                .any(|v| v.to_str().unwrap_or("").contains(text))
    };
    let mut ranked: Vec<((bool, bool), &Service)> = Vec::new();
    for member in &members {
        let carried = match &member.select.placeholder {
            Some(text) if !carries(text) => continue,
            Some(_) => true,
            None => {
                let own = member
                    .keys()
                    .iter()
                    .any(|key| own.get(key).is_some_and(|text| carries(text)));
                // The generated substitutions are all on the path.
                members.len() > 1
                    && (own
                        || member
                            .substitutions
                            .iter()
                            .any(|s| carries(s.placeholder.as_str())))
            }
        };
        ranked.push(((!member.select.agents.is_empty(), carried), member));
    }
    let best = ranked.iter().map(|(rank, _)| *rank).max();
    let left: Vec<&Service> = ranked
        .iter()
        .filter(|(rank, _)| Some(*rank) == best)
        .map(|(_, s)| *s)
        .collect();
    let chosen = if left.len() == 1 {
        left[0]
    } else {
        let undecided = if left.is_empty() { &members } else { &left };
        if !undecided[0].enabled {
            return format!("service_disabled {}", undecided[0].name);
        }
        let enabled: Vec<&&Service> = left.iter().filter(|s| s.enabled).collect();
        if enabled.len() != 1 {
            let names: Vec<&str> = undecided.iter().map(|s| s.name.as_str()).collect();
            return format!("ambiguous_account {}", names.join(" "));
        }
        enabled[0]
    };
    if !chosen.enabled {
        return format!("service_disabled {}", chosen.name);
    }
    if facts.scheme == Scheme::Http && chosen.require_tls && !chosen.keys().is_empty() {
        return format!("tls_required {}", chosen.name);
    }
    format!("+{}", chosen.name)
}

/// Host tier, then port-specific over any-port, then the longer literal prefix, then the earlier position.
fn winner(services: &[Service], facts: &Facts<'_>, path: &[u8]) -> Option<usize> {
    let mut best: Option<((u8, bool, usize), usize)> = None;
    for (index, service) in services.iter().enumerate() {
        let tier = host_tier(service, facts);
        if tier == 0 || !port_fits(service, facts) || !agent_fits(service, facts) {
            continue;
        }
        let pattern = service.path.as_ref().map(|p| p.as_str()).unwrap_or("");
        if !pattern.is_empty() && !glob(pattern.as_bytes(), path) {
            continue;
        }
        let prefix = pattern.find('*').unwrap_or(pattern.len());
        let rank = (tier, service.port.is_some(), prefix);
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, index));
        }
    }
    best.map(|(_, index)| index)
}

fn host_tier(service: &Service, facts: &Facts<'_>) -> u8 {
    let host = facts.authority.host().as_str();
    match &service.host {
        HostPattern::Exact(own) => u8::from(own.as_str() == host) * 2,
        HostPattern::Wildcard { suffix } => {
            let labels: Vec<&str> = host.split('.').collect();
            u8::from(
                facts.authority.host().ip().is_none() && labels[1..].join(".") == suffix.as_str(),
            )
        }
    }
}

fn port_fits(service: &Service, facts: &Facts<'_>) -> bool {
    service.port.is_none() || service.port == Some(facts.authority.port())
}

fn agent_fits(service: &Service, facts: &Facts<'_>) -> bool {
    service.select.agents.is_empty()
        || service
            .select
            .agents
            .iter()
            .any(|a| Some(a.as_str()) == facts.agent)
}

fn matcher(service: &Service) -> (String, Option<u16>, String) {
    let path = service
        .path
        .as_ref()
        .map(|p| p.as_str().to_owned())
        .unwrap_or_default();
    (service.host.to_string(), service.port, path)
}

/// `*` takes any run, tried from the shortest.
pub(crate) fn glob(pattern: &[u8], path: &[u8]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((b'*', rest)) => (0..=path.len()).any(|taken| glob(rest, &path[taken..])),
        Some((literal, rest)) => path
            .split_first()
            .is_some_and(|(b, path)| b == literal && glob(rest, path)),
    }
}

/// Both decisions on one request.
pub(crate) fn agree(
    services: &[Service],
    unmatched: UnmatchedPolicy,
    own: &std::collections::BTreeMap<agent_vault_policy::CredentialKey, String>,
    facts: &Facts<'_>,
) -> (String, String) {
    let set = RuleSet::compile(services.to_vec(), unmatched, own);
    (
        crate::support::shown(&set.decide(facts)),
        decide(services, unmatched, own, facts),
    )
}
