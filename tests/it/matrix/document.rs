//! `docs/clients.md`, made from the table.

use std::fmt::Write as _;
use std::path::Path;

use super::clients::{CLIENTS, Cell, Client, Column};

const HEAD: &str = "\
# Clients

Generated from the table that the tests run: `UPDATE=1 ./scripts/test-clients` writes this page.

Each row is a program in `tests/clients`, started by `agent-vault run` and set up by nothing else, against a recording upstream that offers
HTTP/2 and HTTP/1.1. A cell holds if the request arrived with the real credential in place of the placeholder, what came back and the
client's environment and files hold no trace of it, and the agent's side was spoken in the version that the column says; where a client
chooses by itself, in the version that it speaks to the same upstream without us.

| | |
|---|---|
| yes | unchanged |
| yes, with a number | once the code or the command line says what the note says |
| no, with a number | not; the note says why and what to do |
| empty | the client has no such thing |

`sse`: each event comes through before the next exists. `upload`, `download`: 5 MB; with git a pack of 210 MB. `407`: whether the
client's first CONNECT carries the token at once, or it asks first, takes the 407 and comes back.

";

const TAIL: &str = "
## What `run` does for them

| for | set |
|---|---|
| the proxy | `HTTPS_PROXY`, `HTTP_PROXY`, `WSS_PROXY`, `WS_PROXY` in both cases, `grpc_proxy` |
| the roots | `SSL_CERT_FILE`, `CURL_CA_BUNDLE`, `REQUESTS_CA_BUNDLE`, `NODE_EXTRA_CA_CERTS`, `GIT_SSL_CAINFO`, `AWS_CA_BUNDLE`, `PIP_CERT`, `npm_config_cafile`, `CARGO_HTTP_CAINFO`, `DENO_CERT`, `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` and others |
| Node | `NODE_USE_ENV_PROXY=1`, which 22.21, 24.5 and later heed; for those before, `NODE_OPTIONS` loads a file that takes `fetch`, `http` and `https` with their default agents through the proxy. The caller's options stay |
| wget | `WGETRC`: the caller's settings and the roots; wget with GnuTLS reads no variable for them |
| apt | `APT_CONFIG`: the caller's settings and the roots |

Names of this machine (`localhost`, `127.0.0.1`) never go through a proxy with Go and Java, whatever `NO_PROXY` says: a service on this
machine needs a name of its own.

## Coding agents

`./scripts/test-agents` installs these from npm and runs one turn of each against a stand-in of its API under the API's own host name, started
by `agent-vault run` with a placeholder as its key. The stand-in gets the real key; the agent's output, environment and files hold no
trace of it. They take 1.1 GB on disk, so `./scripts/test` leaves them out, and this part was seen by hand.

| agent | version | transport of the turn | result |
|---|---|---|---|
| Claude Code | 2.1.331 | server-sent events | works; key from `ANTHROPIC_API_KEY` |
| Codex | 0.169.0 | the Responses API | works; `codex login --with-api-key` stores the placeholder |
| Gemini CLI | 0.61.0 | server-sent events | works; key from `GEMINI_API_KEY` |
| OpenCode | 1.18.33 | server-sent events | works; key from `ANTHROPIC_API_KEY` |

Not covered: a login by OAuth in the client itself. The vault keeps such tokens and refreshes them: [oauth.md](oauth.md).
";

/// The whole page.
pub(super) fn page() -> String {
    let mut text = HEAD.to_owned();
    let mut notes: Vec<&str> = Vec::new();
    text.push_str("| client | version | h1 | h2 | WebSocket | SSE | upload | download | 407 |\n|---|---|---|---|---|---|---|---|---|\n");
    for client in &CLIENTS {
        write!(text, "| {} | {} |", client.title, client.version).expect("a string takes all");
        for column in Column::ALL {
            let cell = client.cells.iter().find(|(of, _)| *of == column);
            let shown = match cell.map(|(_, cell)| *cell) {
                Some(Cell::Works) if column != Column::AsksFirst => "yes".to_owned(),
                Some(Cell::Needs(note)) => {
                    format!("{} {}", asks(client, column), number(&mut notes, note))
                }
                Some(Cell::Cannot(note)) => format!("no {}", number(&mut notes, note)),
                _ => asks(client, column).to_owned(),
            };
            write!(text, " {shown} |").expect("a string takes all");
        }
        text.push('\n');
    }
    text.push('\n');
    for (number, note) in notes.iter().enumerate() {
        writeln!(text, "{}. {note}.", number + 1).expect("a string takes all");
    }
    text.push_str(TAIL);
    text
}

/// What a cell shows beside its note, and an empty one by itself.
fn asks(client: &Client, column: Column) -> &'static str {
    match (column, client.asks_first) {
        (Column::AsksFirst, true) => "asks first",
        (Column::AsksFirst, false) => "at once",
        _ if client.cells.iter().any(|(of, _)| *of == column) => "yes",
        _ => "",
    }
}

fn number(notes: &mut Vec<&str>, note: &'static str) -> String {
    let place = notes.iter().position(|known| *known == note);
    let place = place.unwrap_or_else(|| {
        notes.push(note);
        notes.len() - 1
    });
    format!("({})", place + 1)
}

/// Holds the page against the file, or writes the file with `UPDATE` set.
#[expect(
    clippy::disallowed_methods,
    reason = "a file of the tree, for whoever asked for it"
)]
pub(super) fn compare() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("docs/clients.md");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/clients.md is not what the table says; run `UPDATE=1 ./scripts/test-clients`"
    );
}
