//! `agent-vault vault logs`: shows and follows the request log.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::cli::{App, Output, Target};
use crate::client::types::{Credentials, Discovery, LogRow, Logs, Services};
use crate::client::{ApiPath, Call};
use crate::commands::{or_dash, time};
use crate::connect::Connection;
use crate::diagnose::{self, Known, Lacking, Outcome, Quotations, ServiceKeys};
use crate::error::Result;
use crate::ui::{Ui, clean};
use crate::vault_choice::vault_path;
use crate::when::ago;

/// The largest page that the server gives.
const PAGE: usize = 200;
/// How often `--follow` asks.
const FOLLOW: Duration = Duration::from_millis(500);

/// `agent-vault vault logs`.
#[derive(Args)]
#[command(after_help = "Examples:
  agent-vault vault logs --follow
  agent-vault vault logs --status err --limit 10
  agent-vault vault logs --agent ci-bot --host api.openai.com --since 24h
  agent-vault vault logs --export --since 7d > requests.jsonl")]
pub(super) struct LogsArgs {
    /// Go on showing requests as they come
    #[arg(short, long)]
    follow: bool,
    /// How many of the latest requests to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only these answers: `2xx`, `3xx`, `4xx`, `5xx`, `err`, or one status such as `404`
    #[arg(long, value_name = "STATUS", value_parser = StatusFilter::parse)]
    status: Option<StatusFilter>,
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only this agent, or this person by e-mail address: their own requests and those of tokens that they made
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only tokens with this label
    #[arg(long)]
    label: Option<String>,
    /// Only the token with this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only this host, with or without its port
    #[arg(long)]
    host: Option<String>,
    /// Only what was decided so
    #[arg(long, value_enum)]
    decision: Option<Decided>,
    /// Only from then on: a time, or a span before now such as `24h`
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only before then: a time, or a span before now
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Print every request that is kept, the oldest first, one JSON object in each line
    #[arg(long, conflicts_with_all = ["follow", "limit", "json"])]
    export: bool,
    #[command(flatten)]
    output: Output,
}

/// Which answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StatusFilter {
    Bucket(&'static str),
    Exact(u16),
}

impl StatusFilter {
    const BUCKETS: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "err"];

    fn parse(text: &str) -> std::result::Result<StatusFilter, String> {
        if let Some(bucket) = Self::BUCKETS.into_iter().find(|bucket| *bucket == text) {
            return Ok(StatusFilter::Bucket(bucket));
        }
        match text.parse() {
            Ok(status) if status == 0 || (100..600).contains(&status) => {
                Ok(StatusFilter::Exact(status))
            }
            _ => Err(format!(
                "give one of {}, or a status such as 404",
                Self::BUCKETS.join(", ")
            )),
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decided {
    Brokered,
    Passed,
    Refused,
}

impl Decided {
    fn as_str(self) -> &'static str {
        match self {
            Decided::Brokered => "brokered",
            Decided::Passed => "passed",
            Decided::Refused => "refused",
        }
    }
}

impl LogsArgs {
    /// Adds the filters to a path.
    fn filter(&self, path: ApiPath, now: Timestamp) -> Result<ApiPath> {
        let (bucket, exact) = match &self.status {
            None => (None, None),
            Some(StatusFilter::Bucket(bucket)) => (Some(*bucket), None),
            Some(StatusFilter::Exact(status)) => (None, Some(*status)),
        };
        let time = |text: &Option<String>| text.as_deref().map(|text| ago(text, now)).transpose();
        Ok(path
            .query_if("status_bucket", bucket)
            .query_if("status", exact)
            .query_if("service", self.service.as_deref())
            .query_if("agent", self.agent.as_deref())
            .query_if("label", self.label.as_deref())
            .query_if("session", self.session.as_deref())
            .query_if("host", self.host.as_deref())
            .query_if("decision", self.decision.map(Decided::as_str))
            .query_if("since", time(&self.since)?)
            .query_if("until", time(&self.until)?))
    }
}

pub(super) async fn run(app: &App, target: &Target, args: LogsArgs) -> Result {
    let now = Timestamp::now();
    // What cannot be read fails before anything is opened.
    args.filter(ApiPath::new("/"), now)?;
    let (connection, vault) = super::open(app, target).await?;
    let path = args.filter(vault_path(&vault).literal("/logs"), now)?;
    let base = || path.clone();
    if args.export {
        return export(app, &connection, base).await;
    }
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

/// Every row that is kept, the oldest first.
async fn export(app: &App, connection: &Connection, base: impl Fn() -> ApiPath) -> Result {
    let mut after = 0;
    loop {
        let path = base().query("limit", PAGE).query("after", after);
        let page = page(app, connection, path).await?;
        for row in page.rows.iter().rev() {
            app.ui.line(&row.raw.to_string())?;
        }
        if page.rows.len() < PAGE {
            return Ok(());
        }
        after = page.latest;
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

/// Names with their versions: `KEY@3,OTHER@1`.
fn keys(r: &LogRow) -> String {
    let versions = r
        .credential_versions
        .iter()
        .map(|version| format!("@{version}"));
    let versions = versions.chain(std::iter::repeat(String::new()));
    let named: Vec<String> = r
        .credential_keys
        .iter()
        .zip(versions)
        .map(|(key, version)| key.clone() + &version)
        .collect();
    named.join(",")
}

/// `time  status  METHOD host/path  service  decision`, and under it what to mend.
fn one(app: &App, r: &LogRow, known: Known<'_>) -> Result {
    let status = match r.status {
        0 => String::from(" - "),
        200..=399 | 101 => Ui::green(&r.status.to_string()),
        other => Ui::red(&other.to_string()),
    };
    let decision = match (diagnose::outcome(r), r.credential_keys.is_empty()) {
        (Outcome::Brokered, false) => format!("brokered {}", keys(r)),
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
