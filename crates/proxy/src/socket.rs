//! The bytes of a client's connection, below hyper: timed, with interim responses slipped in, and with what was read early.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::Watch;
use crate::exchange::Client;
use crate::limits::{LINGER, MAX_INTERIM_BYTES, MAX_LINGER_BYTES};
use crate::respond::Refusal;

/// Interim responses (1xx) for a client, written between its responses.
///
/// hyper's server cannot send one, so the bytes enter below it. That is safe only while nothing of another message is
/// on its way: see [`Watched`].
#[derive(Debug, Default)]
pub(crate) struct Interim {
    waiting: Mutex<Waiting>,
    /// Whether heads wait. Nearly always none do, and then nobody takes the lock.
    any: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    heads: BytesMut,
    /// Number of the exchange that they belong to.
    exchange: u64,
    /// The exchange has no final response yet.
    open: bool,
}

impl Interim {
    /// An exchange begins. What it pushes carries the number that this returns.
    pub(crate) fn begin(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.heads.clear();
        self.any.store(false, Ordering::Relaxed);
        waiting.exchange += 1;
        waiting.open = true;
        waiting.exchange
    }

    pub(crate) fn push(&self, exchange: u64, head: &[u8]) {
        let mut waiting = self.lock();
        if !waiting.open
            || waiting.exchange != exchange
            || waiting.heads.len() + head.len() > MAX_INTERIM_BYTES
        {
            return;
        }
        waiting.heads.extend_from_slice(head);
        self.any.store(true, Ordering::Release);
        drop(waiting);
        self.waker.wake();
    }

    /// The final response is about to be written; what waits still goes before it.
    pub(crate) fn end(&self) {
        self.lock().open = false;
    }

    /// Takes what waits. `clean` says that nothing of another message is on its way.
    fn take(&self, clean: bool, before_final: bool) -> Option<BytesMut> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.lock();
        if waiting.heads.is_empty() {
            return None;
        }
        if !waiting.open && (!clean || !before_final) {
            // The final response has begun without them.
            waiting.heads.clear();
            self.any.store(false, Ordering::Relaxed);
            return None;
        }
        clean.then(|| {
            self.any.store(false, Ordering::Relaxed);
            std::mem::take(&mut waiting.heads)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version that is spoken above a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Heads are timed, interim responses slip in.
    Http1,
    /// Neither: pings and window updates are no heads, and a stream carries its own.
    Http2,
}

/// What a client that speaks HTTP/2 begins with (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of it after which hyper may have seen enough.
const HTTP2_VERSION_END: usize = 14;

/// The connection's socket as hyper and h2 see it: notes when bytes come, and slips interim responses in.
///
/// They are written only when everything that hyper has written before was also flushed, which hyper does at the end of
/// each message, and before the exchange's final response begins.
///
/// What hyper answers to a head that it cannot read has no body; it is replaced by an answer of ours. That is the only
/// thing that it writes without having read a head, so it is known by that. To HTTP/2 it would answer nothing at all; so it
/// does not see the last byte of the [`HTTP2_PREFACE`] as it is, and takes it for a head that it cannot read.
///
/// After our end of the stream is closed, what the client still sends is read and dropped for a moment. Otherwise the
/// system would answer it with a reset, and that may overtake our last response (RFC 9112 section 9.6).
pub(crate) struct Watched<T> {
    io: T,
    client: Arc<Client>,
    speaks: Speaks,
    clean: bool,
    leaving: Bytes,
    lingering: Option<Lingering>,
    /// Bytes of the preface that the connection has begun with; `None` once it has begun with something else.
    preface: Option<usize>,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    drained: usize,
}

impl<T> Watched<T> {
    pub(crate) fn new(io: T, client: Arc<Client>, speaks: Speaks) -> Self {
        Self {
            io,
            client,
            speaks,
            clean: true,
            leaving: Bytes::new(),
            lingering: None,
            preface: (speaks == Speaks::Http1).then_some(0),
        }
    }

    pub(crate) fn into_inner(self) -> T {
        self.io
    }

    fn watch(&self) -> &Watch {
        &self.client.watch
    }

    /// Whether `answer`, which hyper is about to write, is its own to a head that it could not read. Then ours is
    /// written in its place.
    fn replaces(&mut self, answer: &[u8]) -> bool {
        if self.speaks == Speaks::Http2 || !self.clean || self.watch().is_answering() {
            return false;
        }
        let Some(status) = answer
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| StatusCode::from_bytes(code).ok())
        else {
            return false;
        };
        let refusal = if self.preface.is_some_and(|seen| seen >= HTTP2_VERSION_END) {
            Refusal::http2_not_spoken()
        } else {
            Refusal::unreadable_head(status)
        };
        self.leaving = self.client.unreadable_head(refusal);
        self.clean = false;
        true
    }

    /// Follows the preface of HTTP/2 through what has just been read.
    fn read_preface(&mut self, read: &mut [u8]) {
        let Some(seen) = self.preface.filter(|seen| *seen < HTTP2_PREFACE.len()) else {
            return;
        };
        let wanted = HTTP2_PREFACE.get(seen..).unwrap_or_default();
        let count = wanted.len().min(read.len());
        if read.get(..count) != wanted.get(..count) {
            self.preface = None;
            return;
        }
        self.preface = Some(seen + count);
        if count == wanted.len()
            && let Some(last) = read.get_mut(count - 1)
        {
            *last = b'-';
        }
    }

    fn noted<R>(&self, polled: Poll<R>) -> Poll<R> {
        match &polled {
            Poll::Pending => self.watch().note_blocked(),
            Poll::Ready(_) => self.watch().note_written(),
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    fn poll_interim(&mut self, cx: &mut Context<'_>, before_final: bool) -> Poll<io::Result<()>> {
        if self.speaks == Speaks::Http2 {
            return Poll::Ready(Ok(()));
        }
        if self.leaving.is_empty()
            && let Some(heads) = self.watch().interim().take(self.clean, before_final)
        {
            self.leaving = heads.freeze();
        }
        while !self.leaving.is_empty() {
            let polled = Pin::new(&mut self.io).poll_write(cx, &self.leaving);
            let written = std::task::ready!(self.noted(polled))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            drop(self.leaving.split_to(written));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(tokio::time::sleep(LINGER)),
            drained: 0,
        });
        loop {
            if lingering.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut room = [0; 4096];
            let mut buffer = ReadBuf::new(&mut room);
            match std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => lingering.drained += buffer.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
            if lingering.drained > MAX_LINGER_BYTES {
                return Poll::Ready(());
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            match self.speaks {
                Speaks::Http1 => {
                    self.watch().note_read();
                    if let Some(read) = buf.filled_mut().get_mut(before..) {
                        self.read_preface(read);
                    }
                }
                Speaks::Http2 => self.watch().note_stirred(),
            }
        }
        polled
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_interim(cx, true))?;
        if self.replaces(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        self.clean = false;
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_interim(cx, true))?;
        if bufs.first().is_some_and(|first| self.replaces(first)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        self.clean = false;
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.speaks == Speaks::Http1 {
            self.watch().interim().waker.register(cx.waker());
            std::task::ready!(self.poll_interim(cx, false))?;
        }
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.clean = true;
            self.watch().note_flushed();
        }
        self.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            std::task::ready!(self.poll_interim(cx, false))?;
            std::task::ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// A socket with bytes that were read from it before: what a client sent early, after CONNECT.
pub(crate) struct Prefixed<T> {
    prefix: Bytes,
    io: T,
}

impl<T> Prefixed<T> {
    pub(crate) fn new(prefix: Bytes, io: T) -> Self {
        Self { prefix, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Prefixed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let take = self.prefix.len().min(buf.remaining());
            let early = self.prefix.split_to(take);
            buf.put_slice(&early);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Prefixed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
