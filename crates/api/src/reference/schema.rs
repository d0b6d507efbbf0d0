//! The shape of an object: its fields in a table, each with its type, bounds and meaning.

use serde_json::Value;

use super::{Html, text};

const PREFIX: &str = "#/components/schemas/";

/// The schema that a reference leads to, or the schema itself.
pub(super) fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    text(schema, "/$ref")
        .strip_prefix(PREFIX)
        .and_then(|name| document.pointer("/components/schemas")?.get(name))
        .unwrap_or(schema)
}

/// One entry of the list of objects.
pub(super) fn show(html: &mut Html, name: &str, schema: &Value) {
    html.raw("<details class=\"schema\" id=\"schema-")
        .text(name)
        .raw("\">\n<summary><code>")
        .text(name)
        .raw("</code> <span class=\"what\">")
        .prose(text(schema, "/description"))
        .raw("</span></summary>\n");
    fields(html, schema);
    html.raw("</details>\n");
}

/// The fields of an object, or the choices of which it is one, or all of which it is made.
pub(super) fn fields(html: &mut Html, schema: &Value) {
    for (key, words) in [
        ("oneOf", "One of:"),
        ("anyOf", "One of:"),
        ("allOf", "All of:"),
    ] {
        let Some(parts) = schema.get(key).and_then(Value::as_array) else {
            continue;
        };
        html.raw("<p>").raw(words).raw("</p>\n<ul>\n");
        for part in parts {
            html.raw("<li>");
            kind(html, part);
            let said = text(part, "/description");
            if !said.is_empty() {
                html.raw(": ").prose(said);
            }
            if part.get("properties").is_some() {
                fields(html, part);
            }
            html.raw("</li>\n");
        }
        html.raw("</ul>\n");
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        if schema.get("type").is_some() {
            html.raw("<p>");
            kind(html, schema);
            bounds(html, schema);
            html.raw("</p>\n");
        }
        return;
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    html.raw("<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Field</th><th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    for (name, field) in properties {
        html.raw("<tr><th scope=\"row\"><code>")
            .text(name)
            .raw("</code>");
        if required.contains(&name.as_str()) {
            html.raw(" <span class=\"required\">required</span>");
        }
        html.raw("</th><td>");
        kind(html, field);
        html.raw("</td><td>").prose(text(field, "/description"));
        bounds(html, field);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}

/// What a value is, in a few words; objects by a link.
pub(super) fn kind(html: &mut Html, schema: &Value) {
    if let Some(name) = text(schema, "/$ref").strip_prefix(PREFIX) {
        html.raw("<a href=\"#schema-")
            .text(name)
            .raw("\">")
            .text(name)
            .raw("</a>");
        return;
    }
    if let Some(choices) = schema
        .get("oneOf")
        .or_else(|| schema.get("anyOf"))
        .and_then(Value::as_array)
    {
        for (i, choice) in choices.iter().enumerate() {
            if i > 0 {
                html.raw(" or ");
            }
            kind(html, choice);
        }
        return;
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types.is_empty() {
        html.raw("any value");
    }
    for (i, word) in types.iter().enumerate() {
        if i > 0 {
            html.raw(" or ");
        }
        match (
            *word,
            schema.get("items"),
            schema.get("additionalProperties"),
        ) {
            ("array", Some(items), _) => {
                html.raw("list of ");
                kind(html, items);
            }
            ("object", _, Some(values)) if values.is_object() => {
                html.raw("object of ");
                kind(html, values);
            }
            ("integer", ..) => {
                html.raw("whole number");
            }
            (word, ..) => {
                html.text(word);
            }
        }
        if *word == "string" && text(schema, "/format") == "date-time" {
            html.raw(", RFC 3339");
        }
    }
}

/// The bounds of a value, as far as the document gives them.
pub(super) fn bounds(html: &mut Html, schema: &Value) {
    let mut said: Vec<(&str, String)> = Vec::new();
    let number = |key: &str| schema.get(key).filter(|value| value.is_number());
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
    ] {
        match (number(least), number(most)) {
            (Some(low), Some(high)) => said.push(("", format!("{low} to {high}{unit}"))),
            (Some(low), None) => said.push(("", format!("at least {low}{unit}"))),
            (None, Some(high)) => said.push(("", format!("at most {high}{unit}"))),
            (None, None) => {}
        }
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(shown)
            .collect();
        said.push(("one of", values.join(", ")));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        said.push(("matches", pattern.to_owned()));
    }
    if let Some(default) = schema.get("default") {
        said.push(("default", shown(default)));
    }
    if let Some(example) = schema.get("example") {
        said.push(("for example", shown(example)));
    }
    for (word, value) in said {
        html.raw(" <span class=\"bound\">");
        if word.is_empty() {
            html.text(&value);
        } else {
            html.raw(word).raw(" <code>").text(&value).raw("</code>");
        }
        html.raw("</span>");
    }
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
