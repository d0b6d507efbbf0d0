//! The bytes under a conversation, in the two forms that one needs: a link that can be taken back for TLS, and one on which the
//! conversation begins anew.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use agent_vault_upstream::Stream;
use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// A greeting, for a conversation that goes on without one: the server gives none after STARTTLS.
const GREETING: &[u8] = b"220 go on\r\n";

/// A link in clear that its other handle can take back.
#[derive(Debug, Clone)]
pub(crate) struct Clear {
    stream: Arc<Mutex<Option<Stream>>>,
    peer: SocketAddr,
}

impl Clear {
    pub(crate) fn new(stream: Stream, peer: SocketAddr) -> Self {
        Self {
            stream: Arc::new(Mutex::new(Some(stream))),
            peer,
        }
    }

    /// The bare stream. The other handle finds the link closed.
    pub(crate) fn take(&self) -> Option<Stream> {
        self.stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn with<T>(
        &self,
        ask: impl FnOnce(Pin<&mut Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        match stream.as_mut() {
            Some(stream) => ask(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Clear {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Clear {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}

impl AsyncTokioStream for Clear {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

/// A link inside TLS.
#[derive(Debug)]
pub(crate) struct Secure {
    stream: TlsStream<Stream>,
    peer: SocketAddr,
    /// What is left of the greeting that we give ourselves.
    greeting: &'static [u8],
}

impl Secure {
    /// For TLS from the first byte on: the server greets inside it.
    pub(crate) fn from_the_start(stream: TlsStream<Stream>, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            greeting: b"",
        }
    }

    /// For TLS after STARTTLS: the server has greeted already.
    pub(crate) fn after_starttls(stream: TlsStream<Stream>, peer: SocketAddr) -> Self {
        Self {
            stream,
            peer,
            greeting: GREETING,
        }
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.greeting.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let (now, later) = this
            .greeting
            .split_at(this.greeting.len().min(buf.remaining()));
        buf.put_slice(now);
        this.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Secure {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}
