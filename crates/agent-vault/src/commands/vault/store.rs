//! `agent-vault vault store`: where the credentials of a vault come from.

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use crate::cli::{App, Output, Target, Yes};
use crate::client::Call;
use crate::commands::time;
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::{text_of, vault_path};

/// `agent-vault vault store`.
#[derive(Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  agent-vault vault store connect --project-id 6f1d… --environment prod --path /agents
  agent-vault vault store show
  agent-vault vault store sync
  agent-vault vault store disconnect"
)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Show the store and how its last refresh went
    Show {
        /// Vault, instead of the one in use
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Take the vault's credentials from Infisical; those that were typed in are replaced
    Connect {
        /// Vault, instead of the one in use
        name: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        output: Output,
    },
    /// Let the vault keep its own credentials again; the last copies stay
    Disconnect {
        /// Vault, instead of the one in use
        name: Option<String>,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        output: Output,
    },
    /// Fetch everything anew, now
    Sync {
        /// Vault, instead of the one in use
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Connect or disconnect, by the kind of store
    Set {
        /// Vault, instead of the one in use
        name: Option<String>,
        /// Where the credentials come from
        #[arg(long, value_enum)]
        kind: Kind,
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        yes: Yes,
        #[command(flatten)]
        output: Output,
    },
}

/// Where credentials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Typed in here
    Builtin,
    /// Copied from Infisical
    Infisical,
}

/// Where in Infisical.
#[derive(Debug, Default, Args)]
pub(super) struct PlaceArgs {
    /// Id of the project in Infisical
    #[arg(long, alias = "infisical-project-id", value_name = "ID")]
    project_id: Option<String>,
    /// Slug of the environment, such as `prod`
    #[arg(long, alias = "infisical-environment", value_name = "SLUG")]
    environment: Option<String>,
    /// Folder of the secrets [default: /]
    #[arg(long, alias = "infisical-path", value_name = "PATH")]
    path: Option<String>,
    /// Seconds between two refreshes, at least 10 [default: 60]
    #[arg(long, value_name = "SECONDS")]
    poll_interval_seconds: Option<u32>,
}

impl PlaceArgs {
    fn is_empty(&self) -> bool {
        self.project_id.is_none()
            && self.environment.is_none()
            && self.path.is_none()
            && self.poll_interval_seconds.is_none()
    }

    /// What the server wants to know of `kind`.
    pub(super) fn wish(&self, kind: Kind) -> Result<Value> {
        match kind {
            Kind::Builtin if self.is_empty() => Ok(json!({"kind": "builtin"})),
            Kind::Builtin => Err(CliError::usage(
                "project, environment, path and interval are for Infisical",
            )),
            Kind::Infisical => {
                let needed = |value: &Option<String>, flag: &str| {
                    value
                        .clone()
                        .ok_or_else(|| CliError::usage(format!("Infisical needs `{flag}`")))
                };
                let mut wish = json!({"kind": "infisical", "config": {
                    "project_id": needed(&self.project_id, "--project-id")?,
                    "environment": needed(&self.environment, "--environment")?,
                    "secret_path": self.path.as_deref().unwrap_or("/"),
                }});
                if let (Some(seconds), Some(fields)) =
                    (self.poll_interval_seconds, wish.as_object_mut())
                {
                    fields.insert("poll_interval_seconds".to_owned(), json!(seconds));
                }
                Ok(wish)
            }
        }
    }
}

pub(super) async fn run(app: &App, target: &Target, args: StoreArgs) -> Result {
    match args.command {
        StoreCommand::Show { name, output } => {
            let (connection, vault) = open(app, target, name).await?;
            let path = vault_path(&vault).literal("/context");
            let reply = connection.send(app, Call::get(path)).await?;
            let answer = reply.value()?;
            let store = field_of(&answer, "credential_store");
            if output.json {
                let store = if store.is_null() {
                    json!({"kind": "builtin"})
                } else {
                    store.clone()
                };
                return app.ui.line(&store.to_string());
            }
            print(app, &vault, store)
        }
        StoreCommand::Sync { name, output } => {
            let (connection, vault) = open(app, target, name).await?;
            let path = vault_path(&vault).literal("/sync");
            let reply = connection.send(app, Call::new(Method::POST, path)).await?;
            answered(app, &vault, &reply, output)
        }
        StoreCommand::Connect {
            name,
            place,
            yes,
            output,
        } => {
            choose(
                app,
                target,
                name,
                &place.wish(Kind::Infisical)?,
                yes,
                output,
            )
            .await
        }
        StoreCommand::Disconnect { name, yes, output } => {
            let wish = PlaceArgs::default().wish(Kind::Builtin)?;
            choose(app, target, name, &wish, yes, output).await
        }
        StoreCommand::Set {
            name,
            kind,
            place,
            yes,
            output,
        } => choose(app, target, name, &place.wish(kind)?, yes, output).await,
    }
}

async fn choose(
    app: &App,
    target: &Target,
    name: Option<String>,
    wish: &Value,
    yes: Yes,
    output: Output,
) -> Result {
    let (connection, vault) = open(app, target, name).await?;
    let question = if text_of(wish, "kind") == "builtin" {
        format!(
            "Vault \"{vault}\" keeps the last copies as its own and is refreshed no more. Go on?"
        )
    } else {
        format!(
            "This replaces the credentials of vault \"{vault}\" that were typed in by what Infisical holds. Go on?"
        )
    };
    app.ui.confirm(&question, yes.yes)?;
    let path = vault_path(&vault).literal("/credential-store");
    let reply = connection
        .send(app, Call::new(Method::PATCH, path).json(wish))
        .await?;
    answered(app, &vault, &reply, output)
}

fn answered(app: &App, vault: &str, reply: &crate::client::Reply, output: Output) -> Result {
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    print(app, vault, field_of(&reply.value()?, "credential_store"))
}

fn print(app: &App, vault: &str, store: &Value) -> Result {
    app.ui.field("Vault", vault)?;
    if store.is_null() || text_of(store, "kind") == "builtin" {
        return app.ui.field("Store", "builtin");
    }
    app.ui.field("Store", &text_of(store, "kind"))?;
    for (label, name) in [
        ("Project", "project_id"),
        ("Environment", "environment"),
        ("Path", "secret_path"),
    ] {
        let text = text_of(field_of(store, "config"), name);
        if !text.is_empty() {
            app.ui.field(label, &text)?;
        }
    }
    if let Some(seconds) = field_of(store, "poll_interval_seconds").as_u64() {
        app.ui.field("Refreshed", &format!("every {seconds} s"))?;
    }
    let status = text_of(store, "last_sync_status");
    app.ui.field(
        "Last sync",
        if status.is_empty() { "never" } else { &status },
    )?;
    let at = time(&text_of(store, "last_synced_at"));
    if !at.is_empty() {
        let label = if status == "error" { "Tried" } else { "Synced" };
        app.ui.field(label, &at)?;
    }
    if status == "error" {
        let good = time(&text_of(store, "last_success_at"));
        if !good.is_empty() {
            app.ui.field("Copies of", &good)?;
        }
        let error = text_of(store, "last_sync_error");
        if !error.is_empty() {
            app.ui.field("Error", &error)?;
        }
    }
    if field_of(store, "stale").as_bool() == Some(true) {
        app.ui
            .warn("the vault was not refreshed for long: its values may be out of date");
    }
    Ok(())
}

/// A field; null where there is none.
fn field_of<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// The vault that is named, else the one in use.
async fn open(app: &App, target: &Target, name: Option<String>) -> Result<(Connection, String)> {
    match name {
        None => super::open(app, target).await,
        Some(name) => Ok((
            Connection::open(app, target.address.as_deref()).await?,
            name,
        )),
    }
}
