//! One type for every way in which bytes reach an upstream.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What TLS to the upstream, or plain HTTP, runs over: TCP, or TLS to an upstream proxy that speaks it.
pub(crate) enum Leg {
    Tcp(TcpStream),
    TlsToProxy(Box<TlsStream<TcpStream>>),
}

enum Layers {
    Plain(Leg),
    Tls(Box<TlsStream<Leg>>),
}

/// A connection to an upstream, plain or inside verified TLS.
///
/// Vectored writes are handed through; `shutdown` sends TLS's `close_notify` before the half-close.
pub struct Stream(Layers);

impl Stream {
    pub(crate) fn plain(leg: Leg) -> Self {
        Self(Layers::Plain(leg))
    }

    pub(crate) fn tls(stream: TlsStream<Leg>) -> Self {
        Self(Layers::Tls(Box::new(stream)))
    }

    /// Whether the bytes are protected by TLS that ends at the upstream.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.0, Layers::Tls(_))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("tls", &self.is_tls())
            .finish_non_exhaustive()
    }
}

/// Hands one I/O call on to whichever variant is there.
macro_rules! delegate {
    ($self:expr, [$($variant:path),+], $inner:ident => $call:expr) => {
        match $self {
            $($variant($inner) => { $call })+
        }
    };
}

impl AsyncRead for Leg {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), [Self::Tcp, Self::TlsToProxy], io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Leg {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), [Self::Tcp, Self::TlsToProxy], io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), [Self::Tcp, Self::TlsToProxy], io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        delegate!(self, [Self::Tcp, Self::TlsToProxy], io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), [Self::Tcp, Self::TlsToProxy], io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), [Self::Tcp, Self::TlsToProxy], io => Pin::new(io).poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, [Layers::Plain, Layers::Tls], io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.get_mut().0, [Layers::Plain, Layers::Tls], io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(&mut self.get_mut().0, [Layers::Plain, Layers::Tls], io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        delegate!(&self.0, [Layers::Plain, Layers::Tls], io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, [Layers::Plain, Layers::Tls], io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, [Layers::Plain, Layers::Tls], io => Pin::new(io).poll_shutdown(cx))
    }
}
