//! W50: the shell blocks of the README and of the pages under `docs/` run as they stand, each page from top to bottom in one home.
//!
//! Three things differ from a reader's terminal. A stand-in for `agent-vault` goes before the real one: where a person would type
//! at a hidden prompt it reads from stdin, a server is started in the background on ports of the test, and commands are told its
//! address. Programs that would talk to the world are stand-ins that insist on the proxy. Text in [`GIVEN`] stands for what only the
//! reader knows.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agent_vault_testing::Home;

use crate::stage::binary;
use crate::stage::ports::free_port;
use crate::stage::process::Run;

/// Blocks that are not run, by page and a part of the block, and why.
const NOT_RUN: [(&str, &str, &str); 2] = [
    (
        "README.md",
        "./scripts/quickstart",
        "builds the program; continuous integration runs it on its own",
    ),
    ("README.md", "./scripts/test", "runs this test"),
];

/// What stands in the pages for something that the reader knows, and what the test puts there.
const GIVEN: [(&str, &str); 5] = [
    ("https://vault.internal", "$TEST_ADDRESS"),
    ("http://vault.internal:14321", "$TEST_ADDRESS"),
    ("av_agt_…", "$TEST_TOKEN"),
    (
        "AGENT_VAULT_OWNER_PASSWORD=…",
        "AGENT_VAULT_OWNER_PASSWORD=correct-horse",
    ),
    ("/backup", "$HOME/backup"),
];

/// Programs that are not ours: each must find itself behind the proxy, `sqlite3` excepted.
const PROGRAMS: [&str; 6] = ["python", "claude", "my-agent", "git", "curl", "sqlite3"];

/// Keys that the pages expect in the caller's environment.
const KEYS: [&str; 1] = ["OPENAI_API_KEY"];

/// Stands before the real binary.
const STAND_IN: &str = r#"#!/bin/sh
set -eu
real="$TEST_BINARY"
case "$*" in
    "server --print-config" | "server stop") exec "$real" "$@" ;;
    "server" | "server -d")
        "$real" server stop 2> /dev/null || true
        exec "$real" server -d < /dev/null
        ;;
esac
# As on a machine where the server of the README listens on its own ports.
if [ -f "$HOME/.agent-vault/agent-vault.pid" ] && [ -z "${AGENT_VAULT_ADDR:-}" ]; then
    export AGENT_VAULT_ADDR="$TEST_ADDRESS"
fi
case "$*" in
    "vault credential set "[A-Z]*[A-Z])
        if [ $# = 4 ]; then
            echo sk-typed-at-a-prompt | "$real" "$@" --stdin
            exit
        fi
        ;;
    "auth register "*)
        echo correct-horse | "$real" "$@" --password-stdin
        exit
        ;;
esac
exec "$real" "$@"
"#;

const PROGRAM: &str = r#"#!/bin/sh
name=$(basename "$0")
if [ "$name" != sqlite3 ] && [ -z "${HTTPS_PROXY:-}" ]; then
    echo "$name runs without the proxy" >&2
    exit 9
fi
echo "$name $*" >> "$HOME/programs"
"#;

/// One `sh` block.
struct Block {
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (&mut open, line) {
            (None, "```sh") => {
                open = Some(Block {
                    line: number + 1,
                    text: String::new(),
                });
            }
            (Some(_), "```") => found.extend(open.take()),
            (Some(block), line) => writeln!(block.text, "{line}").expect("a string"),
            (None, _) => {}
        }
    }
    found
}

fn executable(home: &Home, name: &str, text: &str) {
    let path = home.write(format!("bin/{name}"), text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("a mode");
}

/// One page's reader: a home, and a server once a block has started one.
struct Reader {
    home: Home,
    ports: [String; 2],
    path: String,
}

impl Reader {
    fn new() -> Self {
        let home = Home::new();
        executable(&home, "agent-vault", STAND_IN);
        for program in PROGRAMS {
            executable(&home, program, PROGRAM);
        }
        home.write(
            ".env",
            "OPENAI_API_KEY=sk-from-a-file\nGITHUB_TOKEN='ghp_from_a_file'\nDEBUG=\n",
        );
        std::fs::create_dir_all(home.join("backup")).expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", home.join("bin").display());
        Self {
            home,
            ports: [free_port().to_string(), free_port().to_string()],
            path,
        }
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    fn script(&self, text: &str) -> Run {
        Run::program(&self.home, "sh")
            .args(&["-eu", "-c", text])
            .current_dir(self.home.path())
            .env("PATH", &self.path)
            .env("TEST_BINARY", binary::agent_vault())
            .env("TEST_ADDRESS", self.address())
            .env("AGENT_VAULT_PORT", &self.ports[0])
            .env("AGENT_VAULT_MITM_PORT", &self.ports[1])
            .envs(&KEYS.map(|key| (key, "sk-from-the-environment")))
    }

    fn run(&self, page: &str, block: &Block) {
        let mut text = block.text.clone();
        for (given, instead) in GIVEN {
            text = text.replace(given, instead);
        }
        let mut run = self.script(&text);
        if text.contains("$TEST_TOKEN") {
            run = run.env("TEST_TOKEN", self.agent_token());
        }
        let outcome = run.finish();
        assert!(
            outcome.status.success(),
            "{page}, line {}:\n{}{outcome:?}",
            block.line,
            block.text
        );
    }

    /// A token of the agent that the page made before.
    fn agent_token(&self) -> String {
        let rotated = self
            .script("agent-vault agent rotate ci-bot --token-only --yes")
            .succeed();
        rotated.stdout.trim().to_owned()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.script("agent-vault server stop || true").finish();
    }
}

fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root.join("docs"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    paths.extend(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        let text = std::fs::read_to_string(&path).expect("a page");
        (name.into_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn w50_every_documented_command_runs() {
    let mut left_out: Vec<_> = NOT_RUN
        .iter()
        .map(|(page, part, _)| (*page, *part))
        .collect();
    let (mut seen, mut run) = (0, 0);
    for (page, text) in pages() {
        let blocks = blocks(&text);
        seen += text.matches("```sh\n").count();
        let reader = Reader::new();
        for block in &blocks {
            let before = left_out.len();
            left_out.retain(|(of, part)| *of != page || !block.text.contains(part));
            if left_out.len() == before {
                reader.run(&page, block);
                run += 1;
            }
        }
    }
    assert!(left_out.is_empty(), "these are in no page: {left_out:?}");
    assert_eq!(seen, run + NOT_RUN.len());
    assert!(run >= 15, "only {run} blocks were found");
}
