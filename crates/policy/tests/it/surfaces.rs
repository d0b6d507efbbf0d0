//! Where values are put, and how they are written there.

use agent_vault_policy::{RequestTarget, Rule, SubstitutionError, Values};
use std::sync::Arc;

use crate::support::{Vault, headers, rules, service, substituting};

fn rule(json: &str) -> Arc<Rule> {
    Arc::clone(&rules(vec![service(json)]).services()[0])
}

fn substitution(surfaces: &str) -> Arc<Rule> {
    Arc::clone(&rules(vec![substituting(surfaces)]).services()[0])
}

fn injected(auth: &str, values: &dyn Values) -> Result<Vec<(String, String)>, SubstitutionError> {
    let rule = rule(&format!(
        r#"{{"name":"one","host":"api.x.com","auth":{auth}}}"#
    ));
    let fields = rule.auth_headers(values)?;
    for (name, value) in &fields {
        assert!(value.is_sensitive());
        assert!(rule.injects_header(name));
    }
    assert_eq!(
        rule.injected_headers(),
        fields
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    );
    Ok(fields
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect())
}

#[test]
fn auth_types() {
    let values = Vault::of(&[("A", b"alpha"), ("B", b"beta:x")]);
    for (auth, expected) in [
        (
            r#"{"type":"bearer","token":"A"}"#,
            vec![("authorization", "Bearer alpha")],
        ),
        (
            r#"{"type":"basic","username":"A","password":"B"}"#,
            vec![("authorization", "Basic YWxwaGE6YmV0YTp4")],
        ),
        (
            r#"{"type":"basic","username":"A"}"#,
            vec![("authorization", "Basic YWxwaGE6")],
        ),
        (
            r#"{"type":"api-key","key":"A"}"#,
            vec![("authorization", "alpha")],
        ),
        (
            r#"{"type":"api-key","key":"A","header":"X-Api-Key","prefix":"Bot "}"#,
            vec![("x-api-key", "Bot alpha")],
        ),
        (
            r#"{"type":"custom","headers":{"Authorization":"Token token={{ A }}","X-Both":"{{A}}/{{ B }}","X-Literal":"yes"}}"#,
            vec![
                ("authorization", "Token token=alpha"),
                ("x-both", "alpha/beta:x"),
                ("x-literal", "yes"),
            ],
        ),
        (r#"{"type":"passthrough"}"#, vec![]),
    ] {
        let expected: Vec<(String, String)> = expected
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(injected(auth, &values).unwrap(), expected, "{auth}");
    }
}

#[test]
fn c19_values_that_no_header_carries_are_named() {
    for value in [b"alpha\n".as_slice(), b"a\r\nX: y", b"a\0", b"\x01"] {
        let values = Vault::of(&[("A", value)]);
        for auth in [
            r#"{"type":"bearer","token":"A"}"#,
            r#"{"type":"api-key","key":"A","header":"X-Key"}"#,
            r#"{"type":"custom","headers":{"X-Key":"{{ A }}"}}"#,
        ] {
            let error = injected(auth, &values).unwrap_err();
            assert_eq!(error.code(), "substitution_error");
            assert!(error.to_string().contains("`A`"), "{error}");
            assert!(!error.to_string().contains("alpha"));
        }
        // Inside base64 every value is safe.
        assert!(injected(r#"{"type":"basic","username":"A"}"#, &values).is_ok());
    }
}

#[test]
fn missing_credentials_are_named() {
    let error = injected(r#"{"type":"bearer","token":"A"}"#, &Vault::default()).unwrap_err();
    assert_eq!(error.code(), "credential_not_found");
    assert!(error.hint().contains("credential set A"));
    let target = RequestTarget::parse("/__a__").unwrap();
    let rule = substitution(r#""path","query","header","body""#);
    assert_eq!(
        rule.rewrite_target(&target, &Vault::default())
            .unwrap_err()
            .code(),
        "credential_not_found"
    );
    assert!(
        rule.rewrite_body(None, b"__a__", &Vault::default())
            .is_err()
    );
    assert!(
        rule.rewrite_headers(&mut headers(&[("x", "__a__")]), &Vault::default())
            .is_err()
    );
}

#[test]
fn path_and_query() {
    let values = Vault::of(&[("A", b"a/b c"), ("B", b"1:2")]);
    let both = substitution(r#""path","query""#);
    for (target, expected) in [
        ("/x/__a__", Some("/x/a%2Fb%20c")),
        ("/x?k=__a__", Some("/x?k=a%2Fb+c")),
        (
            "/__a__?__a__=__b__&__b__",
            Some("/a%2Fb%20c?a%2Fb+c=1%3A2&1%3A2"),
        ),
        ("/bot__b__/getMe", Some("/bot1:2/getMe")),
        ("/x/../__b__?", Some("/x/../1:2?")),
        ("/__A__/__a_/_a__", None),
        ("/x?y=%5F_a__", None),
    ] {
        let rewritten = both
            .rewrite_target(&RequestTarget::parse(target).unwrap(), &values)
            .unwrap();
        assert_eq!(rewritten.as_deref(), expected, "{target}");
    }
    let target = RequestTarget::parse("/__a__?__a__").unwrap();
    let path = substitution(r#""path""#);
    assert_eq!(
        path.rewrite_target(&target, &values).unwrap().unwrap(),
        "/a%2Fb%20c?__a__"
    );
    let query = substitution(r#""query""#);
    assert_eq!(
        query.rewrite_target(&target, &values).unwrap().unwrap(),
        "/__a__?a%2Fb+c"
    );
    let body = substitution(r#""body""#);
    assert_eq!(body.rewrite_target(&target, &values).unwrap(), None);
}

#[test]
fn a_value_cannot_change_the_path_that_was_matched() {
    let path = substitution(r#""path""#);
    let target = RequestTarget::parse("/x/__a__/y").unwrap();
    for value in [b"".as_slice(), b".", b".."] {
        assert!(matches!(
            path.rewrite_target(&target, &Vault::of(&[("A", value)])),
            Err(SubstitutionError::UnsafePath { .. })
        ));
    }
    let inside_escape = RequestTarget::parse("/%__a__").unwrap();
    assert_eq!(
        path.rewrite_target(&inside_escape, &Vault::of(&[("A", b"xy")])),
        Err(SubstitutionError::PathEscape)
    );
}

#[test]
fn header_values() {
    let values = Vault::of(&[("A", b"alpha"), ("B", b"b\nc")]);
    let rule = substitution(r#""header""#);
    let mut map = headers(&[
        ("x-one", "__a__ and __a__"),
        ("x-two", "untouched"),
        ("x-two", "=__a__"),
        ("host", "__a__"),
        // "git:__a__" and "__b__:x"
        ("authorization", "Basic Z2l0Ol9fYV9f"),
        ("x-other", "basic X19iX186eA"),
        ("x-odd", "Basic __a__"),
    ]);
    assert!(rule.rewrite_headers(&mut map, &values).unwrap());
    let get = |name: &str| {
        map.get_all(name)
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(get("x-one"), ["alpha and alpha"]);
    assert_eq!(get("x-two"), ["untouched", "=alpha"]);
    assert_eq!(get("host"), ["__a__"]);
    assert_eq!(get("authorization"), ["Basic Z2l0OmFscGhh"]);
    assert_eq!(get("x-other"), ["Basic YgpjOng="]);
    assert_eq!(get("x-odd"), ["Basic alpha"]);
    assert!(map["x-one"].is_sensitive());
    assert!(!map["x-two"].is_sensitive());

    let mut unsafe_value = headers(&[("x", "__b__")]);
    let error = rule
        .rewrite_headers(&mut unsafe_value, &values)
        .unwrap_err();
    assert!(
        error.to_string().contains("`B`") && error.to_string().contains("`x`"),
        "{error}"
    );
    // A value that does not occur hurts nobody, and undeclared placeholders go through.
    let mut quoted = headers(&[("x", "__other__")]);
    assert!(!rule.rewrite_headers(&mut quoted, &values).unwrap());
}

#[test]
fn s10_a_substitution_may_name_its_headers() {
    let rule = rule(
        r#"{"name":"one","host":"api.x.com","auth":{"type":"api-key","key":"A","header":"X-Injected"},"substitutions":[
            {"key":"A","placeholder":"__a__","in":["header"],"headers":["X-Key"]},
            {"key":"B","placeholder":"__a__.any","in":["header"]}]}"#,
    );
    let values = Vault::of(&[("A", b"alpha"), ("B", b"beta")]);
    let mut map = headers(&[
        ("x-key", "__a__"),
        ("x-other", "__a__"),
        ("x-third", "__a__.any"),
        ("x-injected", "__a__.any"),
        ("X-KEY", "__a__.any"),
    ]);
    assert!(rule.rewrite_headers(&mut map, &values).unwrap());
    let get = |name: &str| {
        map.get_all(name)
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(get("x-key"), ["alpha", "beta"]);
    assert_eq!(get("x-other"), ["__a__"]);
    assert_eq!(get("x-third"), ["beta"]);
    assert_eq!(get("x-injected"), ["__a__.any"]);
}

fn body(content_type: Option<&str>, text: &str) -> Option<String> {
    let rule = substitution(r#""body""#);
    let values = Vault::of(&[("A", b"q\"<&\\ /\n"), ("B", b"plain")]);
    let out = rule
        .rewrite_body(content_type, text.as_bytes(), &values)
        .unwrap();
    out.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn body_encodings() {
    let json = Some(r#"{"k":"q\"\u003c\u0026\\ /\n","n":"plain"}"#.to_owned());
    let text = r#"{"k":"__a__","n":"__b__"}"#;
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.api+json",
        "application/x-ndjson",
    ] {
        assert_eq!(body(Some(kind), text), json, "{kind}");
    }
    assert_eq!(
        body(Some("application/x-www-form-urlencoded"), "k=__a__&__b__"),
        Some("k=q%22%3C%26%5C+%2F%0A&plain".to_owned())
    );
    for kind in [
        Some("text/plain"),
        Some("application/xml"),
        Some("nonsense"),
        None,
    ] {
        assert_eq!(body(kind, "__a__"), Some("q\"<&\\ /\n".to_owned()));
    }
    for kind in [
        "application/grpc",
        "application/grpc+json",
        "application/connect+json",
        "multipart/form-data",
    ] {
        assert_eq!(body(Some(kind), "__a__"), None);
    }
    assert_eq!(
        body(Some("application/json"), "{\"quoted\":\"__undeclared__\"}"),
        None
    );
}

#[test]
fn bodies_that_cannot_be_looked_into_are_not_read() {
    let rule = substitution(r#""body""#);
    for (kind, coding, obstacle) in [
        (Some("application/json"), None, false),
        (Some("application/json"), Some("identity"), false),
        (Some("application/json"), Some("gzip"), true),
        (Some("application/json"), Some("identity, br"), true),
        (Some("application/grpc"), None, true),
        (Some("multipart/form-data; boundary=x"), None, false),
        (Some("multipart/form-data"), None, true),
        (None, None, false),
    ] {
        assert_eq!(
            rule.body_obstacle(kind, coding).is_some(),
            obstacle,
            "{kind:?} {coding:?}"
        );
        assert_eq!(rule.needs_body_of(kind, coding), !obstacle);
    }
    let other = substitution(r#""path""#);
    assert!(
        !other.needs_body()
            && !other.needs_body_of(None, None)
            && other.body_obstacle(None, Some("gzip")).is_none()
    );
}

#[test]
fn multipart_text_parts() {
    let input = "preamble __a__\r\n--XX  \r\nContent-Disposition: form-data; name=\"__b__\"\r\n\r\n__b__\r\n\
        --XX\r\ncontent-disposition: form-data; name=j\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"a\":\"__a__\"}\r\n\
        --XX\r\n\r\nbare __b__\r\n\
        --XX\r\nContent-Disposition: form-data; name=f; filename=\"__b__.txt\"\r\nContent-Type: text/plain\r\n\r\n__b__\r\n\
        --XX\r\nContent-Disposition: form-data; name=f; filename*=UTF-8''x\r\n\r\n__b__\r\n\
        --XX\r\nContent-Type: image/png\r\n\r\n__b__\r\n\
        --XX\r\nContent-Transfer-Encoding: base64\r\n\r\n__b__\r\n\
        --XX\r\nContent-Transfer-Encoding: 8bit\r\n\r\n__b__--XX\r\n\
        --XX--\r\nepilogue __b__\r\n--XX\r\n\r\n__b__\r\n--XX--";
    let expected = input
        .replacen("\r\n\r\n__b__\r\n", "\r\n\r\nplain\r\n", 1)
        .replacen(
            "Content-Length: 13\r\n\r\n{\"a\":\"__a__\"}",
            "Content-Length: 29\r\n\r\n{\"a\":\"q\\\"\\u003c\\u0026\\\\ /\\n\"}",
            1,
        )
        .replacen("bare __b__", "bare plain", 1)
        .replacen("8bit\r\n\r\n__b__", "8bit\r\n\r\nplain", 1);
    assert_eq!(
        body(Some("multipart/form-data; boundary=XX"), input).unwrap(),
        expected
    );
    assert_eq!(
        body(Some("multipart/mixed; boundary=\"XX\""), &input[16..]).unwrap(),
        expected[16..]
    );
    for broken in [
        "",
        "--XX",
        "--XX\r\n",
        "--XX\r\nA: b\r\n\r\n__b__",
        "--XX\r\nno colon\r\n\r\n__b__\r\n--XX--",
        "--XX--\r\n__b__",
        "--XXY\r\n\r\n__b__\r\n--XX--",
    ] {
        assert_eq!(
            body(Some("multipart/form-data; boundary=XX"), broken),
            None,
            "{broken:?}"
        );
    }
}

#[test]
fn a_value_cannot_open_another_part() {
    let rule = substitution(r#""body""#);
    let input = b"--XX\r\n\r\n__a__\r\n--XX--";
    for value in [b"x\r\n--XX\r\n\r\ninjected".as_slice(), b"--XX"] {
        let values = Vault::of(&[("A", value)]);
        assert_eq!(
            rule.rewrite_body(Some("multipart/form-data; boundary=XX"), input, &values),
            Err(SubstitutionError::Boundary)
        );
    }
    // Split between what the client sent and the value.
    let values = Vault::of(&[("A", b"X--")]);
    let split = b"--XX\r\n\r\nfoo --X__a__\r\n--XX--";
    assert_eq!(
        rule.rewrite_body(Some("multipart/form-data; boundary=XX"), split, &values),
        Err(SubstitutionError::Boundary)
    );
}

#[test]
fn growth_is_bounded() {
    let rule = substitution(r#""body""#);
    let value = vec![b'x'; 1024 * 1024];
    let values = Vault::of(&[("A", &value)]);
    let few = b"__a__".repeat(3);
    assert_eq!(
        rule.rewrite_body(None, &few, &values)
            .unwrap()
            .unwrap()
            .len(),
        3 * 1024 * 1024
    );
    let many = b"__a__".repeat(200);
    assert_eq!(
        rule.rewrite_body(None, &many, &values),
        Err(SubstitutionError::TooLarge)
    );
}

#[test]
fn longer_placeholders_win_over_their_beginnings() {
    let rule = rule(
        r#"{"name":"one","host":"api.x.com","auth":{"type":"passthrough"},"substitutions":[
            {"key":"A","placeholder":"__tok","in":["body","path"]},{"key":"B","placeholder":"__tok_long","in":["body"]}]}"#,
    );
    let values = Vault::of(&[("A", b"[A]"), ("B", b"[B]")]);
    let out = rule
        .rewrite_body(None, b"__tok __tok_long __tok_lon", &values)
        .unwrap()
        .unwrap();
    assert_eq!(out.as_slice(), b"[A] [B] [A]_lon");
    assert_eq!(rule.keys().len(), 2);
}
