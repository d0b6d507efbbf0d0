//! Coding agents of others, each started by `agent-vault run` and set up by nothing else: one turn against a stand-in of
//! its API under the API's own host name. The stand-in sees the key; the agent, its environment and its files do not.
//!
//! They are large, so that `scripts/test-agents` installs them and names their folder here; without it nothing runs.

use std::time::Duration;

use agent_vault_testing::{Canary, Home, Switchboard, Upstream};

use crate::stage::instance::Instance;
use crate::stage::ports::free_port;
use crate::stage::process::Run;
use crate::stage::{Stage, WRAPPER};

/// Names the folder with `node_modules`.
const FOLDER: &str = "AGENT_VAULT_TEST_AGENTS";
/// How long an agent may take for its turn.
const PATIENCE: Duration = Duration::from_secs(180);

/// An agent and where its requests go.
struct Agent {
    name: &'static str,
    host: &'static str,
    /// Where the turn itself is asked for.
    path: &'static str,
    /// The variable with its key.
    key: &'static str,
    /// Flags of the service that puts the key in.
    service: &'static [&'static str],
    /// The header in which it arrives, and what stands before it.
    header: (&'static str, &'static str),
}

const ANTHROPIC: &[&str] = &[
    "--auth-type",
    "api-key",
    "--api-key-header",
    "x-api-key",
    "--api-key-key",
    "ANTHROPIC_API_KEY",
];

const AGENTS: [Agent; 4] = [
    Agent {
        name: "claude",
        host: "api.anthropic.com",
        path: "/v1/messages",
        key: "ANTHROPIC_API_KEY",
        service: ANTHROPIC,
        header: ("x-api-key", ""),
    },
    Agent {
        name: "codex",
        host: "api.openai.com",
        path: "/v1/responses",
        key: "OPENAI_API_KEY",
        service: &["--auth-type", "bearer", "--token-key", "OPENAI_API_KEY"],
        header: ("authorization", "Bearer "),
    },
    Agent {
        name: "gemini",
        host: "generativelanguage.googleapis.com",
        path: "/v1beta/models/",
        key: "GEMINI_API_KEY",
        service: &[
            "--auth-type",
            "api-key",
            "--api-key-header",
            "x-goog-api-key",
            "--api-key-key",
            "GEMINI_API_KEY",
        ],
        header: ("x-goog-api-key", ""),
    },
    Agent {
        name: "opencode",
        host: "api.anthropic.com",
        path: "/v1/messages",
        key: "ANTHROPIC_API_KEY",
        service: ANTHROPIC,
        header: ("x-api-key", ""),
    },
];

#[expect(
    clippy::print_stderr,
    reason = "what is not run is told to whoever reads the test's output"
)]
fn turn(name: &str) {
    let Some(folder) = std::env::var_os(FOLDER) else {
        eprintln!("not run: {name} ({FOLDER} names no folder; see scripts/test-agents)");
        return;
    };
    let agent = AGENTS.iter().find(|agent| agent.name == name);
    let agent = agent.expect("an agent of the table");
    let upstream = Upstream::builder()
        .listen(([127, 0, 0, 1], free_port()).into())
        .name(agent.host)
        .start();
    let switchboard = Switchboard::to(upstream.addr());
    let instance = Instance::builder().env("AGENT_VAULT_UPSTREAM_PROXY", &switchboard.url());
    let stage = Stage::between(instance, Canary::new("sk-canary-"), upstream);
    stage
        .instance
        .person(&["vault", "credential", "set", agent.key, "--stdin"])
        .stdin(stage.secret.expose())
        .succeed();
    stage.add_service_named("api", agent.host, agent.service);

    let home = Home::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/agents");
    let programs = std::path::Path::new(&folder).join("node_modules/.bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let outcome = Run::agent_vault(&home)
        .args(&["run", "--", "sh", "-c", WRAPPER, "sh"])
        .args(&[&format!("{script}/{name}")])
        .env("AGENT_VAULT_ADDR", stage.instance.address())
        .env("AGENT_VAULT_TOKEN", &stage.token)
        .env("PATH", format!("{}:{path}", programs.display()))
        .spawn()
        .finish_within(PATIENCE);
    let seen: Vec<String> = stage
        .upstream
        .requests()
        .iter()
        .map(|r| format!("{} {}{}", r.method, r.host().unwrap_or_default(), r.target))
        .collect();
    assert!(outcome.status.success(), "{seen:#?}\n{outcome:?}");
    assert!(
        outcome.stdout.contains("event 0 event 1 event 2"),
        "{seen:#?}\n{outcome:?}"
    );
    let turns: Vec<_> = stage
        .upstream
        .requests()
        .into_iter()
        .filter(|r| r.host() == Some(agent.host) && r.path().starts_with(agent.path))
        .collect();
    assert!(!turns.is_empty(), "{seen:#?}");
    let (header, before) = agent.header;
    for request in &turns {
        let wanted = format!("{before}{}", stage.secret.expose());
        assert!(
            request.header_all(header) == [wanted],
            "{} did not carry the credential",
            request.target
        );
    }
    stage.secret.assert_absent("its stdout", &outcome.stdout);
    stage.secret.assert_absent("its stderr", &outcome.stderr);
    stage.secret.assert_absent_in_tree(home.path());
    stage.sweep_stage();
}

#[test]
fn claude_code() {
    turn("claude");
}

#[test]
fn codex() {
    turn("codex");
}

#[test]
fn gemini_cli() {
    turn("gemini");
}

#[test]
fn opencode() {
    turn("opencode");
}
