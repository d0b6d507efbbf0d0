//! Multipart bodies (RFC 2046 section 5.1): text parts are rewritten, files and everything around the parts stay byte for byte.

use memchr::memmem;
use zeroize::Zeroizing;

use super::body::{MediaType, parameter_value};
use super::encode::Encoding;
use super::{Entries, MAX_REWRITTEN_BYTES, SubstitutionError, Values, unchecked};

/// Parts that are looked at; those behind stay as they are.
const MAX_PARTS: usize = 10_000;

/// Rewrites the text parts. Nothing when the body stays as it is, malformed bodies included.
pub(super) fn rewrite(
    entries: &Entries,
    boundary: &[u8],
    body: &[u8],
    values: &dyn Values,
) -> Result<Option<Zeroizing<Vec<u8>>>, SubstitutionError> {
    let delimiter = [b"\r\n--", boundary].concat();
    let dashed = delimiter.get(2..).unwrap_or_default();
    let delimiters_in = |text: &[u8]| memmem::find_iter(text, dashed).count();
    let mut edits: Vec<Edit> = Vec::new();
    let mut length = body.len();
    for part in parts(body, &delimiter).take(MAX_PARTS) {
        let Some(head) = body.get(part.head.0..part.head.1).and_then(TextHead::read) else {
            continue;
        };
        let content = body.get(part.content.0..part.content.1).unwrap_or_default();
        let Some(rewritten) = entries.replace(content, head.encoding, values, &unchecked)? else {
            continue;
        };
        if let Some((start, end)) = head.length {
            let digits = Zeroizing::new(rewritten.len().to_string().into_bytes());
            edits.push(Edit {
                at: (
                    part.head.0.saturating_add(start),
                    part.head.0.saturating_add(end),
                ),
                with: digits,
            });
        }
        // Compared without the line break, as careless readers look for a boundary.
        if delimiters_in(&rewritten) > delimiters_in(content) {
            return Err(SubstitutionError::Boundary);
        }
        // The digits of a length are few against what a body may hold.
        length = length
            .saturating_sub(content.len())
            .saturating_add(rewritten.len());
        if length > MAX_REWRITTEN_BYTES.max(body.len()) {
            return Err(SubstitutionError::TooLarge);
        }
        edits.push(Edit {
            at: part.content,
            with: rewritten,
        });
    }
    if edits.is_empty() {
        return Ok(None);
    }
    let length = edits.iter().fold(body.len(), |length, edit| {
        length
            .saturating_sub(edit.at.1.saturating_sub(edit.at.0))
            .saturating_add(edit.with.len())
    });
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    let mut done = 0;
    for edit in &edits {
        out.extend_from_slice(body.get(done..edit.at.0).unwrap_or_default());
        out.extend_from_slice(&edit.with);
        done = edit.at.1;
    }
    out.extend_from_slice(body.get(done..).unwrap_or_default());
    Ok(Some(out))
}

/// Bytes that take the place of a range of the body.
struct Edit {
    at: (usize, usize),
    with: Zeroizing<Vec<u8>>,
}

/// Byte ranges of one complete part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    head: (usize, usize),
    content: (usize, usize),
}

/// The complete parts in order. Stops at the closing delimiter and at the first thing that is not well-formed.
fn parts<'b>(body: &'b [u8], delimiter: &'b [u8]) -> impl Iterator<Item = Part> + 'b {
    let finder = memmem::Finder::new(delimiter).into_owned();
    // The first delimiter may stand at the very start, without its line break.
    let dashed = delimiter.get(2..).unwrap_or_default();
    let mut after = if body.starts_with(dashed) {
        Some(dashed.len())
    } else {
        finder
            .find(body)
            .map(|start| start.saturating_add(delimiter.len()))
    };
    std::iter::from_fn(move || {
        let head_start = after
            .take()
            .and_then(|position| skip_padding(body, position))?;
        let rest = body.get(head_start..)?;
        let next = head_start.saturating_add(finder.find(rest)?);
        let inside = body.get(head_start..next)?;
        // A part without fields starts with the empty line itself.
        let (head_end, content_start) = if inside.starts_with(b"\r\n") {
            (head_start, head_start.saturating_add(2))
        } else {
            let end = head_start.saturating_add(memmem::find(inside, b"\r\n\r\n")?);
            (end, end.saturating_add(4))
        };
        after = Some(next.saturating_add(delimiter.len()));
        Some(Part {
            head: (head_start, head_end),
            content: (content_start, next),
        })
    })
}

/// Behind a delimiter: optional spaces and the line break. Nothing at the closing delimiter and elsewhere.
fn skip_padding(body: &[u8], position: usize) -> Option<usize> {
    let rest = body.get(position..)?;
    let padding = rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    let line = rest.get(padding..)?;
    line.starts_with(b"\r\n")
        .then(|| position.saturating_add(padding).saturating_add(2))
}

/// The head of a part that is text.
#[derive(Debug, PartialEq, Eq)]
struct TextHead {
    encoding: Encoding,
    /// Where in the head the digits of a `Content-Length` stand; some clients send one.
    length: Option<(usize, usize)>,
}

impl TextHead {
    /// Nothing for files, transfer-encoded parts, other types, and heads that cannot be parsed.
    fn read(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let mut media = MediaType::Text;
        let mut length = None;
        let mut line_start = 0usize;
        for line in head.split("\r\n").filter(|_| !head.is_empty()) {
            // A folded line would hide what follows the fold.
            if line.starts_with([' ', '\t']) {
                return None;
            }
            let (name, value) = line.split_once(':')?;
            let name_len = name.len();
            let name = name.trim();
            if name.eq_ignore_ascii_case("content-disposition") {
                if has_filename(value)? {
                    return None;
                }
            } else if name.eq_ignore_ascii_case("content-type") {
                media = MediaType::parse(Some(value));
            } else if name.eq_ignore_ascii_case("content-length") {
                let padding = value.len().saturating_sub(value.trim_start().len());
                let start = line_start
                    .saturating_add(name_len)
                    .saturating_add(1)
                    .saturating_add(padding);
                length = Some((start, start.saturating_add(value.trim().len())));
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                let coding = value.trim();
                if !["7bit", "8bit", "binary"]
                    .iter()
                    .any(|plain| coding.eq_ignore_ascii_case(plain))
                {
                    return None;
                }
            }
            line_start = line_start.saturating_add(line.len()).saturating_add(2);
        }
        let encoding = match media {
            MediaType::Json => Encoding::Json,
            MediaType::Text => Encoding::Raw,
            _ => return None,
        };
        Some(Self { encoding, length })
    }
}

/// Whether a disposition names a file; nothing when it cannot be parsed.
fn has_filename(disposition: &str) -> Option<bool> {
    let Some((_, parameters)) = disposition.split_once(';') else {
        return Some(false);
    };
    let mut rest = parameters.trim_start_matches([' ', '\t', ';']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if name.eq_ignore_ascii_case("filename") || name.eq_ignore_ascii_case("filename*") {
            return Some(true);
        }
        let (_, after) = parameter_value(after)?;
        rest = after.trim_start_matches([' ', '\t', ';']);
    }
    Some(false)
}
