//! `agent-vault audit`: the record of management actions. `verify` also works without a server, on a database file or an export.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agent_vault_store::{
    AuditExportCheck, AuditVerdict, DATABASE_FILE, MAX_EXPORT_LINE_BYTES, verify_audit_file,
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{or_dash, time};
use crate::cli::{AddressArg, App, Output};
use crate::client::{ApiPath, Call};
use crate::config::ServerConfig;
use crate::connect::{Connection, Place, place};
use crate::error::{CliError, Result};
use crate::when::ago;

/// The largest page that the server gives.
const PAGE: usize = 500;

/// `agent-vault audit`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    address: AddressArg,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// List records, newest first
    #[command(
        alias = "ls",
        after_help = "Examples:
  agent-vault audit list --outcome refused --since 24h
  agent-vault audit list --action credential --target vault:default --actor ci-bot"
    )]
    List(ListArgs),
    /// Check that no record was changed, removed or slipped in
    #[command(after_help = "Examples:
  agent-vault audit verify
  agent-vault audit verify --database /backup/agent-vault.db
  agent-vault audit verify --export audit.jsonl")]
    Verify(VerifyArgs),
    /// Print every record, the oldest first, one JSON object in each line
    Export {
        /// File to write instead of stdout
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Args)]
struct ListArgs {
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Only of this actor: an e-mail address, an agent's name, or an id
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only of this kind of actor
    #[arg(long, value_enum)]
    actor_type: Option<ActorType>,
    /// Only this action, or all of one noun: `credential.set`, `credential`
    #[arg(long)]
    action: Option<String>,
    /// Only where this is part of the target
    #[arg(long, value_name = "TEXT")]
    target: Option<String>,
    /// Only what ended so
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Only from this client address
    #[arg(long, value_name = "IP")]
    source: Option<String>,
    /// Only from then on: a time, or a span before now such as `24h`
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only before then: a time, or a span before now
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ActorType {
    User,
    Agent,
    Scoped,
    Local,
    System,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    Done,
    Refused,
}

/// The word of a closed set, as it is typed and as the server has it.
fn word(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

#[derive(Args)]
struct VerifyArgs {
    /// Check this database file, without a server and without a password
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    database: Option<PathBuf>,
    /// Check this export; `-` for stdin
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// The head that an earlier check printed: it must be in the chain still, at its end or before
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn run(app: &App, args: AuditArgs) -> Result {
    let address = args.address.address.as_deref();
    match args.command {
        AuditCommand::List(list_args) => list(app, address, list_args).await,
        AuditCommand::Verify(verify_args) => verify(app, address, verify_args).await,
        AuditCommand::Export { output } => export(app, address, output).await,
    }
}

async fn list(app: &App, address: Option<&str>, args: ListArgs) -> Result {
    let now = Timestamp::now();
    let when = |text: &Option<String>| text.as_deref().map(|text| ago(text, now)).transpose();
    let path = ApiPath::new("/v1/audit")
        .query_if("actor", args.actor.as_deref())
        .query_if("actor_type", args.actor_type.as_ref().map(word))
        .query_if("action", args.action.as_deref())
        .query_if("target", args.target.as_deref())
        .query_if("outcome", args.outcome.as_ref().map(word))
        .query_if("source", args.source.as_deref())
        .query_if("since", when(&args.since)?)
        .query_if("until", when(&args.until)?);
    let connection = Connection::open(app, address).await?;
    let mut records: Vec<Value> = Vec::new();
    let mut before: Option<i64> = None;
    while records.len() < args.limit {
        let page = path
            .clone()
            .query("limit", PAGE.min(args.limit - records.len()))
            .query_if("before", before);
        let mut page = connection.send(app, Call::get(page)).await?.value()?;
        if let Some(Value::Array(found)) = page.get_mut("records").map(Value::take) {
            records.extend(found);
        }
        before = page.get("next_cursor").and_then(Value::as_i64);
        if before.is_none() {
            break;
        }
    }
    if args.output.json {
        return app
            .ui
            .line(&json!({"records": records, "next_cursor": before}).to_string());
    }
    let rows = records.iter().map(row).collect();
    app.ui.table(
        &[
            "TIME", "WHO", "FROM", "ACTION", "TARGET", "OUTCOME", "DETAIL",
        ],
        rows,
        "no records",
    )
}

fn row(record: &Value) -> Vec<String> {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    let who = match (text("actor_name"), text("actor_id")) {
        ("", "") => text("actor_type"),
        ("", id) => id,
        (name, _) => name,
    };
    let detail = match record.get("detail") {
        Some(Value::Object(fields)) if !fields.is_empty() => fields
            .iter()
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            })
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::new(),
    };
    vec![
        time(text("at")),
        who.to_owned(),
        or_dash(text("source")),
        text("action").to_owned(),
        text("target").to_owned(),
        text("outcome").to_owned(),
        detail,
    ]
}

async fn verify(app: &App, address: Option<&str>, args: VerifyArgs) -> Result {
    let (verdict, heads) = match (&args.export, &args.database) {
        (Some(path), _) => verify_export(app, path, args.head.as_deref())?,
        (None, Some(path)) => (verify_file(&app.env.cwd().join(path)).await?, None),
        (None, None) => match place(app, address)? {
            // No password is needed to check, and nothing is opened or changed.
            Place::Local => {
                let config = ServerConfig::for_local(&app.env)?;
                let file = config.data_dir.value.join(DATABASE_FILE);
                (verify_file(&file).await?, None)
            }
            Place::Server(_) => (verify_server(app, address).await?, None),
        },
    };
    report(app, &verdict, heads, &args)
}

async fn verify_file(path: &Path) -> Result<AuditVerdict> {
    verify_audit_file(path).await.map_err(|error| {
        let failed = CliError::new(error.to_string());
        match error.hint() {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    })
}

async fn verify_server(app: &App, address: Option<&str>) -> Result<AuditVerdict> {
    let connection = Connection::open(app, address).await?;
    let found = connection
        .send(app, Call::get("/v1/audit/verify"))
        .await?
        .value()?;
    let number = |name: &str| found.get(name).and_then(Value::as_i64);
    if found.get("intact") != Some(&Value::Bool(true)) {
        return Ok(AuditVerdict::Broken {
            seq: number("first_broken").unwrap_or_default(),
        });
    }
    let head = found.get("head").and_then(Value::as_str).and_then(hash);
    Ok(AuditVerdict::Intact {
        records: number("records").unwrap_or_default().unsigned_abs(),
        head: head.ok_or_else(|| CliError::new("the server's answer has no head"))?,
        cut_through: number("cut_through").unwrap_or_default(),
    })
}

/// Whether the head that was asked for stands in an export.
type HeadSeen = Option<bool>;

fn verify_export(app: &App, path: &Path, head: Option<&str>) -> Result<(AuditVerdict, HeadSeen)> {
    let failed =
        |error: std::io::Error| CliError::new(format!("cannot read {}: {error}", path.display()));
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(app.env.cwd().join(path)).map_err(failed)?)
    };
    let not_an_export = || {
        CliError::new(format!("{} is no export of an audit log", path.display()))
            .hint("make one with `agent-vault audit export`")
    };
    let mut reader = BufReader::new(reader);
    let mut check = AuditExportCheck::default();
    let mut seen = false;
    let mut line = String::new();
    loop {
        line.clear();
        let bound = MAX_EXPORT_LINE_BYTES as u64;
        let read = reader.by_ref().take(bound).read_line(&mut line);
        // What is no text is no line of ours.
        if read.map_err(|_| not_an_export())? == 0 {
            break;
        }
        seen |= head.is_some_and(|head| line.contains(head));
        if let Err(verdict) = check.push(line.trim_end()) {
            return verdict
                .map(|verdict| (verdict, Some(seen)))
                .ok_or_else(not_an_export);
        }
    }
    let verdict = check.end().ok_or_else(not_an_export)?;
    Ok((verdict, head.map(|_| seen)))
}

fn report(app: &App, verdict: &AuditVerdict, seen: HeadSeen, args: &VerifyArgs) -> Result {
    match verdict {
        AuditVerdict::Broken { seq } => {
            if args.output.json {
                app.ui
                    .line(&json!({"intact": false, "first_broken": seq}).to_string())?;
            }
            Err(CliError::new(format!(
                "the audit log is broken: record {seq} was changed, removed or slipped in"
            ))
            .hint("records before it can be trusted; compare with an export or a backup"))
        }
        AuditVerdict::Intact {
            records,
            head,
            cut_through,
        } => {
            let head = hex(head);
            if let Some(wanted) = &args.head
                && seen != Some(true)
                && *wanted != head
            {
                return Err(CliError::new(
                    "the chain holds together, but does not end in the head that was given",
                )
                .hint("if records came after it, check an export: `agent-vault audit verify --export FILE --head HASH`"));
            }
            if args.output.json {
                return app.ui.line(
                    &json!({"intact": true, "records": records, "head": head, "cut_through": cut_through})
                        .to_string(),
                );
            }
            app.ui.success(&format!(
                "{records} records, each follows from the one before"
            ))?;
            if *cut_through > 0 {
                app.ui.field(
                    "cut",
                    &format!("records up to {cut_through} were too old and are gone"),
                )?;
            }
            app.ui.field("head", &head)?;
            app.ui
                .note("keep the head elsewhere: it proves later that nothing was cut off the end");
            Ok(())
        }
    }
}

async fn export(app: &App, address: Option<&str>, output: Option<PathBuf>) -> Result {
    let connection = Connection::open(app, address).await?;
    let mut file = match &output {
        None => None,
        Some(path) => {
            let path = app.env.cwd().join(path);
            let opened = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path);
            Some(
                opened
                    .map_err(|e| CliError::new(format!("cannot write {}: {e}", path.display())))?,
            )
        }
    };
    let mut after: Option<i64> = None;
    let mut count = 0_usize;
    let mut end = 0;
    loop {
        let path = ApiPath::new("/v1/audit/export")
            .query("limit", PAGE)
            .query_if("after", after);
        let text = connection.send(app, Call::get(path)).await?.text();
        let mut kept = String::new();
        let mut got = 0_usize;
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or(Value::Null);
            match value.get("seq").and_then(Value::as_i64) {
                None => end = value.get("end").and_then(Value::as_i64).unwrap_or_default(),
                // What came since the head was written is for the next export.
                Some(seq) if seq > end => break,
                Some(seq) => {
                    after = Some(seq);
                    got += 1;
                }
            }
            kept.push_str(line);
            kept.push('\n');
        }
        match &mut file {
            None => app.ui.data(&kept)?,
            Some(file) => file
                .write_all(kept.as_bytes())
                .map_err(|e| CliError::new(format!("cannot write the export: {e}")))?,
        }
        count += got;
        if got < PAGE || after.is_none_or(|after| after >= end) {
            break;
        }
    }
    if let Some(path) = output {
        app.ui
            .success(&format!("{count} records in {}", path.display()))?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Vec<u8> = pairs
        .iter()
        .map(|[high, low]| u8::try_from((digit(*high)? << 4) | digit(*low)?).ok())
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}
