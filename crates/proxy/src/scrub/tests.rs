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
const ODD: &str = "p/w\"rd <&+é~'x\\";

fn scrubber(values: &[&str]) -> Arc<Scrubber> {
    let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
    Scrubber::new(&values).unwrap().unwrap()
}

fn mask_str(values: &[&str], text: &str) -> String {
    let masked = scrubber(values).mask(text.as_bytes());
    masked.map_or_else(|| text.to_owned(), |m| String::from_utf8(m).unwrap())
}

fn run(scrubber: &Arc<Scrubber>, chunks: &[&[u8]]) -> Vec<u8> {
    let mut stream = scrubber.stream();
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
    }
    out.extend_from_slice(&stream.finish());
    out
}

#[test]
fn short_values_are_left_alone() {
    assert!(Scrubber::new(&[b"12345", b""]).unwrap().is_none());
    assert!(Scrubber::new(&[]).unwrap().is_none());
    assert_eq!(mask_str(&["123456"], "id 123456!"), "id ******!");
}

#[test]
fn every_form_of_a_value_is_masked_to_its_length() {
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
    let scrubber = scrubber(&[ODD]);
    for form in forms {
        let text = format!("<<{form}>>");
        let masked = scrubber.mask(text.as_bytes());
        let masked = String::from_utf8(masked.unwrap_or_else(|| panic!("missed {form}"))).unwrap();
        assert_eq!(masked.len(), text.len(), "{form}");
        let inner = &masked[2..masked.len() - 2];
        assert!(
            inner.chars().all(|c| "*Kioqg2aA".contains(c)),
            "{form} -> {inner}"
        );
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
    let scrubber = scrubber(&[TOKEN]);
    for before in 0..7 {
        for after in 0..4 {
            let plain = format!("{}{TOKEN}{}", "b".repeat(before), "a".repeat(after));
            let encoded = STANDARD.encode(&plain);
            let masked = scrubber.mask(encoded.as_bytes()).unwrap();
            assert_eq!(masked.len(), encoded.len());
            let decoded = STANDARD.decode(&masked).unwrap();
            // The first and last byte may share a digit with their neighbours.
            let value = &decoded[before + 1..before + TOKEN.len() - 1];
            assert!(
                value.iter().all(|b| *b == b'*'),
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

#[test]
fn a_basic_pair_is_found_as_sent() {
    let pair = "me:pw1";
    let header = format!("Basic {}", STANDARD.encode(pair));
    assert_eq!(mask_str(&["pw1", pair], &header), "Basic KioqKioq");
}

#[test]
fn overlapping_finds_are_masked_together() {
    assert_eq!(
        mask_str(&["abcdef", "defghi"], "-abcdefghi-"),
        "-*********-"
    );
    assert_eq!(mask_str(&["aaaaaa"], "aaaaaaaaab"), "*********b");
    // One value within another, one the beginning of another.
    assert_eq!(
        mask_str(&["secret", "my-secret-x"], "my-secret-x secret"),
        "*********** ******"
    );
    assert_eq!(
        mask_str(&["secret", "secret-x"], "secret-y secret-x"),
        "******-y ********"
    );
}

#[test]
fn headers_and_location_are_masked() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "location",
        HeaderValue::from_str(&format!("/x?key={TOKEN}&y")).unwrap(),
    );
    let mut sensitive = HeaderValue::from_str(TOKEN).unwrap();
    sensitive.set_sensitive(true);
    headers.append("x-echo", HeaderValue::from_static("plain"));
    headers.append("x-echo", sensitive);
    scrubber(&[TOKEN]).scrub_headers(&mut headers);
    assert_eq!(headers["location"], "/x?key=********************&y");
    let echoes: Vec<_> = headers.get_all("x-echo").iter().collect();
    assert_eq!(echoes[0], "plain");
    assert_eq!(echoes[1], "********************");
    assert!(echoes[1].is_sensitive());
}

#[test]
fn a_clean_chunk_is_passed_without_a_copy_and_at_once() {
    let mut stream = scrubber(&[TOKEN]).stream();
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
    let mut stream = scrubber(&[TOKEN]).stream();
    assert_eq!(stream.push("hello sk-".into()), "hello ");
    assert_eq!(
        (stream.held(), stream.release_after()),
        (3, Some(SHORT_HOLD))
    );
    assert_eq!(stream.push("proj".into()), "");
    assert_eq!(stream.release_after(), Some(LONG_HOLD));
    assert_eq!(stream.push("ect s".into()), "sk-project ");
    assert_eq!(stream.finish(), "s");
}

#[test]
fn a_pause_lets_go_without_losing_track() {
    let mut stream = scrubber(&[TOKEN]).stream();
    assert_eq!(stream.push("x sk-".into()), "x ");
    assert_eq!(stream.release(), "sk-");
    assert_eq!(stream.release(), "");
    assert_eq!(stream.push("proj-3f9".into()), "");
    assert_eq!(stream.release(), "********");
    assert_eq!(stream.push("A_x7Qz0Kd!".into()), "*********!");
    assert_eq!(stream.finish(), "");
}

#[test]
fn an_echo_that_breaks_off_is_masked_from_half_the_value_on() {
    let scrubber = scrubber(&[TOKEN]);
    assert_eq!(run(&scrubber, &[b"no sk-proj"]), b"no sk-proj");
    assert_eq!(run(&scrubber, &[b"no sk-proj-3f9A_"]), b"no *************");
    assert_eq!(
        scrubber.mask(b"no sk-proj-3f9A_").unwrap(),
        b"no *************"
    );
}

#[test]
fn a_long_value_is_found_piece_by_piece() {
    let long: String = (0..MAX_PIECE_BYTES / 4 + 3)
        .map(|n| format!("{n:06}"))
        .collect();
    let masked = mask_str(&[&long], &format!("[{long}]"));
    assert!(masked[1..masked.len() - 1].bytes().all(|b| b == b'*'));
}

fn small_values() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab\"/]{6,9}|[a-c]{6,12}", 1..4)
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
        let scrubber = Scrubber::new(&values).unwrap().unwrap();
        let whole = run(&scrubber, &[text.as_bytes()]);
        prop_assert_eq!(whole.len(), text.len());
        prop_assert_eq!(&run(&scrubber, &cut(text.as_bytes(), &cuts)), &whole);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(&run(&scrubber, &bytes), &whole);
        let mut stream = scrubber.stream();
        let mut known_last = Vec::new();
        let chunks = cut(text.as_bytes(), &cuts);
        let (last, before) = chunks.split_last().unwrap();
        for chunk in before {
            known_last.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
        }
        known_last.extend_from_slice(&stream.push_last(Bytes::copy_from_slice(last)));
        prop_assert_eq!(&known_last, &whole);
        for value in values {
            prop_assert!(!whole.windows(value.len()).any(|w| w == value));
        }
    }

    /// The search agrees with one that tries every form at every place.
    #[test]
    fn finds_what_a_naive_search_finds(values in small_values(), text in "[abc\"/\\\\]{0,80}") {
        let values: Vec<&[u8]> = values.iter().map(|v| v.as_bytes()).collect();
        let scrubber = Scrubber::new(&values).unwrap().unwrap();
        let text = text.as_bytes();
        let mut hit = vec![false; text.len()];
        for form in forms::all(&values) {
            for at in 0..text.len() {
                if text[at..].starts_with(&form.bytes) {
                    hit[at..at + form.bytes.len()].fill(true);
                }
            }
        }
        // A byte of another form's alphabet ends the text, so that nothing is cut off.
        let mut ended = text.to_vec();
        ended.push(b'!');
        let masked = scrubber.mask(&ended).unwrap_or(ended);
        let changed: Vec<bool> = masked.iter().zip(text).map(|(a, b)| a != b).collect();
        prop_assert_eq!(changed, hit);
    }

    /// Pauses at any place let no value through and lose no byte.
    #[test]
    fn pauses_keep_the_length_and_hide_the_value(
        cuts in prop::collection::vec((any::<usize>(), any::<bool>()), 0..12),
    ) {
        let text = format!("a {TOKEN} s {TOKEN}{TOKEN} sk-pro");
        let mut stream = scrubber(&[TOKEN]).stream();
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
        prop_assert_eq!(out.len(), text.len());
        // Of each value at most the first bytes, too few to tell, are there.
        prop_assert!(!out.windows(7).any(|w| w == &TOKEN.as_bytes()[..7]));
        prop_assert!(!out.windows(6).any(|w| w == &TOKEN.as_bytes()[8..14]));
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
async fn a_body_is_masked_with_its_trailers_and_keeps_its_length() {
    let mut script = Script::data(&[b"{\"echo\":\"sk-pr", b"oj-3f9A_x7Qz0", b"Kd\"}"]);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-message", HeaderValue::from_static(TOKEN));
    script.0.push_back(Some(Frame::trailers(trailers)));
    let mut body = ScrubBody::new(script, &scrubber(&[TOKEN]), None);
    assert_eq!(body.size_hint().exact(), Some(31));
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "{\"echo\":\"");
    assert_eq!(body.size_hint().exact(), Some(31 - 9));
    assert!(!body.is_end_stream());
    let (rest, trailers) = collect(&mut body).await.unwrap();
    assert_eq!(rest, b"********************\"}".to_vec());
    assert_eq!(trailers.unwrap()["grpc-message"], "********************");
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_paused_body_lets_go_of_what_it_holds() {
    let mut script = Script::data(&[b"message s"]);
    script.0.push_back(None);
    let mut body = ScrubBody::new(script, &scrubber(&[TOKEN]), None);
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
        &scrubber(&[TOKEN]),
        Some(&decoding(coding)),
    );
    assert_eq!(body.size_hint().exact(), None);
    collect(body)
        .await
        .map(|(data, _)| data)
        .map_err(|e| e.downcast_ref::<DecodeError>().unwrap().to_string())
}

#[tokio::test]
async fn compressed_bodies_are_decoded_and_masked() {
    let mut plain = String::new();
    for n in 0..4000 {
        plain.push_str(&format!("line {n} {TOKEN}\n"));
    }
    let expected = plain.replace(TOKEN, &"*".repeat(TOKEN.len())).into_bytes();
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
        let expected = b"one two ********************".to_vec();
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
