//! Who made the browser send this: origin checks on unsafe requests, and the `Host` check against DNS rebinding.
//!
//! Cookies are sent by whatever page asks for it, and ports and sibling subdomains count as the same site, so `SameSite` is not
//! enough (H5). A bearer token is attached on purpose, so requests that carry one are not checked.

use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};

use crate::client;
use crate::error::ApiError;
use crate::state::ServerInfo;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// The name under which containers reach the machine that runs them.
const CONTAINER_HOST: &str = "host.docker.internal";

/// Refuses what does not say, or does not clearly say, which server is meant (RFC 9112 section 3.2, RFC 9113 section 8.3.1), and
/// what a client sent here that takes this port for the proxy.
pub(crate) fn check_target(parts: &Parts, info: &ServerInfo) -> Result<(), ApiError> {
    if client::peer(parts).is_none() {
        return Ok(());
    }
    if parts.method == Method::CONNECT {
        return Err(
            ApiError::bad_request("This is the management port; it opens no tunnels")
                .hint(proxy_hint(info)),
        );
    }
    let mut named = parts.headers.get_all(HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request("The request has several Host fields"));
        }
        (Some(host), None) => Some(host_field(host)?),
        (None, _) => None,
    };
    let target = parts.uri.authority();
    match (parts.version, host, target) {
        (Version::HTTP_11, None, _) | (Version::HTTP_2, None, None) => {
            Err(ApiError::bad_request("The request has no Host field"))
        }
        (Version::HTTP_2, Some(host), Some(target)) if !target_is(target, host) => Err(
            ApiError::bad_request("The request's Host and :authority disagree"),
        ),
        _ => Ok(()),
    }
}

fn host_field(host: &http::HeaderValue) -> Result<&str, ApiError> {
    host.to_str()
        .ok()
        .filter(|host| !host.contains('@') && host.parse::<Authority>().is_ok())
        .ok_or_else(|| ApiError::bad_request("The request's Host field names no host"))
}

fn target_is(target: &Authority, host: &str) -> bool {
    target.as_str().eq_ignore_ascii_case(host)
}

fn proxy_hint(info: &ServerInfo) -> String {
    if info.proxy_is_listening() {
        format!("the proxy listens on port {}", info.proxy_port)
    } else {
        "the proxy is not running".to_owned()
    }
}

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
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
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
        return Ok(());
    }
    let refused = ApiError::forbidden("This server is not known by that host name");
    Err(if is_for_a_proxy(parts) {
        refused.hint(format!("this is the management port; {}", proxy_hint(info)))
    } else {
        refused.hint(
            "open it by `localhost`, or set `AGENT_VAULT_ADDR` to the address that people use",
        )
    })
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

/// The host that is meant: the target's own counts before the field (RFC 9112 section 3.2.2).
fn request_host(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(target) => Some(target.as_str()),
        None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
    }
}

/// Absolute form over HTTP/1 is what clients send to a proxy.
fn is_for_a_proxy(parts: &Parts) -> bool {
    parts.version < Version::HTTP_2 && parts.uri.authority().is_some()
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
