//! What a person sees who opens the management port in a browser.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};

use crate::state::ApiState;

/// One plain page without scripts.
pub(crate) async fn index(State(state): State<ApiState>) -> Response {
    Html(text(&state.info().version)).into_response()
}

fn text(version: &str) -> String {
    let version: String = version
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || ".-+".contains(*c))
        .collect();
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Agent Vault</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
code, pre {{ font: 0.9em ui-monospace, monospace; background: #8881; border-radius: 4px; padding: 0.1em 0.3em; }}
pre {{ padding: 0.8em; overflow-x: auto; }}
</style>
</head>
<body>
<h1>Agent Vault</h1>
<p>This is the management port of Agent Vault {version}: a broker that puts credentials on the requests of AI agents,
so that no agent ever holds one.</p>
<h2>From the command line</h2>
<pre>agent-vault --help
agent-vault auth login
agent-vault run -- claude</pre>
<h2>From a program</h2>
<p>The HTTP API is described in <a href="/v1/openapi.json"><code>/v1/openapi.json</code></a>.
<a href="/v1/status"><code>/v1/status</code></a> says whether this instance has an owner, and
<a href="/v1/mitm/ca.pem"><code>/v1/mitm/ca.pem</code></a> is the certificate that clients of the proxy trust.</p>
</body>
</html>
"##
    )
}
