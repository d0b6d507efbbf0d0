//! One vault as the proxy sees it, and the decision on one request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use agent_vault_policy::{
    CredentialKey, Decision, Denial, Facts, Rule, RuleSet, Service, UnmatchedPolicy,
};
use agent_vault_seal::Keyring;
use jiff::Timestamp;
use uuid::Uuid;

use crate::bounds::{Bounds, BudgetRefusal};
use crate::former::{self, Former};
use crate::grant::{Grant, GrantError, Token};
use crate::record::{SealedCredential, VaultRecord};
use crate::source::{Flights, Renewal, RenewalFault, RenewalOrder};

/// A vault in the snapshot: compiled rules, sealed values, and what has been opened of them so far.
pub(crate) struct Vault {
    pub(crate) id: Uuid,
    pub(crate) name: Arc<str>,
    rules: Arc<Result<RuleSet, Arc<str>>>,
    /// The rules' names, as the log shows them.
    names: Arc<[Arc<str>]>,
    pub(crate) credentials: Arc<HashMap<CredentialKey, SealedCredential>>,
    /// Values that are lent for a while and lie nowhere else. A stored one of the same name wins.
    pub(crate) leased: Arc<HashMap<CredentialKey, SealedCredential>>,
    /// Whether keys that are not there may be lent on demand, and how often what can be lent has changed.
    leasing: Option<u32>,
    /// What responses are searched for besides.
    pub(crate) former: Vec<Former>,
    pub(crate) keyring: Arc<Keyring>,
    flights: Arc<Flights>,
    /// One cell per rule: opened at the first request that the rule decides, dropped with this snapshot.
    grants: Vec<OnceLock<Result<Arc<Grant>, GrantError>>>,
}

impl Vault {
    pub(crate) fn new(record: VaultRecord, keyring: Arc<Keyring>, flights: Arc<Flights>) -> Self {
        let placeholders: BTreeMap<CredentialKey, String> =
            record.placeholders.into_iter().collect();
        let compile = |services: Vec<Service>, unmatched: UnmatchedPolicy| {
            RuleSet::compile(services, unmatched, &placeholders)
        };
        let rules = record
            .services
            .map(|services| compile(services, record.unmatched))
            .map_err(Arc::from);
        let names: Arc<[Arc<str>]> = rules.as_ref().map_or_else(
            |_| Arc::default(),
            |rules| {
                rules
                    .services()
                    .iter()
                    .map(|rule| Arc::from(rule.name()))
                    .collect()
            },
        );
        let count = names.len();
        Self {
            id: record.id,
            name: record.name.into(),
            rules: Arc::new(rules),
            names,
            credentials: Arc::new(record.credentials.into_iter().collect()),
            leased: Arc::default(),
            leasing: None,
            former: Vec::new(),
            keyring,
            flights,
            grants: unopened(count),
        }
    }

    /// The vault in the place of `before`: what was injected until now is searched for a while longer.
    #[must_use]
    pub(crate) fn replacing(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before {
            let rekeying = former::Rekeying {
                owner: self.id.to_string(),
                before: &before.keyring,
                now: &self.keyring,
            };
            self.former = Former::after_change(
                &before.former,
                &before.credentials,
                &self.credentials,
                &rekeying,
            );
            self.leased = Arc::clone(&before.leased);
            self.leasing = before.leasing;
        }
        self
    }

    /// The same vault with other values lent to it. Those before are searched for a while longer.
    #[must_use]
    pub(crate) fn lent(
        &self,
        leasing: Option<u32>,
        leased: HashMap<CredentialKey, SealedCredential>,
        keyring: Arc<Keyring>,
    ) -> Self {
        let rekeying = former::Rekeying {
            owner: self.id.to_string(),
            before: &self.keyring,
            now: &keyring,
        };
        let former = Former::after_change(&self.former, &self.leased, &leased, &rekeying);
        Self {
            id: self.id,
            name: Arc::clone(&self.name),
            rules: Arc::clone(&self.rules),
            names: Arc::clone(&self.names),
            credentials: Arc::clone(&self.credentials),
            former,
            leased: Arc::new(leased),
            leasing,
            keyring,
            flights: Arc::clone(&self.flights),
            grants: unopened(self.names.len()),
        }
    }

    /// The value of a key, stored or lent.
    pub(crate) fn held(&self, key: &CredentialKey) -> Option<&SealedCredential> {
        self.credentials.get(key).or_else(|| self.leased.get(key))
    }

    /// The same vault without the former values whose time is over; `None` while there are none of these. What was opened
    /// of them is let go.
    pub(crate) fn aged(&self, now: Timestamp) -> Option<Self> {
        // Every one is asked, so that the time of each begins.
        let over = self.former.iter().filter(|former| former.is_over(now));
        if over.count() == 0 {
            return None;
        }
        Some(Self {
            id: self.id,
            name: Arc::clone(&self.name),
            rules: Arc::clone(&self.rules),
            names: Arc::clone(&self.names),
            credentials: Arc::clone(&self.credentials),
            leased: Arc::clone(&self.leased),
            leasing: self.leasing,
            former: self
                .former
                .iter()
                .filter(|former| !former.is_over(now))
                .cloned()
                .collect(),
            keyring: Arc::clone(&self.keyring),
            flights: Arc::clone(&self.flights),
            grants: unopened(self.names.len()),
        })
    }
}

fn unopened(count: usize) -> Vec<OnceLock<Result<Arc<Grant>, GrantError>>> {
    (0..count).map(|_| OnceLock::new()).collect()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A principal that is good at this moment, with its vault as it is at this moment. For one request.
#[derive(Debug, Clone)]
pub struct Admission {
    pub(crate) vault: Arc<Vault>,
    pub(crate) bounds: Option<Arc<Bounds>>,
    /// The moment of the request: what ends by time has ended by it or not.
    pub(crate) at: Timestamp,
}

/// What is to happen with a request.
#[derive(Debug)]
pub enum Verdict {
    /// A rule decides: its credential goes on the request.
    Inject(Permit),
    /// No rule matches and the vault lets such requests pass: nothing goes on it.
    Forward,
    /// Refused by a rule or by the absence of one.
    Deny(Denial),
    /// A service decides that the token may not use.
    Withheld {
        /// Its name.
        service: Arc<str>,
    },
    /// The vault's rules cannot be read: nothing goes out.
    Broken,
}

impl Admission {
    /// Identity of the vault.
    #[must_use]
    pub fn vault_id(&self) -> Uuid {
        self.vault.id
    }

    /// Name of the vault.
    #[must_use]
    pub fn vault_name(&self) -> &Arc<str> {
        &self.vault.name
    }

    /// Decides one request.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Verdict {
        let Ok(rules) = self.vault.rules.as_ref() else {
            return Verdict::Broken;
        };
        match rules.decide(facts) {
            Decision::Inject(rule) => {
                let permit = Permit {
                    rule: Arc::clone(rule),
                    vault: Arc::clone(&self.vault),
                    at: self.at,
                };
                // After the decision, or a request would fall to a wider service in the place of one that is withheld.
                match &self.bounds {
                    Some(bounds) if !bounds.may_use(rule.name()) => Verdict::Withheld {
                        service: permit.rule_name(),
                    },
                    _ => Verdict::Inject(permit),
                }
            }
            Decision::Forward => Verdict::Forward,
            Decision::Deny(denial) => Verdict::Deny(denial),
        }
    }

    /// Counts a request that goes out, where the token has only so many. Waits only while too many are counted and not
    /// written: at most two seconds.
    ///
    /// # Errors
    /// [`BudgetRefusal`]; then it must not go out.
    pub async fn spend(&self) -> Result<(), BudgetRefusal> {
        match self.bounds.as_ref().and_then(|bounds| bounds.budget()) {
            Some(budget) => budget.spend().await,
            None => Ok(()),
        }
    }

    /// The compiled rules, for checks that need the whole set.
    #[must_use]
    pub fn rules(&self) -> Option<&RuleSet> {
        self.vault.rules.as_ref().as_ref().ok()
    }
}

/// Permission of one rule for one request. Only [`Admission::decide`] makes one, and only it opens credentials.
#[derive(Debug)]
pub struct Permit {
    rule: Arc<Rule>,
    vault: Arc<Vault>,
    at: Timestamp,
}

impl Permit {
    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// The rule's name, as the log shows it.
    #[must_use]
    pub fn rule_name(&self) -> Arc<str> {
        self.vault
            .names
            .get(self.rule.index())
            .map_or_else(|| Arc::from(self.rule.name()), Arc::clone)
    }

    /// Opens what this rule needs and nothing else.
    ///
    /// The result is kept until the vault changes, so that a busy rule costs one unsealing. A token that is about to end is fetched
    /// anew beside the traffic, which goes on with it.
    ///
    /// # Errors
    /// [`GrantError`] when a credential is missing, does not open, cannot stand in a header, is not connected, or has ended.
    pub fn grant(&self) -> Result<Arc<Grant>, GrantError> {
        let grant = match self.vault.grants.get(self.rule.index()) {
            Some(cell) => cell
                .get_or_init(|| Grant::open(&self.rule, &self.vault).map(Arc::new))
                .clone(),
            None => Grant::open(&self.rule, &self.vault).map(Arc::new),
        }
        .map_err(|error| self.on_demand(error))?;
        if let Some(key) = grant.ended(self.at) {
            return Err(GrantError::Missing { key: key.clone() });
        }
        for token in grant.tokens() {
            if token.ends.is_some_and(|end| end <= self.at) {
                return Err(if token.renewable {
                    GrantError::Ended {
                        order: self.order(token, false),
                    }
                } else {
                    GrantError::NotRenewed {
                        key: token.key.clone(),
                    }
                });
            }
            if token.is_due(self.at) {
                // Whoever comes when it has ended waits for it, or hears why there is none.
                let _begun = self.vault.flights.join(self.order(token, false), self.at);
            }
        }
        Ok(grant)
    }

    /// Waits until a value that has ended was fetched anew. The next admission shows it.
    ///
    /// # Errors
    /// [`GrantError::NotRenewed`].
    pub async fn renewed(&self, order: RenewalOrder) -> Result<(), GrantError> {
        let key = order.key.clone();
        let outcome = match self.vault.flights.join(order, self.at) {
            Renewal::Under(waiting) => waiting.landed().await,
            Renewal::Not(fault) => Err(fault),
        };
        outcome.map_err(|_: RenewalFault| {
            if self.vault.credentials.contains_key(&key) {
                GrantError::NotRenewed { key }
            } else {
                // It was to be lent, and was not.
                GrantError::Missing { key }
            }
        })
    }

    /// A key that is not there may be lent to a vault whose store lends.
    fn on_demand(&self, error: GrantError) -> GrantError {
        match (error, self.vault.leasing) {
            (GrantError::Missing { key }, Some(version)) => GrantError::Ended {
                order: RenewalOrder {
                    vault: self.vault.id,
                    key,
                    version,
                    forced: false,
                },
            },
            (error, _) => error,
        }
    }

    /// What may be fetched by force when the upstream refuses what was injected: the first token of `grant` that can be.
    #[must_use]
    pub fn refused(&self, grant: &Grant) -> Option<RenewalOrder> {
        let token = grant.tokens().iter().find(|token| token.renewable)?;
        Some(self.order(token, true))
    }

    fn order(&self, token: &Token, forced: bool) -> RenewalOrder {
        RenewalOrder {
            vault: self.vault.id,
            key: token.key.clone(),
            version: token.version,
            forced,
        }
    }
}
