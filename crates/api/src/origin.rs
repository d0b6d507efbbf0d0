//! Who made the browser send this: origin checks on unsafe requests, and the `Host` check against DNS rebinding.
//!
//! Cookies are sent by whatever page asks for it, and ports and sibling subdomains count as the same site, so `SameSite` is not
//! enough (H5). A bearer token is attached on purpose, so requests that carry one are not checked.

use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

use crate::client;
use crate::error::ApiError;
use crate::state::ServerInfo;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The name under which containers reach the machine that runs them.
const CONTAINER_HOST: &str = "host.docker.internal";

/// Refuses an unsafe request that a page of another origin caused.
pub(crate) fn check_origin(parts: &Parts, info: &ServerInfo) -> Result<(), ApiError> {
    if is_safe(&parts.method) {
        return Ok(());
    }
    if let Some(site) = parts.headers.get(SEC_FETCH_SITE)
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Err(foreign());
    }
    if let Some(origin) = parts.headers.get(ORIGIN) {
        let same = origin
            .to_str()
            .is_ok_and(|origin| is_own_origin(origin, parts, info));
        if !same {
            return Err(foreign());
        }
    }
    Ok(())
}

/// Refuses a cookie-authenticated unsafe request whose body is not declared as JSON: a form of a foreign page cannot say so.
pub(crate) fn check_content_type(parts: &Parts) -> Result<(), ApiError> {
    if is_safe(&parts.method) || !has_body(&parts.headers) {
        return Ok(());
    }
    let json = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if json {
        Ok(())
    } else {
        Err(ApiError::new(
            http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json",
        ))
    }
}

/// Refuses a name that another domain may have bound to this machine's loopback address.
///
/// Only for loopback peers that are not trusted proxies: there a browser of this machine can be made to come with any name.
pub(crate) fn check_host(parts: &Parts, info: &ServerInfo) -> Result<(), ApiError> {
    let Some(peer) = client::peer(parts) else {
        return Ok(());
    };
    if !peer.is_loopback() || info.trusts(peer) {
        return Ok(());
    }
    let Some(host) = request_host(parts) else {
        return Ok(());
    };
    let host = host_of(host);
    let known = is_loopback_name(host)
        || host.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case(CONTAINER_HOST)
        || info
            .base_host()
            .is_some_and(|base| base.eq_ignore_ascii_case(host));
    if known {
        Ok(())
    } else {
        Err(
            ApiError::forbidden("This server is not known by that host name").hint(
                "open it by `localhost`, or set `AGENT_VAULT_ADDR` to the address that people use",
            ),
        )
    }
}

/// `localhost`, a name below it (RFC 6761 section 6.3), or a loopback address.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The host of `host[:port]` or `[v6][:port]`, brackets removed.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// Whether a method only reads (RFC 9110 section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() != b"0")
}

fn request_host(parts: &Parts) -> Option<&str> {
    match parts.headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        None => parts.uri.authority().map(http::uri::Authority::as_str),
    }
}

fn is_own_origin(origin: &str, parts: &Parts, info: &ServerInfo) -> bool {
    if origin.eq_ignore_ascii_case(&info.base_url) {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    matches!(scheme, "http" | "https")
        && request_host(parts).is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

fn foreign() -> ApiError {
    ApiError::forbidden("Cross-origin requests are not accepted")
        .hint("send the token as `Authorization: Bearer`, without a browser in between")
}
