//! How a value is written on each surface so that it stays one value there.

use zeroize::Zeroizing;

/// The encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Raw,
    /// One path segment: unreserved characters and `$ & + : = @` stay, the rest is percent-encoded.
    PathSegment,
    /// `application/x-www-form-urlencoded`: unreserved characters stay, space becomes `+`, the rest is percent-encoded.
    Form,
    /// The inside of a JSON string, `<`, `>` and `&` escaped too so that it is also safe inside HTML; U+FFFD for what is not UTF-8.
    Json,
    /// The inside of a JSON string with the escapes that RFC 8259 demands and no others.
    JsonMinimal,
}

impl Encoding {
    /// Encodes. The result is sized before it is written, so that growing leaves no copy behind.
    pub(crate) fn encode(self, value: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut counter = Counter(0);
        self.write(value, &mut counter);
        let mut out = Zeroizing::new(Vec::with_capacity(counter.0));
        self.write(value, &mut *out);
        out
    }

    fn write(self, value: &[u8], out: &mut dyn Sink) {
        match self {
            Self::Raw => out.put(value),
            Self::PathSegment => {
                for &b in value {
                    if is_unreserved(b) || matches!(b, b'$' | b'&' | b'+' | b':' | b'=' | b'@') {
                        out.put(&[b]);
                    } else {
                        out.put(percent_encoding::percent_encode_byte(b).as_bytes());
                    }
                }
            }
            Self::Form => {
                for &b in value {
                    if is_unreserved(b) {
                        out.put(&[b]);
                    } else if b == b' ' {
                        out.put(b"+");
                    } else {
                        out.put(percent_encoding::percent_encode_byte(b).as_bytes());
                    }
                }
            }
            Self::Json => write_json(value, out, true),
            Self::JsonMinimal => write_json(value, out, false),
        }
    }
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~')
}

fn write_json(value: &[u8], out: &mut dyn Sink, html: bool) {
    let mut buffer = [0u8; 4];
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.put(b"\\\""),
                '\\' => out.put(b"\\\\"),
                '\n' => out.put(b"\\n"),
                '\r' => out.put(b"\\r"),
                '\t' => out.put(b"\\t"),
                '\0'..='\u{1f}' => write_unicode_escape(c, out),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if html => write_unicode_escape(c, out),
                c => out.put(c.encode_utf8(&mut buffer).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.put("\u{fffd}".as_bytes());
        }
    }
}

/// `\u00XX` and the like; only for characters of the basic plane.
fn write_unicode_escape(c: char, out: &mut dyn Sink) {
    out.put(b"\\u");
    for shift in [12u32, 8, 4, 0] {
        let digit = char::from_digit((u32::from(c) >> shift) & 0xf, 16).unwrap_or('0');
        out.put(&[u8::try_from(digit).unwrap_or(b'0')]);
    }
}

trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

struct Counter(usize);

impl Sink for Counter {
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        for (encoding, value, expected) in [
            (Encoding::Raw, "a/b c\"", "a/b c\""),
            (Encoding::PathSegment, "a/b c", "a%2Fb%20c"),
            (
                Encoding::PathSegment,
                "123:ABC-_.~$&+=@",
                "123:ABC-_.~$&+=@",
            ),
            (
                Encoding::PathSegment,
                "ä?#%;,!*'()",
                "%C3%A4%3F%23%25%3B%2C%21%2A%27%28%29",
            ),
            (Encoding::Form, "a/b c", "a%2Fb+c"),
            (Encoding::Form, "&=+%", "%26%3D%2B%25"),
            (
                Encoding::Json,
                "a\"b\\c\n\r\t\u{1}<>&",
                "a\\\"b\\\\c\\n\\r\\t\\u0001\\u003c\\u003e\\u0026",
            ),
            (Encoding::Json, "ä\u{2028}", "ä\\u2028"),
            (Encoding::JsonMinimal, "a\"<>&\u{7f}", "a\\\"<>&\u{7f}"),
        ] {
            assert_eq!(
                encoding.encode(value.as_bytes()).as_slice(),
                expected.as_bytes(),
                "{encoding:?} {value:?}"
            );
        }
        assert_eq!(
            Encoding::Json.encode(b"a\xffb").as_slice(),
            "a\u{fffd}b".as_bytes()
        );
    }

    #[test]
    fn json_round_trips() {
        for text in ["", "plain", "\"\\\u{0}\u{8}\u{c}\n", "日本 🦀", "</script>"] {
            for encoding in [Encoding::Json, Encoding::JsonMinimal] {
                let quoted = format!(
                    "\"{}\"",
                    String::from_utf8(encoding.encode(text.as_bytes()).to_vec()).unwrap()
                );
                assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
            }
        }
    }
}
