//! What the attacks are made with: raw connections of an agent on every way in, and an upstream that keeps every byte.

use std::sync::{Arc, Mutex};

use agent_vault_testing::client::{self, Stream};
use agent_vault_testing::upstream::ByteStream;
use agent_vault_testing::{Alpn, Canary, Upstream, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Agent, Door, Far, HOST, Stage, Way};

/// The ways in that speak HTTP/1.1, through both doors.
pub(crate) const H1_LANES: [(Door, Way); 6] = [
    (Door::Clear, Way::H1),
    (Door::Clear, Way::Clear),
    (Door::Clear, Way::Absolute),
    (Door::Tls, Way::H1),
    (Door::Tls, Way::Clear),
    (Door::Tls, Way::Absolute),
];

/// The ways in that speak HTTP/2, through both doors.
pub(crate) const H2_LANES: [(Door, Way); 4] = [
    (Door::Clear, Way::H2),
    (Door::Clear, Way::ClearH2),
    (Door::Tls, Way::H2),
    (Door::Tls, Way::ClearH2),
];

/// What an agent on this way finds at the far end.
pub(crate) fn far(way: Way) -> Far {
    match way {
        Way::H1 => Far::H1,
        Way::H2 => Far::H2,
        Way::Absolute | Way::Clear | Way::ClearH2 => Far::Plain,
    }
}

/// An agent's connection with nothing spoken on it yet: the tunnel, or the proxy port itself for absolute-form.
pub(crate) async fn raw(stage: &Stage, door: Door, way: Way, authority: &str) -> Stream {
    let proxy = stage.dial(door).await.unwrap();
    if way == Way::Absolute {
        return proxy;
    }
    let tasks = agent_vault_testing::tasks::Tasks::new();
    let mut connection = client::ProxyConnection::over(proxy, &tasks.spawner())
        .await
        .unwrap();
    let tunnel = connection
        .connect(authority, Some(&stage.auth()))
        .await
        .unwrap()
        .opened();
    drop(tasks);
    let alpn = match way {
        Way::H1 => "http/1.1",
        Way::H2 => "h2",
        _ => return tunnel,
    };
    let host = authority.rsplit_once(':').unwrap().0;
    client::tls(tunnel, host, &stage.tls(&[alpn]))
        .await
        .unwrap()
        .0
}

/// `path` as a request line on this way names it.
pub(crate) fn target(way: Way, authority: &str, path: &str) -> String {
    if way == Way::Absolute {
        format!("http://{authority}{path}")
    } else {
        path.to_owned()
    }
}

/// The fields that only this way needs, each with its line end.
pub(crate) fn credentials(stage: &Stage, way: Way) -> String {
    if way == Way::Absolute {
        format!("Proxy-Authorization: {}\r\n", stage.auth())
    } else {
        String::new()
    }
}

/// Asks for `/well` on a fresh connection: whatever was done before, the process serves on. And whatever was done is in the log
/// without a value or a token of the vault.
pub(crate) async fn serves_on(stage: &Stage, way: Way, upstream: &Upstream) {
    let mut agent = Agent::open(stage, way, &upstream.authority_of(HOST)).await;
    assert_eq!(agent.get("/well", &[]).await.status, 200, "after an attack");
    let log = format!("{:?}", stage.logged(0).await);
    let values = stage.vault.credentials.iter().map(|(_, value)| value);
    for value in values.chain([&stage.token]) {
        Canary::of(value.clone()).assert_absent("the log", &log);
    }
}

/// One request that arrived whole or in part.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Its body was read to the end that its framing names.
    pub(crate) whole: bool,
}

/// An HTTP/1.1 upstream that reads as strictly as can be, answers `200` to what is whole, and keeps every byte.
pub(crate) struct Trap {
    pub(crate) upstream: Upstream,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    wire: Vec<u8>,
    arrived: Vec<Arrived>,
}

impl Trap {
    pub(crate) fn start(far: Far) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let keeps = Arc::clone(&kept);
        let upstream = far
            .builder()
            .alpn(Alpn::H1Only)
            .raw(move |stream| record(stream, Arc::clone(&keeps)))
            .start();
        Self { upstream, kept }
    }

    pub(crate) fn authority(&self) -> String {
        self.upstream.authority_of(HOST)
    }

    /// Everything that arrived since the last call.
    pub(crate) fn take(&self) -> (String, Vec<Arrived>) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        let wire = String::from_utf8_lossy(&kept.wire).into_owned();
        (wire, kept.arrived)
    }
}

async fn record(mut stream: Box<dyn ByteStream>, kept: Arc<Mutex<Kept>>) {
    loop {
        let mut reader = Reader {
            stream: &mut stream,
            kept: &kept,
        };
        let Some(head) = reader.until(b"\r\n\r\n").await else {
            return;
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let at = {
            let mut kept = kept.lock().unwrap();
            kept.arrived.push(Arrived {
                head: head.clone(),
                body: Vec::new(),
                whole: false,
            });
            kept.arrived.len() - 1
        };
        let Some(body) = reader.body(&head.to_ascii_lowercase()).await else {
            return;
        };
        if let Some(arrived) = kept.lock().unwrap().arrived.get_mut(at) {
            arrived.body = body;
            arrived.whole = true;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        if stream.write_all(answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

struct Reader<'a> {
    stream: &'a mut Box<dyn ByteStream>,
    kept: &'a Mutex<Kept>,
}

impl Reader<'_> {
    async fn byte(&mut self) -> Option<u8> {
        let byte = self.stream.read_u8().await.ok()?;
        self.kept.lock().unwrap().wire.push(byte);
        Some(byte)
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut read = Vec::new();
        while !read.ends_with(end) {
            read.push(self.byte().await?);
        }
        Some(read)
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut read = Vec::new();
        for _ in 0..count {
            read.push(self.byte().await?);
        }
        Some(read)
    }

    /// The body that a lower-case head announces, chunks taken apart, trailers behind it.
    async fn body(&mut self, head: &str) -> Option<Vec<u8>> {
        let fields = |name: &str| {
            head.split("\r\n")
                .filter_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
                .collect::<Vec<_>>()
        };
        let (lengths, codings) = (fields("content-length:"), fields("transfer-encoding:"));
        assert!(lengths.len() + codings.len() <= 1, "framed twice: {head}");
        if let Some(length) = lengths.first() {
            return self.exactly(length.parse().unwrap()).await;
        }
        if codings.is_empty() {
            return Some(Vec::new());
        }
        assert_eq!(codings, ["chunked"], "{head}");
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n").await?).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if size == 0 {
                break;
            }
            body.extend(self.exactly(size).await?);
            assert_eq!(self.exactly(2).await?, b"\r\n");
        }
        loop {
            let line = self.until(b"\r\n").await?;
            if line == b"\r\n" {
                return Some(body);
            }
            body.extend(line);
        }
    }
}

/// A stage with a bearer service for [`HOST`] whose value is a canary, in front of `upstream`.
pub(crate) async fn guarded(upstream: &Upstream) -> (Stage, Canary) {
    let secret = Canary::new("sk-guarded-");
    let stage = Stage::builder()
        .trusting(upstream)
        .bearer(secret.expose())
        .start()
        .await;
    (stage, secret)
}

/// Sends `bytes` and returns what comes back up to the end of the stream. A peer that closes early is no failure.
pub(crate) async fn converse(stream: &mut Stream, bytes: &[u8]) -> String {
    // What is refused may be closed before all was written.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut got = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match within("an end to the answers", stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&got).into_owned(),
            Ok(read) => got.extend_from_slice(&buffer[..read]),
        }
    }
}

/// The status of each response in `answers`.
pub(crate) fn statuses(answers: &str) -> Vec<u16> {
    answers
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|rest| rest.get(..3)?.parse().ok())
        .collect()
}
