//! Bodies that are watched on their way out. Frames pass as they are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_vault_policy::{LeftoverWatch, RuleSet};
use agent_vault_upstream::{Body as OutgoingBody, BodyError};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::{Place, Watching};
use crate::relay::Fate;
use crate::scrub::Inspection;

/// The body of a request with these fields, watched where there is anything to look for. What is found is told to `fate`.
pub(crate) fn watched<B>(
    rules: Option<&RuleSet>,
    headers: &HeaderMap,
    body: B,
    fate: &Arc<Fate>,
) -> OutgoingBody
where
    B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    // What is compressed in a way that nobody here can undo is not looked into.
    match rules
        .and_then(|rules| rules.watch(headers.get(CONTENT_TYPE)))
        .zip(Inspection::of(headers).ok())
    {
        None => body.boxed_unsync(),
        Some((watch, inspection)) => Watched {
            inner: body,
            eye: Eye {
                watch,
                inspection,
                watching: Watching::begin(fate),
            },
            over: false,
        }
        .boxed_unsync(),
    }
}

struct Watched<B> {
    inner: B,
    eye: Eye,
    /// Its end was seen.
    over: bool,
}

/// What looks, and whom it tells.
struct Eye {
    watch: LeftoverWatch,
    inspection: Option<Inspection>,
    watching: Watching,
}

impl Eye {
    fn look_at(&mut self, data: &Bytes, last: bool) {
        if self.watch.is_over() {
            return;
        }
        let changed = match &mut self.inspection {
            None => self.watch.feed(data, last),
            Some(inspection) => {
                let mut changed = false;
                let watch = &mut self.watch;
                let looked =
                    inspection.look(data, &mut |piece| changed |= watch.feed(piece, false));
                // What cannot be undone is not looked at further.
                if last || looked.is_err() {
                    changed |= self.watch.feed(&[], true);
                }
                changed
            }
        };
        if changed {
            let found = self.watch.leftovers();
            self.watching
                .noted()
                .change(|state| state.found = Some((Place::Body, found)));
        }
    }

    fn look_at_trailers(&mut self, trailers: &HeaderMap) {
        let found = self.watch.leftovers_in_trailers(trailers);
        if !found.is_empty() {
            self.watching.noted().change(|state| state.trailers = found);
        }
    }
}

impl<B: Body> Watched<B> {
    /// Whether no data is to come. Whoever knows that may not ask for more.
    fn is_read(&self) -> bool {
        self.inner.is_end_stream() || self.inner.size_hint().exact() == Some(0)
    }

    fn end(&mut self) {
        if !self.over {
            self.over = true;
            self.eye.look_at(&Bytes::new(), true);
        }
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.over = this.is_read();
                    this.eye.look_at(data, this.over);
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.end();
                    this.eye.look_at_trailers(trailers);
                }
            }
            Poll::Ready(None) => this.end(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        // Broken off: what left of it has left.
        if !self.over {
            self.eye.look_at(&Bytes::new(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use agent_vault_policy::UnmatchedPolicy;
    use http::HeaderValue;

    use super::*;

    /// Frames one after the other, of a length that the head may have said.
    struct Framed(VecDeque<Frame<Bytes>>, Option<u64>);

    impl Body for Framed {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let frame = self.0.pop_front();
            if let (Some(left), Some(data)) = (
                self.1.as_mut(),
                frame.as_ref().and_then(|frame| frame.data_ref()),
            ) {
                *left -= data.len() as u64;
            }
            Poll::Ready(frame.map(Ok))
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    #[tokio::test]
    async fn w48_frames_pass_as_they_are_and_the_end_is_known() {
        let own = BTreeMap::from([
            ("KEY".parse().unwrap(), "__key__".to_owned()),
            ("OTHER".parse().unwrap(), "__other__".to_owned()),
        ]);
        let rules = RuleSet::compile(Vec::new(), UnmatchedPolicy::Passthrough, &own);
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let pieces = ["a=1&k", "=__ke", "y__"].map(Bytes::from);
        let data = || pieces.iter().cloned().map(Frame::data);
        let fields: HeaderMap = [(
            "x-sum".parse().unwrap(),
            HeaderValue::from_static("__other__"),
        )]
        .into_iter()
        .collect();
        let in_body = "placeholder_unreplaced_in_body:KEY";
        // The end is told by the length, by trailers, by nothing more, or by the body's being dropped.
        for (length, trailers, frames, told) in [
            (Some(13), None, 3, vec![in_body]),
            (
                None,
                Some(Frame::trailers(fields)),
                4,
                vec![in_body, "placeholder_unreplaced:OTHER"],
            ),
            (None, None, 4, vec![in_body]),
            (None, None, 3, vec![in_body]),
            (None, None, 2, vec![]),
        ] {
            let fate: Arc<Fate> = Arc::default();
            let framed = Framed(data().chain(trailers).collect(), length);
            let mut body = watched(Some(&rules), &headers, framed, &fate);
            for frame in 0..frames {
                let passed = body.frame().await.map(Result::unwrap);
                if let Some(piece) = pieces.get(frame) {
                    let passed = passed.unwrap().into_data().unwrap();
                    assert!(std::ptr::eq(&*passed, &**piece));
                }
            }
            drop(body);
            let warnings = fate.noted().lock().warnings();
            assert_eq!(warnings, told, "{length:?} {frames}");
        }
    }
}
