//! From rows of the request log to few events.
//!
//! Whoever writes the log shows each row here after it is stored: off the path of requests, and never waiting. Most rows say nothing.
//! Of those that do, one for each subject in an hour goes on, into a bounded channel; what finds it full is counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use agent_vault_store::{LogAppend, Store, Vault};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::event::{Event, QUIET, Refused};
use crate::Control;
use crate::error::ControlError;

/// Events that wait to be queued.
const CHANNEL: usize = 256;
/// Subjects that are remembered; all are forgotten when there are more, and the queue itself tells the same subject.
const MAX_SUBJECTS: usize = 4096;

/// Something that the log shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Notice {
    vault: Uuid,
    event: Event,
    at: Timestamp,
}

/// Between the log and the queue.
pub(crate) struct Hooks {
    sender: mpsc::Sender<Notice>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Notice>>,
    told: Mutex<HashMap<(Uuid, String), Timestamp>>,
    lost: AtomicU64,
    woken: Notify,
}

impl Default for Hooks {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        Self {
            sender,
            receiver: tokio::sync::Mutex::new(receiver),
            told: Mutex::default(),
            lost: AtomicU64::new(0),
            woken: Notify::new(),
        }
    }
}

impl Hooks {
    /// Something was queued.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Returns once something may be there to be queued or sent.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Looks at rows that were stored. Waits for nothing.
    pub(crate) fn look(&self, rows: &[LogAppend<'_>]) {
        for row in rows {
            let Some(event) = event(row) else {
                continue;
            };
            if !self.is_news(row.vault_id, event.subject(), row.created_at) {
                continue;
            }
            let notice = Notice {
                vault: row.vault_id,
                event,
                at: row.created_at,
            };
            if self.sender.try_send(notice).is_err() {
                self.count_lost();
            } else {
                self.wake();
            }
        }
    }

    fn is_news(&self, vault: Uuid, subject: String, at: Timestamp) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |since: &Timestamp| at.duration_since(*since) < QUIET;
        let key = (vault, subject);
        if told.get(&key).is_some_and(quiet) {
            return false;
        }
        if told.len() >= MAX_SUBJECTS {
            told.retain(|_, since| quiet(since));
            if told.len() >= MAX_SUBJECTS {
                told.clear();
            }
        }
        told.insert(key, at);
        true
    }

    fn count_lost(&self) {
        let before = self.lost.fetch_add(1, Ordering::Relaxed);
        let total = before + 1;
        // One warning for each doubling.
        if before == 0 || before.ilog2() != total.ilog2() {
            tracing::warn!(total, "events for webhooks lost: too many at once");
        }
    }
}

/// What a row tells, if anything.
fn event(row: &LogAppend<'_>) -> Option<Event> {
    let refused = || Refused {
        service: row.matched_service.to_owned(),
        host: row.host.to_owned(),
        keys: row.credential_keys.to_vec(),
        status: row.status,
        label: row.label.to_owned(),
        session: row.session_id.to_owned(),
    };
    match row.error_code {
        "" if row.decision == "brokered" && matches!(row.status, 401 | 403) => {
            Some(Event::AuthFailing(refused()))
        }
        "credential_not_found" => Some(Event::Missing {
            refused: refused(),
            missing: Vec::new(),
        }),
        "rate_limit_scope" => Some(Event::Limit {
            refused: refused(),
            which: "rate",
        }),
        "concurrency_scope" => Some(Event::Limit {
            refused: refused(),
            which: "concurrency",
        }),
        _ => None,
    }
}

impl Control {
    /// Events for webhooks that were lost because too many came at once.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.hooks().lost.load(Ordering::Relaxed)
    }

    /// Queues what the log has shown since the last time.
    ///
    /// # Errors
    /// When the database cannot be read or written; then what was being queued is lost, and counted.
    pub async fn queue_notices(&self) -> Result<(), ControlError> {
        let mut receiver = self.hooks().receiver.lock().await;
        while let Ok(notice) = receiver.try_recv() {
            if let Err(error) = self.queue_notice(notice).await {
                self.hooks().count_lost();
                return Err(error);
            }
        }
        Ok(())
    }

    async fn queue_notice(&self, notice: Notice) -> Result<(), ControlError> {
        // Its vault may be gone.
        let Some(vault) = self.store().vault(notice.vault).await? else {
            return Ok(());
        };
        let event = with_missing(self.store(), &vault, notice.event).await?;
        let queued = event.queued(self, Some(&vault), notice.at)?;
        self.store().queue_event(&queued).await?;
        Ok(())
    }
}

/// Says which of a service's credentials are stored nowhere.
async fn with_missing(store: &Store, vault: &Vault, event: Event) -> Result<Event, ControlError> {
    let Event::Missing { refused, .. } = event else {
        return Ok(event);
    };
    let stored = store.credential_keys(vault.id).await?;
    let missing = refused
        .keys
        .iter()
        .filter(|key| !stored.contains(key))
        .cloned()
        .collect();
    Ok(Event::Missing { refused, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(decision: &'a str, status: u16, error_code: &'a str) -> LogAppend<'a> {
        LogAppend {
            vault_id: Uuid::nil(),
            actor: None,
            session_id: "s",
            label: "",
            ingress: "mitm",
            method: "GET",
            host: "api.x.io:443",
            path: "/",
            matched_service: "x",
            credential_keys: &[],
            credential_versions: &[],
            status,
            latency_ms: 1,
            error_code,
            auth_scheme: "",
            auth_header: "",
            decision,
            warnings: &[],
            scrubs: 0,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn which_rows_tell_something() {
        let kind = |row: &LogAppend<'_>| event(row).map(|event| event.kind());
        let auth = Some(super::super::EventKind::UpstreamAuthFailing);
        for (row, wanted) in [
            (row("brokered", 401, ""), auth),
            (row("brokered", 403, ""), auth),
            (row("brokered", 200, ""), None),
            (row("brokered", 429, ""), None),
            (row("passed", 401, ""), None),
            (row("refused", 403, "no_match"), None),
            (
                row("refused", 502, "credential_not_found"),
                Some(super::super::EventKind::CredentialMissing),
            ),
            (
                row("refused", 429, "rate_limit_scope"),
                Some(super::super::EventKind::LimitHit),
            ),
            (
                row("refused", 429, "concurrency_scope"),
                Some(super::super::EventKind::LimitHit),
            ),
        ] {
            assert_eq!(kind(&row), wanted, "{row:?}");
        }
    }

    #[test]
    fn one_event_for_each_subject_in_an_hour() {
        let hooks = Hooks::default();
        let mut failing = row("brokered", 401, "");
        hooks.look(&[failing; 3]);
        failing.matched_service = "y";
        hooks.look(&[failing]);
        failing.created_at += QUIET;
        hooks.look(&[failing; 2]);
        assert_eq!(CHANNEL - hooks.sender.capacity(), 3);
    }

    #[test]
    fn a_flood_is_counted_and_nobody_waits() {
        let hooks = Hooks::default();
        let names: Vec<String> = (0..MAX_SUBJECTS * 2).map(|n| n.to_string()).collect();
        for name in &names {
            let mut failing = row("brokered", 401, "");
            failing.matched_service = name;
            hooks.look(&[failing]);
        }
        let lost = usize::try_from(hooks.lost.load(Ordering::Relaxed)).unwrap();
        assert_eq!(lost, names.len() - CHANNEL);
        assert!(hooks.told.lock().unwrap().len() <= MAX_SUBJECTS);
    }
}
