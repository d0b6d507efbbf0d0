//! The service file: YAML (JSON is a subset of it). An error names file, line and field, and nothing is sent.

use std::path::Path;

use agent_vault_policy::{MAX_SERVICES, Service, ServiceDraft, ServiceError, ValidationOptions};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::cli::App;
use crate::error::{CliError, Result};

/// Largest service file, in bytes: the server takes bodies up to 1 MiB.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Whether each service must have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Required,
    /// One without a name takes the place of the stored service with the same host, port and path.
    Optional,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// As `discover` prints it; the command line names the vault.
    #[serde(default, rename = "vault")]
    _vault: Option<IgnoredAny>,
    services: Vec<ServiceDraft>,
}

/// Reads and checks a service file; `-` is stdin.
///
/// # Errors
/// The first mistake, with its line and field.
pub(super) fn read(app: &App, path: &Path, names: Names) -> Result<Vec<ServiceDraft>> {
    let (name, text) = if path.as_os_str() == "-" {
        let document = app.ui.read_document()?;
        let text = document
            .expose_str()
            .map_err(|_| CliError::new("stdin is not valid UTF-8"))?
            .to_owned();
        (String::from("stdin"), text)
    } else {
        (
            path.display().to_string(),
            read_text(&app.env.cwd().join(path))?,
        )
    };
    parse(&name, &text, names)
}

/// The drafts as the API wants them.
pub(super) fn wire(drafts: &[ServiceDraft]) -> Result<Vec<Value>> {
    drafts
        .iter()
        .map(|draft| {
            // A valid service in its one wire form; without a name, as written.
            match Service::from_draft(draft.clone(), &lenient()) {
                Ok(service) => Ok(service.to_wire()),
                Err(_) => serde_json::to_value(draft)
                    .map_err(|e| CliError::new(format!("cannot send the services: {e}"))),
            }
        })
        .collect()
}

/// Only the server knows whether internal hosts are allowed: what it may allow is left to it.
pub(super) fn lenient() -> ValidationOptions {
    ValidationOptions { dev_mode: true }
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

fn parse(file: &str, text: &str, names: Names) -> Result<Vec<ServiceDraft>> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| {
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
    })?;
    if document.services.len() > MAX_SERVICES {
        return Err(
            CliError::new(format!("{file}: more than {MAX_SERVICES} services"))
                .hint("nothing was changed"),
        );
    }
    for (index, draft) in document.services.iter().enumerate() {
        let mut draft = draft.clone();
        if names == Names::Optional && draft.name.as_deref().is_none_or(str::is_empty) {
            draft.name = Some(String::from("unnamed"));
        }
        let named = draft.name.clone();
        Service::from_draft(draft, &lenient()).map_err(|error| {
            mistake(
                file,
                text,
                index,
                error.within(&format!("services[{index}]")),
            )
        })?;
        let twice = document
            .services
            .iter()
            .take(index)
            .any(|other| other.name.is_some() && other.name == named);
        if twice {
            let error = format!(
                "services[{index}].name: `{}` is there twice",
                named.unwrap_or_default()
            );
            return Err(CliError::new(format!(
                "{file}{}: {error}",
                line_of(text, &format!("services[{index}].name"))
            ))
            .hint("nothing was changed"));
        }
    }
    Ok(document.services)
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

fn mistake(file: &str, text: &str, index: usize, error: ServiceError) -> CliError {
    let mut line = line_of(text, &error.field);
    if line.is_empty() {
        line = line_of(text, &format!("services[{index}]"));
    }
    let mut out = CliError::new(format!("{file}{line}: {}: {}", error.field, error.message));
    if let Some(hint) = error.hint {
        out = out.hint(hint);
    }
    out.hint("nothing was changed")
}

/// `, line N` of the deepest part of `field` that is in the text, as `services[2].auth.token`.
fn line_of(text: &str, field: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::{Names, parse, wire};

    const GOOD: &str = "\
services:
  - {name: pay, host: api.pay.example, auth: {type: bearer, token: PAY_KEY}}
  - name: llm
    host: api.llm.example:8443/v1/*
    auth: {type: api-key, key: LLM_KEY, header: x-api-key, prefix: \"\"}
  - name: bot
    host: api.bot.example
    auth: {type: passthrough}
    substitutions: [{key: BOT_TOKEN, placeholder: __bot_token__, in: [path]}]
";

    #[test]
    fn a_good_file_in_yaml_and_in_json() {
        let drafts = parse("f", GOOD, Names::Required).unwrap();
        let wire = wire(&drafts).unwrap();
        assert_eq!(wire.len(), 3);
        let json = serde_json::json!({"vault": "x", "services": wire}).to_string();
        assert_eq!(parse("f", &json, Names::Required).unwrap().len(), 3);
    }

    #[test]
    fn mistakes_name_line_and_field() {
        for (bad, line, word) in [
            (
                GOOD.replace("host: api.bot.example", "hst: api.bot.example"),
                7,
                "hst",
            ),
            (
                GOOD.replace("type: passthrough", "type: magic"),
                8,
                "services[2].auth.type",
            ),
            (
                GOOD.replace("    host: api.llm", "\thost: api.llm"),
                4,
                "indented by a tab",
            ),
            (
                GOOD.replace("    host: api.bot", "\n\n  \thost: api.bot"),
                9,
                "indented by a tab",
            ),
            (
                GOOD.replace("  - name: llm", "\t- name: llm"),
                3,
                "indented by a tab",
            ),
            (
                GOOD.replace("type: passthrough}", "type: \tpass\tthrough}"),
                8,
                "pass",
            ),
            (
                GOOD.replace("token: PAY_KEY", "token: pay-key"),
                2,
                "services[0].auth.token",
            ),
            (GOOD.replace("name: llm", "name: pay"), 3, "twice"),
            (GOOD.replace("name: llm", "name: L"), 3, "services[1].name"),
            (
                GOOD.replace("placeholder: __bot_token__", "placeholder: x"),
                9,
                "substitutions[0].placeholder",
            ),
            (
                GOOD.replace("auth: {type: passthrough}", "enabled: true"),
                6,
                "services[2].auth",
            ),
            (String::from("services:\n  - {name: a\n"), 0, ""),
            (String::from("servces: []\n"), 1, "servces"),
            (String::from("[]"), 0, ""),
        ] {
            let error = parse("f.yaml", &bad, Names::Required).unwrap_err();
            assert!(error.message().starts_with("f.yaml"), "{error}");
            if line > 0 {
                assert!(
                    error.message().contains(&format!(", line {line}: ")),
                    "{error} (line {line})"
                );
            }
            assert!(error.message().contains(word), "{error}");
            assert!(
                error
                    .hints()
                    .iter()
                    .any(|h| h.contains("nothing was changed"))
            );
        }
    }

    #[test]
    fn names_may_be_left_out_where_a_stored_service_gives_one() {
        let text = "services: [{host: api.x.example, auth: {type: passthrough}}]";
        assert!(parse("f", text, Names::Required).is_err());
        assert_eq!(parse("f", text, Names::Optional).unwrap().len(), 1);
    }

    #[test]
    fn an_alias_bomb_ends_in_an_error() {
        let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
        for (this, last) in ('b'..='k').zip('a'..='j') {
            text.push_str(&format!("{this}: &{this} [*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last}]\n"));
        }
        assert!(parse("f", &text, Names::Required).is_err());
    }
}
