//! `agent-vault export`: what is there, as a declaration without values.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use agent_vault_policy::ServiceDraft;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::document::{Agent, Declaration, Source, Vault};
use crate::cli::{App, Target};
use crate::client::types::{Credentials, Services, Vaults};
use crate::client::{ApiPath, Call};
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::vault_path;

/// `agent-vault export`.
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// Every vault that you may see, instead of one
    #[arg(long, conflicts_with = "vault")]
    all: bool,
    /// Write to this file instead of stdout; it must not exist
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write JSON instead of YAML; `apply` reads both
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Members {
    agents: Vec<Member>,
    users: Vec<Member>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Member {
    name: String,
    email: String,
    role: String,
    vault_role: String,
}

/// Runs `agent-vault export`.
pub(crate) async fn run(app: &App, args: ExportArgs) -> Result {
    let (connection, names) = if args.all {
        let connection = Connection::open(app, args.target.address.as_deref()).await?;
        let found: Vaults = get(app, &connection, "/v1/vaults".into()).await?;
        let names = found.vaults.into_iter().map(|vault| vault.name).collect();
        (connection, names)
    } else {
        let (connection, name) = crate::commands::vault::open(app, &args.target).await?;
        (connection, vec![name])
    };
    let mut declaration = Declaration::default();
    for name in names {
        let vault = vault(app, &connection, name).await?;
        declaration.vaults.push(vault);
    }
    let granted: BTreeSet<String> = declaration
        .vaults
        .iter()
        .flat_map(|vault| vault.agents.iter().flatten())
        .map(|(name, _)| name.clone())
        .collect();
    // Who may not list the instance's agents declares none of them; their grants stand with the vaults.
    if let Ok(reply) = connection.try_send(app, Call::get("/v1/agents")).await {
        let found: Members = reply.json()?;
        let agents = found.agents.into_iter();
        declaration.agents = agents
            .filter(|agent| granted.contains(&agent.name))
            .map(|agent| Agent {
                name: agent.name,
                role: Some(agent.role),
            })
            .collect();
    }
    let text = if args.json {
        serde_json::to_string(&declaration).map_err(|e| e.to_string())
    } else {
        serde_saphyr::to_string(&declaration).map_err(|e| e.to_string())
    };
    let text = text.map_err(|e| CliError::new(format!("cannot write the declaration: {e}")))?;
    match args.output {
        None => app.ui.line(text.trim_end()),
        Some(path) => {
            let place = app.env.cwd().join(&path);
            std::fs::File::create_new(&place)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|e| CliError::new(format!("cannot write {}: {e}", path.display())))?;
            app.ui.success(&format!("wrote {}", path.display()))
        }
    }
}

async fn get<T: serde::de::DeserializeOwned>(
    app: &App,
    connection: &Connection,
    path: ApiPath,
) -> Result<T> {
    connection.send(app, Call::get(path)).await?.json()
}

async fn vault(app: &App, connection: &Connection, name: String) -> Result<Vault> {
    let path = vault_path(&name);
    let settings: Value = get(app, connection, path.clone().literal("/settings")).await?;
    let services: Services = get(app, connection, path.clone().literal("/services")).await?;
    let services = services
        .services
        .into_iter()
        .map(|service| serde_json::from_value::<ServiceDraft>(Value::Object(service)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| {
            CliError::new(format!(
                "the services of vault \"{name}\" cannot be read: {e}"
            ))
        })?;
    let keys = ApiPath::new("/v1/credentials").query("vault", &name);
    let credentials: Credentials = get(app, connection, keys).await?;
    let credentials: BTreeMap<String, Source> = credentials
        .keys
        .into_iter()
        .map(|key| (key, Source::default()))
        .collect();
    let agents: Members = get(app, connection, path.clone().literal("/agents")).await?;
    let agents = agents.agents.into_iter();
    let users: Members = get(app, connection, path.literal("/users")).await?;
    let users = users.users.into_iter();
    Ok(Vault {
        unmatched_host_policy: settings
            .get("unmatched_host_policy")
            .and_then(Value::as_str)
            .map(str::to_owned),
        credentials,
        services: Some(services),
        agents: Some(agents.map(|agent| (agent.name, agent.vault_role)).collect()),
        users: Some(users.map(|user| (user.email, user.role)).collect()),
        name,
    })
}
