//! Interim responses (RFC 9110 section 15.2): `100 Continue` opens the request body, others go on to the client.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use agent_vault_upstream::Body;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use tokio::sync::oneshot;

use crate::connection::Watch;
use crate::exchange::{Client, strip_response};
use crate::inject::Injection;

/// Hears what the upstream says before its answer. `client_is_http1` says whether the client can be told.
pub(crate) fn listen(
    request: &mut Request<Body>,
    client: &Client,
    injection: Option<&Injection>,
    client_is_http1: bool,
    open: Option<oneshot::Sender<()>>,
) {
    let open = Mutex::new(open);
    let watch: Option<Arc<Watch>> = client_is_http1.then(|| Arc::clone(&client.watch));
    let scrubber = injection.and_then(|injection| injection.scrubber.clone());
    let brokered = injection.is_some();
    hyper::ext::on_informational(request, move |response| {
        let status = response.status();
        if status == StatusCode::CONTINUE {
            let waiting = open.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(open) = waiting {
                // The body is gone when the client has left.
                open.send(()).unwrap_or(());
            }
            return;
        }
        let Some(watch) = &watch else {
            return;
        };
        let mut headers = response.headers().clone();
        strip_response(&mut headers, brokered);
        if let Some(scrubber) = &scrubber {
            scrubber.scrub_headers(&mut headers);
        }
        if let Some(head) = encode(status, &headers) {
            watch.interim().push(&head);
        }
    });
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
