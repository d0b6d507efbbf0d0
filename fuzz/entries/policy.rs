// What each fuzz target does with its bytes. Also compiled into the tests of `crates/policy`, which replay the checked-in corpora, so
// that neither a fuzzer nor a nightly toolchain is needed to hold what a fuzzer once found.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use agent_vault_policy::{
    Authority, CredentialKey, Decision, EgressPolicy, Facts, Host, HostPattern, PathGlob,
    RequestTarget, RuleSet, Scheme, Service, ServiceDraft, Template, UnmatchedPolicy,
    ValidationOptions, Values,
};

/// An entry: takes any bytes and panics when something that must hold does not.
pub type Entry = fn(&[u8]);

/// Every entry under the name of its corpus.
pub const ENTRIES: [(&str, Entry); 11] = [
    ("host", host),
    ("target", target),
    ("service", service),
    ("pattern", pattern),
    ("decide", decide),
    ("body", body),
    ("leftover", leftover),
    ("websocket", websocket),
    ("allow_list", allow_list),
    ("address", address),
    ("substitution", substitution),
];

/// Hosts and authorities have one spelling, and it parses.
pub fn host(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(host) = Host::parse(&text) {
        assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(&host));
        assert!(
            host.as_str()
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
        );
    }
    for authority in [
        Authority::parse(&text),
        Authority::parse_with_default(&text, 443),
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(
            Authority::parse(&authority.to_string()).as_ref(),
            Ok(&authority)
        );
        assert_eq!(
            Authority::parse_with_default(&authority.host_header(Scheme::Https), 443).as_ref(),
            Ok(&authority)
        );
    }
}

/// What is sent is what came in, and what is shown is printable.
pub fn target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(target) = RequestTarget::parse(&text) else {
        return;
    };
    assert!(target.as_str() == text || text.is_empty() || text.starts_with('?'));
    assert!(target.readings().count() >= 1);
    assert!(!target.decoded_path().chars().any(char::is_control));
    assert!(
        target.path().len() + target.query().map_or(0, |query| query.len() + 1)
            == target.as_str().len()
    );
}

/// What is accepted has a wire form that reads back as the same service.
pub fn service(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = ServiceDraft::from_json(&text);
    for dev_mode in [false, true] {
        let options = ValidationOptions { dev_mode };
        if let Ok(services) = Service::list_from_json(&text, &options) {
            assert_eq!(
                Service::list_from_json(&Service::list_to_json(&services), &options).as_ref(),
                Ok(&services)
            );
            let _ = RuleSet::compile(services, UnmatchedPolicy::Deny, &BTreeMap::new());
        }
    }
}

/// Patterns and templates print what they parse.
pub fn pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, path) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(glob) = PathGlob::parse(pattern) {
        assert_eq!(glob.as_str(), pattern);
        assert!(glob.matches(pattern.as_bytes()));
        let _ = glob.matches(path.as_bytes());
    }
    if let Ok(host) = HostPattern::parse(pattern, true) {
        assert_eq!(
            HostPattern::parse(&host.to_string(), true).as_ref(),
            Ok(&host)
        );
    }
    if let Ok(template) = Template::parse(pattern) {
        assert_eq!(template.as_str(), pattern);
    }
}

/// A credential for one path is never given to a request that any reading takes elsewhere.
pub fn decide(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(target) = RequestTarget::parse(&text) else {
        return;
    };
    let Ok(authority) = Authority::parse("api.x.com:443") else {
        return;
    };
    let headers = http::HeaderMap::new();
    let facts = Facts {
        scheme: Scheme::Https,
        authority: &authority,
        target: &target,
        agent: None,
        headers: &headers,
    };
    if let Decision::Inject(rule) = PATHS.decide(&facts) {
        let Some(glob) = &rule.service().path else {
            return;
        };
        assert!(target.readings().all(|path| glob.matches(path)));
        assert!(!target.has_bad_escape());
    }
}

/// First line: the content type; the rest: the body. However it is cut, the same placeholders are told of, as standing alike.
pub fn leftover(data: &[u8]) {
    let split = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at(split);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let kind = http::HeaderValue::from_bytes(kind).ok();
    let (Some(mut whole), Some(mut cut)) = (BODY.watch(kind.as_ref()), BODY.watch(kind.as_ref()))
    else {
        return;
    };
    let told = whole.feed(body, true);
    assert_eq!(told, !whole.leftovers().is_empty());
    for byte in body.chunks(1) {
        cut.feed(byte, false);
    }
    cut.feed(b"", true);
    assert!(cut.is_over() && whole.is_over());
    assert_eq!(whole.leftovers(), cut.leftovers());
}

/// First line: the content type; the rest: the body. No value brings a placeholder in, and JSON stays JSON.
pub fn body(data: &[u8]) {
    let split = data.iter().position(|&b| b == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at(split);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let kind = String::from_utf8_lossy(kind);
    let Some(rule) = BODY.services().first() else {
        return;
    };
    let Ok(Some(out)) = rule.rewrite_body(Some(&kind), body, &Fixed) else {
        return;
    };
    assert_ne!(out.as_slice(), body);
    if kind.trim().eq_ignore_ascii_case("application/json")
        && serde_json::from_slice::<serde_json::Value>(body).is_ok()
    {
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
    }
}

/// The first byte says where to cut. Cut or whole, the same comes out.
pub fn websocket(data: &[u8]) {
    let Some((&cut, message)) = data.split_first() else {
        return;
    };
    let Some(rule) = WEBSOCKET.services().first() else {
        return;
    };
    let Ok(Some(mut rewriter)) = rule.websocket_rewriter(&Fixed) else {
        return;
    };
    let whole = rewriter.feed(message, true).to_vec();
    let step = usize::from(cut).max(1);
    let mut pieces = message.chunks(step).peekable();
    let mut out = Vec::new();
    while let Some(piece) = pieces.next() {
        out.extend_from_slice(&rewriter.feed(piece, pieces.peek().is_none()));
        assert!(rewriter.held() < 7);
    }
    assert_eq!(out, whole);
}

/// No allow-list makes a metadata service reachable.
pub fn allow_list(data: &[u8]) {
    let (allow, _) = EgressPolicy::parse_allow_list(&String::from_utf8_lossy(data));
    let policy = EgressPolicy {
        allow_private: true,
        allow,
    };
    for address in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
    ] {
        assert!(
            address
                .parse()
                .is_ok_and(|address| policy.check(address).is_err())
        );
    }
}

/// Sixteen bytes of an address. Whatever it wraps is judged too, and by default nothing inside is reachable.
pub fn address(data: &[u8]) {
    let Some((&octets, _)) = data.split_first_chunk::<16>() else {
        return;
    };
    let address = std::net::Ipv6Addr::from(octets);
    let policy = EgressPolicy::default();
    if policy.check(address.into()).is_err() {
        return;
    }
    assert!(!address.is_loopback() && !address.is_unspecified() && !address.is_multicast());
    assert!(!address.is_unique_local() && !address.is_unicast_link_local());
    let [.., a, b, c, d] = octets;
    let inside = std::net::Ipv4Addr::new(a, b, c, d);
    let [first, second, v, w, x, y, ..] = octets;
    let wraps = address.to_ipv4().is_some()
        || octets.starts_with(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]);
    let outer = std::net::Ipv4Addr::new(v, w, x, y);
    for (holds, v4) in [(wraps, inside), ([first, second] == [0x20, 0x02], outer)] {
        assert!(!holds || !(v4.is_loopback() || v4.is_private() || v4.is_link_local()));
        assert!(!holds || policy.check(v4.into()).is_ok());
    }
}

/// First line: the target; the rest: header values. A value changes nothing but its own place: neither the shape of the target nor
/// that of a field.
pub fn substitution(data: &[u8]) {
    let mut lines = data.split(|&b| b == b'\n');
    let target = lines.next().unwrap_or_default();
    let Some(rule) = SURFACES.services().first() else {
        return;
    };
    if let Ok(target) = RequestTarget::parse(&String::from_utf8_lossy(target))
        && let Ok(Some(out)) = rule.rewrite_target(&target, &Sharp)
    {
        let sent = RequestTarget::parse(&out);
        assert!(sent.is_ok(), "{out}");
        let Ok(sent) = sent else {
            return;
        };
        let count =
            |text: Option<&str>, byte: char| text.map_or(0, |text| text.matches(byte).count());
        assert_eq!(
            count(Some(sent.path()), '/'),
            count(Some(target.path()), '/')
        );
        assert_eq!(sent.query().is_some(), target.query().is_some());
        for byte in ['&', '=', '#'] {
            assert_eq!(count(sent.query(), byte), count(target.query(), byte));
        }
    }
    let mut headers = http::HeaderMap::new();
    for line in lines.take(8) {
        if let Ok(value) = http::HeaderValue::from_bytes(line) {
            headers.append("x-any", value);
        }
    }
    let before = headers.len();
    if rule.rewrite_headers(&mut headers, &Sharp).is_ok() {
        assert_eq!(headers.len(), before);
        assert!(headers.values().all(|value| {
            !value
                .as_bytes()
                .iter()
                .any(|b| matches!(b, b'\r' | b'\n' | 0))
        }));
    }
}

static SURFACES: LazyLock<RuleSet> = LazyLock::new(|| {
    rules(
        r#"[{"name":"sub","host":"api.x.com","auth":{"type":"passthrough"},"substitutions":[
            {"key":"A","placeholder":"__a__","in":["path","query","header"]},
            {"key":"B","placeholder":"__b__.x","in":["path","query","header"]}]}]"#,
    )
});

/// Values that would do harm if they were not encoded for their place.
struct Sharp;

impl Values for Sharp {
    fn value(&self, key: &CredentialKey) -> Option<&[u8]> {
        match key.as_str() {
            "A" => Some(b"a/../b?c#d&e=f%2e__b__.x;\xc3\xa9 +"),
            "B" => Some(b"__a__"),
            _ => None,
        }
    }
}

static PATHS: LazyLock<RuleSet> = LazyLock::new(|| {
    rules(
        r#"[{"name":"public","host":"api.x.com/public/*","auth":{"type":"bearer","token":"A"}},
            {"name":"closed","host":"api.x.com/admin*","enabled":false,"auth":{"type":"bearer","token":"B"}},
            {"name":"exact","host":"api.x.com/one","auth":{"type":"bearer","token":"C"}}]"#,
    )
});

static BODY: LazyLock<RuleSet> = LazyLock::new(|| substituting("body"));

static WEBSOCKET: LazyLock<RuleSet> = LazyLock::new(|| substituting("websocket"));

struct Fixed;

impl Values for Fixed {
    fn value(&self, key: &CredentialKey) -> Option<&[u8]> {
        match key.as_str() {
            "A" => Some(b"q\"\\\n__b__"),
            "B" => Some(b""),
            _ => None,
        }
    }
}

fn substituting(surface: &str) -> RuleSet {
    rules(&format!(
        r#"[{{"name":"sub","host":"api.x.com","auth":{{"type":"passthrough"}},"substitutions":[
            {{"key":"A","placeholder":"__a__","in":["{surface}"]}},{{"key":"B","placeholder":"__b__.x","in":["{surface}"]}}]}}]"#
    ))
}

fn rules(json: &str) -> RuleSet {
    let services = Service::list_from_json(json, &ValidationOptions::default()).unwrap_or_default();
    assert!(!services.is_empty(), "the rules of an entry are valid");
    RuleSet::compile(services, UnmatchedPolicy::Passthrough, &BTreeMap::new())
}
