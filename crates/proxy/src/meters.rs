//! What the data plane counts about itself, for whoever exposes it.
//!
//! Every count has a fixed place: nothing is looked up, allocated or locked to count, and no agent can add a label. All of
//! it is relaxed: the numbers of one reading may be a moment apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_vault_upstream::UpstreamErrorKind;

use crate::journal::{CLIENT_CLOSED, LogDecision, LogRecord};

/// What a client speaks in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2, gRPC among it.
    Http2,
    /// A WebSocket's handshake, over either.
    WebSocket,
    /// A CONNECT that was refused, or whose TLS led to nothing.
    Connect,
}

impl Protocol {
    /// All, in the order of their places.
    pub const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::WebSocket, Self::Connect];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::WebSocket => "websocket",
            Self::Connect => "connect",
        }
    }
}

/// The first digit of the status that a client got, or that it left before there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// 1xx, which is an accepted WebSocket.
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// The client left.
    ClientClosed,
}

impl StatusClass {
    /// All, in the order of their places.
    pub const ALL: [Self; 6] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::ClientClosed,
    ];

    fn of(status: u16) -> Self {
        match status {
            CLIENT_CLOSED => Self::ClientClosed,
            0..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::ClientClosed => "client_closed",
        }
    }
}

/// Why an upstream gave no answer, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// Before its answer began.
    Unanswered(UpstreamErrorKind),
    /// The answer was cut short.
    Truncated,
    /// The answer stopped moving.
    Stalled,
}

impl UpstreamFailure {
    /// All, in the order of their places.
    pub const ALL: [Self; 11] = [
        Self::Unanswered(UpstreamErrorKind::Resolve),
        Self::Unanswered(UpstreamErrorKind::Blocked),
        Self::Unanswered(UpstreamErrorKind::Connect),
        Self::Unanswered(UpstreamErrorKind::Tls),
        Self::Unanswered(UpstreamErrorKind::Timeout),
        Self::Unanswered(UpstreamErrorKind::ProxyRefused),
        Self::Unanswered(UpstreamErrorKind::Protocol),
        Self::Unanswered(UpstreamErrorKind::Closed),
        Self::Unanswered(UpstreamErrorKind::Busy),
        Self::Truncated,
        Self::Stalled,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unanswered(kind) => match kind {
                UpstreamErrorKind::Resolve => "resolve",
                UpstreamErrorKind::Blocked => "blocked",
                UpstreamErrorKind::Connect => "connect",
                UpstreamErrorKind::Tls => "tls",
                UpstreamErrorKind::Timeout => "timeout",
                UpstreamErrorKind::ProxyRefused => "proxy_refused",
                UpstreamErrorKind::Protocol => "protocol",
                UpstreamErrorKind::Closed => "closed",
                UpstreamErrorKind::Busy => "busy",
            },
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
        }
    }
}

/// Which limit refused something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// Requests per second of one principal.
    Rate,
    /// Requests in flight of one principal.
    Concurrency,
    /// Tunnels of one principal.
    Tunnels,
    /// Failed authentications of one address.
    Authentication,
    /// Requests that a token was given.
    Budget,
}

impl Limited {
    /// All, in the order of their places.
    pub const ALL: [Self; 5] = [
        Self::Rate,
        Self::Concurrency,
        Self::Tunnels,
        Self::Authentication,
        Self::Budget,
    ];

    fn of(code: &str) -> Option<Self> {
        match code {
            "rate_limit_scope" => Some(Self::Rate),
            "concurrency_scope" => Some(Self::Concurrency),
            "tunnels_scope" => Some(Self::Tunnels),
            "too_many_requests" => Some(Self::Authentication),
            "budget_spent" | "budget_unwritten" => Some(Self::Budget),
            _ => None,
        }
    }

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::Tunnels => "tunnels",
            Self::Authentication => "authentication",
            Self::Budget => "budget",
        }
    }
}

/// What is open right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gauge {
    /// Client connections to the proxy port.
    Connections,
    /// CONNECT tunnels.
    Tunnels,
    /// Exchanges whose last byte has not left: requests and streams.
    Exchanges,
    /// WebSockets.
    WebSockets,
}

impl Gauge {
    /// All, in the order of their places.
    pub const ALL: [Self; 4] = [
        Self::Connections,
        Self::Tunnels,
        Self::Exchanges,
        Self::WebSockets,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Tunnels => "tunnels",
            Self::Exchanges => "exchanges",
            Self::WebSockets => "websockets",
        }
    }
}

/// Upper ends of a [`Histogram`]'s buckets, in microseconds; one more bucket takes what is above the last.
pub const BUCKETS_MICROS: [u64; 15] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// Durations, counted by size.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|end| *end < micros);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Durations per bucket, each bucket by itself; the last has no upper end.
    #[must_use]
    pub fn counts(&self) -> [u64; BUCKETS_MICROS.len() + 1] {
        self.counts
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// All durations together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.load(Ordering::Relaxed))
    }
}

const DECISIONS: [LogDecision; 3] = [
    LogDecision::Brokered,
    LogDecision::Passed,
    LogDecision::Refused,
];

/// The counts of one data plane.
#[derive(Debug, Default)]
pub struct Meters {
    requests: [[[AtomicU64; StatusClass::ALL.len()]; DECISIONS.len()]; Protocol::ALL.len()],
    durations: [Histogram; DECISIONS.len()],
    failures: [AtomicU64; UpstreamFailure::ALL.len()],
    limited: [AtomicU64; Limited::ALL.len()],
    unauthenticated: AtomicU64,
    open: [AtomicU64; Gauge::ALL.len()],
    scrubs: AtomicU64,
    rows_written: AtomicU64,
    rows_lost: AtomicU64,
    row_writes: Histogram,
}

/// Something that is open; counted until dropped.
#[derive(Debug)]
pub(crate) struct Open {
    meters: Arc<Meters>,
    what: Gauge,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.meters.leave(self.what);
    }
}

impl Meters {
    /// Finished exchanges by what the client spoke, what was decided and how it was answered.
    pub fn requests(&self) -> impl Iterator<Item = (Protocol, LogDecision, StatusClass, u64)> {
        Protocol::ALL
            .iter()
            .zip(&self.requests)
            .flat_map(|(protocol, decisions)| {
                DECISIONS
                    .iter()
                    .zip(decisions)
                    .flat_map(|(decision, classes)| {
                        StatusClass::ALL.iter().zip(classes).map(|(class, count)| {
                            (*protocol, *decision, *class, count.load(Ordering::Relaxed))
                        })
                    })
            })
    }

    /// How long exchanges took, from their head to the last byte, by what was decided.
    pub fn durations(&self) -> impl Iterator<Item = (LogDecision, &Histogram)> {
        DECISIONS.into_iter().zip(&self.durations)
    }

    /// Upstreams that gave no whole answer.
    pub fn upstream_failures(&self) -> impl Iterator<Item = (UpstreamFailure, u64)> {
        readings(&UpstreamFailure::ALL, &self.failures)
    }

    /// Requests that a limit refused.
    pub fn limited(&self) -> impl Iterator<Item = (Limited, u64)> {
        readings(&Limited::ALL, &self.limited)
    }

    /// Requests without a good token.
    #[must_use]
    pub fn unauthenticated(&self) -> u64 {
        self.unauthenticated.load(Ordering::Relaxed)
    }

    /// How often an injected value was found in an answer and replaced.
    #[must_use]
    pub fn scrubs(&self) -> u64 {
        self.scrubs.load(Ordering::Relaxed)
    }

    /// What is open right now.
    pub fn open_now(&self) -> impl Iterator<Item = (Gauge, u64)> {
        readings(&Gauge::ALL, &self.open)
    }

    /// Rows of the request log that were stored.
    #[must_use]
    pub fn rows_written(&self) -> u64 {
        self.rows_written.load(Ordering::Relaxed)
    }

    /// Rows that were not, because the queue was full or the database could not be written.
    #[must_use]
    pub fn rows_lost(&self) -> u64 {
        self.rows_lost.load(Ordering::Relaxed)
    }

    /// How long it took to store a batch of rows, or to fail to.
    #[must_use]
    pub fn row_writes(&self) -> &Histogram {
        &self.row_writes
    }

    /// Counts something as open until [`Meters::leave`].
    pub(crate) fn enter(&self, what: Gauge) {
        if let Some(open) = self.open.get(what as usize) {
            open.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn leave(&self, what: Gauge) {
        if let Some(open) = self.open.get(what as usize) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn opened(self: &Arc<Self>, what: Gauge) -> Open {
        self.enter(what);
        Open {
            meters: Arc::clone(self),
            what,
        }
    }

    /// An exchange has ended.
    pub(crate) fn finished(&self, protocol: Protocol, record: &LogRecord) {
        let class = StatusClass::of(record.status);
        if let Some(count) = self
            .requests
            .get(protocol as usize)
            .and_then(|decisions| decisions.get(record.decision as usize))
            .and_then(|classes| classes.get(class as usize))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(durations) = self.durations.get(record.decision as usize) {
            durations.observe(record.latency);
        }
        if record.error_code.is_empty() {
            return;
        }
        match record.error_code {
            "upstream_truncated" => self.upstream_failed(UpstreamFailure::Truncated),
            "upstream_stalled" => self.upstream_failed(UpstreamFailure::Stalled),
            code => self.note_limit(code),
        }
    }

    pub(crate) fn upstream_failed(&self, failure: UpstreamFailure) {
        let place = UpstreamFailure::ALL
            .iter()
            .position(|known| *known == failure);
        if let Some(count) = place.and_then(|place| self.failures.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Somebody came without a good token, or too often without one; `code` is the refusal's.
    pub(crate) fn not_authenticated(&self, code: &str) {
        self.unauthenticated.fetch_add(1, Ordering::Relaxed);
        self.note_limit(code);
    }

    fn note_limit(&self, code: &str) {
        if let Some(limited) = Limited::of(code)
            && let Some(count) = self.limited.get(limited as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn scrubbed(&self, times: u32) {
        self.scrubs.fetch_add(times.into(), Ordering::Relaxed);
    }

    pub(crate) fn wrote_rows(&self, rows: u64) {
        self.rows_written.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts rows as lost and answers how many were lost before.
    pub(crate) fn lost_rows(&self, rows: u64) -> u64 {
        self.rows_lost.fetch_add(rows, Ordering::Relaxed)
    }
}

fn readings<T: Copy>(names: &[T], counts: &[AtomicU64]) -> impl Iterator<Item = (T, u64)> {
    names
        .iter()
        .zip(counts)
        .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lands_in_the_bucket_that_ends_at_or_after_it() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 600_000_000, 600_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1]), (2, 1));
        assert_eq!(counts[BUCKETS_MICROS.len() - 1..], [1, 1]);
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert_eq!(histogram.sum(), Duration::from_micros(1_200_001_002));
    }

    #[test]
    fn every_name_has_the_place_of_its_number() {
        for (place, protocol) in Protocol::ALL.iter().enumerate() {
            assert_eq!(*protocol as usize, place);
        }
        for (place, class) in StatusClass::ALL.iter().enumerate() {
            assert_eq!(*class as usize, place);
        }
        for (place, limited) in Limited::ALL.iter().enumerate() {
            assert_eq!(*limited as usize, place);
        }
        for (place, gauge) in Gauge::ALL.iter().enumerate() {
            assert_eq!(*gauge as usize, place);
        }
        for (place, decision) in DECISIONS.iter().enumerate() {
            assert_eq!(*decision as usize, place);
        }
        for (status, class) in [
            (101, "1xx"),
            (204, "2xx"),
            (302, "3xx"),
            (404, "4xx"),
            (499, "client_closed"),
            (502, "5xx"),
        ] {
            assert_eq!(StatusClass::of(status).as_str(), class);
        }
    }

    #[test]
    fn what_is_open_is_counted_until_it_is_dropped() {
        let meters = Arc::new(Meters::default());
        let one = meters.opened(Gauge::Tunnels);
        let two = meters.opened(Gauge::Tunnels);
        assert!(
            meters
                .open_now()
                .any(|reading| reading == (Gauge::Tunnels, 2))
        );
        drop((one, two));
        assert!(meters.open_now().all(|(_, count)| count == 0));
    }
}
