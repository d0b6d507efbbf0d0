//! A vault's services, compiled once, and the decision that each request gets from them.

mod decide;
mod index;
mod known;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::authority::{Authority, Scheme};
use crate::credential::CredentialKey;
use crate::service::{Service, Surface};
use crate::surface::{Finder, RuleSurfaces};
use crate::target::RequestTarget;

pub(crate) use known::Known;

/// What happens to requests that no rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnmatchedPolicy {
    /// They go out with nothing injected.
    #[default]
    Passthrough,
    /// They are refused.
    Deny,
}

/// What a decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The scheme towards the upstream.
    pub scheme: Scheme,
    /// Where the request goes.
    pub authority: &'a Authority,
    /// The target as it will be sent.
    pub target: &'a RequestTarget,
    /// The agent's name, when an agent asks.
    pub agent: Option<&'a str>,
    /// The client's headers; read only where several rules match alike.
    pub headers: &'a HeaderMap,
}

/// What is to happen with a request.
#[derive(Debug, Clone)]
pub enum Decision<'r> {
    /// Apply this rule.
    Inject(&'r Arc<Rule>),
    /// No rule matches and the vault lets such requests pass: forward with nothing injected.
    Forward,
    /// Refuse.
    Deny(Denial),
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// No rule matches and the vault refuses such requests.
    #[error("no service of this vault is for {host}")]
    NoMatch {
        /// Host, with its port when that is not the scheme's default.
        host: String,
    },
    /// The matching rule is disabled. There is no falling through to a less specific one.
    #[error("the service `{service}` is disabled")]
    Disabled {
        /// Its name.
        service: String,
    },
    /// The path can be read in several ways that different rules are for.
    #[error(
        "the path can be read in more than one way, and the readings fall under different services"
    )]
    AmbiguousPath {
        /// The rules that some reading selects, in stored order.
        services: Vec<String>,
    },
    /// Several rules match alike and nothing in the request chooses one.
    #[error("several services match alike: {}", services.join(", "))]
    AmbiguousAccount {
        /// Their names, in stored order.
        services: Vec<String>,
    },
    /// The rule's credentials go out over TLS only, and this request would not.
    #[error(
        "the service `{service}` sends its credential over TLS only, and this request is plain http"
    )]
    TlsRequired {
        /// Its name.
        service: String,
    },
}

impl Denial {
    /// The stable code for answers and the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoMatch { .. } => "no_match",
            Self::Disabled { .. } => "service_disabled",
            Self::AmbiguousPath { .. } => "ambiguous_path",
            Self::AmbiguousAccount { .. } => "ambiguous_account",
            Self::TlsRequired { .. } => "tls_required",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoMatch { host } => {
                format!("add a service for it (`agent-vault vault service add --host {host} ...`) or propose one")
            }
            Self::Disabled { service } => format!("`agent-vault vault service enable {service}` allows it again"),
            Self::AmbiguousPath { .. } => {
                "send the path in its plain form: no dot segments, no doubled or encoded slashes, no malformed percent-escapes".to_owned()
            }
            Self::AmbiguousAccount { services } => format!(
                "send the placeholder of the account that is meant, or give the services `select: {{agents: [...]}}` or `select: \
                 {{placeholder: ...}}` ({})",
                services.join(", ")
            ),
            Self::TlsRequired { service } => {
                format!("use https, or set `require_tls: false` on `{service}` if the network between is trusted")
            }
        }
    }

    /// The one rule that refused, where it was one.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Disabled { service } | Self::TlsRequired { service } => Some(service),
            _ => None,
        }
    }
}

/// A service, compiled.
pub struct Rule {
    index: usize,
    service: Service,
    keys: Vec<CredentialKey>,
    pub(crate) surfaces: RuleSurfaces,
    injected: Vec<HeaderName>,
    account: Account,
}

/// What in a request chooses this rule among its like.
struct Account {
    /// Text that the request must carry, when the rule says so.
    required: Option<Finder>,
    /// The placeholders of the rule's own credentials, where other rules match alike.
    own: Option<Finder>,
}

impl Rule {
    /// Position in the vault's list.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.service.name.as_str()
    }

    /// The credentials that the rule needs, each once.
    #[must_use]
    pub fn keys(&self) -> &[CredentialKey] {
        &self.keys
    }

    /// The names of the fields that the rule injects, each once. Whatever the client sent under them is dropped first.
    #[must_use]
    pub fn injected_headers(&self) -> &[HeaderName] {
        &self.injected
    }

    /// Whether the rule injects this field.
    #[must_use]
    pub fn injects_header(&self, name: &HeaderName) -> bool {
        self.injected.contains(name)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("index", &self.index)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// All rules of a vault, compiled. Cheap to read, immutable, shared.
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    unmatched: UnmatchedPolicy,
    index: index::Index,
    known: Option<Arc<Known>>,
}

impl RuleSet {
    /// Compiles. Total: services are already valid. `own_placeholders` are the texts that stand for credentials in the environment
    /// of agents.
    #[must_use]
    pub fn compile(
        services: Vec<Service>,
        unmatched: UnmatchedPolicy,
        own_placeholders: &BTreeMap<CredentialKey, String>,
    ) -> Self {
        let known = Known::collect(&services, own_placeholders).map(Arc::new);
        let mut alike: HashMap<String, usize> = HashMap::with_capacity(services.len());
        for service in &services {
            *alike.entry(service.inline_host()).or_default() += 1;
        }
        let rules: Vec<Arc<Rule>> = services
            .into_iter()
            .enumerate()
            .map(|(index, service)| {
                let contested = alike
                    .get(&service.inline_host())
                    .is_some_and(|&count| count > 1);
                Arc::new(Rule::compile(index, service, contested, own_placeholders))
            })
            .collect();
        let index = index::Index::build(&rules);
        Self {
            rules,
            unmatched,
            index,
            known,
        }
    }

    /// The rules in stored order.
    #[must_use]
    pub fn services(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// What happens to requests that no rule matches.
    #[must_use]
    pub fn unmatched(&self) -> UnmatchedPolicy {
        self.unmatched
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleSet")
            .field("rules", &self.rules)
            .field("unmatched", &self.unmatched)
            .finish_non_exhaustive()
    }
}

impl Rule {
    fn compile(
        index: usize,
        service: Service,
        contested: bool,
        own_placeholders: &BTreeMap<CredentialKey, String>,
    ) -> Self {
        let keys = service.keys();
        let surfaces = RuleSurfaces::compile(&service.substitutions);
        let injected = crate::surface::injected_names(&service.auth);
        let account = Account {
            required: service
                .select
                .placeholder
                .as_deref()
                .and_then(|text| Finder::build(&[text])),
            own: if contested {
                Finder::build(&service.own_texts(&keys, own_placeholders))
            } else {
                None
            },
        };
        Self {
            index,
            service,
            keys,
            surfaces,
            injected,
            account,
        }
    }
}

impl Service {
    /// What stands for the rule's credentials in path, query and headers: the placeholders that it replaces there, and those that
    /// agents have in their environment.
    fn own_texts<'s>(
        &'s self,
        keys: &[CredentialKey],
        own_placeholders: &'s BTreeMap<CredentialKey, String>,
    ) -> Vec<&'s str> {
        let replaced = self
            .substitutions
            .iter()
            .filter(|s| {
                [Surface::Path, Surface::Query, Surface::Header]
                    .iter()
                    .any(|&surface| s.surfaces.contains(surface))
            })
            .map(|s| s.placeholder.as_str());
        keys.iter()
            .filter_map(|key| own_placeholders.get(key))
            .map(String::as_str)
            .chain(replaced)
            .collect()
    }
}
