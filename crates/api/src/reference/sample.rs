//! Values that fit a schema and look like real ones.

use serde_json::{Map, Value, json};

use super::{schema, text};

/// How deep an example goes; what lies below is left empty.
const MAX_DEPTH: usize = 6;

/// An example of a schema over several lines.
pub(super) fn pretty(document: &Value, schema: &Value) -> String {
    format!("{:#}", of(document, schema, "", 0, false))
}

/// An example of what to send, in one line and without what may be left out.
pub(super) fn compact(document: &Value, schema: &Value) -> String {
    of(document, schema, "", 0, true).to_string()
}

/// The value of a parameter in a command line.
pub(super) fn parameter(document: &Value, parameter: &Value) -> String {
    let name = text(parameter, "/name");
    let value = match parameter.get("example") {
        Some(example) => example.clone(),
        None => match (text(parameter, "/in"), name) {
            // The vault, in most paths.
            ("path", "name") if text(parameter, "/description").contains("agent") => {
                json!("my-agent")
            }
            ("path", "name") | (_, "X-Vault") => json!("default"),
            ("path", "agent") => json!("my-agent"),
            ("path", "ref") => json!("github"),
            ("path", "id" | "version") => json!(1),
            ("path", "token") => json!("av_uinv_0123"),
            _ => of(
                document,
                parameter.get("schema").unwrap_or(&Value::Null),
                name,
                0,
                true,
            ),
        },
    };
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn of(document: &Value, schema: &Value, name: &str, depth: usize, sparing: bool) -> Value {
    let schema = schema::resolved(document, schema);
    if let Some(example) = schema
        .get("example")
        .or_else(|| schema.pointer("/examples/0"))
        .or_else(|| schema.get("const"))
        .or_else(|| schema.get("default"))
        .or_else(|| schema.pointer("/enum/0"))
    {
        return example.clone();
    }
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let below = |schema: &Value, name: &str| of(document, schema, name, depth + 1, sparing);
    for key in ["oneOf", "anyOf"] {
        if let Some(first) = schema
            .get(key)
            .and_then(Value::as_array)
            .and_then(|choices| {
                choices
                    .iter()
                    .find(|choice| text(choice, "/type") != "null")
            })
        {
            return below(first, name);
        }
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let mut whole = Map::new();
        for part in parts {
            if let Value::Object(fields) = below(part, name) {
                whole.extend(fields);
            }
        }
        return Value::Object(whole);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(several)) => several.first().and_then(Value::as_str).unwrap_or_default(),
        Some(Value::String(one)) => one,
        _ => "",
    };
    match kind {
        "object" => object(schema, sparing, below),
        "array" => match schema.get("items") {
            Some(items) => Value::Array(vec![below(items, singular(name))]),
            None => json!([]),
        },
        "string" => Value::String(word(name, text(schema, "/format")).to_owned()),
        "integer" | "number" => schema
            .get("minimum")
            .filter(|least| **least != 0)
            .cloned()
            .unwrap_or(json!(1)),
        "boolean" => json!(true),
        _ => Value::Null,
    }
}

fn object(schema: &Value, sparing: bool, below: impl Fn(&Value, &str) -> Value) -> Value {
    let mut whole = Map::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let required = |name: &str| {
            schema
                .get("required")
                .and_then(Value::as_array)
                .is_some_and(|names| names.iter().any(|known| known == name))
        };
        for (name, field) in properties {
            if !sparing || required(name) || !may_be_null(field) {
                whole.insert(name.clone(), below(field, name));
            }
        }
    } else if let Some(values) = schema
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        whole.insert("GITHUB_TOKEN".to_owned(), below(values, "value"));
    }
    Value::Object(whole)
}

/// Optional fields of bodies are the ones that take `null` too.
fn may_be_null(schema: &Value) -> bool {
    let null = |value: &Value| value.as_str() == Some("null") || text(value, "/type") == "null";
    ["type", "oneOf", "anyOf"].iter().any(|key| {
        schema
            .get(key)
            .and_then(Value::as_array)
            .is_some_and(|choices| choices.iter().any(null))
    })
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

/// A string as a field of this name would hold.
fn word<'w>(name: &str, format: &str) -> &'w str {
    if format == "date-time" || name.ends_with("_at") || matches!(name, "since" | "until") {
        return "2026-01-02T03:04:05Z";
    }
    match name {
        "email" | "created_by" | "user_email" => "ada@example.com",
        "to" => "ada@example.com",
        "password" | "current_password" | "new_password" => "correct horse battery staple",
        "code" | "totp_code" => "123456",
        "vault" | "vault_name" => "default",
        "vault_role" => "proxy",
        "role" => "member",
        "host" => "api.github.com",
        "url" => "https://api.github.com/user",
        "key" | "token_key" => "GITHUB_TOKEN",
        "token" | "av_agent_token" | "device_code" => "av_…",
        "agent" | "agent_name" => "my-agent",
        "name" => "github",
        "action" => "set",
        "auth_type" | "type" => "bearer",
        "placeholder" => "__GITHUB_TOKEN__",
        "method" => "GET",
        "path" => "/user",
        "message" | "reason" | "user_message" => "What it is for",
        "id" => "1",
        _ => "…",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{compact, of};

    #[test]
    fn examples_fit_their_schemas() {
        let document = json!({"components": {"schemas": {
            "Loop": {"type": "object", "properties": {"again": {"$ref": "#/components/schemas/Loop"}, "email": {"type": "string"}}},
        }}});
        let schema = json!({"$ref": "#/components/schemas/Loop"});
        let made = of(&document, &schema, "", 0, false);
        assert_eq!(made["email"], "ada@example.com");
        assert!(made["again"]["again"].is_object());
        let schema = json!({"type": "object", "required": ["must"], "properties": {
            "must": {"type": ["string", "null"], "enum": ["a", "b"]},
            "may": {"type": ["string", "null"]},
            "also": {"oneOf": [{"type": "null"}, {"type": "integer"}]},
            "count": {"type": "integer", "minimum": 300},
        }});
        assert_eq!(compact(&json!({}), &schema), r#"{"count":300,"must":"a"}"#);
    }
}
