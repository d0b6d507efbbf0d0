//! WebSocket text, fragment by fragment.

use agent_vault_policy::{Fed, SubstitutionError, WebsocketRewriter};

use crate::support::{Vault, rules, service, substituting};

fn rewriter() -> WebsocketRewriter {
    let set = rules(vec![substituting(r#""websocket""#)]);
    assert!(set.services()[0].needs_websocket());
    set.services()[0]
        .websocket_rewriter(&Vault::of(&[("A", b"q\"\\x"), ("B", b"beta")]))
        .unwrap()
        .unwrap()
}

fn text(fed: &Fed<'_>) -> String {
    String::from_utf8(fed.to_vec()).unwrap()
}

#[test]
fn whole_messages() {
    let mut rewriter = rewriter();
    for (message, expected) in [
        ("plain", "plain"),
        ("say __a__", "say q\"\\x"),
        (r#"{"token":"__a__"}"#, r#"{"token":"q\"\\x"}"#),
        ("  [\"__a__\"]", "  [\"q\\\"\\\\x\"]"),
        ("\"__a__\"", "\"q\\\"\\\\x\""),
        ("__a__ {", "q\"\\x {"),
        ("", ""),
        ("__A__ __undeclared__", "__A__ __undeclared__"),
    ] {
        assert_eq!(
            text(&rewriter.feed(message.as_bytes(), true)),
            expected,
            "{message}"
        );
    }
}

#[test]
fn nothing_to_replace_is_the_same_bytes() {
    let mut rewriter = rewriter();
    let message = b"{\"a\":1}";
    assert!(matches!(rewriter.feed(message, true), Fed::Same(same) if std::ptr::eq(same, message)));
}

#[test]
fn c11_c20_a_placeholder_across_fragments_is_found() {
    let mut rewriter = rewriter();
    let fragments = ["  ", "{\"t\":\"_", "_a", "__\",\"u\":\"__b", "__\"}"];
    let mut out = String::new();
    for (index, fragment) in fragments.iter().enumerate() {
        out.push_str(&text(
            &rewriter.feed(fragment.as_bytes(), index + 1 == fragments.len()),
        ));
    }
    assert_eq!(out, r#"  {"t":"q\"\\x","u":"beta"}"#);
    // The next message is judged anew.
    assert_eq!(text(&rewriter.feed(b"__a__", true)), "q\"\\x");
}

#[test]
fn what_only_looks_like_a_start_is_released() {
    let mut rewriter = rewriter();
    assert_eq!(text(&rewriter.feed(b"end __", false)), "end ");
    assert_eq!(rewriter.held(), 2);
    assert_eq!(text(&rewriter.feed(b"z", false)), "__z");
    assert_eq!(text(&rewriter.feed(b"__a_", true)), "__a_");
    assert_eq!(rewriter.held(), 0);
}

#[test]
fn a_longer_placeholder_is_waited_for() {
    let set = rules(vec![service(
        r#"{"name":"one","host":"api.x.com","auth":{"type":"passthrough"},"substitutions":[
            {"key":"A","placeholder":"__tok","in":["websocket"]},{"key":"B","placeholder":"__tok_long","in":["websocket"]}]}"#,
    )]);
    let values = Vault::of(&[("A", b"[A]"), ("B", b"[B]")]);
    let mut rewriter = set.services()[0]
        .websocket_rewriter(&values)
        .unwrap()
        .unwrap();
    assert_eq!(text(&rewriter.feed(b"x__tok", false)), "x");
    assert_eq!(text(&rewriter.feed(b"_long y__tok_l", false)), "[B] y");
    assert_eq!(text(&rewriter.feed(b"z", true)), "[A]_lz");
}

#[test]
fn values_must_be_text() {
    let set = rules(vec![substituting(r#""websocket""#)]);
    let rule = &set.services()[0];
    let error = rule
        .websocket_rewriter(&Vault::of(&[("A", b"\xff"), ("B", b"")]))
        .unwrap_err();
    assert!(matches!(error, SubstitutionError::NotText { .. }));
    assert!(matches!(
        rule.websocket_rewriter(&Vault::default()),
        Err(SubstitutionError::MissingCredential { .. })
    ));
    let other = rules(vec![substituting(r#""path""#)]);
    assert!(!other.services()[0].needs_websocket());
    assert!(
        other.services()[0]
            .websocket_rewriter(&Vault::default())
            .unwrap()
            .is_none()
    );
}
