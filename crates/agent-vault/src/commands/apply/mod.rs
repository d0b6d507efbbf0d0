//! `agent-vault apply` and `agent-vault export`: vaults, services, agents, grants and settings as files that can be reviewed and kept
//! under version control.

mod document;
mod export;
mod plan;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::{AddressArg, App, Yes};
use crate::connect::Connection;
use crate::error::{PENDING, Result};
use crate::ui::Ui;

pub(crate) use export::{ExportArgs, run as export};

/// `agent-vault apply`.
#[derive(Args)]
#[command(after_help = "A declaration:
  agents:
    - {name: coder, role: no-access}
  vaults:
    - name: work
      unmatched_host_policy: deny
      credentials:
        OPENAI_API_KEY: {env: OPENAI_API_KEY}
      services:
        - {name: openai, host: api.openai.com, auth: {type: bearer, token: OPENAI_API_KEY}}
      agents: {coder: proxy}

What a declaration does not mention stays as it is. `agent-vault export` writes one of what is there.")]
pub(crate) struct ApplyArgs {
    /// YAML or JSON file, a folder of them, or `-` for stdin
    #[arg(short, long, value_name = "FILE|DIR")]
    file: PathBuf,
    /// Show what would change, change nothing, and exit with 3 if there is something
    #[arg(long, visible_alias = "dry-run")]
    plan: bool,
    /// Take away services, agents and people that a declared list does not name; vaults, credentials and agents themselves are never deleted
    #[arg(long)]
    prune: bool,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    yes: Yes,
    #[command(flatten)]
    address: AddressArg,
}

/// Runs `agent-vault apply`; the value is the exit code.
pub(crate) async fn run(app: &App, args: ApplyArgs) -> Result<u8> {
    let declared = document::read(app, &args.file)?;
    let connection = Connection::open(app, args.address.address.as_deref()).await?;
    let steps = plan::make(app, &connection, &declared, args.prune).await?;
    if !args.json {
        for step in &steps {
            let sign = match step.sign {
                '+' => Ui::green("+"),
                '-' => Ui::red("-"),
                other => other.to_string(),
            };
            app.ui
                .progress(&format!("{sign} {}: {}", step.target, step.action));
        }
        if steps.is_empty() {
            app.ui.note("everything is as declared");
        }
    }
    if !args.plan && steps.iter().any(|step| step.takes_away) {
        app.ui.confirm("This takes something away.", args.yes.yes)?;
    }
    if !args.plan {
        for (done, step) in steps.iter().enumerate() {
            step.run(app, &connection).await.map_err(|error| {
                error.hint(format!(
                    "{done} of {} were made; apply again when this is mended",
                    changes(steps.len())
                ))
            })?;
        }
    }
    if args.json {
        let listed: Vec<_> = steps
            .iter()
            .map(|step| {
                json!({"sign": step.sign.to_string(), "target": step.target, "action": step.action})
            })
            .collect();
        app.ui
            .line(&json!({"changes": listed, "applied": !args.plan}).to_string())?;
    } else if !steps.is_empty() {
        if args.plan {
            app.ui
                .note(&format!("{}; nothing was changed", changes(steps.len())));
        } else {
            app.ui.success(&format!("{} made", changes(steps.len())))?;
        }
    }
    Ok(if args.plan && !steps.is_empty() {
        PENDING
    } else {
        0
    })
}

fn changes(count: usize) -> String {
    format!("{count} change{}", if count == 1 { "" } else { "s" })
}
