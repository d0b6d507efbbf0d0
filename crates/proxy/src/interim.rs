//! Interim responses (RFC 9110 section 15.2): `100 Continue` opens the request body, others go on to the client.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};

use agent_vault_upstream::{Continue, Interim};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use crate::connection::Watch;
use crate::exchange::strip_response;
use crate::http2::SharedReply;
use crate::scrub::Search;

/// Where a client hears interim responses.
#[derive(Clone)]
pub(crate) enum Hints {
    /// It speaks HTTP/1.0, which has none (RFC 9110 section 15.2).
    None,
    /// Its connection, and the number of the exchange on it.
    Http1(Arc<Watch>, u64),
    /// Its stream.
    Http2(SharedReply),
}

/// Who hears what the upstream says before its answer.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) hints: Hints,
    pub(crate) search: Option<Search>,
    pub(crate) brokered: bool,
    /// The request body, if it waits for the upstream's word.
    pub(crate) waiting: Option<Continue>,
}

impl Interim for Listener {
    fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        if status == StatusCode::CONTINUE {
            if let Some(waiting) = &self.waiting {
                waiting.give();
            }
            return;
        }
        if matches!(self.hints, Hints::None) || !may_pass(status) {
            return;
        }
        let mut headers = headers.clone();
        strip_response(&mut headers, self.brokered);
        if let Some(search) = &self.search {
            search.scrub_headers(&mut headers);
        }
        // An interim response has no content, so nothing may say that it has.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        match &self.hints {
            Hints::None => {}
            Hints::Http1(watch, number) => {
                if let Some(head) = encode(status, &headers) {
                    watch.interim().push(*number, &head);
                }
            }
            Hints::Http2(reply) => reply
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .hint(status, headers),
        }
    }
}

/// `101` is no interim response but the beginning of another protocol.
fn may_pass(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The head on the wire. Names and values come parsed from hyper, which lets no line break into either.
fn encode(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
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
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn early_hints_on_the_wire() {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a.css>; rel=preload"));
        let head = encode(StatusCode::EARLY_HINTS, &headers).unwrap();
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n"
        );
        assert!(!may_pass(StatusCode::SWITCHING_PROTOCOLS));
        assert!(!may_pass(StatusCode::OK));
    }
}
