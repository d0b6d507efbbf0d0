//! YAML files that people write (JSON is a subset): read within bounds, with the line of each mistake.

use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::cli::App;
use crate::error::{CliError, Result};

/// Largest file, in bytes: the server takes bodies up to 1 MiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a file, `-` being stdin; answers what to call it, and its text.
///
/// # Errors
/// What cannot be read, is larger than 1 MiB or is not UTF-8.
pub(crate) fn read(app: &App, path: &Path) -> Result<(String, String)> {
    if path.as_os_str() == "-" {
        let document = app.ui.read_document()?;
        let text = document
            .expose_str()
            .map_err(|_| CliError::new("stdin is not valid UTF-8"))?
            .to_owned();
        return Ok((String::from("stdin"), text));
    }
    Ok((
        path.display().to_string(),
        read_text(&app.env.cwd().join(path))?,
    ))
}

fn read_text(path: &Path) -> Result<String> {
    use std::io::Read;
    let failed = |e: std::io::Error| CliError::new(format!("cannot read {}: {e}", path.display()));
    let mut text = String::new();
    std::fs::File::open(path)
        .map_err(failed)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(text.len()).map_or(true, |n| n > MAX_FILE_BYTES) {
        return Err(CliError::new(format!(
            "{} is larger than 1 MiB",
            path.display()
        )));
    }
    Ok(text)
}

/// Reads a document.
///
/// # Errors
/// The first mistake with its line; the hint says that nothing was changed.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    serde_saphyr::from_str(text).map_err(|error| {
        let mut message = first_line(&error);
        let mut line = error.location().map(|l| l.line()).filter(|l| *l > 0);
        if message.contains("tab")
            && let Some(indented) = line.and_then(|line| indented_by_tab(text, line))
        {
            line = Some(indented);
            message = String::from("is indented by a tab, where YAML wants spaces");
        }
        let place = line.map_or_else(|| file.to_owned(), |line| format!("{file}, line {line}"));
        CliError::new(format!("{place}: {message}")).hint("nothing was changed")
    })
}

/// The first line from `start` on that a tab indents. The library tells where the value before it began.
fn indented_by_tab(text: &str, start: u64) -> Option<u64> {
    (1..)
        .zip(text.lines())
        .skip_while(|(number, _)| *number < start)
        .find(|(_, line)| {
            let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
            line.get(..indentation).is_some_and(|i| i.contains('\t'))
        })
        .map(|(number, _)| number)
}

/// The message alone: the library adds its own position and an excerpt, which could hold what a person took for a secret.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.rfind(" at line ") {
        Some(end) => line
            .get(..end)
            .unwrap_or(line)
            .trim_end_matches(',')
            .to_owned(),
        None => line.to_owned(),
    }
}

/// `, line N` of the deepest part of `field` that is in the text, as `services[2].auth.token`.
pub(crate) fn line_of(text: &str, field: &str) -> String {
    let Ok(root) = serde_saphyr::from_str::<Node>(text) else {
        return String::new();
    };
    let mut node = &root;
    let mut line = 0;
    for step in steps(field) {
        let next = match (&node.0.value, step) {
            (Shape::Map(entries), Step::Key(key)) => {
                entries.iter().find(|(k, _)| k == key).map(|(_, n)| n)
            }
            (Shape::List(items), Step::Index(index)) => items.get(index),
            _ => None,
        };
        let Some(next) = next else { break };
        node = next;
        line = node.0.referenced.line();
    }
    if line == 0 {
        String::new()
    } else {
        format!(", line {line}")
    }
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

fn steps(field: &str) -> impl Iterator<Item = Step<'_>> {
    field
        .split(['.', '['])
        .filter(|part| !part.is_empty())
        .map(
            |part| match part.strip_suffix(']').and_then(|n| n.parse().ok()) {
                Some(index) => Step::Index(index),
                None => Step::Key(part),
            },
        )
}

/// Any YAML, of which only shape and positions are kept.
#[derive(Deserialize)]
#[serde(transparent)]
struct Node(Spanned<Shape>);

enum Shape {
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
    Scalar,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Shape, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
    fn visit_i64<E>(self, _: i64) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
    fn visit_u64<E>(self, _: u64) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
    fn visit_f64<E>(self, _: f64) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
    fn visit_str<E>(self, _: &str) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
    fn visit_unit<E>(self) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
    fn visit_none<E>(self) -> std::result::Result<Shape, E> {
        Ok(Shape::Scalar)
    }
}
