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
/// A short password of a `Basic` pair is still covered by the pair (`user:password`), which the caller passes as one more
/// value.
pub const MIN_VALUE_BYTES: usize = agent_vault_policy::MIN_SCRUBBED_BYTES;

/// Longest value that is looked for as one piece, in bytes; a longer one is looked for piece by piece.
pub const MAX_PIECE_BYTES: usize = 32 * 1024;

/// How a form is written, and so how what takes its place must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    /// Raw, JSON, HTML: a label needs no escaping in any of them.
    Plain,
    /// Percent-encoded.
    Percent,
    /// Hexadecimal digits.
    Hex {
        /// `2A` and not `2a`.
        upper: bool,
    },
    /// Base64 digits of a value that starts `before` bytes into a group of three. The digits that it shares with its
    /// neighbours are not part of the form.
    Base64 {
        /// 0..=2.
        before: u8,
    },
    /// Base64 digits, some of them escaped for JSON or a URL.
    EscapedBase64 {
        /// 0..=2.
        before: u8,
        /// How many digits.
        digits: usize,
    },
}

/// Position of the first base64 digit that depends on nothing before a value which starts `before` bytes into a group.
pub(super) fn first_digit(before: u8) -> usize {
    match before {
        0 => 0,
        1 => 2,
        _ => 3,
    }
}

/// One spelling of a value.
pub(super) struct Form {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) spelling: Spelling,
    /// Length of the value itself.
    pub(super) value_len: usize,
    /// Which of the secrets it is a spelling of.
    pub(super) secret: usize,
}

/// Returns all spellings of `values`, sorted by their bytes and without repeats.
///
/// Values shorter than [`MIN_VALUE_BYTES`] yield nothing. Of two values with a spelling in common the first one counts.
pub(super) fn all<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Vec<Form> {
    let mut forms = Vec::new();
    for (secret, value) in values.into_iter().enumerate() {
        for piece in value.chunks(MAX_PIECE_BYTES) {
            Forms::of(&mut forms, secret, piece);
        }
        // A value stored with a trailing newline is sent without it in a header.
        let trimmed = value.trim_ascii();
        if trimmed.len() != value.len() {
            for piece in trimmed.chunks(MAX_PIECE_BYTES) {
                Forms::of(&mut forms, secret, piece);
            }
        }
    }
    forms.sort_by(|a: &Form, b: &Form| {
        (&*a.bytes, a.secret, a.spelling).cmp(&(&*b.bytes, b.secret, b.spelling))
    });
    forms.dedup_by(|later, kept| later.bytes == kept.bytes);
    forms
}

struct Forms<'f> {
    all: &'f mut Vec<Form>,
    secret: usize,
    value_len: usize,
}

impl<'f> Forms<'f> {
    fn of(all: &'f mut Vec<Form>, secret: usize, value: &[u8]) {
        if value.len() < MIN_VALUE_BYTES {
            return;
        }
        let mut forms = Self {
            all,
            secret,
            value_len: value.len(),
        };
        forms.add(value.to_vec(), Spelling::Plain);
        forms.add_json(value);
        forms.add_html(value);
        forms.add_percent(value);
        forms.add_base64(value);
        forms.add(hex(value, HEX_LOWER), Spelling::Hex { upper: false });
        forms.add(hex(value, HEX_UPPER), Spelling::Hex { upper: true });
    }

    fn add(&mut self, bytes: Vec<u8>, spelling: Spelling) {
        let bytes = Zeroizing::new(bytes);
        if bytes.len() >= MIN_VALUE_BYTES {
            self.all.push(Form {
                bytes,
                spelling,
                value_len: self.value_len,
                secret: self.secret,
            });
        }
    }

    fn add_json(&mut self, value: &[u8]) {
        let Ok(text) = std::str::from_utf8(value) else {
            return;
        };
        for style in JSON_STYLES {
            let once = Zeroizing::new(style.escape(text));
            if style.nests && *once != text {
                self.add(style.escape(&once).into_bytes(), Spelling::Plain);
            }
            self.add(once.as_bytes().to_vec(), Spelling::Plain);
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
            self.add(out, Spelling::Plain);
        }
    }

    fn add_percent(&mut self, value: &[u8]) {
        for digits in [HEX_LOWER, HEX_UPPER] {
            for style in PERCENT_STYLES {
                self.add(style.encode(value, digits), Spelling::Percent);
            }
            // A URL within a URL.
            let once = Zeroizing::new(UNRESERVED.encode(value, digits));
            self.add(UNRESERVED.encode(&once, digits), Spelling::Percent);
        }
    }

    /// Adds the base64 digits that depend on the value alone, for each of the three places at which it can start
    /// within a group, and the digits of a value that ends the encoded text.
    ///
    /// A digit that the value shares with its neighbours is left: it tells at most four bits of one byte.
    fn add_base64(&mut self, value: &[u8]) {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for before in 0..=2_u8 {
                let first_digit = first_digit(before);
                let mut padded = Zeroizing::new(vec![0_u8; usize::from(before)]);
                padded.extend_from_slice(value);
                let digits = Zeroizing::new(engine.encode(&*padded));
                let whole_digits = padded.len() * 8 / 6;
                for end in [whole_digits, digits.len()] {
                    let Some(form) = digits.get(first_digit..end) else {
                        continue;
                    };
                    self.add(form.as_bytes().to_vec(), Spelling::Base64 { before });
                    if form.contains(['+', '/']) {
                        // Echoed once more inside a URL or a JSON string.
                        let escaped = Spelling::EscapedBase64 {
                            before,
                            digits: form.len(),
                        };
                        self.add(form.replace('/', "\\/").into_bytes(), escaped);
                        for digits in [HEX_LOWER, HEX_UPPER] {
                            self.add(UNRESERVED.encode(form.as_bytes(), digits), escaped);
                        }
                    }
                }
            }
        }
    }
}

pub(super) const HEX_LOWER: &[u8; 16] = b"0123456789abcdef";
pub(super) const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

pub(super) fn push_hex(out: &mut Vec<u8>, byte: u8, digits: &[u8; 16]) {
    for nibble in [byte >> 4, byte & 0x0f] {
        out.extend(digits.get(usize::from(nibble)));
    }
}

pub(super) fn hex(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
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
    JsonStyle {
        slash: true,
        ascii_only: true,
        digits: HEX_UPPER,
        nests: false,
        ..PLAIN
    },
    // PHP with its `JSON_HEX_*` flags.
    JsonStyle {
        escaped: "<>&'",
        slash: true,
        ascii_only: true,
        short_quote: false,
        digits: HEX_UPPER,
        nests: false,
        ..PLAIN
    },
    // Whatever may be escaped by code point, the slash and the backslash too.
    EVERYTHING,
    JsonStyle {
        digits: HEX_UPPER,
        ..EVERYTHING
    },
    JsonStyle {
        escaped: "/",
        nests: false,
        ..PLAIN
    },
    JsonStyle {
        escaped: "/",
        digits: HEX_UPPER,
        nests: false,
        ..PLAIN
    },
];

const EVERYTHING: JsonStyle = JsonStyle {
    escaped: " !#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\u{7f}",
    slash: false,
    ascii_only: true,
    short_controls: false,
    short_quote: false,
    digits: HEX_LOWER,
    nests: false,
};

impl JsonStyle {
    fn escape(&self, text: &str) -> String {
        // The longest spelling of a byte; growing would leave copies behind.
        let mut out = Vec::with_capacity(text.len() * 6);
        for c in text.chars() {
            match c {
                '"' if self.short_quote => out.extend_from_slice(b"\\\""),
                '\\' if !self.escaped.contains(c) => out.extend_from_slice(b"\\\\"),
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
pub(super) struct PercentStyle {
    kept: &'static [u8],
    space_is_plus: bool,
}

/// RFC 3986 section 2.3, what we inject into paths and most libraries write.
pub(super) const UNRESERVED: PercentStyle = PercentStyle {
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
    // PHP's `urlencode`.
    PercentStyle {
        kept: b"-_.",
        space_is_plus: true,
    },
    // Whatever is no letter and no digit.
    PercentStyle {
        kept: b"",
        space_is_plus: false,
    },
    PercentStyle {
        kept: b"_",
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
    pub(super) fn encode(&self, value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
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
