//! Whether anything moves on a connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Notes whether a peer has sent something, or has taken something after it had not for a while.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stirred(Arc<AtomicBool>);

impl Stirred {
    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has since this was asked last.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A connection whose peer is watched.
pub(crate) struct Stirring<T> {
    io: T,
    stirred: Stirred,
    blocked: bool,
}

impl<T> Stirring<T> {
    pub(crate) fn new(io: T, stirred: Stirred) -> Self {
        Self {
            io,
            stirred,
            blocked: false,
        }
    }

    /// Only a peer that reads makes room. What fits into the system's buffer says nothing.
    fn wrote<R>(&mut self, polled: Poll<R>) -> Poll<R> {
        if polled.is_pending() {
            self.blocked = true;
        } else if self.blocked {
            self.blocked = false;
            self.stirred.note();
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stirring<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            self.stirred.note();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stirring<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.wrote(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
