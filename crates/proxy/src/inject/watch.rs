//! Bodies that are watched on their way out for a placeholder that nothing replaces.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_vault_policy::{BodyWatch, RuleSet};
use agent_vault_upstream::{Body as OutgoingBody, BodyError};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::shown;
use crate::relay::Fate;

/// The body of a request with these fields, watched where there is anything to look for. What is found is told to `fate`.
pub(super) fn watched<B>(
    rules: Option<&RuleSet>,
    headers: &HeaderMap,
    body: B,
    fate: &Arc<Fate>,
) -> OutgoingBody
where
    B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    match rules.and_then(|rules| rules.watch_body(headers)) {
        None => body.boxed_unsync(),
        Some(watch) => Watched {
            inner: body,
            watch,
            fate: Arc::clone(fate),
        }
        .boxed_unsync(),
    }
}

/// Passes frames on as they are.
struct Watched<B> {
    inner: B,
    watch: BodyWatch,
    fate: Arc<Fate>,
}

impl<B: Body> Watched<B> {
    fn look_at(&mut self, data: &[u8], last: bool) {
        if let Some(known) = self.watch.feed(data, last) {
            self.fate
                .note_leftover(format!("placeholder_unreplaced_in_body:{}", shown(known)));
        }
    }

    /// Whether no data is to come. Whoever knows that may not ask for more.
    fn is_read(&self) -> bool {
        self.inner.is_end_stream() || self.inner.size_hint().exact() == Some(0)
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
        if !this.watch.is_over() {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                    Some(data) => {
                        let last = this.is_read();
                        this.look_at(data, last);
                    }
                    None => this.look_at(&[], true),
                },
                Poll::Ready(None) => this.look_at(&[], true),
                Poll::Ready(Some(Err(_))) | Poll::Pending => {}
            }
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use agent_vault_policy::UnmatchedPolicy;
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

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
        let own = BTreeMap::from([("KEY".parse().unwrap(), "__key__".to_owned())]);
        let rules = RuleSet::compile(Vec::new(), UnmatchedPolicy::Passthrough, &own);
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let pieces = ["a=1&k", "=__ke", "y__"].map(Bytes::from);
        let data = || pieces.iter().cloned().map(Frame::data);
        let trailers = Frame::trailers(HeaderMap::new());
        // The end is told by the length, by trailers, by nothing more, or not at all.
        for (length, trailers, frames, told) in [
            (Some(13), None, 3, true),
            (None, Some(trailers), 4, true),
            (None, None, 4, true),
            (None, None, 3, false),
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
            let expected = told.then_some("placeholder_unreplaced_in_body:KEY");
            assert_eq!(fate.leftover(), expected, "{length:?} {frames}");
        }
    }
}
