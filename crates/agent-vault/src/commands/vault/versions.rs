//! `agent-vault vault credential versions`, `rollback`, `expire` and `delete-version`: former values and their end.

use clap::Args;
use http::Method;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::{App, Output, Target, Yes};
use crate::client::types::{CredentialVersion, CredentialVersions};
use crate::client::{ApiPath, Call};
use crate::commands::time;
use crate::error::Result;
use crate::when::ahead;

/// `agent-vault vault credential versions`.
#[derive(Args)]
pub(super) struct VersionsArgs {
    /// Key
    key: String,
    #[command(flatten)]
    output: Output,
}

/// `agent-vault vault credential rollback`.
#[derive(Args)]
#[command(after_help = "Examples:
  agent-vault vault credential rollback OPENAI_API_KEY --to 3")]
pub(super) struct RollbackArgs {
    /// Key
    key: String,
    /// The version to bring back; its value becomes the newest version
    #[arg(long, value_name = "VERSION")]
    to: u32,
    #[command(flatten)]
    output: Output,
}

/// `agent-vault vault credential expire`.
#[derive(Args)]
#[command(after_help = "Examples:
  agent-vault vault credential expire OPENAI_API_KEY
  agent-vault vault credential expire OPENAI_API_KEY --never
  agent-vault vault credential expire OPENAI_API_KEY --at 24h")]
pub(super) struct ExpireArgs {
    /// Key
    key: String,
    /// When: a time, or a span from now such as `24h`; at once, without it
    #[arg(long, value_name = "WHEN", conflicts_with = "never")]
    at: Option<String>,
    /// Take the end away
    #[arg(long)]
    never: bool,
    #[command(flatten)]
    output: Output,
}

/// `agent-vault vault credential delete-version`.
#[derive(Args)]
pub(super) struct DeleteVersionArgs {
    /// Key
    key: String,
    /// Version, not the one in force
    version: u32,
    #[command(flatten)]
    yes: Yes,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn list(app: &App, target: &Target, args: VersionsArgs) -> Result {
    let (connection, vault) = super::open(app, target).await?;
    let path = ApiPath::new("/v1/credentials")
        .segment(&args.key)
        .literal("/versions")
        .query("vault", &vault);
    let reply = connection.send(app, Call::get(path)).await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let found: CredentialVersions = reply.json()?;
    let rows = found.versions.iter().map(row).collect();
    app.ui
        .table(&["VERSION", "SET", "EXPIRES", ""], rows, "no versions")
}

fn row(version: &CredentialVersion) -> Vec<String> {
    let ends = version
        .expires_at
        .as_deref()
        .map_or_else(|| "never".to_owned(), time);
    let origin = version
        .restored_from
        .map(|from| format!("value of {from}"))
        .unwrap_or_default();
    let mark = match (version.current, origin.is_empty()) {
        (true, true) => "in force".to_owned(),
        (true, false) => format!("in force, {origin}"),
        (false, _) => origin,
    };
    vec![
        version.version.to_string(),
        time(&version.created_at),
        ends,
        mark,
    ]
}

pub(super) async fn roll_back(app: &App, target: &Target, args: RollbackArgs) -> Result {
    let (connection, vault) = super::open(app, target).await?;
    let path = ApiPath::new("/v1/credentials")
        .segment(&args.key)
        .literal("/rollback");
    let body = json!({"vault": vault, "version": args.to});
    let reply = connection
        .send(app, Call::new(Method::POST, path).json(&body))
        .await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let now: CredentialVersion = reply.json()?;
    app.ui.success(&format!(
        "{} has the value of version {} again, as version {}",
        args.key, args.to, now.version
    ))
}

pub(super) async fn expire(app: &App, target: &Target, args: ExpireArgs) -> Result {
    let now = Timestamp::now();
    let at = match (&args.at, args.never) {
        (_, true) => None,
        (Some(text), false) => Some(ahead(text, now)?),
        (None, false) => Some(now),
    };
    let (connection, vault) = super::open(app, target).await?;
    let path = ApiPath::new("/v1/credentials")
        .segment(&args.key)
        .literal("/expiry");
    let body = json!({"vault": vault, "expires_at": at.map(|at| at.to_string())});
    let reply = connection
        .send(app, Call::new(Method::POST, path).json(&body))
        .await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    app.ui.success(&match at {
        None => format!("{} does not expire", args.key),
        Some(at) if at <= now => format!("{} counts as absent from now on", args.key),
        Some(at) => format!("{} expires at {}", args.key, time(&at.to_string())),
    })
}

pub(super) async fn delete(app: &App, target: &Target, args: DeleteVersionArgs) -> Result {
    let (connection, vault) = super::open(app, target).await?;
    app.ui.confirm(
        &format!("Delete version {} of {} for good?", args.version, args.key),
        args.yes.yes,
    )?;
    let path = ApiPath::new("/v1/credentials")
        .segment(&args.key)
        .literal("/versions")
        .segment(&args.version.to_string())
        .query("vault", &vault);
    let reply = connection
        .send(app, Call::new(Method::DELETE, path))
        .await?;
    if args.output.json {
        return app.ui.line(reply.text().trim_end());
    }
    app.ui
        .success(&format!("deleted version {} of {}", args.version, args.key))
}
