//! What a minted token is confined to: read from a client, from its row, and checked where it manages.

use std::collections::BTreeSet;
use std::net::IpAddr;

use agent_vault_broker::{MAX_BUDGET, RequestBudget, TokenBounds, is_within};
use agent_vault_store::Session;
use ipnet::IpNet;

use crate::access;
use crate::error::ControlError;

/// Most services that a token may name.
const MAX_SERVICES: usize = 200;
/// Most networks that a token may name.
const MAX_SOURCES: usize = 32;

/// What a token is to be confined to, as a client sent it. The default confines nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewBounds {
    /// Names of the services that it may use.
    pub services: Option<Vec<String>>,
    /// How many requests it has.
    pub requests: Option<u64>,
    /// Networks or addresses that it may be used from.
    pub sources: Option<Vec<String>>,
}

/// What a token is confined to, for lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoundsView {
    /// Names of the services that it may use; `None` is all of them.
    pub services: Option<Vec<String>>,
    /// How many requests it has; `None` is no end.
    pub requests: Option<u64>,
    /// How many of them are left.
    pub requests_left: Option<u64>,
    /// Networks that it may be used from; none is any.
    pub sources: Vec<String>,
}

impl NewBounds {
    /// Checks everything but whether the services exist: that is known in the vault only.
    ///
    /// # Errors
    /// `Invalid`, with the field, its bounds and an example.
    pub(crate) fn read(self) -> Result<TokenBounds, ControlError> {
        if let Some(names) = &self.services {
            if names.is_empty() {
                return Err(
                    ControlError::invalid("services must name at least one service")
                        .hint("leave it out for a token that may use them all"),
                );
            }
            if names.len() > MAX_SERVICES {
                return Err(ControlError::invalid(format!(
                    "services must be at most {MAX_SERVICES} names"
                ))
                .hint("leave it out for a token that may use them all"));
            }
        }
        let budget = match self.requests {
            None => None,
            Some(limit) if (1..=MAX_BUDGET).contains(&limit) => {
                Some(RequestBudget { limit, spent: 0 })
            }
            Some(_) => {
                return Err(ControlError::invalid(format!(
                    "request_budget must be between 1 and {MAX_BUDGET}"
                ))
                .hint("leave it out for a token without an end to its requests"));
            }
        };
        Ok(TokenBounds {
            services: self.services.map(|names| {
                let names: BTreeSet<String> = names.into_iter().collect();
                names.into_iter().collect()
            }),
            budget,
            sources: sources(self.sources)?,
        })
    }
}

fn sources(given: Option<Vec<String>>) -> Result<Vec<IpNet>, ControlError> {
    let Some(given) = given else {
        return Ok(Vec::new());
    };
    // Taken for "anywhere", an empty list would say the opposite of what it seems to.
    if given.is_empty() {
        return Err(
            ControlError::invalid("sources must name at least one network")
                .hint("leave it out for a token that may be used from anywhere"),
        );
    }
    if given.len() > MAX_SOURCES {
        return Err(ControlError::invalid(format!(
            "sources must be at most {MAX_SOURCES} networks"
        ))
        .hint("wider networks hold more addresses: for example `10.0.0.0/8`"));
    }
    let mut networks = given
        .iter()
        .map(|text| network(text))
        .collect::<Result<Vec<_>, _>>()?;
    networks.sort();
    networks.dedup();
    Ok(networks)
}

fn network(text: &str) -> Result<IpNet, ControlError> {
    let bad = |what: &str| {
        ControlError::invalid(format!("sources: `{}` {what}", access::shown(text)))
            .hint("give networks such as `10.20.0.0/16`, `2001:db8::/32`, or one address")
    };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text
        .parse()
        .map_err(|_| bad("is neither a network nor an address"))?;
    if network.trunc() != network {
        return Err(bad(&format!(
            "has bits set beyond its prefix; the network is {}",
            network.trunc()
        )));
    }
    // Addresses are compared in the form that they have on their own.
    if network.addr().to_canonical() != network.addr() {
        return Err(bad("is an IPv4 network in the form of IPv6"));
    }
    Ok(network)
}

/// Refuses names of services that the vault does not have.
pub(crate) fn check_services(bounds: &TokenBounds, known: &[String]) -> Result<(), ControlError> {
    let unknown = bounds
        .services
        .iter()
        .flatten()
        .find(|name| !known.contains(name));
    match unknown {
        None => Ok(()),
        Some(name) => Err(ControlError::invalid(format!(
            "services: the vault has no service \"{}\"",
            access::shown(name)
        ))
        .hint("list them with `agent-vault vault service list`")),
    }
}

/// What a token's row says, for the broker.
pub(crate) fn stored(session: &Session) -> Result<TokenBounds, ipnet::AddrParseError> {
    Ok(TokenBounds {
        services: session.services.clone(),
        budget: session.budget.map(|limit| RequestBudget {
            limit,
            spent: session.budget_spent,
        }),
        sources: session
            .sources
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>()?,
    })
}

/// What a token's row says, for lists. `left` is what the broker has counted, where it knows the token.
pub(crate) fn view(session: &Session, left: Option<u64>) -> BoundsView {
    BoundsView {
        services: session.services.clone(),
        requests: session.budget,
        requests_left: session
            .budget
            .map(|limit| left.unwrap_or_else(|| limit.saturating_sub(session.budget_spent))),
        sources: session.sources.clone(),
    }
}

/// Refuses a token that is presented from where it may not be used. Without an address nobody knows where that is.
pub(crate) fn check_source(session: &Session, address: Option<&str>) -> Result<(), ControlError> {
    if session.sources.is_empty() {
        return Ok(());
    }
    let networks = stored(session)
        .map_err(|error| ControlError::internal("the bounds of a token cannot be read", error))?
        .sources;
    let address: Option<IpAddr> = address.and_then(|text| text.parse().ok());
    if address.is_some_and(|address| is_within(&networks, address)) {
        return Ok(());
    }
    let from = address.map_or_else(|| "here".to_owned(), |address| address.to_string());
    Err(
        ControlError::forbidden(format!("This token may not be used from {from}"))
            .coded("token_source")
            .hint("use it from the networks that it was minted for, or have another one minted"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(sources: &[&str]) -> Result<TokenBounds, ControlError> {
        NewBounds {
            sources: Some(sources.iter().map(ToString::to_string).collect()),
            ..NewBounds::default()
        }
        .read()
    }

    #[test]
    fn networks_have_one_spelling() {
        let read = bounds(&[
            "10.20.0.0/16",
            "192.0.2.7",
            "::ffff:192.0.2.7",
            "2001:DB8::/32",
        ]);
        let texts: Vec<String> = read
            .unwrap()
            .sources
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["10.20.0.0/16", "192.0.2.7/32", "2001:db8::/32"]);
        for bad in [
            "",
            "localhost",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8 ",
            "0x0a.0.0.1",
            "10.0.0",
        ] {
            let refused = bounds(&[bad]).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Invalid, "{bad}");
        }
        assert!(bounds(&[]).is_err());
        assert!(bounds(&["10.0.0.0/8"; 33]).is_err());
    }

    #[test]
    fn numbers_and_names_are_bounded() {
        let requests = |requests| {
            NewBounds {
                requests: Some(requests),
                ..NewBounds::default()
            }
            .read()
        };
        assert!(requests(0).is_err());
        assert!(requests(MAX_BUDGET + 1).is_err());
        assert_eq!(requests(MAX_BUDGET).unwrap().budget.unwrap().spent, 0);
        let services = |names: Vec<String>| {
            NewBounds {
                services: Some(names),
                ..NewBounds::default()
            }
            .read()
        };
        assert!(services(Vec::new()).is_err());
        assert!(services(vec!["one".to_owned(); 201]).is_err());
        let twice = services(vec!["one".to_owned(), "one".to_owned()]).unwrap();
        assert_eq!(twice.services.unwrap(), ["one"]);
    }
}
