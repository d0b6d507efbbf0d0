//! Bodies that a rule looks into: read whole within a budget and within time, rewritten, sent with their new length.

use std::sync::Arc;
use std::time::Duration;

use agent_vault_policy::Rule;
use agent_vault_upstream::Body as OutgoingBody;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue,
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::{Injection, strip_request_trailers};
use crate::limits::{
    HELD_BODY_GRACE, HELD_BODY_RATE, HELD_BODY_STALL, MAX_BUFFERED_BODY, MAX_BUFFERED_TOTAL,
};
use crate::respond::{Fault, Refusal};

/// Unit of the budget for buffered bodies, in bytes.
const BUDGET_UNIT: usize = 16 * 1024;

/// What the head says of a body's form.
pub(super) struct Form {
    content_type: Option<String>,
    content_encoding: Option<String>,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        // A coding that is not text is none that we know.
        let codings: Vec<&str> = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .map(|value| value.to_str().unwrap_or("?"))
            .collect();
        Self {
            content_type,
            content_encoding: (!codings.is_empty()).then(|| codings.join(",")),
        }
    }

    /// Whether the rule has to see the whole body.
    pub(super) fn is_for(&self, rule: &Rule) -> bool {
        rule.needs_body_of(
            self.content_type.as_deref(),
            self.content_encoding.as_deref(),
        )
    }

    /// Why the rule would look into the body but cannot.
    pub(super) fn obstacle(&self, rule: &Rule) -> Option<&'static str> {
        rule.body_obstacle(
            self.content_type.as_deref(),
            self.content_encoding.as_deref(),
        )
    }
}

/// Reads a body into memory and replaces placeholders in it. `cap` is in bytes.
pub(super) async fn rewritten<B>(
    budget: &Budget,
    cap: Option<u64>,
    injection: &Injection,
    form: &Form,
    headers: &mut HeaderMap,
    body: B,
) -> Result<OutgoingBody, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    // The body is asked for here, so nobody is left waiting for `100 Continue`.
    headers.remove(EXPECT);
    let held = MAX_BUFFERED_BODY as u64;
    let Collected {
        bytes,
        trailers,
        mut share,
    } = collect(budget, body, cap.map_or(held, |cap| cap.min(held))).await?;
    // The result stands beside the original for a moment.
    share.cover(bytes.len().saturating_mul(2))?;
    let changed = injection
        .rule()
        .rewrite_body(
            form.content_type.as_deref(),
            &bytes,
            injection.grant.as_ref(),
        )
        .map_err(|error| Refusal::substitution(&error))?;
    let bytes = match changed {
        Some(changed) => Bytes::from_owner(changed),
        None => bytes,
    };
    share.cover(bytes.len())?;
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let body = Full::new(bytes)
        .map_frame(move |frame| {
            // Given back once the body has been sent.
            let _until_dropped = &share;
            frame
        })
        .map_err(|never| match never {});
    Ok(match trailers {
        Some(trailers) => body
            .with_trailers(std::future::ready(Some(Ok(trailers))))
            .boxed_unsync(),
        None => body.boxed_unsync(),
    })
}

#[derive(Debug)]
struct Collected {
    bytes: Bytes,
    trailers: Option<HeaderMap>,
    share: Share,
}

/// Reads a body to its end. A body that stops, or comes so slowly that its memory would be held for hours, is given up.
async fn collect<B>(budget: &Budget, body: B, cap: u64) -> Result<Collected, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if body.size_hint().lower() > cap {
        return Err(Refusal::request_too_large(cap));
    }
    let begun = Instant::now();
    let mut body = body;
    let mut collected = BytesMut::new();
    let mut trailers = None;
    let mut share = budget.share();
    loop {
        let earned = Duration::from_secs(collected.len() as u64 / HELD_BODY_RATE);
        let deadline = (begun + HELD_BODY_GRACE + earned).min(Instant::now() + HELD_BODY_STALL);
        let frame = match timeout_at(deadline, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => return Err(Refusal::stalled_body()),
        };
        let frame = frame.map_err(|error| {
            Refusal::bad_request(
                "request_read_error",
                format!("the request body could not be read: {error}"),
                "send it again",
            )
        })?;
        match frame.into_data() {
            Ok(data) => {
                let length = collected.len().saturating_add(data.len());
                if length as u64 > cap {
                    return Err(Refusal::request_too_large(cap));
                }
                share.cover(length)?;
                collected.extend_from_slice(&data);
            }
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                if let Some(trailers) = &mut trailers {
                    strip_request_trailers(trailers);
                }
            }
        }
    }
    Ok(Collected {
        bytes: collected.freeze(),
        trailers,
        share,
    })
}

/// Memory for bodies that rules look into, shared by all requests.
#[derive(Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new() -> Self {
        Self::of(MAX_BUFFERED_TOTAL)
    }

    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / BUDGET_UNIT)))
    }

    fn share(&self) -> Share {
        Share {
            budget: Arc::clone(&self.0),
            held: None,
        }
    }
}

/// What one body has taken from the budget. Given back on drop.
#[derive(Debug)]
struct Share {
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Grows or shrinks to what `bytes` need.
    fn cover(&mut self, bytes: usize) -> Result<(), Refusal> {
        let needed = bytes.div_ceil(BUDGET_UNIT);
        let have = self
            .held
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if needed <= have {
            // What is split off is given back at once.
            drop(
                self.held
                    .as_mut()
                    .and_then(|held| held.split(have - needed)),
            );
            return Ok(());
        }
        let more = u32::try_from(needed - have)
            .ok()
            .and_then(|more| Arc::clone(&self.budget).try_acquire_many_owned(more).ok())
            .ok_or_else(|| {
                Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "busy",
                    Fault::Us,
                    "too many request bodies are held in memory at once",
                    "try again in a moment",
                )
            })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::sync::mpsc;

    /// A body that ends when its sender is gone.
    struct Fed(mpsc::Receiver<Bytes>);

    impl Body for Fed {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            self.0
                .poll_recv(cx)
                .map(|data| data.map(|data| Ok(http_body::Frame::data(data))))
        }
    }

    fn fed() -> (mpsc::Sender<Bytes>, Fed) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Fed(receiver))
    }

    #[test]
    fn a_share_follows_what_it_covers() {
        let budget = Budget::of(4 * BUDGET_UNIT);
        let mut share = budget.share();
        for (bytes, left) in [
            (1, 3),
            (BUDGET_UNIT, 3),
            (BUDGET_UNIT + 1, 2),
            (4 * BUDGET_UNIT, 0),
            (2 * BUDGET_UNIT, 2),
            (0, 4),
            (3 * BUDGET_UNIT, 1),
        ] {
            share.cover(bytes).unwrap();
            assert_eq!(budget.0.available_permits(), left, "{bytes}");
        }
        let refused = share.cover(5 * BUDGET_UNIT).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.code), (503, "busy"));
        drop(share);
        assert_eq!(budget.0.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up() {
        let budget = Budget::of(4 * BUDGET_UNIT);
        let (sender, body) = fed();
        sender.send(Bytes::from_static(b"some")).await.unwrap();
        let begun = Instant::now();
        let refused = collect(&budget, body, 100).await.unwrap_err();
        assert_eq!(
            (refused.status.as_u16(), refused.code),
            (408, "request_read_error")
        );
        assert_eq!(begun.elapsed().as_secs(), HELD_BODY_STALL.as_secs());
        assert_eq!(budget.0.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn c9_a_body_that_only_drips_is_given_up() {
        let budget = Budget::of(4 * BUDGET_UNIT);
        let (sender, body) = fed();
        let begun = Instant::now();
        let drip = async {
            while sender.send(Bytes::from_static(b".")).await.is_ok() {
                tokio::time::sleep(HELD_BODY_STALL / 10).await;
            }
        };
        let (collected, ()) = tokio::join!(collect(&budget, body, 1 << 20), drip);
        assert_eq!(collected.unwrap_err().status.as_u16(), 408);
        assert!(begun.elapsed() < HELD_BODY_GRACE + HELD_BODY_STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_only_slow_arrives() {
        let pause = HELD_BODY_STALL / 10;
        let piece = usize::try_from(pause.as_secs() * HELD_BODY_RATE).unwrap();
        let pieces = 2 * usize::try_from(HELD_BODY_GRACE.as_secs() / pause.as_secs()).unwrap();
        let total = piece * pieces;
        let budget = Budget::of(2 * total);
        let before = budget.0.available_permits();
        let (sender, body) = fed();
        let feed = async {
            for _ in 0..pieces {
                tokio::time::sleep(pause).await;
                sender.send(Bytes::from(vec![b'x'; piece])).await.unwrap();
            }
            drop(sender);
        };
        let (collected, ()) = tokio::join!(collect(&budget, body, total as u64), feed);
        let collected = collected.unwrap();
        assert_eq!(collected.bytes.len(), total);
        let taken = before - budget.0.available_permits();
        assert_eq!(taken, total.div_ceil(BUDGET_UNIT));
    }

    #[test]
    fn codings_on_two_lines_are_read_as_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("identity"));
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(
            Form::of(&headers).content_encoding.as_deref(),
            Some("identity,gzip")
        );
    }
}
