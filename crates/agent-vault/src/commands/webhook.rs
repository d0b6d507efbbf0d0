//! `agent-vault vault webhook` and `agent-vault owner webhook`: endpoints that are told of what happens.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::cli::{App, Output, Yes};
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::connect::Connection;
use crate::error::{CliError, Result};
use crate::vault_choice::vault_path;

/// How long `test` waits for the outcome. One attempt takes ten seconds at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(200);

/// `agent-vault vault webhook`, `agent-vault owner webhook`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct WebhookArgs {
    #[command(subcommand)]
    command: WebhookCommand,
}

#[derive(Subcommand)]
enum WebhookCommand {
    /// Add a webhook and print its signing secret, which is shown this once
    Add {
        /// Absolute https URL; put nothing secret in it
        url: String,
        /// An event that it wants; may be repeated; all of them without [possible: proposal.raised, proposal.decided,
        /// proposal.expired, credential.missing, upstream.auth_failing, limit.hit]
        #[arg(long = "event", value_name = "NAME")]
        events: Vec<String>,
        /// What it is called in lists
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// List webhooks and how they do
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one webhook
    #[command(alias = "get")]
    Show {
        /// Id from the list
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Change where a webhook is, what it wants or what it is called
    Edit(EditArgs),
    /// Send a test event and wait for the outcome
    Test {
        /// Id from the list
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Show what was sent to a webhook and what waits for it
    Deliveries {
        /// Id from the list
        id: String,
        /// How many, at most 200
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Make a new signing secret and print it; the former one signs too for a while
    Rotate {
        /// Id from the list
        id: String,
        /// How long the former secret signs too, in seconds, at most 604800 [default: 86400]
        #[arg(long, value_name = "SECONDS")]
        overlap: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Switch a webhook on, a parked one too, and send what waits for it
    Enable {
        /// Id from the list
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Switch a webhook off: nothing is kept for it meanwhile
    Disable {
        /// Id from the list
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a webhook and what waits for it
    #[command(alias = "rm", alias = "delete")]
    Remove {
        /// Id from the list
        id: String,
        #[command(flatten)]
        yes: Yes,
    },
}

#[derive(Args)]
struct EditArgs {
    /// Id from the list
    id: String,
    /// Absolute https URL
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An event that it wants; may be repeated; in the place of those that it wanted
    #[arg(long = "event", value_name = "NAME", conflicts_with = "all_events")]
    events: Vec<String>,
    /// It wants all events
    #[arg(long)]
    all_events: bool,
    /// What it is called in lists
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Whose webhooks.
pub(crate) enum Scope {
    /// A vault's, by name.
    Vault(String),
    /// The instance's.
    Instance,
}

impl Scope {
    fn all(&self) -> ApiPath {
        match self {
            Self::Vault(name) => vault_path(name).literal("/webhooks"),
            Self::Instance => ApiPath::new("/v1/instance/webhooks"),
        }
    }

    fn one(&self, id: &str) -> ApiPath {
        self.all().segment(id)
    }

    /// Where a person sees what becomes of an event.
    fn see_deliveries(&self) -> &'static str {
        match self {
            Self::Vault(_) => "it is tried again; see `agent-vault vault webhook deliveries`",
            Self::Instance => "it is tried again; see `agent-vault owner webhook deliveries`",
        }
    }

    /// How a parked webhook comes back.
    fn see_enable(&self) -> &'static str {
        match self {
            Self::Vault(_) => {
                "it did not answer for long; once it does, `agent-vault vault webhook enable` sends what waits"
            }
            Self::Instance => {
                "it did not answer for long; once it does, `agent-vault owner webhook enable` sends what waits"
            }
        }
    }

    /// For people.
    fn whose(&self) -> String {
        match self {
            Self::Vault(name) => format!("vault \"{name}\""),
            Self::Instance => "the instance".to_owned(),
        }
    }
}

/// A webhook, as the server shows it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Webhook {
    id: String,
    url: String,
    events: Vec<String>,
    description: String,
    state: String,
    pending: u64,
    dropped: u64,
    failures: u64,
    failing_since: Option<String>,
    parked_at: Option<String>,
    last_error: String,
    delivered_at: Option<String>,
    former_secret_until: Option<String>,
    created_at: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Webhooks {
    webhooks: Vec<Webhook>,
}

/// A signing secret, just made.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown {
    id: String,
    secret: String,
    former_secret_until: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Queued {
    event_id: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Deliveries {
    deliveries: Vec<serde_json::Value>,
}

/// One event for a webhook.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Delivery {
    event_id: String,
    event: String,
    status: String,
    attempts: u64,
    next_attempt_at: Option<String>,
    response_status: Option<u16>,
    error: String,
    created_at: String,
}

impl Delivery {
    fn of(value: &serde_json::Value) -> Delivery {
        Delivery::deserialize(value).unwrap_or_default()
    }
}

pub(crate) async fn run(
    app: &App,
    connection: &Connection,
    scope: &Scope,
    args: WebhookArgs,
) -> Result {
    match args.command {
        WebhookCommand::Add {
            url,
            events,
            description,
            output,
        } => {
            let body = json!({"url": url, "events": events, "description": description});
            let call = Call::new(Method::POST, scope.all()).json(&body);
            let reply = connection.send(app, call).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let shown: Shown = reply.json()?;
            app.ui
                .success(&format!("added a webhook of {}", scope.whose()))?;
            secret(app, &shown)
        }
        WebhookCommand::List { output } => list(app, connection, scope, output).await,
        WebhookCommand::Show { id, output } => {
            let reply = connection.send(app, Call::get(scope.one(&id))).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            show(app, scope, &reply.json()?)
        }
        WebhookCommand::Edit(args) => edit(app, connection, scope, args).await,
        WebhookCommand::Test { id, output } => test(app, connection, scope, &id, output).await,
        WebhookCommand::Deliveries { id, limit, output } => {
            deliveries(app, connection, scope, &id, limit, output).await
        }
        WebhookCommand::Rotate {
            id,
            overlap,
            output,
        } => {
            let call = Call::new(Method::POST, scope.one(&id).literal("/rotate"))
                .json(&json!({"overlap_seconds": overlap}));
            let reply = connection.send(app, call).await?;
            if output.json {
                return app.ui.line(reply.text().trim_end());
            }
            let shown: Shown = reply.json()?;
            app.ui.success(&match &shown.former_secret_until {
                Some(until) => format!(
                    "made a new secret; the former one signs too until {}",
                    time(until)
                ),
                None => "made a new secret; the former one signs no more".to_owned(),
            })?;
            secret(app, &shown)
        }
        WebhookCommand::Enable { id, output } => {
            switch(app, connection, scope, &id, true, output).await
        }
        WebhookCommand::Disable { id, output } => {
            switch(app, connection, scope, &id, false, output).await
        }
        WebhookCommand::Remove { id, yes } => {
            app.ui.confirm(
                &format!("Remove webhook {id} of {}?", scope.whose()),
                yes.yes,
            )?;
            connection
                .send(app, Call::new(Method::DELETE, scope.one(&id)))
                .await?;
            app.ui.success(&format!("removed webhook {id}"))
        }
    }
}

fn secret(app: &App, shown: &Shown) -> Result {
    app.ui.field("Id", &shown.id)?;
    app.ui.field("Secret", &shown.secret)?;
    app.ui
        .note("the secret is shown this once; the receiver checks signatures with it");
    Ok(())
}

fn wanted(events: &[String]) -> String {
    if events.is_empty() {
        "all".to_owned()
    } else {
        events.join(", ")
    }
}

async fn list(app: &App, connection: &Connection, scope: &Scope, output: Output) -> Result {
    let reply = connection.send(app, Call::get(scope.all())).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Webhooks = reply.json()?;
    let rows = found
        .webhooks
        .into_iter()
        .map(|hook| {
            vec![
                hook.id,
                hook.url,
                wanted(&hook.events),
                hook.state,
                hook.pending.to_string(),
                or_dash(&hook.delivered_at.as_deref().map(time).unwrap_or_default()),
                or_dash(&hook.last_error),
            ]
        })
        .collect();
    app.ui.table(
        &[
            "ID",
            "URL",
            "EVENTS",
            "STATE",
            "WAITING",
            "LAST DELIVERED",
            "LAST ERROR",
        ],
        rows,
        "no webhooks",
    )
}

fn show(app: &App, scope: &Scope, hook: &Webhook) -> Result {
    let ui = &app.ui;
    ui.field("Id", &hook.id)?;
    ui.field("URL", &hook.url)?;
    ui.field("Events", &wanted(&hook.events))?;
    if !hook.description.is_empty() {
        ui.field("Description", &hook.description)?;
    }
    match &hook.parked_at {
        Some(at) => ui.field("State", &format!("{} since {}", hook.state, time(at)))?,
        None => ui.field("State", &hook.state)?,
    }
    ui.field("Waiting", &hook.pending.to_string())?;
    if hook.dropped > 0 {
        ui.field(
            "Left out",
            &format!("{}, because its queue was full", hook.dropped),
        )?;
    }
    if let Some(at) = &hook.delivered_at {
        ui.field("Delivered", &time(at))?;
    }
    if let Some(since) = &hook.failing_since {
        ui.field(
            "Failing",
            &format!("{} attempts since {}", hook.failures, time(since)),
        )?;
        ui.field("Last error", &hook.last_error)?;
    }
    if let Some(until) = &hook.former_secret_until {
        ui.field("Old secret", &format!("signs too until {}", time(until)))?;
    }
    ui.field("Added", &time(&hook.created_at))?;
    if hook.state == "parked" {
        ui.note(scope.see_enable());
    }
    Ok(())
}

async fn edit(app: &App, connection: &Connection, scope: &Scope, args: EditArgs) -> Result {
    let mut body = serde_json::Map::new();
    if let Some(url) = args.url {
        body.insert("url".to_owned(), json!(url));
    }
    if args.all_events || !args.events.is_empty() {
        body.insert("events".to_owned(), json!(args.events));
    }
    if let Some(description) = args.description {
        body.insert("description".to_owned(), json!(description));
    }
    if body.is_empty() {
        return Err(CliError::usage("nothing is to change")
            .hint("give `--url`, `--event`, `--all-events` or `--description`"));
    }
    let call = Call::new(Method::PATCH, scope.one(&args.id)).json(&body);
    let reply = connection.send(app, call).await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    app.ui.success(&format!("changed webhook {}", args.id))
}

async fn switch(
    app: &App,
    connection: &Connection,
    scope: &Scope,
    id: &str,
    on: bool,
    output: Output,
) -> Result {
    let call = Call::new(Method::PATCH, scope.one(id)).json(&json!({"enabled": on}));
    let reply = connection.send(app, call).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let hook: Webhook = reply.json()?;
    app.ui.success(&if on {
        format!("webhook {id} is on; {} waiting", hook.pending)
    } else {
        format!("webhook {id} is off")
    })
}

async fn deliveries(
    app: &App,
    connection: &Connection,
    scope: &Scope,
    id: &str,
    limit: u32,
    output: Output,
) -> Result {
    let path = scope.one(id).literal("/deliveries").query("limit", limit);
    let reply = connection.send(app, Call::get(path)).await?;
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: Deliveries = reply.json()?;
    let rows = found
        .deliveries
        .iter()
        .map(|value| {
            let delivery = Delivery::of(value);
            let answer = delivery.response_status.map(|status| status.to_string());
            vec![
                time(&delivery.created_at),
                delivery.event,
                delivery.status,
                delivery.attempts.to_string(),
                or_dash(&answer.unwrap_or_default()),
                or_dash(
                    &delivery
                        .next_attempt_at
                        .as_deref()
                        .map(time)
                        .unwrap_or_default(),
                ),
                or_dash(&delivery.error),
                delivery.event_id,
            ]
        })
        .collect();
    app.ui.table(
        &[
            "HAPPENED", "EVENT", "STATUS", "ATTEMPTS", "ANSWER", "NEXT", "ERROR", "ID",
        ],
        rows,
        "nothing was sent to it",
    )
}

async fn test(
    app: &App,
    connection: &Connection,
    scope: &Scope,
    id: &str,
    output: Output,
) -> Result {
    let call = Call::new(Method::POST, scope.one(id).literal("/test"));
    let queued: Queued = connection.send(app, call).await?.json()?;
    let end = Instant::now() + PATIENCE;
    loop {
        let path = scope.one(id).literal("/deliveries").query("limit", 200);
        let found: Deliveries = connection.send(app, Call::get(path)).await?.json()?;
        let row = found
            .deliveries
            .iter()
            .find(|value| Delivery::of(value).event_id == queued.event_id);
        let delivery = row.map(Delivery::of).unwrap_or_default();
        let over = delivery.status == "delivered" || !delivery.error.is_empty();
        if over || Instant::now() >= end {
            if let (true, Some(row)) = (output.json, row) {
                app.ui.line(&row.to_string())?;
            }
            return outcome(app, scope, &delivery, output.json);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn outcome(app: &App, scope: &Scope, delivery: &Delivery, json: bool) -> Result {
    if delivery.status == "delivered" {
        if json {
            return Ok(());
        }
        return app.ui.success(&format!(
            "delivered: it answered {}",
            delivery.response_status.unwrap_or_default()
        ));
    }
    if delivery.attempts == 0 {
        return Err(CliError::new("nothing was sent yet")
            .hint("it is sent when a server serves this vault, after what waits before it"));
    }
    let failed = if delivery.error.is_empty() {
        CliError::new("no outcome yet")
    } else {
        CliError::new(format!("not delivered: {}", delivery.error))
    };
    Err(failed.hint(scope.see_deliveries()))
}
