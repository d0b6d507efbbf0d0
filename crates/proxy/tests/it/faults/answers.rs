//! HTTP/1.1 answers that are cut at every byte of head and body.

use std::collections::HashMap;

use agent_vault_testing::within;
use async_compression::tokio::write::{
    BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::cutter::{Cutter, End, path};
use super::{OTHER, Outcome, outcome};
use crate::doors::tunnel;
use crate::fixture::{Agent, HOST, Stage, Way};

const SECRET: &str = "sk-secret-of-the-upstream";

/// An answer, and from which of its bytes on it is whole.
struct Script {
    name: &'static str,
    bytes: Vec<u8>,
    head: usize,
    /// Whole once the connection ends in order, wherever in the body that is.
    by_end: bool,
    /// What arrives in the end, without anything to mask.
    body: Vec<u8>,
}

impl Script {
    fn new(name: &'static str, head: &str, framed: &[u8], body: impl Into<Vec<u8>>) -> Self {
        let head = head.replace('\n', "\r\n");
        Self {
            name,
            head: head.len(),
            bytes: [head.as_bytes(), framed].concat(),
            by_end: false,
            body: body.into(),
        }
    }

    /// What an answer of `sent` bytes that ends as `end` may be: whole with this body, or not whole.
    fn whole(&self, sent: usize, end: End) -> Option<Vec<u8>> {
        if self.by_end {
            let body = || self.bytes[self.head..sent].to_vec();
            return (sent >= self.head && end == End::Fin).then(body);
        }
        (sent == self.bytes.len()).then(|| self.body.clone())
    }
}

async fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(text).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for piece in body.chunks(piece) {
        framed.extend(format!("{:x}\r\n", piece.len()).bytes());
        framed.extend(piece);
        framed.extend(b"\r\n");
    }
    framed.extend(b"0\r\n\r\n");
    framed
}

async fn scripts() -> Vec<Script> {
    let text = b"abcdefghijklmnopqrstuvwxyz".as_slice();
    let packed = gzip(text).await;
    let mut by_end = Script::new("close", "HTTP/1.1 200 OK\nx: y\n\n", text, text);
    by_end.by_end = true;
    vec![
        Script::new(
            "length",
            &format!(
                "HTTP/1.1 200 OK\ncontent-type: text/plain\ncontent-length: {}\n\n",
                text.len()
            ),
            text,
            text,
        ),
        Script::new(
            "chunked",
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n",
            b"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nx-sum: 1\r\n\r\n",
            b"hello, world",
        ),
        by_end,
        Script::new(
            "gzip, length",
            &format!(
                "HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: {}\n\n",
                packed.len()
            ),
            &packed,
            text,
        ),
        Script::new(
            "gzip, chunked",
            "HTTP/1.1 200 OK\ncontent-encoding: gzip\ntransfer-encoding: chunked\n\n",
            &chunked(&packed, 13),
            text,
        ),
        Script::new(
            "interim",
            "HTTP/1.1 103 Early Hints\nlink: </a>\n\nHTTP/1.1 200 OK\ncontent-length: 2\n\n",
            b"ok",
            b"ok",
        ),
    ]
}

async fn stage_for(cutter: &Cutter) -> Stage {
    let mut builder = Stage::builder().bearer(SECRET);
    builder = builder.trusting_pem(&cutter.ca_pem);
    builder.start().await
}

/// Every cut of `scripts` that `take` lets through, by one way in, to one host.
async fn every_cut(is_tls: bool, way: Way, host: &'static str, ends: &[End], take: &[&str]) {
    let all = scripts().await;
    let cutter = Cutter::start(
        is_tls,
        all.iter().map(|script| script.bytes.clone()).collect(),
    )
    .await;
    let stage = stage_for(&cutter).await;
    let authority = cutter.authority(host);
    let mut cuts = Vec::new();
    for (number, script) in all.iter().enumerate() {
        if take.is_empty() || take.contains(&script.name) {
            for end in ends {
                cuts.extend((0..=script.bytes.len()).map(|sent| (number, sent, *end)));
            }
        }
    }
    let total = cuts.len();
    // Several agents at a time, each with the cuts of its own.
    let shares: Vec<Vec<_>> = (0..8)
        .map(|first| cuts.iter().copied().skip(first).step_by(8).collect())
        .collect();
    let (all, stage_ref, authority) = (&all, &stage, &authority);
    stream::iter(shares)
        .for_each_concurrent(None, |share| async move {
            let mut agent: Option<Agent> = None;
            for (number, sent, end) in share {
                let script = &all[number];
                let found = outcome(
                    stage_ref,
                    &mut agent,
                    way,
                    authority,
                    &path(number, sent, end),
                )
                .await;
                let what = format!(
                    "{way:?} {host} {}: {sent} bytes, {end:?}: {found:?}",
                    script.name
                );
                // A gzip body passes as it is where nothing is scrubbed.
                let body = |body: Vec<u8>| -> Bytes {
                    if host == OTHER && script.name.starts_with("gzip") {
                        script.body_as_sent().into()
                    } else {
                        body.into()
                    }
                };
                match (script.whole(sent, end), &found) {
                    // The reset may overtake the last bytes, or not.
                    (Some(_), Outcome::Broken | Outcome::Refused) => {
                        assert_eq!(end, End::Reset, "{what}")
                    }
                    (Some(whole), Outcome::Whole(found)) => {
                        assert_eq!(*found, body(whole), "{what}")
                    }
                    (None, Outcome::Whole(_)) => {
                        assert_eq!(found, Outcome::Broken, "ended as if whole: {what}");
                    }
                    (None, Outcome::Refused) => {}
                    (None, Outcome::Broken) => {
                        assert!(sent >= script.head, "no answer of ours: {what}")
                    }
                }
            }
        })
        .await;
    // Each of them is on record, and those that were cut say so.
    let records = stage.logged(total).await;
    assert_eq!(records.len(), total);
    let mut codes: HashMap<&str, usize> = HashMap::new();
    for record in &records {
        let mut parts = record.path.trim_start_matches('/').split('/');
        let script = &all[parts.next().unwrap().parse::<usize>().unwrap()];
        let sent: usize = parts.next().unwrap().parse().unwrap();
        let end = [End::Fin, End::Bare, End::Reset]
            .into_iter()
            .find(|end| record.path.ends_with(end.word()))
            .unwrap();
        if script.whole(sent, end).is_none() {
            assert!(
                ["upstream_error", "upstream_truncated"].contains(&record.error_code),
                "{} {end:?} {record:?}",
                script.name
            );
        } else if end == End::Fin {
            assert_eq!(record.error_code, "", "{} {record:?}", script.name);
        }
        *codes.entry(record.error_code).or_default() += 1;
    }
    assert!(
        codes["upstream_error"] > 0 && codes["upstream_truncated"] > 0 && codes[""] > 0,
        "{codes:?}"
    );
}

impl Script {
    /// The body without its framing, as compressed as it was.
    fn body_as_sent(&self) -> Vec<u8> {
        let framed = &self.bytes[self.head..];
        if !self.name.ends_with("chunked") {
            return framed.to_vec();
        }
        let mut body = Vec::new();
        let mut rest = framed;
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            let size =
                usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if size == 0 {
                return body;
            }
            body.extend(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 4 + size..];
        }
    }
}

const BOTH: [End; 2] = [End::Fin, End::Reset];
const ALL: [End; 3] = [End::Fin, End::Bare, End::Reset];

#[tokio::test]
async fn a_cut_at_every_byte_shows_over_http1() {
    every_cut(false, Way::Absolute, OTHER, &BOTH, &[]).await;
}

#[tokio::test]
async fn a_cut_at_every_byte_shows_over_http2() {
    every_cut(false, Way::ClearH2, OTHER, &BOTH, &[]).await;
}

#[tokio::test]
async fn a_cut_at_every_byte_shows_where_answers_are_scrubbed() {
    every_cut(false, Way::Absolute, HOST, &BOTH, &[]).await;
    every_cut(false, Way::ClearH2, HOST, &BOTH, &[]).await;
}

/// TLS says more than TCP: an end that nobody has signed is no end (RFC 8446 section 6.1).
#[tokio::test]
async fn a_cut_inside_tls_shows_even_when_it_looks_like_an_end() {
    let take = ["close", "chunked"];
    every_cut(true, Way::H1, HOST, &ALL, &take).await;
    every_cut(true, Way::H2, OTHER, &ALL, &take).await;
}

/// HTTP's framing is whole here, and what it carries is not.
#[tokio::test]
async fn a_compressed_body_that_ends_early_shows() {
    let text = "a secret would stand here, and again here, and here".repeat(3);
    let text = text.as_bytes();
    let mut packed = Vec::new();
    macro_rules! pack {
        ($($coding:literal => $encoder:ident),*) => {$({
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all(text).await.unwrap();
            encoder.shutdown().await.unwrap();
            packed.push(($coding, encoder.into_inner()));
        })*};
    }
    pack!("gzip" => GzipEncoder, "deflate" => ZlibEncoder, "deflate" => DeflateEncoder, "br" => BrotliEncoder, "zstd" => ZstdEncoder);
    let mut scripts = Vec::new();
    let mut cases = Vec::new();
    for (coding, packed) in &packed {
        for cut in 1..=packed.len() {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {cut}\r\n\r\n"
            );
            scripts.push([head.as_bytes(), &packed[..cut]].concat());
            cases.push((*coding, cut, packed.len()));
        }
    }
    let cutter = Cutter::start(false, scripts.clone()).await;
    let stage = stage_for(&cutter).await;
    let authority = cutter.authority(HOST);
    for way in [Way::Absolute, Way::ClearH2] {
        let mut agent = None;
        for (number, (coding, cut, whole)) in cases.iter().enumerate() {
            let path = path(number, scripts[number].len(), End::Fin);
            let found = outcome(&stage, &mut agent, way, &authority, &path).await;
            let what = format!("{way:?} {coding}: {cut} of {whole}");
            if cut == whole {
                assert_eq!(
                    found,
                    Outcome::Whole(Bytes::copy_from_slice(text)),
                    "{what}"
                );
            } else {
                assert_eq!(found, Outcome::Broken, "{what}");
            }
        }
    }
}

/// HTTP/1.0 has no chunks: an answer of unknown length ends with the connection. Inside TLS a cut one does not end as such.
#[tokio::test]
async fn an_http10_agent_sees_a_cut_inside_tls() {
    let script = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let whole = [script.as_slice(), b"0\r\n\r\n"].concat();
    let cutter = Cutter::start(true, vec![script.to_vec(), whole.clone()]).await;
    let stage = stage_for(&cutter).await;
    for host in [OTHER, HOST] {
        let authority = cutter.authority(host);
        for (number, length) in [(0, script.len()), (1, whole.len())] {
            let mut socket = tunnel(&stage, &authority).await;
            let request = format!(
                "GET {} HTTP/1.0\r\nhost: {authority}\r\n\r\n",
                path(number, length, End::Fin)
            );
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let ended = within("the end", socket.read_to_end(&mut answer)).await;
            let text = String::from_utf8_lossy(&answer);
            assert!(text.ends_with("hello"), "{text}");
            assert_eq!(ended.is_ok(), number == 1, "{host} {number}: {text}");
        }
    }
}

/// On the wire: no last chunk, and no `close_notify`, which would vouch for what came before it.
#[tokio::test]
async fn nothing_on_the_wire_says_that_a_cut_answer_is_whole() {
    let script = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec();
    let length = script.len();
    let cutter = Cutter::start(true, vec![script]).await;
    let stage = stage_for(&cutter).await;
    for host in [OTHER, HOST] {
        let authority = cutter.authority(host);
        let mut socket = tunnel(&stage, &authority).await;
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {authority}\r\n\r\n",
            path(0, length, End::Fin)
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = within("the end", socket.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(ended.is_err(), "TLS ended in order after {text}");
        assert!(
            text.contains("transfer-encoding: chunked") && !text.contains("\r\n0\r\n"),
            "{text}"
        );
    }
}
