//! How long a connection may keep its place in silence: from its first byte a request's head has ten seconds, and between requests a
//! connection may rest for two minutes, longer than load balancers keep theirs.
//!
//! The HTTP library's own limit begins only once it knows which version is spoken, and is one for both.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Longest time from a head's first byte, or from the connection's beginning, until the head is there.
const HEAD: Duration = Duration::from_secs(10);
/// Longest time between two requests.
const REST: Duration = Duration::from_mins(2);

/// What is known of one connection. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Patience(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when the end has come nearer.
    nearer: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests that are being answered.
    open: usize,
    /// Over HTTP/2 bytes arrive that begin no request.
    multiplexed: bool,
    resting: bool,
    /// When it ends, unless a request is being answered.
    end: Instant,
}

impl Patience {
    /// For a connection that was just accepted.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                open: 0,
                multiplexed: false,
                resting: false,
                end: Instant::now() + HEAD,
            }),
            nearer: Notify::new(),
        }))
    }

    /// A request's head is there; time counts again once the returned value is dropped.
    pub(crate) fn serve(&self, version: Version) -> Serving {
        let mut state = self.lock();
        state.open += 1;
        state.multiplexed |= version == Version::HTTP_2;
        Serving(self.clone())
    }

    /// Waits for its end.
    pub(crate) async fn end(&self) {
        loop {
            let end = {
                let state = self.lock();
                (state.open == 0).then_some(state.end)
            };
            match end {
                Some(end) if end <= Instant::now() => return,
                Some(end) => tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    () = self.0.nearer.notified() => {}
                },
                None => self.0.nearer.notified().await,
            }
        }
    }

    /// Bytes arrived.
    fn heard(&self) {
        let mut state = self.lock();
        if state.open == 0 && state.resting && !state.multiplexed {
            state.resting = false;
            state.end = Instant::now() + HEAD;
            self.0.nearer.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Serving(Patience);

impl Drop for Serving {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open = state.open.saturating_sub(1);
        state.resting = true;
        state.end = Instant::now() + REST;
        self.0.0.nearer.notify_one();
    }
}

/// Passes everything through, and tells when something arrives.
pub(crate) struct Heard<T> {
    inner: T,
    patience: Patience,
}

impl<T> Heard<T> {
    pub(crate) fn new(inner: T, patience: Patience) -> Self {
        Self { inner, patience }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.patience.heard();
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Seconds until its end, or none within ten minutes.
    async fn ends_after(patience: &Patience) -> Option<u64> {
        let start = Instant::now();
        tokio::time::timeout(Duration::from_mins(10), patience.end())
            .await
            .ok()
            .map(|()| start.elapsed().as_secs())
    }

    async fn hear(patience: &Patience) {
        let (near, mut far) = tokio::io::duplex(1);
        far.write_u8(b'x').await.unwrap();
        Heard::new(near, patience.clone()).read_u8().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_ends() {
        assert_eq!(ends_after(&Patience::new()).await, Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_ends() {
        let patience = Patience::new();
        let dripping = async {
            loop {
                hear(&patience).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        tokio::select! {
            after = ends_after(&patience) => assert_eq!(after, Some(10)),
            () = dripping => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_it_may_rest() {
        let patience = Patience::new();
        drop(patience.serve(Version::HTTP_11));
        assert_eq!(ends_after(&patience).await, Some(120));

        // The next head has its ten seconds, not what is left of the rest.
        let patience = Patience::new();
        drop(patience.serve(Version::HTTP_11));
        let later = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            hear(&patience).await;
        };
        let (after, ()) = tokio::join!(ends_after(&patience), later);
        assert_eq!(after, Some(60));
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_no_time_counts() {
        let patience = Patience::new();
        let serving = patience.serve(Version::HTTP_2);
        assert_eq!(ends_after(&patience).await, None);
        let other = patience.serve(Version::HTTP_2);
        drop(serving);
        assert_eq!(ends_after(&patience).await, None);
        let answered = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(other);
        };
        let (after, ()) = tokio::join!(ends_after(&patience), answered);
        assert_eq!(after, Some(125));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_begin_no_request() {
        let patience = Patience::new();
        drop(patience.serve(Version::HTTP_2));
        hear(&patience).await;
        assert_eq!(ends_after(&patience).await, Some(120));
    }
}
