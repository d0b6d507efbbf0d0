//! What stands in the place of a found value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::forms::{HEX_LOWER, HEX_UPPER, Spelling, UNRESERVED, first_digit, hex};

/// Longest label in bytes; a longer one is cut.
const MAX_LABEL_BYTES: usize = 256;

/// Whether what is found may be replaced by something of another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The text may become longer or shorter.
    Free,
    /// It may not: a length was declared, or the format counts bytes. A label is cut, or filled up with `*`.
    Same,
}

/// The text that an agent sees instead of a value: the placeholder that it sends for it, else `[redacted:KEY]`.
///
/// Its characters need no escaping in JSON or HTML, so that it can stand wherever a raw value stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// The label of the credential `key`, for which the rule may have a placeholder.
    #[must_use]
    pub fn new(placeholder: Option<&str>, key: &str) -> Self {
        let fit = |text: &str| !text.is_empty() && text.bytes().all(is_plain);
        match placeholder.filter(|text| fit(text)) {
            Some(text) => Self::cut(text),
            None if fit(key) => Self::cut(&format!("[redacted:{key}]")),
            None => Self::nameless(),
        }
    }

    /// A label that names nothing.
    pub(super) fn nameless() -> Self {
        Self("[redacted]".to_owned())
    }

    /// A label that not even a value of a few letters is a part of.
    pub(super) fn stars() -> Self {
        Self("*".repeat(8))
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn cut(text: &str) -> Self {
        Self(text.chars().take(MAX_LABEL_BYTES).collect())
    }

    /// What takes the place of a form that is `form_len` bytes long, of a value of `value_len` bytes.
    ///
    /// With [`Fit::Same`] exactly `form_len` bytes. Base64 digits keep their number in any case, for the text around
    /// them must still decode: the label is cut or filled up before it is encoded.
    pub(super) fn replace(
        &self,
        spelling: Spelling,
        form_len: usize,
        value_len: usize,
        fit: Fit,
    ) -> Vec<u8> {
        match (spelling, fit) {
            (Spelling::Plain, Fit::Free) => self.0.clone().into_bytes(),
            (Spelling::Percent, Fit::Free) => UNRESERVED.encode(self.0.as_bytes(), HEX_UPPER),
            // A decoder leaves such characters as they are, and no `%` is cut apart.
            (Spelling::Plain | Spelling::Percent, Fit::Same) => self.fitted(form_len),
            (Spelling::Hex { upper }, _) => {
                let digits = if upper { HEX_UPPER } else { HEX_LOWER };
                match fit {
                    Fit::Free => hex(self.0.as_bytes(), digits),
                    Fit::Same => hex(&self.fitted(value_len), digits),
                }
            }
            (Spelling::Base64 { before }, _) => self.base64(before, value_len, form_len),
            (Spelling::EscapedBase64 { before, digits }, Fit::Free) => {
                self.base64(before, value_len, digits)
            }
            // More digits than there were: what follows in the same encoded text may not decode.
            (Spelling::EscapedBase64 { before, .. }, Fit::Same) => {
                self.base64(before, value_len.max(form_len), form_len)
            }
        }
    }

    fn fitted(&self, len: usize) -> Vec<u8> {
        let mut text: Vec<u8> = self.0.bytes().take(len).collect();
        text.resize(len, b'*');
        text
    }

    /// Digits that are the same in both alphabets.
    fn base64(&self, before: u8, value_len: usize, digits: usize) -> Vec<u8> {
        let mut text = vec![b'*'; usize::from(before)];
        // The one character of a label that would give a `+`.
        text.extend(
            self.fitted(value_len)
                .into_iter()
                .map(|byte| if byte == b'~' { b'-' } else { byte }),
        );
        let encoded = STANDARD_NO_PAD.encode(&text).into_bytes();
        let mut form: Vec<u8> = encoded
            .into_iter()
            .skip(first_digit(before))
            .take(digits)
            .collect();
        form.resize(digits, b'K');
        form
    }
}

/// A character that means itself in JSON, HTML and the value of a header field.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte)
}
