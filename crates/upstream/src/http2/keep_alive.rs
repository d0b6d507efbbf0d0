//! Pings that tell a dead peer from a silent one (RFC 9113 section 6.7).

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::Instant;

/// Pings a peer now and then. Driven by its connection's own clock: a pong wakes nobody and is found at the next look.
pub struct KeepAlive {
    pings: Option<PingPong>,
    interval: Duration,
    patience: Duration,
    /// When the last ping left, or when its answer was seen.
    since: Instant,
    unanswered: bool,
}

impl KeepAlive {
    /// Pings each `interval` at most; the answer may take `patience`.
    #[must_use]
    pub fn new(pings: Option<PingPong>, interval: Duration, patience: Duration) -> Self {
        Self {
            pings,
            interval,
            patience,
            since: Instant::now(),
            unanswered: false,
        }
    }

    /// Looks at the clock, some seconds after the last time. False once the peer is known to be gone.
    ///
    /// `wanted` says that it is worth a ping, and `stirred` that it has taken or sent bytes since the last look: a ping
    /// waits behind what a slow peer has yet to read.
    pub fn is_alive(&mut self, wanted: bool, stirred: bool) -> bool {
        let Some(pings) = &mut self.pings else {
            return true;
        };
        if self.unanswered {
            if stirred {
                self.since = Instant::now();
            }
            match pings.poll_pong(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(_)) => {
                    self.unanswered = false;
                    self.since = Instant::now();
                    true
                }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => self.since.elapsed() < self.patience,
            }
        } else {
            if wanted && self.since.elapsed() >= self.interval {
                self.ping();
            }
            true
        }
    }

    fn ping(&mut self) {
        if let Some(pings) = &mut self.pings {
            // A connection that has failed says so to its driver.
            self.unanswered = pings.send_ping(Ping::opaque()).is_ok();
            self.since = Instant::now();
        }
    }
}

impl std::fmt::Debug for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeepAlive").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping waits behind what a slow peer has yet to read, so one that takes bytes is not gone.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_bytes_is_not_gone() {
        let (near, _far) = tokio::io::duplex(1024);
        let (_sender, mut connection) = h2::client::handshake(near).await.unwrap();
        let pings = connection.ping_pong();
        let (interval, patience) = (Duration::from_secs(60), Duration::from_secs(20));
        let mut keep_alive = KeepAlive::new(pings, interval, patience);
        let look = Duration::from_secs(15);
        tokio::time::advance(interval).await;
        // The ping leaves; nobody answers.
        assert!(keep_alive.is_alive(true, false));
        for _ in 0..10 {
            tokio::time::advance(look).await;
            assert!(keep_alive.is_alive(true, true));
        }
        tokio::time::advance(look).await;
        assert!(keep_alive.is_alive(true, false));
        tokio::time::advance(look).await;
        assert!(!keep_alive.is_alive(true, false));
    }
}
