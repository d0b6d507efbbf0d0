//! The request log: one record per exchange, opened with it and sent when it ends, however it ends.
//!
//! Records wait in a bounded queue for one writer that stores them in batches. What finds the queue full or cannot be
//! stored is counted, never waited for. No header value, body, query or secret is in a record.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_broker::{ActorKind, Principal};
use http::{Method, StatusCode};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::leftover::ADDENDUM;
use crate::limits::{JOURNAL_BATCH, JOURNAL_DELAY, JOURNAL_QUEUE, MAX_LOGGED_PATH};
use crate::meters::{Gauge, Meters, Protocol};
use crate::relay::{Fate, Lost};
use crate::scrub::Search;

/// nginx's number for a client that left before the answer; nothing was sent then.
pub(crate) const CLIENT_CLOSED: u16 = 499;

/// One exchange as the log shows it.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// The vault that it was for.
    pub vault: Uuid,
    /// Public handle of the session.
    pub session: Arc<str>,
    /// Label of the session.
    pub label: Option<Arc<str>>,
    /// Who stands behind the token.
    pub actor: Option<(ActorKind, Uuid)>,
    /// Request method; `ADDENDUM` for what was found only after the request's own record was written.
    pub method: Method,
    /// `host:port` of the upstream.
    pub host: Arc<str>,
    /// Decoded path before substitution, without query, cut to 2 KiB.
    pub path: String,
    /// Name of the service that decided, if one matched.
    pub service: Option<Arc<str>>,
    /// Names of the service's credentials, whether or not they could be opened.
    pub keys: Option<Arc<[String]>>,
    /// The version of each, if they were opened.
    pub key_versions: Option<Arc<[u32]>>,
    /// What was decided.
    pub decision: LogDecision,
    /// Status that the client got.
    pub status: u16,
    /// Why it failed, in one word; empty on success.
    pub error_code: &'static str,
    /// Things that went through but deserve a look, such as `placeholder_unreplaced:KEY`.
    pub warnings: Vec<String>,
    /// How often an injected value was found in the answer, and replaced.
    pub scrubs: u32,
    /// How the client itself authenticated to the upstream, if it did: `bearer`, `basic` or `api-key`.
    pub client_auth: Option<(&'static str, &'static str)>,
    /// When the request arrived.
    pub at: Timestamp,
    /// From arrival to the last byte.
    pub latency: Duration,
}

/// What was decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogDecision {
    /// A rule matched and its credential was to go on the request.
    Brokered,
    /// No rule matched; the request passed without a credential.
    Passed,
    /// Refused by us.
    Refused,
}

impl LogDecision {
    /// The word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brokered => "brokered",
            Self::Passed => "passed",
            Self::Refused => "refused",
        }
    }
}

/// Where batches of records go.
pub trait LogSink: Send + Sync + 'static {
    /// Stores a batch; an error loses it, and is counted.
    fn write(
        &self,
        batch: Vec<LogRecord>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

enum Message {
    Record(Box<LogRecord>),
    Flush(oneshot::Sender<()>),
}

/// Handle to the log's queue.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    waiting: mpsc::Sender<Message>,
    meters: Arc<Meters>,
    /// Somebody waits for what is in the queue.
    urged: Arc<Notify>,
}

impl Journal {
    /// Starts the writer on `tasks`. It drains the queue and ends once `closing` is cancelled.
    #[must_use]
    pub fn start(sink: Arc<dyn LogSink>, tasks: &TaskTracker, closing: CancellationToken) -> Self {
        let (queue, waiting) = mpsc::channel(JOURNAL_QUEUE);
        let meters = Arc::new(Meters::default());
        let urged = Arc::new(Notify::new());
        tasks.spawn(write_batches(
            waiting,
            sink,
            Arc::clone(&meters),
            Arc::clone(&urged),
            closing,
        ));
        Self(Arc::new(Queue {
            waiting: queue,
            meters,
            urged,
        }))
    }

    /// Records that could not be stored since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.meters.rows_lost()
    }

    /// What the data plane that writes to this log counts about itself.
    #[must_use]
    pub fn meters(&self) -> &Arc<Meters> {
        &self.0.meters
    }

    /// Returns when every record of an exchange that has ended is stored, or the writer is gone.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.waiting.send(Message::Flush(done)).await.is_ok() {
            self.0.urged.notify_one();
            // An error means that the writer ended, after storing what it had.
            flushed.await.unwrap_or(());
        }
    }

    pub(crate) fn record(&self, record: Box<LogRecord>) {
        if record.scrubs > 0 {
            self.0.meters.scrubbed(record.scrubs);
        }
        if self.0.waiting.try_send(Message::Record(record)).is_err() {
            count_lost(&self.0.meters, 1, "the queue is full");
        }
    }
}

fn count_lost(meters: &Meters, records: u64, why: &str) {
    let before = meters.lost_rows(records);
    let total = before + records;
    // One warning for each doubling, so that a flood of requests is not a flood of warnings.
    if before == 0 || before.ilog2() != total.ilog2() {
        tracing::warn!(total, why, "request log records lost");
    }
}

async fn write_batches(
    mut waiting: mpsc::Receiver<Message>,
    sink: Arc<dyn LogSink>,
    meters: Arc<Meters>,
    urged: Arc<Notify>,
    closing: CancellationToken,
) {
    let mut inbox = Vec::with_capacity(JOURNAL_BATCH);
    let mut batch = Vec::with_capacity(JOURNAL_BATCH);
    let mut flushes = Vec::new();
    loop {
        let received = tokio::select! {
            received = waiting.recv_many(&mut inbox, JOURNAL_BATCH) => received,
            () = closing.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                continue;
            }
        };
        if received == 0 {
            return;
        }
        sort(&mut inbox, &mut batch, &mut flushes);
        if flushes.is_empty() && batch.len() < JOURNAL_BATCH {
            // More will come. To be woken for each record would cost more than to write it.
            tokio::select! {
                () = tokio::time::sleep(JOURNAL_DELAY) => {}
                () = urged.notified() => {}
                () = closing.cancelled() => {}
            }
            while batch.len() < JOURNAL_BATCH
                && let Ok(message) = waiting.try_recv()
            {
                inbox.push(message);
                sort(&mut inbox, &mut batch, &mut flushes);
            }
        }
        if !batch.is_empty() {
            let count = batch.len() as u64;
            let began = Instant::now();
            let written = sink.write(std::mem::take(&mut batch)).await;
            meters.row_writes().observe(began.elapsed());
            match written {
                Ok(()) => meters.wrote_rows(count),
                Err(error) => count_lost(&meters, count, &error),
            }
        }
        for done in flushes.drain(..) {
            // A caller that no longer waits needs no answer.
            done.send(()).unwrap_or(());
        }
    }
}

fn sort(
    inbox: &mut Vec<Message>,
    batch: &mut Vec<LogRecord>,
    flushes: &mut Vec<oneshot::Sender<()>>,
) {
    for message in inbox.drain(..) {
        match message {
            Message::Record(record) => batch.push(*record),
            Message::Flush(done) => flushes.push(done),
        }
    }
}

/// The record of an exchange in progress. Dropped before [`Entry::complete`], it says that the client left.
#[derive(Debug)]
pub(crate) struct Entry {
    journal: Journal,
    record: Option<Box<LogRecord>>,
    started: Instant,
    protocol: Protocol,
    /// Tells of the request body, which may still be on its way.
    request: Option<Arc<Fate>>,
    /// Counts what is found in the answer.
    search: Option<Search>,
}

/// Tells of what is found in a WebSocket's messages, whose record is written when it opens.
#[derive(Debug)]
pub(crate) struct Sequel {
    journal: Journal,
    record: Box<LogRecord>,
    started: Instant,
    search: Search,
    told: u32,
}

impl Sequel {
    /// The socket has ended: adds a record if anything was found in it.
    pub(crate) fn complete(self) {
        let scrubs = self.search.found().saturating_sub(self.told);
        if scrubs == 0 {
            return;
        }
        let mut record = self.record;
        let since = self.started.elapsed();
        record.method = Method::from_bytes(ADDENDUM).unwrap_or(Method::CONNECT);
        record.at = record.at.saturating_add(since).unwrap_or(record.at);
        record.error_code = "";
        record.warnings = Vec::new();
        record.scrubs = scrubs;
        self.journal.record(record);
    }
}

impl Entry {
    pub(crate) fn open(
        journal: &Journal,
        principal: &Principal,
        protocol: Protocol,
        method: &Method,
        host: &Arc<str>,
        at: Timestamp,
    ) -> Self {
        journal.meters().enter(Gauge::Exchanges);
        Self {
            protocol,
            journal: journal.clone(),
            record: Some(Box::new(LogRecord {
                vault: principal.vault(),
                session: Arc::clone(principal.session()),
                label: principal.label().cloned(),
                actor: principal.actor().map(|actor| (actor.kind, actor.id)),
                method: method.clone(),
                host: Arc::clone(host),
                path: String::new(),
                service: None,
                keys: None,
                key_versions: None,
                decision: LogDecision::Refused,
                status: CLIENT_CLOSED,
                error_code: "client_closed",
                warnings: Vec::new(),
                scrubs: 0,
                client_auth: None,
                at,
                latency: Duration::ZERO,
            })),
            started: Instant::now(),
            request: None,
            search: None,
        }
    }

    /// Adds what this search finds by the time that the exchange ends.
    pub(crate) fn count(&mut self, search: Option<Search>) {
        self.search = search;
    }

    /// What is needed to add to the record of a WebSocket once that has ended.
    pub(crate) fn sequel(&self) -> Option<Sequel> {
        let search = self.search.clone()?;
        Some(Sequel {
            journal: self.journal.clone(),
            record: self.record.clone()?,
            started: self.started,
            told: search.found(),
            search,
        })
    }

    /// What the client turned out to speak.
    pub(crate) fn speaks(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Adds what is known of the request body by the time that the exchange ends.
    pub(crate) fn follow(&mut self, request: Option<Arc<Fate>>) {
        self.request = request;
    }

    /// Whether the client left while it sent its body.
    pub(crate) fn has_client_left(&self) -> bool {
        self.request.as_ref().and_then(|fate| fate.get()) == Some(Lost::Left)
    }

    /// Changes what will be recorded.
    pub(crate) fn note(&mut self, edit: impl FnOnce(&mut LogRecord)) {
        if let Some(record) = self.record.as_deref_mut() {
            edit(record);
        }
    }

    /// Sets the path as it will be shown.
    pub(crate) fn set_path(&mut self, path: &str) {
        self.note(|record| {
            let mut end = path.len().min(MAX_LOGGED_PATH);
            while !path.is_char_boundary(end) {
                end -= 1;
            }
            path.get(..end)
                .unwrap_or_default()
                .clone_into(&mut record.path);
        });
    }

    /// The client has our status now; the exchange may still be cut short.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.note(|record| record.status = status.as_u16());
    }

    /// Ends the exchange with `code`, empty for success.
    pub(crate) fn complete(mut self, code: &'static str) {
        self.note(|record| record.error_code = code);
        self.send();
    }

    fn send(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.latency = self.started.elapsed();
            if let Some(search) = &self.search {
                record.scrubs = search.found();
            }
            if let Some(request) = &self.request {
                request
                    .noted()
                    .enter(&mut record, &self.journal, self.started);
            }
            self.journal.meters().leave(Gauge::Exchanges);
            self.journal.meters().finished(self.protocol, &record);
            self.journal.record(record);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.send();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::Semaphore;

    /// A sink that takes a batch for each permit.
    struct Gated {
        permits: Semaphore,
        batches: Mutex<Vec<usize>>,
        refuse: bool,
    }

    impl Gated {
        fn new(permits: usize, refuse: bool) -> Arc<Self> {
            Arc::new(Self {
                permits: Semaphore::new(permits),
                batches: Mutex::default(),
                refuse,
            })
        }

        fn stored(&self) -> usize {
            self.batches.lock().unwrap().iter().sum()
        }
    }

    impl LogSink for Gated {
        fn write(
            &self,
            batch: Vec<LogRecord>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
            Box::pin(async move {
                self.permits.acquire().await.unwrap().forget();
                if self.refuse {
                    return Err("no".to_owned());
                }
                self.batches.lock().unwrap().push(batch.len());
                Ok(())
            })
        }
    }

    fn start(sink: &Arc<Gated>, tasks: &TaskTracker, closing: &CancellationToken) -> Journal {
        Journal::start(Arc::clone(sink) as Arc<dyn LogSink>, tasks, closing.clone())
    }

    fn record() -> Box<LogRecord> {
        Box::new(LogRecord {
            vault: Uuid::nil(),
            session: Arc::from("s"),
            label: None,
            actor: None,
            method: Method::GET,
            host: Arc::from("a.example:443"),
            path: String::new(),
            service: None,
            keys: None,
            key_versions: None,
            decision: LogDecision::Passed,
            status: 200,
            error_code: "",
            warnings: Vec::new(),
            scrubs: 0,
            client_auth: None,
            at: Timestamp::UNIX_EPOCH,
            latency: Duration::ZERO,
        })
    }

    #[tokio::test]
    async fn a_full_queue_is_counted_and_nobody_waits() {
        let sink = Gated::new(0, false);
        let journal = start(&sink, &TaskTracker::new(), &CancellationToken::new());
        // The writer does not run until this task waits: exactly the queue's length fits.
        for _ in 0..JOURNAL_QUEUE + 7 {
            journal.record(record());
        }
        assert_eq!(journal.lost(), 7);
        sink.permits.add_permits(1000);
        journal.flush().await;
        assert_eq!(sink.stored(), JOURNAL_QUEUE);
        assert_eq!(journal.lost(), 7);
    }

    #[tokio::test]
    async fn batches_are_full_and_flush_waits_for_the_store() {
        let sink = Gated::new(1000, false);
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let journal = start(&sink, &tasks, &closing);
        for _ in 0..=JOURNAL_BATCH * 3 {
            journal.record(record());
        }
        journal.flush().await;
        assert_eq!(sink.stored(), JOURNAL_BATCH * 3 + 1);
        assert_eq!(sink.batches.lock().unwrap()[..3], [JOURNAL_BATCH; 3]);
        // What was recorded before the end is stored; what comes later is counted.
        journal.record(record());
        closing.cancel();
        tasks.close();
        tasks.wait().await;
        assert_eq!(sink.stored(), JOURNAL_BATCH * 3 + 2);
        journal.record(record());
        assert_eq!(journal.lost(), 1);
        journal.flush().await;
    }

    #[tokio::test]
    async fn what_the_store_refuses_is_counted() {
        let sink = Gated::new(1000, true);
        let journal = start(&sink, &TaskTracker::new(), &CancellationToken::new());
        for _ in 0..5 {
            journal.record(record());
        }
        journal.flush().await;
        assert_eq!(journal.lost(), 5);
    }

    #[test]
    fn a_long_path_is_cut_between_characters() {
        let (queue, _waiting) = mpsc::channel(1);
        let mut entry = Entry {
            journal: Journal(Arc::new(Queue {
                urged: Arc::default(),
                waiting: queue,
                meters: Arc::default(),
            })),
            record: Some(record()),
            started: Instant::now(),
            protocol: Protocol::Http1,
            request: None,
            search: None,
        };
        entry.set_path(&"\u{e9}x".repeat(MAX_LOGGED_PATH));
        let path = entry.record.take().unwrap().path;
        assert!(path.len() <= MAX_LOGGED_PATH && path.len() > MAX_LOGGED_PATH - 2);
    }
}
