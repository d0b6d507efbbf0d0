//! One route: parameters, body, answers, an example of each, and the command line that calls it.

use serde_json::Value;

use super::{Html, Operation, sample, schema, text};

/// Refusals that any route can give are shown in one line.
const COMMON: [&str; 10] = [
    "400", "401", "403", "404", "408", "409", "413", "415", "429", "503",
];

pub(super) fn show(html: &mut Html, document: &Value, found: &Operation<'_>, base_url: &str) {
    let operation = found.value;
    html.raw("<details class=\"operation\" id=\"")
        .text(text(operation, "/operationId"))
        .raw("\">\n<summary><span class=\"method ")
        .raw(found.method)
        .raw("\">")
        .text(&found.method.to_uppercase())
        .raw("</span> <code class=\"path\">")
        .text(found.path)
        .raw("</code> <span class=\"what\">")
        .prose(text(operation, "/summary"))
        .raw("</span></summary>\n");
    if let Some(more) = operation.get("description").and_then(Value::as_str) {
        html.raw("<p>").prose(more).raw("</p>\n");
    }
    if is_open(operation) {
        html.raw("<p>Needs no token.</p>\n");
    }
    parameters(html, operation);
    let body = json_schema(operation.get("requestBody"));
    if let Some(body) = body {
        html.raw("<h3>Body");
        if operation.pointer("/requestBody/required") != Some(&Value::Bool(true)) {
            html.raw(", may be left out");
        }
        html.raw("</h3>\n");
        schema::fields(html, schema::resolved(document, body));
    }
    html.raw("<h3>Try it</h3>\n<pre><code>");
    html.text(&command(document, found, body, base_url));
    html.raw("</code></pre>\n");
    answers(html, document, operation);
    html.raw("</details>\n");
}

/// Whether it may be called without a token.
fn is_open(operation: &Value) -> bool {
    operation
        .get("security")
        .and_then(Value::as_array)
        .is_some_and(|ways| {
            ways.iter()
                .any(|way| way.as_object().is_some_and(serde_json::Map::is_empty))
        })
}

fn parameters(html: &mut Html, operation: &Value) {
    let Some(parameters) = operation.get("parameters").and_then(Value::as_array) else {
        return;
    };
    if parameters.is_empty() {
        return;
    }
    html.raw("<h3>Parameters</h3>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Where</th><th scope=\"col\">Type</th><th scope=\"col\">Meaning</th></tr></thead>\n<tbody>\n");
    for parameter in parameters {
        html.raw("<tr><th scope=\"row\"><code>")
            .text(text(parameter, "/name"))
            .raw("</code>");
        if parameter.get("required") == Some(&Value::Bool(true)) {
            html.raw(" <span class=\"required\">required</span>");
        }
        html.raw("</th><td>")
            .text(text(parameter, "/in"))
            .raw("</td><td>");
        schema::kind(html, parameter.get("schema").unwrap_or(&Value::Null));
        html.raw("</td><td>").prose(text(parameter, "/description"));
        schema::bounds(html, parameter.get("schema").unwrap_or(&Value::Null));
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}

fn answers(html: &mut Html, document: &Value, operation: &Value) {
    let Some(responses) = operation.get("responses").and_then(Value::as_object) else {
        return;
    };
    html.raw("<h3>Answers</h3>\n<dl class=\"answers\">\n");
    let mut common = Vec::new();
    for (status, response) in responses {
        let refused =
            text(response, "/content/application~1json/schema/$ref").ends_with("/ErrorBody");
        if refused && COMMON.contains(&status.as_str()) {
            common.push(status.as_str());
            continue;
        }
        html.raw("<dt>")
            .text(status)
            .raw("</dt><dd>")
            .prose(text(response, "/description"));
        let content = response.get("content").and_then(Value::as_object);
        for (media, entry) in content.into_iter().flatten() {
            html.raw(" <span class=\"media\">")
                .text(media)
                .raw("</span> ");
            let Some(schema) = entry.get("schema") else {
                continue;
            };
            schema::kind(html, schema);
            if media == "application/json" && status.starts_with('2') {
                html.raw("\n<pre><code>")
                    .text(&sample::pretty(document, schema))
                    .raw("</code></pre>");
            }
        }
        html.raw("</dd>\n");
    }
    if !common.is_empty() {
        html.raw("<dt>")
            .text(&common.join(", "))
            .raw("</dt><dd>refused, with <a href=\"#schema-ErrorBody\">ErrorBody</a></dd>\n");
    }
    html.raw("</dl>\n");
}

fn json_schema(container: Option<&Value>) -> Option<&Value> {
    container?.pointer("/content/application~1json/schema")
}

/// A command line for a POSIX shell that makes the call.
fn command(
    document: &Value,
    found: &Operation<'_>,
    body: Option<&Value>,
    base_url: &str,
) -> String {
    let mut line = String::from("curl");
    if found.method != "get" {
        line.push_str(" -X ");
        line.push_str(&found.method.to_uppercase());
    }
    if !is_open(found.value) {
        line.push_str(" -H \"Authorization: Bearer $AGENT_VAULT_TOKEN\"");
    }
    let mut path = found.path.to_owned();
    let mut query = Vec::new();
    let parameters = found.value.get("parameters").and_then(Value::as_array);
    for parameter in parameters.into_iter().flatten() {
        let name = text(parameter, "/name");
        let value = sample::parameter(document, parameter);
        let required = parameter.get("required") == Some(&Value::Bool(true));
        match text(parameter, "/in") {
            "path" => path = path.replace(&format!("{{{name}}}"), &value),
            // The vault is nearly always wanted, and the rest is easy to add.
            "query" if required || name == "vault" => query.push(format!("{name}={value}")),
            "header" if required || name == "X-Vault" => {
                line.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
            }
            _ => {}
        }
    }
    if let Some(body) = body {
        let text = sample::compact(document, body);
        line.push_str(&format!(
            " \\\n  -H 'Content-Type: application/json' -d {}",
            quoted(&text)
        ));
    }
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query.join("&"));
    }
    line.push_str(&format!(" \\\n  {}", quoted(&format!("{base_url}{path}"))));
    line
}

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Operation, command, quoted};

    #[test]
    fn command_lines_can_be_pasted() {
        let value = json!({
            "parameters": [
                {"name": "name", "in": "path", "required": true, "schema": {"type": "string"}, "example": "work"},
                {"name": "vault", "in": "query", "schema": {"type": "string"}},
                {"name": "limit", "in": "query", "schema": {"type": "integer"}},
            ],
        });
        let body = json!({"type": "object", "properties": {"name": {"type": "string", "example": "it's"}}});
        let found = Operation {
            method: "post",
            path: "/v1/vaults/{name}/x",
            value: &value,
        };
        assert_eq!(
            command(&json!({}), &found, Some(&body), "http://h"),
            "curl -X POST -H \"Authorization: Bearer $AGENT_VAULT_TOKEN\" \\\n  -H 'Content-Type: application/json' -d '{\"name\":\"it'\\''s\"}' \\\n  'http://h/v1/vaults/work/x?vault=default'"
        );
        assert_eq!(quoted("a'b"), "'a'\\''b'");
    }
}
