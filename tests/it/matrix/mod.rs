//! The matrix of real clients: each program of `tests/clients`, started by `agent-vault run` and set up by nothing else,
//! in every way in which it speaks HTTP.
//!
//! [`clients`] is the table, [`cell`] runs one of its cells and checks what arrived where, [`document`] writes
//! `docs/clients.md`. Every host is a name below `clients.test` that leads, by a proxy on the way out, to one recording
//! upstream: names of this machine would not do, since Go, Java and others never take those through a proxy.

mod cell;
mod clients;
mod document;
mod indexes;

use std::sync::{Mutex, PoisonError};

use agent_vault_testing::{Canary, Home, Switchboard, Upstream};

use crate::stage::instance::Instance;
use crate::stage::ports::free_port;
use crate::stage::{KEY, Stage};

use clients::{CLIENTS, Client, Credential};

/// Whom git's repositories are open to.
const GIT_USER: &str = "robot";
/// Keys that SDKs read by themselves; their values are that of [`KEY`].
const SDK_KEYS: [&str; 2] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"];
/// How many clients run at once.
const AT_ONCE: usize = 2;
/// Set where every row has to run.
const ALL: &str = "AGENT_VAULT_TEST_EVERY_CLIENT";

/// The domain of every host of a client.
const DOMAIN: &str = "clients.test";

struct Matrix {
    stage: Stage,
    _switchboard: Switchboard,
    /// Taken by the one client that speaks to the upstream without us.
    direct: Mutex<()>,
}

impl Matrix {
    fn new() -> Self {
        let secret = Canary::new("sk-canary-");
        let upstream = Upstream::builder()
            .listen(([127, 0, 0, 1], free_port()).into())
            .name(format!("*.{DOMAIN}"))
            .git(GIT_USER, secret.expose())
            .keep_body(64 << 10)
            .start();
        let switchboard = Switchboard::to(upstream.addr());
        let instance = Instance::builder()
            .env("AGENT_VAULT_UPSTREAM_PROXY", &switchboard.url())
            .env("AGENT_VAULT_RATELIMIT_PROFILE", "off");
        let stage = Stage::between(instance, secret, upstream);
        for key in SDK_KEYS {
            let set = stage
                .instance
                .person(&["vault", "credential", "set", key, "--stdin"]);
            set.stdin(stage.secret.expose()).succeed();
        }
        let set = stage
            .instance
            .person(&["vault", "credential", "set", "GIT_USER=-"]);
        set.stdin(GIT_USER).succeed();
        let bearer = ["--auth-type", "bearer", "--token-key", KEY];
        stage.add_service_named("clients", &format!("*.{DOMAIN}"), &bearer);
        for client in &CLIENTS {
            for (column, _) in client.cells {
                let name = format!("{}-{}", client.name, column.name());
                let host = format!("{name}.{DOMAIN}");
                let flags: &[&str] = match client.credential {
                    Credential::Bearer => continue,
                    Credential::BearerAs(key) => &["--auth-type", "bearer", "--token-key", key],
                    Credential::Header { name, key } => &[
                        "--auth-type",
                        "api-key",
                        "--api-key-key",
                        key,
                        "--api-key-header",
                        name,
                    ],
                    Credential::Basic => &[
                        "--auth-type",
                        "basic",
                        "--username-key",
                        "GIT_USER",
                        "--password-key",
                        KEY,
                    ],
                    Credential::OwnSignature => &["--auth-type", "passthrough"],
                };
                stage.add_service_named(&name, &host, flags);
            }
        }
        for repository in ["big", "small", "lfs"] {
            stage.upstream.git_repository(repository);
        }
        indexes::serve(&stage.upstream);
        Self {
            stage,
            _switchboard: switchboard,
            direct: Mutex::new(()),
        }
    }

    /// Runs every cell of a client; the value is what was wrong.
    fn row(&self, client: &Client) -> Vec<String> {
        let home = Home::new();
        let mut failures = Vec::new();
        let mut asked_first = false;
        for (column, cell) in client.cells {
            if !cell.runs() {
                continue;
            }
            match self.cell(&home, client, *column) {
                Ok(asked) => asked_first |= asked,
                Err(failure) => {
                    failures.push(format!("{} {}: {failure}", client.name, column.name()));
                }
            }
        }
        if asked_first != client.asks_first {
            failures.push(format!(
                "{}: asks without a token first: {asked_first}, and the table says otherwise",
                client.name
            ));
        }
        failures.extend(self.swept(client.name, home.path()));
        failures
    }

    fn swept(&self, what: &str, folder: &std::path::Path) -> Option<String> {
        let found = self.stage.secret.find_in_tree(folder);
        (!found.is_empty()).then(|| format!("{what}: the secret is in files: {found:?}"))
    }
}

#[test]
fn every_client_works_by_the_environment_alone() {
    let only = std::env::var("AGENT_VAULT_TEST_CLIENT").ok();
    let wanted = |client: &&Client| {
        only.as_deref()
            .is_none_or(|only| only.split(',').any(|name| name == client.name))
    };
    let (here, missing): (Vec<&Client>, Vec<&Client>) = CLIENTS
        .iter()
        .filter(wanted)
        .partition(|client| client.missing().is_none());
    for client in &missing {
        let what = client.missing().unwrap_or_default();
        assert!(
            std::env::var_os(ALL).is_none(),
            "{} cannot run: there is no {what}",
            client.name
        );
        eprintln!("not run: {} (there is no {what})", client.name);
    }
    let matrix = Matrix::new();
    let queue = Mutex::new(here.into_iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(client) = next else { return };
                    let found = matrix.row(client);
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.extend(found);
                }
            });
        }
    });
    let failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    matrix.stage.instance.sweep(&matrix.stage.secret);
}

#[test]
fn the_document_is_what_the_table_says() {
    document::compare();
}
