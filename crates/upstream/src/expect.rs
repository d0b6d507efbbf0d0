//! `Expect: 100-continue`: the word that lets a request body go (RFC 9110 section 10.1.1).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Says that a request body may be sent. Put into a request's extensions, it is given by [`Upstream::send`] as soon as
/// the connection is an HTTP/2 one, where flow control does this work.
///
/// [`Upstream::send`]: crate::Upstream::send
#[derive(Clone, Default)]
pub struct Continue(Arc<State>);

#[derive(Default)]
struct State {
    given: AtomicBool,
    waker: AtomicWaker,
}

impl Continue {
    /// Lets the body go.
    pub fn give(&self) {
        self.0.given.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// Ready once [`Continue::give`] was called. One task at a time may wait.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.0.waker.register(cx.waker());
        if self.0.given.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl fmt::Debug for Continue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Continue")
            .field(&self.0.given.load(Ordering::Relaxed))
            .finish()
    }
}
