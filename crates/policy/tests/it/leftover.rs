//! Placeholders that leave as they are in bodies and messages (W48).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use agent_vault_policy::{LeftoverWatch, Leftovers, MAX_LEFTOVERS, RuleSet, UnmatchedPolicy};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{rules, service};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TEXT: &str = "text/plain;charset=UTF-8";
const PARTS: &str = "multipart/form-data; boundary=\"=b=\"";
const GRPC: &str = "application/grpc";
const BYTES: &str = "application/octet-stream";
const XML: &str = "application/xml";

/// A vault that knows `__bot__`, `__bot__x`, `a~b~c` and a stand-in, and that chooses by `work-account`.
fn vault() -> RuleSet {
    let own = BTreeMap::from([("OWN".parse().unwrap(), "ghp_0000000000aaaa".to_owned())]);
    let one = service(
        r#"{"name":"one","host":"api.x.com","auth":{"type":"passthrough"},"select":{"placeholder":"work-account"},"substitutions":[
            {"key":"BOT","placeholder":"__bot__"},{"key":"LONG","placeholder":"__bot__x"},{"key":"TILDE","placeholder":"a~b~c"}]}"#,
    );
    RuleSet::compile(vec![one], UnmatchedPolicy::Passthrough, &own)
}

fn watch(set: &RuleSet, kind: &str) -> LeftoverWatch {
    let kind = HeaderValue::from_str(kind).unwrap();
    set.watch(Some(&kind)).unwrap()
}

fn told(leftovers: &Leftovers) -> String {
    let mut text = String::new();
    for (key, standing) in leftovers.iter() {
        write!(text, "{key} {standing:?},").unwrap();
    }
    if leftovers.has_more() {
        text.push_str("more,");
    }
    text
}

/// What is found in a body that is sent in these pieces. Whoever looks only when told that something changed has the same.
fn found<'p>(set: &RuleSet, kind: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut watch = watch(set, kind);
    let mut known = Leftovers::default();
    for piece in pieces {
        if watch.feed(piece, false) {
            known = watch.leftovers();
        }
    }
    if watch.feed(b"", true) {
        known = watch.leftovers();
    }
    assert!(watch.is_over());
    assert_eq!(known, watch.leftovers());
    told(&known)
}

/// The same in one piece, which is also the last; in every two pieces; and byte for byte.
fn found_always(set: &RuleSet, kind: &str, body: &str) -> String {
    let mut whole = watch(set, kind);
    whole.feed(body.as_bytes(), true);
    let whole = told(&whole.leftovers());
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
fn w48_values_are_told_from_quotations_and_both_are_found() {
    let set = vault();
    let field = "Content-Disposition: form-data; name=\"key\"";
    let long = "y".repeat(700);
    let sent = "BOT Sent,";
    let quoted = "BOT Quoted,";
    for (kind, body, expected) in [
        // JSON: the whole of a string, whatever its name.
        (JSON, r#"{"token":"__bot__"}"#.to_owned(), sent),
        (JSON, r#"{"token" : "__bot__x" }"#.to_owned(), "LONG Sent,"),
        (JSON, r#""ghp_0000000000aaaa""#.to_owned(), "OWN Sent,"),
        (JSON, r#"["a","__bot__"]"#.to_owned(), sent),
        (JSON, r#"{"a":"\\","b":"__bot__"}"#.to_owned(), sent),
        (JSON, r#"{"content":"__bot__"}"#.to_owned(), sent),
        (
            JSON,
            format!(r#"{{"{long}":"__bot__","z":"{long}"}}"#),
            sent,
        ),
        (
            "application/x-ndjson",
            "{\"a\":1}\n{\"a\":\"__bot__\"}\n".to_owned(),
            sent,
        ),
        // All of them, each once, the worse of how it stood.
        (
            JSON,
            format!(r#"{{"a":"{long}","b":"x__bot__","c":"__bot__","d":"a~b~c!"}}"#),
            "BOT Sent,TILDE Quoted,",
        ),
        // JSON: text.
        (JSON, r#"{"a":"say __bot__"}"#.to_owned(), quoted),
        (JSON, r#"{"a":"__bot__\n"}"#.to_owned(), quoted),
        (
            JSON,
            r#"{"a":"{\"token\":\"__bot__\"}"}"#.to_owned(),
            quoted,
        ),
        (
            JSON,
            r#"{"a":"{\"t\":\"{\\\"u\\\":\\\"__bot__\\\"}\"}"}"#.to_owned(),
            quoted,
        ),
        (JSON, r#"{"a":"__bot__"#.to_owned(), quoted),
        // A conversation with a model, wherever it shows that it is one.
        (
            JSON,
            r#"{"messages":[{"role":"user","content":"__bot__"}]}"#.to_owned(),
            quoted,
        ),
        (
            JSON,
            r#"{"content":[{"type":"tool_use","input":{"key":"__bot__"}}],"role":"assistant"}"#
                .to_owned(),
            quoted,
        ),
        (
            JSON,
            format!(
                r#"{{"input":[{{"output":"__bot__","x":"{long}","type":"function_call_output"}}]}}"#
            ),
            quoted,
        ),
        (
            JSON,
            r#"{"contents":[{"parts":[{"functionResponse":{"response":{"out":"__bot__"}}}]}]}"#
                .to_owned(),
            quoted,
        ),
        // One that only selects a rule is to leave.
        (
            JSON,
            r#"{"a":"work-account","b":"__bot__"}"#.to_owned(),
            sent,
        ),
        (JSON, r#"{"a":"work-account"}"#.to_owned(), ""),
        (JSON, String::new(), ""),
        // Forms: all that stands between `=` and `&`.
        (FORM, "key=__bot__".to_owned(), sent),
        (FORM, "a=1&key=__bot__&b=1".to_owned(), sent),
        (FORM, format!("a={long}&key=__bot__x"), "LONG Sent,"),
        (FORM, "key=a%7Eb%7Ec".to_owned(), "TILDE Sent,"),
        (FORM, "key=a~b~c".to_owned(), "TILDE Sent,"),
        (FORM, "key=x__bot__".to_owned(), quoted),
        (FORM, "key=__bot__+is+it".to_owned(), quoted),
        (FORM, "script=KEY%3D__bot__".to_owned(), quoted),
        (FORM, "key=%22__bot__%22".to_owned(), quoted),
        // What curl and fetch send when they are not told the type.
        (FORM, " \n{\"key\":\"__bot__\"}".to_owned(), sent),
        (FORM, "[\"__bot__\"]".to_owned(), sent),
        (TEXT, "{\"key\":\"__bot__\"}".to_owned(), sent),
        (BYTES, "{\"key\":\"__bot__\"}".to_owned(), sent),
        (TEXT, "{\"key\":\"a __bot__\"}".to_owned(), quoted),
        (TEXT, "the key is \"__bot__\"".to_owned(), quoted),
        (TEXT, "export KEY=__bot__".to_owned(), quoted),
        // All of a body.
        (TEXT, "__bot__".to_owned(), sent),
        (BYTES, "\n__bot__\n".to_owned(), sent),
        (TEXT, "         __bot__".to_owned(), quoted),
        (TEXT, " \n ".to_owned(), ""),
        // XML, and protobuf behind gRPC's prefix.
        (XML, "<key>__bot__</key>".to_owned(), sent),
        (XML, "<key>say __bot__</key>".to_owned(), quoted),
        (GRPC, "\0\0\0\0\x09\x0a\x07__bot__".to_owned(), sent),
        (GRPC, "\0\0\0\0\x0c\x0a\x0asay__bot__".to_owned(), quoted),
        // Multipart: all of a part, or a string in one of JSON.
        (PARTS, part(field, "__bot__"), sent),
        (
            PARTS,
            part(&format!("{field}; filename=\"a\""), "__bot__"),
            sent,
        ),
        (
            PARTS,
            part("Content-Type: application/json", r#"{"a": "__bot__"}"#),
            sent,
        ),
        (PARTS, part(field, "a __bot__"), quoted),
        (PARTS, part(field, "KEY=\"__bot__\""), quoted),
        (PARTS, part(field, "__bot__\r\n"), quoted),
    ] {
        assert_eq!(found_always(&set, kind, &body), expected, "{kind} {body}");
    }
}

#[test]
fn w48_so_many_are_named_and_of_more_it_is_said() {
    let own = (0..20)
        .map(|n| {
            (
                format!("K{n:02}").parse().unwrap(),
                format!("stand-in-{n:02}"),
            )
        })
        .collect();
    let set = RuleSet::compile(Vec::new(), UnmatchedPolicy::Passthrough, &own);
    for count in [MAX_LEFTOVERS, MAX_LEFTOVERS + 1, 20] {
        let body: String = (0..count).map(|n| format!(" stand-in-{n:02}")).collect();
        let told = found_always(&set, TEXT, &body);
        assert_eq!(told.matches("Quoted").count(), MAX_LEFTOVERS);
        assert_eq!(told.ends_with("more,"), count > MAX_LEFTOVERS);
        let head = set.leftovers_in_head(&format!("/{}", body.trim()), &HeaderMap::new());
        assert_eq!(head.iter().count(), MAX_LEFTOVERS);
        assert_eq!(head.has_more(), count > MAX_LEFTOVERS);
    }
}

#[test]
fn w48_each_message_is_looked_at_for_itself() {
    let set = vault();
    let mut watch = set.watch(None).unwrap();
    let mut all = Leftovers::default();
    for (message, expected) in [
        (r#"{"role":"user","content":"__bot__"}"#, "BOT Quoted,"),
        ("__bo", "BOT Quoted,"),
        ("t__", "BOT Quoted,"),
        (r#"{"key":"__bot__"}"#, "BOT Sent,"),
        ("say __bot__", "BOT Sent,"),
    ] {
        for piece in message.as_bytes().chunks(3) {
            watch.feed(piece, false);
        }
        watch.feed(b"", true);
        all.merge(&watch.leftovers());
        assert_eq!(told(&all), expected, "{message}");
        watch.restart();
    }
    assert!(rules(Vec::new()).watch(None).is_none());
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

/// The placeholders in the strings of a value, and whether each is ever the whole of one.
fn strings(value: &Value, found: &mut BTreeMap<&'static str, bool>) {
    match value {
        Value::String(text) => {
            for (placeholder, key) in [
                ("__bot__x", "LONG"),
                ("ghp_0000000000aaaa", "OWN"),
                ("__bot__", "BOT"),
            ] {
                if text.contains(placeholder) {
                    *found.entry(key).or_default() |= text == placeholder;
                    break;
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| strings(item, found)),
        Value::Object(members) => members.values().for_each(|member| strings(member, found)),
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

    /// In valid JSON, however it is written and cut, everything is found, and as a value exactly where a parser finds a string that is
    /// the placeholder.
    #[test]
    fn w48_json_is_judged_as_a_parser_judges(
        value in any_json(),
        pretty in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let body = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        let mut expected = BTreeMap::new();
        strings(&value, &mut expected);
        let expected: BTreeMap<String, bool> = expected.into_iter().map(|(key, whole)| (key.to_owned(), whole)).collect();
        let set = vault();
        let told = found(&set, JSON, cut(&body, &cuts));
        let told: BTreeMap<String, bool> = told
            .split_terminator(',')
            .map(|one| one.split_once(' ').unwrap())
            .map(|(key, standing)| (key.to_owned(), standing == "Sent"))
            .collect();
        prop_assert_eq!(told, expected);
    }

    /// However a body is cut, the answer is the same, for bodies that are not well-formed too.
    #[test]
    fn w48_cuts_do_not_matter(
        kind in prop::sample::select(vec![JSON, FORM, TEXT, PARTS, GRPC]),
        pieces in prop::collection::vec(prop::sample::select(vec![
            "__bot__", "__bot__", "__bot__x", "__bo", "bot__", "a~b~c~b~c", "work-account", "\"", "\\", ":", "=", "&", "{", " ", "key",
            "\r\n", "\r\n\r\n", "--=b=", "\"role\"", "\"call_id\"", "_call_output\"", "\x07", "<", ">",
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
