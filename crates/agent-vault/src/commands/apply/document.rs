//! What a declaration says. It holds no secret: credentials are named, and their values come from the environment or a file when the
//! declaration is applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_vault_policy::{CredentialKey, ServiceDraft};
use serde::{Deserialize, Serialize};

use crate::cli::App;
use crate::commands::vault::service::file;
use crate::error::{CliError, Result};
use crate::yaml;

/// Most files of one folder.
const MAX_FILES: usize = 200;

/// A declaration. What it does not mention is left alone.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declaration {
    /// Settings of the instance, by the names of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<Instance>,
    /// Agents of the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) agents: Vec<Agent>,
    /// Vaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) vaults: Vec<Vault>,
}

/// Settings of the instance.
#[derive(Debug, Clone, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Instance {
    /// Whether people can only join by invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) invite_only: Option<bool>,
    /// Domains that people may register with; all when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) allowed_email_domains: Option<Vec<String>>,
}

/// An agent.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) name: String,
    /// `no-access`, `member` or `owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
}

/// A vault.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vault {
    pub(super) name: String,
    /// `passthrough` or `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unmatched_host_policy: Option<String>,
    /// Credentials that must be there, and where a value comes from if one is not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) credentials: BTreeMap<String, Source>,
    /// Rules; each has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) services: Option<Vec<ServiceDraft>>,
    /// Agents and their roles here: `proxy`, `member` or `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) agents: Option<BTreeMap<String, String>>,
    /// People by e-mail and their roles here: `member` or `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) users: Option<BTreeMap<String, String>>,
}

/// Where the value of a credential comes from.
#[derive(Debug, Clone, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    /// A variable of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) env: Option<String>,
    /// A file, from where the declaration is; one line end at its end is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<PathBuf>,
}

/// Reads a file, stdin (`-`), or every `.yaml`, `.yml` and `.json` of a folder in the order of their names.
///
/// # Errors
/// The first mistake, with file, line and field.
pub(super) fn read(app: &App, path: &Path) -> Result<Declaration> {
    let place = app.env.cwd().join(path);
    if path.as_os_str() == "-" || !place.is_dir() {
        return one(app, path);
    }
    let unreadable =
        |e: std::io::Error| CliError::new(format!("cannot read {}: {e}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let is_document = Path::new(&name).extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension == *known)
        });
        if is_document {
            files.push(path.join(name));
        }
        if files.len() > MAX_FILES {
            return Err(CliError::new(format!(
                "{} holds more than {MAX_FILES} files",
                path.display()
            )));
        }
    }
    if files.is_empty() {
        return Err(CliError::new(format!(
            "{} holds no .yaml, .yml or .json file",
            path.display()
        )));
    }
    files.sort();
    let mut whole = Declaration::default();
    for file in files {
        let part = one(app, &file)?;
        merge(&mut whole, part, &file)?;
    }
    Ok(whole)
}

fn merge(whole: &mut Declaration, part: Declaration, file: &Path) -> Result {
    let twice = |what: String| {
        CliError::new(format!(
            "{}: {what} is declared in another file too",
            file.display()
        ))
        .hint("nothing was changed")
    };
    if let Some(instance) = part.instance
        && whole.instance.replace(instance).is_some()
    {
        return Err(twice(String::from("`instance`")));
    }
    for agent in part.agents {
        if whole.agents.iter().any(|known| known.name == agent.name) {
            return Err(twice(format!("agent \"{}\"", agent.name)));
        }
        whole.agents.push(agent);
    }
    for vault in part.vaults {
        if whole.vaults.iter().any(|known| known.name == vault.name) {
            return Err(twice(format!("vault \"{}\"", vault.name)));
        }
        whole.vaults.push(vault);
    }
    Ok(())
}

fn one(app: &App, path: &Path) -> Result<Declaration> {
    let (name, text) = yaml::read(app, path)?;
    let mut declaration = parse(&name, &text)?;
    // A path in a declaration starts where the declaration is.
    if path.as_os_str() != "-"
        && let Some(folder) = path.parent()
    {
        for vault in &mut declaration.vaults {
            for source in vault.credentials.values_mut() {
                source.file = source.file.take().map(|file| folder.join(file));
            }
        }
    }
    Ok(declaration)
}

fn parse(file: &str, text: &str) -> Result<Declaration> {
    let declaration: Declaration = yaml::parse(file, text)?;
    let wrong = |field: String, message: &str| {
        let line = yaml::line_of(text, &field);
        CliError::new(format!("{file}{line}: {field}: {message}")).hint("nothing was changed")
    };
    let one_of = |field: String, word: &str, words: &[&str]| {
        if words.contains(&word) {
            Ok(())
        } else {
            Err(wrong(
                field,
                &format!("`{word}` is none of {}", words.join(", ")),
            ))
        }
    };
    for (index, agent) in declaration.agents.iter().enumerate() {
        let at = format!("agents[{index}]");
        named(&agent.name).map_err(|why| wrong(format!("{at}.name"), why))?;
        if let Some(role) = &agent.role {
            one_of(
                format!("{at}.role"),
                role,
                &["no-access", "member", "owner"],
            )?;
        }
        if declaration
            .agents
            .iter()
            .take(index)
            .any(|other| other.name == agent.name)
        {
            return Err(wrong(format!("{at}.name"), "is declared twice"));
        }
    }
    for (index, vault) in declaration.vaults.iter().enumerate() {
        let at = format!("vaults[{index}]");
        named(&vault.name).map_err(|why| wrong(format!("{at}.name"), why))?;
        if declaration
            .vaults
            .iter()
            .take(index)
            .any(|other| other.name == vault.name)
        {
            return Err(wrong(format!("{at}.name"), "is declared twice"));
        }
        if let Some(policy) = &vault.unmatched_host_policy {
            let field = format!("{at}.unmatched_host_policy");
            one_of(field, policy, &["passthrough", "deny"])?;
        }
        for (key, source) in &vault.credentials {
            let field = format!("{at}.credentials.{key}");
            if let Err(error) = CredentialKey::parse(key) {
                return Err(wrong(field, &error.to_string()));
            }
            if source.env.is_some() && source.file.is_some() {
                return Err(wrong(
                    field,
                    "its value comes from `env` or from `file`, not from both",
                ));
            }
        }
        if let Some(services) = &vault.services {
            file::check(
                file,
                text,
                &format!("{at}."),
                services,
                file::Names::Required,
            )?;
        }
        for (agent, role) in vault.agents.iter().flatten() {
            let field = format!("{at}.agents.{agent}");
            one_of(field, role, &["proxy", "member", "admin"])?;
        }
        for (email, role) in vault.users.iter().flatten() {
            let field = format!("{at}.users.{email}");
            one_of(field, role, &["member", "admin"])?;
        }
    }
    Ok(declaration)
}

fn named(name: &str) -> std::result::Result<(), &'static str> {
    if name.is_empty() {
        Err("a name is needed")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
instance: {invite_only: true}
agents:
  - {name: coder, role: no-access}
vaults:
  - name: work
    unmatched_host_policy: deny
    credentials:
      PAY_KEY: {env: PAY_KEY}
      OLD_KEY: {}
    services:
      - {name: pay, host: api.pay.example, auth: {type: bearer, token: PAY_KEY}}
    agents: {coder: proxy}
    users: {a@b.example: member}
";

    #[test]
    fn what_is_written_is_what_is_read() {
        let read = parse("f", GOOD).unwrap();
        let written = serde_saphyr::to_string(&read).unwrap();
        let again = parse("f", &written).unwrap();
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            serde_json::to_value(&again).unwrap()
        );
    }

    #[test]
    fn mistakes_name_line_and_field() {
        for (good, bad, line, word) in [
            ("invite_only", "invited_only", 1, "invited_only"),
            ("role: no-access", "role: boss", 3, "agents[0].role"),
            (
                "policy: deny",
                "policy: maybe",
                6,
                "vaults[0].unmatched_host_policy",
            ),
            (
                "PAY_KEY: {env",
                "pay-key: {env",
                8,
                "vaults[0].credentials.pay-key",
            ),
            ("{env: PAY_KEY}", "{env: A, file: b}", 8, "not from both"),
            (
                "type: bearer",
                "type: magic",
                11,
                "vaults[0].services[0].auth.type",
            ),
            ("coder: proxy", "coder: owner", 12, "vaults[0].agents.coder"),
            ("example: member", "example: proxy", 13, "vaults[0].users"),
        ] {
            let text = GOOD.replacen(good, bad, 1);
            assert_ne!(text, GOOD, "{good}");
            let error = parse("f", &text).unwrap_err();
            assert!(error.message().contains(word), "{error}");
            assert!(
                error.message().starts_with(&format!("f, line {line}")),
                "{error}"
            );
        }
        let twice = format!("{GOOD}  - {{name: work}}\n");
        assert!(parse("f", &twice).unwrap_err().message().contains("twice"));
    }
}
