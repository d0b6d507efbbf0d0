//! The API's description as a page for people, made from the very document that programs read.
//!
//! Plain HTML: no script, nothing loaded from elsewhere, so it works without a network and under the strictest content policy.
//! Every text of the document is escaped on its way in.

mod operation;
mod sample;
mod schema;

use serde_json::Value;

/// Methods, in the order in which a path's operations are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Groups, in the order of the page; one that is not here comes after them.
const GROUPS: [(&str, &str); 16] = [
    ("status", "Status"),
    ("auth", "Accounts and logins"),
    ("users", "People"),
    ("invites", "Invitations"),
    ("vaults", "Vaults"),
    ("members", "Members of a vault"),
    ("services", "Services"),
    ("credentials", "Credentials"),
    ("oauth", "Credentials by OAuth"),
    ("agents", "Agents"),
    ("tokens", "Vault tokens"),
    ("proposals", "Proposals"),
    ("webhooks", "Webhooks"),
    ("logs", "Request log"),
    ("audit", "Audit log"),
    ("instance", "The instance"),
];

/// The page that shows `document`, with command lines for a server at `base_url`.
pub(crate) fn page(document: &Value, base_url: &str) -> String {
    let groups = groups(document);
    let mut html = Html::default();
    html.raw(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HTTP API: Agent Vault</title>
<link rel="stylesheet" href="/pages.css">
</head>
<body class="reference">
<a class="skip" href="#main">Skip to the routes</a>
<header>
<p class="brand"><a href="/">Agent Vault</a></p>
<h1>HTTP API</h1>
<p>Version "##,
    );
    html.text(text(document, "/info/version"));
    html.raw(". ").prose(text(document, "/info/description"));
    html.raw(r#" Programs read the same in <a href="/v1/openapi.json"><code>/v1/openapi.json</code></a>.</p>"#);
    html.raw("\n");
    introduction(&mut html, base_url);
    html.raw("</header>\n");
    contents(&mut html, &groups);
    html.raw("<main id=\"main\">\n");
    for group in &groups {
        html.raw("<section>\n<h2 id=\"group-")
            .text(group.tag)
            .raw("\">")
            .text(group.title)
            .raw("</h2>\n");
        for found in &group.operations {
            operation::show(&mut html, document, found, base_url);
        }
        html.raw("</section>\n");
    }
    html.raw("<section>\n<h2 id=\"schemas\">Objects</h2>\n");
    if let Some(schemas) = document
        .pointer("/components/schemas")
        .and_then(Value::as_object)
    {
        for (name, schema) in schemas {
            schema::show(&mut html, name, schema);
        }
    }
    html.raw("</section>\n</main>\n</body>\n</html>\n");
    html.0
}

/// An operation where it stands.
struct Operation<'d> {
    method: &'static str,
    path: &'d str,
    value: &'d Value,
}

struct Group<'d> {
    tag: &'d str,
    title: &'d str,
    operations: Vec<Operation<'d>>,
}

fn groups(document: &Value) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = GROUPS
        .iter()
        .map(|(tag, title)| Group {
            tag,
            title,
            operations: Vec::new(),
        })
        .collect();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, methods) in paths.into_iter().flatten() {
        for method in METHODS {
            let Some(value) = methods.get(method) else {
                continue;
            };
            let tag = text(value, "/tags/0");
            let operation = Operation {
                method,
                path,
                value,
            };
            match groups.iter_mut().find(|group| group.tag == tag) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group {
                    tag,
                    title: tag,
                    operations: vec![operation],
                }),
            }
        }
    }
    groups.retain(|group| !group.operations.is_empty());
    groups
}

fn introduction(html: &mut Html, base_url: &str) {
    html.raw("<p>A call presents its token as <code>Authorization: Bearer …</code>: a login of a person, the token of an agent, or a token of one vault. Bodies are JSON of at most 1 MiB. A refusal is JSON with <code>error</code>, with <code>hint</code> where there is something to do next, and with <code>message</code> beside it where <code>error</code> is a code.</p>\n<pre><code>");
    html.text(&format!(
        "export AGENT_VAULT_TOKEN=…\ncurl -H \"Authorization: Bearer $AGENT_VAULT_TOKEN\" {base_url}/v1/vaults"
    ));
    html.raw("</code></pre>\n");
}

fn contents(html: &mut Html, groups: &[Group<'_>]) {
    html.raw("<nav aria-label=\"Groups of routes\">\n<ul>\n");
    for group in groups {
        html.raw("<li><a href=\"#group-")
            .text(group.tag)
            .raw("\">")
            .text(group.title)
            .raw("</a> <span class=\"count\">")
            .text(&group.operations.len().to_string())
            .raw("</span></li>\n");
    }
    html.raw("<li><a href=\"#schemas\">Objects</a></li>\n</ul>\n</nav>\n");
}

/// The text at a place of the document; empty where there is none.
fn text<'d>(value: &'d Value, pointer: &str) -> &'d str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Text of a page under construction.
#[derive(Debug, Default)]
struct Html(String);

impl Html {
    /// Markup of our own.
    fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else: shown as it is.
    fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// A doc comment: text in which backticks mark what can be typed, and empty lines part paragraphs.
    fn prose(&mut self, text: &str) -> &mut Self {
        for (i, part) in text.split('`').enumerate() {
            if i % 2 == 1 {
                self.raw("<code>").text(part).raw("</code>");
            } else {
                for (j, paragraph) in part.split("\n\n").enumerate() {
                    if j > 0 {
                        self.raw("<br><br>");
                    }
                    self.text(paragraph);
                }
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Html, page};

    #[test]
    fn whatever_the_document_says_is_text() {
        let nasty = "<script>alert('x')</script>\"&";
        let document = json!({
            "info": {"version": nasty, "description": nasty},
            "paths": {"/v1/<b>/{x}": {"post": {
                "tags": [nasty], "summary": nasty, "description": nasty, "operationId": nasty,
                "parameters": [{"name": nasty, "in": "query", "description": nasty, "schema": {"type": "string", "enum": [nasty]}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}},
                "responses": {"200": {"description": nasty, "content": {nasty: {"schema": {"type": nasty}}}}},
            }}},
            "components": {"schemas": {"A": {"type": "object", "description": nasty, "properties": {nasty: {"type": "string", "description": nasty, "example": nasty}}}}},
        });
        let html = page(&document, nasty);
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("<b>"), "{html}");
        assert!(html.contains("&lt;script&gt;"));
    }

    #[test]
    fn backticks_become_code() {
        let mut html = Html::default();
        html.prose("a `b<c` d\n\ne");
        assert_eq!(html.0, "a <code>b&lt;c</code> d<br><br>e");
    }
}
