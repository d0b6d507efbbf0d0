//! A request in the form of the version that it is sent in, what is kept of it, and what a failure says about it.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Uri, Version, uri};
use http_body::Body as _;

use crate::error::{Sent, UpstreamError, UpstreamErrorKind as ErrorKind};
use crate::expect::Continue;
use crate::pool::{Body, BodyError, Route};

/// Origin-form, with `Host` from the route (RFC 9112 section 3.2).
pub(crate) fn for_http1(request: Request<Body>, route: &Route) -> Request<Body> {
    let mut request = request;
    *request.version_mut() = Version::HTTP_11;
    if request.uri().scheme().is_some() {
        let target = request
            .uri()
            .path_and_query()
            .map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()));
        *request.uri_mut() = target;
    }
    request.headers_mut().insert(HOST, route.host().clone());
    let (mut cookies, mut te) = (false, false);
    for name in request.headers().keys() {
        cookies |= *name == COOKIE;
        te |= *name == TE;
    }
    if cookies {
        join_cookies(request.headers_mut());
    }
    // Where a body is usual, its absence is said; some servers answer 411 otherwise (RFC 9110 section 8.6).
    if request.body().is_end_stream()
        && matches!(
            *request.method(),
            Method::POST | Method::PUT | Method::PATCH
        )
    {
        request
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(HeaderValue::from_static("0"));
    }
    // hyper leaves the body of unknown length away where none is usual. What was asked is asked whole.
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && !request.body().is_end_stream()
        && request.body().size_hint().exact().is_none()
        && !request.headers().contains_key(CONTENT_LENGTH)
    {
        request
            .headers_mut()
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if te {
        request
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    request
}

/// HTTP/2 lets a client split `Cookie`; HTTP/1.1 knows one field only (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice())) {
        headers.insert(COOKIE, whole);
    }
}

/// `:scheme` and `:authority` from the route, no connection-specific fields (RFC 9113 section 8.2.2).
pub(crate) fn for_http2(
    request: Request<Body>,
    route: &Route,
) -> Result<Request<Body>, UpstreamError> {
    let mut request = request;
    *request.version_mut() = Version::HTTP_2;
    let target = request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    let uri = Uri::builder()
        .scheme(route.scheme().as_str())
        .authority(route.uri_authority().clone())
        .path_and_query(target)
        .build()
        .map_err(|_| UpstreamError::unsent(ErrorKind::Protocol, "the target cannot be sent"))?;
    *request.uri_mut() = uri;
    if request.headers_mut().remove(EXPECT).is_some()
        && let Some(waiting) = request.extensions().get::<Continue>()
    {
        waiting.give();
    }
    let headers = request.headers_mut();
    headers.remove(HOST);
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove(UPGRADE);
    Ok(request)
}

/// The head of a request, kept to be sent once more. Hardly ever it is, so the fields are kept as a list, which costs less
/// to make than another map.
pub(crate) struct Again {
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Again {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    pub(crate) fn into_request(self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        for (name, value) in self.headers {
            request.headers_mut().append(name, value);
        }
        request
    }
}

/// Names what hyper met, without its words about our own side.
pub(crate) fn failed(error: hyper::Error, sent: Sent) -> UpstreamError {
    let (kind, message) = if error.is_parse() {
        (
            ErrorKind::Protocol,
            "the upstream's answer is not valid HTTP",
        )
    } else if error.is_timeout() {
        (ErrorKind::Timeout, "the upstream stopped answering")
    } else if error.is_user() {
        (ErrorKind::Closed, "the request body broke off")
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        (
            ErrorKind::Closed,
            "the upstream closed the connection before it answered",
        )
    } else {
        (ErrorKind::Closed, "the exchange with the upstream failed")
    };
    UpstreamError::new(kind, sent, message).with_source(error)
}

/// Names what went wrong on a stream, without words about our own side.
pub(crate) fn failed_http2(error: h2::Error, sent: Sent) -> UpstreamError {
    let (kind, message) = if error.is_library() && !error.is_remote() {
        (
            ErrorKind::Protocol,
            "the upstream's answer is not valid HTTP",
        )
    } else if error.is_io() || error.is_go_away() {
        (
            ErrorKind::Closed,
            "the upstream closed the connection before it answered",
        )
    } else {
        (ErrorKind::Closed, "the exchange with the upstream failed")
    };
    UpstreamError::new(kind, sent, message).with_source(error)
}

/// The client's own body ended in the middle.
pub(crate) fn broken_body(error: BodyError) -> UpstreamError {
    UpstreamError::new(
        ErrorKind::Closed,
        Sent::MaybeSent,
        "the request body broke off",
    )
    .with_source(error)
}
