//! What has to change for the server to be as declared, as steps that say what they do and then do it.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::{Agent, Declaration, Instance, Source, Vault};
use crate::cli::App;
use crate::client::types::{Credentials, Plan, Services};
use crate::client::{ApiPath, Call};
use crate::commands::vault::credential;
use crate::commands::vault::service::file;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::vault_path;

/// One change.
pub(super) struct Step {
    /// `+` makes, `~` changes, `-` takes away.
    pub(super) sign: char,
    /// What it is about, as in `vault "work"`.
    pub(super) target: String,
    /// What is done, for people.
    pub(super) action: String,
    /// Whether something that was there is not there afterwards.
    pub(super) takes_away: bool,
    call: Act,
}

/// What a step sends.
enum Act {
    Send {
        method: Method,
        path: ApiPath,
        body: Option<Value>,
        if_match: Option<u64>,
    },
    /// Reads the value when it is its turn, so that a plan needs none.
    Credential {
        vault: String,
        key: String,
        source: Source,
    },
}

impl Step {
    fn send(
        sign: char,
        target: String,
        action: String,
        method: Method,
        path: ApiPath,
        body: Option<Value>,
    ) -> Step {
        let call = Act::Send {
            method,
            path,
            body,
            if_match: None,
        };
        Step {
            sign,
            target,
            action,
            takes_away: sign == '-',
            call,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// The server's refusal; a value that cannot be read.
    pub(super) async fn run(&self, app: &App, connection: &Connection) -> Result {
        match &self.call {
            Act::Send {
                method,
                path,
                body,
                if_match,
            } => {
                let mut call = Call::new(method.clone(), path.clone());
                if let Some(body) = body {
                    call = call.json(body);
                }
                if let Some(revision) = if_match {
                    call = call.if_match(revision);
                }
                connection.send(app, call).await.map(|_| ())
            }
            Act::Credential { vault, key, source } => {
                let values = values(app, key, source)?;
                credential::send(app, connection, vault, &values, None).await
            }
        }
        .map_err(|error| error.context(format!("{}: {}", self.target, self.action)))
    }
}

/// Reads a declared value.
fn values(app: &App, key: &str, source: &Source) -> Result<credential::Values> {
    credential::from_outside(app, key, source.env.as_deref(), source.file.as_deref())
}

/// Compares a declaration with the server.
///
/// # Errors
/// What the server refuses to show; a declaration that cannot be met.
pub(super) async fn make(
    app: &App,
    connection: &Connection,
    declared: &Declaration,
    prune: bool,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if let Some(instance) = &declared.instance {
        steps.extend(instance_steps(app, connection, instance).await?);
    }
    let mut new_agents = BTreeSet::new();
    if !declared.agents.is_empty() {
        let present: Agents = get(app, connection, "/v1/agents".into()).await?;
        for agent in &declared.agents {
            match present.agents.iter().find(|known| known.name == agent.name) {
                None => {
                    new_agents.insert(agent.name.as_str());
                    steps.push(new_agent(agent));
                }
                Some(known) => steps.extend(agent_role(agent, known)),
            }
        }
    }
    let vaults: crate::client::types::Vaults = get(app, connection, "/v1/vaults".into()).await?;
    for vault in &declared.vaults {
        let exists = vaults.vaults.iter().any(|known| known.name == vault.name);
        if !exists {
            steps.push(Step::send(
                '+',
                format!("vault \"{}\"", vault.name),
                String::from("is made"),
                Method::POST,
                ApiPath::new("/v1/vaults"),
                Some(json!({"name": vault.name})),
            ));
        }
        steps.extend(vault_steps(app, connection, vault, exists, prune).await?);
    }
    Ok(steps)
}

async fn get<T: serde::de::DeserializeOwned>(
    app: &App,
    connection: &Connection,
    path: ApiPath,
) -> Result<T> {
    connection.send(app, Call::get(path)).await?.json()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Agents {
    agents: Vec<KnownAgent>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KnownAgent {
    name: String,
    role: String,
    vault_role: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Users {
    users: Vec<KnownUser>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KnownUser {
    email: String,
    role: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    unmatched_host_policy: String,
}

async fn instance_steps(
    app: &App,
    connection: &Connection,
    declared: &Instance,
) -> Result<Vec<Step>> {
    let present: Value = get(app, connection, "/v1/admin/settings".into()).await?;
    let wanted = serde_json::to_value(declared)
        .map_err(|e| CliError::new(format!("cannot read the declared settings: {e}")))?;
    let mut change = serde_json::Map::new();
    for (name, value) in wanted.as_object().into_iter().flatten() {
        let there = present.get(name).cloned().unwrap_or(Value::Null);
        if !same_setting(value, &there) {
            change.insert(name.clone(), value.clone());
        }
    }
    if change.is_empty() {
        return Ok(Vec::new());
    }
    let said: Vec<String> = change
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    Ok(vec![Step::send(
        '~',
        String::from("instance"),
        said.join(", "),
        Method::PUT,
        ApiPath::new("/v1/admin/settings"),
        Some(Value::Object(change)),
    )])
}

/// Lists count as sets: the server sorts them.
fn same_setting(one: &Value, other: &Value) -> bool {
    let set = |value: &Value| -> Option<BTreeSet<String>> {
        Some(
            value
                .as_array()?
                .iter()
                .map(|v| v.to_string().to_lowercase())
                .collect(),
        )
    };
    match (set(one), set(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn new_agent(agent: &Agent) -> Step {
    let mut body = json!({"name": agent.name});
    if let (Some(role), Some(fields)) = (&agent.role, body.as_object_mut()) {
        fields.insert(String::from("role"), json!(role));
    }
    Step::send(
        '+',
        format!("agent \"{}\"", agent.name),
        format!(
            "is made; `agent-vault agent rotate {} --token-only` prints a token for it",
            agent.name
        ),
        Method::POST,
        ApiPath::new("/v1/agents"),
        Some(body),
    )
}

fn agent_role(agent: &Agent, known: &KnownAgent) -> Option<Step> {
    let role = agent.role.as_ref().filter(|role| **role != known.role)?;
    Some(Step::send(
        '~',
        format!("agent \"{}\"", agent.name),
        format!("role {} -> {role}", known.role),
        Method::POST,
        ApiPath::new("/v1/agents")
            .segment(&agent.name)
            .literal("/role"),
        Some(json!({"role": role})),
    ))
}

async fn vault_steps(
    app: &App,
    connection: &Connection,
    vault: &Vault,
    exists: bool,
    prune: bool,
) -> Result<Vec<Step>> {
    let name = vault.name.as_str();
    let target = format!("vault \"{name}\"");
    let mut steps = Vec::new();
    if let Some(policy) = &vault.unmatched_host_policy {
        let present: Settings = if exists {
            get(app, connection, vault_path(name).literal("/settings")).await?
        } else {
            Settings::default()
        };
        if present.unmatched_host_policy != *policy {
            steps.push(Step::send(
                '~',
                target.clone(),
                format!("unmatched_host_policy = {policy}"),
                Method::PATCH,
                vault_path(name).literal("/settings"),
                Some(json!({"unmatched_host_policy": policy})),
            ));
        }
    }
    if !vault.credentials.is_empty() {
        let present: Credentials = if exists {
            get(
                app,
                connection,
                ApiPath::new("/v1/credentials").query("vault", name),
            )
            .await?
        } else {
            Credentials::default()
        };
        for (key, source) in &vault.credentials {
            if present.keys.contains(key) {
                continue;
            }
            if *source == Source::default() {
                return Err(CliError::new(format!(
                    "{target}: credential {key} is not there, and the declaration does not say where its value comes from"
                ))
                .hint(format!("set it with `agent-vault vault credential set {key} --vault {name}`, or declare `env` or `file`"))
                .hint("nothing was changed"));
            }
            // Missing values are found before anything is changed.
            values(app, key, source)?;
            steps.push(Step {
                sign: '+',
                target: target.clone(),
                action: format!("credential {key} from {}", origin(source)),
                takes_away: false,
                call: Act::Credential {
                    vault: name.to_owned(),
                    key: key.clone(),
                    source: source.clone(),
                },
            });
        }
    }
    if let Some(services) = &vault.services {
        steps.extend(
            service_step(app, connection, vault, file::wire(services)?, exists, prune).await?,
        );
    }
    if let Some(declared) = &vault.agents {
        let present: Agents = if exists {
            get(app, connection, vault_path(name).literal("/agents")).await?
        } else {
            Agents::default()
        };
        let present: BTreeMap<String, String> = present
            .agents
            .into_iter()
            .map(|agent| (agent.name, agent.vault_role))
            .collect();
        let grants = Grants {
            vault: name,
            noun: "agent",
            list: "/agents",
            field: "name",
        };
        steps.extend(grants.steps(declared, &present, prune));
    }
    if let Some(declared) = &vault.users {
        let present: Users = if exists {
            get(app, connection, vault_path(name).literal("/users")).await?
        } else {
            Users::default()
        };
        let present: BTreeMap<String, String> = present
            .users
            .into_iter()
            .map(|user| (user.email, user.role))
            .collect();
        let grants = Grants {
            vault: name,
            noun: "user",
            list: "/users",
            field: "email",
        };
        steps.extend(grants.steps(declared, &present, prune));
    }
    Ok(steps)
}

fn origin(source: &Source) -> String {
    match (&source.env, &source.file) {
        (Some(variable), _) => format!("${variable}"),
        (_, Some(path)) => path.display().to_string(),
        _ => String::from("nowhere"),
    }
}

async fn service_step(
    app: &App,
    connection: &Connection,
    vault: &Vault,
    wanted: Vec<Value>,
    exists: bool,
    prune: bool,
) -> Result<Option<Step>> {
    let path = vault_path(&vault.name).literal("/services");
    let target = format!("vault \"{}\"", vault.name);
    if !exists {
        return Ok((!wanted.is_empty()).then(|| {
            let action = format!("services: {}", names(&wanted, '+').join(" "));
            let body = json!({"services": wanted});
            Step::send('+', target, action, Method::PUT, path, Some(body))
        }));
    }
    let present: Services = get(app, connection, path.clone()).await?;
    let mut list: Vec<Value> = Vec::new();
    for service in present.services.into_iter().map(Value::Object) {
        let replacement = wanted
            .iter()
            .find(|new| new.get("name") == service.get("name"));
        match replacement {
            Some(new) => list.push(new.clone()),
            None if prune => {}
            None => list.push(service),
        }
    }
    for new in &wanted {
        if !list
            .iter()
            .any(|known| known.get("name") == new.get("name"))
        {
            list.push(new.clone());
        }
    }
    let body = json!({"services": list});
    // The server says what differs; it knows defaults and spellings better than a comparison of texts.
    let planned: Plan = connection
        .send(
            app,
            Call::new(Method::PUT, path.clone().query("dry_run", true)).json(&body),
        )
        .await?
        .json()?;
    if planned.changes.is_empty() {
        return Ok(None);
    }
    let said: Vec<String> = planned
        .changes
        .iter()
        .map(|change| {
            let sign = match (&change.before, &change.after) {
                (None, _) => '+',
                (_, None) => '-',
                _ => '~',
            };
            format!("{sign}{}", change.name)
        })
        .collect();
    Ok(Some(Step {
        sign: '~',
        target,
        action: format!("services: {}", said.join(" ")),
        takes_away: planned.changes.iter().any(|change| change.after.is_none()),
        call: Act::Send {
            method: Method::PUT,
            path,
            body: Some(body),
            if_match: Some(planned.revision),
        },
    }))
}

fn names(services: &[Value], sign: char) -> Vec<String> {
    services
        .iter()
        .filter_map(|service| service.get("name").and_then(Value::as_str))
        .map(|name| format!("{sign}{name}"))
        .collect()
}

/// Who has which role in a vault.
struct Grants<'a> {
    vault: &'a str,
    noun: &'static str,
    list: &'static str,
    field: &'static str,
}

impl Grants<'_> {
    fn steps(
        &self,
        declared: &BTreeMap<String, String>,
        present: &BTreeMap<String, String>,
        prune: bool,
    ) -> Vec<Step> {
        let target = format!("vault \"{}\"", self.vault);
        let noun = self.noun;
        let path = || vault_path(self.vault).literal(self.list);
        let mut steps = Vec::new();
        for (who, role) in declared {
            match present.get(who) {
                Some(known) if known == role => {}
                Some(known) => steps.push(Step::send(
                    '~',
                    target.clone(),
                    format!("{noun} {who}: {known} -> {role}"),
                    Method::POST,
                    path().segment(who).literal("/role"),
                    Some(json!({"role": role})),
                )),
                None => steps.push(Step::send(
                    '+',
                    target.clone(),
                    format!("{noun} {who}: {role}"),
                    Method::POST,
                    path(),
                    Some(json!({self.field: who, "role": role})),
                )),
            }
        }
        if prune {
            for who in present.keys().filter(|who| !declared.contains_key(*who)) {
                steps.push(Step::send(
                    '-',
                    target.clone(),
                    format!("{noun} {who} is taken out"),
                    Method::DELETE,
                    path().segment(who),
                    None,
                ));
            }
        }
        steps
    }
}
