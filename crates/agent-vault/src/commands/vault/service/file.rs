//! The service file: YAML (JSON is a subset of it). An error names file, line and field, and nothing is sent.

use std::path::Path;

use agent_vault_policy::{MAX_SERVICES, Service, ServiceDraft, ServiceError, ValidationOptions};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::cli::App;
use crate::error::{CliError, Result};
use crate::yaml;

/// Whether each service must have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Names {
    Required,
    /// One without a name takes the place of the stored service with the same host, port and path.
    Optional,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// As `discover` prints it; the command line names the vault.
    #[serde(default, rename = "vault")]
    _vault: Option<IgnoredAny>,
    services: Vec<ServiceDraft>,
}

/// Reads and checks a service file; `-` is stdin.
///
/// # Errors
/// The first mistake, with its line and field.
pub(super) fn read(app: &App, path: &Path, names: Names) -> Result<Vec<ServiceDraft>> {
    let (name, text) = yaml::read(app, path)?;
    parse(&name, &text, names)
}

/// The drafts as the API wants them.
pub(in crate::commands) fn wire(drafts: &[ServiceDraft]) -> Result<Vec<Value>> {
    drafts
        .iter()
        .map(|draft| {
            // A valid service in its one wire form; without a name, as written.
            match Service::from_draft(draft.clone(), &lenient()) {
                Ok(service) => Ok(service.to_wire()),
                Err(_) => serde_json::to_value(draft)
                    .map_err(|e| CliError::new(format!("cannot send the services: {e}"))),
            }
        })
        .collect()
}

/// Only the server knows whether internal hosts are allowed: what it may allow is left to it.
pub(in crate::commands::vault) fn lenient() -> ValidationOptions {
    ValidationOptions { dev_mode: true }
}

fn parse(file: &str, text: &str, names: Names) -> Result<Vec<ServiceDraft>> {
    let document: Document = yaml::parse(file, text)?;
    check(file, text, "", &document.services, names)?;
    Ok(document.services)
}

/// Checks the services that stand in a document at `<at>services`.
///
/// # Errors
/// The first mistake, with its line and field.
pub(in crate::commands) fn check(
    file: &str,
    text: &str,
    at: &str,
    services: &[ServiceDraft],
    names: Names,
) -> Result {
    if services.len() > MAX_SERVICES {
        return Err(
            CliError::new(format!("{file}: more than {MAX_SERVICES} services"))
                .hint("nothing was changed"),
        );
    }
    for (index, draft) in services.iter().enumerate() {
        let mut draft = draft.clone();
        if names == Names::Optional && draft.name.as_deref().is_none_or(str::is_empty) {
            draft.name = Some(String::from("unnamed"));
        }
        let named = draft.name.clone();
        let here = format!("{at}services[{index}]");
        Service::from_draft(draft, &lenient())
            .map_err(|error| mistake(file, text, &here, error.within(&here)))?;
        let twice = services
            .iter()
            .take(index)
            .any(|other| other.name.is_some() && other.name == named);
        if twice {
            let error = format!(
                "{here}.name: `{}` is there twice",
                named.unwrap_or_default()
            );
            return Err(CliError::new(format!(
                "{file}{}: {error}",
                yaml::line_of(text, &format!("{here}.name"))
            ))
            .hint("nothing was changed"));
        }
    }
    Ok(())
}

fn mistake(file: &str, text: &str, at: &str, error: ServiceError) -> CliError {
    let mut line = yaml::line_of(text, &error.field);
    if line.is_empty() {
        line = yaml::line_of(text, at);
    }
    let mut out = CliError::new(format!("{file}{line}: {}: {}", error.field, error.message));
    if let Some(hint) = error.hint {
        out = out.hint(hint);
    }
    out.hint("nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::{Names, parse, wire};

    const GOOD: &str = "\
services:
  - {name: pay, host: api.pay.example, auth: {type: bearer, token: PAY_KEY}}
  - name: llm
    host: api.llm.example:8443/v1/*
    auth: {type: api-key, key: LLM_KEY, header: x-api-key, prefix: \"\"}
  - name: bot
    host: api.bot.example
    auth: {type: passthrough}
    substitutions: [{key: BOT_TOKEN, placeholder: __bot_token__, in: [path]}]
";

    #[test]
    fn a_good_file_in_yaml_and_in_json() {
        let drafts = parse("f", GOOD, Names::Required).unwrap();
        let wire = wire(&drafts).unwrap();
        assert_eq!(wire.len(), 3);
        let json = serde_json::json!({"vault": "x", "services": wire}).to_string();
        assert_eq!(parse("f", &json, Names::Required).unwrap().len(), 3);
    }

    #[test]
    fn mistakes_name_line_and_field() {
        for (bad, line, word) in [
            (
                GOOD.replace("host: api.bot.example", "hst: api.bot.example"),
                7,
                "hst",
            ),
            (
                GOOD.replace("type: passthrough", "type: magic"),
                8,
                "services[2].auth.type",
            ),
            (
                GOOD.replace("    host: api.llm", "\thost: api.llm"),
                4,
                "indented by a tab",
            ),
            (
                GOOD.replace("    host: api.bot", "\n\n  \thost: api.bot"),
                9,
                "indented by a tab",
            ),
            (
                GOOD.replace("  - name: llm", "\t- name: llm"),
                3,
                "indented by a tab",
            ),
            (
                GOOD.replace("type: passthrough}", "type: \tpass\tthrough}"),
                8,
                "pass",
            ),
            (
                GOOD.replace("token: PAY_KEY", "token: pay-key"),
                2,
                "services[0].auth.token",
            ),
            (GOOD.replace("name: llm", "name: pay"), 3, "twice"),
            (GOOD.replace("name: llm", "name: L"), 3, "services[1].name"),
            (
                GOOD.replace("placeholder: __bot_token__", "placeholder: x"),
                9,
                "substitutions[0].placeholder",
            ),
            (
                GOOD.replace("auth: {type: passthrough}", "enabled: true"),
                6,
                "services[2].auth",
            ),
            (String::from("services:\n  - {name: a\n"), 0, ""),
            (String::from("servces: []\n"), 1, "servces"),
            (String::from("[]"), 0, ""),
        ] {
            let error = parse("f.yaml", &bad, Names::Required).unwrap_err();
            assert!(error.message().starts_with("f.yaml"), "{error}");
            if line > 0 {
                assert!(
                    error.message().contains(&format!(", line {line}: ")),
                    "{error} (line {line})"
                );
            }
            assert!(error.message().contains(word), "{error}");
            assert!(
                error
                    .hints()
                    .iter()
                    .any(|h| h.contains("nothing was changed"))
            );
        }
    }

    #[test]
    fn names_may_be_left_out_where_a_stored_service_gives_one() {
        let text = "services: [{host: api.x.example, auth: {type: passthrough}}]";
        assert!(parse("f", text, Names::Required).is_err());
        assert_eq!(parse("f", text, Names::Optional).unwrap().len(), 1);
    }

    #[test]
    fn an_alias_bomb_ends_in_an_error() {
        let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
        for (this, last) in ('b'..='k').zip('a'..='j') {
            text.push_str(&format!("{this}: &{this} [*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last},*{last}]\n"));
        }
        assert!(parse("f", &text, Names::Required).is_err());
    }
}
