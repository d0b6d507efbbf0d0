//! A running server of our own, on free ports and a temporary data folder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ports::free_port;
use agent_vault_testing::{Canary, Home, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};

use super::binary;
use super::http::{self, Reply};
use super::process::{Output, Run};

/// The owner of every instance.
pub(crate) const EMAIL: &str = "owner@example.com";
/// Their password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// How often a start is tried when another process has taken a port in between.
const START_ATTEMPTS: usize = 50;

/// Describes a server before it starts.
pub(crate) struct InstanceBuilder {
    home: Home,
    variables: Vec<(String, String)>,
    flags: Vec<String>,
    stdin: Vec<u8>,
    /// What the server is started by.
    inside: Vec<String>,
}

/// A server that listens. Stopped on drop, and killed should this process die before that.
pub(crate) struct Instance {
    home: Home,
    server: Option<Server>,
    variables: Vec<(String, String)>,
    flags: Vec<String>,
    stdin: Vec<u8>,
    inside: Vec<String>,
    /// Where it listened first, and so after a restart.
    ports: Option<(u16, u16)>,
}

struct Server {
    child: Child,
    guard: Child,
    stdout: Output,
    api: SocketAddr,
    proxy: SocketAddr,
    log: PathBuf,
}

impl InstanceBuilder {
    /// Trusts these roots for upstreams.
    pub(crate) fn upstream_ca(mut self, pem: &str) -> Self {
        let path = self.home.write("upstream-ca.pem", pem);
        self.variables.push((
            "AGENT_VAULT_UPSTREAM_CA".to_owned(),
            path.to_string_lossy().into_owned(),
        ));
        self
    }

    /// One more variable in the server's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more flag of `agent-vault server`.
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Starts it by a command that becomes the one that it is given.
    pub(crate) fn inside(mut self, command: &[&str]) -> Self {
        self.inside = command.iter().map(ToString::to_string).collect();
        self
    }

    /// What the server reads from stdin.
    pub(crate) fn stdin(mut self, content: &str) -> Self {
        self.stdin = content.into();
        self
    }

    /// Insists that it does not start, and returns what it says.
    pub(crate) fn fails_to_start(self) -> String {
        let instance = Instance {
            home: self.home,
            server: None,
            variables: self.variables,
            flags: self.flags,
            stdin: self.stdin,
            inside: self.inside,
            ports: None,
        };
        match instance.try_start() {
            Ok(_) => panic!("the server starts"),
            Err(text) => text,
        }
    }

    /// Starts it and waits until both listeners are bound.
    pub(crate) fn start(self) -> Instance {
        let mut instance = Instance {
            home: self.home,
            server: None,
            variables: self.variables,
            flags: self.flags,
            stdin: self.stdin,
            inside: self.inside,
            ports: None,
        };
        instance.start();
        instance
    }
}

impl Instance {
    /// Describes one that may reach this machine, and has services on `localhost`.
    pub(crate) fn builder() -> InstanceBuilder {
        InstanceBuilder {
            home: Home::new(),
            variables: LOCAL
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            flags: Vec::new(),
            stdin: Vec::new(),
            inside: Vec::new(),
        }
    }

    /// Starts it again, on the same data.
    pub(crate) fn start(&mut self) {
        for attempt in 1.. {
            match self.try_start() {
                Ok(server) => {
                    self.ports = Some((server.api.port(), server.proxy.port()));
                    self.server = Some(server);
                    return;
                }
                // Somebody else's connection from that port, which ends.
                Err(text) if text.contains("cannot listen on") && attempt < START_ATTEMPTS => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(text) => panic!("the server does not start: {text}"),
            }
        }
    }

    /// What a server of this instance is started with.
    pub(crate) fn server_command(&self) -> Command {
        let mut command = match self.inside.split_first() {
            None => self.home.command(binary::agent_vault()),
            Some((first, rest)) => {
                let mut command = self.home.command(first);
                command.args(rest).arg(binary::agent_vault());
                command
            }
        };
        command
            .arg("server")
            .args(&self.flags)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn try_start(&self) -> Result<Server, String> {
        use std::io::Write as _;

        let log = self.home.write("server-stderr.log", "");
        let stderr = std::fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .expect("a log file");
        let (api, proxy) = self.ports.unwrap_or_else(|| (0, free_port()));
        let mut child = self
            .server_command()
            .args(["--log-level", "debug"])
            .args(["--port", &api.to_string()])
            .args(["--mitm-port", &proxy.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the server's process");
        let guard = Command::new("sh")
            .args(["-c", "cat >/dev/null; kill -KILL \"$1\"", "sh"])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the guard's process");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&self.stdin).unwrap_or_default();
        drop(stdin);
        let stdout = Output::of(child.stdout.take().expect("a pipe"));
        let announced = wait_for_addresses(&stdout, &mut child);
        let server = Server {
            api: announced.map_or(([0, 0, 0, 0], 0).into(), |(api, _)| api),
            proxy: announced.map_or(([0, 0, 0, 0], 0).into(), |(_, proxy)| proxy),
            child,
            guard,
            stdout,
            log,
        };
        match announced {
            Some(_) => Ok(server),
            None => {
                let text = format!("{}{}", server.stdout.text(), server.log());
                drop(server);
                Err(text)
            }
        }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a server that runs")
    }

    /// Creates the owner, whose login the home then holds.
    pub(crate) fn register(&self) {
        Run::agent_vault(&self.home)
            .args(&[
                "auth",
                "register",
                "--email",
                EMAIL,
                "--password-stdin",
                "--address",
            ])
            .args(&[&self.address()])
            .stdin(format!("{PASSWORD}\n"))
            .succeed();
    }

    /// `agent-vault …` as the person who is logged in (the owner, after [`Instance::register`]).
    pub(crate) fn person(&self, arguments: &[&str]) -> Run {
        Run::agent_vault(&self.home).args(arguments)
    }

    /// The session token of the person who is logged in.
    pub(crate) fn session(&self) -> String {
        let file = std::fs::read(self.data_folder().join("session.json")).expect("a saved login");
        let file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
        file["token"].as_str().expect("a token").to_owned()
    }

    /// One call of the management API as that person.
    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> Reply {
        let authorization = format!("Bearer {}", self.session());
        http::call(
            self.api_addr(),
            method,
            path,
            &[
                ("authorization", &authorization),
                ("content-type", "application/json"),
            ],
            body.as_bytes(),
        )
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn data_folder(&self) -> PathBuf {
        self.home.join(".agent-vault")
    }

    /// The base URL of the management API.
    pub(crate) fn address(&self) -> String {
        let tls_only = self.flags.iter().any(|flag| flag == "--tls=required");
        let scheme = if tls_only { "https" } else { "http" };
        format!("{scheme}://{}", self.api_addr())
    }

    /// The server's process number.
    pub(crate) fn pid(&self) -> u32 {
        self.server().child.id()
    }

    pub(crate) fn api_addr(&self) -> SocketAddr {
        self.server().api
    }

    pub(crate) fn proxy_addr(&self) -> SocketAddr {
        self.server().proxy
    }

    /// Everything that the server has logged, at debug level.
    pub(crate) fn log(&self) -> String {
        self.server().log()
    }

    /// Insists that it still serves.
    pub(crate) fn assert_alive(&self) {
        let reply = http::call(self.api_addr(), "GET", "/health", &[], b"");
        assert_eq!(reply.status, 200, "{}", self.log());
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.child.kill().expect("a server to kill");
            server.child.wait().expect("its end");
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process number"), signal).expect("a server to signal");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let mut server = self.server.take().expect("a server that runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = server.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server did not end: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as `kill` does, and tells how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let start = Instant::now();
        if let Some(mut server) = self.server.take() {
            server.stop();
        }
        start.elapsed()
    }

    /// Insists that `secret` is in none of the server's files, its log, its arguments and its environment.
    pub(crate) fn sweep(&self, secret: &Canary) {
        secret.assert_absent_in_tree(self.home.path());
        if let Some(server) = &self.server {
            secret.assert_absent("the server's stdout", server.stdout.text());
            secret.assert_absent("the server's log", server.log());
            for file in ["cmdline", "environ"] {
                let path = format!("/proc/{}/{file}", server.child.id());
                secret.assert_absent(&path, std::fs::read(&path).unwrap_or_default());
            }
        }
    }
}

/// What lets a server, or a run without one, have services on this machine.
pub(crate) const LOCAL: [(&str, &str); 2] = [
    ("AGENT_VAULT_DEV_MODE", "true"),
    ("AGENT_VAULT_NETWORK_ALLOWLIST", "127.0.0.0/8,::1"),
];

impl Server {
    fn log(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn stop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), Ok(None)) = (pid, self.child.try_wait()) {
            kill_process(pid, Signal::TERM).unwrap_or_default();
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.child.kill().unwrap_or_default();
                self.child.wait().ok();
                assert!(
                    std::thread::panicking(),
                    "the server did not stop: {}",
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The guard first: it must not outlive the number that it was told.
        self.guard.kill().unwrap_or_default();
        self.guard.wait().ok();
        self.stop();
    }
}

/// The two addresses that the server prints once it is bound; `None` if it ends before that.
fn wait_for_addresses(stdout: &Output, child: &mut Child) -> Option<(SocketAddr, SocketAddr)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = stdout.text();
        let after = |mark: &str| {
            let rest = text.split_once(mark)?.1;
            let (line, _) = rest.split_once('\n')?;
            line.trim().parse::<SocketAddr>().ok()
        };
        let api = after(" at http://").or_else(|| after(" at https://"));
        if let (Some(api), Some(proxy)) = (api, after("proxy at ")) {
            return Some((api, proxy));
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return None;
        }
        assert!(
            Instant::now() < deadline,
            "the server does not say where it listens: {text}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
