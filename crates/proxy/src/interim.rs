//! Interim responses (RFC 9110 section 15.2): `100 Continue` opens the request body, others go on to the client.

use std::fmt::Write as _;
use std::sync::Arc;

use agent_vault_upstream::{Body, Continue};
use http::{HeaderMap, HeaderName, Request, StatusCode};

use crate::connection::Watch;
use crate::exchange::strip_response;
use crate::scrub::Scrubber;

/// Who hears what the upstream says before its answer.
pub(crate) struct Listener {
    /// The client's connection and the number of the exchange on it, if it can be told.
    pub(crate) client: Option<(Arc<Watch>, u64)>,
    pub(crate) scrubber: Option<Arc<Scrubber>>,
    pub(crate) brokered: bool,
    /// The request body, if it waits for the upstream's word.
    pub(crate) waiting: Option<Continue>,
}

/// Makes `listener` hear the interim responses to `request`.
pub(crate) fn listen(request: &mut Request<Body>, listener: Listener) {
    if let Some(waiting) = &listener.waiting {
        request.extensions_mut().insert(waiting.clone());
    }
    hyper::ext::on_informational(request, move |response| {
        listener.hear(response.status(), response.headers())
    });
}

impl Listener {
    fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        if status == StatusCode::CONTINUE {
            if let Some(waiting) = &self.waiting {
                waiting.give();
            }
            return;
        }
        let Some((watch, number)) = &self.client else {
            return;
        };
        let mut headers = headers.clone();
        strip_response(&mut headers, self.brokered);
        if let Some(scrubber) = &self.scrubber {
            scrubber.scrub_headers(&mut headers);
        }
        if let Some(head) = encode(status, &headers) {
            watch.interim().push(*number, &head);
        }
    }
}

/// The head on the wire. Names and values come parsed from hyper, which lets no line break into either.
fn encode(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    let mut line = String::new();
    write!(
        line,
        "HTTP/1.1 {} {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Interim")
    )
    .ok()?;
    let mut head = line.into_bytes();
    for (name, value) in headers {
        if is_framing(name) {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Some(head)
}

/// An interim response has no content (RFC 9110 section 15.2), so nothing may say that it has.
fn is_framing(name: &HeaderName) -> bool {
    *name == http::header::CONTENT_LENGTH || *name == http::header::TRANSFER_ENCODING
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn early_hints_without_framing() {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a.css>; rel=preload"));
        headers.insert("content-length", HeaderValue::from_static("5"));
        let head = encode(StatusCode::EARLY_HINTS, &headers).unwrap();
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
        );
        assert!(encode(StatusCode::SWITCHING_PROTOCOLS, &headers).is_none());
        assert!(encode(StatusCode::OK, &headers).is_none());
    }
}
