//! One cell: a client in one column, what it must have printed, and what must have arrived.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use agent_vault_testing::{Home, Recorded};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Version;

use crate::stage::WRAPPER;
use crate::stage::process::{Outcome, Run};

use super::clients::{Client, Column, Credential, Version as Spoken};
use super::{DOMAIN, GIT_USER, Matrix};

/// How long a client may take in one column.
const PATIENCE: Duration = Duration::from_secs(240);
/// Events of the `sse` column.
const EVENTS: usize = 3;

/// What a program is asked for.
struct Target {
    url: String,
    base: String,
}

impl Target {
    fn of(client: &Client, column: Column, base: String) -> Self {
        let url = match (client.path, column) {
            (Some(path), _) => {
                let size = match column {
                    Column::Upload | Column::Download => "big",
                    _ => "small",
                };
                format!("{base}{}", path.replace("{size}", size))
            }
            (None, Column::WebSocket) => format!("{}/ws", base.replace("https:", "wss:")),
            (None, Column::Sse) => {
                let gate = base.trim_start_matches("https://");
                format!("{base}/sse?n={EVENTS}&gate={gate}")
            }
            (None, Column::Upload) => format!("{base}/upload"),
            (None, Column::Download) => format!("{base}/chunks/5000000"),
            (None, Column::H1 | Column::H2 | Column::AsksFirst) => format!("{base}/echo"),
        };
        Self { url, base }
    }
}

impl Matrix {
    /// Runs it; the value is whether its first CONNECT carried no token.
    pub(super) fn cell(
        &self,
        home: &Home,
        client: &Client,
        column: Column,
    ) -> Result<bool, String> {
        let host = format!("{}-{}.{DOMAIN}", client.name, column.name());
        let target = Target::of(client, column, format!("https://{host}"));
        let program = client.command(column, &target.url, &target.base);
        let line: Vec<&str> = ["run", "--quiet", "--", "sh", "-c", WRAPPER, "sh"]
            .into_iter()
            .chain(program.iter().map(String::as_str))
            .collect();
        let running = Run::agent_vault(home)
            .args(&line)
            .env("AGENT_VAULT_ADDR", self.stage.instance.address())
            .env("AGENT_VAULT_TOKEN", &self.stage.token)
            .spawn();
        if column == Column::Sse {
            let gate = self.stage.upstream.gate(&host);
            for n in 0..EVENTS {
                // The next event exists only after this one has come through.
                gate.release(1);
                running
                    .stdout
                    .reaches(&format!("event {n}"), PATIENCE / 4)
                    .map_err(|what| format!("{what}; {}", running.stderr.text()))?;
            }
        }
        let outcome = running.finish_within(PATIENCE);
        self.check(client, column, &host, &outcome)
            .and_then(|asked| {
                if column == client.own_choice() && client.compared {
                    self.compare(home, client, column, &host)?;
                }
                Ok(asked)
            })
            .map_err(|what| format!("{what}\n{outcome:?}"))
    }

    fn check(
        &self,
        client: &Client,
        column: Column,
        host: &str,
        outcome: &Outcome,
    ) -> Result<bool, String> {
        if !outcome.status.success() || !outcome.stdout.trim_end().ends_with("done") {
            return Err("it failed".to_owned());
        }
        for (what, text) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
            if !self.stage.secret.find(text).is_empty() {
                return Err(format!("the secret is in its {what}"));
            }
        }
        let requests = self.requests(host);
        if requests.is_empty() {
            return Err("the upstream saw nothing of it".to_owned());
        }
        for request in &requests {
            self.credential(client, request)?;
        }
        let spoken = self.spoken(host)?;
        match column {
            Column::H1 if spoken != Spoken::H1 => return Err(format!("it spoke {spoken:?}")),
            Column::H2 if spoken != Spoken::H2 => return Err(format!("it spoke {spoken:?}")),
            Column::WebSocket if !requests.iter().any(|r| !r.messages().is_empty()) => {
                return Err("no message arrived".to_owned());
            }
            Column::Upload if !requests.iter().any(|r| r.body_length() >= client.bytes) => {
                return Err(format!("fewer than {} bytes arrived", client.bytes));
            }
            Column::Download
                if !client.is_installer()
                    && !outcome.stdout.contains(&format!("got {}", client.bytes)) =>
            {
                return Err(format!("it did not get {} bytes", client.bytes));
            }
            _ => {}
        }
        let asked = self
            .log_lines("CONNECT refused")
            .any(|line| line.contains(host));
        if column == Column::AsksFirst && !asked {
            return Err("its first CONNECT had a token already".to_owned());
        }
        Ok(asked)
    }

    fn credential(&self, client: &Client, request: &Recorded) -> Result<(), String> {
        let secret = self.stage.secret.expose();
        let (header, wanted) = match client.credential {
            Credential::Bearer | Credential::BearerAs(_) => {
                ("authorization", format!("Bearer {secret}"))
            }
            Credential::Header { name, .. } => (name, secret.to_owned()),
            Credential::Basic => (
                "authorization",
                format!("Basic {}", STANDARD.encode(format!("{GIT_USER}:{secret}"))),
            ),
            Credential::OwnSignature => {
                let own = request.header("authorization").unwrap_or_default();
                if own.starts_with("AWS4-HMAC-SHA256 ") {
                    return Ok(());
                }
                return Err(format!("{} lost its own signature", request.target));
            }
        };
        if request.header_all(header) == [wanted] {
            Ok(())
        } else {
            Err(format!("{} did not carry the credential", request.target))
        }
    }

    /// Runs the program without us and holds against it the version that it spoke to us.
    fn compare(
        &self,
        home: &Home,
        client: &Client,
        column: Column,
        host: &str,
    ) -> Result<(), String> {
        let turn = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.stage.upstream.requests().len();
        let target = Target::of(client, column, self.stage.upstream.url(""));
        let [program, arguments @ ..] = &client.command(column, &target.url, &target.base)[..]
        else {
            return Err("it has no command".to_owned());
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ca = home.write("upstream.pem", self.stage.upstream.ca_pem());
        let mut run = Run::program(home, program).args(&arguments);
        for name in TRUST {
            run = run.env(name, &ca);
        }
        for name in ["DEMO_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"] {
            run = run.env(name, "nothing-secret");
        }
        let outcome = run.spawn().finish_within(PATIENCE);
        let seen: Vec<Spoken> = self
            .stage
            .upstream
            .requests()
            .iter()
            .skip(before)
            .filter(|r| r.host().is_some_and(|host| host.starts_with("localhost")))
            .map(|r| Spoken::of(r.version == Version::HTTP_2))
            .collect();
        drop(turn);
        let spoken = self.spoken(host)?;
        if seen.is_empty() || seen.iter().any(|version| *version != spoken) {
            return Err(format!(
                "without us it spoke {seen:?}, with us {spoken:?}; without us: {outcome:?}"
            ));
        }
        Ok(())
    }

    fn requests(&self, host: &str) -> Vec<Arc<Recorded>> {
        let mut all = self.stage.upstream.requests();
        all.retain(|request| request.host() == Some(host));
        all
    }

    /// The version in which every tunnel to `host` was spoken, as the server logged it.
    fn spoken(&self, host: &str) -> Result<Spoken, String> {
        let log = self.log_lines("a tunnel is up");
        let mut found: Vec<Spoken> = log
            .filter(|line| line.contains(host))
            .map(|line| Spoken::of(line.contains("http2=true")))
            .collect();
        found.dedup();
        match found[..] {
            [spoken] => Ok(spoken),
            _ => Err(format!("its tunnels spoke {found:?}")),
        }
    }

    fn log_lines(&self, part: &'static str) -> impl Iterator<Item = String> {
        let log = self.stage.instance.log();
        let lines: Vec<String> = log
            .lines()
            .filter(|line| line.contains(part))
            .map(|line| {
                // Without what colours a field's name.
                let mut plain = String::new();
                let mut rest = line;
                while let Some((before, after)) = rest.split_once('\u{1b}') {
                    plain.push_str(before);
                    rest = after.split_once('m').map_or("", |(_, after)| after);
                }
                plain + rest
            })
            .collect();
        lines.into_iter()
    }
}

/// What a client without us is told to trust by.
const TRUST: [&str; 10] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "DENO_CERT",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
];
