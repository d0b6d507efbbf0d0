//! What an upstream received: each request with its body, trailers and WebSocket messages, and how it ended.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use http_body::{Body, Frame, SizeHint};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::BoxError;
use crate::websocket::Message;

/// At most this many requests are kept; later ones are served and counted, but not recorded.
pub const MAX_RECORDED: usize = 20_000;

/// At most this many WebSocket messages are kept for one request.
pub const MAX_MESSAGES: usize = 10_000;

/// One request as it arrived, growing while its body arrives.
pub struct Recorded {
    /// Its number, from 0, over all connections.
    pub index: usize,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// The version it was sent in.
    pub version: Version,
    /// Its method.
    pub method: Method,
    /// `:scheme`, or that of an absolute-form target.
    pub scheme: Option<String>,
    /// `:authority`, or that of an absolute-form target. See also [`Recorded::host`].
    pub authority: Option<String>,
    /// Path and query exactly as sent.
    pub target: String,
    /// All header fields. HTTP/1.1 `Host` is among them.
    pub headers: HeaderMap,
    /// `:protocol` of an extended CONNECT.
    pub protocol: Option<String>,
    /// The server name of the TLS handshake; `None` without TLS and for a client that dialled an address.
    pub sni: Option<String>,
    body_cap: usize,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    body: Vec<u8>,
    body_length: u64,
    trailers: Option<HeaderMap>,
    body_end: Option<BodyEnd>,
    messages: Vec<Message>,
    ending: Option<Ending>,
}

/// How a request body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was read to its proper end.
    Complete,
    /// It broke off.
    Failed(String),
    /// The handler stopped reading before its end, or the exchange was cancelled.
    Unread,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The response was handed over whole.
    Finished,
    /// The peer left, or the response was cut on purpose, before its end.
    Cancelled,
}

impl Recorded {
    /// The host that the request names: `:authority`, else `Host`.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.authority.as_deref().or_else(|| self.header("host"))
    }

    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a header as text, if there is one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All values of a header, in order.
    #[must_use]
    pub fn header_all(&self, name: &str) -> Vec<String> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| lossy(value.as_bytes()))
            .collect()
    }

    /// What has been kept of the body so far.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.state().body.clone()
    }

    /// The same as text, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn body_text(&self) -> String {
        lossy(&self.state().body)
    }

    /// Bytes of body that have arrived, kept or not.
    #[must_use]
    pub fn body_length(&self) -> u64 {
        self.state().body_length
    }

    /// The trailer section, once it has arrived.
    #[must_use]
    pub fn trailers(&self) -> Option<HeaderMap> {
        self.state().trailers.clone()
    }

    /// WebSocket messages that have arrived.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// How the exchange ended, if it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.state().ending
    }

    /// Waits for the end of the exchange.
    pub async fn ended(&self) -> Ending {
        self.until("an exchange to end", |state| state.ending).await
    }

    /// Waits for the end of the request body.
    pub async fn body_ended(&self) -> BodyEnd {
        self.until("a request body to end", |state| state.body_end.clone())
            .await
    }

    /// Waits until `length` bytes of body have arrived.
    pub async fn body_reached(&self, length: u64) {
        self.until("a request body to grow", |state| {
            (state.body_length >= length).then_some(())
        })
        .await;
    }

    /// Waits for `n` WebSocket messages and returns all there are.
    pub async fn messages_reached(&self, n: usize) -> Vec<Message> {
        self.until("WebSocket messages", |state| {
            (state.messages.len() >= n).then(|| state.messages.clone())
        })
        .await
    }

    /// Everything as JSON: header values joined by `, `, bodies and messages as text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let state = self.state();
        json!({
            "index": self.index,
            "connection": self.connection,
            "version": format!("{:?}", self.version),
            "method": self.method.as_str(),
            "scheme": self.scheme,
            "authority": self.authority,
            "host": self.host(),
            "sni": self.sni,
            "protocol": self.protocol,
            "path": self.target,
            "headers": headers_json(&self.headers),
            "body": lossy(&state.body),
            "body_length": state.body_length,
            "trailers": state.trailers.as_ref().map(headers_json),
            "messages": state.messages.iter().map(|message| message.to_text_lossy()).collect::<Vec<_>>(),
        })
    }

    pub(crate) fn push_message(&self, message: Message) {
        self.change(|state| {
            if state.messages.len() < MAX_MESSAGES {
                state.messages.push(message);
            }
        });
    }

    async fn until<T>(&self, what: &str, mut ready: impl FnMut(&State) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = ready(&self.state()) {
                    return found;
                }
                changes
                    .changed()
                    .await
                    .expect("the record outlives its watchers");
            }
        };
        crate::within(&format!("{what} ({} {})", self.method, self.target), wait).await
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.to_json())
    }
}

/// What one upstream has received so far.
pub(crate) struct Log {
    requests: Mutex<Vec<Arc<Recorded>>>,
    seen: watch::Sender<usize>,
    unrecorded: AtomicU64,
    body_cap: usize,
    observer: Option<Observer>,
}

/// Called with each request when its exchange has ended.
pub(crate) type Observer = Box<dyn Fn(&Recorded) + Send + Sync>;

impl Log {
    pub(crate) fn new(body_cap: usize, observer: Option<Observer>) -> Self {
        Self {
            requests: Mutex::default(),
            seen: watch::Sender::new(0),
            unrecorded: AtomicU64::new(0),
            body_cap,
            observer,
        }
    }

    pub(crate) fn open(
        self: &Arc<Self>,
        head: &Parts,
        connection: u64,
        sni: Option<&str>,
    ) -> Exchange {
        let mut requests = self.requests();
        let recorded = Arc::new(Recorded {
            index: requests.len(),
            connection,
            version: head.version,
            method: head.method.clone(),
            scheme: head.uri.scheme_str().map(str::to_owned),
            authority: head.uri.authority().map(ToString::to_string),
            target: head
                .uri
                .path_and_query()
                .map_or("", http::uri::PathAndQuery::as_str)
                .to_owned(),
            headers: head.headers.clone(),
            protocol: head
                .extensions
                .get::<hyper::ext::Protocol>()
                .map(|name| name.as_str().to_owned()),
            sni: sni.map(str::to_owned),
            body_cap: self.body_cap,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        if requests.len() < MAX_RECORDED {
            requests.push(Arc::clone(&recorded));
        } else {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
        }
        drop(requests);
        self.seen.send_modify(|count| *count += 1);
        Exchange {
            log: Arc::clone(self),
            recorded,
            finished: false,
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Recorded>> {
        self.requests().clone()
    }

    pub(crate) fn clear(&self) {
        self.requests().clear();
        self.unrecorded.store(0, Ordering::Relaxed);
    }

    pub(crate) fn unrecorded(&self) -> u64 {
        self.unrecorded.load(Ordering::Relaxed)
    }

    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[Arc<Recorded>]) -> Option<T>,
    ) -> T {
        let mut seen = self.seen.subscribe();
        let wait = async {
            loop {
                seen.borrow_and_update();
                if let Some(found) = find(&self.requests()) {
                    return found;
                }
                seen.changed().await.expect("the log outlives its watchers");
            }
        };
        crate::within(what, wait).await
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Recorded>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange in progress. Dropping it notes how it ended.
pub(crate) struct Exchange {
    log: Arc<Log>,
    recorded: Arc<Recorded>,
    finished: bool,
}

impl Exchange {
    pub(crate) fn recorded(&self) -> &Arc<Recorded> {
        &self.recorded
    }

    /// Notes that nothing is missing.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ending = if self.finished {
            Ending::Finished
        } else {
            Ending::Cancelled
        };
        self.recorded.change(|state| {
            state.ending = Some(ending);
        });
        if let Some(observer) = &self.log.observer {
            observer(&self.recorded);
        }
    }
}

/// A request body that writes itself into its record while it is read.
pub(crate) struct RecordedBody<B> {
    inner: B,
    recorded: Arc<Recorded>,
}

impl<B> RecordedBody<B> {
    pub(crate) fn new(inner: B, recorded: Arc<Recorded>) -> Self {
        Self { inner, recorded }
    }
}

impl<B> Body for RecordedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.recorded
                    .change(|state| state.body_end = Some(BodyEnd::Complete));
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                let cap = self.recorded.body_cap;
                self.recorded.change(|state| {
                    if let Some(data) = frame.data_ref() {
                        let room = cap.saturating_sub(state.body.len()).min(data.len());
                        state
                            .body
                            .extend_from_slice(data.get(..room).unwrap_or_default());
                        state.body_length += data.len() as u64;
                    } else if let Some(trailers) = frame.trailers_ref() {
                        state.trailers = Some(trailers.clone());
                    }
                });
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = error.into();
                self.recorded
                    .change(|state| state.body_end = Some(BodyEnd::Failed(chain(&*error))));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for RecordedBody<B> {
    fn drop(&mut self) {
        self.recorded.change(|state| {
            state.body_end.get_or_insert(BodyEnd::Unread);
        });
    }
}

/// A response body that holds its exchange open until it has been sent or dropped.
pub(crate) struct ExchangeBody<B: Body> {
    inner: B,
    exchange: Exchange,
}

impl<B: Body> ExchangeBody<B> {
    /// `headless`: the peer gets no body at all (HEAD), so dropping it unread is the proper end.
    pub(crate) fn new(inner: B, mut exchange: Exchange, headless: bool) -> Self {
        exchange.finished = headless;
        Self { inner, exchange }
    }
}

impl<B> Body for ExchangeBody<B>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(None) = polled {
            self.exchange.finished = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body> Drop for ExchangeBody<B> {
    fn drop(&mut self) {
        if self.inner.is_end_stream() {
            self.exchange.finished = true;
        }
    }
}

pub(crate) fn headers_json(headers: &HeaderMap) -> Value {
    let mut object = Map::new();
    for name in headers.keys() {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| lossy(value.as_bytes()))
            .collect();
        object.insert(name.to_string(), Value::String(values.join(", ")));
    }
    Value::Object(object)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
