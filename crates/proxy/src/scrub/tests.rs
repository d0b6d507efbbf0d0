use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::tokio::write::{
    BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::decode::{DecodeError, Decoder, FREE_EXPANSION_BYTES};
use super::encoding::Coding;
use super::*;

const TOKEN: &str = "sk-proj-3f9A_x7Qz0Kd";
const TOKEN_NAME: &str = "0a1b2c3d4e5f";
const ODD: &str = "p/w\"rd <&+é~'x\\";

fn secrets<'v>(values: &[&'v [u8]]) -> Vec<Secret<'v>> {
    values
        .iter()
        .map(|value| Secret {
            value,
            label: Label::new(None, "KEY"),
        })
        .collect()
}

fn scrubber(values: &[&str]) -> Arc<Scrubber> {
    let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
    Scrubber::new(&secrets(&values)).unwrap().unwrap()
}

fn replaced(values: &[&str], text: &str, fit: Fit) -> String {
    let replaced = scrubber(values).search().replace(text.as_bytes(), fit);
    replaced.map_or_else(|| text.to_owned(), |m| String::from_utf8(m).unwrap())
}

fn same(values: &[&str], text: &str) -> String {
    let out = replaced(values, text, Fit::Same);
    assert_eq!(out.len(), text.len(), "{text} -> {out}");
    out
}

fn free(values: &[&str], text: &str) -> String {
    replaced(values, text, Fit::Free)
}

fn run(scrubber: &Arc<Scrubber>, fit: Fit, chunks: &[&[u8]]) -> Vec<u8> {
    let mut stream = scrubber.search().stream(fit);
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
    }
    out.extend_from_slice(&stream.finish());
    out
}

/// Without the text around the first find.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    text.strip_prefix(before)
        .and_then(|text| text.strip_suffix(after))
        .unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn short_values_are_left_alone() {
    let none = |values: &[&[u8]]| Scrubber::new(&secrets(values)).unwrap().is_none();
    assert!(none(&[b"1234567", b""]));
    assert!(none(&[]));
    assert_eq!(free(&["12345678"], "id 12345678!"), "id [redacted:KEY]!");
}

#[test]
fn labels() {
    let label = |placeholder, key| Label::new(placeholder, key).as_str().to_owned();
    assert_eq!(label(Some("__key__"), "KEY"), "__key__");
    assert_eq!(label(None, "KEY"), "[redacted:KEY]");
    // Nothing that would need escaping somewhere.
    assert_eq!(label(Some("a\"b"), "KEY"), "[redacted:KEY]");
    assert_eq!(label(Some("a%b"), "K Y"), "[redacted]");
    assert_eq!(label(Some(&"x".repeat(999)), "KEY").len(), 256);
    // A key may be called like its value; the label does not say so.
    let secret = Secret {
        value: b"HUNTER22",
        label: Label::new(None, "MY_HUNTER22"),
    };
    let search = Scrubber::new(&[secret]).unwrap().unwrap().search();
    assert_eq!(
        search.replace(b"x HUNTER22", Fit::Free).unwrap(),
        b"x [redacted]"
    );
    assert_eq!(free(&["redacted"], "x redacted"), "x ********");
    // Too short for its label, and long enough.
    assert_eq!(same(&["abcdefgh"], "<abcdefgh>"), "<[redacte>");
    assert_eq!(
        same(&[TOKEN], &format!("<{TOKEN}>")),
        "<[redacted:KEY]******>"
    );
}

#[test]
fn what_was_found_is_counted() {
    let search = scrubber(&[TOKEN]).search();
    let _ = search.replace(format!("{TOKEN}{TOKEN}").as_bytes(), Fit::Free);
    let mut headers = HeaderMap::new();
    headers.insert("x-echo", HeaderValue::from_static(TOKEN));
    search.clone().scrub_headers(&mut headers);
    let mut stream = search.stream(Fit::Same);
    stream.push(format!("{TOKEN} and sk-proj-3f9A").into());
    stream.release();
    stream.push("_x7Qz0Kd".into());
    stream.finish();
    assert_eq!(search.found(), 5);
}

#[test]
fn every_form_of_a_value_is_replaced_as_it_is_written() {
    let forms = [
        ODD.to_owned(),
        serde_json::to_string(ODD)
            .unwrap()
            .trim_matches('"')
            .to_owned(),
        // PHP, Python, Go, System.Text.Json.
        r#"p\/w\"rd <&+\u00e9~'x\\"#.to_owned(),
        r#"p/w\"rd <&+\u00e9~'x\\"#.to_owned(),
        r#"p/w\"rd \u003c\u0026+é~'x\\"#.to_owned(),
        r"p/w\u0022rd \u003C\u0026\u002B\u00E9~\u0027x\\".to_owned(),
        // JSON within a JSON string.
        r#"p/w\\\"rd <&+é~'x\\\\"#.to_owned(),
        // HTML.
        "p/w&quot;rd &lt;&amp;+é~&#39;x\\".to_owned(),
        "p/w&#34;rd &lt;&amp;+é~&#39;x\\".to_owned(),
        // Path segment, form, encodeURIComponent; both cases of digits.
        "p%2Fw%22rd%20%3C%26%2B%C3%A9~%27x%5C".to_owned(),
        "p%2fw%22rd%20%3c%26%2b%c3%a9~%27x%5c".to_owned(),
        "p%2Fw%22rd+%3C%26%2B%C3%A9~%27x%5C".to_owned(),
        "p%2Fw%22rd+%3C%26%2B%C3%A9%7E%27x%5C".to_owned(),
        "p%2Fw%22rd%20%3C%26%2B%C3%A9~'x%5C".to_owned(),
        "p/w%22rd%20%3C%26%2B%C3%A9~%27x%5C".to_owned(),
        hex::lower(ODD),
        hex::lower(ODD).to_uppercase(),
        STANDARD.encode(ODD).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(ODD),
        STANDARD
            .encode(ODD)
            .trim_end_matches('=')
            .replace('+', "%2B")
            .replace('/', "%2F"),
    ];
    for form in forms {
        let text = format!("<<{form}>>");
        let out = free(&[ODD], &text);
        let label = between(&out, "<<", ">>");
        // The label in the same spelling.
        let expected = if form.contains('%') && !form.contains(' ') && form.contains("w%22") {
            "%5Bredacted%3AKEY%5D".to_owned()
        } else if form.starts_with("702f") {
            hex::lower("[redacted:KEY]")
        } else if form.starts_with("702F") {
            hex::lower("[redacted:KEY]").to_uppercase()
        } else if form.starts_with("cC93") {
            STANDARD
                .encode(&"[redacted:KEY]*****"[..ODD.len()])
                .trim_end_matches('=')
                .to_owned()
        } else {
            "[redacted:KEY]".to_owned()
        };
        assert_eq!(label, expected, "{form}");
        // Or in just as many bytes.
        let out = same(&[ODD], &text);
        let label = between(&out, "<<", ">>");
        assert_ne!(label, form);
        if !form.starts_with("702") && !form.starts_with("cC9") {
            let filled = format!("[redacted:KEY]{}", "*".repeat(99));
            assert_eq!(label, &filled[..form.len()], "{form}");
        }
    }
}

#[test]
fn the_text_around_a_find_still_decodes() {
    let json = serde_json::json!({"a": ODD, "b": [format!("x{ODD}y")]}).to_string();
    for out in [free(&[ODD], &json), same(&[ODD], &json)] {
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(value["a"].as_str().unwrap().starts_with("[redacted:KEY"));
    }
    // PHP and others.
    for text in [
        r#"{"a":"p\/w\"rd <&+\u00e9~'x\\"}"#,
        r#"{"a":"p\u002fw\u0022rd \u003c\u0026+é~'x\\"}"#,
        r#"{"a":"p\u002Fw\u0022rd\u0020\u003C\u0026\u002B\u00E9\u007E\u0027x\u005C"}"#,
    ] {
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
            assert_eq!(value["a"], ODD, "{text}");
        }
    }
    let hex = format!("00{}ff", hex::lower(TOKEN));
    for out in [free(&[TOKEN], &hex), same(&[TOKEN], &hex)] {
        let digits = between(&out, "00", "ff");
        assert!(digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}

mod hex {
    pub(super) fn lower(text: &str) -> String {
        use std::fmt::Write as _;
        text.bytes().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }
}

#[test]
fn base64_is_found_at_every_alignment_and_still_decodes() {
    for before in 0..7 {
        for after in 0..4 {
            let plain = format!("{}{TOKEN}{}", "b".repeat(before), "a".repeat(after));
            for fit in [Fit::Free, Fit::Same] {
                let encoded = STANDARD.encode(&plain);
                let out = replaced(&[TOKEN], &encoded, fit);
                assert_eq!(out.len(), encoded.len());
                let decoded = STANDARD.decode(&out).unwrap();
                // The first and last byte may share a digit with their neighbours.
                let label = b"[redacted:KEY]******";
                assert_eq!(
                    &decoded[before + 1..before + TOKEN.len() - 1],
                    &label[1..TOKEN.len() - 1],
                    "{before} {after} {decoded:?}"
                );
                assert_eq!(&decoded[..before], &plain.as_bytes()[..before]);
                assert_eq!(
                    &decoded[before + TOKEN.len()..],
                    &plain.as_bytes()[before + TOKEN.len()..]
                );
            }
        }
    }
}

#[test]
fn a_basic_pair_is_found_as_sent_and_as_read() {
    let pair = "me:pw123";
    let header = format!("Basic {}", STANDARD.encode(pair));
    assert_eq!(
        free(&["pw123", pair], &header),
        format!("Basic {}", STANDARD.encode("[redacte"))
    );
    assert_eq!(free(&["pw123", pair], "me:pw123"), "[redacted:KEY]");
}

#[test]
fn finds_that_overlap_are_replaced_together() {
    assert_eq!(
        free(&["abcdefgh", "efghijkl"], "-abcdefghijkl-"),
        "-[redacted:KEY]-"
    );
    assert_eq!(
        same(&["abcdefgh", "efghijkl"], "-abcdefghijkl-"),
        "-[redacteacte-"
    );
    assert_eq!(free(&["aaaaaaaa"], "aaaaaaaaaaab"), "[redacted:KEY]b");
    // One beside another are two.
    assert_eq!(
        free(&["abcdefgh"], "abcdefghabcdefgh"),
        "[redacted:KEY][redacted:KEY]"
    );
    // One value within another, one the beginning of another.
    assert_eq!(
        free(&["a-secret", "my-a-secret-x"], "my-a-secret-x a-secret"),
        "[redacted:KEY] [redacted:KEY]"
    );
    assert_eq!(
        free(&["a-secret", "a-secret-x"], "a-secret-y a-secret-x"),
        "[redacted:KEY]-y [redacted:KEY]"
    );
}

#[test]
fn headers_and_location_are_replaced() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "location",
        HeaderValue::from_str(&format!("/x?key={TOKEN}&y")).unwrap(),
    );
    let mut sensitive = HeaderValue::from_str(TOKEN).unwrap();
    sensitive.set_sensitive(true);
    headers.append("x-echo", HeaderValue::from_static("plain"));
    headers.append("x-echo", sensitive);
    headers.insert(TOKEN_NAME, HeaderValue::from_static("1"));
    let search = scrubber(&[TOKEN, TOKEN_NAME]).search();
    search.scrub_headers(&mut headers);
    assert!(!headers.contains_key(TOKEN_NAME));
    assert_eq!(headers["location"], "/x?key=[redacted:KEY]&y");
    let echoes: Vec<_> = headers.get_all("x-echo").iter().collect();
    assert_eq!(echoes[0], "plain");
    assert_eq!(echoes[1], "[redacted:KEY]");
    assert!(echoes[1].is_sensitive());
}

#[test]
fn a_clean_chunk_is_passed_without_a_copy_and_at_once() {
    let mut stream = scrubber(&[TOKEN]).search().stream(Fit::Free);
    let event = Bytes::from_static(b"data: {\"n\":1}\n\n");
    for _ in 0..3 {
        let out = stream.push(event.clone());
        assert_eq!(out, event);
        assert_eq!(out.as_ptr(), event.as_ptr());
        assert_eq!(stream.release_after(), None);
    }
}

#[test]
fn only_the_beginning_of_a_value_is_held_back() {
    let mut stream = scrubber(&[TOKEN]).search().stream(Fit::Free);
    assert_eq!(stream.push("hello sk-".into()), "hello ");
    assert_eq!(
        (stream.held(), stream.release_after()),
        (3, Some(SHORT_HOLD))
    );
    assert_eq!(stream.push("proj-".into()), "");
    assert_eq!(stream.release_after(), Some(LONG_HOLD));
    assert_eq!(stream.push("ect s".into()), "sk-proj-ect ");
    assert_eq!(stream.finish(), "s");
    // Half of a short value tells enough.
    let mut stream = scrubber(&["hunter22"]).search().stream(Fit::Free);
    assert_eq!(stream.push("a hun".into()), "a ");
    assert_eq!(stream.release_after(), Some(SHORT_HOLD));
    assert_eq!(stream.push("t".into()), "");
    assert_eq!(stream.release_after(), Some(LONG_HOLD));
    assert_eq!(stream.release(), "[redacted:KEY]");
}

#[test]
fn a_pause_lets_go_without_losing_track() {
    for (fit, begun, rest) in [
        (Fit::Same, "dacted:K", "EY]******!"),
        (Fit::Free, "[redacted:KEY]", "!"),
    ] {
        let mut stream = scrubber(&[TOKEN]).search().stream(fit);
        assert_eq!(stream.push("x sk-".into()), "x ");
        assert_eq!(stream.release(), "sk-");
        assert_eq!(stream.release(), "");
        assert_eq!(stream.push("proj-3f9".into()), "");
        assert_eq!(stream.release(), begun);
        assert_eq!(stream.push("A_x7Qz0Kd!".into()), rest);
        assert_eq!(stream.finish(), "");
    }
}

#[test]
fn an_echo_that_breaks_off_is_replaced_from_half_the_value_on() {
    let scrubber = scrubber(&[TOKEN]);
    let free = |text: &str| run(&scrubber, Fit::Free, &[text.as_bytes()]);
    assert_eq!(free("no sk-proj-"), b"no sk-proj-");
    assert_eq!(free("no sk-proj-3f9A_"), b"no [redacted:KEY]");
    let search = scrubber.search();
    assert_eq!(
        search.replace(b"no sk-proj-3f9A_", Fit::Same).unwrap(),
        b"no [redacted:KEY"
    );
}

#[test]
fn a_long_value_is_found_piece_by_piece() {
    let long: String = (0..MAX_PIECE_BYTES / 4 + 3)
        .map(|n| format!("{n:06}"))
        .collect();
    assert_eq!(
        free(&[&long], &format!("({long})")),
        "([redacted:KEY][redacted:KEY])"
    );
}

fn small_values() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab\"/]{8,11}|[a-c]{8,14}", 1..4)
}

fn cut<'t>(text: &'t [u8], cuts: &[usize]) -> Vec<&'t [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|c| c % (text.len() + 1)).collect();
    at.sort_unstable();
    let mut chunks = Vec::new();
    let mut from = 0;
    for to in at {
        chunks.push(&text[from..to]);
        from = to;
    }
    chunks.push(&text[from..]);
    chunks
}

proptest! {
    /// However the input is cut, the same comes out, as long as the input, and every raw occurrence is gone.
    #[test]
    fn chunks_do_not_matter(
        values in small_values(),
        filler in prop::collection::vec("[abc\"/% x]{0,8}", 1..8),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 8),
        cuts in prop::collection::vec(any::<usize>(), 0..24),
    ) {
        let mut text = String::new();
        for (filler, pick) in filler.iter().zip(&picks) {
            text.push_str(filler);
            let value = pick.get(&values);
            match text.len() % 4 {
                0 => text.push_str(value),
                1 => text.push_str(serde_json::to_string(value).unwrap().as_str()),
                2 => text.push_str(&STANDARD.encode(value)),
                _ => text.push_str(&hex::lower(value)),
            }
        }
        let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
        let scrubber = Scrubber::new(&secrets(&values)).unwrap().unwrap();
        for fit in [Fit::Free, Fit::Same] {
            let whole = run(&scrubber, fit, &[text.as_bytes()]);
            if fit == Fit::Same {
                prop_assert_eq!(whole.len(), text.len());
            }
            let at_once = scrubber.search().replace(text.as_bytes(), fit);
            prop_assert_eq!(&at_once.unwrap_or_else(|| text.clone().into_bytes()), &whole);
            prop_assert_eq!(&run(&scrubber, fit, &cut(text.as_bytes(), &cuts)), &whole);
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            prop_assert_eq!(&run(&scrubber, fit, &bytes), &whole);
            let mut stream = scrubber.search().stream(fit);
            let mut known_last = Vec::new();
            let chunks = cut(text.as_bytes(), &cuts);
            let (last, before) = chunks.split_last().unwrap();
            for chunk in before {
                known_last.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
            }
            known_last.extend_from_slice(&stream.push_last(Bytes::copy_from_slice(last)));
            prop_assert_eq!(&known_last, &whole);
            for value in &values {
                prop_assert!(!whole.windows(value.len()).any(|w| w == *value));
            }
        }
    }

    /// The search agrees with one that tries every form at every place.
    #[test]
    fn finds_what_a_naive_search_finds(values in small_values(), text in "[abc\"/\\\\]{0,80}") {
        let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
        let scrubber = Scrubber::new(&secrets(&values)).unwrap().unwrap();
        let text = text.as_bytes();
        let mut hit = vec![false; text.len()];
        for form in forms::all(values.iter().copied()) {
            for at in 0..text.len() {
                if text[at..].starts_with(&form.bytes) {
                    hit[at..at + form.bytes.len()].fill(true);
                }
            }
        }
        // A byte of no form's alphabet ends the text, so that nothing is cut off.
        let mut ended = text.to_vec();
        ended.push(b'!');
        let runs = hit.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
        let search = scrubber.search();
        let out = search.replace(&ended, Fit::Same).unwrap_or(ended);
        for (at, (now, before)) in out.iter().zip(text).enumerate() {
            // What was not hit is as it was; a label has letters of its own.
            prop_assert!(hit[at] || now == before);
            prop_assert!(!hit[at] || !b"ab\"/\\".contains(now) || b"ac".contains(now));
        }
        prop_assert!(search.found() as usize >= runs);
    }

    /// Pauses at any place let no value through and, where the length is kept, lose no byte.
    #[test]
    fn pauses_hide_the_value(
        cuts in prop::collection::vec((any::<usize>(), any::<bool>()), 0..12),
        same in any::<bool>(),
    ) {
        let text = format!("a {TOKEN} s {TOKEN}{TOKEN} sk-pro");
        let mut stream = scrubber(&[TOKEN])
            .search()
            .stream(if same { Fit::Same } else { Fit::Free });
        let mut out = Vec::new();
        let places: Vec<usize> = cuts.iter().map(|c| c.0).collect();
        let chunks = cut(text.as_bytes(), &places);
        for (n, chunk) in chunks.iter().enumerate() {
            out.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
            if cuts.get(n).is_some_and(|c| c.1) {
                out.extend_from_slice(&stream.release());
            }
        }
        out.extend_from_slice(&stream.finish());
        prop_assert!(!same || out.len() == text.len());
        // Of each value at most the first bytes, too few to tell, are there.
        prop_assert!(!out.windows(8).any(|w| w == &TOKEN.as_bytes()[..8]));
        prop_assert!(!out.windows(6).any(|w| w == &TOKEN.as_bytes()[8..14]));
    }
}

/// One way in which an upstream may write a value, and how its label is written then.
#[derive(Debug, Clone, Copy)]
enum Way {
    Raw,
    Json,
    Percent,
    PercentLower,
    Hex,
    HexUpper,
    Base64,
    Base64Url,
}

impl Way {
    const ALL: [Self; 8] = [
        Self::Raw,
        Self::Json,
        Self::Percent,
        Self::PercentLower,
        Self::Hex,
        Self::HexUpper,
        Self::Base64,
        Self::Base64Url,
    ];

    fn write(self, text: &str) -> String {
        let percent = |upper: bool| {
            text.bytes()
                .map(|b| match b {
                    b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => {
                        char::from(b).to_string()
                    }
                    b if upper => format!("%{b:02X}"),
                    b => format!("%{b:02x}"),
                })
                .collect()
        };
        match self {
            Self::Raw => text.to_owned(),
            Self::Json => {
                let quoted = serde_json::to_string(text).unwrap();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Self::Percent => percent(true),
            Self::PercentLower => percent(false),
            Self::Hex => hex::lower(text),
            Self::HexUpper => hex::lower(text).to_uppercase(),
            Self::Base64 => STANDARD.encode(text),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(text),
        }
    }

    /// What stands where `value` was written.
    fn label(self, value: &str) -> String {
        let label = "[redacted:KEY]";
        match self {
            Self::Base64 | Self::Base64Url => {
                self.write(&format!("{label}{}", "*".repeat(99))[..value.len()])
            }
            // Digits without a letter have no case.
            Self::HexUpper if self.write(value) == Self::Hex.write(value) => Self::Hex.write(label),
            // A value that needs no encoding was found raw.
            Self::Percent | Self::PercentLower if self.write(value) != value => {
                Self::Percent.write(label)
            }
            Self::Percent | Self::PercentLower => label.to_owned(),
            other => other.write(label),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any value, written in any way at any place, in any coding, cut anywhere: what arrives is the whole body with each
    /// of them replaced.
    #[test]
    fn a_body_is_what_a_naive_replacement_of_the_whole_gives(
        value in "[A-Za-z0-9]{8}[A-Za-z0-9/+\"\\\\ &=:~-]{0,24}[A-Za-z0-9]",
        parts in prop::collection::vec((r"[.,;(){}\n]{1,12}", prop::sample::select(&Way::ALL[..])), 0..8),
        coding in prop::sample::select(vec!["", "gzip", "deflate", "bare-deflate", "br", "zstd"]),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
        members in any::<bool>(),
    ) {
        let mut body = "<".to_owned();
        let mut expected = body.clone();
        for (filler, way) in &parts {
            // Between such marks no digit has a neighbour.
            body.push_str(&format!("{filler}<{}>", way.write(&value)));
            expected.push_str(&format!("{filler}<{}>", way.label(&value)));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let out = runtime.block_on(async {
            let packed = match coding {
                "" => body.clone().into_bytes(),
                "gzip" | "zstd" if members => {
                    let (one, two) = body.split_at(body.len() / 2);
                    let mut packed = compress(coding, one.as_bytes()).await;
                    packed.extend(compress(coding, two.as_bytes()).await);
                    packed
                }
                coding => compress(coding, body.as_bytes()).await,
            };
            let decoding = (!coding.is_empty()).then(|| decoding(coding.trim_start_matches("bare-")));
            let search = scrubber(&[&value]).search();
            let body = ScrubBody::new(
                Script::data(&cut(&packed, &cuts)),
                &search,
                decoding.as_ref(),
                Fit::Free,
            );
            collect(body).await.map(|(data, _)| (data, search.found())).map_err(|e| e.to_string())
        });
        let (out, found) = out.unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&out), expected);
        prop_assert_eq!(found as usize, parts.len());
    }
}

/// A body that yields its script; `None` is one pause.
struct Script(VecDeque<Option<Frame<Bytes>>>);

impl Script {
    fn data(chunks: &[&[u8]]) -> Self {
        Self(
            chunks
                .iter()
                .map(|c| Some(Frame::data(Bytes::copy_from_slice(c))))
                .collect(),
        )
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.front() {
            Some(None) => Poll::Pending,
            _ => Poll::Ready(self.0.pop_front().flatten().map(Ok)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let frames = self.0.iter().flatten();
        SizeHint::with_exact(
            frames
                .filter_map(|f| f.data_ref())
                .map(|d| d.len() as u64)
                .sum(),
        )
    }
}

async fn collect<B>(body: B) -> Result<(Vec<u8>, Option<HeaderMap>), B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let all = body.collect().await?;
    let trailers = all.trailers().cloned();
    Ok((all.to_bytes().to_vec(), trailers))
}

#[tokio::test]
async fn a_body_is_replaced_with_its_trailers_and_may_keep_its_length() {
    let mut script = Script::data(&[b"{\"echo\":\"sk-pr", b"oj-3f9A_x7Qz0", b"Kd\"}"]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-message", HeaderValue::from_static(TOKEN));
    script.0.push_back(Some(Frame::trailers(trailers)));
    let search = scrubber(&[TOKEN]).search();
    let mut body = ScrubBody::new(script, &search, None, Fit::Same);
    assert_eq!(body.size_hint().exact(), Some(31));
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "{\"echo\":\"");
    assert_eq!(body.size_hint().exact(), Some(31 - 9));
    assert!(!body.is_end_stream());
    let (rest, trailers) = collect(&mut body).await.unwrap();
    assert_eq!(rest, b"[redacted:KEY]******\"}".to_vec());
    assert_eq!(trailers.unwrap()["grpc-message"], "[redacted:KEY]");
    assert!(body.is_end_stream());
    assert_eq!(search.found(), 2);
}

/// A short body of a declared length is read to its end, so that its length may change; one that is long, trickles or
/// fails goes out as it comes.
#[tokio::test(start_paused = true)]
async fn short_bodies_are_settled() {
    let settle = async |script: Script| {
        let mut body = ScrubBody::new(script, &scrubber(&[TOKEN]).search(), None, Fit::Same);
        let settled = body.settle().await;
        (settled, body)
    };
    let (settled, body) = settle(Script::data(&[b"a sk-proj-3f9A", b"_x7Qz0Kd b"])).await;
    let expected = b"a [redacted:KEY] b";
    assert_eq!(
        settled.unwrap(),
        Settled {
            length: expected.len() as u64,
            changed: true
        }
    );
    assert_eq!(body.size_hint().exact(), Some(expected.len() as u64));
    assert_eq!(collect(body).await.unwrap().0, expected);

    let clean = Bytes::from_static(b"nothing to find");
    let mut script = Script(VecDeque::from([Some(Frame::data(clean.clone()))]));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static(TOKEN));
    script.0.push_back(Some(Frame::trailers(trailers)));
    let (settled, mut body) = settle(script).await;
    assert!(!settled.unwrap().changed);
    let out = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((&out, out.as_ptr()), (&clean, clean.as_ptr()));
    let trailers = body.frame().await.unwrap().unwrap().into_trailers();
    assert_eq!(trailers.unwrap()["x-sum"], "[redacted:KEY]");
    assert!(body.frame().await.is_none() && body.is_end_stream());

    let (settled, body) = settle(Script::data(&[])).await;
    assert_eq!(settled.unwrap().length, 0);
    assert!(body.is_end_stream());

    // It pauses after the first half.
    let mut script = Script::data(&[b"a sk-proj-3f9A"]);
    script.0.push_back(None);
    script
        .0
        .push_back(Some(Frame::data(Bytes::from_static(b"_x7Qz0Kd b"))));
    let begin = tokio::time::Instant::now();
    let (settled, mut body) = settle(script).await;
    assert!(settled.is_none() && begin.elapsed() >= SETTLE_WAIT);
    assert_eq!(body.size_hint().exact(), Some(24));
    body.inner_mut().0.pop_front();
    assert_eq!(collect(body).await.unwrap().0, b"a [redacted:KEY]****** b");

    let long = vec![b'x'; usize::try_from(MAX_SETTLED_BYTES).unwrap() + 1];
    let (settled, body) = settle(Script::data(&[&long])).await;
    assert!(settled.is_none());
    assert_eq!(collect(body).await.unwrap().0, long);

    let broken = http_body_util::StreamBody::new(Failing(2));
    let mut body = ScrubBody::new(broken, &scrubber(&[TOKEN]).search(), None, Fit::Same);
    assert!(body.settle().await.is_none());
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "part");
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

/// Gives a piece, and then fails.
struct Failing(u8);

impl futures_util::Stream for Failing {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0 = self.0.saturating_sub(1);
        Poll::Ready(Some(match self.0 {
            1 => Ok(Frame::data(Bytes::from_static(b"part"))),
            _ => Err(std::io::ErrorKind::ConnectionReset.into()),
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_body_lets_go_of_what_it_holds() {
    let mut script = Script::data(&[b"message s"]);
    script.0.push_back(None);
    let mut body = ScrubBody::new(script, &scrubber(&[TOKEN]).search(), None, Fit::Free);
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "message "
    );
    let begin = tokio::time::Instant::now();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "s"
    );
    assert!(begin.elapsed() >= SHORT_HOLD);
    // Nothing is held any more, so it waits for the upstream.
    tokio::time::timeout(Duration::from_secs(60), body.frame())
        .await
        .unwrap_err();
}

async fn compress(coding: &str, plain: &[u8]) -> Vec<u8> {
    async fn write<W: AsyncWrite + Unpin>(mut w: W, plain: &[u8]) -> W {
        w.write_all(plain).await.unwrap();
        w.shutdown().await.unwrap();
        w
    }
    match coding {
        "gzip" | "x-gzip" => write(GzipEncoder::new(Vec::new()), plain)
            .await
            .into_inner(),
        "deflate" => write(ZlibEncoder::new(Vec::new()), plain)
            .await
            .into_inner(),
        "bare-deflate" => write(DeflateEncoder::new(Vec::new()), plain)
            .await
            .into_inner(),
        "br" => write(BrotliEncoder::new(Vec::new()), plain)
            .await
            .into_inner(),
        "zstd" => write(ZstdEncoder::new(Vec::new()), plain)
            .await
            .into_inner(),
        other => panic!("{other}"),
    }
}

fn encoded_headers(coding: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_str(coding).unwrap());
    headers.insert("content-length", HeaderValue::from_static("77"));
    headers.insert("etag", HeaderValue::from_static("\"x\""));
    headers
}

fn decoding(coding: &str) -> Decoding {
    decode_for_scrub(&Method::GET, StatusCode::OK, &mut encoded_headers(coding))
        .unwrap()
        .unwrap()
}

async fn scrub_encoded(coding: &str, chunks: &[&[u8]]) -> Result<Vec<u8>, String> {
    let body = ScrubBody::new(
        Script::data(chunks),
        &scrubber(&[TOKEN]).search(),
        Some(&decoding(coding)),
        Fit::Free,
    );
    assert_eq!(body.size_hint().exact(), None);
    collect(body)
        .await
        .map(|(data, _)| data)
        .map_err(|e| e.downcast_ref::<DecodeError>().unwrap().to_string())
}

#[tokio::test]
async fn compressed_bodies_are_decoded_and_replaced() {
    let mut plain = String::new();
    for n in 0..4000 {
        plain.push_str(&format!("line {n} {TOKEN}\n"));
    }
    let expected = plain.replace(TOKEN, "[redacted:KEY]").into_bytes();
    for coding in ["gzip", "x-gzip", "deflate", "bare-deflate", "br", "zstd"] {
        let name = coding.trim_start_matches("bare-");
        let packed = compress(coding, plain.as_bytes()).await;
        for size in [1, 7, 1000, packed.len()] {
            let chunks: Vec<&[u8]> = packed.chunks(size).collect();
            assert_eq!(
                scrub_encoded(name, &chunks).await.unwrap(),
                expected,
                "{coding} {size}"
            );
        }
        // An empty body has no coding to undo; one that breaks off is an error, never a clean end.
        assert_eq!(scrub_encoded(name, &[]).await.unwrap(), b"");
        let error = scrub_encoded(name, &[&packed[..packed.len() / 2]])
            .await
            .unwrap_err();
        assert!(error.contains("ends too early"), "{coding} {error}");
    }
    let twice = compress("br", &compress("gzip", plain.as_bytes()).await).await;
    assert_eq!(
        scrub_encoded("gzip, br", &[&twice]).await.unwrap(),
        expected
    );
    assert!(scrub_encoded("gzip", &[b"not gzip at all"]).await.is_err());
}

#[tokio::test]
async fn members_behind_one_another_are_one_body() {
    for coding in ["gzip", "zstd"] {
        let mut packed = compress(coding, b"one ").await;
        packed.extend(compress(coding, format!("two {TOKEN}").as_bytes()).await);
        let expected = b"one two [redacted:KEY]".to_vec();
        assert_eq!(scrub_encoded(coding, &[&packed]).await.unwrap(), expected);
        let bytes: Vec<&[u8]> = packed.chunks(1).collect();
        assert_eq!(scrub_encoded(coding, &bytes).await.unwrap(), expected);
        packed.extend_from_slice(&[0; 32]);
        assert_eq!(scrub_encoded(coding, &[&packed]).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_flushed_event_is_decoded_at_once() {
    macro_rules! check {
        ($encoder:expr, $coding:expr) => {{
            let mut encoder = $encoder;
            let mut decoder = Decoder::new(&[$coding]);
            let mut from = 0;
            for n in 0..50 {
                let event = format!("data: {n}\n\n");
                encoder.write_all(event.as_bytes()).await.unwrap();
                encoder.flush().await.unwrap();
                let packed = encoder.get_ref()[from..].to_vec();
                from = encoder.get_ref().len();
                decoder.supply(packed.into());
                let mut got = Vec::new();
                while let Some(part) = decoder.pull().unwrap() {
                    got.extend_from_slice(&part);
                }
                assert_eq!(got, event.as_bytes(), "{:?}", $coding);
            }
        }};
    }
    check!(GzipEncoder::new(Vec::new()), Coding::Gzip);
    check!(ZlibEncoder::new(Vec::new()), Coding::Deflate);
    check!(BrotliEncoder::new(Vec::new()), Coding::Brotli);
    check!(ZstdEncoder::new(Vec::new()), Coding::Zstd);
}

#[tokio::test]
async fn a_bomb_is_refused() {
    let zeros = vec![0; 1 << 20];
    let mut encoder = BrotliEncoder::new(Vec::new());
    for _ in 0..(FREE_EXPANSION_BYTES >> 20) + 8 {
        encoder.write_all(&zeros).await.unwrap();
    }
    encoder.shutdown().await.unwrap();
    let mut decoder = Decoder::new(&[Coding::Brotli]);
    decoder.supply(encoder.into_inner().into());
    let error = loop {
        match decoder.pull() {
            Ok(Some(part)) => assert!(part.len() <= decode::OUTPUT_BYTES),
            Ok(None) => panic!("the bomb went off"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, DecodeError::Bomb { coding: "br" }));
}

#[test]
fn which_responses_are_decoded() {
    let ask = |method: Method, status: u16, coding: &str| {
        let mut headers = encoded_headers(coding);
        let status = StatusCode::from_u16(status).unwrap();
        let result = decode_for_scrub(&method, status, &mut headers);
        (result, headers.contains_key("content-length"))
    };
    let (decoding, length) = ask(Method::GET, 200, "GZip");
    assert_eq!(
        (decoding, length),
        (Ok(Some(Decoding(vec![Coding::Gzip]))), false)
    );
    assert_eq!(ask(Method::GET, 200, "identity"), (Ok(None), true));
    assert_eq!(ask(Method::HEAD, 200, "br"), (Ok(None), false));
    assert_eq!(ask(Method::HEAD, 200, "dcb"), (Ok(None), true));
    assert_eq!(ask(Method::GET, 304, "gzip"), (Ok(None), true));
    assert_eq!(ask(Method::GET, 204, "gzip"), (Ok(None), true));
    assert_eq!(
        ask(Method::GET, 206, "gzip"),
        (Err(EncodingError::Partial), true)
    );
    assert_eq!(ask(Method::GET, 206, "identity"), (Ok(None), true));
    assert_eq!(
        ask(Method::GET, 200, "gzip, br, gzip"),
        (Err(EncodingError::TooMany), true)
    );
    let unknown = EncodingError::Unknown {
        coding: "compress".to_owned(),
    };
    assert_eq!(
        ask(Method::POST, 500, "gzip, compress"),
        (Err(unknown), true)
    );
}

#[test]
fn what_a_request_may_accept() {
    for (sent, narrowed) in [
        ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
        (
            "gzip;q=1.0,  identity; q=0.5",
            "gzip;q=1.0,  identity; q=0.5",
        ),
        ("gzip, dcb, compress;q=0.3", "gzip"),
        ("compress", "identity"),
        ("*", "gzip, br, zstd, deflate"),
        (
            "br;q=1, *;q=0.1",
            "br;q=1, gzip;q=0.1, zstd;q=0.1, deflate;q=0.1",
        ),
        ("gzip, *;q=0", "gzip, *;q=0"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", HeaderValue::from_static(sent));
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("gzip"));
        narrow_accept_encoding(&mut headers);
        assert_eq!(headers["accept-encoding"], narrowed, "{sent}");
        assert!(!headers.contains_key("grpc-accept-encoding"));
        headers.insert("range", HeaderValue::from_static("bytes=5-"));
        narrow_accept_encoding(&mut headers);
        assert_eq!(headers["accept-encoding"], "identity");
    }
    let mut absent = HeaderMap::new();
    narrow_accept_encoding(&mut absent);
    assert!(absent.is_empty());
}

#[test]
fn messages_that_are_compressed_one_by_one() {
    for (name, value, ok) in [
        ("grpc-encoding", "gzip", false),
        ("grpc-encoding", "Identity", true),
        ("connect-content-encoding", "br", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        let result = decode_for_scrub(&Method::POST, StatusCode::OK, &mut headers);
        assert_eq!(result.is_ok(), ok, "{name}: {value}");
        assert!(headers.contains_key(name));
    }
}

#[test]
fn a_changed_body_has_a_true_head() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-length", "9"),
        ("content-md5", "x"),
        ("repr-digest", "x"),
        ("accept-ranges", "bytes"),
        ("etag", "\"v1\""),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    body_changed(&mut headers, 12);
    assert_eq!(headers["content-length"], "12");
    assert_eq!(headers["etag"], "W/\"v1\"");
    assert_eq!(headers.len(), 2);
    body_changed(&mut headers, 13);
    assert_eq!(headers["etag"], "W/\"v1\"");
}

#[test]
fn which_formats_count_their_bytes() {
    for (kind, counts) in [
        ("application/grpc", true),
        ("application/grpc-web+proto", true),
        ("application/connect+json", true),
        ("Application/Proto; x=1", true),
        ("application/x-protobuf", true),
        ("application/x-git-upload-pack-result", true),
        ("application/octet-stream", true),
        ("application/vnd.x+cbor", true),
        ("image/png", true),
        ("image/svg+xml", false),
        ("application/json", false),
        ("application/problem+json; charset=utf-8", false),
        ("text/event-stream", false),
        ("application/x-www-form-urlencoded", false),
    ] {
        let mut headers = HeaderMap::new();
        assert!(!counts_bytes(&headers));
        headers.insert("content-type", HeaderValue::from_static(kind));
        assert_eq!(counts_bytes(&headers), counts, "{kind}");
    }
}
