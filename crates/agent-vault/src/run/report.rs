//! What a run says: one line before, one after, and one for everything that should be mended. All on stderr.

use std::collections::BTreeMap;

use super::Endpoint;
use super::token::RunToken;
use crate::cli::App;
use crate::client::Call;
use crate::client::types::{DiscoveredService, Discovery, LogRow, Logs};
use crate::connect::{Connection, Identity};
use crate::diagnose::{self, Finding, Known, Lacking, Outcome, Quotations, ServiceKeys};
use crate::error::Result;
use crate::ui::clean;
use crate::vault_choice::{Choice, Origin, vault_path};

/// Hosts named in the line before.
const NAMED_HOSTS: usize = 5;
/// Findings told after.
const TOLD_FINDINGS: usize = 10;
/// Pages of 200 log rows that are read for the line after.
const MAX_PAGES: usize = 50;

/// Knows the vault and tells the story.
pub(super) struct Reporter {
    vault: String,
    quiet: bool,
    discovery: Discovery,
    lacking: Lacking,
    /// The last row that was there before, for a session that outlives runs.
    after: i64,
}

/// Requests of a run, by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    requests: usize,
    brokered: usize,
    passed: usize,
    refused: usize,
    /// More rows exist than were read.
    more: bool,
}

impl Reporter {
    /// Takes what the child's token may know of the vault; `keys` are those that its services use.
    pub(super) fn new(
        vault: String,
        quiet: bool,
        mut discovery: Discovery,
        keys: ServiceKeys,
        after: i64,
    ) -> Reporter {
        for service in &mut discovery.services {
            if service.credential_keys.is_none() {
                service.credential_keys = keys.get(&service.name).map(<[String]>::to_vec);
            }
        }
        let lacking = keys.lacking(&discovery.available_credentials);
        Reporter {
            vault,
            quiet,
            discovery,
            lacking,
            after,
        }
    }

    /// One line: what is brokered, and what host mode does not do.
    pub(super) fn before(
        &self,
        app: &App,
        vault: &Choice,
        endpoint: &Endpoint,
        bypassing: &[String],
    ) {
        if self.quiet {
            return;
        }
        let from = if vault.origin == Origin::Project {
            " (from ./agent-vault.json)"
        } else {
            ""
        };
        let line = format!(
            "agent-vault: vault \"{}\"{from}: {}; host mode hides nothing from a child of the same user",
            clean(&vault.name),
            clean(&brokering(&self.discovery.services)),
        );
        app.ui.progress(&line);
        if !bypassing.is_empty() {
            app.ui.progress(&format!(
                "agent-vault: left {} out of NO_PROXY: it would lead past the proxy to a brokered host",
                clean(&bypassing.join(", "))
            ));
        }
        let remote = !endpoint.address.is_loopback();
        if remote && endpoint.forwarder.is_none() {
            app.ui.progress(&format!(
                "agent-vault: plain HTTP to the proxy at {}:{}: the run's token crosses the network in clear",
                endpoint.proxy_host, endpoint.proxy_port
            ));
        } else if remote && !endpoint.address.is_https() {
            app.ui.progress(&format!(
                "agent-vault: {} is plain HTTP: the run's token crosses the network in clear once, when it is made; the server takes https:// as well",
                endpoint.address
            ));
        }
    }

    /// One line: what was done; then a line for each thing to mend.
    pub(super) async fn after(&self, app: &App, connection: &Connection, token: &RunToken) {
        if self.quiet {
            return;
        }
        let session = token.id().or(self.discovery.session.as_deref());
        let rows = match session {
            Some(session) => rows(connection, &self.vault, session, self.after).await,
            None => Ok(None),
        };
        let mut quoted = Quotations::default();
        let (tally, mut findings) = match rows {
            Ok(Some((rows, more))) => {
                let (mut tally, findings) = self.look_at(&rows);
                tally.more = more;
                rows.iter().for_each(|row| quoted.add(row));
                (Some(tally), findings)
            }
            Ok(None) => (None, BTreeMap::new()),
            Err(e) => {
                app.ui.warn(&format!(
                    "the request log could not be read: {}",
                    e.message()
                ));
                (None, BTreeMap::new())
            }
        };
        for finding in self.standing() {
            findings.entry(finding).or_insert(0);
        }
        match &tally {
            Some(tally) => app.ui.progress(&format!("agent-vault: {}", tally.line())),
            None if connection.identity == Identity::Agent => {
                app.ui.progress("agent-vault: what was done is in the request log of the vault, which this token may not read");
            }
            None => {}
        }
        for (finding, count) in findings.iter().take(TOLD_FINDINGS) {
            let times = if *count > 1 {
                format!(" ({count} times)")
            } else {
                String::new()
            };
            app.ui.progress(&format!(
                "agent-vault: {}{times}; mend: {}",
                clean(&finding.what),
                clean(&finding.mend)
            ));
        }
        if findings.len() > TOLD_FINDINGS {
            app.ui.progress(&format!(
                "agent-vault: and {} more: agent-vault vault logs --vault {}",
                findings.len() - TOLD_FINDINGS,
                self.vault
            ));
        }
        if let Some(note) = quoted.note() {
            app.ui
                .progress(&format!("agent-vault: note: {}", clean(&note)));
        }
    }

    fn look_at(&self, rows: &[LogRow]) -> (Tally, BTreeMap<Finding, usize>) {
        let mut tally = Tally::default();
        let mut findings = BTreeMap::new();
        let known = Known {
            vault: &self.vault,
            lacking: &self.lacking,
            placeholders: &self.discovery.placeholders,
        };
        for row in rows {
            if !diagnose::is_addendum(row) {
                tally.requests += 1;
                match diagnose::outcome(row) {
                    Outcome::Brokered => tally.brokered += 1,
                    Outcome::Passed => tally.passed += 1,
                    Outcome::Refused => tally.refused += 1,
                }
            }
            for finding in diagnose::findings(row, known) {
                *findings.entry(finding).or_insert(0) += 1;
            }
        }
        (tally, findings)
    }

    /// What is wrong with the vault whether or not a request showed it.
    fn standing(&self) -> Vec<Finding> {
        if self.discovery.services.is_empty() {
            return vec![Finding {
                what: format!(
                    "vault \"{}\" has no service, so nothing is brokered",
                    self.vault
                ),
                mend: format!(
                    "agent-vault vault service add --vault {} --host <host> --auth-type bearer --token-key <KEY>",
                    self.vault
                ),
            }];
        }
        self.lacking.findings(&self.vault).collect()
    }
}

impl Tally {
    fn line(&self) -> String {
        if self.requests == 0 {
            return String::from("no request came through the proxy");
        }
        let more = if self.more { "at least " } else { "" };
        format!(
            "{more}{} request{}: {} brokered, {} passed without a credential, {} refused",
            self.requests,
            if self.requests == 1 { "" } else { "s" },
            self.brokered,
            self.passed,
            self.refused
        )
    }
}

fn brokering(services: &[DiscoveredService]) -> String {
    let enabled: Vec<_> = services
        .iter()
        .filter(|s| s.enabled != Some(false))
        .collect();
    if enabled.is_empty() {
        return String::from("no service, so nothing is brokered");
    }
    let mut named: Vec<String> = enabled
        .iter()
        .take(NAMED_HOSTS)
        .map(|s| match s.credential_keys.as_deref() {
            Some(keys) if !keys.is_empty() => format!("{} ({})", s.host, keys.join(", ")),
            _ => s.host.clone(),
        })
        .collect();
    if enabled.len() > NAMED_HOSTS {
        named.push(format!("and {} more", enabled.len() - NAMED_HOSTS));
    }
    format!("brokering {}", named.join(", "))
}

/// The last row of a session so far; 0 if there is none, or this identity may not see it.
pub(super) async fn last_row(connection: &Connection, vault: &str, session: &str) -> i64 {
    let path = vault_path(vault)
        .literal("/logs")
        .query("session", session)
        .query("limit", 1);
    match connection.client.send(&Call::get(path)).await {
        Ok(reply) => reply.json::<Logs>().map_or(0, |logs| logs.latest_id),
        Err(_) => 0,
    }
}

/// The run's rows, and whether there are more than were read; `None` if this identity may not read them.
async fn rows(
    connection: &Connection,
    vault: &str,
    session: &str,
    after: i64,
) -> Result<Option<(Vec<LogRow>, bool)>> {
    let mut rows = Vec::new();
    let mut before: Option<i64> = None;
    for _ in 0..MAX_PAGES {
        let path = vault_path(vault)
            .literal("/logs")
            .query("session", session)
            .query("limit", 200)
            .query_if("before", before);
        let logs: Logs = match connection.client.send(&Call::get(path)).await {
            Ok(reply) => reply.json()?,
            Err(e) if e.status == 403 => return Ok(None),
            Err(e) => return Err(connection.explain(e)),
        };
        let reached = logs.logs.iter().any(|row| row.id <= after);
        rows.extend(logs.logs.into_iter().filter(|row| row.id > after));
        match logs.next_cursor {
            Some(next) if !reached => before = Some(next),
            _ => return Ok(Some((rows, false))),
        }
    }
    Ok(Some((rows, true)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Reporter, Tally, brokering};
    use crate::client::types::{DiscoveredService, Discovery, LogRow};
    use crate::diagnose::ServiceKeys;

    fn service(host: &str, keys: &[&str]) -> DiscoveredService {
        DiscoveredService {
            name: host.replace('.', "-"),
            host: host.into(),
            enabled: None,
            credential_keys: Some(keys.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn the_line_before() {
        assert_eq!(brokering(&[]), "no service, so nothing is brokered");
        let many: Vec<_> = (0..7)
            .map(|n| service(&format!("h{n}.example"), &["K"]))
            .collect();
        let line = brokering(&many);
        assert!(
            line.starts_with("brokering h0.example (K), ") && line.ends_with("and 2 more"),
            "{line}"
        );
    }

    #[test]
    fn the_line_after_counts_every_request_once() {
        let reporter = Reporter::new(
            "work".into(),
            false,
            Discovery::default(),
            ServiceKeys::default(),
            0,
        );
        let row = |decision: &str, error: &str| LogRow {
            decision: decision.into(),
            error_code: error.into(),
            ..LogRow::default()
        };
        let (tally, findings) = reporter.look_at(&[
            row("inject", ""),
            row("forward", ""),
            row("deny", "no_match"),
            row("deny", "no_match"),
            LogRow {
                method: "ADDENDUM".into(),
                ..row("inject", "")
            },
        ]);
        assert_eq!(
            tally.line(),
            "4 requests: 1 brokered, 1 passed without a credential, 2 refused"
        );
        assert_eq!(findings.into_values().collect::<Vec<_>>(), [2]);
        assert_eq!(Tally::default().line(), "no request came through the proxy");
    }

    #[test]
    fn what_is_missing_is_told_even_without_a_request() {
        let none = Reporter::new(
            "work".into(),
            false,
            Discovery::default(),
            ServiceKeys::default(),
            0,
        );
        assert!(none.standing()[0].what.contains("no service"));
        let services = [
            json!({"name": "a-example", "host": "a.example.com", "auth": {"type": "basic", "username": "HAVE", "password": "LACK"}}),
        ];
        let services: Vec<_> = services
            .iter()
            .map(|s| s.as_object().unwrap().clone())
            .collect();
        let lacking = Reporter::new(
            "work".into(),
            false,
            Discovery {
                services: vec![service("a.example", &[])],
                available_credentials: vec!["HAVE".into()],
                ..Discovery::default()
            },
            ServiceKeys::of(&services),
            0,
        );
        let found = lacking.standing();
        assert_eq!(found.len(), 1);
        assert!(found[0].mend.contains("credential set LACK"));
    }
}
