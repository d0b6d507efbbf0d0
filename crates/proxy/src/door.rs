//! TLS on our own ports. The first byte of a connection tells whether TLS is spoken, HTTP in clear, or SOCKS, so that one port
//! serves all.
//!
//! The clients here are strangers still: nobody has shown a token. A handshake is not rationed as those inside tunnels are,
//! because a place that is held while the client is waited for can be held by clients that never answer. What bounds them is
//! what bounds every connection: its number, its address's share, and [`HANDSHAKE_TIMEOUT`].

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_vault_ca::{Choice, OwnIdentity, Protocols};
use http::StatusCode;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits::HANDSHAKE_TIMEOUT;
use crate::respond::{Fault, Refusal};
use crate::source::begins_with_header;
use crate::{Clock, Shared, socks};

/// First byte of a TLS handshake record (RFC 8446 section 5.1). No method of HTTP begins with it.
pub(crate) const HANDSHAKE_RECORD: u8 = 0x16;

/// TLS on one of our ports.
#[derive(Clone)]
pub struct Door {
    identity: Arc<OwnIdentity>,
    protocols: Protocols,
    clock: Clock,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("identity", &self.identity)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}

/// Why a client's handshake led to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// It took more than ten seconds.
    #[error("the handshake did not finish in time")]
    Timeout,
    /// The client asked for a name that is not ours.
    #[error(
        "the client asked for `{0}`, which is none of this server's names; `AGENT_VAULT_ADDR` tells what it is called"
    )]
    Stranger(String),
    /// No certificate.
    #[error("no certificate could be issued: {0}")]
    Certificate(#[from] agent_vault_ca::CaError),
    /// What came was no ClientHello.
    #[error("no ClientHello: {0}")]
    Hello(io::Error),
    /// The client ended it, mostly because it does not trust the certificate.
    #[error("{0}")]
    Handshake(io::Error),
}

impl DoorError {
    /// Whether a client that wants something would be helped by a line in the log, as opposed to noise from the network.
    #[must_use]
    pub fn is_telling(&self) -> bool {
        matches!(
            self,
            Self::Stranger(_) | Self::Certificate(_) | Self::Handshake(_)
        )
    }
}

impl Door {
    /// A door that offers `protocols`.
    #[must_use]
    pub fn new(identity: Arc<OwnIdentity>, protocols: Protocols, clock: Clock) -> Self {
        Self {
            identity,
            protocols,
            clock,
        }
    }

    /// Waits for the first byte and tells whether it is TLS's. The byte stays where it is. `None` when the client left.
    ///
    /// # Errors
    /// As the socket has them.
    pub async fn is_tls(socket: &TcpStream) -> io::Result<Option<bool>> {
        Ok(first_byte(socket)
            .await?
            .map(|first| first == HANDSHAKE_RECORD))
    }

    /// Terminates the TLS of a client that has begun to speak it, within ten seconds.
    ///
    /// # Errors
    /// [`DoorError`]; the client was sent an alert where it can be.
    pub async fn accept(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, DoorError> {
        let local = socket.local_addr().map_err(DoorError::Hello)?.ip();
        tokio::time::timeout(HANDSHAKE_TIMEOUT, self.shake(socket, local))
            .await
            .map_err(|_| DoorError::Timeout)?
    }

    async fn shake(
        &self,
        socket: TcpStream,
        local: IpAddr,
    ) -> Result<TlsStream<TcpStream>, DoorError> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket)
            .await
            .map_err(DoorError::Hello)?;
        let asked = start.client_hello().server_name().map(str::to_owned);
        let choice =
            self.identity
                .choose(asked.as_deref(), local, self.protocols, (self.clock)())?;
        match choice {
            Choice::Own(config) => start
                .into_stream(config)
                .await
                .map_err(DoorError::Handshake),
            Choice::Stranger(config) => {
                // Ends with an alert: there is no certificate in it.
                let _ = start.into_stream(config).await;
                Err(DoorError::Stranger(asked.unwrap_or_default()))
            }
        }
    }
}

async fn first_byte(socket: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let read = socket.peek(&mut first).await?;
    let [first] = first;
    Ok((read > 0).then_some(first))
}

/// A client's connection to the proxy port.
pub(crate) enum ClientSocket {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientSocket {
    pub(crate) fn is_clear(&self) -> bool {
        matches!(self, Self::Clear(_))
    }
}

/// What is spoken on a new connection.
pub(crate) enum Entrance {
    Http(ClientSocket),
    Socks(TcpStream),
}

/// Finds out what is spoken on a new connection, and terminates TLS. `None` when it came to nothing.
pub(crate) async fn enter(shared: &Shared, peer: IpAddr, socket: TcpStream) -> Option<Entrance> {
    let first = tokio::time::timeout(crate::limits::HEAD_TIMEOUT, first_byte(&socket));
    let first = tokio::select! {
        biased;
        first = first => first.ok()?.ok()??,
        () = shared.closing.cancelled() => return None,
    };
    let door = match (first, &shared.door) {
        (socks::VERSION, _) => return Some(Entrance::Socks(socket)),
        (HANDSHAKE_RECORD, Some(door)) => door,
        _ => {
            if matches!(first, b'P' | b'\r') && begins_with_header(&socket).await {
                tracing::info!(%peer, "a PROXY protocol header of a peer that is not in AGENT_VAULT_PROXY_PROTOCOL_FROM; it is refused");
            }
            return Some(Entrance::Http(ClientSocket::Clear(socket)));
        }
    };
    let accepted = tokio::select! {
        accepted = door.accept(socket) => accepted,
        () = shared.closing.cancelled() => return None,
    };
    match accepted {
        Ok(stream) => Some(Entrance::Http(ClientSocket::Tls(Box::new(stream)))),
        Err(error) if error.is_telling() => {
            tracing::info!(%peer, %error, "TLS to the proxy port failed");
            None
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "TLS to the proxy port failed");
            None
        }
    }
}

/// What is said to a request in clear where TLS is required. Nobody has looked at what it carries.
pub(crate) fn clear_refused() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "proxy_tls_required",
        Fault::Agent,
        "this proxy is spoken to over TLS only",
        "begin the proxy URL with https://; a token that was sent without TLS may have been read on the way: rotate it",
    )
}

macro_rules! delegate {
    ($self:expr, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            ClientSocket::Clear($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            ClientSocket::Tls($inner) => {
                let $inner = Pin::new($inner.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_shutdown(cx))
    }
}
