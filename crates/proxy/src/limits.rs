//! Every bound of the data plane that is not per principal, with its unit and why.

use std::time::Duration;

/// Client connections open at once. Beyond it, new ones wait in the kernel's queue.
pub(crate) const MAX_CONNECTIONS: usize = 16 * 1024;
/// Those of one client address; further ones are closed at once. A quarter of them all, so that no one address takes them, and far
/// above what the agents behind one address need.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = MAX_CONNECTIONS / 4;
/// TLS handshakes with clients in progress at once; more wait, within [`HANDSHAKE_TIMEOUT`].
pub(crate) const MAX_HANDSHAKES: usize = 512;
/// A client's TLS handshake, from the first byte after CONNECT.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of a request head to its last; for a new connection, from its beginning.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The header of the PROXY protocol, from a load balancer that has just connected.
pub(crate) const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A client connection without any request in progress.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(120);
/// How often a connection's own clock is looked at.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// A request or response body that does not move. Event streams may be silent for long.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// A request body that a rule looks into and that does not move: nothing of it has left yet, and it takes memory.
pub(crate) const HELD_BODY_STALL: Duration = Duration::from_secs(5 * 60);
/// How long such a body may take as a whole, beside what its length allows at [`HELD_BODY_RATE`].
pub(crate) const HELD_BODY_GRACE: Duration = Duration::from_secs(10 * 60);
/// Slowest that such a body may come on average, in bytes per second.
pub(crate) const HELD_BODY_RATE: u64 = 8 * 1024;
/// A WebSocket without a byte in either direction.
pub(crate) const WEBSOCKET_IDLE: Duration = Duration::from_secs(10 * 60);
/// How long a client may go on sending after our end of its connection or stream is closed, and how many bytes on a
/// connection.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// See [`LINGER`].
pub(crate) const MAX_LINGER_BYTES: usize = 1024 * 1024;
/// How long a client that expects `100 Continue` is kept waiting for the upstream's word.
pub(crate) const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// Largest request head, in bytes over HTTP/1.1 and as an HTTP/2 header list.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Largest HTTP/2 header list that is read at all. What is larger than [`MAX_HEAD_BYTES`] is refused with words and a record of ours; beyond
/// this, h2 answers by itself, 431 without a body. So many for each of [`MAX_STREAMS`] at most, and only until refused.
pub(crate) const MAX_READ_HEAD_BYTES: u32 = 256 * 1024;
/// Most header fields in a request. As Apache has it, and as many as hyper parses without an allocation.
pub(crate) const MAX_HEADERS: usize = 100;
/// Concurrent HTTP/2 streams per client connection.
pub(crate) const MAX_STREAMS: u32 = 128;
/// Streams a client may reset before we have accepted them (rapid reset, CVE-2023-44487).
pub(crate) const MAX_PENDING_RESETS: usize = 20;
/// Streams we may reset ourselves before the connection is given up (MadeYouReset, CVE-2025-8671); above the
/// overshoot of a client that has not yet seen our SETTINGS.
pub(crate) const MAX_LOCAL_RESETS: usize = 1024;
/// Streams that we ended before their uploads did and that are remembered, so that what was on its way is ignored and
/// does not count as [`MAX_LOCAL_RESETS`]; and for how long.
pub(crate) const MAX_REMEMBERED_RESETS: usize = 1024;
/// See [`MAX_REMEMBERED_RESETS`].
pub(crate) const RESETS_REMEMBERED: Duration = Duration::from_secs(5);
/// Flow-control window of one h2 stream from a client, in bytes.
pub(crate) const STREAM_WINDOW: u32 = 512 * 1024;
/// That of a connection: room for every stream's, so that uploads that an upstream does not read stop no others.
pub(crate) const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
/// Bytes that one h2 stream towards a client may have waiting.
pub(crate) const MAX_SEND_BUFFER: usize = 256 * 1024;
/// How often a client's h2 connection is pinged, and how long the answer may take.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(60);
/// See [`PING_INTERVAL`].
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Interim bytes (1xx heads) that wait for one client; later ones are dropped, as RFC 9110 section 15.2 lets a proxy do.
pub(crate) const MAX_INTERIM_BYTES: usize = 64 * 1024;
/// Largest body that a rule may look into; it is held in memory.
pub(crate) const MAX_BUFFERED_BODY: usize = 64 * 1024 * 1024;
/// Bodies held in memory by all requests together.
pub(crate) const MAX_BUFFERED_TOTAL: usize = 512 * 1024 * 1024;

/// Log records waiting to be written.
pub(crate) const JOURNAL_QUEUE: usize = 16 * 1024;
/// Log records written in one statement.
pub(crate) const JOURNAL_BATCH: usize = 2048;
/// Longest time a record waits for company.
pub(crate) const JOURNAL_DELAY: Duration = Duration::from_millis(100);
/// Longest path in a log record, in bytes.
pub(crate) const MAX_LOGGED_PATH: usize = 2048;

/// Addresses whose failed authentications are counted.
pub(crate) const MAX_FAILURE_KEYS: usize = 10_000;
/// How long open exchanges may go on after shutdown began.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
