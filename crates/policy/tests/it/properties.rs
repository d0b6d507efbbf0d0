//! What must hold for every input.

use std::collections::BTreeMap;

use agent_vault_policy::{
    Authority, CredentialKey, Facts, Host, PathGlob, RequestTarget, Scheme, Service, ServiceDraft,
    UnmatchedPolicy, ValidationOptions,
};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::reference;
use crate::support::{Vault, rules, service, substituting};

/// Few hosts, ports, paths and agents, so that rules and requests meet often.
fn any_service() -> impl Strategy<Value = Service> {
    let host = prop::sample::select(vec![
        "api.x.com",
        "*.x.com",
        "b.x.com",
        "*.y.example",
        "API.X.com",
    ]);
    let port = prop::option::weighted(0.3, prop::sample::select(vec![443u16, 8443]));
    let path = prop::option::weighted(
        0.7,
        prop::sample::select(vec![
            "/a", "/a/*", "/a/b", "/a/*b", "/*", "/*a*", "/b*", "/a/b/*", "/admin/*", "/a*b*c",
        ]),
    );
    let auth = prop::sample::select(vec![
        r#"{"type":"bearer","token":"A"}"#,
        r#"{"type":"bearer","token":"B"}"#,
        r#"{"type":"passthrough"}"#,
    ]);
    let agents = prop::option::weighted(
        0.3,
        prop::sample::select(vec![r#""bot-1""#, r#""bot-2""#, r#""bot-1","bot-2""#]),
    );
    let placeholder =
        prop::option::weighted(0.2, prop::sample::select(vec!["pick-one", "pick-two"]));
    let substituted = prop::option::weighted(0.3, prop::sample::select(vec!["__c__", "__d__"]));
    (host, port, path, auth, agents, placeholder, substituted, prop::bool::weighted(0.8), prop::bool::weighted(0.7)).prop_map(
        |(host, port, path, auth, agents, placeholder, substituted, enabled, require_tls)| {
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let placeholder = placeholder.map_or("null".to_owned(), |text| format!("\"{text}\""));
            let substitutions = substituted.map_or(String::new(), |text| format!(r#"{{"key":"C","placeholder":"{text}","in":["path"]}}"#));
            service(&format!(
                r#"{{"name":"placeholder-name","host":"{host}{port}{}","auth":{auth},"enabled":{enabled},"require_tls":{require_tls},
                    "substitutions":[{substitutions}],"select":{{"agents":[{}],"placeholder":{placeholder}}}}}"#,
                path.unwrap_or_default(),
                agents.unwrap_or_default(),
            ))
        },
    )
}

fn any_services() -> impl Strategy<Value = Vec<Service>> {
    prop::collection::vec(any_service(), 0..8).prop_map(|mut services| {
        for (index, service) in services.iter_mut().enumerate() {
            service.name = format!("rule-{index}").parse().unwrap();
        }
        services
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "c", "admin", "..", ".", "/", "/", "/", "%2e", "%2F", "%5c", "\\", ";x", "%25",
        "%zz", "%41", "*", "pick-one", "__c__", "__d__", "__c__", "__d__",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
}

#[derive(Debug)]
struct Case {
    services: Vec<Service>,
    unmatched: UnmatchedPolicy,
    scheme: Scheme,
    authority: Authority,
    target: RequestTarget,
    agent: Option<&'static str>,
    headers: HeaderMap,
}

fn any_case() -> impl Strategy<Value = Case> {
    let host = prop::sample::select(vec![
        "api.x.com",
        "b.x.com",
        "c.x.com",
        "x.com",
        "a.b.x.com",
        "q.y.example",
        "10.0.0.1",
    ]);
    let port = prop::sample::select(vec![443u16, 443, 8443, 80]);
    let agent = prop::option::of(prop::sample::select(vec!["bot-1", "bot-2", "bot-3"]));
    let carried = prop::option::of(prop::sample::select(vec![
        "pick-one",
        "x pick-two y",
        "own-a",
        "own-b",
        "own-a own-b",
    ]));
    (
        any_services(),
        any::<bool>(),
        host,
        port,
        any_path(),
        any::<bool>(),
        agent,
        carried,
    )
        .prop_map(|(services, deny, host, port, path, http, agent, carried)| {
            let mut headers = HeaderMap::new();
            if let Some(text) = carried {
                headers.insert("x-key", HeaderValue::from_static(text));
            }
            Case {
                services,
                unmatched: if deny {
                    UnmatchedPolicy::Deny
                } else {
                    UnmatchedPolicy::Passthrough
                },
                scheme: if http { Scheme::Http } else { Scheme::Https },
                authority: Authority::new(Host::parse(host).unwrap(), port),
                target: RequestTarget::parse(&path).unwrap(),
                agent,
                headers,
            }
        })
}

impl Case {
    fn decide(&self) -> (String, String) {
        let own = BTreeMap::from([
            ("A".parse().unwrap(), "own-a".to_owned()),
            ("B".parse().unwrap(), "own-b".to_owned()),
        ]);
        let facts = Facts {
            scheme: self.scheme,
            authority: &self.authority,
            target: &self.target,
            agent: self.agent,
            headers: &self.headers,
        };
        reference::agree(&self.services, self.unmatched, &own, &facts)
    }
}

/// The property below says something: its cases meet every kind of decision.
#[test]
fn the_cases_meet_every_decision() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..3000 {
        let case = any_case().new_tree(&mut runner).unwrap().current();
        let (decision, _) = case.decide();
        let kind = if decision.starts_with('+') {
            "inject"
        } else {
            decision.split(' ').next().unwrap()
        };
        *seen.entry(kind.to_owned()).or_default() += 1;
    }
    for kind in [
        "inject",
        "forward",
        "no_match",
        "service_disabled",
        "ambiguous_path",
        "ambiguous_account",
        "tls_required",
    ] {
        assert!(
            seen.get(kind).is_some_and(|&count| count >= 20),
            "{kind}: {seen:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_compiled_matcher_agrees_with_the_naive_one(case in any_case()) {
        let (compiled, naive) = case.decide();
        prop_assert_eq!(compiled, naive);
    }

    #[test]
    fn globs_agree_with_the_naive_one(pattern in "/[ab*/]{0,8}", path in "/[ab/]{0,10}") {
        if let Ok(glob) = PathGlob::parse(&pattern) {
            prop_assert_eq!(glob.matches(path.as_bytes()), reference::glob(pattern.as_bytes(), path.as_bytes()));
        }
    }

    #[test]
    fn hosts_print_what_they_parse(text in "[a-zA-Z0-9äß._:\\[\\]-]{0,20}") {
        if let Ok(host) = Host::parse(&text) {
            prop_assert_eq!(Host::parse(host.as_str()).unwrap(), host.clone());
            prop_assert!(host.as_str().is_ascii());
            prop_assert!(!host.as_str().ends_with('.'));
            let authority = Authority::new(host, 8443);
            prop_assert_eq!(Authority::parse(&authority.to_string()).unwrap(), authority);
        }
    }

    #[test]
    fn nothing_panics(text in any::<String>(), more in any::<String>()) {
        let _ = Host::parse(&text);
        let _ = Authority::parse(&text);
        let _ = Authority::parse_with_default(&text, 80);
        let _ = RequestTarget::parse(&text);
        let _ = PathGlob::parse(&text);
        let draft = ServiceDraft { name: Some("abc".to_owned()), host: Some(text), path: Some(more), ..ServiceDraft::default() };
        let _ = Service::from_draft(draft, &ValidationOptions { dev_mode: true });
    }

    /// One pass over the original input: no value is searched again, whatever it holds (S11).
    #[test]
    fn values_are_never_searched(
        pieces in prop::collection::vec(prop::sample::select(vec!["__a__", "__b__", "x", "_", "__", " "]), 0..12),
        a in "(__a__|__b__|[a-z]){0,3}",
        b in "(__a__|__b__|[a-z]){0,3}",
    ) {
        let text = pieces.concat();
        let set = rules(vec![substituting(r#""body""#)]);
        let values = Vault::of(&[("A", a.as_bytes()), ("B", b.as_bytes())]);
        let out = set.services()[0].rewrite_body(Some("text/plain"), text.as_bytes(), &values).unwrap();
        // Split at the leftmost placeholder, again and again, on the input only.
        let mut expected = String::new();
        let mut rest = text.as_str();
        loop {
            let next = [rest.find("__a__").map(|at| (at, &a)), rest.find("__b__").map(|at| (at, &b))];
            let Some((at, value)) = next.into_iter().flatten().min_by_key(|(at, _)| *at) else { break };
            expected.push_str(&rest[..at]);
            expected.push_str(value);
            rest = &rest[at + 5..];
        }
        expected.push_str(rest);
        match out {
            None => prop_assert!(!text.contains("__a__") && !text.contains("__b__")),
            Some(out) => prop_assert_eq!(String::from_utf8(out.to_vec()).unwrap(), expected),
        }
    }

    /// However a message is cut, the same bytes come out, and never more is held back than may still become a placeholder.
    #[test]
    fn fragments_do_not_matter(
        pieces in prop::collection::vec(prop::sample::select(vec!["__a__", "__b__", "__ab", "_", "x", "{", "\"", " "]), 0..12),
        cuts in prop::collection::vec(0usize..40, 0..6),
        value in "[a-z\"_]{0,8}",
    ) {
        let text = pieces.concat();
        let set = rules(vec![substituting(r#""websocket""#)]);
        let values = Vault::of(&[("A", value.as_bytes()), ("B", b"B")]);
        let mut rewriter = set.services()[0].websocket_rewriter(&values).unwrap().unwrap();
        let whole = rewriter.feed(text.as_bytes(), true).to_vec();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let mut out = Vec::new();
        let mut from = 0;
        for cut in cuts {
            out.extend_from_slice(&rewriter.feed(&text.as_bytes()[from..cut], false));
            prop_assert!(rewriter.held() < 5);
            from = cut;
        }
        out.extend_from_slice(&rewriter.feed(&text.as_bytes()[from..], true));
        prop_assert_eq!(rewriter.held(), 0);
        prop_assert_eq!(String::from_utf8(out).unwrap(), String::from_utf8(whole).unwrap());
    }

    #[test]
    fn the_wire_form_round_trips(services in any_services()) {
        let json = Service::list_to_json(&services);
        prop_assert_eq!(Service::list_from_json(&json, &ValidationOptions::stored()).unwrap(), services);
    }

    #[test]
    fn keys_are_upper_snake_case(text in "[A-Za-z0-9_]{0,6}") {
        let naive = text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        prop_assert_eq!(CredentialKey::parse(&text).is_ok(), naive);
    }
}
