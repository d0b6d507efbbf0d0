//! `agent-vault vault logs`: shows and follows the request log.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::{App, Output, Target};
use crate::client::types::{Credentials, Discovery, LogRow, Logs, Services};
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::connect::Connection;
use crate::diagnose::{self, Known, Lacking, Outcome, Quotations, ServiceKeys};
use crate::error::Result;
use crate::ui::{Ui, clean};
use crate::vault_choice::vault_path;

/// The largest page that the server gives.
const PAGE: usize = 200;
/// How often `--follow` asks.
const FOLLOW: Duration = Duration::from_millis(500);

/// `agent-vault vault logs`.
#[derive(Args)]
#[command(after_help = "Examples:
  agent-vault vault logs --follow
  agent-vault vault logs --status err --limit 10")]
pub(super) struct LogsArgs {
    /// Go on showing requests as they come
    #[arg(short, long)]
    follow: bool,
    /// How many of the latest requests to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only these answers
    #[arg(long, value_enum)]
    status: Option<StatusBucket>,
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum StatusBucket {
    #[value(name = "2xx")]
    Success,
    #[value(name = "3xx")]
    Redirect,
    #[value(name = "4xx")]
    Client,
    #[value(name = "5xx")]
    Server,
    Err,
}

impl StatusBucket {
    fn as_str(self) -> &'static str {
        match self {
            StatusBucket::Success => "2xx",
            StatusBucket::Redirect => "3xx",
            StatusBucket::Client => "4xx",
            StatusBucket::Server => "5xx",
            StatusBucket::Err => "err",
        }
    }
}

pub(super) async fn run(app: &App, target: &Target, args: LogsArgs) -> Result {
    let (connection, vault) = super::open(app, target).await?;
    let base = || {
        vault_path(&vault)
            .literal("/logs")
            .query_if("status_bucket", args.status.map(StatusBucket::as_str))
            .query_if("service", args.service.as_deref())
    };
    let (rows, mut latest) = newest(app, &connection, base, args.limit).await?;
    if rows.is_empty() && !args.follow && !args.output.json {
        app.ui
            .note(&format!("no requests logged in vault \"{vault}\""));
        return Ok(());
    }
    if args.output.json && !args.follow {
        let raw: Vec<_> = rows.iter().map(|r| &r.raw).collect();
        return app
            .ui
            .line(&serde_json::json!({"logs": raw, "latest_id": latest}).to_string());
    }
    let shown = Shown {
        vault: &vault,
        output: args.output,
    };
    shown.all(app, &connection, &rows).await?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(FOLLOW).await;
        // The oldest unseen rows first, so that a burst is not skipped.
        let path = base().query("limit", PAGE).query("after", latest);
        let page = page(app, &connection, path).await?;
        shown.all(app, &connection, &page.rows).await?;
        latest = latest.max(page.latest);
    }
}

/// A row and the server's own text of it.
struct Row {
    row: LogRow,
    raw: serde_json::Value,
}

struct Page {
    rows: Vec<Row>,
    latest: i64,
    next: Option<i64>,
}

async fn page(app: &App, connection: &Connection, path: ApiPath) -> Result<Page> {
    let reply = connection.send(app, Call::get(path)).await?;
    let logs: Logs = reply.json()?;
    let raw = reply
        .value()?
        .get("logs")
        .and_then(serde_json::Value::as_array)
        .cloned()
        .unwrap_or_default();
    Ok(Page {
        rows: logs
            .logs
            .into_iter()
            .zip(raw)
            .map(|(row, raw)| Row { row, raw })
            .collect(),
        latest: logs.latest_id,
        next: logs.next_cursor,
    })
}

/// The latest `limit` rows, newest first, and the highest id seen.
async fn newest(
    app: &App,
    connection: &Connection,
    base: impl Fn() -> ApiPath,
    limit: usize,
) -> Result<(Vec<Row>, i64)> {
    let mut rows = Vec::new();
    let mut latest = 0;
    let mut before: Option<i64> = None;
    if limit == 0 {
        let page = page(app, connection, base().query("limit", 1)).await?;
        return Ok((rows, page.latest));
    }
    while rows.len() < limit {
        let path = base()
            .query("limit", PAGE.min(limit - rows.len()))
            .query_if("before", before);
        let page = page(app, connection, path).await?;
        if before.is_none() {
            latest = page.latest;
        }
        let got = page.rows.len();
        rows.extend(page.rows);
        before = page.next;
        if got == 0 || before.is_none() {
            break;
        }
    }
    Ok((rows, latest))
}

/// How rows are shown.
struct Shown<'a> {
    vault: &'a str,
    output: Output,
}

impl Shown<'_> {
    /// Shows rows, given newest first, in their order.
    async fn all(&self, app: &App, connection: &Connection, rows: &[Row]) -> Result {
        let (lacking, placeholders) = if self.output.json {
            Default::default()
        } else {
            (
                self.lacking(app, connection, rows).await,
                self.placeholders(app, connection, rows).await,
            )
        };
        let known = Known {
            vault: self.vault,
            lacking: &lacking,
            placeholders: &placeholders,
        };
        for row in rows.iter().rev() {
            if self.output.json {
                app.ui.line(&row.raw.to_string())?;
            } else {
                one(app, &row.row, known)?;
            }
        }
        Ok(())
    }

    /// What the vault lacks, asked only if a row is about that and does not say it.
    async fn lacking(&self, app: &App, connection: &Connection, rows: &[Row]) -> Lacking {
        let asks = |r: &Row| {
            r.row.error_code == "credential_not_found" && r.row.credential_keys.is_empty()
        };
        if !rows.iter().any(asks) {
            return Lacking::default();
        }
        let services = connection
            .send(app, Call::get(vault_path(self.vault).literal("/services")))
            .await;
        let path = ApiPath::new("/v1/credentials").query("vault", self.vault);
        let credentials = connection.send(app, Call::get(path)).await;
        let services = services.and_then(|reply| reply.json::<Services>());
        let credentials = credentials.and_then(|reply| reply.json::<Credentials>());
        match (services, credentials) {
            (Ok(services), Ok(credentials)) => {
                ServiceKeys::of(&services.services).lacking(&credentials.keys)
            }
            // The row is shown without the key's name then.
            _ => Lacking::default(),
        }
    }

    /// The stand-ins of the vault's keys, asked only if a row tells of one.
    async fn placeholders(
        &self,
        app: &App,
        connection: &Connection,
        rows: &[Row],
    ) -> BTreeMap<String, String> {
        if !rows.iter().any(|r| diagnose::tells_of_placeholder(&r.row)) {
            return BTreeMap::new();
        }
        let call = Call::get("/discover").vault(Some(self.vault));
        let found = connection.send(app, call).await;
        // The row is shown without the placeholder's text then.
        found
            .and_then(|reply| reply.json::<Discovery>())
            .map_or_else(|_| BTreeMap::new(), |found| found.placeholders)
    }
}

/// `time  status  METHOD host/path  service  decision`, and under it what to mend.
fn one(app: &App, r: &LogRow, known: Known<'_>) -> Result {
    let status = match r.status {
        0 => String::from(" - "),
        200..=399 | 101 => Ui::green(&r.status.to_string()),
        other => Ui::red(&other.to_string()),
    };
    let decision = match (diagnose::outcome(r), r.credential_keys.is_empty()) {
        (Outcome::Brokered, false) => format!("brokered {}", r.credential_keys.join(",")),
        (Outcome::Brokered, true) => String::from("brokered"),
        (Outcome::Passed, _) => String::from("passed without a credential"),
        (Outcome::Refused, _) => String::from("refused"),
    };
    let who = r
        .label
        .as_deref()
        .filter(|l| !l.is_empty())
        .unwrap_or(&r.actor_name);
    let mut line = format!(
        "{}  {status}  {} {}{}  {}  {}  {} ms",
        time(&r.created_at),
        clean(&r.method),
        clean(&diagnose::host_of(r)),
        clean(&r.path),
        clean(&or_dash(&r.matched_service)),
        clean(&decision),
        r.latency_ms,
    );
    if !who.is_empty() {
        line.push_str(&Ui::grey(&format!("  [{}]", clean(who))));
    }
    if r.scrubs > 0 {
        line.push_str(&format!("  {} scrubbed", r.scrubs));
    }
    if !r.error_code.is_empty() {
        line.push_str(&format!("  {}", Ui::red(&clean(&r.error_code))));
    }
    app.ui.line(&line)?;
    for finding in diagnose::findings(r, known) {
        app.ui.line(&format!("    {}", clean(&finding.what)))?;
        app.ui.line(&format!(
            "    {} {}",
            Ui::grey("mend:"),
            clean(&finding.mend)
        ))?;
    }
    let mut quoted = Quotations::default();
    quoted.add(r);
    if let Some(note) = quoted.note() {
        app.ui
            .line(&format!("    {} {}", Ui::grey("note:"), clean(&note)))?;
    }
    Ok(())
}
