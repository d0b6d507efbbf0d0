//! What every test here stands on: a server, an upstream, a vault between them, and an agent that holds no key.

pub(crate) mod binary;
pub(crate) mod http;
pub(crate) mod instance;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod programs;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use agent_vault_testing::{Canary, Home, Recorded, Upstream, UpstreamBuilder};

use instance::{Instance, InstanceBuilder};
use process::{Outcome, Run};

/// The key of the credential that every stage has.
pub(crate) const KEY: &str = "DEMO_KEY";

/// What a child does before it becomes the client: leaves its environment and its parent's arguments where the sweep
/// finds them.
pub(crate) const WRAPPER: &str = r#"
env > "$HOME/child-environment.$$"
tr '\0' '\n' < "/proc/$PPID/cmdline" > "$HOME/parent-arguments.$$"
exec "$@"
"#;

/// A server with an owner, a vault with one service for one upstream, and an agent.
pub(crate) struct Stage {
    pub(crate) instance: Instance,
    pub(crate) upstream: Upstream,
    /// The value of [`KEY`], which only the upstream may ever see.
    pub(crate) secret: Canary,
    /// The agent's token.
    pub(crate) token: String,
    /// The agent's home; the owner's is another one.
    pub(crate) agent: Home,
    /// A file with the proxy's root certificate, for clients that are not started by `run`.
    pub(crate) root: String,
}

/// Where the tests of one file share a stage for as long as one of them runs.
pub(crate) type Slot = Mutex<Weak<Stage>>;

impl Stage {
    /// The stage in `slot`, or a new one if nobody uses one.
    pub(crate) fn shared(slot: &'static Slot, make: impl FnOnce() -> Self) -> Arc<Self> {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = slot.upgrade() {
            return stage;
        }
        let stage = Arc::new(make());
        *slot = Arc::downgrade(&stage);
        stage
    }

    /// A stage whose service is a bearer token for the upstream's host and port.
    pub(crate) fn bearer() -> Self {
        let stage = Self::without_service(Upstream::builder());
        stage.add_service(&["--auth-type", "bearer", "--token-key", KEY]);
        stage
    }

    /// A stage whose vault has the credential, but no service yet.
    pub(crate) fn without_service(upstream: UpstreamBuilder) -> Self {
        Self::with_secret(Canary::new("sk-canary-"), upstream)
    }

    /// The same with a given value.
    pub(crate) fn with_secret(secret: Canary, upstream: UpstreamBuilder) -> Self {
        Self::on(Instance::builder(), secret, upstream)
    }

    /// The same on a server that is told more.
    pub(crate) fn on(instance: InstanceBuilder, secret: Canary, upstream: UpstreamBuilder) -> Self {
        Self::between(instance, secret, upstream.start())
    }

    /// The same with an upstream that runs already.
    pub(crate) fn between(instance: InstanceBuilder, secret: Canary, upstream: Upstream) -> Self {
        let instance = instance.upstream_ca(upstream.ca_pem()).start();
        instance.register();
        instance
            .person(&["vault", "credential", "set", KEY, "--stdin"])
            .stdin(secret.expose())
            .succeed();
        let token = instance
            .person(&[
                "agent",
                "create",
                "robot",
                "--vault",
                "default:proxy",
                "--token-only",
            ])
            .succeed()
            .stdout
            .trim()
            .to_owned();
        let agent = Home::new();
        let ca = instance.person(&["ca", "fetch"]).succeed().stdout;
        let root = agent.write("root.pem", ca);
        Self {
            instance,
            upstream,
            secret,
            token,
            agent,
            root: root.to_string_lossy().into_owned(),
        }
    }

    /// Adds the service `demo` for the upstream, with `flags`.
    pub(crate) fn add_service(&self, flags: &[&str]) {
        self.add_service_named("demo", &self.upstream.authority(), flags);
    }

    /// Adds a service of that name and host, with `flags`.
    pub(crate) fn add_service_named(&self, name: &str, host: &str, flags: &[&str]) {
        let mut line = vec!["vault", "service", "add", "--name", name, "--host", host];
        line.extend_from_slice(flags);
        self.instance.person(&line).succeed();
    }

    /// `agent-vault …` as the agent: with its token, in its home.
    pub(crate) fn as_agent(&self, arguments: &[&str]) -> Run {
        Run::agent_vault(&self.agent)
            .args(arguments)
            .env("AGENT_VAULT_ADDR", self.instance.address())
            .env("AGENT_VAULT_TOKEN", &self.token)
    }

    /// `agent-vault run -- CLIENT…` as the agent, watched by the wrapper.
    pub(crate) fn client(&self, client: &[&str]) -> Run {
        let mut line = vec!["run", "--", "sh", "-c", WRAPPER, "sh"];
        line.extend_from_slice(client);
        self.as_agent(&line)
    }

    /// The request for exactly `target` (path and query), which must have arrived.
    pub(crate) fn saw(&self, target: &str) -> Arc<Recorded> {
        self.upstream
            .requests()
            .into_iter()
            .rev()
            .find(|request| request.target == target)
            .unwrap_or_else(|| {
                let all: Vec<_> = self
                    .upstream
                    .requests()
                    .iter()
                    .map(|r| r.target.clone())
                    .collect();
                panic!("the upstream never saw {target}; it saw {all:?}")
            })
    }

    /// Insists that the request for `target` carried the secret as a bearer token.
    pub(crate) fn saw_bearer(&self, target: &str) -> Arc<Recorded> {
        let request = self.saw(target);
        let wanted = format!("Bearer {}", self.secret.expose());
        assert!(
            request.header_all("authorization") == [wanted],
            "{target} did not carry the credential and nothing else"
        );
        request
    }

    /// Insists that the secret is nowhere but at the upstream: not in what the client printed, its environment, its
    /// files, the arguments and environment of our processes, the server's log at debug level, the data folder.
    pub(crate) fn sweep(&self, outcome: &Outcome) {
        self.secret
            .assert_absent("the client's stdout", &outcome.stdout);
        self.secret
            .assert_absent("the client's stderr", &outcome.stderr);
        self.sweep_stage();
        let names = std::fs::read_dir(self.agent.path()).expect("the agent's home");
        let watched = names.flatten().any(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("child-environment.")
        });
        assert!(watched, "the child left no environment to look at");
    }

    /// The same without a client.
    pub(crate) fn sweep_stage(&self) {
        self.secret.assert_absent_in_tree(self.agent.path());
        self.instance.sweep(&self.secret);
    }
}
