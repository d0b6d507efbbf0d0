//! What makes a text a whole value, in each kind of body.

use memchr::{memmem, memrchr};

use crate::surface::body::MediaType;
use crate::surface::multipart;

/// Bytes before a value that are looked at for its name in JSON and forms. A longer name counts as none.
const NAME_REACH: usize = 64;
/// Bytes before a value in which the head of its multipart part must fit, from its boundary on.
const PART_HEAD_REACH: usize = 512;

/// Names of values that hold text which somebody reads: messages, prompts, outputs of tools. A placeholder that is the whole of one was
/// printed or said, not meant as a key; putting the key there would tell it to the reader.
const TEXT_NAMES: [&[u8]; 9] = [
    b"content", b"text", b"input", b"prompt", b"message", b"output", b"result", b"stdout",
    b"stderr",
];

/// The kinds of bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// A value is a string.
    Json,
    /// A value is what stands between `=` and `&`.
    Form,
    /// A value is the content of a text part.
    Multipart {
        /// Line break, dashes and boundary.
        delimiter: Box<[u8]>,
    },
    /// Clients send JSON as text, and as a form, without saying so. The first character tells.
    Open {
        /// What it is otherwise: a form, or nothing to look into.
        form: bool,
    },
}

/// How many bytes around an occurrence are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margins {
    pub(super) before: usize,
    pub(super) after: usize,
}

/// What stands around an occurrence, as far as the margins reach.
#[derive(Debug)]
pub(super) struct Around<'b> {
    pub(super) before: &'b [u8],
    /// The body starts with `before`.
    pub(super) begins: bool,
    /// Shorter than the margin only where the body ends.
    pub(super) after: &'b [u8],
}

impl Shape {
    /// Nothing for types whose values cannot be told from text.
    pub(super) fn of(content_type: Option<&str>) -> Option<Self> {
        match MediaType::parse(content_type) {
            MediaType::Json => Some(Self::Json),
            MediaType::Form => Some(Self::Open { form: true }),
            MediaType::Multipart {
                boundary: Some(boundary),
            } => Some(Self::Multipart {
                delimiter: [b"\r\n--".as_slice(), &boundary].concat().into(),
            }),
            MediaType::Text => Some(Self::Open { form: false }),
            MediaType::Other if content_type.is_none() => Some(Self::Open { form: false }),
            MediaType::Multipart { boundary: None } | MediaType::Framed | MediaType::Other => None,
        }
    }

    pub(super) fn margins(&self) -> Margins {
        match self {
            Self::Json | Self::Form | Self::Open { .. } => Margins {
                before: NAME_REACH,
                after: 1,
            },
            Self::Multipart { delimiter } => Margins {
                before: PART_HEAD_REACH,
                after: delimiter.len(),
            },
        }
    }

    /// Whether what stands around an occurrence makes it a whole value that is not for reading.
    pub(super) fn is_whole(&self, around: &Around<'_>) -> bool {
        let name = match self {
            Self::Json => json_name(around),
            Self::Form => form_name(around),
            Self::Multipart { delimiter } => part_name(around, delimiter),
            Self::Open { .. } => None,
        };
        name.is_some_and(|name| {
            !TEXT_NAMES
                .iter()
                .any(|text| name.eq_ignore_ascii_case(text))
        })
    }
}

/// The name of the member whose value is the string, empty where there is none. Nothing when it is no whole string: inside a string,
/// quotes are escaped.
fn json_name<'b>(around: &Around<'b>) -> Option<&'b [u8]> {
    around.after.strip_prefix(b"\"")?;
    let before = around.before.strip_suffix(b"\"")?;
    if before.ends_with(b"\\") {
        return None;
    }
    let name = before
        .trim_ascii_end()
        .strip_suffix(b":")
        .and_then(|member| member.trim_ascii_end().strip_suffix(b"\""))
        .and_then(after_last(b'"'));
    Some(name.unwrap_or_default())
}

/// The name of the field whose value it is.
fn form_name<'b>(around: &Around<'b>) -> Option<&'b [u8]> {
    if around.after.first().is_some_and(|&b| b != b'&') {
        return None;
    }
    let before = around.before.strip_suffix(b"=")?;
    let name = after_last(b'&')(before).or_else(|| around.begins.then_some(before))?;
    // Only the first one ends the name; another is part of a longer value.
    (!name.contains(&b'=')).then_some(name)
}

/// The name of the text part whose content it is, empty where it has none.
fn part_name<'b>(around: &Around<'b>, delimiter: &[u8]) -> Option<&'b [u8]> {
    let before = around.before;
    if around.after != delimiter || !before.ends_with(b"\r\n") {
        return None;
    }
    let dashed = delimiter.get(2..)?;
    let start = memmem::rfind(before, dashed)?;
    let own_line = before.get(..start)?.ends_with(b"\r\n") || (start == 0 && around.begins);
    let line_end = start.checked_add(dashed.len())?;
    let head_start = multipart::skip_padding(before, line_end).filter(|_| own_line)?;
    let head = match before.get(head_start..)? {
        // A part without fields starts with the empty line itself.
        b"\r\n" => b"",
        head => head.strip_suffix(b"\r\n\r\n")?,
    };
    // An earlier empty line is where the content begins.
    let whole = memmem::find(head, b"\r\n\r\n").is_none() && !head.starts_with(b"\r\n");
    (whole && multipart::is_text(head)).then(|| disposition_name(head))
}

/// The `name` of a part's disposition where it is quoted, as all clients do; empty otherwise.
fn disposition_name(head: &[u8]) -> &[u8] {
    let name = b" name=\"";
    memmem::find(head, name)
        .and_then(|at| head.get(at.checked_add(name.len())?..))
        .and_then(|rest| rest.split(|&b| b == b'"').next())
        .unwrap_or_default()
}

fn after_last<'b>(byte: u8) -> impl Fn(&'b [u8]) -> Option<&'b [u8]> {
    move |text| text.get(memrchr(byte, text)?.checked_add(1)?..)
}
