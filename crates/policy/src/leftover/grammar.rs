//! What makes a text a value of its own, in each kind of body: the few bytes on its either side.

use crate::surface::MediaType;

/// Bytes before an occurrence that are looked at.
pub(super) const BEFORE: usize = 8;
/// Bytes after it.
pub(super) const AFTER: usize = 4;

/// What only bodies have in which somebody talks with a model: requests of its API, and the messages of its WebSockets. A placeholder
/// in one was printed or said; the key put there would be told to the model.
pub(crate) const CONVERSATION: [&str; 9] = [
    r#""role""#,
    r#""call_id""#,
    r#"_call_output""#,
    r#""tool_call_id""#,
    r#""tool_use""#,
    r#""tool_result""#,
    r#""functionCall""#,
    r#""functionResponse""#,
    r#""toolResponse""#,
];

/// The kinds of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// A value is a string. In a text inside a string, quotes are escaped.
    Json,
    /// A value stands between `=` and `&`.
    Form,
    /// A value is the content of a part, or a member in a part of JSON.
    Multipart,
    /// A value is the content of an XML element, or has its length before it as in protobuf.
    Other,
}

/// What stands around an occurrence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'b> {
    /// At most [`BEFORE`] bytes; fewer only where the body begins.
    pub(super) before: &'b [u8],
    pub(super) found: &'b [u8],
    /// At most [`AFTER`] bytes; fewer only where the body ends.
    pub(super) after: &'b [u8],
}

impl Grammar {
    /// `first` is the first byte that is no space: clients send JSON as text, and as a form, without saying so.
    pub(super) fn of(content_type: Option<&str>, first: Option<u8>) -> Self {
        match MediaType::parse(content_type) {
            MediaType::Multipart { .. } => Self::Multipart,
            MediaType::Framed => Self::Other,
            MediaType::Json => Self::Json,
            MediaType::Form | MediaType::Text | MediaType::Other
                if matches!(first, Some(b'{' | b'[' | b'"')) =>
            {
                Self::Json
            }
            MediaType::Form => Self::Form,
            MediaType::Text | MediaType::Other => Self::Other,
        }
    }

    /// Whether an occurrence is a value of its own.
    pub(super) fn is_value(self, around: &Around<'_>) -> bool {
        let Around {
            before,
            found,
            after,
        } = *around;
        let is_all = before.len() < BEFORE
            && before.trim_ascii().is_empty()
            && after.len() < AFTER
            && after.trim_ascii().is_empty();
        is_all
            || match self {
                Self::Json => opening_quote(before).is_some() && after.starts_with(b"\""),
                Self::Form => before.ends_with(b"=") && after.first().is_none_or(|&b| b == b'&'),
                Self::Multipart => {
                    let is_part = before.ends_with(b"\r\n\r\n") && after.starts_with(b"\r\n--");
                    let is_member = opening_quote(before)
                        .is_some_and(|before| before.trim_ascii_end().ends_with(b":"))
                        && after.starts_with(b"\"");
                    is_part || is_member
                }
                Self::Other => {
                    let is_element = before.ends_with(b">") && after.starts_with(b"<");
                    let has_length = before
                        .last()
                        .is_some_and(|&b| b < 0x80 && usize::from(b) == found.len());
                    is_element || has_length
                }
            }
    }
}

/// What stands before an opening quote that is not escaped.
fn opening_quote(before: &[u8]) -> Option<&[u8]> {
    before
        .strip_suffix(b"\"")
        .filter(|before| !before.ends_with(b"\\"))
}
