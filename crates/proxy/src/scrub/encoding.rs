//! Content codings of scrubbed exchanges: what the request may ask for, and what is done with the response.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, RANGE,
};
use http::{HeaderMap, Method, StatusCode};

/// Most codings of one body that are undone.
const MAX_CODINGS: usize = 2;

/// Fields that are untrue once the bytes of a body have changed.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
];

/// What is offered for single messages within a body.
const OFFERS_FOR_MESSAGES: [HeaderName; 2] = [
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("connect-accept-encoding"),
];

/// How single messages within a body are encoded.
const CODINGS_OF_MESSAGES: [HeaderName; 2] = [
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("connect-content-encoding"),
];

/// A content coding that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    fn parse(name: &str) -> Option<Self> {
        [
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Deflate),
            ("br", Self::Brotli),
            ("zstd", Self::Zstd),
        ]
        .into_iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, coding)| coding)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Whether several compressed members behind one another form one body.
    pub(super) fn has_members(self) -> bool {
        matches!(self, Self::Gzip | Self::Zstd)
    }
}

/// The codings of a response body, to be undone by [`ScrubBody`](super::ScrubBody); in the order in which they are undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoding(pub(super) Vec<Coding>);

/// A response whose body cannot be looked into. Unless the service says otherwise it must not reach the agent: the upstream's
/// fault, 502.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// The upstream used a coding that the request did not offer.
    #[error("the upstream answered in a content coding that cannot be scrubbed")]
    Unknown {
        /// As sent by the upstream, at most 64 bytes; for the log.
        coding: String,
    },
    /// More codings behind one another than are undone.
    #[error("the upstream encoded its answer more than {MAX_CODINGS} times")]
    TooMany,
    /// A range of compressed bytes, which cannot be decompressed by itself.
    #[error("the upstream answered with a part of a compressed body, which cannot be scrubbed")]
    Partial,
    /// gRPC or Connect messages that are compressed one by one, although the request did not offer it.
    #[error("the upstream compressed each of its messages, which cannot be scrubbed")]
    Messages,
}

impl EncodingError {
    /// Why, in one word, for the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_coding",
            Self::TooMany => "too_many_codings",
            Self::Partial => "part_of_an_encoded_body",
            Self::Messages => "encoded_messages",
        }
    }
}

/// Prepares a response for scrubbing: says how its body must be decoded, and then removes the fields that will be
/// untrue (`Content-Encoding`, `Content-Length`, digests of the encoded bytes).
///
/// `ETag` stays: the agent always gets the decoded form of this one representation, so it still names what it got.
/// `None` when the body passes as it is: no coding, or no body (`1xx`, `204`, `304`, to `HEAD`). For `HEAD` the same
/// fields are removed as for `GET`.
///
/// # Errors
/// When the body has a coding that cannot be undone; the headers are then unchanged.
pub fn decode_for_scrub(
    method: &Method,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<Option<Decoding>, EncodingError> {
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Ok(None);
    }
    let tells = |name: &HeaderName| {
        *name == CONTENT_ENCODING || CODINGS_OF_MESSAGES.iter().any(|known| name == known)
    };
    if !headers.keys().any(tells) {
        return Ok(None);
    }
    let head = method == Method::HEAD;
    if !head && compresses_messages(headers) {
        return Err(EncodingError::Messages);
    }
    let codings = match codings(headers) {
        Ok(codings) if codings.is_empty() => return Ok(None),
        Err(_) if head => return Ok(None),
        codings => codings?,
    };
    if status == StatusCode::PARTIAL_CONTENT && !head {
        return Err(EncodingError::Partial);
    }
    for name in [CONTENT_ENCODING, CONTENT_LENGTH]
        .into_iter()
        .chain(DIGESTS)
    {
        headers.remove(name);
    }
    Ok((!head).then_some(Decoding(codings)))
}

/// Makes the head of a response true again after its body was changed in place: digests go, and nobody may put ranges of
/// the original and of what was sent together (a weak validator cannot do that, RFC 9110 section 13.1.5).
pub fn body_changed(headers: &mut HeaderMap, length: u64) {
    headers.insert(CONTENT_LENGTH, length.into());
    for name in DIGESTS {
        headers.remove(name);
    }
    headers.remove(ACCEPT_RANGES);
    if let Some(tag) = headers.get_mut(ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        *tag = weak;
    }
}

/// Whether the format of a body counts its own bytes, so that what is replaced in it must keep its length: gRPC, the
/// binary serializations, git's packet lines, archives, media.
#[must_use]
pub fn counts_bytes(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.as_bytes();
    let kind = kind
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    // As nearly always.
    if kind == b"application/json" || kind.starts_with(b"text/") {
        return false;
    }
    [b"image/".as_slice(), b"audio/", b"video/", b"font/"]
        .iter()
        .any(|family| after(kind, family).is_some() && !ends_with(kind, b"+xml"))
        || after(kind, b"application/").is_some_and(|kind| {
            [b"grpc".as_slice(), b"connect+", b"x-git-", b"proto"]
                .iter()
                .any(|family| after(kind, family).is_some())
                || [b"protobuf".as_slice(), b"msgpack", b"cbor", b"bson", b"zip"]
                    .iter()
                    .any(|format| ends_with(kind, format))
                || [
                    b"octet-stream".as_slice(),
                    b"vnd.amazon.eventstream",
                    b"vnd.apache.thrift.binary",
                    b"pdf",
                    b"wasm",
                    b"x-tar",
                    b"zstd",
                ]
                .iter()
                .any(|format| kind.eq_ignore_ascii_case(format))
        })
}

/// What follows `prefix`, in either case of its letters.
fn after<'t>(text: &'t [u8], prefix: &[u8]) -> Option<&'t [u8]> {
    let (begins, rest) = text.split_at_checked(prefix.len())?;
    begins.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn ends_with(text: &[u8], suffix: &[u8]) -> bool {
    text.len()
        .checked_sub(suffix.len())
        .and_then(|from| text.get(from..))
        .is_some_and(|ends| ends.eq_ignore_ascii_case(suffix))
}

/// gRPC and Connect compress message by message. Their offers were withdrawn, but not every server asks.
fn compresses_messages(headers: &HeaderMap) -> bool {
    CODINGS_OF_MESSAGES
        .iter()
        .flat_map(|name| headers.get_all(name))
        .any(|coding| {
            let coding = coding.as_bytes().trim_ascii();
            !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
        })
}

/// The codings of a message in the order in which they are undone, without `identity`.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, EncodingError> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let unknown = |bytes: &[u8]| EncodingError::Unknown {
            coding: String::from_utf8_lossy(bytes.get(..64).unwrap_or(bytes)).into_owned(),
        };
        let text = value.to_str().map_err(|_| unknown(value.as_bytes()))?;
        for name in text.split(',').map(str::trim) {
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            codings.push(Coding::parse(name).ok_or_else(|| unknown(name.as_bytes()))?);
        }
    }
    if codings.len() > MAX_CODINGS {
        return Err(EncodingError::TooMany);
    }
    codings.reverse();
    Ok(codings)
}

/// Restricts what a request accepts to what its response can be scrubbed in.
///
/// `Accept-Encoding` keeps the codings that can be undone, with their weights; a request for a range, which could not
/// be decoded from its middle, accepts only `identity`. gRPC and Connect compress each message by itself, where no
/// decoder of whole bodies reaches, so their offers are withdrawn (absent means uncompressed). A field that needs no
/// change keeps its bytes.
pub fn narrow_accept_encoding(headers: &mut HeaderMap) {
    let concerned = |name: &HeaderName| {
        matches!(*name, ACCEPT_ENCODING | RANGE)
            || OFFERS_FOR_MESSAGES.iter().any(|known| name == known)
    };
    if !headers.keys().any(concerned) {
        return;
    }
    for name in OFFERS_FOR_MESSAGES {
        headers.remove(name);
    }
    if headers.contains_key(RANGE) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return;
    }
    if offers_known_codings(headers) {
        return;
    }
    let mut kept = Vec::new();
    let mut changed = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        let Ok(text) = value.to_str() else {
            changed = true;
            continue;
        };
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (name, parameters) = item.split_at(item.find(';').unwrap_or(item.len()));
            let name = name.trim_end();
            let known = name.eq_ignore_ascii_case("identity")
                || Coding::parse(name).is_some()
                || (name == "*" && is_refused(parameters));
            if known {
                kept.push(item.to_owned());
            } else {
                changed = true;
                if name == "*" {
                    kept.extend(
                        ["gzip", "br", "zstd", "deflate"]
                            .into_iter()
                            .filter(|coding| !names_coding(text, coding))
                            .map(|coding| format!("{coding}{parameters}")),
                    );
                }
            }
        }
    }
    if changed {
        let narrowed = if kept.is_empty() {
            "identity".to_owned()
        } else {
            kept.join(", ")
        };
        headers.insert(
            ACCEPT_ENCODING,
            HeaderValue::try_from(narrowed).unwrap_or(HeaderValue::from_static("identity")),
        );
    }
}

/// Whether everything that the request accepts can be undone, as nearly always.
fn offers_known_codings(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().all(|value| {
        value.to_str().is_ok_and(|text| {
            text.split(',').all(|item| {
                let name = item.split(';').next().unwrap_or_default().trim();
                name.is_empty()
                    || name.eq_ignore_ascii_case("identity")
                    || Coding::parse(name).is_some()
            })
        })
    })
}

/// Whether the parameters of an `Accept-Encoding` item say `q=0`.
fn is_refused(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let mut halves = parameter.splitn(2, '=').map(str::trim);
        halves
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("q"))
            && halves
                .next()
                .and_then(|weight| weight.parse::<f32>().ok())
                .is_some_and(|weight| weight == 0.0)
    })
}

fn names_coding(list: &str, coding: &str) -> bool {
    list.split(',')
        .filter_map(|item| item.split(';').next())
        .any(|name| name.trim().eq_ignore_ascii_case(coding))
}
