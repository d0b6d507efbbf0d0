//! What a new token is confined to, as people say it and as a server is told.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::types::ScopedSession;

/// Services and a number of requests.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Confine {
    /// Services that the token may use, and no others
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) services: Vec<String>,
    /// Requests through the proxy that the token has
    #[arg(long, value_name = "NUMBER")]
    pub(crate) budget: Option<u64>,
}

impl Confine {
    /// Whether there is anything to confine.
    pub(crate) fn is_given(&self) -> bool {
        !self.services.is_empty() || self.budget.is_some()
    }

    /// Adds it to what is asked for.
    pub(crate) fn put(&self, body: &mut Map<String, Value>) {
        if !self.services.is_empty() {
            body.insert("services".to_owned(), json!(self.services));
        }
        if let Some(budget) = self.budget {
            body.insert("request_budget".to_owned(), json!(budget));
        }
    }
}

/// What a token is confined to, in a line; nothing when it is not.
pub(crate) fn shown(session: &ScopedSession) -> String {
    let services = session.services.as_ref().map(|names| names.join(", "));
    let budget = session.request_budget.map(|all| {
        let left = session.requests_left.unwrap_or(all);
        format!("{left} of {all} requests left")
    });
    let sources = (!session.sources.is_empty()).then(|| session.sources.join(", "));
    let parts: Vec<String> = [services, budget, sources].into_iter().flatten().collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        assert_eq!(shown(&ScopedSession::default()), "");
        let session = ScopedSession {
            services: Some(vec!["github".to_owned(), "stripe".to_owned()]),
            request_budget: Some(20),
            requests_left: Some(3),
            sources: vec!["10.0.0.0/8".to_owned()],
            ..ScopedSession::default()
        };
        assert_eq!(
            shown(&session),
            "github, stripe; 3 of 20 requests left; 10.0.0.0/8"
        );
    }
}
