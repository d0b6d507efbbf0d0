//! Entries for fuzzing that parsers of this crate need because nothing outside may call them. Each takes any bytes and panics
//! when something that must hold does not. Not part of the crate's surface.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_vault_policy::{Authority, Scheme};
use futures_util::FutureExt as _;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Request, Version};

use crate::authenticate::{FailureBudget, Presented};
use crate::head::{Head, Tunnel, connect_target};
use crate::source::read_header;

/// `Proxy-Authorization`, one field a line: what is read is a token without a colon or line end, and a vault that is not empty.
pub fn authorization(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(4) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(PROXY_AUTHORIZATION, value);
        }
    }
    let Some(presented) = Presented::read(&headers) else {
        return;
    };
    assert_eq!(headers.len(), 1);
    assert!(!presented.token.is_empty());
    let is_basic = headers.values().any(|value| {
        let scheme = value.as_bytes().get(..5);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
    });
    assert!(!(is_basic && presented.token.contains(':')));
    assert!(
        presented
            .vault
            .as_ref()
            .is_none_or(|vault| !vault.is_empty())
    );
    assert!(is_basic || presented.vault.is_none());
    // Whoever it is, guessing is counted, and not without end.
    let budget = FailureBudget::new(std::sync::Arc::new(|| Some((1, Duration::from_secs(60)))));
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let token = Some(agent_vault_seal::TokenHash::of(&presented.token));
    assert!(budget.check_and_record(peer, token).is_ok());
    assert!(budget.check_and_record(peer, token).is_err());
}

/// The first byte says how the request came; then, one a line, its method, its target and each `Host`. Whatever is let through
/// names one destination everywhere.
pub fn head(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let method = lines.next().unwrap_or_default();
    let target = lines.next().unwrap_or_default();
    let version = match kind % 3 {
        0 => Version::HTTP_10,
        1 => Version::HTTP_11,
        _ => Version::HTTP_2,
    };
    let Ok(request) = Request::builder()
        .method(method)
        .uri(target)
        .version(version)
        .body(())
    else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    for host in lines.take(3) {
        if let Ok(host) = HeaderValue::from_bytes(host) {
            parts.headers.append(HOST, host);
        }
    }
    let named = |text: &str, default: u16| Authority::parse_with_default(text, default).ok();
    if let Ok(authority) = connect_target(&parts, Some(14322)) {
        assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
        assert!(parts.headers.get_all(HOST).iter().count() <= 1);
    }
    let Ok(meant) = Authority::parse("api.x.com:443") else {
        return;
    };
    let tunnel = Tunnel::new(Scheme::Https, meant.clone());
    for (made, default) in [
        (Head::in_tunnel(&parts, &tunnel), 443),
        (Head::absolute(&parts), 80),
    ] {
        let Ok(made) = made else {
            continue;
        };
        if made.scheme == Scheme::Https {
            assert_eq!(made.authority, meant);
        }
        if let Some(authority) = parts.uri.authority() {
            assert_eq!(
                named(authority.as_str(), default).as_ref(),
                Some(&made.authority)
            );
            assert!(!authority.as_str().contains('@'));
        }
        let hosts: Vec<_> = parts.headers.get_all(HOST).iter().collect();
        assert!(hosts.len() <= 1);
        for host in hosts {
            let text = host.to_str().unwrap_or_default();
            assert!(
                [default, made.authority.port()]
                    .iter()
                    .any(|port| named(text, *port).as_ref() == Some(&made.authority))
            );
        }
        let sent = made.target.as_str();
        assert!(sent.starts_with('/') || sent == "*");
        assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()) && !sent.contains('#'));
    }
}

/// The messages of SOCKS 5.
pub fn socks(data: &[u8]) {
    crate::socks::check_messages(data);
}

/// The header of the PROXY protocol: not a byte is read beyond it, and only it is read in vain.
pub fn source(data: &[u8]) {
    let mut left = data;
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    // A slice never has to be waited for.
    let Some(Ok(named)) = read_header(&mut left, peer).now_or_never() else {
        return;
    };
    assert!(!named.is_loopback());
    let header = data.get(..data.len() - left.len()).unwrap_or_default();
    assert!(header.len() >= 15 && header.len() <= 16 + 4096);
    let mut again = header;
    let read = read_header(&mut again, peer).now_or_never();
    assert!(matches!(read, Some(Ok(same)) if same == named) && again.is_empty());
}
