//! Content codings of scrubbed exchanges: what the request may ask for, and what is done with the response.

use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, RANGE,
};
use http::{HeaderMap, Method, StatusCode};

/// Most codings of one body that are undone.
const MAX_CODINGS: usize = 2;

/// Fields that describe the encoded bytes and are untrue for the decoded ones.
const OF_ENCODED_BYTES: [HeaderName; 6] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
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

/// A response whose body cannot be looked into. It must not reach the agent: the upstream's fault, 502.
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
    let head = method == Method::HEAD;
    let codings = match codings(headers) {
        Ok(codings) if codings.is_empty() => return Ok(None),
        Err(_) if head => return Ok(None),
        codings => codings?,
    };
    if status == StatusCode::PARTIAL_CONTENT && !head {
        return Err(EncodingError::Partial);
    }
    for name in OF_ENCODED_BYTES {
        headers.remove(name);
    }
    Ok((!head).then_some(Decoding(codings)))
}

/// The codings of a message in the order in which they are undone, without `identity`.
fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, EncodingError> {
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
