//! Placeholders that leave as whole values of bodies that nobody looks into (W48).

use std::collections::BTreeMap;

use agent_vault_policy::{RuleSet, UnmatchedPolicy};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{headers, rules, service};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TEXT: &str = "text/plain;charset=UTF-8";
const PARTS: &str = "multipart/form-data; boundary=\"=b=\"";

/// A vault that knows `__bot__`, `__bot__x`, `a~b~c` and a stand-in, and that chooses by `work-account`.
fn vault() -> RuleSet {
    let own = BTreeMap::from([("OWN".parse().unwrap(), "ghp_0000000000aaaa".to_owned())]);
    let one = service(
        r#"{"name":"one","host":"api.x.com","auth":{"type":"passthrough"},"select":{"placeholder":"work-account"},"substitutions":[
            {"key":"BOT","placeholder":"__bot__"},{"key":"LONG","placeholder":"__bot__x"},{"key":"TILDE","placeholder":"a~b~c"}]}"#,
    );
    RuleSet::compile(vec![one], UnmatchedPolicy::Passthrough, &own)
}

/// What is found in a body that is sent in these pieces; empty for nothing.
fn found<'p>(set: &RuleSet, kind: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut watch = set.watch_body(&headers(&[("content-type", kind)])).unwrap();
    let mut found = String::new();
    for piece in pieces {
        if let Some(known) = watch.feed(piece, false) {
            assert_eq!(found, "", "told twice");
            found = known.key.as_ref().unwrap().to_string();
        }
    }
    if let Some(known) = watch.feed(b"", true) {
        assert_eq!(found, "", "told twice");
        found = known.key.as_ref().unwrap().to_string();
    }
    assert!(watch.is_over());
    found
}

/// The same in one piece, which is also the last; in every two pieces; and byte for byte.
fn found_always(set: &RuleSet, kind: &str, body: &str) -> String {
    let mut whole = set.watch_body(&headers(&[("content-type", kind)])).unwrap();
    let whole = whole
        .feed(body.as_bytes(), true)
        .map_or_else(String::new, |known| known.key.as_ref().unwrap().to_string());
    for at in 0..=body.len() {
        let (first, second) = body.as_bytes().split_at(at);
        assert_eq!(found(set, kind, [first, second]), whole, "{body} at {at}");
    }
    assert_eq!(found(set, kind, body.as_bytes().chunks(1)), whole, "{body}");
    whole
}

fn part(head: &str, content: &str) -> String {
    format!("--=b=\r\n{head}\r\n\r\n{content}\r\n--=b=--\r\n")
}

#[test]
fn whole_values_are_found_and_text_is_not() {
    let set = vault();
    let field = "Content-Disposition: form-data; name=\"key\"";
    let long = "y".repeat(700);
    for (kind, body, expected) in [
        // JSON: the whole of a string.
        (JSON, r#"{"token":"__bot__"}"#.to_owned(), "BOT"),
        (JSON, r#"{"token" : "__bot__x" }"#.to_owned(), "LONG"),
        (JSON, r#""ghp_0000000000aaaa""#.to_owned(), "OWN"),
        (JSON, r#"["a","__bot__"]"#.to_owned(), "BOT"),
        (JSON, r#"{"a":["__bot__"]}"#.to_owned(), "BOT"),
        (JSON, r#"{"a":"\\","b":"__bot__"}"#.to_owned(), "BOT"),
        (
            JSON,
            format!(r#"{{"{long}":"__bot__","z":"{long}"}}"#),
            "BOT",
        ),
        (
            JSON,
            format!(r#"{{"a":"{long}","b":"x__bot__","c":"__bot__"}}"#),
            "BOT",
        ),
        (
            "application/vnd.api+json",
            r#"{"a":"__bot__"}"#.to_owned(),
            "BOT",
        ),
        (
            "application/x-ndjson",
            "{\"a\":1}\n{\"a\":\"__bot__\"}\n".to_owned(),
            "BOT",
        ),
        // JSON: text.
        (JSON, r#"{"a":"say __bot__"}"#.to_owned(), ""),
        (JSON, r#"{"a":"__bot__\n"}"#.to_owned(), ""),
        (JSON, r#"{"a":"__bot__y"}"#.to_owned(), ""),
        (JSON, r#"{"a":"{\"token\":\"__bot__\"}"}"#.to_owned(), ""),
        (
            JSON,
            r#"{"a":"{\"t\":\"{\\\"u\\\":\\\"__bot__\\\"}\"}"}"#.to_owned(),
            "",
        ),
        (JSON, r#"{"a":__bot__}"#.to_owned(), ""),
        (JSON, r#"{"a":"__bot__"#.to_owned(), ""),
        (
            JSON,
            r#"{"role":"tool","content":"__bot__"}"#.to_owned(),
            "",
        ),
        (
            JSON,
            r#"{"type":"text", "text" : "__bot__"}"#.to_owned(),
            "",
        ),
        // One that only selects a rule.
        (JSON, r#"{"a":"work-account"}"#.to_owned(), ""),
        (
            JSON,
            r#"{"a":"work-account","b":"__bot__"}"#.to_owned(),
            "BOT",
        ),
        (JSON, String::new(), ""),
        // Forms: all that stands between `=` and `&`.
        (FORM, "key=__bot__".to_owned(), "BOT"),
        (FORM, "key=__bot__&b=1".to_owned(), "BOT"),
        (FORM, "a=1&key=__bot__&b=1".to_owned(), "BOT"),
        (FORM, format!("a={long}&key=__bot__x"), "LONG"),
        (FORM, "key=a%7Eb%7Ec".to_owned(), "TILDE"),
        (FORM, "key=a~b~c".to_owned(), "TILDE"),
        (FORM, "key=x__bot__".to_owned(), ""),
        (FORM, "key=__bot__+is+it".to_owned(), ""),
        (FORM, "key=__bot__y&b=1".to_owned(), ""),
        (FORM, "script=KEY=__bot__".to_owned(), ""),
        (FORM, "key=%22__bot__%22".to_owned(), ""),
        (FORM, "__bot__=1".to_owned(), ""),
        (FORM, "text=__bot__".to_owned(), ""),
        (FORM, "=__bot__".to_owned(), "BOT"),
        // What curl and fetch send when they are not told the type.
        (FORM, " \n{\"key\":\"__bot__\"}".to_owned(), "BOT"),
        (FORM, "[\"__bot__\"]".to_owned(), "BOT"),
        (TEXT, "{\"key\":\"__bot__\"}".to_owned(), "BOT"),
        (TEXT, "{\"key\":\"a __bot__\"}".to_owned(), ""),
        (TEXT, "the key is \"__bot__\"".to_owned(), ""),
        (TEXT, "[12:00] key \"__bot__\"".to_owned(), ""),
        (TEXT, "__bot__".to_owned(), ""),
        (TEXT, " \n ".to_owned(), ""),
        // Multipart: the whole of a text part.
        (PARTS, part(field, "__bot__"), "BOT"),
        (
            PARTS,
            format!("preamble\r\n{}", part(field, "__bot__")),
            "BOT",
        ),
        (PARTS, "--=b=\r\n\r\n__bot__\r\n--=b=--".to_owned(), "BOT"),
        (
            PARTS,
            part(&format!("{field}\r\nContent-Type: text/plain"), "__bot__"),
            "BOT",
        ),
        (
            PARTS,
            part(&format!("{field}; filename=\"a\""), "__bot__"),
            "",
        ),
        (
            PARTS,
            part("Content-Disposition: form-data; name=\"text\"", "__bot__"),
            "",
        ),
        (PARTS, part(field, "a __bot__"), ""),
        (PARTS, part(field, "__bot__\r\n"), ""),
        (PARTS, part(field, "first\r\n\r\n__bot__"), ""),
        (PARTS, part(field, "\r\n__bot__"), ""),
        (PARTS, part(field, "\r\n\r\n__bot__"), ""),
        (
            PARTS,
            part(&format!("{field}\r\nX-Long: {long}"), "__bot__"),
            "",
        ),
        (
            PARTS,
            format!("--=b=\r\n{field}\r\n\r\n__bot__\r\n--=c=--"),
            "",
        ),
        (
            PARTS,
            format!("--=b=x\r\n{field}\r\n\r\n__bot__\r\n--=b=--"),
            "",
        ),
    ] {
        assert_eq!(found_always(&set, kind, &body), expected, "{kind} {body}");
    }
}

#[test]
fn a_body_that_cannot_tell_is_not_watched() {
    let set = vault();
    let watched = |list: &[(&str, &str)]| set.watch_body(&headers(list)).is_some();
    for (kind, expected) in [
        ("application/json", true),
        ("application/octet-stream", false),
        ("application/grpc", false),
        ("application/xml", false),
        ("image/png", false),
        ("multipart/form-data", false),
        ("multipart/form-data; boundary=b", true),
    ] {
        assert_eq!(watched(&[("content-type", kind)]), expected, "{kind}");
    }
    assert!(watched(&[]));
    for (coding, expected) in [("gzip", false), ("identity", true), ("identity, br", false)] {
        let list = [("content-type", JSON), ("content-encoding", coding)];
        assert_eq!(watched(&list), expected, "{coding}");
    }
    assert!(rules(Vec::new()).watch_body(&headers(&[])).is_none());
}

/// JSON of strings and names, some of them placeholders, alone or inside text.
fn any_json() -> impl Strategy<Value = Value> {
    let text = || {
        prop::sample::select(vec![
            "__bot__",
            "__bot__x",
            "ghp_0000000000aaaa",
            "work-account",
            "__bot__y",
            "echo __bot__",
            "{\"k\":\"__bot__\"}",
            "\\",
            "\"",
            "plain",
            "",
        ])
    };
    let name = prop::sample::select(vec!["key", "content", "Text", "a\"", "\\"]);
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<u8>().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(k, v)| (k.to_owned(), v))
                        .collect(),
                )
            }),
        ]
    })
}

/// The keys of the placeholders that are whole strings, in order.
fn whole_strings(value: &Value, name: &str, found: &mut Vec<&'static str>) {
    match value {
        Value::String(text) if !["content", "Text"].contains(&name) => {
            found.extend(match text.as_str() {
                "__bot__" => Some("BOT"),
                "__bot__x" => Some("LONG"),
                "ghp_0000000000aaaa" => Some("OWN"),
                _ => None,
            });
        }
        Value::Array(list) => list.iter().for_each(|item| whole_strings(item, "", found)),
        Value::Object(members) => members
            .iter()
            .for_each(|(name, member)| whole_strings(member, name, found)),
        _ => {}
    }
}

fn cut<'b>(body: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|at| at % (body.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(body.len());
    let mut done = 0;
    cuts.into_iter()
        .map(|at| &body[std::mem::replace(&mut done, at)..at])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// In valid JSON, however it is written and cut, it is found exactly where a parser finds a string that is the placeholder.
    #[test]
    fn json_is_judged_as_a_parser_judges(
        value in any_json(),
        pretty in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let mut expected = Vec::new();
        whole_strings(&value, "", &mut expected);
        let set = vault();
        prop_assert_eq!(found(&set, JSON, cut(&body, &cuts)), expected.first().copied().unwrap_or_default());
    }

    /// However a body is cut, the answer is the same, for bodies that are not well-formed too.
    #[test]
    fn cuts_do_not_matter(
        kind in prop::sample::select(vec![JSON, FORM, TEXT, PARTS]),
        pieces in prop::collection::vec(prop::sample::select(vec![
            "__bot__", "__bot__", "__bot__x", "__bo", "work-account", "\"", "\\", ":", "=", "&", "{", " ", "key", "text", "\r\n", "\r\n\r\n",
            "--=b=", "\r\n--=b=", "--=b=\r\n", "Content-Type: text/plain", "name=\"text\"",
            "------------------------------------------------------------------------------------------------------------------",
        ]), 0..40),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let body = pieces.concat();
        let set = vault();
        let whole = found(&set, kind, [body.as_bytes()]);
        prop_assert_eq!(&found(&set, kind, cut(body.as_bytes(), &cuts)), &whole);
        prop_assert_eq!(&found(&set, kind, body.as_bytes().chunks(1)), &whole);
    }
}
