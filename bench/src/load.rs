//! The load generator: many connections through one proxy. What a round measures is the same for every kind of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_vault_testing::BoxError;
use agent_vault_testing::client::{Http, RequestBody, empty, full};
use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::cpu;
use crate::row::{Ask, Row, Version, Work};
use crate::target::{MANY_RULES, PLAIN, SUBSTITUTING, Target};
use crate::upstream::{ECHO, now_micros};

/// How often a paced connection sends what is due. Timers are no finer than a millisecond.
const PACE: Duration = Duration::from_millis(5);
/// Streams on one HTTP/2 connection.
const STREAMS: usize = 100;
/// Tunnels that are opened at once.
const OPENING: usize = 32;
/// What the product replaces in a body.
pub(crate) const PLACEHOLDER: &str = "__bench_placeholder__";

/// One round.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) row: Row,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) resume: bool,
    /// Size of one large transfer.
    pub(crate) bulk_bytes: u64,
    /// Requests a second of all connections together, for [`Work::HalfLoad`].
    pub(crate) pace: Option<f64>,
}

/// What one round measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Units a second.
    pub(crate) rate: f64,
    /// Processor time of the proxy for each unit, in microseconds.
    pub(crate) cpu_micros: f64,
    /// Latencies in microseconds: median, 99th of 100, worst. For an event the time since it was sent.
    pub(crate) p50: u32,
    /// See [`Sample::p50`].
    pub(crate) p99: u32,
    /// See [`Sample::p50`].
    pub(crate) max: u32,
    /// Most resident memory of the proxy in this round, in KiB.
    pub(crate) peak_kib: u64,
    /// Memory for each connection that lasts, in KiB.
    pub(crate) each_kib: Option<f64>,
}

/// Where a round stands, as its connections see it.
#[derive(Debug, Default)]
struct Phase {
    measuring: AtomicBool,
    over: AtomicBool,
}

impl Phase {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What began before the measured time or ended after it does not count.
    fn counts(&self) -> bool {
        self.measuring.load(Ordering::Relaxed) && !self.is_over()
    }
}

impl Load {
    /// Puts `target` under load and measures. Any failed request fails the round.
    pub(crate) async fn run(&self, target: &Target) -> anyhow::Result<Sample> {
        cpu::forget_peak(target.pid)?;
        match self.row.work {
            Work::Requests(ask) => self.repeated(target, ask).await,
            Work::HalfLoad | Work::Tunnels | Work::ColdHosts => {
                self.repeated(target, Ask::Small).await
            }
            Work::Down | Work::Up => self.bulk(target).await,
            Work::Events => self.events(target).await,
            Work::Idle => self.idle(target).await,
        }
    }

    async fn repeated(&self, target: &Target, ask: Ask) -> anyhow::Result<Sample> {
        let phase = Arc::new(Phase::default());
        let tls = target.tls(self.row.client.alpn(), self.resume);
        let pace = self
            .pace
            .map(|pace| pace * PACE.as_secs_f64() / self.row.connections as f64);
        let mut workers = JoinSet::new();
        for _ in 0..self.row.connections {
            let worker = Worker {
                phase: Arc::clone(&phase),
                target: target.clone(),
                tls: Arc::clone(&tls),
                ask,
                pace,
            };
            workers.spawn(worker.work(self.row.work));
        }
        self.measure(target, &phase, workers).await
    }

    /// Waits for the measured time, and puts together what `workers` and the process have seen in it.
    async fn measure(
        &self,
        target: &Target,
        phase: &Phase,
        mut workers: JoinSet<Result<Vec<u32>, BoxError>>,
    ) -> anyhow::Result<Sample> {
        tokio::time::sleep(self.warm_up).await;
        let cpu_before = cpu::used_micros(target.pid)?;
        let begin = Instant::now();
        phase.measuring.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.measured).await;
        phase.over.store(true, Ordering::Relaxed);
        let elapsed = begin.elapsed();
        let cpu = cpu::used_micros(target.pid)? - cpu_before;
        let mut latencies = Vec::new();
        while let Some(done) = workers.join_next().await {
            latencies.extend(done?.map_err(|error| anyhow!("a request failed: {error}"))?);
        }
        ensure!(
            !latencies.is_empty(),
            "nothing was answered in {} s",
            self.measured.as_secs()
        );
        latencies.sort_unstable();
        let at = |share: f64| {
            let index = (latencies.len() as f64 * share) as usize;
            latencies
                .get(index)
                .or(latencies.last())
                .copied()
                .unwrap_or_default()
        };
        Ok(Sample {
            rate: latencies.len() as f64 / elapsed.as_secs_f64(),
            cpu_micros: cpu as f64 / latencies.len() as f64,
            p50: at(0.50),
            p99: at(0.99),
            max: at(1.0),
            peak_kib: cpu::peak_kib(target.pid).context("the proxy's memory")?,
            each_kib: None,
        })
    }

    async fn bulk(&self, target: &Target) -> anyhow::Result<Sample> {
        let tls = target.tls(self.row.client.alpn(), self.resume);
        let failed = |error: BoxError| anyhow!("the transfer failed: {error}");
        let mut http = target.open(&tls, PLAIN).await.map_err(failed)?;
        let up = self.row.work == Work::Up;
        let path = if up {
            "/sink".to_owned()
        } else {
            format!("/bytes/{}", self.bulk_bytes)
        };
        let mut request = http.request(if up { "POST" } else { "GET" }, &target.authority, &path);
        if up {
            *request.body_mut() = many(self.bulk_bytes);
        }
        let cpu_before = cpu::used_micros(target.pid)?;
        let begin = Instant::now();
        let response = http.send(request).await.map_err(failed)?;
        ensure!(response.status() == 200, "answered {}", response.status());
        let mut body = response.into_body();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        let elapsed = begin.elapsed();
        let cpu = cpu::used_micros(target.pid)? - cpu_before;
        if !up && received != self.bulk_bytes {
            bail!("{received} of {} bytes came", self.bulk_bytes);
        }
        let mib = self.bulk_bytes as f64 / f64::from(1 << 20);
        Ok(Sample {
            rate: mib / elapsed.as_secs_f64(),
            cpu_micros: cpu as f64 / mib,
            peak_kib: cpu::peak_kib(target.pid)?,
            ..Sample::default()
        })
    }

    async fn events(&self, target: &Target) -> anyhow::Result<Sample> {
        let before = cpu::resident_kib(target.pid)?;
        let phase = Arc::new(Phase::default());
        let tls = target.tls(self.row.client.alpn(), self.resume);
        let on_each = if self.row.client == Version::H2 {
            STREAMS
        } else {
            1
        };
        let mut streams = JoinSet::new();
        let mut left = self.row.connections;
        let mut opened = Vec::new();
        while left > 0 {
            let failed = |error: BoxError| anyhow!("a stream failed: {error}");
            let mut http = target.open(&tls, PLAIN).await.map_err(failed)?;
            for _ in 0..on_each.min(left) {
                let request = http.request("GET", &target.authority, "/events");
                let response = http.send(request).await.map_err(failed)?;
                ensure!(response.status() == 200, "answered {}", response.status());
                streams.spawn(listen(response.into_body(), Arc::clone(&phase)));
                left -= 1;
            }
            opened.push(http);
        }
        let mut sample = self.measure(target, &phase, streams).await?;
        let grown = cpu::resident_kib(target.pid)?.saturating_sub(before);
        sample.each_kib = Some(grown as f64 / self.row.connections as f64);
        close_all(opened).await;
        Ok(sample)
    }

    async fn idle(&self, target: &Target) -> anyhow::Result<Sample> {
        let tls = target.tls(self.row.client.alpn(), self.resume);
        // What the first tunnels bring about is not theirs.
        let mut kept = Vec::with_capacity(self.row.connections);
        let failed = |error: BoxError| anyhow!("a tunnel failed: {error}");
        for nth in 0..OPENING {
            kept.push(target.open_nth(&tls, nth).await.map_err(failed)?);
        }
        let before = cpu::resident_kib(target.pid)?;
        let cpu_before = cpu::used_micros(target.pid)?;
        let begin = Instant::now();
        let mut opening = JoinSet::new();
        for nth in OPENING..self.row.connections {
            let (target, tls) = (target.clone(), Arc::clone(&tls));
            opening.spawn(async move { target.open_nth(&tls, nth).await });
            if opening.len() >= OPENING {
                let opened = opening.join_next().await.context("no tunnel")??;
                kept.push(opened.map_err(failed)?);
            }
        }
        while let Some(opened) = opening.join_next().await {
            kept.push(opened?.map_err(failed)?);
        }
        let elapsed = begin.elapsed();
        let cpu = cpu::used_micros(target.pid)? - cpu_before;
        // What the handshakes needed is given back.
        tokio::time::sleep(self.warm_up).await;
        let grown = cpu::resident_kib(target.pid)?.saturating_sub(before);
        let count = (kept.len() - OPENING) as f64;
        let peak_kib = cpu::peak_kib(target.pid)?;
        close_all(kept).await;
        Ok(Sample {
            rate: count / elapsed.as_secs_f64(),
            cpu_micros: cpu as f64 / count,
            peak_kib,
            each_kib: Some(grown as f64 / count),
            ..Sample::default()
        })
    }
}

async fn close_all(all: Vec<Http>) {
    for http in all {
        http.close().await;
    }
}

/// Reads an event stream, and notes how old each event is when it comes.
async fn listen(mut body: hyper::body::Incoming, phase: Arc<Phase>) -> Result<Vec<u32>, BoxError> {
    let mut ages = Vec::new();
    while !phase.is_over() {
        let Some(frame) = body.frame().await else {
            return Err("a stream ended".into());
        };
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        let text = std::str::from_utf8(&data)?;
        let sent: u64 = text.trim_start_matches("data: ").trim().parse()?;
        if phase.counts() {
            ages.push(u32::try_from(now_micros().saturating_sub(sent)).unwrap_or(u32::MAX));
        }
    }
    Ok(ages)
}

/// A body of `bytes` bytes, in pieces.
fn many(bytes: u64) -> RequestBody {
    let piece = Bytes::from(vec![b'b'; 64 * 1024]);
    let pieces = futures_util::stream::unfold(bytes, move |left| {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let next = (size > 0).then(|| {
            let frame = Ok::<_, BoxError>(Frame::data(piece.slice(..size)));
            (frame, left - size as u64)
        });
        std::future::ready(next)
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// One connection's worth of load.
struct Worker {
    phase: Arc<Phase>,
    target: Target,
    tls: Arc<ClientConfig>,
    ask: Ask,
    /// Requests for each [`PACE`].
    pace: Option<f64>,
}

impl Worker {
    async fn work(self, work: Work) -> Result<Vec<u32>, BoxError> {
        let mut latencies = Vec::new();
        match work {
            Work::Tunnels => self.tunnels(&mut latencies).await?,
            Work::ColdHosts => self.cold_hosts(&mut latencies).await?,
            _ => self.requests(&mut latencies).await?,
        }
        Ok(latencies)
    }

    async fn requests(&self, latencies: &mut Vec<u32>) -> Result<(), BoxError> {
        let vault = match self.ask {
            Ask::ManyRules => MANY_RULES,
            Ask::Substituted => SUBSTITUTING,
            _ => PLAIN,
        };
        let mut http = self.target.open(&self.tls, vault).await?;
        let asking = Asking::new(&self.target.authority, http.is_h2(), self.ask)?;
        let mut tick = tokio::time::interval(PACE);
        let mut due = 0.0;
        while !self.phase.is_over() {
            if let Some(pace) = self.pace {
                if due < 1.0 {
                    tick.tick().await;
                    due += pace;
                    continue;
                }
                due -= 1.0;
            }
            let begin = Instant::now();
            asking.ask(&mut http).await?;
            self.note(begin, latencies);
        }
        Ok(())
    }

    async fn tunnels(&self, latencies: &mut Vec<u32>) -> Result<(), BoxError> {
        while !self.phase.is_over() {
            let begin = Instant::now();
            let mut http = self.target.open(&self.tls, PLAIN).await?;
            Asking::new(&self.target.authority, http.is_h2(), self.ask)?
                .ask(&mut http)
                .await?;
            http.close().await;
            self.note(begin, latencies);
        }
        Ok(())
    }

    async fn cold_hosts(&self, latencies: &mut Vec<u32>) -> Result<(), BoxError> {
        let mut number = 0;
        let run = now_micros();
        while !self.phase.is_over() {
            let host = format!("h{number}-{run}.bench.test");
            number += 1;
            let begin = Instant::now();
            let http = self.target.open_cold(&self.tls, &host).await?;
            self.note(begin, latencies);
            http.close().await;
        }
        Ok(())
    }

    fn note(&self, begin: Instant, latencies: &mut Vec<u32>) {
        if self.phase.counts() {
            latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// The one request that is sent again and again, parsed once.
pub(crate) struct Asking {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    body: Option<Bytes>,
    /// Bytes that the answer must have, where that is known.
    wanted: Option<usize>,
}

impl Asking {
    pub(crate) fn new(authority: &str, h2: bool, ask: Ask) -> Result<Self, BoxError> {
        let (method, path, body, wanted) = match ask {
            Ask::Small | Ask::ManyRules => (Method::GET, "/small", None, None),
            Ask::Substituted => (Method::POST, "/sink", Some(document()), Some(2)),
            Ask::Clean => (Method::GET, "/bytes/65536", None, Some(65536)),
            Ask::Reflected => (Method::GET, "/echo", None, Some(ECHO)),
        };
        Ok(Self {
            method,
            uri: if h2 {
                format!("https://{authority}{path}").parse()?
            } else {
                path.parse()?
            },
            host: (!h2).then(|| authority.parse()).transpose()?,
            body,
            wanted,
        })
    }

    pub(crate) async fn ask(&self, http: &mut Http) -> Result<(), BoxError> {
        let mut request = Request::new(self.body.clone().map_or_else(empty, full));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        if let Some(host) = &self.host {
            headers.insert("host", host.clone());
        }
        headers.insert("user-agent", HeaderValue::from_static("bench"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        if self.body.is_some() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        let response = http.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != 200 || self.wanted.is_some_and(|wanted| wanted != body.len()) {
            let text = body.get(..body.len().min(300)).unwrap_or_default();
            let length = body.len();
            return Err(format!(
                "{status}, {length} bytes: {}",
                String::from_utf8_lossy(text)
            )
            .into());
        }
        Ok(())
    }
}

/// 64 KiB of JSON with a placeholder in the middle.
fn document() -> Bytes {
    let filling = "x".repeat(32 * 1024 - 64);
    format!(r#"{{"before":"{filling}","key":"{PLACEHOLDER}","after":"{filling}"}}"#).into()
}
