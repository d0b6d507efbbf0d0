//! What can be written for the upstream proxy.

use agent_vault_policy::Authority;
use agent_vault_upstream::{
    MAX_NO_PROXY_ENTRIES, NoProxy, ProxyConfigError, ProxyCredentials, UpstreamProxy,
};

#[test]
fn proxies() {
    for (url, authority) in [
        ("http://proxy.example.com:3128", "proxy.example.com:3128"),
        ("http://proxy.example.com", "proxy.example.com:80"),
        ("http://proxy.example.com/", "proxy.example.com:80"),
        ("https://proxy.example.com", "proxy.example.com:443"),
        ("http://[::1]:3128", "[::1]:3128"),
        ("http://10.0.0.1:8080", "10.0.0.1:8080"),
        (
            " http://user:pa%3Ass@Proxy.Example.COM:3128 ",
            "proxy.example.com:3128",
        ),
    ] {
        assert_eq!(
            UpstreamProxy::parse(url).unwrap().authority().to_string(),
            authority
        );
    }
}

#[test]
fn not_proxies() {
    use ProxyConfigError::{Credentials, Extra, Scheme, Url};
    let kind = |url: &str| UpstreamProxy::parse(url).unwrap_err();
    for url in [
        "",
        "proxy.example.com",
        "http://",
        "http:// spaced",
        "http://proxy:0",
        "http://proxy:99999",
    ] {
        assert!(
            matches!(kind(url), Url | ProxyConfigError::Host(_)),
            "{url}"
        );
    }
    for url in [
        "socks5://proxy:1080",
        "ftp://proxy",
        "proxy.example.com:3128",
    ] {
        assert!(matches!(kind(url), Scheme(_) | Url), "{url}");
    }
    for url in ["http://proxy/path", "http://proxy/?q", "http://proxy/#f"] {
        assert!(matches!(kind(url), Extra), "{url}");
    }
    for url in [
        "http://a%3Ab:c@proxy",
        "http://a:b%0d%0ac@proxy",
        "http://a:%ff@proxy",
    ] {
        assert!(matches!(kind(url), Credentials), "{url}");
    }
}

#[test]
fn credentials_are_never_shown() {
    let inside = UpstreamProxy::parse("http://canary-user:canary-pass@proxy:3128").unwrap();
    let apart = UpstreamProxy::parse("http://proxy:3128")
        .unwrap()
        .with_credentials(ProxyCredentials::basic("canary-user", "canary-pass").unwrap());
    let bad = UpstreamProxy::parse("http://canary-user:canary-pass@proxy:3128/path").unwrap_err();
    let printed = format!("{inside:?} {apart:?} {bad} {bad:?}");
    assert!(!printed.contains("canary"), "{printed}");
    assert!(!printed.contains("Y2FuYXJ5"), "{printed}");
    assert!(ProxyCredentials::basic("a:b", "c").is_err());
    assert!(ProxyCredentials::basic("a", "b:c").is_ok());
    assert!(ProxyCredentials::basic("a", "b\n").is_err());
}

#[test]
fn exceptions() {
    for (list, target, expected) in [
        ("", "api.example.com:443", false),
        ("*", "api.example.com:443", true),
        ("example.com", "example.com:443", true),
        ("example.com", "api.example.com:443", true),
        (".example.com", "api.example.com:443", true),
        ("*.example.com", "api.example.com:443", true),
        ("example.com", "badexample.com:443", false),
        ("EXAMPLE.com.", "api.example.com:443", true),
        ("example.com:8443", "api.example.com:443", false),
        ("example.com:8443", "api.example.com:8443", true),
        ("a.com, b.com c.com", "b.com:443", true),
        ("a.com, b.com c.com", "c.com:443", true),
        ("10.0.0.0/8", "10.1.2.3:80", true),
        ("10.0.0.0/8", "11.1.2.3:80", false),
        ("10.0.0.7/8", "10.1.2.3:80", true),
        ("10.1.2.3", "10.1.2.3:80", true),
        ("10.1.2.3:81", "10.1.2.3:80", false),
        ("2001:db8::/32", "[2001:db8::1]:80", true),
        ("::1", "[::1]:80", true),
        ("[::1]", "[::1]:80", true),
        ("[::1]:80", "[::1]:80", true),
        ("10.0.0.0/8", "ten.example.com:80", false),
        ("localhost", "localhost:80", true),
    ] {
        let target = Authority::parse(target).unwrap();
        assert_eq!(
            NoProxy::parse(list).unwrap().contains(&target),
            expected,
            "{list} {target}"
        );
    }
}

#[test]
fn not_exceptions() {
    for (list, number) in [
        ("http://x", 1),
        ("a.com,b com/", 3),
        ("a.com,10.0.0.0/33", 2),
        ("a.com:port", 1),
        ("a*b.com/", 1),
    ] {
        let Err(ProxyConfigError::NoProxy { number: found, .. }) = NoProxy::parse(list) else {
            panic!("{list}");
        };
        assert_eq!(found, number, "{list}");
    }
    let many = "a.com,".repeat(MAX_NO_PROXY_ENTRIES + 1);
    assert!(matches!(
        NoProxy::parse(&many),
        Err(ProxyConfigError::TooMany)
    ));
}
