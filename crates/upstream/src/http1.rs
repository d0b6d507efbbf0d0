//! An HTTP/1.1 connection, driven by the exchange that uses it.
//!
//! hyper splits a connection in three, the sender, the connection and the body of an answer, which wake one another. A
//! task for the connection would cost each request several hops between tasks; here whoever waits for an answer or its
//! body drives all three. Nobody drives an idle connection: it is looked at when it is taken and when the pool is swept.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Sent, UpstreamError};
use crate::interim::{Interim, MAX_INTERIM};
use crate::outgoing::failed;
use crate::pool::{Body, Place};
use crate::progress::{Patience, Progress};
use crate::send::{MAX_HEAD_BYTES, too_many_interim};
use crate::stream::Stream;

type Io = TokioIo<Stream>;

/// What comes of a request.
type Sending = Result<Response<hyper::body::Incoming>, TrySendError<Request<Body>>>;

/// How often a connection is driven on in one go. What still moves then goes on at the task's next turn.
const MAX_TURNS: usize = 8;

/// An idle or leased connection. Closed on drop.
pub(crate) struct Http1 {
    driven: Driven,
    place: Place,
}

/// Closes the connection on drop, also for whoever still reads an answer from it.
struct Driven(Arc<Shared>);

struct Shared {
    parts: Mutex<Parts>,
    alarm: Arc<Alarm>,
    /// Rings the alarm. All that hyper waits for is told this one, so that it is never exchanged.
    waker: Waker,
}

struct Parts {
    sender: SendRequest<Body>,
    /// `None` once it has ended.
    connection: Option<Connection<Io, Body>>,
    patience: Patience,
}

/// Speaks HTTP/1.1 on `io`.
///
/// # Errors
/// [`UpstreamError`] when the connection broke at once.
pub(crate) async fn handshake(
    io: Stream,
) -> Result<(SendRequest<Body>, Connection<Io, Body>), UpstreamError> {
    // The number of header fields is hyper's own bound, 100: to name another costs two allocations of 8 KiB for each
    // answer.
    Builder::new()
        .preserve_header_case(true)
        .max_header_size(MAX_HEAD_BYTES)
        .handshake::<_, Body>(TokioIo::new(io))
        .await
        .map_err(|error| failed(error, Sent::NotSent))
}

impl Http1 {
    /// Opens a connection on `io` that nobody else uses.
    ///
    /// # Errors
    /// See [`handshake`].
    pub(crate) async fn open(io: Stream, place: Place) -> Result<Self, UpstreamError> {
        let (sender, connection) = handshake(io).await?;
        let alarm = Arc::new(Alarm::default());
        Ok(Self {
            driven: Driven(Arc::new(Shared {
                waker: Waker::from(Arc::clone(&alarm)),
                alarm,
                parts: Mutex::new(Parts {
                    sender,
                    connection: Some(connection),
                    patience: Patience::new(),
                }),
            })),
            place,
        })
    }

    fn shared(&self) -> &Shared {
        &self.driven.0
    }

    /// Closes the connection and keeps its place.
    pub(crate) fn into_place(self) -> Place {
        self.place
    }

    /// Hands a request to the connection. What comes of it is waited for with [`Http1::answer`].
    pub(crate) fn begin<L: Interim>(
        &self,
        mut request: Request<Body>,
        interim: &L,
    ) -> impl Future<Output = Sending> + use<L> {
        let shared = self.shared();
        let alarm = Arc::clone(&shared.alarm);
        alarm.interims.store(0, Ordering::Relaxed);
        let heard = interim.clone();
        hyper::ext::on_informational(&mut request, move |response| {
            if alarm.interims.fetch_add(1, Ordering::Relaxed) < MAX_INTERIM {
                heard.hear(response.status(), response.headers());
            }
        });
        let mut parts = shared.parts();
        parts.patience.begin();
        parts.sender.try_send_request(request)
    }

    /// Waits for the head of the answer to a request that has begun. The request comes back while nothing of it was sent.
    ///
    /// # Errors
    /// [`UpstreamError`] when the answer took too long, or interim ones came without end.
    pub(crate) async fn answer(
        &self,
        mut sent: Pin<&mut impl Future<Output = Sending>>,
        progress: Option<&Progress>,
    ) -> Result<Result<Response<Http1Body>, TrySendError<Request<Body>>>, UpstreamError> {
        let shared = self.shared();
        let answered = poll_fn(|cx| {
            if let Poll::Ready(answered) = shared.drive(cx, |cx| sent.as_mut().poll(cx)) {
                return Poll::Ready(Ok(answered));
            }
            if shared.alarm.interims.load(Ordering::Relaxed) > MAX_INTERIM {
                return Poll::Ready(Err(too_many_interim()));
            }
            shared.parts().patience.poll(progress, cx).map(Err)
        })
        .await?;
        Ok(answered.map(|response| {
            response.map(|inner| {
                let ended = inner.is_end_stream();
                Http1Body {
                    inner,
                    shared: (!ended).then(|| Arc::clone(&self.driven.0)),
                }
            })
        }))
    }

    /// Has a task drive the connection too until the request is whole, so that what is still being sent does not depend
    /// on how fast the answer is read.
    pub(crate) fn upload(
        &self,
        progress: &Arc<Progress>,
        tasks: &TaskTracker,
        closing: &CancellationToken,
    ) {
        let shared = Arc::clone(&self.driven.0);
        let progress = Arc::clone(progress);
        let closing = closing.clone();
        shared.alarm.helpers.fetch_add(1, Ordering::AcqRel);
        tasks.spawn(async move {
            let sent = poll_fn(|cx| shared.help(&progress, cx));
            tokio::select! {
                () = sent => {}
                () = closing.cancelled() => shared.close(),
            }
            shared.alarm.helpers.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Whether another request may be sent: the last exchange is over, and the peer was not heard to close.
    pub(crate) fn is_ready(&self) -> bool {
        let parts = self.shared().parts();
        parts.connection.is_some() && parts.sender.is_ready()
    }

    /// Forgets who drove the connection last: it lies idle now.
    pub(crate) fn rest(&self) {
        drop(self.shared().alarm.driver.take());
    }

    /// Looks whether the peer of an idle connection has closed it meanwhile.
    pub(crate) fn look_after(&self) -> bool {
        let shared = self.shared();
        let mut parts = shared.parts();
        parts.advance(&mut Context::from_waker(&shared.waker));
        parts.connection.is_some()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shared {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.parts().connection = None;
        // Whoever still waits for bytes of it learns that there are none.
        self.alarm.driver.wake();
        self.alarm.helper.wake();
    }

    /// Drives the connection until `goal` is reached or nothing moves any more.
    fn drive<T>(
        &self,
        cx: &mut Context<'_>,
        goal: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let (reached, _) = self.turn(cx, &self.alarm.driver, goal);
        if self.alarm.is_helped() {
            // The upload may be over by this.
            self.alarm.helper.wake();
        }
        reached
    }

    /// Drives the connection for an upload, until that is over.
    fn help(&self, progress: &Progress, cx: &mut Context<'_>) -> Poll<()> {
        if progress.is_done() {
            // Before the next upload's task is displaced.
            return Poll::Ready(());
        }
        let goal = |_: &mut Context<'_>| {
            if progress.is_done() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        };
        let (reached, rung) = self.turn(cx, &self.alarm.helper, goal);
        if rung {
            // Something of the answer may have come by this.
            self.alarm.driver.wake();
        }
        if self.parts().connection.is_none() {
            return Poll::Ready(());
        }
        reached
    }

    /// Drives the connection for whoever is woken by `slot`. Tells also whether the alarm rang meanwhile.
    fn turn<T>(
        &self,
        cx: &mut Context<'_>,
        slot: &AtomicWaker,
        mut goal: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> (Poll<T>, bool) {
        let mut parts = self.parts();
        if parts.connection.is_none() {
            return (goal(cx), false);
        }
        slot.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        let mut rung = false;
        for _ in 0..MAX_TURNS {
            self.alarm.begin();
            let reached = goal(&mut inner);
            if reached.is_ready() {
                return (reached, self.alarm.end() || rung);
            }
            let ended = parts.advance(&mut inner);
            if !ended && self.alarm.is_over() {
                return (Poll::Pending, rung);
            }
            rung = true;
        }
        self.alarm.end();
        cx.waker().wake_by_ref();
        (Poll::Pending, rung)
    }
}

impl Parts {
    /// Drives the connection. True when it ends by that.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let Poll::Ready(ended) = Pin::new(connection).poll(cx) else {
            return false;
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "upstream connection ended");
        }
        self.connection = None;
        true
    }
}

/// Wakes whoever drives a connection. What the parts of a connection tell one another while it is being driven is noted
/// only: the driver looks before it rests.
#[derive(Default)]
struct Alarm {
    /// [`DRIVING`] and [`RUNG`].
    state: AtomicU8,
    driver: AtomicWaker,
    /// The task of an upload, if there is one.
    helper: AtomicWaker,
    /// Tasks of uploads. One that is over may still be about to end when the next begins.
    helpers: AtomicUsize,
    /// Interim responses that the request at hand was told of.
    interims: AtomicU32,
}

const DRIVING: u8 = 1;
const RUNG: u8 = 2;

impl Alarm {
    fn is_helped(&self) -> bool {
        self.helpers.load(Ordering::Acquire) != 0
    }

    fn begin(&self) {
        self.state.swap(DRIVING, Ordering::AcqRel);
    }

    /// Ends the driving, if the alarm has not rung meanwhile.
    fn is_over(&self) -> bool {
        self.state
            .compare_exchange(DRIVING, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Ends the driving, and tells whether the alarm has rung meanwhile. That is looked into when the connection is driven
    /// again, which the caller sees to.
    fn end(&self) -> bool {
        self.state.swap(0, Ordering::AcqRel) & RUNG != 0
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Always written, so that the driver sees what was done before.
        if self.state.fetch_or(RUNG, Ordering::AcqRel) & DRIVING == 0 {
            self.driver.wake();
            if self.is_helped() {
                self.helper.wake();
            }
        }
    }
}

/// The body of an answer. Reading it drives the connection that it comes from.
pub struct Http1Body {
    inner: hyper::body::Incoming,
    /// `None` after its end, when the connection may serve others.
    shared: Option<Arc<Shared>>,
}

impl http_body::Body for Http1Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(shared) = &this.shared else {
            return Pin::new(&mut this.inner).poll_frame(cx);
        };
        let polled = shared.drive(cx, |cx| Pin::new(&mut this.inner).poll_frame(cx));
        let over = match &polled {
            Poll::Ready(Some(Ok(_))) => this.inner.is_end_stream(),
            Poll::Ready(None | Some(Err(_))) => true,
            Poll::Pending => false,
        };
        if over {
            this.shared = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for Http1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_alarm_wakes_its_driver_only_while_nobody_drives() {
        let woken = Arc::new(Counting::default());
        let alarm = Arc::new(Alarm::default());
        alarm.driver.register(&Waker::from(Arc::clone(&woken)));
        let waker = Waker::from(Arc::clone(&alarm));
        alarm.begin();
        waker.wake_by_ref();
        assert!(!alarm.is_over(), "it has rung");
        alarm.begin();
        assert!(alarm.is_over());
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        waker.wake_by_ref();
        waker.wake();
        assert_eq!(
            woken.0.load(Ordering::Relaxed),
            1,
            "the driver is woken once"
        );
    }
}
