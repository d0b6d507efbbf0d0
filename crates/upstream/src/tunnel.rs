//! What an exchange becomes when both sides agree to speak something else: a byte stream.

use std::io;

use http::Request;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::UpstreamError;
use crate::http2::Duplex;
use crate::pool::Body;

/// A byte stream that began as an exchange.
#[derive(Debug)]
pub enum Tunnel {
    /// An HTTP/1.1 connection after `101`.
    Http1(OnUpgrade),
    /// A stream of an HTTP/2 connection.
    Http2(Duplex),
}

/// Bytes in both directions.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Tunnel {
    /// Waits until the exchange before it is over, and hands the stream on.
    ///
    /// # Errors
    /// [`io::Error`] when the connection ended first.
    pub async fn open(self) -> io::Result<Box<dyn Wire>> {
        Ok(match self {
            Self::Http1(upgrade) => {
                Box::new(TokioIo::new(upgrade.await.map_err(io::Error::other)?))
            }
            Self::Http2(duplex) => Box::new(duplex),
        })
    }
}

/// Why there is no [`Tunnel`].
#[derive(Debug)]
pub enum NoTunnel {
    /// Not in this way; the request comes back unsent.
    Unavailable(Box<Request<Body>>),
    /// It was tried and failed.
    Failed(UpstreamError),
}

impl From<UpstreamError> for NoTunnel {
    fn from(error: UpstreamError) -> Self {
        Self::Failed(error)
    }
}

/// Whether TLS failed because the peer takes no HTTP/1.1 (RFC 7301 section 3.2).
pub(crate) fn is_without_alpn(error: &UpstreamError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(|error| error.get_ref())
            .and_then(|error| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::AlertReceived(alert)) = inner.or_else(|| error.downcast_ref()) {
            return *alert == rustls::AlertDescription::NoApplicationProtocol;
        }
        cause = error.source();
    }
    false
}
