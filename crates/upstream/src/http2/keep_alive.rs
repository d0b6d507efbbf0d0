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
    pub fn is_alive(&mut self, wanted: bool) -> bool {
        let Some(pings) = &mut self.pings else {
            return true;
        };
        if self.unanswered {
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
