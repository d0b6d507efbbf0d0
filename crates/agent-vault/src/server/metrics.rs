//! What the server tells a monitoring system: one reading of every count, as OpenMetrics text.
//!
//! Labels come from closed lists in the program; no host, vault, token or path is ever one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_vault_api::Exposition;
use agent_vault_ca::LeafIssuer;
use agent_vault_control::{Control, StoreHealth};
use agent_vault_proxy::Meters;
use agent_vault_proxy::meters::{BUCKETS_MICROS, Histogram};
use agent_vault_upstream::Upstream;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// Longest that a reading waits for the database.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the counts are.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) control: Control,
    pub(super) meters: Arc<Meters>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) issuer: Arc<LeafIssuer>,
    /// The server before this one did not stop in order.
    pub(super) after_crash: Arc<AtomicBool>,
}

/// What answers a scrape.
pub(super) fn exposition(sources: Sources) -> Exposition {
    Arc::new(move || {
        let sources = sources.clone();
        Box::pin(async move {
            let database = ask(&sources.control).await;
            let stores = match database {
                None => None,
                Some(_) => sources.control.stores().health().await.ok(),
            };
            let mut registry = Registry::default();
            registry.register_collector(Box::new(Reading {
                sources,
                database,
                stores,
            }));
            let mut page = String::new();
            if text::encode(&mut page, &registry).is_err() {
                tracing::error!("the metrics could not be written");
            }
            page
        })
    })
}

/// How long the database took to answer; `None` if it did not.
async fn ask(control: &Control) -> Option<Duration> {
    let began = Instant::now();
    match tokio::time::timeout(DATABASE_PATIENCE, control.ping()).await {
        Ok(Ok(())) => Some(began.elapsed()),
        Ok(Err(_)) | Err(_) => None,
    }
}

struct Reading {
    sources: Sources,
    database: Option<Duration>,
    stores: Option<StoreHealth>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut page = Page(encoder);
        self.proxy(&mut page)?;
        self.log(&mut page)?;
        self.connections(&mut page)?;
        self.database(&mut page)?;
        self.stores(&mut page)?;
        process(&mut page)
    }
}

impl Reading {
    fn proxy(&self, page: &mut Page<'_>) -> fmt::Result {
        let meters = &self.sources.meters;
        page.counters(
            "agent_vault_requests",
            "Finished exchanges.",
            meters.requests().map(|(protocol, decision, class, count)| {
                let labels = [
                    ("protocol", protocol.as_str()),
                    ("decision", decision.as_str()),
                    ("status", class.as_str()),
                ];
                (labels, count)
            }),
        )?;
        page.histograms(
            "agent_vault_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
            meters
                .durations()
                .map(|(decision, histogram)| ([("decision", decision.as_str())], histogram)),
        )?;
        page.counters(
            "agent_vault_upstream_failures",
            "Upstreams that gave no whole answer.",
            meters
                .upstream_failures()
                .map(|(failure, count)| ([("kind", failure.as_str())], count)),
        )?;
        page.counters(
            "agent_vault_limited",
            "Requests that a limit refused.",
            meters
                .limited()
                .map(|(limit, count)| ([("limit", limit.as_str())], count)),
        )?;
        page.counter(
            "agent_vault_unauthenticated",
            "Requests to the proxy without a good token.",
            meters.unauthenticated(),
        )?;
        page.counter(
            "agent_vault_scrubs",
            "Injected values that were found in answers and replaced.",
            meters.scrubs(),
        )?;
        page.gauges(
            "agent_vault_open",
            "What agents have open.",
            meters
                .open_now()
                .map(|(what, count)| ([("what", what.as_str())], count)),
        )
    }

    fn log(&self, page: &mut Page<'_>) -> fmt::Result {
        let meters = &self.sources.meters;
        page.counters(
            "agent_vault_log_rows",
            "Rows of the request log.",
            [
                ([("outcome", "written")], meters.rows_written()),
                ([("outcome", "lost")], meters.rows_lost()),
            ],
        )?;
        page.histograms(
            "agent_vault_log_write_duration_seconds",
            "How long the database took to store a batch of log rows.",
            [([("operation", "append")], meters.row_writes())],
        )?;
        page.counters(
            "agent_vault_webhook_events",
            "Events of requests that webhooks were not told of.",
            [([("outcome", "lost")], self.sources.control.lost_events())],
        )?;
        page.gauge(
            "agent_vault_started_after_crash",
            "1 if the server before this one did not stop in order, so that its last log rows may be missing.",
            u64::from(self.sources.after_crash.load(Ordering::Acquire)),
        )
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.sources.upstream.counts();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        page.gauges(
            "agent_vault_upstream_connections",
            "Connections to upstreams; idle and shared ones are among the open.",
            [
                ([("state", "open")], number(counts.open)),
                ([("state", "idle")], number(counts.idle)),
                ([("state", "shared")], number(counts.shared)),
            ],
        )?;
        page.gauge(
            "agent_vault_upstream_routes",
            "Pairs of vault and upstream that the pool knows.",
            number(counts.routes),
        )?;
        page.counter(
            "agent_vault_upstream_connections_opened",
            "Connections to upstreams that were opened.",
            self.sources.upstream.dialed(),
        )?;
        page.gauge(
            "agent_vault_leaf_cache_entries",
            "Certificates for hosts that are kept.",
            number(self.sources.issuer.cached()),
        )?;
        page.counter(
            "agent_vault_leaves_signed",
            "Certificates for hosts that were made.",
            self.sources.issuer.signed(),
        )
    }

    fn stores(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(health) = self.stores else {
            return Ok(());
        };
        page.gauges(
            "agent_vault_external_stores",
            "Vaults with an external store: all, those whose last refresh failed, those whose copies may be out of date.",
            [
                ([("state", "connected")], health.vaults),
                ([("state", "failing")], health.failing),
                ([("state", "stale")], health.stale),
            ],
        )?;
        page.gauge(
            "agent_vault_external_store_oldest_seconds",
            "Since the last good refresh, of the vault where that is longest ago.",
            health.oldest_seconds,
        )?;
        page.gauge(
            "agent_vault_dynamic_leases",
            "Leases of dynamic secrets that this process holds.",
            health.leases,
        )
    }

    fn database(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge(
            "agent_vault_database_up",
            "Whether the database answered within two seconds.",
            u64::from(self.database.is_some()),
        )?;
        if let Some(took) = self.database {
            page.seconds(
                "agent_vault_database_ping_seconds",
                "How long it took to answer.",
                took.as_secs_f64(),
            )?;
        }
        Ok(())
    }
}

fn process(page: &mut Page<'_>) -> fmt::Result {
    page.gauges(
        "agent_vault_build_info",
        "The running version.",
        [([("version", env!("CARGO_PKG_VERSION"))], 1)],
    )?;
    let runtime = tokio::runtime::Handle::current().metrics();
    page.gauge(
        "agent_vault_tasks",
        "Tasks of the asynchronous runtime that have not ended.",
        u64::try_from(runtime.num_alive_tasks()).unwrap_or(u64::MAX),
    )?;
    // Where the system does not tell, there is no number rather than a wrong one.
    if let Some(bytes) = resident_bytes() {
        page.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            bytes,
        )?;
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the folder's own.
        let open = u64::try_from(open.count()).unwrap_or(u64::MAX);
        page.gauge(
            "process_open_fds",
            "Open file descriptors.",
            open.saturating_sub(1),
        )?;
    }
    Ok(())
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The text of one reading.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in rows {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn histograms<'h, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([(&'static str, &'static str); N], &'h Histogram)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in rows {
            let counts = histogram.counts();
            let ends = BUCKETS_MICROS
                .iter()
                .map(|micros| Duration::from_micros(*micros).as_secs_f64())
                .chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = ends.zip(counts).collect();
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    histogram.sum().as_secs_f64(),
                    counts.iter().sum(),
                    &buckets,
                    None,
                )?;
        }
        Ok(())
    }
}
