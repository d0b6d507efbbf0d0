//! The load generator: many connections through one proxy, each with one small request at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_vault_testing::BoxError;
use agent_vault_testing::client::{Http, empty};
use anyhow::{Context as _, anyhow, ensure};
use clap::ValueEnum;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt as _;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::cpu;
use crate::target::Target;

/// What a round does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// Small HTTP/1.1 requests in kept tunnels.
    H1,
    /// Small HTTP/2 requests in kept tunnels.
    H2,
    /// A new tunnel and TLS handshake for each HTTP/1.1 request.
    H1Tunnel,
    /// A new tunnel and TLS handshake for each HTTP/2 request.
    H2Tunnel,
}

impl Case {
    pub(crate) const ALL: [Self; 4] = [Self::H1, Self::H2, Self::H1Tunnel, Self::H2Tunnel];

    fn alpn(self) -> &'static str {
        match self {
            Self::H1 | Self::H1Tunnel => "http/1.1",
            Self::H2 | Self::H2Tunnel => "h2",
        }
    }

    fn keeps(self) -> bool {
        matches!(self, Self::H1 | Self::H2)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H1 => "HTTP/1.1, kept tunnel",
            Self::H2 => "HTTP/2, kept tunnel",
            Self::H1Tunnel => "HTTP/1.1, new tunnel each",
            Self::H2Tunnel => "HTTP/2, new tunnel each",
        })
    }
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) case: Case,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) resume: bool,
}

/// What one round measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Processor time of the proxy for each request, in microseconds.
    pub(crate) cpu_micros: f64,
    /// Latencies in microseconds: median, 99th of 100, worst.
    pub(crate) p50: u32,
    /// See [`Sample::p50`].
    pub(crate) p99: u32,
    /// See [`Sample::p50`].
    pub(crate) max: u32,
    /// Resident memory of the proxy at the end, in KiB.
    pub(crate) resident_kib: u64,
}

/// Where a round stands, as its connections see it.
#[derive(Debug, Default)]
struct Phase {
    measuring: AtomicBool,
    over: AtomicBool,
}

impl Load {
    /// Puts `target` under load and measures. Any failed request fails the round.
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Sample> {
        let phase = Arc::new(Phase::default());
        let tls = target.tls(self.case.alpn(), self.resume);
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            let worker = Worker {
                phase: Arc::clone(&phase),
                proxy: target.proxy,
                authority: target.authority.clone(),
                authorization: target.authorization.clone(),
                tls: Arc::clone(&tls),
            };
            workers.spawn(worker.work(self.case));
        }
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
            "no request was answered in {} s",
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
            resident_kib: cpu::resident_kib(target.pid).context("the proxy's memory")?,
        })
    }
}

/// One connection's worth of load.
struct Worker {
    phase: Arc<Phase>,
    proxy: std::net::SocketAddr,
    authority: String,
    authorization: Option<String>,
    tls: Arc<ClientConfig>,
}

impl Worker {
    async fn work(self, case: Case) -> Result<Vec<u32>, BoxError> {
        let mut latencies = Vec::new();
        if case.keeps() {
            let mut http = self.open().await?;
            let asking = Asking::new(&self.authority, http.is_h2())?;
            while !self.phase.over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                asking.ask(&mut http).await?;
                self.note(begin, &mut latencies);
            }
        } else {
            while !self.phase.over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let mut http = self.open().await?;
                Asking::new(&self.authority, http.is_h2())?
                    .ask(&mut http)
                    .await?;
                http.close().await;
                self.note(begin, &mut latencies);
            }
        }
        Ok(latencies)
    }

    async fn open(&self) -> Result<Http, BoxError> {
        Http::through(
            self.proxy,
            &self.authority,
            self.authorization.as_deref(),
            &self.tls,
        )
        .await
    }

    fn note(&self, begin: Instant, latencies: &mut Vec<u32>) {
        // What began before the measured time or ended after it does not count.
        if self.phase.measuring.load(Ordering::Relaxed) && !self.phase.over.load(Ordering::Relaxed)
        {
            latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

/// The one request that is sent again and again, parsed once.
struct Asking {
    uri: Uri,
    host: Option<HeaderValue>,
}

impl Asking {
    fn new(authority: &str, h2: bool) -> Result<Self, BoxError> {
        Ok(if h2 {
            Self {
                uri: format!("https://{authority}/small").parse()?,
                host: None,
            }
        } else {
            Self {
                uri: Uri::from_static("/small"),
                host: Some(authority.parse()?),
            }
        })
    }

    async fn ask(&self, http: &mut Http) -> Result<(), BoxError> {
        let mut request = Request::new(empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.uri.clone();
        if let Some(host) = &self.host {
            request.headers_mut().insert("host", host.clone());
        }
        request
            .headers_mut()
            .insert("user-agent", HeaderValue::from_static("bench"));
        request
            .headers_mut()
            .insert("accept", HeaderValue::from_static("*/*"));
        let response = http.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != 200 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(())
    }
}
