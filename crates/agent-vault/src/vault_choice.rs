//! The one vault rule: `--vault`, `AGENT_VAULT_VAULT`, `agent-vault.json`, the active vault, then the server's answer.
//!
//! An agent's token is bound to its vaults by the server, so for it files are not read. Nothing is ever chosen silently
//! among several.

use serde_json::Value;

use crate::cli::App;
use crate::client::types::{Discovery, Vaults};
use crate::client::{ApiPath, Call};
use crate::connect::{Connection, Identity};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::home;

/// A vault's name and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) name: String,
    pub(crate) origin: Origin,
}

/// What named the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    Project,
    Active,
    Only,
    Default,
    Token,
}

impl Origin {
    /// For people.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Origin::Flag => "--vault",
            Origin::Environment => "AGENT_VAULT_VAULT",
            Origin::Project => "./agent-vault.json",
            Origin::Active => "`agent-vault vault use`",
            Origin::Only => "the only one",
            Origin::Default => "one of several; choose with `agent-vault vault use`",
            Origin::Token => "the token's",
        }
    }
}

/// The vault that is named without asking a server, if any is.
pub(crate) fn named(
    app: &App,
    connection: &Connection,
    flag: Option<&str>,
) -> Result<Option<Choice>> {
    let choice = |name: String, origin| Ok(Some(Choice { name, origin }));
    if let Some(name) = flag {
        if name.is_empty() {
            return Err(CliError::usage("--vault needs a name"));
        }
        return choice(name.to_owned(), Origin::Flag);
    }
    if let Some(name) = app.env.get(&env_vars::VAULT)? {
        return choice(name.to_owned(), Origin::Environment);
    }
    if connection.identity == Identity::Agent {
        return Ok(None);
    }
    if let Some(name) = home::project_vault(&app.env) {
        return choice(name, Origin::Project);
    }
    if let Some(name) = connection.home().active_vault(&connection.place_name())? {
        return choice(name, Origin::Active);
    }
    Ok(None)
}

/// Applies the vault rule.
///
/// # Errors
/// No vault; several and none named; the server's refusals.
pub(crate) async fn choose(
    app: &App,
    connection: &Connection,
    flag: Option<&str>,
) -> Result<Choice> {
    if let Some(choice) = named(app, connection, flag)? {
        return Ok(choice);
    }
    if connection.identity == Identity::Agent {
        let found: Discovery = connection.send(app, Call::get("/discover")).await?.json()?;
        return Ok(Choice {
            name: found.vault,
            origin: Origin::Token,
        });
    }
    let found: Vaults = connection
        .send(app, Call::get("/v1/vaults"))
        .await?
        .json()?;
    let names: Vec<&str> = found.vaults.iter().map(|v| v.name.as_str()).collect();
    let choice = pick(&names)?;
    if choice.origin == Origin::Default {
        app.ui.note(&format!(
            "using vault \"default\" of {} vaults; `agent-vault vault use <name>` or `--vault` chooses another",
            names.len()
        ));
    }
    Ok(choice)
}

fn pick(names: &[&str]) -> Result<Choice> {
    let choice = |name: &str, origin| {
        Ok(Choice {
            name: name.to_owned(),
            origin,
        })
    };
    match names {
        [] => Err(CliError::new("there is no vault that you may use")
            .hint("make one with `agent-vault vault create <name>`")),
        [only] => choice(only, Origin::Only),
        several if several.contains(&"default") => choice("default", Origin::Default),
        several => Err(CliError::new(format!(
            "several vaults, and none is chosen: {}",
            several.join(", ")
        ))
        .hint("name one with `--vault`, or choose with `agent-vault vault use <name>`")),
    }
}

/// `/v1/vaults/{name}` and more.
pub(crate) fn vault_path(vault: &str) -> ApiPath {
    ApiPath::new("/v1/vaults").segment(vault)
}

/// The member of an object as text, for answers that are only passed on.
pub(crate) fn text_of(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Origin, pick};

    #[test]
    fn w5_never_silently_the_first() {
        assert!(pick(&[]).is_err());
        assert_eq!(pick(&["work"]).unwrap().origin, Origin::Only);
        assert_eq!(pick(&["work", "default"]).unwrap().origin, Origin::Default);
        let error = pick(&["a", "b"]).unwrap_err();
        assert!(error.message().contains("a, b"));
    }
}
