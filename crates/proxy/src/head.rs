//! The head of a request, parsed once: where it goes and what it asks for, in types that have one spelling.
//!
//! Everything that names a destination must name the same one: the CONNECT target, the TLS server name (compared in
//! [`crate::intercept`]), `Host`, `:authority` and an absolute-form target. Otherwise a rule would be chosen by one name
//! and the bytes would go to another.

use std::sync::Arc;

use agent_vault_policy::{Authority, RequestTarget, Scheme};
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version};

use crate::limits::{MAX_HEAD_BYTES, MAX_HEADERS};
use crate::names::{Name, Names};
use crate::respond::Refusal;

/// Destination and target of a request whose names all agree.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) target: RequestTarget,
    pub(crate) kind: Kind,
    /// What it has besides.
    pub(crate) names: Names,
}

/// What kind of exchange the request opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request and its response.
    Plain,
    /// A WebSocket over an HTTP/1.1 upgrade (RFC 6455).
    Upgrade,
    /// A WebSocket over an HTTP/2 stream (RFC 8441).
    ExtendedConnect,
}

/// The destination of a tunnel: the CONNECT target.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// `host:port` for the log.
    pub(crate) display: Arc<str>,
    /// The destination as `Host` usually names it: without the scheme's default port.
    usual: Box<str>,
}

impl Tunnel {
    pub(crate) fn new(scheme: Scheme, authority: Authority) -> Self {
        Self {
            scheme,
            display: Arc::from(authority.to_string()),
            usual: authority.host_header(scheme).into_boxed_str(),
            authority,
        }
    }

    /// Whether `text` is one of the two ways in which nearly all clients write this destination. Whatever else it may be
    /// has to be parsed.
    fn is_plainly(&self, text: &[u8]) -> bool {
        text == self.usual.as_bytes()
            || text.eq_ignore_ascii_case(self.usual.as_bytes())
            || text.eq_ignore_ascii_case(self.display.as_bytes())
    }

    /// Whether there is one `Host` and it plainly names this destination.
    fn is_plainly_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        hosts
            .next()
            .is_some_and(|host| self.is_plainly(host.as_bytes()))
            && hosts.next().is_none()
    }
}

/// Whether a head is within our bounds. The parsers below let twice as much through, so that what lies between gets an
/// answer with a reason and a log record.
pub(crate) fn fits(parts: &Parts) -> Result<(), Refusal> {
    let fields: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    let target = parts
        .uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if fields + target > MAX_HEAD_BYTES || parts.headers.len() > MAX_HEADERS {
        return Err(Refusal::head_too_large());
    }
    Ok(())
}

/// Reads the target of a CONNECT request (RFC 9112 section 3.2.3): host and port, nothing else. `own_port` is the one
/// that the client connected to.
pub(crate) fn connect_target(parts: &Parts, own_port: Option<u16>) -> Result<Authority, Refusal> {
    let hint = "CONNECT takes host:port, with a port from 1 to 65535";
    let target = parts
        .uri
        .authority()
        .filter(|_| parts.uri.scheme().is_none() && parts.uri.path_and_query().is_none())
        .ok_or_else(|| {
            Refusal::bad_request("bad_target", "the CONNECT target is not an authority", hint)
        })?;
    let authority = Authority::parse(target.as_str()).map_err(|error| {
        Refusal::bad_request("bad_target", format!("the CONNECT target: {error}"), hint)
    })?;
    // Clients send a Host of their own with CONNECT; where they do, it may not name another place. Node's `http.request`
    // names the proxy.
    if own_port.is_some_and(|port| port != authority.port() && names_port(&parts.headers, port)) {
        return Ok(authority);
    }
    agree(
        &parts.headers,
        &authority,
        Scheme::Https,
        parts.version,
        false,
    )?;
    Ok(authority)
}

impl Head {
    /// A request inside a tunnel.
    pub(crate) fn in_tunnel(parts: &Parts, tunnel: &Tunnel) -> Result<Self, Refusal> {
        let hint = "open a tunnel of its own for each destination";
        let names = Names::of(&parts.headers);
        let kind = kind(parts, names)?;
        let http2 = parts.version == Version::HTTP_2;
        if let Some(scheme) = parts.uri.scheme_str()
            && (!http2 || !scheme.eq_ignore_ascii_case(tunnel.scheme.as_str()))
        {
            return Err(Refusal::bad_request(
                "bad_target",
                "inside a tunnel a request names only its path",
                hint,
            ));
        }
        match parts.uri.authority() {
            Some(named) if http2 && tunnel.is_plainly(named.as_str().as_bytes()) => {}
            Some(named) if http2 => {
                let named =
                    Authority::parse_with_default(named.as_str(), tunnel.scheme.default_port())
                        .map_err(|error| {
                            Refusal::bad_request(
                                "bad_authority",
                                format!(":authority: {error}"),
                                hint,
                            )
                        })?;
                if named != tunnel.authority {
                    return Err(confused(":authority", &named, &tunnel.authority));
                }
            }
            Some(_) => {
                return Err(Refusal::bad_request(
                    "bad_target",
                    "inside a tunnel a request names only its path",
                    hint,
                ));
            }
            None => {}
        }
        if !tunnel.is_plainly_host(&parts.headers) {
            let named_by_authority = http2 && parts.uri.authority().is_some();
            agree(
                &parts.headers,
                &tunnel.authority,
                tunnel.scheme,
                parts.version,
                !named_by_authority,
            )?;
        }
        Ok(Self {
            scheme: tunnel.scheme,
            authority: tunnel.authority.clone(),
            target: target(parts)?,
            kind,
            names,
        })
    }

    /// A request in absolute-form on the proxy port (RFC 9112 section 3.2.2).
    pub(crate) fn absolute(parts: &Parts) -> Result<Self, Refusal> {
        let named = is_forwardable(&parts.uri)?;
        let authority = Authority::parse_with_default(named.as_str(), Scheme::Http.default_port())
            .map_err(|error| {
                Refusal::bad_request("bad_authority", format!("the URL: {error}"), ABSOLUTE_HINT)
            })?;
        agree(
            &parts.headers,
            &authority,
            Scheme::Http,
            parts.version,
            false,
        )?;
        let names = Names::of(&parts.headers);
        Ok(Self {
            scheme: Scheme::Http,
            authority,
            target: target(parts)?,
            kind: kind(parts, names)?,
            names,
        })
    }
}

const ABSOLUTE_HINT: &str = "send http:// URLs in absolute-form and use CONNECT for https://";

/// Whether a target on the proxy port is one that a proxy forwards: an absolute `http` URL.
pub(crate) fn is_forwardable(uri: &Uri) -> Result<&http::uri::Authority, Refusal> {
    let refused = |message: &str| Refusal::bad_request("bad_target", message, ABSOLUTE_HINT);
    match uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => uri
            .authority()
            .ok_or_else(|| refused("the URL has no host")),
        Some(_) => Err(refused(
            "this proxy forwards http:// only; TLS is never stripped from another scheme",
        )),
        None => Err(refused(
            "this port is a proxy and serves no pages of its own",
        )),
    }
}

fn target(parts: &Parts) -> Result<RequestTarget, Refusal> {
    let text = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    // RFC 9112 section 3.2.4.
    if text == "*" && parts.method != Method::OPTIONS {
        return Err(Refusal::bad_request(
            "bad_target",
            "only OPTIONS may ask for *",
            "name a path",
        ));
    }
    RequestTarget::parse(text).map_err(|error| {
        Refusal::bad_request(
            "bad_target",
            error.to_string(),
            "percent-encode the path and query",
        )
    })
}

/// `Host` must name the destination, once. `required` is false where another field has named it already.
fn agree(
    headers: &HeaderMap,
    authority: &Authority,
    scheme: Scheme,
    version: Version,
    required: bool,
) -> Result<(), Refusal> {
    let hint = "send exactly one Host, the one that the request is for";
    let mut hosts = headers.get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return if required && version > Version::HTTP_10 {
            Err(Refusal::bad_request(
                "bad_host",
                "the request has no Host",
                hint,
            ))
        } else {
            Ok(())
        };
    };
    if hosts.next().is_some() {
        return Err(Refusal::bad_request(
            "bad_host",
            "the request has more than one Host",
            hint,
        ));
    }
    let text = host
        .to_str()
        .map_err(|_| Refusal::bad_request("bad_host", "the Host is not text", hint))?;
    // Where another field has named the port already, Host may leave it out.
    let default = if required {
        scheme.default_port()
    } else {
        authority.port()
    };
    let named = Authority::parse_with_default(text, default)
        .map_err(|error| Refusal::bad_request("bad_host", format!("the Host: {error}"), hint))?;
    if named == *authority {
        Ok(())
    } else {
        Err(confused("Host", &named, authority))
    }
}

/// Whether there is one `Host` and it names `port`.
fn names_port(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    hosts
        .next()
        .and_then(|host| host.to_str().ok())
        .and_then(|host| Authority::parse(host).ok())
        .is_some_and(|named| named.port() == port)
        && hosts.next().is_none()
}

fn confused(field: &str, named: &Authority, meant: &Authority) -> Refusal {
    let mut refusal = Refusal::bad_request(
        "destination_mismatch",
        format!("{field} names {named}, but the request goes to {meant}"),
        "open a tunnel of its own for each destination",
    );
    refusal.status = http::StatusCode::MISDIRECTED_REQUEST;
    refusal
}

/// What the framing fields of a message say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One length at most, or chunks.
    Plain,
    /// Chunks and a length (RFC 9112 section 6.1). hyper takes the chunks.
    Twofold,
    /// A transfer coding below the chunks, which would be lost with the field that names it.
    Coded,
}

/// Reads the framing fields.
pub(crate) fn framing(headers: &HeaderMap, names: Names) -> Framing {
    if !names.has(Name::TransferEncoding) {
        return Framing::Plain;
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Framing::Plain,
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            if headers.contains_key(CONTENT_LENGTH) {
                Framing::Twofold
            } else {
                Framing::Plain
            }
        }
        _ => Framing::Coded,
    }
}

fn kind(parts: &Parts, names: Names) -> Result<Kind, Refusal> {
    if framing(&parts.headers, names) != Framing::Plain {
        return Err(Refusal::bad_framing(
            "the request has a transfer coding other than chunked, or a length beside it",
            "send Content-Length, or Transfer-Encoding: chunked",
        ));
    }
    if parts.method == Method::CONNECT {
        // Only RFC 8441 may say CONNECT here, and only for the protocol that we can bridge.
        return match parts.extensions.get::<Protocol>() {
            Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => {
                Ok(Kind::ExtendedConnect)
            }
            _ => Err(Refusal::bad_request(
                "bad_target",
                "CONNECT is not served inside a tunnel",
                "open the tunnel on the proxy port",
            )),
        };
    }
    if !names.has(Name::Upgrade) || !is_websocket_upgrade(&parts.headers, parts.version) {
        return Ok(Kind::Plain);
    }
    if parts.headers.contains_key(SEC_WEBSOCKET_KEY) {
        Ok(Kind::Upgrade)
    } else {
        Err(Refusal::bad_request(
            "bad_websocket_handshake",
            "the WebSocket handshake has no Sec-WebSocket-Key",
            "use a WebSocket client (RFC 6455 section 4.1)",
        ))
    }
}

fn is_websocket_upgrade(headers: &HeaderMap, version: Version) -> bool {
    version == Version::HTTP_11
        && headers
            .get(UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && names_token(headers, "upgrade")
}

/// Whether a `Connection` field lists `token`.
fn names_token(headers: &HeaderMap, token: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Request, StatusCode};

    fn parts(method: &str, uri: &str, version: Version, hosts: &[&str]) -> Parts {
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .version(version)
            .body(())
            .unwrap();
        for host in hosts {
            request
                .headers_mut()
                .append(HOST, HeaderValue::from_str(host).unwrap());
        }
        request.into_parts().0
    }

    fn tunnel(text: &str) -> Tunnel {
        Tunnel::new(Scheme::Https, Authority::parse(text).unwrap())
    }

    #[test]
    fn names_must_agree_inside_a_tunnel() {
        let h1 = Version::HTTP_11;
        let h2 = Version::HTTP_2;
        let api = "api.example.com:443";
        let cases: &[(&str, &str, Version, &[&str], bool)] = &[
            ("/x", api, h1, &["api.example.com"], true),
            ("/x", api, h1, &["API.example.com:443"], true),
            ("/x", api, h1, &["api.example.com."], false),
            ("/x", api, h1, &[], false),
            ("/x", api, h1, &["evil.example"], false),
            (
                "/x",
                api,
                h1,
                &["api.example.com", "api.example.com"],
                false,
            ),
            ("/x", api, h1, &["api.example.com:8443"], false),
            (
                "/x",
                "api.example.com:8443",
                h1,
                &["api.example.com:8443"],
                true,
            ),
            (
                "/x",
                "api.example.com:8443",
                h1,
                &["api.example.com"],
                false,
            ),
            (
                "https://api.example.com/x",
                api,
                h1,
                &["api.example.com"],
                false,
            ),
            ("https://api.example.com/x", api, h2, &[], true),
            (
                "https://api.example.com/x",
                api,
                h2,
                &["api.example.com"],
                true,
            ),
            (
                "https://api.example.com/x",
                api,
                h2,
                &["evil.example"],
                false,
            ),
            ("https://evil.example/x", api, h2, &[], false),
            ("http://api.example.com/x", api, h2, &[], false),
            ("/x", api, h2, &[], false),
        ];
        for (uri, target, version, hosts, good) in cases {
            let made = Head::in_tunnel(&parts("GET", uri, *version, hosts), &tunnel(target));
            assert_eq!(
                made.is_ok(),
                *good,
                "{uri} {target} {version:?} {hosts:?}: {made:?}"
            );
        }
    }

    /// What passes without being parsed is what parsing would let pass.
    #[test]
    fn plain_names_are_names_of_the_tunnel() {
        for text in [
            "api.example.com:443",
            "api.example.com:80",
            "api.example.com:8443",
            "192.0.2.1:443",
            "[2001:db8::ab]:443",
            "[2001:db8::ab]:8443",
        ] {
            let authority = Authority::parse(text).unwrap();
            for scheme in [Scheme::Http, Scheme::Https] {
                let tunnel = Tunnel::new(scheme, authority.clone());
                for plain in [&*tunnel.usual, &*tunnel.display] {
                    for plain in [plain.to_owned(), plain.to_ascii_uppercase()] {
                        assert!(tunnel.is_plainly(plain.as_bytes()), "{plain}");
                        for default in [scheme.default_port(), authority.port()] {
                            let parsed = Authority::parse_with_default(&plain, default).unwrap();
                            assert_eq!(parsed, authority, "{plain}");
                        }
                    }
                }
                for other in [
                    "",
                    "api.example.com.",
                    "u@api.example.com",
                    " api.example.com",
                ] {
                    assert!(!tunnel.is_plainly(other.as_bytes()), "{other}");
                }
            }
        }
    }

    #[test]
    fn absolute_form() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("http://a.example/x", &["a.example"], true),
            ("http://a.example/x", &[], true),
            ("HTTP://a.example:8080", &["a.example:8080"], true),
            ("http://a.example/x", &["b.example"], false),
            ("https://a.example/x", &["a.example"], false),
            ("ftp://a.example/x", &["a.example"], false),
            ("/x", &["a.example"], false),
            ("http://u:p@a.example/x", &["a.example"], false),
        ];
        for (uri, hosts, good) in cases {
            let made = Head::absolute(&parts("GET", uri, Version::HTTP_11, hosts));
            assert_eq!(made.is_ok(), *good, "{uri} {hosts:?}: {made:?}");
        }
    }

    #[test]
    fn connect_targets() {
        for (uri, good) in [
            ("a.example:443", true),
            ("[::1]:443", true),
            ("a.example:0", false),
            ("a.example", false),
            ("u@a.example:443", false),
        ] {
            let made = connect_target(&parts("CONNECT", uri, Version::HTTP_11, &[]), Some(14322));
            assert_eq!(made.is_ok(), good, "{uri}: {made:?}");
        }
        for (hosts, good) in [
            (&["a.example:443"][..], true),
            (&["a.example"], true),
            // The proxy itself, under whatever name it was reached.
            (&["127.0.0.1:14322"], true),
            (&["proxy.example:14322"], true),
            (&["b.example:443"], false),
            (&["b.example"], false),
            (&["a.example:443", "proxy.example:14322"], false),
            (&["proxy.example:14322", "proxy.example:14322"], false),
        ] {
            let head = parts("CONNECT", "a.example:443", Version::HTTP_11, hosts);
            let made = connect_target(&head, Some(14322));
            assert_eq!(made.is_ok(), good, "{hosts:?}: {made:?}");
        }
        // Where the target's port is the proxy's, a name is needed to tell them apart.
        let head = parts(
            "CONNECT",
            "a.example:443",
            Version::HTTP_11,
            &["b.example:443"],
        );
        assert!(connect_target(&head, Some(443)).is_err());
    }

    #[test]
    fn a_mismatch_is_421() {
        let refused = Head::in_tunnel(
            &parts("GET", "/", Version::HTTP_11, &["evil.example"]),
            &tunnel("api.example.com:443"),
        )
        .unwrap_err();
        assert_eq!(refused.status, StatusCode::MISDIRECTED_REQUEST);
    }
}
