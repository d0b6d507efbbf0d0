//! The agent's side of HTTP/2: accepts streams, runs each exchange on a task of its own, sends its answer.
//!
//! On the h2 crate itself: hyper's server has no way to send an interim response over HTTP/2.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use agent_vault_upstream::Incoming;
use agent_vault_upstream::http2::{Duplex, KeepAlive, Lingering, Received, SendBody};
use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};

use crate::connection::{Drained, Serving};
use crate::exchange::{Caller, Client, exchange, expects_continue};
use crate::interim::Hints;
use crate::limits::{
    CONNECTION_WINDOW, LINGER, MAX_INTERIM_BYTES, MAX_LOCAL_RESETS, MAX_PENDING_RESETS,
    MAX_READ_HEAD_BYTES, MAX_REMEMBERED_RESETS, MAX_SEND_BUFFER, MAX_STREAMS, PING_INTERVAL,
    PING_TIMEOUT, RESETS_REMEMBERED, STREAM_WINDOW,
};
use crate::relay::ResponseBody;
use crate::upgrade::ClientTunnel;

/// How every HTTP/2 connection of an agent is set up.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(Some(MAX_LOCAL_RESETS))
        .max_concurrent_reset_streams(MAX_REMEMBERED_RESETS)
        .reset_stream_duration(RESETS_REMEMBERED)
        // What lies between this and what is let through gets an answer of ours, with a body and a log record.
        .max_header_list_size(MAX_READ_HEAD_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_SEND_BUFFER);
    builder
}

/// One connection of an agent: a future that ends with it.
pub(crate) struct Streams<T> {
    client: Arc<Client>,
    state: State<T>,
    draining: bool,
    /// For uploads that are answered before their end.
    lingering: Arc<Lingering>,
}

enum State<T> {
    Greeting(Handshake<T, Bytes>),
    Open {
        connection: Connection<T, Bytes>,
        keep_alive: KeepAlive,
    },
}

impl<T: AsyncRead + AsyncWrite + Unpin> Streams<T> {
    pub(crate) fn new(client: Arc<Client>, io: T) -> Self {
        let handshake = client.shared.http2.handshake(io);
        let lingering = Arc::new(Lingering {
            tasks: client.shared.tasks.clone(),
            time: LINGER,
            places: Arc::new(Semaphore::new(MAX_STREAMS as usize)),
        });
        Self {
            lingering,
            client,
            state: State::Greeting(handshake),
            draining: false,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Streams<T> {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Greeting(handshake) => {
                    let mut connection = std::task::ready!(Pin::new(handshake).poll(cx))?;
                    let keep_alive =
                        KeepAlive::new(connection.ping_pong(), PING_INTERVAL, PING_TIMEOUT);
                    if this.draining {
                        connection.graceful_shutdown();
                    }
                    this.state = State::Open {
                        connection,
                        keep_alive,
                    };
                }
                State::Open { connection, .. } => {
                    match std::task::ready!(connection.poll_accept(cx)) {
                        None => return Poll::Ready(Ok(())),
                        Some(Err(error)) => return Poll::Ready(Err(error)),
                        Some(Ok((request, respond))) => {
                            let client = Arc::clone(&this.client);
                            let lingering = Arc::clone(&this.lingering);
                            this.client
                                .shared
                                .tasks
                                .spawn(serve_stream(client, request, respond, lingering));
                        }
                    }
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving for Streams<T> {
    type Error = h2::Error;

    /// What its frames did wrong; that a peer is gone is no news.
    fn is_telling(error: &h2::Error) -> bool {
        !error.is_io() && !error.is_remote()
    }

    fn finish_soon(mut self: Pin<&mut Self>) -> Drained {
        self.draining = true;
        match &mut self.state {
            // Nothing was asked yet.
            State::Greeting(_) => Drained::Now,
            State::Open { connection, .. } => {
                connection.graceful_shutdown();
                Drained::Soon
            }
        }
    }

    fn has_unsent(&self) -> bool {
        match &self.state {
            State::Greeting(_) => false,
            State::Open { connection, .. } => connection.has_streams(),
        }
    }

    fn is_alive(mut self: Pin<&mut Self>, stirred: bool) -> bool {
        match &mut self.state {
            State::Greeting(_) => true,
            State::Open { keep_alive, .. } => keep_alive.is_alive(true, stirred),
        }
    }
}

/// The way back to the agent on one stream, for interim responses and the final one.
pub(crate) struct Reply {
    respond: SendResponse<Bytes>,
    /// Bytes of interim heads that have been queued.
    hinted: usize,
}

/// A [`Reply`] that the exchange and whoever hears the upstream share.
pub(crate) type SharedReply = Arc<Mutex<Reply>>;

impl Reply {
    /// Sends an interim response, unless there were too many. h2 refuses it once the final one has begun.
    pub(crate) fn hint(&mut self, status: StatusCode, headers: HeaderMap) {
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        self.hinted = self.hinted.saturating_add(size).saturating_add(16);
        if self.hinted > MAX_INTERIM_BYTES {
            return;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Err(error) = self.respond.send_informational(response) {
            tracing::debug!(%error, "an interim response could not be sent");
        }
    }
}

fn lock(reply: &SharedReply) -> MutexGuard<'_, Reply> {
    reply.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the exchange of one stream and sends its answer.
async fn serve_stream(
    client: Arc<Client>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    lingering: Arc<Lingering>,
) {
    let (parts, stream) = request.into_parts();
    let reply = Arc::new(Mutex::new(Reply { respond, hinted: 0 }));
    let opens_tunnel =
        parts.method == Method::CONNECT && parts.extensions.get::<Protocol>().is_some();
    let (body, tunnel, waiting) = if opens_tunnel {
        let (fulfil, tunnel) = oneshot::channel();
        let waiting = Some((fulfil, stream));
        (Incoming::Empty, Some(ClientTunnel::Http2(tunnel)), waiting)
    } else {
        let mut body = Received::new(stream, &parts.headers).lingering(&lingering);
        drop(lingering);
        if expects_continue(&parts.headers) && !body.is_end_stream() {
            let reply = Arc::clone(&reply);
            body = body.when_asked_for(move || {
                lock(&reply).hint(StatusCode::CONTINUE, HeaderMap::new());
            });
        }
        (Incoming::Http2(body), None, None)
    };
    let caller = Caller {
        hints: Hints::Http2(Arc::clone(&reply)),
        tunnel,
    };
    let now = client.shared.now();
    let request = Request::from_parts(parts, body);
    let answered = {
        let mut exchange = pin!(exchange(client, request, caller));
        let mut begun = false;
        poll_fn(|cx| {
            // What was given up in the same breath goes no further: a flood of resets would become one of the upstream's,
            // which ends a connection that others share.
            if !begun && let Poll::Ready(reset) = lock(&reply).respond.poll_reset(cx) {
                return Poll::Ready(Err(reset));
            }
            begun = true;
            match exchange.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Pending => lock(&reply).respond.poll_reset(cx).map(Err),
            }
        })
        .await
    };
    let ended = match answered {
        Ok(response) => answer(&reply, response, waiting, now).await,
        Err(reset) => Err(format!("reset by the agent: {reset:?}").into()),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an agent's stream ended before its end");
    }
}

type Waiting = (oneshot::Sender<Duplex>, RecvStream);

async fn answer(
    reply: &SharedReply,
    response: Response<ResponseBody>,
    waiting: Option<Waiting>,
    now: Timestamp,
) -> Result<(), agent_vault_upstream::BodyError> {
    let (mut parts, body) = response.into_parts();
    if !parts.headers.contains_key(DATE)
        && let Some(date) = date(now)
    {
        parts.headers.insert(DATE, date);
    }
    if let Some((fulfil, stream)) = waiting
        && parts.status.is_success()
    {
        parts.headers.remove(CONTENT_LENGTH);
        let send = begin(reply, Response::from_parts(parts, ()), false)?;
        // Nobody waits any more when the server stops.
        return fulfil
            .send(Duplex::new(send, stream))
            .map_err(|_| "the tunnel was given up".into());
    }
    let last = body.is_end_stream();
    if !last && let Some(length) = body.size_hint().exact() {
        parts
            .headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| HeaderValue::from(length));
    }
    let send = begin(reply, Response::from_parts(parts, ()), last)?;
    if last {
        return Ok(());
    }
    Ok(SendBody::new(send, body).await?)
}

fn begin(
    reply: &SharedReply,
    head: Response<()>,
    last: bool,
) -> Result<SendStream<Bytes>, h2::Error> {
    let mut reply = lock(reply);
    reply
        .respond
        .send_response(head, last)
        .inspect_err(|_| reply.respond.send_reset(Reason::INTERNAL_ERROR))
}

/// Every answer has a date; where the upstream gave none, ours counts (RFC 9110 section 6.6.1).
fn date(now: Timestamp) -> Option<HeaderValue> {
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_in_the_form_of_http() {
        let at = Timestamp::from_second(784_111_777).unwrap();
        assert_eq!(date(at).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
