//! `agent-vault owner config`: settings of the instance.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use crate::cli::{App, Output};
use crate::client::types::InstanceSettings;
use crate::client::{Call, Reply};
use crate::commands::or_dash;
use crate::connect::Connection;
use crate::error::{CliError, Result};

/// `agent-vault owner config`.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Show the settings, and what counts
    Get {
        #[command(flatten)]
        output: Output,
    },
    /// Change settings; what is not named stays
    #[command(after_help = "Examples:
  agent-vault owner config set --invite-only
  agent-vault owner config set --allowed-domains example.com,example.org
  agent-vault owner config set --allowed-domains ''
  agent-vault owner config set --rate-limit-profile strict --rate-limit AUTH.max=20 --dry-run
Tiers are AUTH, PROXY, AUTHED, GLOBAL and VERIFY_FAIL.")]
    Set(SetArgs),
}

#[derive(Args)]
struct SetArgs {
    /// People come by invitation only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    invite_only: Option<bool>,
    /// Domains of addresses that may have an account, with commas; empty lets all in
    #[arg(long, value_name = "DOMAINS")]
    allowed_domains: Option<String>,
    /// Oldest row of the request log in hours, 0 for any
    #[arg(long, value_name = "HOURS")]
    logs_max_age_hours: Option<u32>,
    /// Most rows of the request log in each vault, 0 for all
    #[arg(long, value_name = "ROWS")]
    logs_max_rows: Option<u32>,
    /// Rate limits to start from: default, strict, loose or off
    #[arg(long, value_name = "PROFILE")]
    rate_limit_profile: Option<String>,
    /// One rate limit, such as `AUTH.max=20` or `AUTH.window=5m`; those given replace all that are stored
    #[arg(long, value_name = "TIER.KNOB=VALUE")]
    rate_limit: Vec<String>,
    /// Show which rate limits would count, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(app: &App, connection: &Connection, args: ConfigArgs) -> Result {
    match args.command {
        ConfigCommand::Get { output } => {
            let reply = connection
                .send(app, Call::get("/v1/admin/settings"))
                .await?;
            show(app, &reply, output)
        }
        ConfigCommand::Set(args) => set(app, connection, args).await,
    }
}

async fn set(app: &App, connection: &Connection, args: SetArgs) -> Result {
    let limits = rate_limits(&args)?;
    if args.dry_run {
        let Some(limits) = limits else {
            return Err(CliError::usage(
                "`--dry-run` needs `--rate-limit` or `--rate-limit-profile`",
            ));
        };
        let path = "/v1/admin/settings/rate-limit/preview";
        let call = Call::new(Method::POST, path).json(&limits);
        let reply = connection.send(app, call).await?;
        return app.ui.line(reply.text().trim_end());
    }
    let mut body = Map::new();
    if let Some(invite_only) = args.invite_only {
        body.insert("invite_only".into(), json!(invite_only));
    }
    if let Some(domains) = &args.allowed_domains {
        let domains: Vec<&str> = domains
            .split(',')
            .map(str::trim)
            .filter(|domain| !domain.is_empty())
            .collect();
        body.insert("allowed_email_domains".into(), json!(domains));
    }
    if args.logs_max_age_hours.is_some() || args.logs_max_rows.is_some() {
        // What is stored is replaced as one, so what is not named is taken over.
        let before: InstanceSettings = connection
            .send(app, Call::get("/v1/admin/settings"))
            .await?
            .json()?;
        let kept = before.logs_retention;
        body.insert(
            "logs_retention".into(),
            json!({
                "max_age_hours": args.logs_max_age_hours.unwrap_or(kept.max_age_hours),
                "max_rows_per_vault": args.logs_max_rows.unwrap_or(kept.max_rows_per_vault),
            }),
        );
    }
    if let Some(limits) = limits {
        body.insert("rate_limit".into(), limits);
    }
    if body.is_empty() {
        return Err(CliError::usage("nothing to change")
            .hint("name a setting: `agent-vault owner config set --help`"));
    }
    let call = Call::new(Method::PUT, "/v1/admin/settings").json(&Value::Object(body));
    let reply = connection.send(app, call).await?;
    show(app, &reply, args.output)
}

fn rate_limits(args: &SetArgs) -> Result<Option<Value>> {
    if args.rate_limit_profile.is_none() && args.rate_limit.is_empty() {
        return Ok(None);
    }
    let mut tiers: Map<String, Value> = Map::new();
    for text in &args.rate_limit {
        let wrong = || {
            CliError::usage(format!("`{text}` is no rate limit"))
                .hint("give TIER.KNOB=VALUE, such as `AUTH.max=20` or `AUTH.window=5m`")
        };
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let (tier, knob) = name.split_once('.').ok_or_else(wrong)?;
        let value = match knob {
            "window" => json!(value),
            _ => json!(value.parse::<u32>().map_err(|_| wrong())?),
        };
        let tier = tiers
            .entry(tier.to_ascii_uppercase())
            .or_insert_with(|| json!({}));
        if let Some(knobs) = tier.as_object_mut() {
            knobs.insert(knob.to_owned(), value);
        }
    }
    Ok(Some(match &args.rate_limit_profile {
        Some(profile) => json!({"profile": profile, "overrides": tiers}),
        None => json!({"overrides": tiers}),
    }))
}

fn show(app: &App, reply: &Reply, output: Output) -> Result {
    if output.json {
        return app.ui.line(reply.text().trim_end());
    }
    let settings: InstanceSettings = reply.json()?;
    let yes = |on: bool| if on { "yes" } else { "no" };
    app.ui.field("Invite only", yes(settings.invite_only))?;
    app.ui.field(
        "Domains",
        &match settings.allowed_email_domains.as_slice() {
            [] => String::from("all"),
            domains => domains.join(", "),
        },
    )?;
    app.ui.field("Mail", yes(settings.smtp_configured))?;
    let retention = &settings.logs_retention;
    let bound = |number: u32, what: &str| match number {
        0 => format!("any {what}"),
        number => format!("{number} {what}"),
    };
    app.ui.field(
        "Request log",
        &format!(
            "{}, {}{}",
            bound(retention.max_age_hours, "hours"),
            bound(retention.max_rows_per_vault, "rows of each vault"),
            if retention.from_environment {
                " (environment)"
            } else {
                ""
            }
        ),
    )?;
    let limits = &settings.rate_limit;
    app.ui.field(
        "Rate limits",
        &format!(
            "{}{}",
            limits.profile,
            if limits.locked {
                " (locked by the environment)"
            } else {
                ""
            }
        ),
    )?;
    let number = |number: Option<u32>| number.map_or_else(String::new, |n| n.to_string());
    let rows = limits
        .tiers
        .iter()
        .map(|(tier, knobs)| {
            vec![
                tier.clone(),
                or_dash(&number(knobs.rate)),
                or_dash(&number(knobs.burst)),
                or_dash(&number(knobs.max)),
                or_dash(knobs.window.as_deref().unwrap_or_default()),
                or_dash(&number(knobs.concurrency)),
                knobs.source.clone(),
            ]
        })
        .collect();
    app.ui.table(
        &[
            "TIER",
            "RATE",
            "BURST",
            "MAX",
            "WINDOW",
            "CONCURRENCY",
            "SOURCE",
        ],
        rows,
        "no rate limits",
    )
}
