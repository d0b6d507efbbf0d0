//! Which rule a request falls under: tables.

use std::collections::BTreeMap;

use agent_vault_policy::{RuleSet, UnmatchedPolicy};

use crate::support::{Request, bearer, decided, rules, service};

fn table(set: &RuleSet, cases: &[(&str, &str)]) {
    for (url, expected) in cases {
        assert_eq!(decided(set, &Request::to(url)), *expected, "{url}");
    }
}

#[test]
fn worked_example_of_prefixes() {
    let set = rules(vec![
        bearer("api", "slack.com/api/*", ""),
        bearer("apps", "slack.com/api/apps.connections.*", ""),
    ]);
    table(
        &set,
        &[
            ("slack.com/api/apps.connections.open", "+apps"),
            ("slack.com/api/chat.postMessage", "+api"),
            ("slack.com/oauth/v2/authorize", "forward"),
            ("slack.com/api", "forward"),
            ("slack.com", "forward"),
        ],
    );
}

#[test]
fn host_tiers_ports_and_position() {
    let set = rules(vec![
        bearer("wild", "*.x.com", ""),
        bearer("wild-port", "*.x.com:8443", ""),
        bearer("wild-path", "*.x.com/deep/path/*", ""),
        bearer("exact", "api.x.com/v1/*", ""),
        bearer("first", "b.x.com/a*c", ""),
        bearer("second", "b.x.com/a*", ""),
    ]);
    table(
        &set,
        &[
            ("api.x.com/v1/a", "+exact"),
            // The exact host has no rule for this path, so the wildcard's rules are next.
            ("api.x.com/other", "+wild"),
            ("api.x.com/deep/path/x", "+wild-path"),
            // A port beats any prefix; a host tier beats a port.
            ("api.x.com:8443/deep/path/x", "+wild-port"),
            ("api.x.com:8443/v1/a", "+exact"),
            ("b.x.com/abc", "+first"),
            ("b.x.com/abd", "+second"),
            ("a.b.x.com/", "forward"),
            ("x.com/", "forward"),
            ("[::1]/", "forward"),
            ("10.0.0.1/", "forward"),
        ],
    );
}

#[test]
fn s6_every_spelling_of_a_host_meets_its_rule() {
    let set = rules(vec![
        bearer("upper", "API.Example.COM", r#","enabled":false"#),
        bearer("idn", "bücher.example", ""),
        bearer("wild", "*.ÄX.example", ""),
    ]);
    table(
        &set,
        &[
            ("api.example.com/", "service_disabled upper"),
            ("API.EXAMPLE.com/", "service_disabled upper"),
            ("BÜCHER.example/", "+idn"),
            ("xn--bcher-kva.example/", "+idn"),
            ("a.äx.example/", "+wild"),
        ],
    );
}

#[test]
fn a_disabled_winner_refuses() {
    let set = rules(vec![
        bearer("open", "api.x.com", ""),
        bearer("closed", "api.x.com/admin/*", r#","enabled":false"#),
        bearer("wild", "*.x.com", ""),
    ]);
    table(
        &set,
        &[
            ("api.x.com/admin/", "service_disabled closed"),
            ("api.x.com/", "+open"),
            ("api.x.com/public/../admin/x", "ambiguous_path open closed"),
            (
                "api.x.com/public/%2e%2e/admin/x",
                "ambiguous_path open closed",
            ),
            (
                "api.x.com/public%2f..%2fadmin/x",
                "ambiguous_path open closed",
            ),
            ("api.x.com//admin/x", "ambiguous_path open closed"),
            ("api.x.com/admin;v=1/x", "ambiguous_path open closed"),
            ("api.x.com/%61dmin/x", "service_disabled closed"),
        ],
    );
}

#[test]
fn s5_s22_a_path_with_several_readings_picks_up_no_credential() {
    let set = rules(vec![
        bearer("basic", "api.x.com/basic/*", ""),
        bearer("admin", "api.x.com/admin", ""),
    ]);
    table(
        &set,
        &[
            ("api.x.com/basic/x", "+basic"),
            ("api.x.com/basic/../x", "ambiguous_path basic"),
            ("api.x.com/basic/..", "ambiguous_path basic"),
            ("api.x.com/basic/../admin", "ambiguous_path basic admin"),
            ("api.x.com/basic/%2e%2e/admin", "ambiguous_path basic admin"),
            ("api.x.com/basic/..%2fadmin", "ambiguous_path basic admin"),
            ("api.x.com/basic/..;/admin", "ambiguous_path basic admin"),
            ("api.x.com/basic/..%5cadmin", "ambiguous_path basic admin"),
            ("api.x.com/basic/..\\admin", "ambiguous_path basic admin"),
            (
                "api.x.com/basic/%252e%252e/admin",
                "ambiguous_path basic admin",
            ),
            ("api.x.com/x/../basic/y", "ambiguous_path basic"),
            ("api.x.com//basic/y", "ambiguous_path basic"),
            ("api.x.com/basic%2fy", "ambiguous_path basic"),
            ("api.x.com/basic/a%20b", "+basic"),
            ("api.x.com/basic/a%2fb", "+basic"),
            ("api.x.com/basic/a//b", "+basic"),
            ("api.x.com/basic/./b", "+basic"),
            ("api.x.com/basic/a/../b", "+basic"),
            // Every reading ends outside: nothing to be ambiguous about.
            ("api.x.com/x/../y", "forward"),
            ("api.x.com/basic/x?y=/../admin", "+basic"),
        ],
    );
}

#[test]
fn malformed_escapes_meet_only_rules_that_do_not_look_at_paths() {
    let any = rules(vec![bearer("any", "api.x.com", "")]);
    table(
        &any,
        &[
            ("api.x.com/%zz", "+any"),
            ("api.x.com/a%", "+any"),
            ("other.com/%zz", "forward"),
        ],
    );
    let paths = rules(vec![
        bearer("any", "api.x.com", ""),
        bearer("one", "api.x.com/one", ""),
    ]);
    table(
        &paths,
        &[
            ("api.x.com/%zz", "ambiguous_path any"),
            ("api.x.com/one?x=%zz", "+one"),
            ("api.x.com/two?x=%", "+any"),
        ],
    );
    let substituted = rules(vec![bearer(
        "any",
        "api.x.com",
        r#","substitutions":[{"key":"A","placeholder":"__a__","in":["path"]}]"#,
    )]);
    table(
        &substituted,
        &[
            ("api.x.com/%zz", "ambiguous_path any"),
            ("api.x.com/a", "+any"),
        ],
    );
}

#[test]
fn s8_credentials_go_out_over_tls_only() {
    let set = rules(vec![
        bearer("tls", "api.x.com", ""),
        bearer("plain", "plain.x.com", r#","require_tls":false"#),
        service(r#"{"name":"pass","host":"pass.x.com","auth":{"type":"passthrough"}}"#),
        service(
            r#"{"name":"sub","host":"sub.x.com","auth":{"type":"passthrough"},
                "substitutions":[{"key":"A","placeholder":"__a__"}]}"#,
        ),
        bearer("off", "off.x.com", r#","enabled":false"#),
    ]);
    table(
        &set,
        &[
            ("http://api.x.com/", "tls_required tls"),
            ("https://api.x.com:80/", "+tls"),
            ("http://plain.x.com/", "+plain"),
            // Nothing secret goes out, so nothing has to be protected.
            ("http://pass.x.com/", "+pass"),
            ("http://sub.x.com/", "tls_required sub"),
            ("http://off.x.com/", "service_disabled off"),
        ],
    );
}

#[test]
fn unmatched_hosts() {
    let services = vec![bearer("api", "api.x.com/v1/*", "")];
    let deny = RuleSet::compile(services.clone(), UnmatchedPolicy::Deny, &BTreeMap::new());
    table(
        &deny,
        &[
            ("other.com/", "no_match other.com"),
            ("other.com:8443/", "no_match other.com:8443"),
            ("api.x.com/v2", "no_match api.x.com"),
            ("api.x.com/v1/", "+api"),
        ],
    );
    table(&rules(services), &[("other.com/", "forward")]);
    table(
        &RuleSet::compile(Vec::new(), UnmatchedPolicy::Deny, &BTreeMap::new()),
        &[("a.com/", "no_match a.com")],
    );
}

fn account(name: &str, key: &str, more: &str) -> agent_vault_policy::Service {
    service(&format!(
        r#"{{"name":"{name}","host":"api.x.com","auth":{{"type":"bearer","token":"{key}"}}{more}}}"#
    ))
}

#[test]
fn two_accounts_without_a_choice_are_refused() {
    let set = rules(vec![account("one", "A", ""), account("two", "B", "")]);
    table(&set, &[("api.x.com/", "ambiguous_account one two")]);
    let set = rules(vec![
        account("one", "A", r#","enabled":false"#),
        account("two", "B", ""),
    ]);
    table(&set, &[("api.x.com/", "service_disabled one")]);
    let set = rules(vec![
        account("one", "A", ""),
        account("two", "B", r#","enabled":false"#),
    ]);
    table(&set, &[("api.x.com/", "+one")]);
    let set = rules(vec![
        account("one", "A", ""),
        account("two", "B", ""),
        account("three", "C", r#","enabled":false"#),
    ]);
    table(&set, &[("api.x.com/", "ambiguous_account one two three")]);
}

#[test]
fn agents_choose_accounts() {
    let set = rules(vec![
        account("all", "A", ""),
        account("bots", "B", r#","select":{"agents":["bot-1","bot-2"]}"#),
        account(
            "third",
            "C",
            r#","select":{"agents":["bot-3"]},"enabled":false"#,
        ),
    ]);
    for (agent, expected) in [
        (None, "+all"),
        (Some("bot-1"), "+bots"),
        (Some("bot-2"), "+bots"),
        (Some("bot-3"), "service_disabled third"),
        (Some("x"), "+all"),
    ] {
        let mut request = Request::to("api.x.com/");
        request.agent = agent.map(ToOwned::to_owned);
        assert_eq!(decided(&set, &request), expected, "{agent:?}");
    }
}

#[test]
fn a_rule_for_certain_agents_does_not_exist_for_others() {
    let set = rules(vec![
        account(
            "bots",
            "A",
            r#","select":{"agents":["bot-1"]},"enabled":false"#,
        ),
        bearer("wild", "*.x.com", ""),
    ]);
    assert_eq!(
        decided(&set, &Request::to("api.x.com/").by("bot-1")),
        "service_disabled bots"
    );
    assert_eq!(
        decided(&set, &Request::to("api.x.com/").by("bot-2")),
        "+wild"
    );
    assert_eq!(decided(&set, &Request::to("api.x.com/")), "+wild");
}

#[test]
fn placeholders_choose_accounts() {
    let own = BTreeMap::from([
        ("A".parse().unwrap(), "ghp_0000000000aaaa".to_owned()),
        ("B".parse().unwrap(), "ghp_0000000000bbbb".to_owned()),
    ]);
    let services = vec![
        account("one", "A", ""),
        account("two", "B", ""),
        account("three", "C", r#","select":{"placeholder":"work-account"}"#),
    ];
    let set = RuleSet::compile(services, UnmatchedPolicy::Passthrough, &own);
    let to = || Request::to("api.x.com/");
    for (request, expected) in [
        (
            to().with("authorization", "token ghp_0000000000aaaa"),
            "+one",
        ),
        (
            to().with("authorization", "Bearer ghp_0000000000bbbb"),
            "+two",
        ),
        // "user:ghp_0000000000bbbb"
        (
            to().with("authorization", "Basic dXNlcjpnaHBfMDAwMDAwMDAwMGJiYmI="),
            "+two",
        ),
        (
            to().with("authorization", "basic dXNlcjpnaHBfMDAwMDAwMDAwMGJiYmI"),
            "+two",
        ),
        (to().with("x-any", "work-account"), "+three"),
        (Request::to("api.x.com/?key=ghp_0000000000aaaa"), "+one"),
        (Request::to("api.x.com/bot-ghp_0000000000bbbb/x"), "+two"),
        (to(), "ambiguous_account one two"),
        (
            to().with("authorization", "token GHP_0000000000aaaa"),
            "ambiguous_account one two",
        ),
        (
            to().with("authorization", "token ghp_0000000000aaaa")
                .with("x", "ghp_0000000000bbbb"),
            "ambiguous_account one two",
        ),
    ] {
        assert_eq!(
            decided(&set, &request),
            expected,
            "{:?} {}",
            request.headers,
            request.target
        );
    }
}

#[test]
fn the_placeholders_that_rules_replace_choose_accounts_too() {
    let bot = |name: &str, text: &str, surface: &str| {
        service(&format!(
            r#"{{"name":"{name}","host":"api.x.com","auth":{{"type":"passthrough"}},
                "substitutions":[{{"key":"BOT","placeholder":"{text}","in":["{surface}"]}}]}}"#
        ))
    };
    let set = rules(vec![
        bot("one", "__one__", "path"),
        bot("two", "__two__", "header"),
        bot("three", "__three__", "body"),
    ]);
    assert_eq!(
        decided(&set, &Request::to("api.x.com/bot__one__/x")),
        "+one"
    );
    assert_eq!(
        decided(&set, &Request::to("api.x.com/").with("x", "__two__")),
        "+two"
    );
    // Bodies are not read to decide.
    assert_eq!(
        decided(&set, &Request::to("api.x.com/__three__")),
        "ambiguous_account one two three"
    );
    let same = rules(vec![
        bot("one", "__bot__", "path"),
        bot("two", "__bot__", "path"),
    ]);
    assert_eq!(
        decided(&same, &Request::to("api.x.com/__bot__")),
        "ambiguous_account one two"
    );
}

#[test]
fn an_explicit_placeholder_is_required_even_without_rivals() {
    let set = rules(vec![account(
        "one",
        "A",
        r#","select":{"placeholder":"work-account"}"#,
    )]);
    assert_eq!(
        decided(&set, &Request::to("api.x.com/")),
        "ambiguous_account one"
    );
    assert_eq!(
        decided(&set, &Request::to("api.x.com/").with("x", "work-account")),
        "+one"
    );
    let set = rules(vec![account(
        "one",
        "A",
        r#","select":{"placeholder":"work-account"},"enabled":false"#,
    )]);
    assert_eq!(
        decided(&set, &Request::to("api.x.com/")),
        "service_disabled one"
    );
}

#[test]
fn unreplaced_placeholders_are_known() {
    let own = BTreeMap::from([("A".parse().unwrap(), "ghp_0000000000aaaa".to_owned())]);
    let services = vec![service(
        r#"{"name":"bot","host":"api.x.com","auth":{"type":"passthrough"},"select":{"placeholder":"work-account"},"substitutions":[{"key":"BOT","placeholder":"__bot__"}]}"#,
    )];
    let set = RuleSet::compile(services, UnmatchedPolicy::Passthrough, &own);
    let found = |request: Request| {
        set.leftovers_in_head(request.target.as_str(), &request.headers)
            .iter()
            .map(|(key, standing)| format!("{key} {standing:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let to = || Request::to("api.x.com/");
    assert_eq!(found(to()), "");
    // All of them, each once.
    assert_eq!(
        found(Request::to("api.x.com/__bot__/x?a=__bot__").with("x", "ghp_0000000000aaaa")),
        "BOT Sent, A Sent"
    );
    assert_eq!(found(to().with("x", "a __bot__")), "BOT Sent");
    assert_eq!(
        found(to().with("authorization", "Basic eDpnaHBfMDAwMDAwMDAwMGFhYWE=")),
        "A Sent"
    );
    // One that only selects is to leave.
    assert_eq!(found(to().with("x", "work-account")), "");
    assert!(!rules(Vec::new()).knows_placeholders());
}
