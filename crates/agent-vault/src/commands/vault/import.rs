//! `agent-vault vault credential import`: the keys of a `.env` file.

use std::path::PathBuf;

use agent_vault_policy::CredentialKey;
use clap::Args;

use super::credential::{self, Values};
use super::dotenv;
use crate::cli::{App, Target};
use crate::error::{CliError, Result};

/// `agent-vault vault credential import`.
#[derive(Args)]
#[command(after_help = "Examples:
  agent-vault vault credential import .env --dry-run
  agent-vault vault credential import .env OPENAI_API_KEY STRIPE_KEY
  pass show project.env | agent-vault vault credential import -")]
pub(super) struct ImportArgs {
    /// File with KEY=VALUE lines, `-` for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only these keys [default: all]
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Show which keys would be set and set none
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(app: &App, target: &Target, args: ImportArgs) -> Result {
    let from_stdin = args.file.as_os_str() == "-";
    let document = if from_stdin {
        app.ui.read_document()?
    } else {
        credential::read_bounded(&app.env.cwd().join(&args.file))?
    };
    let name = if from_stdin {
        String::from("stdin")
    } else {
        args.file.display().to_string()
    };
    let text = document
        .expose_str()
        .map_err(|_| CliError::new(format!("{name} is not valid UTF-8")))?;
    let found = dotenv::parse(text)
        .map_err(|bad| CliError::new(format!("{name}, {bad}")).hint("nothing was set"))?;
    let values = choose(app, &name, found, &args.keys)?;
    let keys: Vec<_> = values.0.iter().map(|(key, _)| key.clone()).collect();
    if args.dry_run {
        app.ui
            .line(&format!("would set {}; nothing was set", keys.join(", ")))?;
        return Ok(());
    }
    let (connection, vault) = super::open(app, target).await?;
    credential::store(app, &connection, &vault, &values, None).await?;
    if !from_stdin {
        app.ui.note(&format!(
            "{name} still holds the values: take them out where an agent can read it"
        ));
    }
    Ok(())
}

/// The values to set. What is left out is named with its reason; what was asked for by name must be there.
fn choose(
    app: &App,
    name: &str,
    found: Vec<dotenv::Assignment>,
    wanted: &[String],
) -> Result<Values> {
    for key in wanted {
        if !found.iter().any(|assignment| assignment.name == *key) {
            return Err(CliError::new(format!("{name} has no {key}")).hint("nothing was set"));
        }
    }
    let mut values = Values(Vec::new());
    for assignment in found {
        let dotenv::Assignment {
            line,
            name: key,
            value,
        } = assignment;
        if !wanted.is_empty() && !wanted.contains(&key) {
            continue;
        }
        let refused = |what: String| {
            CliError::new(format!("{name}, line {line}: {what}")).hint("nothing was set")
        };
        if values.0.iter().any(|(other, _)| *other == key) {
            return Err(refused(format!("{key} is given twice")));
        }
        let left_out = match CredentialKey::parse(&key) {
            Err(error) => Some(format!("is not a credential key: {error}")),
            Ok(_) if value.is_empty() => Some(String::from("is empty")),
            Ok(_) => None,
        };
        match left_out {
            Some(why) if wanted.is_empty() => app
                .ui
                .note(&format!("{name}, line {line}: {key} {why}; left out")),
            Some(why) => return Err(refused(format!("{key} {why}"))),
            None => {
                credential::check_ends(&key, &value)?;
                values.0.push((key, value));
            }
        }
    }
    if values.0.is_empty() {
        return Err(CliError::new(format!("{name} holds no credential")));
    }
    Ok(values)
}
