// What each fuzz target of the data plane does with its bytes. Also compiled into the tests of `crates/proxy`, which replay the
// checked-in corpora.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use agent_vault_proxy::fuzzing;
use agent_vault_proxy::scrub::{Fit, Label, ScrubBody, Scrubber, Secret, decode_for_scrub};
use agent_vault_proxy::websocket::{ClientToUpstream, Status, TextRewriter, UpstreamToClient};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body, Frame};

/// An entry: takes any bytes and panics when something that must hold does not.
pub type Entry = fn(&[u8]);

/// Every entry under the name of its corpus.
pub const ENTRIES: [(&str, Entry); 8] = [
    ("authorization", authorization),
    ("head", head),
    ("socks", socks),
    ("source", source),
    ("frames_up", frames_up),
    ("frames_down", frames_down),
    ("scrub", scrub),
    ("scrub_encoded", scrub_encoded),
];

/// `Proxy-Authorization` in every form.
pub fn authorization(data: &[u8]) {
    fuzzing::authorization(data);
}

/// All names of a destination are one, or the request is refused.
pub fn head(data: &[u8]) {
    fuzzing::head(data);
}

/// The messages of SOCKS 5, one behind the other.
pub fn socks(data: &[u8]) {
    fuzzing::socks(data);
}

/// The header of the PROXY protocol, and what follows it.
pub fn source(data: &[u8]) {
    fuzzing::source(data);
}

/// The first byte says where to cut. Cut or whole, an agent's frames are accepted alike, and what leaves is frames that
/// are accepted alike and lose nothing.
pub fn frames_up(data: &[u8]) {
    let Some((&cut, frames)) = data.split_first() else {
        return;
    };
    let run = |frames: &[u8], step: usize| {
        let mut machine = ClientToUpstream::new(Some(Box::new(Echo)));
        let mut out = Vec::new();
        let mut ended = Ok(Status::Open);
        for piece in frames.chunks(step) {
            ended = machine.feed(piece, &mut out);
            if !matches!(ended, Ok(Status::Open)) {
                break;
            }
        }
        (ended, machine.is_complete(), out)
    };
    let (ended, complete, out) = run(frames, frames.len().max(1));
    let (cut_ended, cut_complete, cut_out) = run(frames, usize::from(cut).max(1));
    assert_eq!(ended, cut_ended);
    assert_eq!(complete, cut_complete);
    // A text frame may be masked anew, and leave in pieces as it came.
    if complete {
        for out in [out, cut_out] {
            let (again, whole, _) = run(&out, out.len().max(1));
            assert!(again.is_ok() && whole);
        }
    }
}

struct Echo;

impl TextRewriter for Echo {
    fn feed(&mut self, payload: &[u8], _fin: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(payload);
    }
}

/// The first byte says where to cut. Cut or whole, an upstream's frames are accepted alike, and no value leaves.
pub fn frames_down(data: &[u8]) {
    let Some((&cut, frames)) = data.split_first() else {
        return;
    };
    let run = |step: usize| {
        let search = SCRUBBER.as_ref().map(|scrubber| scrubber.search());
        let mut machine = UpstreamToClient::new(search.as_ref());
        let mut out = Vec::new();
        let mut ended = Ok(Status::Open);
        for piece in frames.chunks(step) {
            ended = machine.feed(piece, &mut out);
            if !matches!(ended, Ok(Status::Open)) {
                break;
            }
        }
        if ended.is_ok() {
            machine.release(&mut out);
        }
        (ended, out)
    };
    let (ended, out) = run(frames.len().max(1));
    let (cut_ended, cut_out) = run(usize::from(cut).max(1));
    assert_eq!(ended, cut_ended);
    // A frame whose payload became longer may leave in other pieces.
    for out in [out, cut_out] {
        let said = payload(&out);
        assert!(VALUES.iter().all(|value| !holds(&said, value)));
    }
}

/// What unmasked data frames carry, one behind the other, with a byte between messages that no value has.
fn payload(frames: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    let mut rest = frames;
    while let Some((&[first, length], after)) = rest.split_first_chunk::<2>() {
        let (length, after) = match length & 0x7f {
            126 => match after.split_first_chunk::<2>() {
                Some((bytes, after)) => (u64::from(u16::from_be_bytes(*bytes)), after),
                None => break,
            },
            127 => match after.split_first_chunk::<8>() {
                Some((bytes, after)) => (u64::from_be_bytes(*bytes), after),
                None => break,
            },
            short => (u64::from(short), after),
        };
        let length = usize::try_from(length).map_or(after.len(), |length| length.min(after.len()));
        let (data, after) = after.split_at(length);
        rest = after;
        if first & 0x0f < 8 {
            said.extend_from_slice(data);
            if first & 0x80 != 0 {
                said.push(0);
            }
        }
    }
    said
}

/// The first byte says where to cut. Cut or whole, the same comes out; no value is in it, and a declared length stays.
pub fn scrub(data: &[u8]) {
    let (Some((&cut, text)), Some(scrubber)) = (data.split_first(), SCRUBBER.as_ref()) else {
        return;
    };
    for fit in [Fit::Free, Fit::Same] {
        let run = |step: usize| {
            let mut stream = scrubber.search().stream(fit);
            let mut out = Vec::new();
            for piece in text.chunks(step) {
                out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
            }
            out.extend_from_slice(&stream.finish());
            out
        };
        let whole = run(text.len().max(1));
        assert_eq!(whole, run(usize::from(cut).max(1)));
        let at_once = scrubber.search().replace(text, fit);
        assert_eq!(at_once.as_deref().unwrap_or(text), whole);
        assert!(VALUES.iter().all(|value| !holds(&whole, value)));
        if fit == Fit::Same {
            assert_eq!(whole.len(), text.len());
        }
    }
}

/// The first byte says how a body is encoded, the rest is the body. Whatever it is, it is decoded within bounds or refused, and no
/// value is in what comes out.
pub fn scrub_encoded(data: &[u8]) {
    let (Some((&kind, body)), Some(scrubber)) = (data.split_first(), SCRUBBER.as_ref()) else {
        return;
    };
    let coding = match kind % 6 {
        0 => "gzip",
        1 => "deflate",
        2 => "br",
        3 => "zstd",
        4 => "gzip, deflate",
        _ => "deflate, br",
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::CONTENT_ENCODING,
        HeaderValue::from_static(coding),
    );
    let Ok(Some(decoding)) = decode_for_scrub(&Method::GET, StatusCode::OK, &mut headers) else {
        return;
    };
    assert!(headers.is_empty());
    let inner = Once(Some(Bytes::copy_from_slice(body)));
    let mut scrubbed = ScrubBody::new(inner, &scrubber.search(), Some(&decoding), Fit::Free);
    let mut out = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    // What a few bytes expand to is bounded by the decoder, but takes long to look through.
    while out.len() < 1 << 20 {
        match Pin::new(&mut scrubbed).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => {
                out.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
            Poll::Ready(Some(Err(_)) | None) => break,
            Poll::Pending => unreachable!("the body is there"),
        }
    }
    assert!(VALUES.iter().all(|value| !holds(&out, value)));
}

/// A body of one piece.
struct Once(Option<Bytes>);

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|piece| Ok(Frame::data(piece))))
    }
}

fn holds(text: &[u8], value: &[u8]) -> bool {
    text.windows(value.len()).any(|window| window == value)
}

/// One that overlaps itself, one that every encoder changes, one that repeats; each with a byte that no label has, so that none arises
/// from a label and what stands beside it.
const VALUES: [&[u8]; 3] = [b"aaaaaaa~", "k-3 %b+\u{e9}&z".as_bytes(), b"abcabcabc\"/"];

static SCRUBBER: LazyLock<Option<Arc<Scrubber>>> = LazyLock::new(|| {
    let secrets = VALUES.map(|value| Secret {
        value,
        label: Label::new(None, "KEY"),
    });
    Scrubber::new(&secrets).ok().flatten()
});
