//! The request target: the exact bytes that will be sent, and every way in which an upstream might read its path.
//!
//! A rule is matched on a path, the upstream acts on a path, and the two must be the same one. Servers differ in what they do with
//! `%2F`, `%2e%2e`, `..`, `//`, `\`, `;params` and characters that only look like those, so the target keeps all plausible readings
//! and the matcher demands that they agree.

use std::sync::Arc;

/// Longest target in bytes.
pub const MAX_TARGET_BYTES: usize = 64 * 1024;

/// How often the strictest reading decodes; enough for one proxy and one framework that each decode once more than they should.
const MAX_DECODE_ROUNDS: usize = 3;

/// Path and query of a request, exactly as they will be sent.
#[derive(Debug, Clone)]
pub struct RequestTarget {
    text: Arc<str>,
    path_len: usize,
    /// Present only when the path is not its own only reading.
    careful: Option<Arc<Careful>>,
}

#[derive(Debug)]
struct Careful {
    shown: String,
    readings: Vec<Vec<u8>>,
    bad_escape: bool,
}

impl RequestTarget {
    /// Parses an origin-form target (RFC 9112 section 3.2.1), `*`, or what stands behind the authority of an absolute URL: an empty
    /// path becomes `/`.
    ///
    /// # Errors
    /// On control bytes, spaces, non-ASCII bytes, a fragment, a path that does not start with `/`, and over [`MAX_TARGET_BYTES`].
    /// A malformed percent-escape is not an error here: see [`RequestTarget::has_bad_escape`].
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_TARGET_BYTES {
            return Err(TargetError::TooLong);
        }
        for b in text.bytes() {
            match b {
                0..=0x1f | 0x7f => return Err(TargetError::Control),
                b' ' => return Err(TargetError::Space),
                b'#' => return Err(TargetError::Fragment),
                0x80.. => return Err(TargetError::NonAscii),
                _ => {}
            }
        }
        let text: Arc<str> = match text.as_bytes().first() {
            None => Arc::from("/"),
            Some(b'?') => Arc::from(format!("/{text}")),
            Some(b'/') => Arc::from(text),
            Some(b'*') if text.len() == 1 => Arc::from(text),
            Some(_) => return Err(TargetError::NotOriginForm),
        };
        let path_len = memchr::memchr(b'?', text.as_bytes()).unwrap_or(text.len());
        let path = text.get(..path_len).unwrap_or_default();
        let careful = if is_plain(path.as_bytes()) {
            None
        } else {
            Some(Arc::new(Careful::read(path)))
        };
        Ok(Self {
            text,
            path_len,
            careful,
        })
    }

    /// Path and query as they are sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as it is sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(..self.path_len).unwrap_or_default()
    }

    /// The query as it is sent, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_len.saturating_add(1)..)
    }

    /// The path decoded once, for people and for the log. Control characters, `/` inside a segment and bytes that are not UTF-8 stay
    /// percent-encoded.
    #[must_use]
    pub fn decoded_path(&self) -> &str {
        match &self.careful {
            None => self.path(),
            Some(careful) => &careful.shown,
        }
    }

    /// Every way in which the path may be read, without repetitions. The first is the path decoded once.
    pub fn readings(&self) -> impl Iterator<Item = &[u8]> {
        let (plain, careful) = match &self.careful {
            None => (Some(self.path().as_bytes()), None),
            Some(careful) => (None, Some(careful.readings.iter().map(Vec::as_slice))),
        };
        plain.into_iter().chain(careful.into_iter().flatten())
    }

    /// Whether the path holds a `%` without two hexadecimal digits behind it, or escapes of NUL or of what is not UTF-8 (an overlong
    /// `/` among them). What an upstream makes of it is anyone's guess, so only a rule that does not look at the path may match.
    #[must_use]
    pub fn has_bad_escape(&self) -> bool {
        self.careful
            .as_ref()
            .is_some_and(|careful| careful.bad_escape)
    }
}

impl std::fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for RequestTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::parse(text)
    }
}

impl PartialEq for RequestTarget {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RequestTarget {}

/// Why a text is not a request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Over [`MAX_TARGET_BYTES`].
    #[error("the request target is longer than 64 KiB")]
    TooLong,
    /// A control byte.
    #[error("the request target contains a control byte")]
    Control,
    /// A space.
    #[error("the request target contains a space")]
    Space,
    /// A `#`.
    #[error("the request target contains a fragment")]
    Fragment,
    /// A byte outside ASCII.
    #[error("the request target contains a byte outside ASCII; percent-encode it")]
    NonAscii,
    /// Neither a path nor `*`.
    #[error("the request target does not start with /")]
    NotOriginForm,
}

impl Careful {
    fn read(path: &str) -> Self {
        let raw = path.as_bytes();
        let (segments, bad_escape) = decode(raw, Slash::Keep);
        let (once, _) = decode(raw, Slash::Decode);
        let mut readings: Vec<Vec<u8>> = Vec::with_capacity(2);
        let mut add = |reading: Vec<u8>| {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        };
        add(segments.clone());
        add(resolve_dots(&segments));
        add(once.clone());
        add(resolve_dots(&once));
        add(resolve_dots(&merge_slashes(&once)));
        let mut thorough = once;
        for _ in 1..MAX_DECODE_ROUNDS {
            let (next, _) = decode(&thorough, Slash::Decode);
            if next == thorough {
                break;
            }
            thorough = next;
        }
        add(resolve_dots(&merge_slashes(&strip_parameters(&thorough))));
        let text = std::str::from_utf8(&thorough).ok();
        if let Some(folded) = text.and_then(fold_lookalikes) {
            add(resolve_dots(&merge_slashes(&strip_parameters(
                folded.as_bytes(),
            ))));
        }
        Self {
            shown: show(path),
            readings,
            bad_escape: bad_escape || text.is_none_or(|text| text.contains('\0')),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slash {
    /// `%2F` stays `%2F`: an upstream that splits into segments before it decodes.
    Keep,
    /// `%2F` becomes `/`.
    Decode,
}

/// Whether every reading of the path is the path itself.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0u8;
    for &b in path {
        match b {
            b'%' | b'\\' | b';' => return false,
            b'/' | b'.' if previous == b'/' => return false,
            _ => previous = b,
        }
    }
    true
}

/// Decodes once. A malformed escape stays as it is and is reported.
fn decode(path: &[u8], slash: Slash) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(path.len());
    let mut bad = false;
    let mut rest = path;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        if b != b'%' {
            out.push(b);
            continue;
        }
        match after
            .split_first_chunk::<2>()
            .and_then(|(digits, after)| Some((hex_pair(digits)?, after)))
        {
            Some((b'/', after)) if slash == Slash::Keep => {
                out.extend_from_slice(b"%2F");
                rest = after;
            }
            Some((value, after)) => {
                out.push(value);
                rest = after;
            }
            None => {
                out.push(b'%');
                bad = true;
            }
        }
    }
    (out, bad)
}

fn hex_pair(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = *digits;
    let value = char::from(high).to_digit(16)? * 16 + char::from(low).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Whether every `%` in the text starts a well-formed escape.
pub(crate) fn escapes_are_sound(text: &[u8]) -> bool {
    !decode(text, Slash::Keep).1
}

/// `\` read as `/`, and runs of `/` as one.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &b in path {
        let b = if b == b'\\' { b'/' } else { b };
        if b == b'/' && out.last() == Some(&b'/') {
            continue;
        }
        out.push(b);
    }
    out
}

/// What compatibility normalisation, or a code page's best fit, makes of characters that look like slashes and dots. `None` where
/// there are none.
fn fold_lookalikes(path: &str) -> Option<String> {
    if path.is_ascii() {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '\u{2044}' | '\u{2215}' | '\u{ff0f}' => out.push('/'),
            '\u{2216}' | '\u{ff3c}' | '\u{fe68}' => out.push('\\'),
            '\u{2024}' | '\u{3002}' | '\u{fe52}' | '\u{ff0e}' | '\u{ff61}' => out.push('.'),
            '\u{2025}' => out.push_str(".."),
            '\u{2026}' => out.push_str("..."),
            '\u{ff1b}' | '\u{fe54}' => out.push(';'),
            c => out.push(c),
        }
    }
    (out != path).then_some(out)
}

/// Drops `;params` from every segment, as servlet containers do.
fn strip_parameters(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut inside = false;
    for &b in path {
        match b {
            b'/' | b'\\' => inside = false,
            b';' => inside = true,
            _ => {}
        }
        if !inside {
            out.push(b);
        }
    }
    out
}

/// Removes dot segments (RFC 3986 section 5.2.4); `..;x` counts as one, as servlet containers have it.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let Some(relative) = path.strip_prefix(b"/") else {
        return path.to_vec();
    };
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut open = false;
    for segment in relative.split(|&b| b == b'/') {
        let name = segment.split(|&b| b == b';').next().unwrap_or_default();
        match name {
            b"." => open = true,
            b".." => {
                kept.pop();
                open = true;
            }
            _ => {
                kept.push(segment);
                open = false;
            }
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    // A path that ends in a dot segment names a directory.
    if open || out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Decodes for display: what is not printable, not UTF-8, or a slash inside a segment keeps its escape.
fn show(path: &str) -> String {
    let (decoded, _) = decode(path.as_bytes(), Slash::Keep);
    let mut shown = String::with_capacity(decoded.len());
    for chunk in decoded.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let mut buffer = [0u8; 4];
                escape_into(&mut shown, c.encode_utf8(&mut buffer).as_bytes());
            } else {
                shown.push(c);
            }
        }
        escape_into(&mut shown, chunk.invalid());
    }
    shown
}

fn escape_into(out: &mut String, bytes: &[u8]) {
    for &b in bytes {
        out.push_str(percent_encoding::percent_encode_byte(b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<String> {
        RequestTarget::parse(text)
            .unwrap()
            .readings()
            .map(|r| String::from_utf8_lossy(r).into_owned())
            .collect()
    }

    #[test]
    fn keeps_the_bytes() {
        for (input, path, query) in [
            ("/", "/", None),
            ("", "/", None),
            ("?a=b", "/", Some("a=b")),
            ("/a?", "/a", Some("")),
            ("/a/../b?x=/../y", "/a/../b", Some("x=/../y")),
            ("/a?b?c", "/a", Some("b?c")),
            ("*", "*", None),
        ] {
            let target = RequestTarget::parse(input).unwrap();
            assert_eq!(target.path(), path);
            assert_eq!(target.query(), query);
            if !input.is_empty() && !input.starts_with('?') {
                assert_eq!(target.as_str(), input);
            }
        }
    }

    #[test]
    fn refused() {
        for input in [
            "/a b",
            "/a\tb",
            "/a\0",
            "/a\u{7f}",
            "/ä",
            "/a#b",
            "/?#",
            "a",
            "http://x/",
            "*a",
            "\\a",
        ] {
            assert!(RequestTarget::parse(input).is_err(), "{input:?}");
        }
        assert!(RequestTarget::parse(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))).is_err());
    }

    #[test]
    fn plain_paths_have_one_reading() {
        for input in [
            "/",
            "/v1/chat/completions",
            "/a.b/c..d/e-f",
            "/a/",
            "/a/b?c=%2e%2e",
            "/a%20b",
            "/%C3%A4",
            "/.well-known/x",
        ] {
            assert_eq!(readings(input).len(), 1, "{input}");
        }
    }

    #[test]
    fn every_trick_has_its_resolved_reading() {
        for input in [
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/public/%2E%2e/admin",
            "/public/..%2Fadmin",
            "/public%2F..%2Fadmin",
            "/public//..//..//admin",
            "/public/..;x/admin",
            "/public/..;/admin",
            "/public/.%2e;a=b/admin",
            "/public\\..\\admin",
            "/public%5C..%5Cadmin",
            "/public/%252e%252e/admin",
            "/public/%25252e%25252e/admin",
            "//admin",
            "/./admin",
            "/x/../public/../admin",
            "/../admin",
            "/admin;v=1",
            "/public/..%EF%BC%8Fadmin",
            "/public/%EF%BC%8E%EF%BC%8E/admin",
            "/public/%E2%80%A5/admin",
            "/public/..%EF%BC%BCadmin",
            "/public/%25E2%2580%25A5/admin",
        ] {
            assert!(
                readings(input).contains(&"/admin".to_owned()),
                "{input}: {:?}",
                readings(input)
            );
        }
        assert!(readings("/a//../b").contains(&"/a/b".to_owned()));
        assert!(readings("/a//../b").contains(&"/b".to_owned()));
    }

    #[test]
    fn escapes_of_what_is_no_text_are_bad_escapes() {
        for (input, bad) in [
            ("/%zz", true),
            ("/x%00", true),
            ("/x%2500", true),
            ("/%c0%ae%c0%ae/", true),
            ("/%ff", true),
            ("/%E2%82%AC", false),
            ("/%EF%BC%8F", false),
            ("/%0a", false),
        ] {
            let target = RequestTarget::parse(input).unwrap();
            assert_eq!(target.has_bad_escape(), bad, "{input}");
        }
    }

    #[test]
    fn each_reading_is_somebodys_own() {
        for (input, reading) in [
            // Splits into segments, then decodes, never resolves.
            ("/a%2F../b", "/a%2F../b"),
            // The same, and resolves.
            ("/x%2Fy/../b", "/b"),
            // Decodes whole, never resolves.
            ("/a/%2e%2e/b", "/a/../b"),
            // Decodes whole and resolves, with empty segments as segments.
            ("/a/%2F../b", "/a/b"),
            // Decodes whole, merges slashes, keeps parameters.
            ("/a;x//b", "/a;x/b"),
            // Decodes as often as it can, merges, and drops parameters.
            ("/a;x//%2562", "/a/b"),
        ] {
            assert!(
                readings(input).contains(&reading.to_owned()),
                "{input}: {:?}",
                readings(input)
            );
        }
    }

    #[test]
    fn bad_escapes_are_noted() {
        for input in ["/%", "/%z", "/%zz", "/a%4", "/%%41"] {
            assert!(
                RequestTarget::parse(input).unwrap().has_bad_escape(),
                "{input}"
            );
        }
        assert!(!RequestTarget::parse("/%41?x=%").unwrap().has_bad_escape());
    }

    #[test]
    fn shown_paths_are_printable() {
        assert_eq!(
            RequestTarget::parse("/a%20b/%C3%A4")
                .unwrap()
                .decoded_path(),
            "/a b/ä"
        );
        assert_eq!(
            RequestTarget::parse("/a%0Ab%1b%2Fc%ff")
                .unwrap()
                .decoded_path(),
            "/a%0Ab%1B%2Fc%FF"
        );
        assert_eq!(
            RequestTarget::parse("/%C2%85").unwrap().decoded_path(),
            "/%C2%85"
        );
    }
}
