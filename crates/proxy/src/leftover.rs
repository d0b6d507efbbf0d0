//! Placeholders of the vault that leave as they are: found in what goes out, told to the log.
//!
//! What is in a head is known before the request's record is. A body, and the messages of a WebSocket, may still be on their way when
//! the record is written: what is found then gets a record of its own, an [`ADDENDUM`].

mod body;
mod messages;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_vault_policy::{Leftovers, Standing};
use http::Method;
use tokio::time::Instant;

pub(crate) use body::watched;
pub(crate) use messages::Messages;

use crate::journal::{Journal, LogRecord};

/// Stands in the log for the method of a record that adds to an earlier one and is no request.
pub(crate) const ADDENDUM: &[u8] = b"ADDENDUM";

/// Where placeholders were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Target, fields, trailers.
    Head,
    Body,
    Websocket,
}

/// How the log says it: by the credential that a placeholder stands for.
pub(crate) fn warnings(found: &Leftovers, place: Place) -> impl Iterator<Item = String> + '_ {
    let sent = match place {
        Place::Head => "placeholder_unreplaced",
        Place::Body => "placeholder_unreplaced_in_body",
        Place::Websocket => "placeholder_unreplaced_in_websocket",
    };
    let named = found.iter().map(move |(key, standing)| match standing {
        Standing::Sent => format!("{sent}:{key}"),
        Standing::Quoted => format!("placeholder_quoted:{key}"),
    });
    let more = found.has_more().then(|| "placeholders_more".to_owned());
    named.chain(more)
}

/// What was found of one request after its head. Shared by whoever watches and by whoever writes the record.
#[derive(Debug, Default)]
pub(crate) struct Noted(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In the body, or in messages.
    found: Option<(Place, Leftovers)>,
    trailers: Leftovers,
    /// Somebody watches.
    watched: bool,
    /// The request's record is written, and somebody watched still.
    later: Option<Box<Later>>,
}

/// What is needed to add to a record.
struct Later {
    journal: Journal,
    record: LogRecord,
    started: Instant,
    /// The warnings that the log has.
    told: Vec<String>,
}

impl Noted {
    /// Puts what was found into the request's record, which is about to be written.
    pub(crate) fn enter(&self, record: &mut LogRecord, journal: &Journal, started: Instant) {
        let mut state = self.lock();
        let told = state.warnings();
        record.warnings.extend(told.iter().cloned());
        if state.watched {
            state.later = Some(Box::new(Later {
                journal: journal.clone(),
                record: record.clone(),
                started,
                told,
            }));
        }
    }

    /// Somebody begins to watch.
    fn begin(&self) {
        self.lock().watched = true;
    }

    /// Nothing more will be found.
    fn end(&self) {
        let mut state = self.lock();
        state.watched = false;
        state.later = None;
    }

    fn change(&self, edit: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        edit(&mut state);
        let warnings = state.warnings();
        if let Some(later) = &mut state.later {
            later.add(warnings);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn warnings(&self) -> Vec<String> {
        let found = self
            .found
            .iter()
            .flat_map(|(place, found)| warnings(found, *place));
        found.chain(warnings(&self.trailers, Place::Head)).collect()
    }
}

impl Later {
    /// Writes a record of the warnings that the log has not.
    fn add(&mut self, mut warnings: Vec<String>) {
        warnings.retain(|warning| !self.told.contains(warning));
        if warnings.is_empty() {
            return;
        }
        self.told.extend(warnings.iter().cloned());
        let since = self.started.elapsed();
        let mut record = Box::new(self.record.clone());
        record.method = Method::from_bytes(ADDENDUM).unwrap_or(Method::CONNECT);
        record.at = record.at.saturating_add(since).unwrap_or(record.at);
        record.latency = std::time::Duration::ZERO;
        record.error_code = "";
        record.scrubs = 0;
        record.warnings = warnings;
        self.journal.record(record);
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Later")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

/// Whoever watches, until dropped.
#[derive(Debug)]
struct Watching(Arc<crate::relay::Fate>);

impl Watching {
    fn begin(fate: &Arc<crate::relay::Fate>) -> Self {
        fate.noted().begin();
        Self(Arc::clone(fate))
    }

    fn noted(&self) -> &Noted {
        self.0.noted()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.noted().end();
    }
}
