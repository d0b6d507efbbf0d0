//! `agent-vault status`: one screen that says whether the next command will work.

use serde_json::{Value, json};

use super::ca;
use crate::cli::{App, Output, Target};
use crate::client::ApiPath;
use crate::client::Call;
use crate::client::types::{Credentials, Me, Services, Status};
use crate::config::ServerConfig;
use crate::connect::{Connection, Identity, Place, place};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::lock;
use crate::profile::{self, ChosenBy};
use crate::server::{KeyState, Server};
use crate::vault_choice::{self, vault_path};

#[derive(Default)]
struct Report {
    lines: Vec<(&'static str, String)>,
    json: serde_json::Map<String, Value>,
    todo: Vec<String>,
}

impl Report {
    fn add(&mut self, label: &'static str, key: &str, value: Value, text: String) {
        self.lines.push((label, text));
        self.json.insert(key.to_owned(), value);
    }
}

/// Prints what is known; fails only if the server is not there.
pub(crate) async fn run(app: &App, target: &Target, output: Output) -> Result {
    let home = profile::home(app)?;
    let mut report = Report::default();
    let running = lock::running(&home)?;
    report.add(
        "Data",
        "data_dir",
        json!(home.dir()),
        home.dir().display().to_string(),
    );
    let chosen = home.profile();
    if chosen.by != ChosenBy::Nothing {
        report.add(
            "Profile",
            "profile",
            json!(chosen.name.as_str()),
            format!("{} (from {})", chosen.name, chosen.by.describe()),
        );
    }
    let outcome = match (place(app, target.address.as_deref())?, running) {
        (Place::Server(address), _) => {
            let connection = Connection::nobody(app, address, home)?;
            server(app, target, &connection, &mut report).await
        }
        (Place::Local, Some(running)) => {
            let address = crate::connect::Address::parse(&running.address)?;
            let connection = Connection::nobody(app, address, home)?;
            server(app, target, &connection, &mut report).await
        }
        (Place::Local, None) => {
            report.add(
                "Server",
                "server",
                Value::Null,
                String::from("none; commands work on the local vault"),
            );
            report.add(
                "Proxy",
                "proxy",
                Value::Null,
                String::from("started by `agent-vault run` for as long as it lives"),
            );
            let config = ServerConfig::for_local(&app.env)?;
            let state = Server::inspect(&config).await.map_err(|e| e.error)?;
            if state.key != KeyState::New {
                vault(app, target, &mut report).await
            } else {
                report.todo.push(String::from(
                    "agent-vault vault credential set OPENAI_API_KEY",
                ));
                report.add(
                    "Vault",
                    "vault",
                    Value::Null,
                    String::from("no local vault yet; the first command makes it"),
                );
                Ok(())
            }
        }
    };
    if output.json {
        app.ui.line(&Value::Object(report.json).to_string())?;
    } else {
        for (label, text) in &report.lines {
            app.ui.field(label, text)?;
        }
        for todo in &report.todo {
            app.ui.note(&format!("next: {todo}"));
        }
    }
    outcome
}

async fn server(
    app: &App,
    target: &Target,
    connection: &Connection,
    report: &mut Report,
) -> Result {
    let address = connection.place_name();
    let status: Status = match connection.send(app, Call::get("/v1/status")).await {
        Ok(reply) => reply.json()?,
        Err(e) => {
            report.add(
                "Server",
                "server",
                json!({"address": address, "reachable": false}),
                format!("{address} cannot be reached"),
            );
            return Err(e);
        }
    };
    let state = if status.initialized {
        "up"
    } else {
        "up, without an owner"
    };
    report.add(
        "Server",
        "server",
        json!({"address": address, "reachable": true, "initialized": status.initialized}),
        format!("{address} {state}"),
    );
    match ca::fetch(app, connection).await {
        Ok(ca) => report.add(
            "Proxy",
            "proxy",
            json!({"port": ca.proxy_port}),
            format!("port {}", ca.proxy_port),
        ),
        Err(_) => report.add("Proxy", "proxy", Value::Null, String::from("switched off")),
    }
    if !status.initialized {
        report
            .todo
            .push(format!("agent-vault auth register --address {address}"));
        return Ok(());
    }
    vault(app, target, report).await
}

/// Who we are and what the vault brokers. Not being logged in is a finding here, not a failure.
async fn vault(app: &App, target: &Target, report: &mut Report) -> Result {
    let connection = match Connection::open(app, target.address.as_deref()).await {
        Ok(connection) => connection,
        Err(e) => {
            report.add("You", "identity", Value::Null, String::from(e.message()));
            report.todo.extend(e.hints().iter().cloned());
            return Ok(());
        }
    };
    let who = who(app, &connection).await;
    match who {
        Ok(who) => report.add("You", "identity", json!(who), who.clone()),
        Err(e) => {
            report.add("You", "identity", Value::Null, String::from(e.message()));
            report.todo.extend(e.hints().iter().cloned());
            return Ok(());
        }
    }
    let choice = match vault_choice::choose(app, &connection, target.vault.as_deref()).await {
        Ok(choice) => choice,
        Err(e) => {
            report.add("Vault", "vault", Value::Null, String::from(e.message()));
            report.todo.extend(e.hints().iter().cloned());
            return Ok(());
        }
    };
    report.add(
        "Vault",
        "vault",
        json!(choice.name),
        format!("{} (from {})", choice.name, choice.origin.describe()),
    );
    if let Err(e) = contents(app, &connection, &choice.name, report).await {
        report.add(
            "Brokers",
            "services",
            Value::Null,
            String::from(e.message()),
        );
    }
    Ok(())
}

async fn who(app: &App, connection: &Connection) -> Result<String> {
    if connection.identity == Identity::Local {
        return Ok(String::from("owner of the local vault"));
    }
    match connection.try_send(app, Call::get("/v1/auth/me")).await {
        Ok(reply) => {
            let me: Me = reply.json()?;
            Ok(if me.kind == "agent" {
                format!("agent {} ({})", me.agent_name, me.role)
            } else {
                format!("{} ({})", me.email, me.role)
            })
        }
        // A vault-scoped token is nobody in particular.
        Err(e) if e.status == 401 && connection.identity == Identity::Agent => {
            connection
                .client
                .send(&Call::get("/discover"))
                .await
                .map_err(|e| connection.explain(e))?;
            Ok(format!("holder of {}", env_vars::TOKEN.name))
        }
        Err(e) => Err(connection.explain(e)),
    }
}

async fn contents(
    app: &App,
    connection: &Connection,
    vault: &str,
    report: &mut Report,
) -> std::result::Result<(), CliError> {
    let services: Services = connection
        .send(app, Call::get(vault_path(vault).literal("/services")))
        .await?
        .json()?;
    let path = ApiPath::new("/v1/credentials").query("vault", vault);
    let credentials: Credentials = connection.send(app, Call::get(path)).await?.json()?;
    let hosts: Vec<_> = services
        .services
        .iter()
        .filter_map(|s| s.get("host").and_then(Value::as_str))
        .map(str::to_owned)
        .collect();
    let text = if hosts.is_empty() {
        String::from("nothing: no services")
    } else {
        hosts.join(", ")
    };
    if hosts.is_empty() {
        report.todo.push(format!(
            "agent-vault vault service add --vault {vault} --host api.openai.com --auth-type bearer --token-key OPENAI_API_KEY"
        ));
    }
    report.add("Brokers", "services", json!(hosts), text);
    let text = if credentials.keys.is_empty() {
        String::from("none")
    } else {
        credentials.keys.join(", ")
    };
    report.add("Credentials", "credentials", json!(credentials.keys), text);
    Ok(())
}
