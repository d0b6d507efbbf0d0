//! The spellings in which a secret value can come back from an upstream.
//!
//! An upstream that echoes a request rarely echoes it raw: it prints headers into JSON, paths into HTML, a
//! `Basic` header as base64. Each spelling becomes one fixed byte string ("form"), so that looking for all of them
//! is one multi-pattern search. Spellings that are equal for a value (most tokens need no escaping) collapse.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Shortest value that is looked for, in bytes.
///
/// Below it a value is not much of a secret and too likely to be an innocent part of any text: masking every `1234`
/// would shred the agent's data and protect nothing. A short password of a `Basic` pair is still covered by the pair
/// (`user:password`), which the caller passes as one more value.
pub const MIN_VALUE_BYTES: usize = 6;

/// Longest value that is looked for as one piece, in bytes; a longer one is looked for piece by piece.
pub const MAX_PIECE_BYTES: usize = 32 * 1024;

/// What the bytes of a found form are overwritten with; always as many bytes as were found.
///
/// Whatever the spelling, decoding the result gives asterisks: a client that decodes an echoed base64 blob gets
/// `***` where the value stood instead of a decoding error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mask {
    /// `*` throughout.
    Stars,
    /// Base64 digits of asterisks; `phase` is the position of the first digit within its group of four.
    Base64 {
        /// 0..=3.
        phase: u8,
    },
    /// The same for digits that end with a lone byte: the last digit, at `last`, has but two bits of an asterisk.
    Base64End {
        /// 0..=3.
        phase: u8,
        /// Offset of the last digit.
        last: usize,
    },
    /// Hexadecimal digits of asterisks, `2a`.
    HexLower,
    /// Hexadecimal digits of asterisks, `2A`.
    HexUpper,
}

impl Mask {
    /// Returns the byte that stands `offset` bytes after the start of a masked form.
    pub(super) fn byte(self, offset: usize) -> u8 {
        match self {
            Self::Stars => b'*',
            Self::Base64End { last, .. } if offset == last => b'g',
            Self::Base64 { phase } | Self::Base64End { phase, .. } => {
                match (offset + usize::from(phase)) % 4 {
                    0 => b'K',
                    1 => b'i',
                    2 => b'o',
                    _ => b'q',
                }
            }
            Self::HexLower | Self::HexUpper if offset.is_multiple_of(2) => b'2',
            Self::HexLower => b'a',
            Self::HexUpper => b'A',
        }
    }
}

/// One spelling of a value.
pub(super) struct Form {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) mask: Mask,
}

/// Returns all spellings of `values`, sorted by their bytes and without repeats.
///
/// Values shorter than [`MIN_VALUE_BYTES`] yield nothing.
pub(super) fn all(values: &[&[u8]]) -> Vec<Form> {
    let mut forms = Forms(Vec::new());
    for value in values {
        for piece in value.chunks(MAX_PIECE_BYTES) {
            forms.add_value(piece);
        }
        // A value stored with a trailing newline is sent without it in a header.
        let trimmed = value.trim_ascii();
        if trimmed.len() != value.len() {
            for piece in trimmed.chunks(MAX_PIECE_BYTES) {
                forms.add_value(piece);
            }
        }
    }
    let mut forms = forms.0;
    forms.sort_by(|a, b| a.bytes.cmp(&b.bytes).then(a.mask.cmp(&b.mask)));
    forms.dedup_by(|later, kept| later.bytes == kept.bytes);
    forms
}

struct Forms(Vec<Form>);

impl Forms {
    fn add(&mut self, bytes: Vec<u8>, mask: Mask) {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() >= MIN_VALUE_BYTES {
            self.0.push(Form { bytes, mask });
        }
    }

    fn add_value(&mut self, value: &[u8]) {
        if value.len() < MIN_VALUE_BYTES {
            return;
        }
        self.add(value.to_vec(), Mask::Stars);
        self.add_json(value);
        self.add_html(value);
        self.add_percent(value);
        self.add_base64(value);
        self.add(hex(value, HEX_LOWER), Mask::HexLower);
        self.add(hex(value, HEX_UPPER), Mask::HexUpper);
    }

    fn add_json(&mut self, value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else {
            return;
        };
        for style in JSON_STYLES {
            let once = Zeroizing::new(style.escape(text));
            if style.nests && *once != text {
                self.add(style.escape(&once).into_bytes(), Mask::Stars);
            }
            self.add(once.as_bytes().to_vec(), Mask::Stars);
        }
    }

    fn add_html(&mut self, value: &[u8]) {
        for (double, single) in [
            ("&quot;", "&#39;"),
            ("&quot;", "&#039;"),
            ("&#34;", "&#39;"),
            ("&quot;", "&#x27;"),
            ("&quot;", "&apos;"),
            ("\"", "'"),
        ] {
            let mut out = Vec::with_capacity(value.len() * 6);
            for &byte in value {
                match byte {
                    b'&' => out.extend_from_slice(b"&amp;"),
                    b'<' => out.extend_from_slice(b"&lt;"),
                    b'>' => out.extend_from_slice(b"&gt;"),
                    b'"' => out.extend_from_slice(double.as_bytes()),
                    b'\'' => out.extend_from_slice(single.as_bytes()),
                    other => out.push(other),
                }
            }
            self.add(out, Mask::Stars);
        }
    }

    fn add_percent(&mut self, value: &[u8]) {
        for style in PERCENT_STYLES {
            for digits in [HEX_LOWER, HEX_UPPER] {
                self.add(style.encode(value, digits), Mask::Stars);
            }
        }
    }

    /// Adds the base64 digits that depend on the value alone, for each of the three places at which it can start
    /// within a group, and the digits of a value that ends the encoded text.
    ///
    /// A digit that the value shares with its neighbours is left: it tells at most four bits of one byte.
    fn add_base64(&mut self, value: &[u8]) {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for (before, first_digit) in [(0_usize, 0_usize), (1, 2), (2, 3)] {
                let mut padded = Zeroizing::new(vec![0_u8; before]);
                padded.extend_from_slice(value);
                let digits = Zeroizing::new(engine.encode(&*padded));
                let phase = u8::try_from(first_digit).unwrap_or(0);
                let whole_digits = padded.len() * 8 / 6;
                for end in [whole_digits, digits.len()] {
                    let Some(form) = digits.get(first_digit..end) else {
                        continue;
                    };
                    let mask = if end > whole_digits && padded.len() % 3 == 1 {
                        Mask::Base64End {
                            phase,
                            last: form.len() - 1,
                        }
                    } else {
                        Mask::Base64 { phase }
                    };
                    self.add(form.as_bytes().to_vec(), mask);
                    if form.contains(['+', '/']) {
                        // Echoed once more inside a URL or a JSON string.
                        self.add(form.replace('/', "\\/").into_bytes(), Mask::Stars);
                        for digits in [HEX_LOWER, HEX_UPPER] {
                            self.add(UNRESERVED.encode(form.as_bytes(), digits), Mask::Stars);
                        }
                    }
                }
            }
        }
    }
}

const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn push_hex(out: &mut Vec<u8>, byte: u8, digits: &[u8; 16]) {
    for nibble in [byte >> 4, byte & 0x0f] {
        out.extend(digits.get(usize::from(nibble)));
    }
}

fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() * 2);
    for &byte in value {
        push_hex(&mut out, byte, digits);
    }
    out
}

/// How a serializer writes the characters that JSON lets it choose a spelling for.
struct JsonStyle {
    /// Also written as `\uXXXX`, besides what JSON requires.
    escaped: &'static str,
    slash: bool,
    ascii_only: bool,
    /// `\n`, `\t` and the like instead of `\u000a`.
    short_controls: bool,
    /// `\"` instead of `\u0022`.
    short_quote: bool,
    digits: &'static [u8; 16],
    /// Also look for the text escaped twice: JSON carried inside a JSON string.
    nests: bool,
}

/// JavaScript, Rust, Python without `ensure_ascii`.
const PLAIN: JsonStyle = JsonStyle {
    escaped: "",
    slash: false,
    ascii_only: false,
    short_controls: true,
    short_quote: true,
    digits: HEX_LOWER,
    nests: true,
};

const JSON_STYLES: &[JsonStyle] = &[
    PLAIN,
    JsonStyle {
        slash: true,
        ..PLAIN
    },
    // Go.
    JsonStyle {
        escaped: "<>&\u{2028}\u{2029}",
        ..PLAIN
    },
    // Python, Ruby.
    JsonStyle {
        ascii_only: true,
        ..PLAIN
    },
    // PHP.
    JsonStyle {
        slash: true,
        ascii_only: true,
        nests: false,
        ..PLAIN
    },
    // Gson.
    JsonStyle {
        escaped: "<>&='\u{2028}\u{2029}",
        nests: false,
        ..PLAIN
    },
    // System.Text.Json.
    JsonStyle {
        escaped: "<>&'+`\u{7f}",
        ascii_only: true,
        short_quote: false,
        digits: HEX_UPPER,
        nests: false,
        ..PLAIN
    },
    // Json.NET with HTML escaping; others that escape by code point.
    JsonStyle {
        escaped: "<>&'",
        short_quote: false,
        nests: false,
        ..PLAIN
    },
    JsonStyle {
        short_controls: false,
        nests: false,
        ..PLAIN
    },
    JsonStyle {
        short_controls: false,
        digits: HEX_UPPER,
        nests: false,
        ..PLAIN
    },
    JsonStyle {
        ascii_only: true,
        digits: HEX_UPPER,
        nests: false,
        ..PLAIN
    },
];

impl JsonStyle {
    fn escape(&self, text: &str) -> String {
        // The longest spelling of a byte; growing would leave copies behind.
        let mut out = Vec::with_capacity(text.len() * 6);
        for c in text.chars() {
            match c {
                '"' if self.short_quote => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '/' if self.slash => out.extend_from_slice(b"\\/"),
                '\n' if self.short_controls => out.extend_from_slice(b"\\n"),
                '\r' if self.short_controls => out.extend_from_slice(b"\\r"),
                '\t' if self.short_controls => out.extend_from_slice(b"\\t"),
                '\u{8}' if self.short_controls => out.extend_from_slice(b"\\b"),
                '\u{c}' if self.short_controls => out.extend_from_slice(b"\\f"),
                c if c == '"'
                    || c < ' '
                    || self.escaped.contains(c)
                    || (self.ascii_only && !c.is_ascii()) =>
                {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.extend_from_slice(b"\\u");
                        for byte in unit.to_be_bytes() {
                            push_hex(&mut out, byte, self.digits);
                        }
                    }
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Which bytes, besides ASCII letters and digits, a URL encoder leaves alone.
struct PercentStyle {
    kept: &'static [u8],
    space_is_plus: bool,
}

/// RFC 3986 section 2.3, what we inject into paths and most libraries write.
const UNRESERVED: PercentStyle = PercentStyle {
    kept: b"-_.~",
    space_is_plus: false,
};

const PERCENT_STYLES: &[PercentStyle] = &[
    UNRESERVED,
    // Go and Python form encoding.
    PercentStyle {
        kept: b"-_.~",
        space_is_plus: true,
    },
    // WHATWG form encoding, Java.
    PercentStyle {
        kept: b"-_.*",
        space_is_plus: true,
    },
    // encodeURIComponent.
    PercentStyle {
        kept: b"-_.~!*'()",
        space_is_plus: false,
    },
    // A whole path given to an encoder that leaves its slashes.
    PercentStyle {
        kept: b"-_.~/",
        space_is_plus: false,
    },
    // RFC 3986 path characters, and Go's choice among them.
    PercentStyle {
        kept: b"-_.~!$&'()*+,;=:@",
        space_is_plus: false,
    },
    PercentStyle {
        kept: b"-_.~$&+=:@",
        space_is_plus: false,
    },
    // WHATWG path and query sets, encodeURI.
    PercentStyle {
        kept: b"-_.~!$%&'()*+,/:;=@[\\]^|",
        space_is_plus: false,
    },
    PercentStyle {
        kept: b"-_.~!$%&()*+,/:;=?@[\\]^`{|}",
        space_is_plus: false,
    },
    PercentStyle {
        kept: b"-_.~!*'();/?:@&=+$,#",
        space_is_plus: false,
    },
];

impl PercentStyle {
    fn encode(&self, value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
        let mut out = Vec::with_capacity(value.len() * 3);
        for &byte in value {
            if byte == b' ' && self.space_is_plus {
                out.push(b'+');
            } else if byte.is_ascii_alphanumeric() || self.kept.contains(&byte) {
                out.push(byte);
            } else {
                out.push(b'%');
                push_hex(&mut out, byte, digits);
            }
        }
        out
    }
}
