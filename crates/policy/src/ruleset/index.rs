//! Finding the few rules that a host concerns, in the order in which they are tried.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::Rule;
use crate::host::Host;
use crate::host_pattern::HostPattern;

/// Rules by host: one look-up for the host, one for what stands behind its first label.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Host, Bucket>,
    wildcard: HashMap<Host, Bucket>,
}

/// All rules with one host pattern.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// By precedence: with a port before any port, then the longer literal prefix, then the earlier position.
    pub(super) order: Vec<Entry>,
    /// Rules that match alike: same host, port and path. In stored order.
    pub(super) groups: Vec<Vec<Arc<Rule>>>,
}

/// One rule in the order of trying.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rule: Arc<Rule>,
    pub(super) group: usize,
}

impl Index {
    pub(super) fn build(rules: &[Arc<Rule>]) -> Self {
        let mut index = Self::default();
        for rule in rules {
            let buckets = match &rule.service.host {
                HostPattern::Exact(_) => &mut index.exact,
                HostPattern::Wildcard { .. } => &mut index.wildcard,
            };
            buckets
                .entry(rule.service.host.host().clone())
                .or_default()
                .add(rule);
        }
        for bucket in index.exact.values_mut().chain(index.wildcard.values_mut()) {
            bucket.order.sort_by_key(|entry| {
                let service = &entry.rule.service;
                let prefix = service
                    .path
                    .as_ref()
                    .map_or(0, |path| path.literal_prefix_len());
                (service.port.is_none(), Reverse(prefix), entry.rule.index)
            });
        }
        index
    }

    /// The buckets that cover the host, the more specific first.
    pub(super) fn buckets(&self, host: &Host) -> [Option<&Bucket>; 2] {
        let exact = if self.exact.is_empty() {
            None
        } else {
            self.exact.get(host.as_str())
        };
        let wildcard = if self.wildcard.is_empty() {
            None
        } else {
            host.parent().and_then(|parent| self.wildcard.get(parent))
        };
        [exact, wildcard]
    }
}

impl Bucket {
    fn add(&mut self, rule: &Arc<Rule>) {
        // Rules of one host are few; a scan is cheaper than a key.
        let alike = |group: &Vec<Arc<Rule>>| {
            group
                .first()
                .is_some_and(|first| first.service.same_matcher(&rule.service))
        };
        let group = self
            .groups
            .iter()
            .position(alike)
            .unwrap_or(self.groups.len());
        match self.groups.get_mut(group) {
            Some(members) => members.push(Arc::clone(rule)),
            None => self.groups.push(vec![Arc::clone(rule)]),
        }
        self.order.push(Entry {
            rule: Arc::clone(rule),
            group,
        });
    }
}
